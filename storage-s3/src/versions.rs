//! The methods of [`S3`] for versions of objects, in a bucket that keeps versions.

use std::cmp::Reverse;
use std::collections::VecDeque;
use std::time::SystemTime;

use futures_core::stream::BoxStream;
use futures_util::{StreamExt, stream};
use http::Method;
use storage_client::parse_etag;
use storage_core::{ETag, Error, ErrorKind, Key, Object, OpenOptions, Prefix, Result};

use crate::driver::S3;
use crate::list::{PageCounter, decode_name};
use crate::open;
use crate::request::Request;
use crate::shared::Shared;
use crate::time::parse_time;
use crate::version::VERSION_ID;
use crate::xml;

/// A version of an object, or a delete marker.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Version {
    /// The object's key.
    pub key: Key,
    /// The id of the version. `null` for an object that was saved before the bucket kept versions.
    pub id: String,
    /// Whether `open` returns this version, or finds no object because of this delete marker.
    pub is_latest: bool,
    /// Whether this is a delete marker, which records the deletion of an object. Its older versions
    /// stay.
    pub is_delete_marker: bool,
    /// The length of the version in bytes. 0 for a delete marker.
    pub size: u64,
    /// The ETag of the version.
    pub etag: Option<ETag>,
    /// When the version was saved, or the object deleted.
    pub last_modified: Option<SystemTime>,
}

impl S3 {
    /// Lists the versions of all objects whose keys begin with a prefix, in byte order of the keys,
    /// and the newest version of each key first.
    ///
    /// An object in a bucket without versions has one version, `null`. No request is sent before
    /// the stream is polled. Each request returns at most 1,000 versions.
    ///
    /// ```no_run
    /// # async fn example(storage: storage_core::Storage) -> storage_core::Result<()> {
    /// use futures_util::TryStreamExt;
    /// use storage_core::OpenOptions;
    /// use storage_s3::S3;
    ///
    /// let s3 = storage.driver_as::<S3>()?;
    /// let key = s3.key("reports/june.pdf")?;
    /// let mut versions = s3.versions(&s3.prefix("reports/june.pdf")?);
    /// while let Some(version) = versions.try_next().await? {
    ///     if version.key == key && !version.is_latest && !version.is_delete_marker {
    ///         let before = s3.open_version(&key, &version.id, &OpenOptions::new()).await?;
    ///         storage.save("reports/june-before.pdf", before).await?;
    ///         break;
    ///     }
    /// }
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// Errors of the service, such as `Unsupported` and `PermissionDenied`, which end the stream. A
    /// name that is not a valid key is an error item (`InvalidKey`) after which the listing
    /// continues.
    #[must_use]
    pub fn versions(&self, prefix: &Prefix) -> BoxStream<'static, Result<Version>> {
        let listing = Listing {
            s3: self.shared().clone(),
            prefix: prefix.as_str().to_owned(),
            next: Some(Markers::default()),
            page: VecDeque::new(),
            pages: PageCounter::default(),
        };
        let versions = stream::unfold(Some(listing), |listing| async move {
            let mut listing = listing?;
            match listing.next().await {
                Ok(Some(version)) => Some((version, Some(listing))),
                Ok(None) => None,
                Err(error) => Some((Err(error), None)),
            }
        });
        versions.boxed()
    }

    /// Opens a version of an object, as `open` opens the latest one: with ranges and conditions,
    /// and with a body that resumes after a broken connection.
    ///
    /// # Errors
    /// `NotFound` if there is no such version, or if it is a delete marker. Otherwise as
    /// [`Driver::open`](storage_core::Driver::open).
    pub async fn open_version(&self, key: &Key, id: &str, options: &OpenOptions) -> Result<Object> {
        let opened = open::open_version(self.shared(), key, Some(id), options).await;
        opened.map_err(|error| error.with_key(key.as_str()))
    }

    /// Deletes a version of an object permanently. Succeeds if there is none. If the version is the
    /// latest one, the version before it becomes the latest: deleting a delete marker restores the
    /// object.
    ///
    /// If the future is dropped, the version is still there or gone.
    ///
    /// # Errors
    /// Errors of the service, such as `PermissionDenied`.
    pub async fn delete_version(&self, key: &Key, id: &str) -> Result<()> {
        let request = Request::new(Method::DELETE, key.as_str()).query(VERSION_ID, id);
        match self.shared().client.send(&request).await {
            Ok(_) => Ok(()),
            Err(failed) if failed.error.kind() == ErrorKind::NotFound => Ok(()),
            Err(failed) => Err(failed.error.with_key(key.as_str())),
        }
    }
}

/// A listing in progress.
struct Listing {
    s3: Shared,
    prefix: String,
    /// Where the next page begins. `None` after the last page.
    next: Option<Markers>,
    page: VecDeque<Result<Version>>,
    pages: PageCounter,
}

/// Where a page begins: after a version of a key. Empty for the first page.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Markers {
    key: String,
    id: String,
}

