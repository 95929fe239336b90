//! Wrong ETags, sizes, times and keys in metadata.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use storage_core::{Driver, ETag, Key, ObjectMeta, Result, async_trait};

use crate::flaw::{Flaw, Sound, caught};

/// Changes the metadata that `stat` and `open` return.
macro_rules! flawed_meta {
    ($flaw:ident, |$self:ident, $meta:ident| $body:expr) => {
        #[async_trait]
        impl Flaw for $flaw {
            async fn stat(&self, inner: &Sound, key: &Key) -> Result<ObjectMeta> {
                inner.memory.stat(key).await.map(|meta| self.shown(meta))
            }

            async fn open(
                &self,
                inner: &Sound,
                key: &Key,
                options: &storage_core::OpenOptions,
            ) -> Result<storage_core::Object> {
                let object = inner.memory.open(key, options).await?;
                Ok(object.map_meta(|meta| self.shown(meta)))
            }
        }

        impl $flaw {
            fn shown(&self, mut $meta: ObjectMeta) -> ObjectMeta {
                let $self = self;
                $body;
                $meta
            }
        }
    };
}

#[derive(Default)]
struct ConstantETag;
flawed_meta!(ConstantETag, |_flaw, meta| meta.etag = ETag::strong("constant").ok());

#[test]
fn a_constant_etag_is_caught() {
    caught::<ConstantETag>(&["metadata::a_strong_etag_differs_between_versions"]);
}

#[derive(Default)]
struct ETagOfTheSize;
flawed_meta!(ETagOfTheSize, |_flaw, meta| meta.etag =
    ETag::strong(format!("{:x}", meta.size)).ok());

#[test]
fn an_etag_made_of_the_size_is_caught() {
    caught::<ETagOfTheSize>(&["metadata::a_strong_etag_differs_between_versions"]);
}

#[derive(Default)]
struct ETagOfTheSecond;
flawed_meta!(ETagOfTheSecond, |_flaw, meta| {
    let since =
        meta.last_modified.and_then(|time| time.duration_since(SystemTime::UNIX_EPOCH).ok());
    meta.etag =
        ETag::strong(format!("{}-{:?}", meta.size, since.map(|since| since.as_secs()))).ok();
});

#[test]
fn an_etag_made_of_size_and_second_is_caught() {
    caught::<ETagOfTheSecond>(&["metadata::a_strong_etag_differs_between_versions"]);
}

#[derive(Default)]
struct RestlessETag {
    calls: AtomicU64,
}
flawed_meta!(RestlessETag, |flaw, meta| {
    meta.etag = ETag::strong(flaw.calls.fetch_add(1, Ordering::Relaxed).to_string()).ok();
});

#[test]
fn an_etag_that_changes_by_itself_is_caught() {
    caught::<RestlessETag>(&[
        "metadata::the_etag_of_an_unchanged_object_stays_the_same",
        "stat_exists::save_stat_and_open_return_the_same_metadata",
    ]);
}

#[derive(Default)]
struct WrongSize;
flawed_meta!(WrongSize, |_flaw, meta| meta.size += 1);

#[test]
fn a_wrong_size_is_caught() {
    caught::<WrongSize>(&[
        "open::the_body_has_the_size_in_the_metadata",
        "stat_exists::save_stat_and_open_return_the_same_metadata",
        "list::entries_agree_with_stat",
        "save::an_empty_object_is_saved",
    ]);
}

#[derive(Default)]
struct NoTime;
flawed_meta!(NoTime, |_flaw, meta| meta.last_modified = Some(SystemTime::UNIX_EPOCH));

#[test]
fn a_wrong_time_is_caught() {
    caught::<NoTime>(&[
        "stat_exists::stat_returns_the_time_of_the_save",
        "list::entries_agree_with_stat",
    ]);
}

#[derive(Default)]
struct TimeGoesBack {
    calls: AtomicU64,
}
flawed_meta!(TimeGoesBack, |flaw, meta| {
    let back = Duration::from_secs(flaw.calls.fetch_add(1, Ordering::Relaxed));
    meta.last_modified = meta.last_modified.map(|time| time - back);
});

#[test]
fn a_time_that_goes_back_is_caught() {
    caught::<TimeGoesBack>(&["metadata::last_modified_never_decreases"]);
}

#[derive(Default)]
struct AnotherKey;
flawed_meta!(AnotherKey, |_flaw, meta| meta.key =
    Key::new(format!("root/{}", meta.key)).unwrap_or(meta.key));

#[test]
fn metadata_with_another_key_is_caught() {
    caught::<AnotherKey>(&["open::the_body_has_the_size_in_the_metadata", "keys::spaces_are_kept"]);
}
