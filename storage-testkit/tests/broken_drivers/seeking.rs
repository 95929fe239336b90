//! Wrong windows of a reader, and windows of more than one version.

use std::sync::Mutex;

use bytes::Bytes;
use storage_core::{
    ByteRange, Driver, ETag, Error, ErrorKind, Key, Object, OpenOptions, Result, async_trait,
};

use crate::flaw::{Flaw, Sound, caught};

/// Returns the options without the permission to return the whole object, as for a remote driver.
fn remote(options: &OpenOptions) -> OpenOptions {
    let mut options = options.clone();
    options.allow_whole = false;
    options
}

/// Returns the bytes before those of the range, if a version is required.
#[derive(Default)]
struct LaterWindowsAreShifted;

#[async_trait]
impl Flaw for LaterWindowsAreShifted {
    async fn open(&self, inner: &Sound, key: &Key, options: &OpenOptions) -> Result<Object> {
        let (mut options, mut claimed) = (remote(options), None);
        if options.if_match.is_some()
            && let Some(ByteRange::FromTo(from, to)) = options.range
            && from > 0
        {
            options.range = Some(ByteRange::from(from - 1..to - 1));
            claimed = Some(from..to);
        }
        let object = inner.memory.open(key, &options).await?;
        let (meta, range) = (object.meta().clone(), claimed.unwrap_or(object.range()));
        Ok(Object::from_bytes(meta, range, object.bytes().await?))
    }
}

#[test]
fn shifted_windows_are_caught() {
    caught::<LaterWindowsAreShifted>(&[
        "reader::a_reader_reads_an_object_from_its_beginning_to_its_end",
        "reader::an_index_at_the_end_is_read_before_the_rest",
        "reader::random_seeks_and_reads_agree_with_the_bytes",
    ]);
}

/// Returns a whole object whose last byte is wrong, if the whole is allowed.
#[derive(Default)]
struct WholeIsWrong;

#[async_trait]
impl Flaw for WholeIsWrong {
    async fn open(&self, inner: &Sound, key: &Key, options: &OpenOptions) -> Result<Object> {
        let object = inner.memory.open(key, options).await?;
        if !options.allow_whole {
            return Ok(object);
        }
        let (meta, range) = (object.meta().clone(), object.range());
        let mut bytes = Vec::from(object.bytes().await?);
        if let Some(last) = bytes.last_mut() {
            *last ^= 1;
        }
        Ok(Object::from_bytes(meta, range, bytes.into()))
    }
}

#[test]
fn a_wrong_whole_object_is_caught() {
    caught::<WholeIsWrong>(&[
        "reader::a_reader_reads_an_object_from_its_beginning_to_its_end",
        "reader::an_index_at_the_end_is_read_before_the_rest",
    ]);
}

/// Fails for a range of an empty object with another kind than `RangeNotSatisfiable`.
#[derive(Default)]
struct EmptyObjectHasNoLength;

#[async_trait]
impl Flaw for EmptyObjectHasNoLength {
    async fn open(&self, inner: &Sound, key: &Key, options: &OpenOptions) -> Result<Object> {
        match inner.memory.open(key, &remote(options)).await {
            Err(error) if error.kind() == ErrorKind::RangeNotSatisfiable => {
                Err(Error::new(ErrorKind::Unexpected, "no length"))
            }
            opened => opened,
        }
    }
}

#[test]
fn a_wrong_error_for_an_empty_object_is_caught() {
    caught::<EmptyObjectHasNoLength>(&[
        "reader::a_reader_reads_an_object_from_its_beginning_to_its_end",
    ]);
}

/// Opens a missing object as an empty one.
#[derive(Default)]
struct MissingIsEmpty;

#[async_trait]
impl Flaw for MissingIsEmpty {
    async fn open(&self, inner: &Sound, key: &Key, options: &OpenOptions) -> Result<Object> {
        match inner.memory.open(key, options).await {
            Err(error) if error.is_not_found() => {
                let meta = storage_core::ObjectMeta::new(key.clone(), 0);
                Ok(Object::from_bytes(meta, 0..0, Bytes::new()))
            }
            opened => opened,
        }
    }
}

#[test]
fn a_missing_object_that_is_opened_is_caught() {
    caught::<MissingIsEmpty>(&["reader::a_reader_of_a_missing_object_is_refused"]);
}

/// Ignores the version that is required, and returns the ETag of the version that was opened first.
#[derive(Default)]
struct VersionsAreMixed {
    first: Mutex<Option<ETag>>,
}

#[async_trait]
impl Flaw for VersionsAreMixed {
    async fn open(&self, inner: &Sound, key: &Key, options: &OpenOptions) -> Result<Object> {
        let mut options = remote(options);
        options.if_match = None;
        let object = inner.memory.open(key, &options).await?;
        let first =
            self.first.lock().unwrap().get_or_insert(object.meta().etag.clone().unwrap()).clone();
        Ok(object.map_meta(|mut meta| {
            meta.etag = Some(first);
            meta
        }))
    }
}

#[test]
fn windows_of_two_versions_are_caught() {
    caught::<VersionsAreMixed>(&[
        "reader::a_reader_of_an_overwritten_object_reads_the_old_version_or_fails",
        "reader::a_reader_of_another_version_is_refused",
    ]);
}

/// Returns zeros for a range of a deleted version.
#[derive(Default)]
struct DeletedIsZeros {
    size: Mutex<u64>,
}

#[async_trait]
impl Flaw for DeletedIsZeros {
    async fn open(&self, inner: &Sound, key: &Key, options: &OpenOptions) -> Result<Object> {
        let options = remote(options);
        let opened = inner.memory.open(key, &options).await;
        match (opened, &options.if_match, options.range) {
            (Err(error), Some(etag), Some(range)) if error.is_not_found() => {
                let size = *self.size.lock().unwrap();
                let range = range.resolve(size)?;
                let mut meta = storage_core::ObjectMeta::new(key.clone(), size);
                meta.etag = Some(etag.clone());
                let zeros = vec![0; (range.end - range.start) as usize];
                Ok(Object::from_bytes(meta, range, zeros.into()))
            }
            (Ok(object), ..) => {
                *self.size.lock().unwrap() = object.meta().size;
                Ok(object)
            }
            (opened, ..) => opened,
        }
    }
}

#[test]
fn zeros_of_a_deleted_object_are_caught() {
    caught::<DeletedIsZeros>(&[
        "reader::a_reader_of_a_deleted_object_reads_the_old_version_or_fails",
    ]);
}
