//! The life of an upload: it outlives handles, is listed, resumed, aborted and swept.

use std::time::Duration;

use futures_util::TryStreamExt;
use storage_core::{ErrorKind, MultipartLimits, Part, UnfinishedUpload, UploadId};

use super::{content, listed, part_size, put_all, split};
use crate::case::Checked;
use crate::kit::{Kit, refused};
use crate::support::content::assert_same;

pub(crate) async fn an_upload_outlives_its_handle(kit: &Kit) -> Checked {
    let bytes = content(kit, 1, 2)?;
    let parts = split(kit, &bytes)?;
    let upload = kit.storage.multipart("a.bin").part_size(part_size(kit)?).await?;
    upload.put_part(1, parts[0].1.clone()).await?;
    let stored = upload.id().to_string();
    drop(upload);

    let resumed = kit.storage.resume_multipart("a.bin", stored.parse()?)?;
    assert_eq!(resumed.part_size(), Some(part_size(kit)?));
    assert_eq!(listed(&resumed).await?, [(1, part_size(kit)?)]);
    for (number, part) in &parts[1..] {
        resumed.put_part(*number, part.clone()).await?;
    }
    resumed.complete().await?;
    assert_same(&kit.read("a.bin").await?, &bytes);
    Ok(())
}

pub(crate) async fn listed_parts_are_those_that_were_acknowledged(kit: &Kit) -> Checked {
    let bytes = content(kit, 1, 2)?;
    let upload = kit.storage.multipart("a.bin").part_size(part_size(kit)?).await?;
    assert_eq!(listed(&upload).await?, []);
    let mut known = Vec::new();
    for (number, part) in split(kit, &bytes)?.into_iter().rev() {
        known.push(upload.put_part(number, part).await?);
    }
    known.reverse();
    let stored: Vec<Part> = upload.parts().try_collect().await?;
    let versions = |parts: &[Part]| -> Vec<_> {
        parts.iter().map(|part| (part.number, part.size, part.etag.clone())).collect()
    };
    assert_eq!(versions(&stored), versions(&known));
    Ok(())
}

pub(crate) async fn an_id_of_another_key_is_not_found(kit: &Kit) -> Checked {
    let upload = kit.storage.multipart("a.bin").part_size(part_size(kit)?).await?;
    upload.put_part(1, "body").await?;
    for key in ["b.bin", "a.bin/x", "a", "x/a.bin"] {
        let other = kit.storage.resume_multipart(key, upload.id().clone())?;
        refused(other.put_part(1, "evil").await, ErrorKind::NotFound);
        refused(listed(&other).await, ErrorKind::NotFound);
        refused(other.complete().await, ErrorKind::NotFound);
        other.abort().await?;
    }
    upload.complete().await?;
    assert_eq!(kit.read("a.bin").await?, "body");
    kit.holds_only(&["a.bin"]).await?;
    Ok(())
}

pub(crate) async fn an_unknown_id_is_not_found(kit: &Kit) -> Checked {
    let known = kit.storage.multipart("a.bin").part_size(part_size(kit)?).await?;
    let plan = known.id().plan().cloned();
    for text in ["0", "00000000000000000000000000000000", "a-b_c~d", &"f".repeat(1_000)] {
        let id = UploadId::new(text, plan.clone())?;
        let unknown = kit.storage.resume_multipart("a.bin", id)?;
        refused(unknown.put_part(1, "evil").await, ErrorKind::NotFound);
        refused(listed(&unknown).await, ErrorKind::NotFound);
        refused(unknown.complete().await, ErrorKind::NotFound);
        unknown.abort().await?;
    }
    known.put_part(1, "body").await?;
    known.complete().await?;
    Ok(())
}

pub(crate) async fn an_aborted_upload_is_gone(kit: &Kit) -> Checked {
    kit.storage.save("a.bin", "old").await?;
    let upload = kit.storage.multipart("a.bin").part_size(part_size(kit)?).await?;
    put_all(kit, &upload, &content(kit, 1, 1)?).await?;
    upload.abort().await?;
    refused(upload.put_part(1, "late").await, ErrorKind::NotFound);
    refused(listed(&upload).await, ErrorKind::NotFound);
    refused(upload.complete().await, ErrorKind::NotFound);
    upload.abort().await?;
    assert_eq!(kit.read("a.bin").await?, "old");
    kit.holds_only(&["a.bin"]).await?;
    Ok(())
}

