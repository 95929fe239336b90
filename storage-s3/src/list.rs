//! `list`: pages of 1,000 keys, the next one on its way while one is read.

use std::collections::VecDeque;

use futures_util::{StreamExt, stream};
use http::Method;
use percent_encoding::percent_decode_str;
use storage_core::{
    Entry, EntryStream, Error, ErrorKind, Key, ListOptions, ObjectEntry, Prefix, Result, parse_time,
};
use tokio_util::task::AbortOnDropHandle;

use crate::client::Client;
use crate::headers;
use crate::request::Request;
use crate::shared::Shared;
use crate::xml;

/// How many pages in a row may bring no new name. Services send empty pages that are truncated, as
/// where many names were deleted lately; one that never sends anything else would not let a listing
/// end.
pub(crate) const MAX_PAGES_WITHOUT_PROGRESS: usize = 100;

pub(crate) fn list(s3: &Shared, prefix: &Prefix, options: &ListOptions) -> EntryStream {
    let listing = Listing {
        asked_for: AskedFor {
            client: s3.client.clone(),
            prefix: prefix.as_str().to_owned(),
            delimiter: options.delimiter.clone(),
            start_after: options.start_after.clone().filter(|after| !is_before_all(after, prefix)),
        },
        next: Next::Page(None),
        page: VecDeque::new(),
        last: None,
        pages: Pages::default(),
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

/// Returns whether all names that begin with the prefix sort after this one. It excludes none of
/// them then and is not sent, because Garage lists nothing for it.
fn is_before_all(start_after: &str, prefix: &Prefix) -> bool {
    start_after.is_empty() || start_after < prefix.as_str()
}

/// Counts the pages of a listing since the last one that brought something new, whatever their
/// tokens are.
#[derive(Debug, Default)]
pub(crate) struct Pages {
    without_progress: usize,
}

impl Pages {
    /// Counts a page before it is read.
    ///
    /// # Errors
    /// `Unexpected` after [`MAX_PAGES_WITHOUT_PROGRESS`] pages that brought nothing new.
    pub(crate) fn page(&mut self) -> Result<()> {
        if self.without_progress == MAX_PAGES_WITHOUT_PROGRESS {
            let message = format!(
                "the service sent {MAX_PAGES_WITHOUT_PROGRESS} pages in a row without a new name and says that there \
                 are more: the listing is given up"
            );
            return Err(Error::new(ErrorKind::Unexpected, message));
        }
        self.without_progress += 1;
        Ok(())
    }

    /// Notes that the present page has brought something new.
    pub(crate) fn progress(&mut self) {
        self.without_progress = 0;
    }
}

/// What every page of a listing has in common.
#[derive(Clone)]
struct AskedFor {
    client: Client,
    prefix: String,
    delimiter: Option<String>,
    start_after: Option<String>,
}

/// A listing under way.
struct Listing {
    asked_for: AskedFor,
    next: Next,
    page: VecDeque<Listed>,
    /// The last name, to see that they come in order.
    last: Option<Vec<u8>>,
    pages: Pages,
}

/// Where the next page comes from.
enum Next {
    /// A request that has not been sent, with the token of the page before.
    Page(Option<String>),
    /// A request that is on its way.
    OnItsWay(AbortOnDropHandle<Result<Page>>),
    /// There is none.
    None,
}

/// A page, with the token for the next.
struct Page {
    listed: VecDeque<Listed>,
    next: Option<String>,
}

/// A name as the service has it, which may be no key, and what it stands for.
struct Listed {
    name: String,
    object: Option<xml::Listed>,
    /// The bytes of a name that is not UTF-8, which `name` shows as well as it can.
    raw: Option<Vec<u8>>,
}

impl Listed {
    fn bytes(&self) -> &[u8] {
        self.raw.as_deref().unwrap_or(self.name.as_bytes())
    }
}

impl Listing {
    async fn next(&mut self) -> Result<Option<Result<Entry>>> {
        loop {
            while let Some(listed) = self.page.pop_front() {
                // A rolled-up name can come before `start_after` while keys below it come after.
                if self
                    .asked_for
                    .start_after
                    .as_deref()
                    .is_some_and(|after| listed.bytes() <= after.as_bytes())
                {
                    continue;
                }
                self.check_order(listed.bytes())?;
                self.pages.progress();
                return Ok(Some(entry(listed)));
            }
            let page = match std::mem::replace(&mut self.next, Next::None) {
                Next::Page(token) => self.asked_for.page(token.as_deref()).await?,
                Next::OnItsWay(task) => task.await.map_err(|join| {
                    Error::unexpected("asking for a page did not finish", join)
                })??,
                Next::None => return Ok(None),
            };
            self.pages.page()?;
            self.page = page.listed;
            if let Some(token) = page.next {
                let asked_for = self.asked_for.clone();
                let task = tokio::spawn(async move { asked_for.page(Some(&token)).await });
                self.next = Next::OnItsWay(AbortOnDropHandle::new(task));
            }
        }
    }

    /// The contract promises byte order, and callers that merge listings rely on it.
    fn check_order(&mut self, name: &[u8]) -> Result<()> {
        if self.last.as_deref().is_some_and(|last| name <= last) {
            return Err(Error::unsupported(
                "this service does not list in the order of bytes, as S3 does",
            ));
        }
        self.last = Some(name.to_vec());
        Ok(())
    }
}

impl AskedFor {
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
        let listing: xml::Listing = xml::answer("ListBucketResult", &document.body)?;
        let next = match (listing.is_truncated, &listing.next_continuation_token) {
            (true, None) => {
                return Err(Error::new(
                    ErrorKind::Unexpected,
                    "a page of the listing does not say how it goes on",
                ));
            }
            (true, Some(next)) if Some(next.as_str()) == token => {
                return Err(Error::new(ErrorKind::Unexpected, "the listing goes in a circle"));
            }
            (true, next) => next.clone(),
            (false, _) => None,
        };
        Ok(Page { listed: names(listing), next })
    }
}

/// Objects and rolled-up prefixes of a page, in one order.
fn names(listing: xml::Listing) -> VecDeque<Listed> {
    // A service that does not know the parameter `encoding-type` does not say that it followed it.
    let is_encoded = listing.encoding_type.as_deref() == Some("url");
    let named = |name: String, object| match is_encoded {
        true => decoded(&name, object),
        false => Listed { name, object, raw: None },
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

/// As forms encode text, which is how S3 does it: a plus sign is a space.
fn decoded(name: &str, object: Option<xml::Listed>) -> Listed {
    let spaced = name.replace('+', " ");
    let bytes = percent_decode_str(&spaced);
    match bytes.clone().decode_utf8() {
        Ok(name) => Listed { name: name.into_owned(), object, raw: None },
        Err(_) => Listed {
            name: bytes.clone().decode_utf8_lossy().into_owned(),
            object,
            raw: Some(bytes.collect()),
        },
    }
}

/// What a name stands for. One that is not valid does not end the listing.
fn entry(listed: Listed) -> Result<Entry> {
    let name = listed.name.clone();
    valid_entry(listed).map_err(|error| error.with_key(name).with_listing_continues(true))
}

fn valid_entry(listed: Listed) -> Result<Entry> {
    let Listed { name, object, raw } = listed;
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
    entry.etag = headers::etag_of(&object.etag);
    entry.last_modified = parse_time(&object.last_modified).ok();
    Ok(Entry::Object(entry))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_start_after_that_excludes_no_name_is_recognised() {
        let is_before = |after, prefix| is_before_all(after, &Prefix::new(prefix).unwrap());
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
