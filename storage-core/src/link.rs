//! [`Link`]: the result of [`Storage::url`](crate::Storage::url), and [`LinkBase`], the base of
//! links.

use std::fmt;
use std::str::FromStr;
use std::time::SystemTime;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::ser::{Serialize, SerializeStruct, Serializer};
use url::{Position, Url};

use crate::error::{Error, ErrorKind, Result};
use crate::key::Key;
use crate::options::UrlMethod;
use crate::timestamp::format_time;

/// The unreserved characters of RFC 3986, section 2.3, and the slash between segments stay as they
/// are.
const ENCODED: &AsciiSet =
    &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b'/');

/// The origin of the `Url` in a relative [`LinkBase`], which no text shows.
const ANY_ORIGIN: &str = "http://relative.invalid";

const EXPECTED: &str = "expected a URL that begins with https:// or http:// and has no user name, \
                        query or fragment, as in https://media.example.com/, or a path that begins \
                        with a slash, as in /media/";

const EXPECTED_PATH: &str = "a path begins with exactly one slash, as in /media/, and contains no \
                             backslash, control character, query, fragment, or segment . or ..";

/// A link to an object, with the method, headers and fields that a client must use with it.
///
/// The link is an absolute URL, or a path that begins with `/` and is relative to the host of the
/// page that shows it. It is a path if the storage's `public_url` is one ([`LinkBase`]).
///
/// A signed link is a credential: `Debug`, which ends up in logs, omits the query and the fields.
///
/// It serializes completely, for a script in a browser: `url`, `method`, `headers`, `fields` and
/// `expires_at` (RFC 3339 text or null). Headers and fields are lists of pairs, which keep their
/// order and which the `Headers` of `fetch` accepts:
///
/// ```js
/// await fetch(link.url, { method: link.method, headers: link.headers, body: file });
/// ```
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Link {
    text: String,
    /// The method that the link is for.
    pub method: UrlMethod,
    /// Headers that the request must contain, because the signature includes them. The names are in
    /// lower case.
    pub headers: Vec<(String, String)>,
    /// The time at which the link stops working. `None` for a public link.
    pub expires_at: Option<SystemTime>,
    /// For POST: the fields of the form, to send in this order before the field `file`. They are
    /// credentials, as the URL of other signed links is.
    pub fields: Vec<(String, String)>,
}

impl Link {
    /// Creates a public link for GET. A relative one comes from [`LinkBase::link`].
    #[must_use]
    pub fn public(url: Url) -> Self {
        Self::from_text(url.into())
    }

    /// Creates a signed link.
    #[must_use]
    pub fn signed(url: Url, method: UrlMethod, expires_at: SystemTime) -> Self {
        Self { method, expires_at: Some(expires_at), ..Self::public(url) }
    }

    /// Replaces the URL, for a layer that leads clients elsewhere. Keeps method, headers, expiry
    /// and fields.
    #[must_use]
    pub fn with_url(mut self, url: Url) -> Self {
        self.text = url.into();
        self
    }

    fn from_text(text: String) -> Self {
        Self {
            text,
            method: UrlMethod::Get,
            headers: Vec::new(),
            expires_at: None,
            fields: Vec::new(),
        }
    }

    /// Returns the link as text, for a page or a `Location` header.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Returns whether the link is a path that is relative to the host of the page that shows it.
    #[must_use]
    pub fn is_relative(&self) -> bool {
        self.text.starts_with('/')
    }

    /// Returns the link as an absolute URL, for a request.
    ///
    /// # Errors
    /// `Unsupported` if the link is relative.
    pub fn url(&self) -> Result<Url> {
        if self.is_relative() {
            let message = format!(
                "the link {} is relative to a page: set public_url to a URL with a host, as in \
                 https://media.example.com/",
                self.without_query()
            );
            return Err(Error::new(ErrorKind::Unsupported, message));
        }
        Url::parse(&self.text).map_err(|cause| Error::unexpected("the link is not a URL", cause))
    }

