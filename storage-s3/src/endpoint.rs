//! [`Bucket`]: the address of a bucket, and the URLs of its objects.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use storage_core::{Error, Result};
use url::Url;

/// The characters to encode in a query: all but the unreserved ones of RFC 3986, section 2.3, as
/// Signature Version 4 requires ("Create a canonical request").
pub(crate) const QUERY: &AsciiSet =
    &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
/// The characters to encode in a path: the same without the slash, which separates the segments of
/// a key.
const PATH: &AsciiSet = &QUERY.remove(b'/');

/// A bucket at an endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Bucket {
    name: String,
    /// The URL of the service, without a slash at the end: `https://s3.eu-west-1.amazonaws.com`.
    service: String,
    /// The URL of the bucket, without a slash at the end:
    /// `https://bucket.s3.eu-west-1.amazonaws.com`, `http://127.0.0.1:9000/bucket`.
    base: String,
    is_at_aws: bool,
}

impl Bucket {
    /// Returns a bucket at AWS.
    pub(crate) fn at_aws(name: &str, region: &str, path_style: bool) -> Result<Self> {
        // Beijing and Ningxia have a domain of their own ("Amazon S3 endpoints and quotas").
        let domain = if region.starts_with("cn-") { "amazonaws.com.cn" } else { "amazonaws.com" };
        let endpoint = Url::parse(&format!("https://s3.{region}.{domain}")).map_err(|cause| {
            Error::config("option region: expected a name like eu-west-1").with_source(cause)
        })?;
        Ok(Self { is_at_aws: true, ..Self::at(name, &endpoint, path_style)? })
    }

    /// Returns a bucket at an endpoint: below its path, or as the first label of its host.
    pub(crate) fn at(name: &str, endpoint: &Url, path_style: bool) -> Result<Self> {
        check_name(name)?;
        let host = endpoint
            .host_str()
            .ok_or_else(|| Error::config("option endpoint: expected a URL with a host"))?;
        let scheme = endpoint.scheme();
        let port = endpoint.port().map(|port| format!(":{port}")).unwrap_or_default();
        let path = endpoint.path().trim_end_matches('/');
        let service = format!("{scheme}://{host}{port}{path}");
        let base = if path_style {
            format!("{service}/{name}")
        } else {
            format!("{scheme}://{name}.{host}{port}{path}")
        };
        Ok(Self { name: name.to_owned(), service, base, is_at_aws: false })
    }

    /// Returns the location for messages: `s3://media` at AWS, otherwise the URL, because buckets
    /// of two services may have the same name.
    pub(crate) fn location(&self) -> String {
        if self.is_at_aws { format!("s3://{}", self.name) } else { self.base.clone() }
    }

    /// Whether the bucket is at AWS without a configured endpoint.
    pub(crate) fn is_at_aws(&self) -> bool {
        self.is_at_aws
    }

    /// Whether another bucket has the same endpoint, wherever their URLs contain the name.
    pub(crate) fn has_endpoint_of(&self, other: &Self) -> bool {
        self.service == other.service
    }

    /// Whether this is the same bucket.
    pub(crate) fn is_same_as(&self, other: &Self) -> bool {
        self.name == other.name && self.has_endpoint_of(other)
    }

    /// Returns the host that requests are sent to, with its port if it is not the default one.
    pub(crate) fn authority(&self) -> &str {
        let rest = self.base.split_once("://").map_or("", |(_, rest)| rest);
        rest.split('/').next().unwrap_or_default()
    }

    /// Returns the scheme of the requests.
    pub(crate) fn scheme(&self) -> &str {
        self.base.split_once("://").map_or("", |(scheme, _)| scheme)
    }

    /// Returns the host that requests are sent to, without a port.
    pub(crate) fn host(&self) -> &str {
        let authority = self.authority();
        match authority.rfind(']') {
            Some(end) => &authority[..=end],
            None => authority.split(':').next().unwrap_or_default(),
        }
    }

