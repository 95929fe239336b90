//! Builds the headers of an object from its stored metadata, and adds those that protect browsers.

use http::header::{
    ACCEPT_RANGES, CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_ENCODING, CONTENT_LANGUAGE,
    CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, EXPIRES, HeaderMap, HeaderName, HeaderValue,
    LAST_MODIFIED, X_CONTENT_TYPE_OPTIONS,
};
use std::time::{SystemTime, UNIX_EPOCH};
use storage_core::ObjectMeta;
use storage_core::signed_url::Grant;

use crate::active_content::{ActiveContent, is_active_content};
use crate::user_metadata;

/// How the headers of objects are set.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct HeaderPolicy {
    /// How active content is sent.
    pub active_content: ActiveContent,
    /// The `Cache-Control` of objects that have none.
    pub cache_control: Option<HeaderValue>,
    /// Whether user metadata is sent, as `X-Storage-Meta-<name>`.
    pub user_metadata: bool,
}

/// Headers that a signed link sets instead of the stored ones.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct HeaderOverrides {
    /// The `Content-Type` of the response.
    pub content_type: Option<String>,
    /// The `Content-Disposition` of the response.
    pub content_disposition: Option<String>,
}

/// Takes the headers from a verified link.
impl From<Grant> for HeaderOverrides {
    fn from(grant: Grant) -> Self {
        Self { content_type: grant.content_type, content_disposition: grant.content_disposition }
    }
}

impl HeaderPolicy {
    /// Returns the headers of an object: its metadata, its validators, `Accept-Ranges` and
    /// `nosniff`. Headers that depend on the request, such as `Content-Length`, are not among them.
    ///
    /// Metadata that is not a valid header value, which other programs may store, is left out.
    /// `Content-Type` is always present, and is `application/octet-stream` if the stored type is
    /// invalid or missing. Active content is an attachment even if its disposition is invalid.
    #[must_use]
    pub fn headers(&self, meta: &ObjectMeta, overrides: &HeaderOverrides) -> HeaderMap {
        let mut headers = HeaderMap::with_capacity(12);
        let mut put = |name: HeaderName, value: Option<HeaderValue>| {
            if let Some(value) = value {
                headers.insert(name, value);
            }
        };
        let stored = &meta.metadata;
        put(CONTENT_ENCODING, header(stored.content_encoding.as_deref()));
        put(CONTENT_LANGUAGE, header(stored.content_language.as_deref()));
        put(CACHE_CONTROL, self.cache_control_of(meta));
        put(ETAG, header(meta.etag.as_ref().map(ToString::to_string).as_deref()));
        // A time in the future becomes the time of the response (RFC 9110 section 8.8.2.1).
        put(
            LAST_MODIFIED,
            meta.last_modified.and_then(|modified| date(modified.min(SystemTime::now()))),
        );
        put(EXPIRES, stored.expires.and_then(date));
        let content_type = header(overrides.content_type.as_deref().or(meta.content_type()))
            .unwrap_or(OCTET_STREAM);
        let is_active = self.active_content == ActiveContent::Attachment
            && content_type.to_str().map_or(true, is_active_content);
        put(CONTENT_TYPE, Some(content_type));
        put(CONTENT_DISPOSITION, disposition(meta, overrides, is_active));
        if self.user_metadata {
            headers.extend(
                stored
                    .user_metadata
                    .iter()
                    .filter_map(|(name, value)| user_metadata::to_header(name, value)),
            );
        }
        if is_active {
            headers.insert(
                CONTENT_SECURITY_POLICY,
                HeaderValue::from_static("default-src 'none'; sandbox"),
            );
        }
        headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        headers.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
        headers
    }

    fn cache_control_of(&self, meta: &ObjectMeta) -> Option<HeaderValue> {
        match (&meta.metadata.cache_control, meta.metadata.expires) {
            (Some(stored), _) => header(Some(stored)),
            (None, Some(_)) => None,
            (None, None) => self.cache_control.clone(),
        }
    }
}

const OCTET_STREAM: HeaderValue = HeaderValue::from_static("application/octet-stream");

fn header(text: Option<&str>) -> Option<HeaderValue> {
    // An empty value means an absent header.
    text.filter(|text| !text.is_empty()).and_then(|text| HeaderValue::from_str(text).ok())
}

/// Formats a time as an HTTP date. Returns `None` for years before 1970 and after 9999, which an
/// HTTP date cannot express.
fn date(time: SystemTime) -> Option<HeaderValue> {
    const YEAR_10000: u64 = 253_402_300_800;
    let since = time.duration_since(UNIX_EPOCH).ok()?;
    if since.as_secs() < YEAR_10000 { header(Some(&httpdate::fmt_http_date(time))) } else { None }
}