    /// Returns the query, without the question mark. It contains the signature of a signed link.
    #[must_use]
    pub fn query(&self) -> Option<&str> {
        let text = self.text.split('#').next().unwrap_or_default();
        text.split_once('?').map(|(_, query)| query)
    }

    /// Returns the link without query and fragment, for logs.
    #[must_use]
    pub fn without_query(&self) -> &str {
        self.text.split(['?', '#']).next().unwrap_or_default()
    }
}

impl fmt::Display for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Serialize for Link {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut link = serializer.serialize_struct("Link", 5)?;
        link.serialize_field("url", &self.text)?;
        link.serialize_field("method", self.method.as_str())?;
        link.serialize_field("headers", &self.headers)?;
        link.serialize_field("fields", &self.fields)?;
        link.serialize_field("expires_at", &self.expires_at.map(format_time))?;
        link.end()
    }
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = self.without_query();
        let rest = if shown.len() < self.text.len() { "?..." } else { "" };
        f.debug_struct("Link")
            .field("url", &format_args!("{shown}{rest}"))
            .field("method", &self.method)
            .field("expires_at", &self.expires_at)
            .finish_non_exhaustive()
    }
}

/// The public address of a storage's objects (option `public_url`): a URL, or a path on the host
/// of the page that shows the link.
///
/// The scheme of a URL is `http` or `https`: browsers would run `javascript://host/` as a script. A
/// base has no user name, query or fragment. A path begins with exactly one slash and contains no
/// backslash, no control character and no segment `.` or `..`: browsers would follow
/// `//evil.example` and `/\evil.example` to another host. The conversions from text and from
/// [`Url`] fail with `InvalidConfig` otherwise.
///
/// ```
/// use storage_core::{Key, LinkBase};
///
/// let key = Key::new("a b/50%?.png")?;
/// let base: LinkBase = "https://media.example.com/files".parse()?;
/// assert_eq!(base.link(&key).as_str(), "https://media.example.com/files/a%20b/50%25%3F.png");
/// let base: LinkBase = "/media/".parse()?;
/// assert_eq!(base.link(&key).as_str(), "/media/a%20b/50%25%3F.png");
/// assert!("//evil.example".parse::<LinkBase>().is_err());
/// # Ok::<(), storage_core::Error>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct LinkBase {
    /// A relative one has the origin [`ANY_ORIGIN`].
    url: Url,
    is_relative: bool,
}

impl LinkBase {
    /// Returns the public link for GET to an object. Every segment of the key is percent-encoded.
    #[must_use]
    pub fn link(&self, key: &Key) -> Link {
        self.with_query(key, |_| {})
    }

    /// Returns the link to an object with a query, which `set` adds.
    pub(crate) fn with_query(&self, key: &Key, set: impl FnOnce(&mut Url)) -> Link {
        let mut url = object_url(&self.url, key);
        set(&mut url);
        if self.is_relative {
            Link::from_text(url[Position::BeforePath..].to_owned())
        } else {
            Link::public(url)
        }
    }

    /// Returns the path of the base, without a slash at its end: `/media`. It is empty if links
    /// are below the root of the host.
    #[must_use]
    pub fn path(&self) -> &str {
        self.url.path().trim_end_matches('/')
    }

    /// Returns the base as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        if self.is_relative { &self.url[Position::BeforePath..] } else { self.url.as_str() }
    }

    /// Converts a text, or returns what is expected instead. The text is not part of the message.
    pub(crate) fn parse(text: &str) -> Result<Self, &'static str> {
        if text.starts_with(['/', '\\']) {
            let url = parse_path(text).ok_or(EXPECTED_PATH)?;
            return Ok(Self { url, is_relative: true });
        }
        Self::absolute(Url::parse(text).map_err(|_| EXPECTED)?)
    }

    fn absolute(url: Url) -> Result<Self, &'static str> {
        let is_http = matches!(url.scheme(), "http" | "https");
        let has_user = !url.username().is_empty() || url.password().is_some();
        let has_rest = url.query().is_some() || url.fragment().is_some();
        if !is_http || has_user || has_rest {
            return Err(EXPECTED);
        }
        Ok(Self { url, is_relative: false })
    }
}

