//! Refuses files whose names a bundler has hashed, but whose bytes differ from those of an earlier
//! release.

use std::collections::BTreeMap;

use storage_core::{Error, ErrorKind, Result, Storage};

use super::before::Before;
use super::digest::Sha256;
use super::draft::Draft;
use super::manifest::Manifest;
use super::names::first_names_and_count;
use crate::site::{Asset, Naming, is_bundled};

/// Checks the files whose names a bundler has hashed, and fixed names that may have been such names
/// in an earlier release. Reads manifests of releases before the current one only for names that
/// the destination has, and that the current release lacks or has as fixed names that look hashed.
///
/// # Errors
/// `Integrity` if an earlier release has other bytes under one of the names. Browsers keep them, so
/// the name must never get other ones.
pub(crate) async fn check_bundled(
    destination: &Storage,
    before: &Before,
    drafts: &[Draft<'_>],
) -> Result<()> {
    let was_fixed = |name: &str| {
        let last = before.last.as_ref();
        last.is_some_and(|last| last.fixed().any(|entry| entry.name == name))
    };
    let is_new = |draft: &&Draft<'_>| match draft.asset.naming {
        Naming::Hashed => false,
        Naming::Bundled => draft.last.is_none(),
        // An earlier release may have the name as one with a hash.
        Naming::Fixed => {
            let name = &draft.asset.name;
            before.found.contains(name) && (is_bundled(name) || !was_fixed(name))
        }
    };
    let new = |draft: &Draft<'_>| {
        let Asset { name, sha256, naming, .. } = draft.asset;
        (name.clone(), (Sha256(*sha256), *naming))
    };
    let mut unknown: BTreeMap<_, _> = drafts.iter().filter(is_new).map(new).collect();
    if let Some(last) = &before.last {
        compare(last, &mut unknown)?;
    }
    unknown.retain(|name, _| before.found.contains(name));
    for previous in &before.read.pointer.previous {
        if unknown.is_empty() {
            break;
        }
        if let Some(manifest) = Manifest::read_if_whole(destination, &previous.release).await? {
            compare(&manifest, &mut unknown)?;
        }
    }
    Ok(())
}

/// Compares names with those of a release, and removes what is equal.
fn compare(manifest: &Manifest, unknown: &mut BTreeMap<String, (Sha256, Naming)>) -> Result<()> {
    let mut differing = Vec::new();
    for entry in manifest.entries.values() {
        match unknown.get(&entry.name) {
            // A fixed name may change with each release.
            Some((_, Naming::Fixed)) if entry.naming == Naming::Fixed => {}
            Some((sha256, _)) if *sha256 != entry.sha256 => differing.push(entry.name.as_str()),
            Some(_) => drop(unknown.remove(&entry.name)),
            None => {}
        }
    }
    match differing.first() {
        None => Ok(()),
        Some(first) => Err(refused(first, &differing, &manifest.release)),
    }
}

fn refused(first: &str, differing: &[&str], release: &str) -> Error {
    let message = format!(
        "{}: the release {release} has other bytes under this name, which browsers keep \
         because a bundler has hashed it; nothing was changed: build the site again with hashes of \
         the content, rename the file, or publish it under a hash of its own with bundled_names = \
         [\"!/{first}\"]",
        first_names_and_count(differing),
    );
    Error::new(ErrorKind::Integrity, message)
}
