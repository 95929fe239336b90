//! Any Range header on an object of any size: the bytes are the right ones, whatever the status.

use http::StatusCode;
use proptest::prelude::*;
use storage_serve::Serve;

use crate::common::multipart::{content_range, parts};
use crate::common::{Answer, bytes, get, one_object};

/// A range as a client writes it: `(first, last)`, `(first, )` or `(, n)`.
#[derive(Debug, Clone)]
enum Asked {
    FromTo(u64, u64),
    From(u64),
    Last(u64),
}

impl Asked {
    fn text(&self) -> String {
        match self {
            Self::FromTo(first, last) => format!("{first}-{last}"),
            Self::From(first) => format!("{first}-"),
            Self::Last(n) => format!("-{n}"),
        }
    }

    /// Whether it means the byte at a position of an object of a size.
    fn has(&self, position: u64, size: u64) -> bool {
        match *self {
            Self::FromTo(first, last) => (first..=last).contains(&position),
            Self::From(first) => position >= first,
            Self::Last(n) => size - position <= n,
        }
    }
}

fn asked() -> impl Strategy<Value = Asked> {
    let position = || prop_oneof![0..40_u64, 0..400_u64, Just(u64::MAX)];
    prop_oneof![
        (position(), position()).prop_map(|(a, b)| Asked::FromTo(a.min(b), a.max(b))),
        position().prop_map(Asked::From),
        position().prop_map(Asked::Last),
    ]
}

/// The positions and bytes that an answer brings.
fn brought(answer: &Answer, size: u64) -> Vec<(u64, u8)> {
    let placed = |start: u64, bytes: &[u8]| (start..).zip(bytes.to_vec()).collect::<Vec<_>>();
    if answer.status == StatusCode::OK {
        return placed(0, &answer.body);
    }
    if answer.header("content-type").starts_with("multipart/byteranges") {
        assert!(!answer.headers.contains_key("content-range"));
        let parts = parts(answer);
        assert!(parts.len() > 1 && parts.iter().all(|part| part.size == size));
        return parts.iter().flat_map(|part| placed(part.range.start, &part.bytes)).collect();
    }
    let (range, told) = content_range(answer.header("content-range"));
    assert_eq!((told, range.end - range.start), (size, answer.body.len() as u64));
    placed(range.start, &answer.body)
}

fn check(size: usize, asked: &[Asked], encoded: bool) -> Result<(), TestCaseError> {
    let content = bytes(size);
    let size = size as u64;
    let header =
        asked.iter().map(Asked::text).collect::<Vec<_>>().join(if encoded { ", " } else { "," });
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let answer = runtime.block_on(async {
        let serve = Serve::new(one_object(content.clone()).await);
        get(&serve, "/a.txt", &[("range", &format!("bytes={header}"))]).await
    });
    let wanted: Vec<_> =
        (0..size).filter(|&at| asked.iter().any(|range| range.has(at, size))).collect();
    match answer.status {
        StatusCode::RANGE_NOT_SATISFIABLE => {
            prop_assert!(wanted.is_empty());
            prop_assert_eq!(answer.header("content-range"), format!("bytes */{size}"));
        }
        StatusCode::OK | StatusCode::PARTIAL_CONTENT => {
            let brought = brought(&answer, size);
            // All that was asked for, each byte once; more only if it is everything.
            let mut positions: Vec<_> = brought.iter().map(|(at, _)| *at).collect();
            positions.sort_unstable();
            if answer.status == StatusCode::OK {
                prop_assert_eq!(positions, (0..size).collect::<Vec<_>>());
            } else {
                prop_assert_eq!(positions, wanted);
            }
            prop_assert!(
                brought.iter().all(|(at, byte)| content[usize::try_from(*at).unwrap()] == *byte)
            );
        }
        other => prop_assert!(false, "{other}"),
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(400) })]

    #[test]
    fn a_few_ranges_bring_what_was_asked_for(
        size in 0..300_usize,
        asked in prop::collection::vec(asked(), 1..5),
        spaces: bool,
    ) {
        check(size, &asked, spaces)?;
    }

    #[test]
    fn many_ranges_bring_what_was_asked_for_or_everything(
        size in 0..300_usize,
        asked in prop::collection::vec(asked(), 5..80),
    ) {
        check(size, &asked, false)?;
    }

    #[test]
    fn no_text_in_a_range_header_does_harm(range in "(bytes=)?[0-9a-z,=\\- ]{0,30}") {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let answer = runtime.block_on(async {
            get(&Serve::new(one_object("0123456789").await), "/a.txt", &[("range", range.trim())]).await
        });
        prop_assert!([200, 206, 416].contains(&answer.status.as_u16()));
    }
}
