//! [`Link`]: what [`Storage::url`](crate::Storage::url) answers.

use std::fmt;
use std::time::SystemTime;

use url::Url;

use crate::options::UrlMethod;

/// A link to an object, with what its user must know to follow it.
///
/// Displayed as the whole URL. A signed link is a credential: its `Debug` form, which ends up in
/// logs, leaves the query and the fields out.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Link {
    /// The URL.
    pub url: Url,
    /// The method it is for.
    pub method: UrlMethod,
    /// Headers that must be sent with the request, as they are part of the signature. Lower-case
    /// names.
    pub headers: Vec<(String, String)>,
    /// When it stops working; unset for a public link.
    pub expires_at: Option<SystemTime>,
    /// For POST: the fields of the form, to be sent in this order and before the file, whose field
    /// is `file`. Credentials as the URL of other links is.
    pub fields: Vec<(String, String)>,
}

impl Link {
    /// A public link for GET.
    #[must_use]
    pub fn public(url: Url) -> Self {
        Self {
            url,
            method: UrlMethod::Get,
            headers: Vec::new(),
            expires_at: None,
            fields: Vec::new(),
        }
    }

    /// A signed link.
    #[must_use]
    pub fn signed(url: Url, method: UrlMethod, expires_at: SystemTime) -> Self {
        Self { url, method, headers: Vec::new(), expires_at: Some(expires_at), fields: Vec::new() }
    }

    /// The URL as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.url.as_str()
    }
}

impl fmt::Display for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.url.as_str())
    }
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = self.url.clone();
        let signed = shown.query().is_some();
        shown.set_query(None);
        f.debug_struct("Link")
            .field("url", &format_args!("{shown}{}", if signed { "?..." } else { "" }))
            .field("method", &self.method)
            .field("expires_at", &self.expires_at)
            .finish_non_exhaustive()
    }
}

impl From<Link> for Url {
    fn from(link: Link) -> Self {
        link.url
    }
}