pub(crate) async fn an_abort_after_completion_leaves_the_object(kit: &Kit) -> Checked {
    let upload = kit.storage.multipart("a.bin").part_size(part_size(kit)?).await?;
    upload.put_part(1, "body").await?;
    upload.complete().await?;
    upload.abort().await?;
    refused(upload.put_part(1, "late").await, ErrorKind::NotFound);
    assert_eq!(kit.read("a.bin").await?, "body");
    Ok(())
}

pub(crate) async fn two_uploads_of_one_key_are_independent(kit: &Kit) -> Checked {
    let begin = || kit.storage.multipart("a.bin");
    let (first, second) = (begin().await?, begin().await?);
    assert!(!first.id().is_same_upload(second.id()));
    first.put_part(1, "first").await?;
    second.put_part(1, "second").await?;
    first.complete().await?;
    assert_eq!(kit.read("a.bin").await?, "first");
    second.complete().await?;
    assert_eq!(kit.read("a.bin").await?, "second");
    refused(first.complete().await, ErrorKind::NotFound);
    Ok(())
}

pub(crate) async fn unfinished_uploads_are_listed_by_prefix(kit: &Kit) -> Checked {
    let mut begun = Vec::new();
    for key in ["b/2.bin", "a/1.bin", "b/1.bin", "b.bin"] {
        begun.push(kit.storage.multipart(key).part_size(part_size(kit)?).await?);
    }
    begun[0].put_part(1, "body").await?;
    let keys = |uploads: Vec<UnfinishedUpload>| -> Vec<String> {
        uploads.into_iter().map(|upload| upload.key.to_string()).collect()
    };
    let all: Vec<_> = kit.storage.multipart_uploads("").try_collect().await?;
    for upload in &all {
        let known = begun.iter().find(|known| *known.key() == upload.key).expect("it was begun");
        assert!(known.id().is_same_upload(&upload.id), "{}", upload.key);
    }
    assert_eq!(keys(all), ["a/1.bin", "b.bin", "b/1.bin", "b/2.bin"]);
    let below: Vec<_> = kit.storage.multipart_uploads("b/").try_collect().await?;
    assert_eq!(keys(below), ["b/1.bin", "b/2.bin"]);

    begun[0].complete().await?;
    begun[1].abort().await?;
    let rest: Vec<_> = kit.storage.multipart_uploads("").try_collect().await?;
    assert_eq!(keys(rest), ["b.bin", "b/1.bin"]);
    Ok(())
}

pub(crate) async fn a_listed_upload_can_be_aborted(kit: &Kit) -> Checked {
    let upload = kit.storage.multipart("a.bin").part_size(part_size(kit)?).await?;
    upload.put_part(1, "body").await?;
    let listed: Vec<_> = kit.storage.multipart_uploads("a").try_collect().await?;
    for listed in listed {
        kit.storage.resume_multipart(listed.key, listed.id)?.abort().await?;
    }
    refused(upload.complete().await, ErrorKind::NotFound);
    Ok(())
}

pub(crate) async fn stale_uploads_are_swept_and_others_stay(kit: &Kit) -> Checked {
    let upload = kit.storage.multipart("a/1.bin").part_size(part_size(kit)?).await?;
    upload.put_part(1, "body").await?;
    let other = kit.storage.multipart("b/1.bin").part_size(part_size(kit)?).await?;
    other.put_part(1, "body").await?;
    assert_eq!(kit.storage.abort_stale("", Duration::from_secs(3_600)).await?, 0);
    assert_eq!(listed(&upload).await?, [(1, 4)]);
    // Backends state the beginning in whole seconds.
    tokio::time::sleep(Duration::from_millis(2_100)).await;
    assert_eq!(kit.storage.abort_stale("a/", Duration::from_secs(1)).await?, 1);
    refused(upload.complete().await, ErrorKind::NotFound);
    other.complete().await?;
    kit.holds_only(&["b/1.bin"]).await?;
    Ok(())
}

pub(crate) async fn the_limits_are_those_of_the_driver(kit: &Kit) -> Checked {
    let expected = kit.harness.multipart_limits().expect("it is required");
    match kit.storage.multipart_limits() {
        Ok(limits) => assert_eq!(limits, expected),
        Err(error) => {
            assert_eq!(expected, MultipartLimits::none(), "{error}");
            let is_refused =
                matches!(error.kind(), ErrorKind::Unsupported | ErrorKind::PermissionDenied);
            assert!(is_refused, "{error}");
        }
    }
    Ok(())
}
