//! [`Purge`]: removes the copies of changed pages from mirrors.

use std::collections::BTreeSet;

use async_trait::async_trait;
use storage_core::{Result, Storage};

use super::layout::POINTER_KEY;
use super::manifest::{Manifest, ManifestEntry};
use super::pointer::Previous;
use crate::site::Naming;

/// Removes the copies of changed objects from mirrors, after a release became current.
#[async_trait]
pub trait Purge: Send + Sync {
    /// Removes the copies of these keys below the destination: fixed names, and names with a hash
    /// whose headers have changed. Others never change.
    ///
    /// # Errors
    /// If a mirror may still have a copy. The release stays current, and the next publish or
    /// rollback purges again.
    async fn purge(&self, keys: &[String]) -> Result<()>;
}

/// Purges what mirrors may have of releases before the current one: the last one, and these listed
/// ones.
pub(crate) async fn purge(
    mirrors: &dyn Purge,
    destination: &Storage,
    current: Option<&Manifest>,
    last: Option<&Manifest>,
    listed: &[Previous],
) -> Result<()> {
    // A mirror that serves the current release reads the pointer.
    let mut keys = BTreeSet::from([POINTER_KEY.to_owned()]);
    for manifest in current.into_iter().chain(last) {
        add(&mut keys, current, manifest);
    }
    let mut read = Ok(());
    for previous in listed {
        match Manifest::read_if_whole(destination, &previous.release).await {
            Ok(manifest) => manifest.iter().for_each(|other| add(&mut keys, current, other)),
            // The other keys are purged nevertheless.
            Err(error) => read = Err(error),
        }
    }
    let keys: Vec<String> = keys.into_iter().collect();
    mirrors.purge(&keys).await?;
    read
}

fn add(keys: &mut BTreeSet<String>, current: Option<&Manifest>, other: &Manifest) {
    keys.extend(other.fixed().map(|entry| entry.name.clone()));
    keys.extend(current.into_iter().flat_map(|current| with_other_headers(current, other)));
}

/// Returns the names with a hash that two releases have with different headers, and their siblings.
fn with_other_headers(current: &Manifest, last: &Manifest) -> Vec<String> {
    let has_changed = |(path, entry): &(&String, &ManifestEntry)| {
        let other = last.entries.get(*path).filter(|other| other.name == entry.name);
        entry.naming != Naming::Fixed && other.is_some_and(|other| other.metadata != entry.metadata)
    };
    let changed = current.entries.iter().filter(has_changed).map(|(_, entry)| entry);
    let names = changed.flat_map(|entry| {
        let siblings = entry.encodings.values().map(|sibling| sibling.name.clone());
        siblings.chain([entry.name.clone()])
    });
    names.collect()
}
