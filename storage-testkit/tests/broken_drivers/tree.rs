//! Drivers that cannot store `a` and `a/b` together, like a file system, and refuse the second one
//! wrongly.

use std::collections::BTreeSet;
use std::sync::Mutex;

use futures_util::StreamExt;
use storage_core::{
    CopyOptions, Driver, Error, ErrorKind, Key, ListOptions, ObjectMeta, Payload, Prefix,
    RenameOptions, Result, SaveOptions, async_trait,
};

use crate::flaw::{Flaw, Sound, caught};

fn conflict() -> Error {
    Error::new(ErrorKind::Conflict, "a file and a directory would need the same name")
}

/// Returns whether an object exists below this key or at a parent of it.
async fn has_conflict(inner: &Sound, key: &Key) -> Result<bool> {
    // No valid key is below a key of maximum length.
    if let Ok(directory) = Prefix::new(format!("{key}/"))
        && inner.memory.list(&directory, &ListOptions::default()).next().await.is_some()
    {
        return Ok(true);
    }
    for (at, _) in key.as_str().match_indices('/') {
        if inner.memory.exists(&Key::new(&key.as_str()[..at])?).await? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The flaw of a tree.
#[async_trait]
pub(crate) trait Conflicts: Default + Send + Sync + 'static {
    /// Runs if another object conflicts with the key.
    async fn refuse(inner: &Sound, key: &Key) -> Result<()>;

    /// Whether the driver reports a conflict without a conflicting object.
    fn is_afraid_of(_key: &Key) -> bool {
        false
    }
}

#[derive(Default)]
pub(crate) struct Tree<C>(std::marker::PhantomData<fn() -> C>);

pub(crate) type SoundTree = Tree<Refuses>;

impl<C: Conflicts> Tree<C> {
    async fn check(inner: &Sound, key: &Key) -> Result<()> {
        if C::is_afraid_of(key) {
            return Err(conflict());
        }
        if has_conflict(inner, key).await? {
            return C::refuse(inner, key).await;
        }
        Ok(())
    }
}

#[async_trait]
impl<C: Conflicts> Flaw for Tree<C> {
    const TREE: bool = true;

    async fn save(
        &self,
        inner: &Sound,
        key: &Key,
        payload: Payload,
        options: &SaveOptions,
    ) -> Result<ObjectMeta> {
        Self::check(inner, key).await?;
        inner.memory.save(key, payload, options).await
    }

    async fn copy(&self, inner: &Sound, from: &Key, to: &Key, options: &CopyOptions) -> Result<()> {
        inner.memory.stat(from).await?;
        Self::check(inner, to).await?;
        inner.memory.copy(from, to, options).await
    }

    async fn rename(
        &self,
        inner: &Sound,
        from: &Key,
        to: &Key,
        options: &RenameOptions,
    ) -> Result<()> {
        inner.memory.stat(from).await?;
        Self::check(inner, to).await?;
        inner.memory.rename(from, to, options).await
    }
}

#[derive(Default)]
pub(crate) struct Refuses;

#[async_trait]
impl Conflicts for Refuses {
    async fn refuse(_inner: &Sound, _key: &Key) -> Result<()> {
        Err(conflict())
    }
}

/// Deletes the conflicting object.
#[derive(Default)]
struct DeletesTheConflictingObject;

#[async_trait]
impl Conflicts for DeletesTheConflictingObject {
    async fn refuse(inner: &Sound, key: &Key) -> Result<()> {
        for (at, _) in key.as_str().match_indices('/') {
            inner.memory.delete(&Key::new(&key.as_str()[..at])?).await?;
        }
        Err(conflict())
    }
}

#[test]
fn a_conflict_that_deletes_the_old_object_is_caught() {
    caught::<Tree<DeletesTheConflictingObject>>(&[
        "keys::a_key_and_a_key_below_it_are_both_kept_or_refused",
        "property::random_operations_agree_with_the_memory_driver",
    ]);
}

#[derive(Default)]
struct ReportsAnotherKind;

#[async_trait]
impl Conflicts for ReportsAnotherKind {
    async fn refuse(_inner: &Sound, _key: &Key) -> Result<()> {
        Err(Error::new(ErrorKind::Unexpected, "Not a directory (os error 20)"))
    }
}

#[test]
fn a_conflict_with_another_error_kind_is_caught() {
    caught::<Tree<ReportsAnotherKind>>(&[
        "keys::a_key_and_a_key_below_it_are_both_kept_or_refused",
        "property::random_operations_agree_with_the_memory_driver",
    ]);
}

#[derive(Default)]
struct KeepsBoth;

#[async_trait]
impl Conflicts for KeepsBoth {
    async fn refuse(_inner: &Sound, _key: &Key) -> Result<()> {
        Ok(())
    }
}

#[test]
fn a_driver_that_is_not_a_tree_with_a_harness_for_trees_is_caught() {
    caught::<Tree<KeepsBoth>>(&["keys::a_key_and_a_key_below_it_are_both_kept_or_refused"]);
}

#[derive(Default)]
struct FindsConflictsEverywhere;

#[async_trait]
impl Conflicts for FindsConflictsEverywhere {
    async fn refuse(_inner: &Sound, _key: &Key) -> Result<()> {
        Err(conflict())
    }

    fn is_afraid_of(key: &Key) -> bool {
        key.as_str().starts_with("a-")
    }
}

#[test]
fn a_conflict_without_a_conflicting_object_is_caught() {
    caught::<Tree<FindsConflictsEverywhere>>(&[
        "property::random_operations_agree_with_the_memory_driver",
    ]);
}

/// Leaves empty directories.
#[derive(Default)]
struct LeavesDirectories {
    directories: Mutex<BTreeSet<String>>,
}

#[async_trait]
impl Flaw for LeavesDirectories {
    const TREE: bool = true;

    async fn save(
        &self,
        inner: &Sound,
        key: &Key,
        payload: Payload,
        options: &SaveOptions,
    ) -> Result<ObjectMeta> {
        SoundTree::check(inner, key).await?;
        if self.directories.lock().unwrap().contains(key.as_str()) {
            return Err(conflict());
        }
        let above = key.as_str().match_indices('/').map(|(at, _)| key.as_str()[..at].to_owned());
        self.directories.lock().unwrap().extend(above);
        inner.memory.save(key, payload, options).await
    }
}

#[test]
fn an_empty_directory_that_blocks_an_object_is_caught() {
    caught::<LeavesDirectories>(&[
        "delete::a_key_can_become_a_prefix_and_a_key_again",
        "save::a_save_after_a_failed_save_succeeds",
        "cancellation::a_dropped_save_creates_no_object",
    ]);
}