fn parse_path(text: &str) -> Option<Url> {
    let has_other_meaning = text.starts_with("//")
        || text.contains(|c: char| c.is_control() || matches!(c, '\\' | '?' | '#'));
    // The parser, as browsers do, also reads `%2e` as a dot (WHATWG URL, section 4.4).
    let is_dots = |segment: &str| {
        let segment = segment.to_ascii_lowercase().replace("%2e", ".");
        segment == "." || segment == ".."
    };
    if has_other_meaning || text.ends_with(' ') || text.split('/').any(is_dots) {
        return None;
    }
    Url::parse(&format!("{ANY_ORIGIN}{text}")).ok()
}

impl FromStr for LinkBase {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Self::parse(text).map_err(Error::config)
    }
}

impl TryFrom<Url> for LinkBase {
    type Error = Error;

    fn try_from(url: Url) -> Result<Self> {
        Self::absolute(url).map_err(Error::config)
    }
}

impl fmt::Display for LinkBase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for LinkBase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("LinkBase").field(&self.as_str()).finish()
    }
}

/// Returns the URL of an object below a base URL. Every segment of the key is percent-encoded.
///
/// Whether the base ends in a slash makes no difference. For links, see [`LinkBase`].
///
/// ```
/// use storage_core::Key;
/// use storage_core::internal::object_url;
///
/// let base = "https://media.example.com/files".parse()?;
/// let url = object_url(&base, &Key::new("a b/50%?.png")?);
/// assert_eq!(url.as_str(), "https://media.example.com/files/a%20b/50%25%3F.png");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use]
pub fn object_url(base: &Url, key: &Key) -> Url {
    let mut url = base.clone();
    let directory = base.path().trim_end_matches('/');
    url.set_path(&format!("{directory}/{}", utf8_percent_encode(key.as_str(), ENCODED)));
    url
}

#[cfg(test)]
mod tests {
    use super::*;

    fn base(text: &str) -> LinkBase {
        text.parse().unwrap()
    }

    fn key(text: &str) -> Key {
        Key::new(text).unwrap()
    }

