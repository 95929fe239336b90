//! Versions of objects, in a bucket that keeps them.

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
    /// Whether this is a delete marker: the deletion of an object, whose older versions stay.
    pub is_delete_marker: bool,
    /// The length of the version in bytes. 0 for a delete marker.
    pub size: u64,
    /// The ETag of the version.
    pub etag: Option<ETag>,
    /// When the version was saved, or the object deleted.
    pub last_modified: Option<SystemTime>,
}

impl S3 {
    /// Lists the versions of all objects below a prefix, in byte order of the key, and of each key
    /// the newest first.
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

    /// Deletes a version of an object for ever. Succeeds if there is none. Deleting a delete marker
    /// that is the latest version makes the version before the latest again.
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
        all.sort_by(|a, b| match (a, b) {
            (Ok(a), Ok(b)) => (a.key.as_str(), b.is_latest, b.last_modified).cmp(&(
                b.key.as_str(),
                a.is_latest,
                a.last_modified,
            )),
            (a, b) => name_of(a).cmp(name_of(b)),
        });
    }
    all.into()
}

fn name_of(version: &Result<Version>) -> &str {
    match version {
        Ok(version) => version.key.as_str(),
        Err(error) => error.key().unwrap_or_default(),
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
