//! `delete_prefix` removes everything below a directory, and nothing else.

use crate::case::Checked;
use crate::kit::{Kit, names_of};

pub(crate) async fn all_objects_below_the_prefix_are_deleted_and_others_stay(kit: &Kit) -> Checked {
    let below = kit.seed_keys(&["a/1", "a/b/2", "a/b/c/3", "a/z"]).await?;
    let neighbours = kit.seed_keys(&["a!", "a-b/1", "a.b", "a0", "aa/1", "b/a/1"]).await?;
    let mut deleted = kit.storage.delete_prefix("a/");
    let mut gone = Vec::new();
    while let Some(entry) = deleted.next().await {
        gone.push(entry?.name().to_owned());
    }
    assert_eq!(gone, below);
    assert_eq!(kit.names("").await?, neighbours);
    assert_eq!(kit.storage.delete_prefix("a/").finish().await?, 0);
    Ok(())
}

pub(crate) async fn an_empty_prefix_deletes_everything(kit: &Kit) -> Checked {
    let stored = kit.seed_keys(&["a/1", "b", "c/d/2"]).await?;
    assert_eq!(kit.storage.delete_everything().finish().await?, stored.len() as u64);
    assert!(kit.names("").await?.is_empty());
    Ok(())
}

pub(crate) async fn folder_markers_below_the_prefix_are_deleted_and_others_stay(
    kit: &Kit,
) -> Checked {
    let storage = kit.harness.folder_markers().await.expect("the harness creates folder markers");
    assert_eq!(storage.delete_prefix("b/").finish().await?, 4);
    let left = storage.list("").with_folder_markers().entries().collect().await?;
    assert_eq!(names_of(left), ["a", "d", "e/"]);
    assert_eq!(storage.delete_everything().finish().await?, 3);
    assert!(storage.list("").with_folder_markers().entries().collect().await?.is_empty());
    Ok(())
}

pub(crate) async fn an_unreadable_directory_is_reported_and_the_rest_is_deleted(
    kit: &Kit,
) -> Checked {
    let harness = &kit.harness;
    let storage = harness
        .unreadable_directory()
        .await
        .expect("the harness creates a directory that cannot be read");
    let mut deleted = storage.delete_everything();
    let (mut gone, mut named) = (Vec::new(), Vec::new());
    while let Some(entry) = deleted.next().await {
        match entry {
            Ok(entry) => gone.push(entry.name().to_owned()),
            Err(error) => named.push(error.key().unwrap_or_default().to_owned()),
        }
    }
    assert_eq!(
        (gone, named),
        (["a", "b0", "c/1"].map(str::to_owned).to_vec(), vec!["b/".to_owned()])
    );
    Ok(())
}
