//! The modes: what completion does if there is an object under the key.

use storage_core::{ETag, ErrorKind};

use crate::case::Checked;
use crate::cases::metadata::everything;
use crate::kit::{Kit, refused};

pub(crate) async fn a_completed_upload_replaces_the_whole_object(kit: &Kit) -> Checked {
    kit.storage.save("a.bin", "a longer old object").metadata(everything()).await?;
    let upload = kit.storage.multipart("a.bin").await?;
    upload.put_part(1, "new").await?;
    upload.complete().await?;
    let meta = kit.storage.stat("a.bin").await?;
    assert_eq!(kit.read("a.bin").await?, "new");
    assert!(meta.metadata.user_metadata.is_empty(), "{:?}", meta.metadata);
    kit.holds_only(&["a.bin"]).await?;
    Ok(())
}

pub(crate) async fn create_new_completes_under_a_free_key(kit: &Kit) -> Checked {
    let upload = kit.storage.multipart("a.bin").create_new().await?;
    upload.put_part(1, "body").await?;
    upload.complete().await?;
    // The object is that of this upload.
    upload.complete().await?;
    assert_eq!(kit.read("a.bin").await?, "body");
    Ok(())
}

pub(crate) async fn create_new_refuses_an_object_that_appeared_meanwhile(kit: &Kit) -> Checked {
    let upload = kit.storage.multipart("a.bin").create_new().await?;
    upload.put_part(1, "body").await?;
    kit.storage.save("a.bin", "other").metadata(everything()).await?;
    let before = kit.storage.stat("a.bin").await?;
    refused(upload.complete().await, ErrorKind::AlreadyExists);
    assert_eq!(kit.storage.stat("a.bin").await?, before);
    assert_eq!(kit.read("a.bin").await?, "other");
    // The upload is still there.
    kit.storage.delete("a.bin").await?;
    upload.complete().await?;
    assert_eq!(kit.read("a.bin").await?, "body");
    Ok(())
}

pub(crate) async fn if_match_replaces_the_matching_version(kit: &Kit) -> Checked {
    kit.storage.save("a.bin", "old").await?;
    let etag = kit.storage.stat("a.bin").await?.etag.expect("required of the driver");
    let upload = kit.storage.multipart("a.bin").if_match(etag).await?;
    upload.put_part(1, "new").await?;
    upload.complete().await?;
    upload.complete().await?;
    assert_eq!(kit.read("a.bin").await?, "new");
    Ok(())
}

pub(crate) async fn if_match_refuses_another_version_and_a_missing_object(kit: &Kit) -> Checked {
    kit.storage.save("a.bin", "old").await?;
    let etag = kit.storage.stat("a.bin").await?.etag.map_or_else(|| ETag::strong("a"), Ok)?;
    let upload = kit.storage.multipart("a.bin").if_match(etag).await?;
    upload.put_part(1, "new").await?;
    kit.storage.save("a.bin", "a newer version").await?;
    refused(upload.complete().await, ErrorKind::PreconditionFailed);
    assert_eq!(kit.read("a.bin").await?, "a newer version");
    kit.storage.delete("a.bin").await?;
    refused(upload.complete().await, ErrorKind::PreconditionFailed);
    kit.holds_only(&[]).await?;
    Ok(())
}

pub(crate) async fn unique_name_is_refused_at_the_beginning(kit: &Kit) -> Checked {
    let mut options = storage_core::MultipartOptions::new();
    options.mode = storage_core::SaveMode::UniqueName;
    refused(kit.storage.multipart_with("a.bin", options).await, ErrorKind::InvalidInput);
    Ok(())
}
