//! Checks that the suite detects defects: each driver has one flaw, and the named cases fail on it.

// This is test code, in which a panic is a failure of the test.
#![allow(clippy::unwrap_used)]

mod copying;
mod deleting;
mod flaw;
mod keys;
mod links;
mod listing;
mod metadata;
mod modes;
mod multipart;
mod opening;
mod others;
mod renaming;
mod saving;
mod seeking;
mod tree;
mod writing;
mod wrong_metadata;

use flaw::{Flawless, Of};
use tree::SoundTree;

// Without a flaw the same driver passes.
storage_testkit::conformance!(sound, Of::<Flawless>::default());
storage_testkit::conformance!(sound_tree, Of::<SoundTree>::default());

/// The handle checks these guarantees before it calls a driver, so no driver can break them.
const ENSURED_BY_THE_HANDLE: [&str; 4] = [
    "save::empty_chunks_in_a_stream_are_ignored",
    "metadata::invalid_metadata_is_refused_and_nothing_is_stored",
    "multipart::a_checksum_that_cannot_be_composed_is_unsupported",
    "multipart::unique_name_is_refused_at_the_beginning",
];

/// A case that detects no flaw proves nothing.
#[test]
fn every_case_detects_a_flaw() {
    let sources = [
        include_str!("copying.rs"),
        include_str!("deleting.rs"),
        include_str!("keys.rs"),
        include_str!("links.rs"),
        include_str!("listing.rs"),
        include_str!("metadata.rs"),
        include_str!("modes.rs"),
        include_str!("multipart.rs"),
        include_str!("opening.rs"),
        include_str!("others.rs"),
        include_str!("renaming.rs"),
        include_str!("saving.rs"),
        include_str!("seeking.rs"),
        include_str!("tree.rs"),
        include_str!("writing.rs"),
        include_str!("wrong_metadata.rs"),
    ];
    let is_tested =
        |name: &str| sources.iter().any(|source| source.contains(&format!("\"{name}\"")));
    let names = storage_testkit::cases().iter().map(storage_testkit::Case::name);
    let idle: Vec<_> =
        names.filter(|name| !is_tested(name) && !ENSURED_BY_THE_HANDLE.contains(name)).collect();
    assert!(idle.is_empty(), "these cases detect no flaw: {idle:#?}");
}
