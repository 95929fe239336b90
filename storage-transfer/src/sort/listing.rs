//! [`sort_listing`]: sorts a listing whose storage promises no order, errors included.

use futures_core::Stream;
use futures_core::stream::BoxStream;
use futures_util::StreamExt;
use storage_core::{Error, ErrorKind, ObjectEntry, Result};

use super::record::{Record, damaged};
use super::{SortOptions, Sorter};

/// Sorts a listing by key, in bounded memory.
///
/// Errors that [continue the listing](Error::listing_continues) are sorted too, by the name that
/// they concern, and come directly after an object of that name. They keep kind, message and key.
/// Of objects with equal keys the last remains.
///
/// # Errors
/// An error that ends the listing, and those of [`Sorter::push`].
pub(crate) async fn sort_listing(
    listing: impl Stream<Item = Result<ObjectEntry>> + Send,
    options: SortOptions,
) -> Result<BoxStream<'static, Result<ObjectEntry>>> {
    let mut listing = std::pin::pin!(listing);
    let mut sorter = Sorter::new(options);
    while let Some(item) = listing.next().await {
        sorter.push(&Listed::try_from(item)?).await?;
    }
    let sorted = sorter.finish().await?;
    Ok(sorted.map(|item| item.and_then(Listed::into_item)).boxed())
}

/// An item of a listing.
enum Listed {
    Object(ObjectEntry),
    Unknown(Unknown),
}

/// An error that concerns one name.
struct Unknown {
    /// The name, and a NUL byte. No key contains one, so that the error replaces no object.
    sort_key: Vec<u8>,
    kind: ErrorKind,
    message: String,
}

impl TryFrom<Result<ObjectEntry>> for Listed {
    type Error = Error;

    fn try_from(item: Result<ObjectEntry>) -> Result<Self> {
        match item {
            Ok(entry) => Ok(Self::Object(entry)),
            Err(error) if !error.listing_continues() => Err(error),
            Err(error) => {
                let mut sort_key = error.key().unwrap_or_default().as_bytes().to_vec();
                sort_key.push(0);
                let message = error.message().to_owned();
                Ok(Self::Unknown(Unknown { sort_key, kind: error.kind(), message }))
            }
        }
    }
}

impl Listed {
    fn into_item(self) -> Result<ObjectEntry> {
        match self {
            Self::Object(entry) => Ok(entry),
            Self::Unknown(Unknown { mut sort_key, kind, message }) => {
                sort_key.pop();
                let name = String::from_utf8_lossy(&sort_key).into_owned();
                Err(Error::new(kind, message).with_key(name).with_listing_continues(true))
            }
        }
    }
}

const OBJECT: u8 = 0;

impl Record for Listed {
    fn sort_key(&self) -> &[u8] {
        match self {
            Self::Object(entry) => entry.sort_key(),
            Self::Unknown(unknown) => &unknown.sort_key,
        }
    }

    fn encode_value(&self, out: &mut Vec<u8>) {
        match self {
            Self::Object(entry) => {
                out.push(OBJECT);
                entry.encode_value(out);
            }
            Self::Unknown(unknown) => {
                let kind = unknown.kind.as_str();
                // The name of a kind has a few letters.
                out.push(u8::try_from(kind.len()).unwrap_or(u8::MAX));
                out.extend_from_slice(kind.as_bytes());
                out.extend_from_slice(unknown.message.as_bytes());
            }
        }
    }

    fn decode(key: &[u8], value: &[u8]) -> Result<Self> {
        match value.split_first() {
            Some((&OBJECT, value)) => ObjectEntry::decode(key, value).map(Self::Object),
            Some((&len, value)) => {
                let (kind, message) = value.split_at_checked(len.into()).ok_or_else(damaged)?;
                Ok(Self::Unknown(Unknown {
                    sort_key: key.to_vec(),
                    kind: parse_kind(kind),
                    message: String::from_utf8_lossy(message).into_owned(),
                }))
            }
            None => Err(damaged()),
        }
    }
}

/// The kinds of errors that concern one name of a listing. Others become `Unexpected`.
fn parse_kind(name: &[u8]) -> ErrorKind {
    use ErrorKind as Kind;
    [Kind::InvalidKey, Kind::PermissionDenied, Kind::NotFound, Kind::InvalidInput, Kind::Timeout]
        .into_iter()
        .find(|kind| kind.as_str().as_bytes() == name)
        .unwrap_or(Kind::Unexpected)
}
