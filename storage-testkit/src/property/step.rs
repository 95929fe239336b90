//! [`Step`]: one operation of a random sequence.

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::{Just, Strategy};
use proptest::prop_oneof;
use proptest::sample::select;
use storage_core::{ByteRange, Metadata};

use super::uploads::{self, Upload};

/// The keys. They are few, so that operations affect the same objects, and have unusual names.
pub(super) const KEYS: &[&str] = &[
    "a",
    "a/b",
    "a/b/c",
    "a/b-c",
    "a-b",
    "a.b",
    "A",
    "a ",
    "a%2Fb",
    "b*/[c]",
    "b/..c/d e",
    "caf\u{e9}",
    "cafe\u{301}",
];

const PREFIXES: &[&str] =
    &["", "a", "a/", "a/b", "a-", "b", "b*", "b/", "b/..", "caf", "cafe", "A/", "x/y"];

#[derive(Debug, Clone)]
pub(super) enum Step {
    Save {
        key: &'static str,
        body: Body,
        mode: Mode,
        metadata: Given,
    },
    Open {
        key: &'static str,
        range: Option<ByteRange>,
        condition: Condition,
    },
    Stat {
        key: &'static str,
    },
    Exists {
        key: &'static str,
    },
    Delete {
        key: &'static str,
    },
    DeleteMany {
        keys: Vec<&'static str>,
    },
    List {
        prefix: &'static str,
        delimiter: Option<&'static str>,
        start_after: Option<&'static str>,
    },
    Copy {
        from: &'static str,
        to: &'static str,
        create_new: bool,
        condition: Option<Version>,
        metadata: Option<Given>,
    },
    Rename {
        from: &'static str,
        to: &'static str,
        create_new: bool,
        condition: Option<Version>,
    },
    Upload(Upload),
}

/// A body and how it is sent.
#[derive(Debug, Clone)]
pub(super) struct Body {
    pub(super) seed: u8,
    pub(super) len: usize,
    pub(super) how: How,
}

#[derive(Debug, Clone, Copy)]
pub(super) enum How {
    InMemory,
    Streamed,
    /// As a stream that fails before its end.
    Failing,
    /// As a stream with another length than declared.
    MisDeclared,
}

#[derive(Debug, Clone, Copy)]
pub(super) enum Mode {
    Overwrite,
    CreateNew,
    UniqueName,
    IfMatch(Version),
}

#[derive(Debug, Clone, Copy)]
pub(super) enum Condition {
    None,
    IfMatch(Version),
    IfNoneMatch(Version),
}

/// The version whose ETag a condition contains. The ETags of the two drivers differ.
#[derive(Debug, Clone, Copy)]
pub(super) enum Version {
    Present,
    PresentButWeak,
    /// The previous version, or an ETag of no version if there is none.
    Older,
}

/// The metadata of a save. There are few values, so that saves replace them often and remains of an
/// old value are found.
#[derive(Debug, Clone, Copy)]
pub(super) enum Given {
    Nothing,
    Headers,
    User,
}

impl Given {
    pub(super) fn metadata(self) -> Metadata {
        match self {
            Self::Nothing => Metadata::new(),
            Self::Headers => Metadata::new()
                .content_type("text/x-given")
                .cache_control("no-store")
                .content_language("de"),
            Self::User => {
                Metadata::new().content_disposition("inline").user("author", "Ada ☺").user("n", "1")
            }
        }
    }
}

pub(super) fn any() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (key(), body(), mode(), given()).prop_map(|(key, body, mode, metadata)| {
            Step::Save { key, body, mode, metadata }
        }),
        5 => (key(), option::weighted(0.7, range()), condition()).prop_map(|(key, range, condition)| {
            Step::Open { key, range, condition }
        }),
        1 => key().prop_map(|key| Step::Stat { key }),
        1 => key().prop_map(|key| Step::Exists { key }),
        2 => key().prop_map(|key| Step::Delete { key }),
        1 => vec(key(), 0..4).prop_map(|keys| Step::DeleteMany { keys }),
        3 => (select(PREFIXES), option::of(select(vec!["/", "-", "b"])), option::of(start_after())).prop_map(
            |(prefix, delimiter, start_after)| Step::List { prefix, delimiter, start_after }
        ),
        2 => (key(), key(), proptest::bool::ANY, option::weighted(0.3, version()), option::of(given())).prop_map(
            |(from, to, create_new, condition, metadata)| {
                Step::Copy { from, to, create_new, condition, metadata }
            }
        ),
        2 => (key(), key(), proptest::bool::ANY, option::weighted(0.3, version())).prop_map(
            |(from, to, create_new, condition)| Step::Rename { from, to, create_new, condition }
        ),
        2 => uploads::any().prop_map(Step::Upload),
    ]
}

pub(super) fn key() -> impl Strategy<Value = &'static str> {
    // Mostly the first few keys, so that many operations find an object.
    prop_oneof![2 => select(&KEYS[..4]), 1 => select(KEYS)]
}

fn start_after() -> impl Strategy<Value = &'static str> {
    prop_oneof![key(), select(PREFIXES), select(&["b", "a/a", "c", "~", "a/b/", "a-"][..])]
}

fn body() -> impl Strategy<Value = Body> {
    let how = prop_oneof![
        4 => Just(How::InMemory),
        3 => Just(How::Streamed),
        1 => Just(How::Failing),
        1 => Just(How::MisDeclared),
    ];
    let len = prop_oneof![1 => Just(0), 6 => 1_usize..40, 2 => 1000_usize..100_000];
    (0_u8..250, len, how).prop_map(|(seed, len, how)| Body { seed, len, how })
}

fn mode() -> impl Strategy<Value = Mode> {
    prop_oneof![
        4 => Just(Mode::Overwrite),
        2 => Just(Mode::CreateNew),
        1 => Just(Mode::UniqueName),
        2 => version().prop_map(Mode::IfMatch),
    ]
}

fn condition() -> impl Strategy<Value = Condition> {
    prop_oneof![
        3 => Just(Condition::None),
        1 => version().prop_map(Condition::IfMatch),
        1 => version().prop_map(Condition::IfNoneMatch),
    ]
}

pub(super) fn version() -> impl Strategy<Value = Version> {
    prop_oneof![3 => Just(Version::Present), 1 => Just(Version::PresentButWeak), 2 => Just(Version::Older)]
}

pub(super) fn given() -> impl Strategy<Value = Given> {
    select(&[Given::Nothing, Given::Headers, Given::User][..])
}

/// Positions around the sizes of small bodies: inside, at the edge and outside.
fn range() -> impl Strategy<Value = ByteRange> {
    prop_oneof![
        (0_u64..25, 1_u64..25).prop_map(|(from, len)| ByteRange::from(from..from + len)),
        (0_u64..25).prop_map(|from| ByteRange::from(from..)),
        (1_u64..25).prop_map(ByteRange::last),
    ]
}