    /// Returns the name of the bucket.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Returns the URL of an object, or of the bucket for an empty key, with a query.
    pub(crate) fn url(&self, key: &str, query: &[(&str, &str)]) -> String {
        let mut url = String::with_capacity(self.base.len() + key.len() + 16);
        url.push_str(&self.base);
        url.push('/');
        url.extend(utf8_percent_encode(key, PATH));
        for (index, (name, value)) in query.iter().enumerate() {
            url.push(if index == 0 { '?' } else { '&' });
            url.extend(utf8_percent_encode(name, QUERY));
            url.push('=');
            url.extend(utf8_percent_encode(value, QUERY));
        }
        url
    }

    /// Returns the name of an object for the header `x-amz-copy-source`.
    pub(crate) fn copy_source(&self, key: &str) -> String {
        format!("/{}/{}", self.name, utf8_percent_encode(key, PATH))
    }
}

/// Percent-encodes a text for a query.
pub(crate) fn in_query(text: &str) -> impl std::fmt::Display {
    utf8_percent_encode(text, QUERY)
}

/// Accepts every name that some service allows, and refuses names that would change the host or the
/// path of the URL.
fn check_name(name: &str) -> Result<()> {
    let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_');
    if (1..=255).contains(&name.len()) && name.chars().all(legal) && !matches!(name, "." | "..") {
        return Ok(());
    }
    Err(Error::config(
        "option bucket: expected a name of letters, digits, hyphens, dots and underscores, not a URL or a path",
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bucket(endpoint: &str, path_style: bool) -> Bucket {
        Bucket::at("media", &Url::parse(endpoint).unwrap(), path_style).unwrap()
    }

    #[test]
    fn the_bucket_is_in_the_path_or_in_the_host() {
        assert_eq!(
            bucket("http://127.0.0.1:9000", true).url("a/b", &[]),
            "http://127.0.0.1:9000/media/a/b"
        );
        assert_eq!(
            bucket("https://s3.example.com/", false).url("a", &[]),
            "https://media.s3.example.com/a"
        );
        assert_eq!(
            bucket("https://example.com/s3/", true).url("a", &[]),
            "https://example.com/s3/media/a"
        );
        let aws = Bucket::at_aws("media", "cn-north-1", false).unwrap();
        assert_eq!(aws.url("", &[]), "https://media.s3.cn-north-1.amazonaws.com.cn/");
        assert_eq!(aws.location(), "s3://media");
        assert_eq!(
            bucket("https://example.com/s3/", true).location(),
            "https://example.com/s3/media"
        );
    }

    #[test]
    fn the_host_excludes_the_port() {
        assert_eq!(bucket("http://127.0.0.1:9000", true).host(), "127.0.0.1");
        assert_eq!(bucket("http://[::1]:9000/x", true).host(), "[::1]");
        assert_eq!(bucket("https://s3.example.com", false).host(), "media.s3.example.com");
    }

    #[test]
    fn every_character_of_a_key_but_the_slash_is_encoded() {
        let url = bucket("http://h", true)
            .url("a b/%2e%2e/c+d?e#é", &[("list-type", "2"), ("prefix", "a&b=/")]);
        assert_eq!(
            url,
            "http://h/media/a%20b/%252e%252e/c%2Bd%3Fe%23%C3%A9?list-type=2&prefix=a%26b%3D%2F"
        );
        // The URL parser leaves it unchanged.
        assert_eq!(Url::parse(&url).unwrap().as_str(), url);
    }

    #[test]
    fn a_bucket_name_that_would_change_the_url_is_refused() {
        for name in ["", "a/b", "..", "evil.example.com/", "a@b", "a?b", "arn:aws:s3:::x"] {
            assert!(Bucket::at(name, &Url::parse("https://h").unwrap(), true).is_err(), "{name:?}");
        }
    }
}