fn disposition(
    meta: &ObjectMeta,
    overrides: &HeaderOverrides,
    is_active: bool,
) -> Option<HeaderValue> {
    let stored = meta.metadata.content_disposition.as_deref();
    match (&overrides.content_disposition, is_active) {
        (Some(chosen), false) => header(Some(chosen)),
        (None, false) => header(stored),
        // An invalid disposition may have meant an attachment.
        (Some(chosen), true) => Some(header(Some(chosen)).unwrap_or(ATTACHMENT)),
        (None, true) => Some(header(Some(&as_attachment(stored))).unwrap_or(ATTACHMENT)),
    }
}

const ATTACHMENT: HeaderValue = HeaderValue::from_static("attachment");

/// Returns a disposition that downloads, with the file name of the stored one.
fn as_attachment(stored: Option<&str>) -> String {
    match stored.and_then(|stored| stored.split_once(';')) {
        Some((_, parameters)) => format!("attachment;{parameters}"),
        None => "attachment".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use storage_core::{ETag, Key, Metadata};

    fn meta(metadata: Metadata) -> ObjectMeta {
        let mut meta = ObjectMeta::new(Key::new("a").unwrap(), 1);
        meta.metadata = metadata;
        meta
    }

    fn headers(policy: &HeaderPolicy, metadata: Metadata) -> HeaderMap {
        policy.headers(&meta(metadata), &HeaderOverrides::default())
    }

    #[test]
    fn stored_metadata_is_sent_as_headers() {
        let mut meta = meta(
            Metadata::new()
                .content_type("image/png")
                .content_encoding("gzip")
                .content_disposition("inline; filename=a.png")
                .content_language("de")
                .cache_control("max-age=60"),
        );
        meta.etag = Some(ETag::strong("x").unwrap());
        let headers = HeaderPolicy::default().headers(&meta, &HeaderOverrides::default());
        assert_eq!(headers[CONTENT_TYPE], "image/png");
        assert_eq!(headers[CONTENT_ENCODING], "gzip");
        assert_eq!(headers[CONTENT_DISPOSITION], "inline; filename=a.png");
        assert_eq!(headers[CONTENT_LANGUAGE], "de");
        assert_eq!(headers[CACHE_CONTROL], "max-age=60");
        assert_eq!(headers[ETAG], "\"x\"");
        assert_eq!(headers[X_CONTENT_TYPE_OPTIONS], "nosniff");
        assert!(!headers.contains_key(CONTENT_SECURITY_POLICY));
    }

    #[test]
    fn active_content_is_downloaded_and_sandboxed() {
        let types = [
            "text/html",
            "TEXT/HTML; charset=utf-8",
            "image/svg+xml",
            "application/xml",
            "text/xml",
            "application/xhtml+xml",
            "application/javascript",
            "text/javascript",
            "application/x-javascript",
            "text/xsl",
            "application/atom+xml",
            "multipart/x-mixed-replace",
            "html",
            "text/html,image/png",
            "image/png, text/html",
            "message/rfc822",
            "*/*",
            "image/*",
            "unknown/unknown",
            "application/unknown",
            "/",
            "text/",
            "/html",
            "text/ht ml",
            "text/plain/html",
            "image/svg",
            "image/svg-xml",
            "text/x-xml",
        ];
        for active in types {
            let headers = headers(&HeaderPolicy::default(), Metadata::new().content_type(active));
            assert_eq!(headers[CONTENT_DISPOSITION], "attachment", "{active}");
            assert_eq!(headers[CONTENT_SECURITY_POLICY], "default-src 'none'; sandbox", "{active}");
        }
        // An empty stored type counts as absent, but other callers may pass one.
        assert!(is_active_content(""));
        for harmless in [
            "text/plain",
            "image/png",
            "audio/mpeg",
            "application/pdf",
            "application/json",
            "text/css",
        ] {
            let headers = headers(&HeaderPolicy::default(), Metadata::new().content_type(harmless));
            assert!(!headers.contains_key(CONTENT_DISPOSITION), "{harmless}");
        }
    }

    #[test]
    fn active_content_keeps_its_file_name() {
        let page = Metadata::new()
            .content_type("text/html")
            .content_disposition("inline; filename=\"a.html\"");
        assert_eq!(
            headers(&HeaderPolicy::default(), page)[CONTENT_DISPOSITION],
            "attachment; filename=\"a.html\""
        );
    }

    #[test]
    fn trusted_active_content_is_displayed() {
        let policy =
            HeaderPolicy { active_content: ActiveContent::Inline, ..HeaderPolicy::default() };
        let headers = headers(&policy, Metadata::new().content_type("text/html"));
        assert!(
            !headers.contains_key(CONTENT_DISPOSITION)
                && !headers.contains_key(CONTENT_SECURITY_POLICY)
        );
    }

    #[test]
    fn a_page_that_an_override_displays_is_still_sandboxed() {
        let overrides =
            HeaderOverrides { content_disposition: Some("inline".to_owned()), content_type: None };
        let headers = HeaderPolicy::default()
            .headers(&meta(Metadata::new().content_type("text/html")), &overrides);
        assert_eq!(headers[CONTENT_DISPOSITION], "inline");
        assert!(headers.contains_key(CONTENT_SECURITY_POLICY));
    }

    #[test]
    fn an_active_type_from_an_override_is_downloaded() {
        let overrides = HeaderOverrides {
            content_type: Some("text/html".to_owned()),
            content_disposition: None,
        };
        let headers = HeaderPolicy::default()
            .headers(&meta(Metadata::new().content_type("text/plain")), &overrides);
        assert_eq!(headers[CONTENT_DISPOSITION], "attachment");
    }

    #[test]
    fn metadata_that_is_not_a_valid_header_is_not_sent_and_active_content_stays_an_attachment() {
        let invalid = Metadata::new()
            .content_type("text/html\n")
            .content_disposition("inline; filename=\"\u{1}\"")
            .content_language("de\r\nx: y")
            .cache_control("\0");
        let sent = headers(&HeaderPolicy::default(), invalid);
        assert_eq!(sent[CONTENT_TYPE], "application/octet-stream");
        assert!(
            ![CONTENT_DISPOSITION, CONTENT_LANGUAGE, CACHE_CONTROL]
                .iter()
                .any(|name| sent.contains_key(name))
        );
        let page = Metadata::new()
            .content_type("text/html")
            .content_disposition("inline; filename=\"\u{1}\"");
        assert_eq!(
            headers(&HeaderPolicy::default(), page.clone())[CONTENT_DISPOSITION],
            "attachment"
        );
        let overrides = HeaderOverrides {
            content_disposition: Some("inline; \r".to_owned()),
            content_type: None,
        };
        assert_eq!(
            HeaderPolicy::default().headers(&meta(page), &overrides)[CONTENT_DISPOSITION],
            "attachment"
        );
    }

    #[test]
    fn a_type_that_browsers_cannot_parse_counts_as_active() {
        let headers =
            headers(&HeaderPolicy::default(), Metadata::new().content_type("text/plain\u{e9}"));
        assert_eq!(headers[CONTENT_DISPOSITION], "attachment");
    }

    #[test]
    fn a_last_modified_time_in_the_future_is_sent_as_the_time_of_the_response() {
        let mut future = meta(Metadata::new());
        future.last_modified = Some(SystemTime::now() + std::time::Duration::from_secs(86_400));
        let headers = HeaderPolicy::default().headers(&future, &HeaderOverrides::default());
        let sent = httpdate::parse_http_date(headers[LAST_MODIFIED].to_str().unwrap()).unwrap();
        assert!(sent <= SystemTime::now(), "{sent:?}");
    }

    #[test]
    fn a_time_that_an_http_date_cannot_represent_is_not_sent() {
        let mut old = meta(
            Metadata::new().expires(UNIX_EPOCH + std::time::Duration::from_secs(253_402_300_800)),
        );
        old.last_modified = UNIX_EPOCH.checked_sub(std::time::Duration::from_secs(1));
        let headers = HeaderPolicy::default().headers(&old, &HeaderOverrides::default());
        assert!(!headers.contains_key(LAST_MODIFIED) && !headers.contains_key(EXPIRES));
    }

    #[test]
    fn the_default_cache_control_applies_to_objects_without_one() {
        let policy = HeaderPolicy {
            cache_control: Some(HeaderValue::from_static("max-age=9")),
            ..HeaderPolicy::default()
        };
        assert_eq!(headers(&policy, Metadata::new())[CACHE_CONTROL], "max-age=9");
        assert_eq!(
            headers(&policy, Metadata::new().cache_control("no-store"))[CACHE_CONTROL],
            "no-store"
        );
        let expires = Metadata::new().expires(std::time::SystemTime::UNIX_EPOCH);
        assert!(!headers(&policy, expires).contains_key(CACHE_CONTROL));
    }

    #[test]
    fn user_metadata_is_sent_only_if_it_is_enabled() {
        let named = || Metadata::new().user("author", "ada");
        assert!(
            headers(&HeaderPolicy::default(), named())
                .keys()
                .all(|name| !name.as_str().contains("author"))
        );
        let policy = HeaderPolicy { user_metadata: true, ..HeaderPolicy::default() };
        assert!(headers(&policy, named()).keys().any(|name| name.as_str().contains("author")));
    }
}