    #[test]
    fn a_base_that_leads_to_another_host_or_runs_a_script_is_refused() {
        let hostile = [
            "//evil.example",
            "///evil.example/",
            "/\\evil.example",
            "\\/evil.example",
            "\\\\evil.example",
            "/\t/evil.example",
            "/\n/evil.example",
            "/\r\n\r\n<script>",
            "/media\0/",
            "javascript:alert(1)",
            "javascript://x/%0Aalert(1)//",
            "JavaScript://x/%0aalert(1)//",
            "data:text/html,x",
            "data://x/text/html,x",
            "vbscript://x/",
            "file:///etc/",
            "ftp://example.com/",
            "ws://example.com/",
            "s3://bucket/",
            "mailto:ada@example.com",
            "https:",
            "",
            "media",
            "../media",
            "https://ada:secret@example.com/",
            "https://example.com/?a=b",
            "https://example.com/#a",
        ];
        for text in hostile {
            let error = text.parse::<LinkBase>().unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidConfig, "{text:?}");
            assert!(error.message().contains("as in /media/"), "{text:?}: {error}");
            assert!(!error.message().contains("evil") && !error.message().contains("secret"));
            // The conversion from `Url` refuses those that are URLs with the same message.
            let Ok(url) = Url::parse(text) else { continue };
            let of_url = LinkBase::try_from(url).unwrap_err();
            assert_eq!((of_url.kind(), of_url.message()), (error.kind(), error.message()));
        }
        let url = Url::parse("http://media.example.com/files").unwrap();
        assert_eq!(LinkBase::try_from(url).unwrap(), base("http://media.example.com/files"));
    }

    #[test]
    fn a_path_with_dot_segments_query_or_fragment_is_refused() {
        for text in [
            "/../a",
            "/a/..",
            "/a/./b",
            "/.",
            "/%2e%2e/a",
            "/a/%2E./b",
            "/.%2e",
            "/a?b=c",
            "/a#b",
            "/a ",
        ] {
            let error = text.parse::<LinkBase>().unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidConfig, "{text:?}");
            assert!(error.message().contains("segment . or .."), "{text:?}: {error}");
        }
    }

    #[test]
    fn links_below_a_path_encode_every_character_that_has_a_meaning_in_a_url() {
        let keys = [
            ("a.txt", "a.txt"),
            ("a b", "a%20b"),
            ("a%20b", "a%2520b"),
            ("a?b=c#d", "a%3Fb%3Dc%23d"),
            ("\\evil.example", "%5Cevil.example"),
            ("d/é☺", "d/%C3%A9%E2%98%BA"),
            ("..a/b..", "..a/b.."),
            ("javascript:alert(1)", "javascript%3Aalert%281%29"),
        ];
        for (text, encoded) in keys {
            for directory in ["/media", "/media/", "/media//", "/a/%20b/"] {
                let link = base(directory).link(&key(text));
                let expected = format!("{}/{encoded}", directory.trim_end_matches('/'));
                assert_eq!(link.as_str(), expected);
                assert!(link.is_relative());
            }
            assert_eq!(base("/").link(&key(text)).as_str(), format!("/{encoded}"));
            // A browser stays on the page's host.
            let page: Url = "https://page.example/x/y".parse().unwrap();
            let followed = page.join(base("/").link(&key(text)).as_str()).unwrap();
            assert_eq!(followed.host_str(), Some("page.example"), "{text}");
        }
        assert_eq!(base("/é b").link(&key("a")).as_str(), "/%C3%A9%20b/a");
    }

    #[test]
    fn an_absolute_url_is_returned_for_absolute_links_only() {
        let absolute = base("https://media.example.com").link(&key("a"));
        assert_eq!(absolute.url().unwrap().as_str(), "https://media.example.com/a");
        assert!(!absolute.is_relative());
        let error = base("/media").link(&key("a")).url().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported);
        assert!(error.message().contains("/media/a"), "{error}");
        assert!(error.message().contains("set public_url"), "{error}");
    }

    #[test]
    fn debug_of_a_relative_link_omits_the_query_and_display_contains_it() {
        let link = base("/media").with_query(&key("a"), |url| url.set_query(Some("X=secret")));
        assert_eq!(link.to_string(), "/media/a?X=secret");
        assert_eq!(link.query(), Some("X=secret"));
        let shown = format!("{link:?}");
        assert!(shown.contains("/media/a?...") && !shown.contains("secret"), "{shown}");
        assert!(!link.url().unwrap_err().message().contains("secret"));
    }

    #[test]
    fn debug_of_an_absolute_link_omits_query_and_fragment() {
        for rest in ["?a=secret", "#secret", "?a=secret#secret"] {
            let url = format!("https://example.com/a{rest}").parse().unwrap();
            let shown = format!("{:?}", Link::public(url));
            assert!(shown.contains("https://example.com/a?..."), "{shown}");
            assert!(!shown.contains("secret"), "{shown}");
        }
        let shown = format!("{:?}", Link::public("https://example.com/a".parse().unwrap()));
        assert!(shown.contains("url: https://example.com/a, method"), "{shown}");
    }

    #[test]
    fn a_base_shows_the_text_without_its_invented_origin() {
        assert_eq!(base("/media/").to_string(), "/media/");
        assert_eq!(format!("{:?}", base("/media/")), "LinkBase(\"/media/\")");
        assert_eq!(base("https://a.example").as_str(), "https://a.example/");
    }
}
