//! [`Multistatus`]: the document of a response to PROPFIND (RFC 4918, section 14.16).

use percent_encoding::percent_decode_str;
use quick_xml::Reader;
use quick_xml::events::Event;
use serde::Deserialize;
use serde::de::IgnoredAny;
use storage_client::parse_size;
use storage_core::{BoxError, Error, Result};
use url::Url;

/// A member of a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Member {
    /// The name within the directory; lossy if it is not UTF-8.
    pub(crate) name: String,
    /// Why the name cannot be a segment of a key, for reasons that [`Key`](storage_core::Key) would
    /// not detect.
    pub(crate) invalid: Option<&'static str>,
    pub(crate) is_directory: bool,
    pub(crate) size: Option<u64>,
    pub(crate) etag: Option<String>,
    pub(crate) last_modified: Option<String>,
}

/// The document of a 207 response. Element names are compared without their namespaces.
#[derive(Debug, Deserialize)]
pub(crate) struct Multistatus {
    #[serde(default)]
    response: Vec<Response>,
}

#[derive(Debug, Deserialize)]
struct Response {
    href: String,
    #[serde(default)]
    status: Option<String>,
    #[serde(default)]
    propstat: Vec<Propstat>,
}

#[derive(Debug, Deserialize)]
struct Propstat {
    #[serde(default)]
    status: String,
    #[serde(default)]
    prop: Prop,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Prop {
    resourcetype: ResourceType,
    getcontentlength: Option<String>,
    getlastmodified: Option<String>,
    getetag: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct ResourceType {
    collection: Option<IgnoredAny>,
}

/// Parses a document.
///
/// # Errors
/// `Unexpected` if it is not XML, not UTF-8, or has another root element.
pub(crate) fn parse(document: &[u8]) -> Result<Multistatus> {
    let invalid = |cause: BoxError| {
        Error::unexpected("the response to PROPFIND is not a WebDAV document", cause)
    };
    // Without this check, any other document would be read as an empty listing.
    if root(document).as_deref() != Some(b"multistatus") {
        return Err(invalid("the root element is not multistatus".into()));
    }
    let text = std::str::from_utf8(document).map_err(|cause| invalid(cause.into()))?;
    quick_xml::de::from_str(text).map_err(|cause| invalid(cause.to_string().into()))
}

/// Returns the name of the root element.
fn root(document: &[u8]) -> Option<Vec<u8>> {
    let mut reader = Reader::from_reader(document);
    loop {
        match reader.read_event().ok()? {
            Event::Start(element) | Event::Empty(element) => {
                return Some(element.local_name().as_ref().to_vec());
            }
            Event::Eof => return None,
            _ => {}
        }
    }
}

impl Multistatus {
    /// Returns whether a response describes a directory.
    pub(crate) fn contains_directory(&self) -> bool {
        self.response.iter().any(Response::is_directory)
    }

    /// Returns the members of a directory, without the directory itself and without anything deeper
    /// or elsewhere. Uses only the names of the document, so that no request ever goes to a URL
    /// that the server chose.
    pub(crate) fn members_of(self, directory: &Url) -> Vec<Member> {
        let mut base = segments(directory.path());
        // Removes the empty segment after the last slash. Members have their name there.
        base.pop();
        self.response.into_iter().filter_map(|response| response.member_of(&base)).collect()
    }
}

impl Response {
    fn member_of(&self, base: &[Segment]) -> Option<Member> {
        if !self.status.as_deref().is_none_or(is_ok) {
            return None;
        }
        let path = segments(path_of(&self.href));
        let (name, rest) = path.strip_prefix(base)?.split_first()?;
        let has_slash = matches!(rest, [last] if last.is_empty());
        if name.is_empty() || !(rest.is_empty() || has_slash) {
            return None;
        }
        let text =
            |of: fn(&Prop) -> &Option<String>| self.props().find_map(|prop| of(prop).clone());
        Some(Member {
            invalid: match std::str::from_utf8(name) {
                Err(_) => Some("the name is not UTF-8"),
                Ok(text) => text.contains('/').then_some("the name contains a slash"),
            },
            name: String::from_utf8_lossy(name).into_owned(),
            is_directory: self.is_directory() || has_slash,
            size: text(|prop| &prop.getcontentlength).and_then(|size| parse_size(size.trim())),
            etag: text(|prop| &prop.getetag),
            last_modified: text(|prop| &prop.getlastmodified),
        })
    }

    /// Returns the properties that exist.
    fn props(&self) -> impl Iterator<Item = &Prop> {
        self.propstat
            .iter()
            .filter(|propstat| is_ok(&propstat.status))
            .map(|propstat| &propstat.prop)
    }

    fn is_directory(&self) -> bool {
        self.props().any(|prop| prop.resourcetype.collection.is_some())
    }
}

/// Returns whether a status line is empty or a success: `HTTP/1.1 200 OK`.
fn is_ok(status: &str) -> bool {
    status.is_empty() || status.split_ascii_whitespace().nth(1) == Some("200")
}

type Segment = Vec<u8>;

/// Returns the decoded segments of a path. The last one is empty for a directory.
fn segments(path: &str) -> Vec<Segment> {
    path.split('/').map(|segment| percent_decode_str(segment).collect()).collect()
}

/// Returns the path of an absolute URL, or of a reference that is only a path.
fn path_of(href: &str) -> &str {
    let href = href.trim();
    let path = match href.split_once("://") {
        Some((scheme, rest)) if !scheme.contains('/') => {
            rest.find('/').map_or("/", |at| &rest[at..])
        }
        _ => href,
    };
    path.split(['?', '#']).next().unwrap_or_default()
}
