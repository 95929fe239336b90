//! Conditions of `open`: RFC 9110, section 13, in its order.

use std::time::Duration;

use storage_core::{ByteRange, ETag, ErrorKind, ObjectMeta};

use crate::case::{Checked, Failure};
use crate::kit::{Kit, refused};

const KEY: &str = "a/b.txt";

/// Saves an object of ten bytes and returns its ETag.
async fn object(kit: &Kit) -> Result<(ObjectMeta, ETag), Failure> {
    kit.seed.save(KEY, "0123456789").await?;
    let meta = kit.storage.stat(KEY).await?;
    let etag = meta.etag.clone().unwrap_or_else(|| panic!("{KEY:?} has no ETag"));
    Ok((meta, etag))
}

pub(crate) async fn if_match_opens_the_matching_version(kit: &Kit) -> Checked {
    let (_, etag) = object(kit).await?;
    assert_eq!(kit.storage.open(KEY).if_match(etag.clone()).await?.text().await?, "0123456789");
    assert_eq!(kit.storage.open(KEY).if_match(etag).range(3..5).await?.text().await?, "34");
    Ok(())
}

pub(crate) async fn if_match_refuses_another_version(kit: &Kit) -> Checked {
    let (_, old) = object(kit).await?;
    kit.seed.save(KEY, "9876543210").await?;
    refused(kit.storage.open(KEY).if_match(old.clone()).await, ErrorKind::PreconditionFailed);
    refused(kit.storage.open(KEY).if_match(old).range(0..1).await, ErrorKind::PreconditionFailed);
    refused(
        kit.storage.open(KEY).if_match(ETag::strong("never-seen")?).await,
        ErrorKind::PreconditionFailed,
    );
    Ok(())
}

pub(crate) async fn if_match_compares_strongly(kit: &Kit) -> Checked {
    let (_, etag) = object(kit).await?;
    let weak = ETag::weak(etag.opaque())?;
    refused(kit.storage.open(KEY).if_match(weak).await, ErrorKind::PreconditionFailed);
    // Nor does a strong ETag match a weak version.
    if etag.is_weak() {
        refused(
            kit.storage.open(KEY).if_match(ETag::strong(etag.opaque())?).await,
            ErrorKind::PreconditionFailed,
        );
    }
    Ok(())
}

pub(crate) async fn if_none_match_reports_an_unchanged_object(kit: &Kit) -> Checked {
    let (_, etag) = object(kit).await?;
    refused(kit.storage.open(KEY).if_none_match(etag.clone()).await, ErrorKind::NotModified);
    refused(kit.storage.open(KEY).if_none_match(etag).range(0..1).await, ErrorKind::NotModified);
    Ok(())
}

pub(crate) async fn if_none_match_compares_weakly(kit: &Kit) -> Checked {
    let (_, etag) = object(kit).await?;
    for known in [ETag::weak(etag.opaque())?, ETag::strong(etag.opaque())?] {
        refused(kit.storage.open(KEY).if_none_match(known).await, ErrorKind::NotModified);
    }
    Ok(())
}

pub(crate) async fn if_none_match_opens_another_version(kit: &Kit) -> Checked {
    object(kit).await?;
    let object = kit.storage.open(KEY).if_none_match(ETag::strong("never-seen")?).await?;
    assert_eq!(object.text().await?, "0123456789");
    Ok(())
}

pub(crate) async fn if_none_match_opens_an_overwritten_object(kit: &Kit) -> Checked {
    let (_, old) = object(kit).await?;
    kit.seed.save(KEY, "9876543210").await?;
    assert_eq!(kit.storage.open(KEY).if_none_match(old).await?.text().await?, "9876543210");
    Ok(())
}

pub(crate) async fn if_modified_since_compares_whole_seconds(kit: &Kit) -> Checked {
    kit.seed.save(KEY, "0123456789").await?;
    let Some(saved) = kit.storage.stat(KEY).await?.last_modified else { return Ok(()) };
    let since_epoch = saved.duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    let second = std::time::UNIX_EPOCH + Duration::from_secs(since_epoch.as_secs());
    // The last one is after the year 9999, which an HTTP date cannot express.
    let later = [1, 86_400, 300_000_000_000].map(|seconds| saved + Duration::from_secs(seconds));
    for not_before in [saved, second].into_iter().chain(later) {
        refused(kit.storage.open(KEY).if_modified_since(not_before).await, ErrorKind::NotModified);
    }
    for before in [
        second - Duration::from_secs(1),
        second - Duration::from_secs(86_400),
        std::time::UNIX_EPOCH,
    ] {
        assert_eq!(
            kit.storage.open(KEY).if_modified_since(before).await?.text().await?,
            "0123456789"
        );
    }
    Ok(())
}

pub(crate) async fn if_modified_since_is_ignored_beside_if_none_match(kit: &Kit) -> Checked {
    let (meta, etag) = object(kit).await?;
    let later =
        meta.last_modified.unwrap_or_else(std::time::SystemTime::now) + Duration::from_secs(5);
    let open =
        kit.storage.open(KEY).if_none_match(ETag::strong("never-seen")?).if_modified_since(later);
    assert_eq!(open.await?.text().await?, "0123456789");
    let open = kit.storage.open(KEY).if_none_match(etag).if_modified_since(std::time::UNIX_EPOCH);
    refused(open.await, ErrorKind::NotModified);
    Ok(())
}

pub(crate) async fn if_match_is_evaluated_first(kit: &Kit) -> Checked {
    let (_, etag) = object(kit).await?;
    let open = kit.storage.open(KEY).if_match(ETag::strong("never-seen")?).if_none_match(etag);
    refused(open.await, ErrorKind::PreconditionFailed);
    Ok(())
}

pub(crate) async fn a_matching_if_match_leaves_the_decision_to_the_other_conditions(
    kit: &Kit,
) -> Checked {
    let (_, etag) = object(kit).await?;
    let open = kit.storage.open(KEY).if_match(etag.clone()).if_none_match(etag.clone());
    refused(open.await, ErrorKind::NotModified);
    let open = kit.storage.open(KEY).if_match(etag).if_none_match(ETag::strong("never-seen")?);
    assert_eq!(open.await?.text().await?, "0123456789");
    Ok(())
}

pub(crate) async fn conditions_are_evaluated_before_the_range(kit: &Kit) -> Checked {
    let (_, etag) = object(kit).await?;
    let past_the_end = ByteRange::from(100..);
    let open = kit.storage.open(KEY).range(past_the_end).if_match(ETag::strong("never-seen")?);
    refused(open.await, ErrorKind::PreconditionFailed);
    let open = kit.storage.open(KEY).range(past_the_end).if_none_match(ETag::weak(etag.opaque())?);
    refused(open.await, ErrorKind::NotModified);
    let open = kit.storage.open(KEY).range(past_the_end).if_none_match(etag);
    refused(open.await, ErrorKind::NotModified);
    let open = kit.storage.open(KEY).range(past_the_end).if_none_match(ETag::strong("never-seen")?);
    refused(open.await, ErrorKind::RangeNotSatisfiable);
    Ok(())
}

pub(crate) async fn a_missing_object_is_not_found_under_any_condition(kit: &Kit) -> Checked {
    let (_, etag) = object(kit).await?;
    refused(kit.storage.open("x.txt").if_match(etag.clone()).await, ErrorKind::NotFound);
    refused(kit.storage.open("x.txt").if_none_match(etag).await, ErrorKind::NotFound);
    refused(
        kit.storage.open("x.txt").if_modified_since(std::time::SystemTime::now()).await,
        ErrorKind::NotFound,
    );
    Ok(())
}
