//! `list`: requests pages of 1,000 keys. While one page is read, the next one is requested.

use std::collections::VecDeque;

use futures_util::{StreamExt, stream};
use http::Method;
use percent_encoding::percent_decode_str;
use storage_client::parse_etag;
use storage_core::{
    Entry, EntryStream, Error, ErrorKind, Key, ListOptions, ObjectEntry, Prefix, Result,
};
use tokio_util::task::AbortOnDropHandle;

use crate::client::Client;
use crate::request::Request;
use crate::shared::Shared;
use crate::time::parse_time;
use crate::xml;

/// Upper bound for consecutive pages without a new name. Services send empty truncated pages if
/// many names were deleted recently. Without the limit, a listing of a faulty service might never
/// end.
pub(crate) const MAX_PAGES_WITHOUT_PROGRESS: usize = 100;

pub(crate) fn list(s3: &Shared, prefix: &Prefix, options: &ListOptions) -> EntryStream {
    let listing = Listing {
        list_request: ListRequest {
            client: s3.client.clone(),
            prefix: prefix.as_str().to_owned(),
            delimiter: options.delimiter.clone(),
            start_after: options
                .start_after
                .clone()
                .filter(|after| !precedes_prefix(after, prefix)),
        },
        next: NextPage::Unsent(None),
        page: VecDeque::new(),
        last: None,
        pages: PageCounter::default(),
    };
    let entries = stream::unfold(Some(listing), |listing| async move {
        let mut listing = listing?;
        match listing.next().await {
            Ok(Some(entry)) => Some((entry, Some(listing))),
            Ok(None) => None,
            Err(error) => Some((Err(error), None)),
        }
    });
    entries.boxed()
}

/// Whether all names below the prefix sort after this one. Such a `start_after` excludes nothing
/// and is not sent, because Garage would list nothing.
fn precedes_prefix(start_after: &str, prefix: &Prefix) -> bool {
    start_after.is_empty() || start_after < prefix.as_str()
}

/// Counts the pages of a listing since the last page with a new name.
#[derive(Debug, Default)]
pub(crate) struct PageCounter {
    without_progress: usize,
}

impl PageCounter {
    /// Counts a page before it is read.
    ///
    /// # Errors
    /// `Unexpected` after [`MAX_PAGES_WITHOUT_PROGRESS`] pages without a new name.
    pub(crate) fn count_page(&mut self) -> Result<()> {
        if self.without_progress == MAX_PAGES_WITHOUT_PROGRESS {
            let message = format!(
                "the service sent {MAX_PAGES_WITHOUT_PROGRESS} consecutive pages without a new name \
                 and announced more, so the listing was ended"
            );
            return Err(Error::new(ErrorKind::Unexpected, message));
        }
        self.without_progress += 1;
        Ok(())
    }

    /// Records that the current page contains a new name.
    pub(crate) fn record_progress(&mut self) {
        self.without_progress = 0;
    }
}

/// The parameters that all pages of a listing share.
#[derive(Clone)]
struct ListRequest {
    client: Client,
    prefix: String,
    delimiter: Option<String>,
    start_after: Option<String>,
}

/// A listing in progress.
struct Listing {
    list_request: ListRequest,
    next: NextPage,
    page: VecDeque<ListedName>,
    /// The last name, to verify the order.
    last: Option<Vec<u8>>,
    pages: PageCounter,
}

/// The source of the next page.
enum NextPage {
    /// A request that has not been sent, with the continuation token.
    Unsent(Option<String>),
    /// A request in flight.
    InFlight(AbortOnDropHandle<Result<Page>>),
    /// The listing has no further page.
    None,
}

/// A page, with the token of the next one.
struct Page {
    listed: VecDeque<ListedName>,
    next: Option<String>,
}

/// A name of the service, which may not be a valid key, and its object unless it is a prefix.
struct ListedName {
    name: String,
    object: Option<xml::ListedObject>,
    /// The bytes of a name that is not UTF-8. `name` is then its lossy form.
    raw: Option<Vec<u8>>,
}

impl ListedName {
    fn bytes(&self) -> &[u8] {
        self.raw.as_deref().unwrap_or(self.name.as_bytes())
    }
}

impl Listing {
    async fn next(&mut self) -> Result<Option<Result<Entry>>> {
        loop {
            while let Some(listed) = self.page.pop_front() {
                // A prefix may sort before `start_after` while keys below it sort after it.
                if self
                    .list_request
                    .start_after
                    .as_deref()
                    .is_some_and(|after| listed.bytes() <= after.as_bytes())
                {
                    continue;
                }
                self.check_order(listed.bytes())?;
                self.pages.record_progress();
                return Ok(Some(entry(listed)));
            }
            let page = match std::mem::replace(&mut self.next, NextPage::None) {
                NextPage::Unsent(token) => self.list_request.page(token.as_deref()).await?,
                NextPage::InFlight(task) => task.await.map_err(|join| {
                    Error::unexpected("requesting a page did not finish", join)
                })??,
                NextPage::None => return Ok(None),
            };
            self.pages.count_page()?;
            self.page = page.listed;
            if let Some(token) = page.next {
                let list_request = self.list_request.clone();
                let task = tokio::spawn(async move { list_request.page(Some(&token)).await });
                self.next = NextPage::InFlight(AbortOnDropHandle::new(task));
            }
        }
    }