impl Listing {
    async fn next(&mut self) -> Result<Option<Result<Version>>> {
        loop {
            if let Some(version) = self.page.pop_front() {
                self.pages.record_progress();
                return Ok(Some(version));
            }
            let Some(markers) = self.next.take() else { return Ok(None) };
            self.pages.count_page()?;
            let page = self.page(&markers).await?;
            if page.is_truncated {
                let next = Markers { key: page.next_key_marker, id: page.next_version_id_marker };
                if next.key.is_empty() || next == markers {
                    return Err(Error::new(
                        ErrorKind::Unexpected,
                        "a truncated page of the versions does not state where the next one begins",
                    ));
                }
                self.next = Some(next);
            }
            let is_encoded = page.encoding_type.as_deref() == Some("url");
            self.page = in_order(page.versions, page.delete_markers, is_encoded);
        }
    }

    async fn page(&self, markers: &Markers) -> Result<xml::Versions> {
        let mut request =
            Request::new(Method::GET, "").query("versions", "").query("encoding-type", "url");
        for (name, value) in [
            ("prefix", &self.prefix),
            ("key-marker", &markers.key),
            ("version-id-marker", &markers.id),
        ] {
            if !value.is_empty() {
                request = request.query(name, value);
            }
        }
        let document = self.s3.client.document(&request).await?;
        let mut page: xml::Versions = xml::read_response("ListVersionsResult", &document.body)?;
        if page.encoding_type.as_deref() == Some("url") {
            page.next_key_marker = decode_name(&page.next_key_marker).map_err(|_| {
                Error::new(ErrorKind::Unexpected, "the marker of the next page is not UTF-8")
            })?;
        }
        Ok(page)
    }
}

/// Returns the versions and the delete markers of a page in one order. The page contains two lists,
/// each in the order of keys and newest first.
fn in_order(
    versions: Vec<xml::ListedVersion>,
    delete_markers: Vec<xml::ListedVersion>,
    is_encoded: bool,
) -> VecDeque<Result<Version>> {
    let is_mixed = !versions.is_empty() && !delete_markers.is_empty();
    let read = |listed: Vec<xml::ListedVersion>, is_delete_marker| {
        listed.into_iter().map(move |listed| version(listed, is_delete_marker, is_encoded))
    };
    let mut all: Vec<_> = read(versions, false).chain(read(delete_markers, true)).collect();
    if is_mixed {
        // A time may have the precision of a second only.
        all.sort_by(|a, b| place_of(a).cmp(&place_of(b)));
    }
    all.into()
}

/// The place of an item in the listing: by name, and the newest version of each key first.
type Place<'a> = (&'a str, bool, Reverse<bool>, Reverse<Option<SystemTime>>);

/// Returns the place of an item. The lossy form of an invalid name can equal a key, so errors
/// follow the versions of that key.
fn place_of(item: &Result<Version>) -> Place<'_> {
    match item {
        Ok(version) => (
            version.key.as_str(),
            false,
            Reverse(version.is_latest),
            Reverse(version.last_modified),
        ),
        Err(error) => (error.key().unwrap_or_default(), true, Reverse(false), Reverse(None)),
    }
}

fn version(
    listed: xml::ListedVersion,
    is_delete_marker: bool,
    is_encoded: bool,
) -> Result<Version> {
    let name = match is_encoded {
        true => decode_name(&listed.key).map_err(|lossy| {
            Error::new(ErrorKind::InvalidKey, "the name is not UTF-8")
                .with_key(lossy)
                .with_listing_continues(true)
        })?,
        false => listed.key,
    };
    let key =
        Key::new(&*name).map_err(|error| error.with_key(name).with_listing_continues(true))?;
    Ok(Version {
        key,
        id: listed.version_id,
        is_latest: listed.is_latest,
        is_delete_marker,
        size: listed.size,
        etag: parse_etag(&listed.etag),
        last_modified: parse_time(&listed.last_modified),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listed(key: &str, second: u32, is_latest: bool) -> xml::ListedVersion {
        xml::ListedVersion {
            key: key.to_owned(),
            version_id: second.to_string(),
            is_latest,
            last_modified: format!("2026-11-27T00:00:{second:02}.000Z"),
            size: 1,
            etag: String::new(),
        }
    }

    /// Returns the ids of the versions in the order of the listing, and the names of its errors.
    fn order(versions: Vec<xml::ListedVersion>, markers: Vec<xml::ListedVersion>) -> Vec<String> {
        let items = in_order(versions, markers, true).into_iter();
        items
            .map(|item| item.map_or_else(|error| error.key().unwrap().to_owned(), |it| it.id))
            .collect()
    }

    #[test]
    fn delete_markers_and_versions_of_a_key_are_listed_newest_first() {
        let versions = vec![listed("a", 5, false), listed("a", 1, false), listed("b", 2, true)];
        let markers = vec![listed("a", 9, true), listed("a", 3, false)];
        assert_eq!(order(versions, markers), ["9", "5", "3", "1", "2"]);
    }

    #[test]
    fn an_invalid_name_follows_the_versions_of_the_key_that_looks_like_it() {
        // The lossy form of the bytes `a%FF` is the key `a%EF%BF%BD`.
        let versions = vec![listed("a%EF%BF%BD", 1, false), listed("a%FF", 2, true)];
        let markers = vec![listed("a%EF%BF%BD", 3, true)];
        assert_eq!(order(versions, markers), ["3", "1", "a\u{fffd}"]);
    }
}
