//! The headers that go with an object: what was stored with it, and what keeps browsers from harm.

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

/// How the headers of objects are made.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct HeaderPolicy {
    /// What becomes of content that can act.
    pub active_content: ActiveContent,
    /// The `Cache-Control` of objects that have none.
    pub cache_control: Option<HeaderValue>,
    /// Whether user metadata is shown, as `X-Storage-Meta-<name>`.
    pub user_metadata: bool,
}

/// What a request may ask for instead of what is stored: by a signed link, since it changes what a
/// browser does.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct HeaderOverrides {
    /// The `Content-Type` of the answer.
    pub content_type: Option<String>,
    /// The `Content-Disposition` of the answer.
    pub content_disposition: Option<String>,
}

/// What a verified link says of the answer.
impl From<Grant> for HeaderOverrides {
    fn from(grant: Grant) -> Self {
        Self { content_type: grant.content_type, content_disposition: grant.content_disposition }
    }
}

impl HeaderPolicy {
    /// The headers of an object: its metadata, validators, `Accept-Ranges`, `nosniff`. Not
    /// `Content-Length` and what else depends on the request.
    ///
    /// Drivers hand on what other programs stored: what cannot be said in a header is not sent. So
    /// an object always has a type, `application/octet-stream` if need be, and what can act is an
    /// attachment whatever its disposition looks like.
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
        // A time in the future becomes that of the response (RFC 9110, section 8.8.2.1).
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
    // An empty header is an absent one.
    text.filter(|text| !text.is_empty()).and_then(|text| HeaderValue::from_str(text).ok())
}

/// A moment as HTTP writes it, which knows the years 1970 to 9999 alone. File systems know others.
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
        // What cannot be said may have been an attachment's.
        (Some(chosen), true) => Some(header(Some(chosen)).unwrap_or(ATTACHMENT)),
        (None, true) => Some(header(Some(&attached(stored))).unwrap_or(ATTACHMENT)),
    }
}

const ATTACHMENT: HeaderValue = HeaderValue::from_static("attachment");

/// A disposition that downloads, and keeps the file name of the stored one.
fn attached(stored: Option<&str>) -> String {
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
    fn what_was_stored_is_sent() {
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
    fn content_that_can_act_is_downloaded_and_has_no_rights() {
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
        // As a stored type it counts as absent, but it may come from elsewhere.
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
    fn an_attachment_keeps_its_file_name() {
        let page = Metadata::new()
            .content_type("text/html")
            .content_disposition("inline; filename=\"a.html\"");
        assert_eq!(
            headers(&HeaderPolicy::default(), page)[CONTENT_DISPOSITION],
            "attachment; filename=\"a.html\""
        );
    }

    #[test]
    fn whoever_trusts_the_files_shows_them() {
        let policy =
            HeaderPolicy { active_content: ActiveContent::Inline, ..HeaderPolicy::default() };
        let headers = headers(&policy, Metadata::new().content_type("text/html"));
        assert!(
            !headers.contains_key(CONTENT_DISPOSITION)
                && !headers.contains_key(CONTENT_SECURITY_POLICY)
        );
    }

    #[test]
    fn an_override_may_show_a_page_but_gives_it_no_rights() {
        let overrides =
            HeaderOverrides { content_disposition: Some("inline".to_owned()), content_type: None };
        let headers = HeaderPolicy::default()
            .headers(&meta(Metadata::new().content_type("text/html")), &overrides);
        assert_eq!(headers[CONTENT_DISPOSITION], "inline");
        assert!(headers.contains_key(CONTENT_SECURITY_POLICY));
    }

    #[test]
    fn a_type_by_override_is_looked_at_as_well() {
        let overrides = HeaderOverrides {
            content_type: Some("text/html".to_owned()),
            content_disposition: None,
        };
        let headers = HeaderPolicy::default()
            .headers(&meta(Metadata::new().content_type("text/plain")), &overrides);
        assert_eq!(headers[CONTENT_DISPOSITION], "attachment");
    }

    #[test]
    fn what_cannot_be_said_in_a_header_is_not_sent_and_makes_nothing_less_safe() {
        let odd = Metadata::new()
            .content_type("text/html\n")
            .content_disposition("inline; filename=\"\u{1}\"")
            .content_language("de\r\nx: y")
            .cache_control("\0");
        let sent = headers(&HeaderPolicy::default(), odd);
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
    fn a_type_that_browsers_cannot_read_is_taken_to_be_active() {
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
    fn a_moment_that_http_cannot_tell_is_not_sent() {
        let mut old = meta(
            Metadata::new().expires(UNIX_EPOCH + std::time::Duration::from_secs(253_402_300_800)),
        );
        old.last_modified = UNIX_EPOCH.checked_sub(std::time::Duration::from_secs(1));
        let headers = HeaderPolicy::default().headers(&old, &HeaderOverrides::default());
        assert!(!headers.contains_key(LAST_MODIFIED) && !headers.contains_key(EXPIRES));
    }

    #[test]
    fn a_default_cache_control_is_for_objects_that_say_nothing() {
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
    fn user_metadata_is_shown_only_when_asked_for() {
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