    /// Verifies the byte order, which is part of the contract.
    fn check_order(&mut self, name: &[u8]) -> Result<()> {
        if self.last.as_deref().is_some_and(|last| name <= last) {
            return Err(Error::unsupported(
                "this service does not list keys in byte order, as S3 does: listings are not supported",
            ));
        }
        self.last = Some(name.to_vec());
        Ok(())
    }
}

impl ListRequest {
    async fn page(&self, token: Option<&str>) -> Result<Page> {
        let mut request =
            Request::new(Method::GET, "").query("list-type", "2").query("encoding-type", "url");
        if !self.prefix.is_empty() {
            request = request.query("prefix", &self.prefix);
        }
        if let Some(delimiter) = &self.delimiter {
            request = request.query("delimiter", delimiter);
        }
        match (token, &self.start_after) {
            (Some(token), _) => request = request.query("continuation-token", token),
            (None, Some(after)) => request = request.query("start-after", after),
            (None, None) => {}
        }
        let document = self.client.document(&request).await.map_err(|failed| failed.error)?;
        let listing: xml::Listing = xml::read_response("ListBucketResult", &document.body)?;
        let next = match (listing.is_truncated, &listing.next_continuation_token) {
            (true, None) => {
                return Err(Error::new(
                    ErrorKind::Unexpected,
                    "a truncated page of the listing has no continuation token",
                ));
            }
            (true, Some(next)) if Some(next.as_str()) == token => {
                return Err(Error::new(
                    ErrorKind::Unexpected,
                    "the listing repeats its continuation token",
                ));
            }
            (true, next) => next.clone(),
            (false, _) => None,
        };
        Ok(Page { listed: names_of_page(listing), next })
    }
}

/// Returns the objects and prefixes of a page in one order.
fn names_of_page(listing: xml::Listing) -> VecDeque<ListedName> {
    // A service that does not support `encoding-type` omits it from the response.
    let is_encoded = listing.encoding_type.as_deref() == Some("url");
    let named = |name: String, object| match is_encoded {
        true => match decode_name(&name) {
            Ok(name) => ListedName { name, object, raw: None },
            Err(lossy) => ListedName {
                name: lossy,
                object,
                raw: Some(percent_decode_str(&spaced(&name)).collect()),
            },
        },
        false => ListedName { name, object, raw: None },
    };
    let is_mixed = !listing.contents.is_empty() && !listing.common_prefixes.is_empty();
    let objects = listing
        .contents
        .into_iter()
        .map(|mut object| named(std::mem::take(&mut object.key), Some(object)));
    let mut names: Vec<_> = objects.collect();
    names.extend(listing.common_prefixes.into_iter().map(|prefix| named(prefix.prefix, None)));
    if is_mixed {
        names.sort_by(|a, b| a.bytes().cmp(b.bytes()));
    }
    names.into()
}

/// Decodes a name, or returns its lossy form if it is not UTF-8. S3 encodes names as forms do: a
/// plus sign is a space.
pub(crate) fn decode_name(name: &str) -> Result<String, String> {
    let spaced = spaced(name);
    let bytes = percent_decode_str(&spaced);
    match bytes.clone().decode_utf8() {
        Ok(name) => Ok(name.into_owned()),
        Err(_) => Err(bytes.decode_utf8_lossy().into_owned()),
    }
}

fn spaced(name: &str) -> String {
    name.replace('+', " ")
}

/// Converts a name to an entry. The listing continues after an invalid name.
fn entry(listed: ListedName) -> Result<Entry> {
    let name = listed.name.clone();
    valid_entry(listed).map_err(|error| error.with_key(name).with_listing_continues(true))
}

fn valid_entry(listed: ListedName) -> Result<Entry> {
    let ListedName { name, object, raw } = listed;
    if raw.is_some() {
        return Err(Error::new(ErrorKind::InvalidKey, "the name is not UTF-8"));
    }
    let Some(object) = object else {
        return Prefix::new(name).map(Entry::Prefix);
    };
    if object.size == 0 && name.ends_with('/') {
        return Prefix::new(name).map(Entry::FolderMarker);
    }
    let mut entry = ObjectEntry::new(Key::new(name)?, object.size);
    entry.etag = parse_etag(&object.etag);
    entry.last_modified = parse_time(&object.last_modified);
    Ok(Entry::Object(entry))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_start_after_that_excludes_no_name_is_recognised() {
        let is_before = |after, prefix| precedes_prefix(after, &Prefix::new(prefix).unwrap());
        assert!(
            is_before("", "")
                && is_before("", "b/")
                && is_before("a", "b/")
                && is_before("b", "b/")
        );
        assert!(
            !is_before("a", "")
                && !is_before("b/", "b/")
                && !is_before("b/1", "b/")
                && !is_before("c", "b/")
        );
    }
}
