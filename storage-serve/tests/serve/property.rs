//! Any Range header on an object of any size returns the right bytes, regardless of the status.

use http::StatusCode;
use proptest::prelude::*;
use storage_serve::Serve;

use crate::common::multipart::{content_range, parts};
use crate::common::{TestResponse, bytes, get, one_object};

/// A range of a request: `first-last`, `first-` or `-n`.
#[derive(Debug, Clone)]
enum RequestedRange {
    FromTo(u64, u64),
    From(u64),
    Last(u64),
}

impl RequestedRange {
    fn text(&self) -> String {
        match self {
            Self::FromTo(first, last) => format!("{first}-{last}"),
            Self::From(first) => format!("{first}-"),
            Self::Last(n) => format!("-{n}"),
        }
    }

    /// Returns whether it contains the byte at a position of an object of a size.
    fn has(&self, position: u64, size: u64) -> bool {
        match *self {
            Self::FromTo(first, last) => (first..=last).contains(&position),
            Self::From(first) => position >= first,
            Self::Last(n) => size - position <= n,
        }
    }
}

fn requested_range() -> impl Strategy<Value = RequestedRange> {
    let position = || prop_oneof![0..40_u64, 0..400_u64, Just(u64::MAX)];
    prop_oneof![
        (position(), position()).prop_map(|(a, b)| RequestedRange::FromTo(a.min(b), a.max(b))),
        position().prop_map(RequestedRange::From),
        position().prop_map(RequestedRange::Last),
    ]
}

/// Returns the positions and bytes that a response contains.
fn received(response: &TestResponse, size: u64) -> Vec<(u64, u8)> {
    let placed = |start: u64, bytes: &[u8]| (start..).zip(bytes.to_vec()).collect::<Vec<_>>();
    if response.status == StatusCode::OK {
        return placed(0, &response.body);
    }
    if response.header("content-type").starts_with("multipart/byteranges") {
        assert!(!response.headers.contains_key("content-range"));
        let parts = parts(response);
        assert!(parts.len() > 1 && parts.iter().all(|part| part.size == size));
        return parts.iter().flat_map(|part| placed(part.range.start, &part.bytes)).collect();
    }
    let (range, total) = content_range(response.header("content-range"));
    assert_eq!((total, range.end - range.start), (size, response.body.len() as u64));
    placed(range.start, &response.body)
}

fn check(size: usize, requested: &[RequestedRange], encoded: bool) -> Result<(), TestCaseError> {
    let content = bytes(size);
    let size = size as u64;
    let header = requested.iter().map(RequestedRange::text).collect::<Vec<_>>().join(if encoded {
        ", "
    } else {
        ","
    });
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let response = runtime.block_on(async {
        let serve = Serve::new(one_object(content.clone()).await);
        get(&serve, "/a.txt", &[("range", &format!("bytes={header}"))]).await
    });
    let wanted: Vec<_> =
        (0..size).filter(|&at| requested.iter().any(|range| range.has(at, size))).collect();
    match response.status {
        StatusCode::RANGE_NOT_SATISFIABLE => {
            prop_assert!(wanted.is_empty());
            prop_assert_eq!(response.header("content-range"), format!("bytes */{size}"));
        }
        StatusCode::OK | StatusCode::PARTIAL_CONTENT => {
            let brought = received(&response, size);
            // All requested bytes, each once; more only if it is the whole object.
            let mut positions: Vec<_> = brought.iter().map(|(at, _)| *at).collect();
            positions.sort_unstable();
            if response.status == StatusCode::OK {
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
    fn a_few_ranges_return_exactly_the_requested_bytes(
        size in 0..300_usize,
        requested in prop::collection::vec(requested_range(), 1..5),
        spaces: bool,
    ) {
        check(size, &requested, spaces)?;
    }

    #[test]
    fn many_ranges_return_the_requested_bytes_or_the_whole_object(
        size in 0..300_usize,
        requested in prop::collection::vec(requested_range(), 5..80),
    ) {
        check(size, &requested, false)?;
    }

    #[test]
    fn any_text_in_a_range_header_gets_a_valid_response(range in "(bytes=)?[0-9a-z,=\\- ]{0,30}") {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let response = runtime.block_on(async {
            get(&Serve::new(one_object("0123456789").await), "/a.txt", &[("range", range.trim())]).await
        });
        prop_assert!([200, 206, 416].contains(&response.status.as_u16()));
    }
}
