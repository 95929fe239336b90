//! The format of signed links to a server of this project. The driver `fs`, the layer
//! [`PublicUrl`](crate::layers::PublicUrl) and the driver `http-cache` sign them. `storage-serve`
//! and the mirror verify them.
//!
//! # Format
//!
//! `<public_url>/<key>?X-Storage-...`, the key percent-encoded segment by segment, with these query
//! parameters, each at most once, in any order:
//!
//! | parameter | meaning |
//! |---|---|
//! | `X-Storage-Method` | `GET` (valid for HEAD too), `HEAD` or `PUT` |
//! | `X-Storage-Expires` | the last second in which the link works, in Unix time |
//! | `X-Storage-Disposition` | GET: the `Content-Disposition` of the response |
//! | `X-Storage-Type` | GET: the `Content-Type` of the response. PUT: the one that the upload must have |
//! | `X-Storage-Length` | PUT: the exact length in bytes that the upload must have |
//! | `X-Storage-Signature` | the signature, 64 lower-case hexadecimal digits |
//!
//! The signature is HMAC-SHA-256 (RFC 2104) with the signing key over the lines, joined by `\n`:
//! the text `anystorage-v1`, the method, the expiry, the key (not encoded), the disposition, the
//! type, the length; an absent parameter is an empty line. Neither keys nor headers can contain a
//! line feed, so no two requests have the same text. Host and path prefix are not signed, because a
//! proxy may rewrite them. Give every storage a signing key of its own. Otherwise a link to one
//! storage is valid for the same key of another. Storages that differ only in their `prefix` may
//! share one, because the prefix is part of the key ([`LinkVerifier`](crate::LinkVerifier)).
//!
//! The signature covers every other parameter of this table. A verifier refuses any other
//! `X-Storage-` parameter, one that occurs twice, and a method that is not the signed one: a link
//! for downloading does not allow uploading. Parameters without this prefix are not signed, and a
//! verifier ignores them.

use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use hmac_sha256::HMAC;
use url::Url;

use crate::config;
use crate::error::{Error, ErrorKind, Result};
use crate::hex;
use crate::key::Key;
use crate::link::{Link, LinkBase};
use crate::options::{UrlMethod, UrlOptions};
use crate::timestamp::unix_seconds;

/// The longest lifetime of a signed link, as on S3 (Signature Version 4): seven days.
pub const MAX_EXPIRY: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// The minimum length of a signing key in bytes.
pub const MIN_SIGNING_KEY_BYTES: usize = 16;

const METHOD: &str = "X-Storage-Method";
const EXPIRES: &str = "X-Storage-Expires";
const DISPOSITION: &str = "X-Storage-Disposition";
const TYPE: &str = "X-Storage-Type";
const LENGTH: &str = "X-Storage-Length";
const SIGNATURE: &str = "X-Storage-Signature";

/// The secret that signs links. Its `Debug` form does not show it.
#[derive(Clone)]
pub struct SigningKey(HMAC);

impl SigningKey {
    /// Creates a key from a secret of at least [`MIN_SIGNING_KEY_BYTES`] bytes.
    ///
    /// # Errors
    /// `InvalidConfig` for a shorter secret, and for one of fewer than 6 different bytes, such as
    /// spaces or zeros, because links could be forged by guessing it.
    pub fn new(secret: impl AsRef<[u8]>) -> Result<Self> {
        let secret = secret.as_ref();
        if secret.len() < MIN_SIGNING_KEY_BYTES {
            return Err(Error::config(
                "signing_key: a secret needs at least 16 bytes; make one with: openssl rand -hex 32",
            ));
        }
        if config::is_trivial(secret) {
            return Err(Error::config(
                "signing_key: the secret has fewer than 6 different bytes, so it can be guessed; \
                 make one with: openssl rand -hex 32",
            ));
        }
        Ok(Self(HMAC::new(secret)))
    }

    /// Returns a signed link to a key below `base`.
    ///
    /// # Errors
    /// `InvalidInput` if `expires_in` is missing, or if it and `stable_for` together are longer
    /// than [`MAX_EXPIRY`]. `Unsupported` for POST.
    ///
    /// ```
    /// use std::time::{Duration, SystemTime};
    /// use storage_core::signed_url::SigningKey;
    /// use storage_core::{Key, UrlMethod, UrlOptions};
    ///
    /// let signer = SigningKey::new("a secret of many bytes")?;
    /// let options = UrlOptions::new().expires_in(Duration::from_secs(900));
    /// let key = Key::new("a/b.png")?;
    /// let link = signer.sign(&"https://example.com/media".parse()?, &key, &options)?;
    ///
    /// let query = link.query().unwrap_or_default();
    /// let grant = signer.verify(UrlMethod::Get, &key, query, SystemTime::now())?;
    /// assert_eq!(grant.content_type, None);
    /// assert!(signer.verify(UrlMethod::Put, &key, query, SystemTime::now()).is_err());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn sign(&self, base: &LinkBase, key: &Key, options: &UrlOptions) -> Result<Link> {
        if options.method == UrlMethod::Post {
            return Err(Error::unsupported(
                "links of this kind upload with PUT, not with a form: use UrlMethod::Put",
            ));
        }
        let (from, lifetime) = options.signing_window(SystemTime::now())?;
        if lifetime > MAX_EXPIRY {
            return Err(Error::new(
                ErrorKind::InvalidInput,
                "a signed link works for at most seven days, expires_in and stable_for together",
            ));
        }
        let expires = unix_seconds(from) + lifetime.as_secs();
        let is_put = options.method == UrlMethod::Put;
        let claims = Claims {
            method: options.method.as_str().to_owned(),
            expires: expires.to_string(),
            disposition: options.response_content_disposition.clone().unwrap_or_default(),
            content_type: if is_put {
                &options.content_type
            } else {
                &options.response_content_type
            }
            .clone()
            .unwrap_or_default(),
            length: options.content_length.map(|length| length.to_string()).unwrap_or_default(),
        };
        let signature = hex::encode(&self.mac(key, &claims).finalize());
        let mut link = base.with_query(key, |url| claims.append_to(url, &signature));
        link.method = options.method;
        link.expires_at = Some(UNIX_EPOCH + Duration::from_secs(expires));
        if is_put {
            link.headers.extend(
                options.content_type.iter().map(|value| ("content-type".to_owned(), value.clone())),
            );
            link.headers.extend(
                options
                    .content_length
                    .iter()
                    .map(|value| ("content-length".to_owned(), value.to_string())),
            );
        }
        Ok(link)
    }

    /// Verifies the query of a request for a key. Refuses a query whose `X-Storage-` parameters are
    /// missing, doubled, unknown, expired or forged, and ignores all other parameters. Compares the
    /// signature in constant time.
    ///
    /// # Errors
    /// `PermissionDenied`, with a reason that helps a legitimate user and reveals nothing about the
    /// key.
    pub fn verify(
        &self,
        method: UrlMethod,
        key: &Key,
        query: &str,
        now: SystemTime,
    ) -> Result<Grant> {
        let (claims, signature) = Claims::parse(query)?;
        // Only the documented form is valid: otherwise a link would have many URLs.
        let is_lower = !signature.bytes().any(|byte| byte.is_ascii_uppercase());
        let signature = hex::decode(&signature).filter(|_| is_lower);
        let signature = signature.ok_or_else(|| denied("the link's signature is not valid"))?;
        // Compared in constant time.
        let is_valid = <&[u8; 32]>::try_from(signature.as_slice())
            .is_ok_and(|signature| self.mac(key, &claims).finalize_verify(signature));
        if !is_valid {
            return Err(denied("the link's signature is not valid"));
        }
        let allowed = claims.method == method.as_str()
            || (claims.method == "GET" && method == UrlMethod::Head);
        if !allowed {
            return Err(denied("the link is for another method"));
        }
        // The expiry of a signed link is a number. Any other text is refused.
        let expires =
            claims.expires.parse().ok().filter(|&expires: &u64| unix_seconds(now) <= expires);
        let expires = expires.ok_or_else(|| denied("the link has expired"))?;
        let given = |text: String| (!text.is_empty()).then_some(text);
        Ok(Grant {
            content_disposition: given(claims.disposition),
            content_type: given(claims.content_type),
            content_length: claims.length.parse().ok(),
            expires_at: UNIX_EPOCH.checked_add(Duration::from_secs(expires)),
        })
    }

    /// Returns the signature of a text for a purpose that is not a link to an object. The first
    /// line separates the purposes: no link begins with it.
    fn mac_for(&self, purpose: &str, text: &str) -> HMAC {
        let mut mac = self.0.clone();
        mac.update(format!("anystorage-{purpose}-v1\n{text}").as_bytes());
        mac
    }

    fn mac(&self, key: &Key, claims: &Claims) -> HMAC {
        let Claims { method, expires, disposition, content_type, length } = claims;
        let text = format!(
            "anystorage-v1\n{method}\n{expires}\n{key}\n{disposition}\n{content_type}\n{length}"
        );
        let mut mac = self.0.clone();
        mac.update(text.as_bytes());
        mac
    }
}

/// Returns the signature of a text for a purpose that is not a link to an object, in lower-case
/// hexadecimal. A purpose consists of letters.
#[doc(hidden)]
#[must_use]
pub fn sign_text(key: &SigningKey, purpose: &str, text: &str) -> String {
    hex::encode(&key.mac_for(purpose, text).finalize())
}

/// Returns whether [`sign_text`] made this signature. Compares in constant time.
#[doc(hidden)]
#[must_use]
pub fn is_signature_of_text(key: &SigningKey, purpose: &str, text: &str, signature: &str) -> bool {
    let is_lower = !signature.bytes().any(|byte| byte.is_ascii_uppercase());
    let signature = hex::decode(signature).filter(|_| is_lower).unwrap_or_default();
    <&[u8; 32]>::try_from(signature.as_slice())
        .is_ok_and(|signature| key.mac_for(purpose, text).finalize_verify(signature))
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SigningKey(...)")
    }
}

/// What a verified link allows beyond its method and key. Defaults to nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Grant {
    /// GET: the `Content-Disposition` of the response.
    pub content_disposition: Option<String>,
    /// GET: the `Content-Type` of the response. PUT: the one that the upload must have.
    pub content_type: Option<String>,
    /// PUT: the length in bytes that the upload must have.
    pub content_length: Option<u64>,
    /// The last second in which the link works. A link to which a server redirects must not work
    /// for longer.
    pub expires_at: Option<SystemTime>,
}

#[derive(Default)]
struct Claims {
    method: String,
    expires: String,
    disposition: String,
    content_type: String,
    length: String,
}

impl Claims {
    fn parse(query: &str) -> Result<(Self, String)> {
        let mut claims = Self::default();
        let mut signature = String::new();
        for (name, value) in url::form_urlencoded::parse(query.as_bytes()) {
            let slot = match &*name {
                METHOD => &mut claims.method,
                EXPIRES => &mut claims.expires,
                DISPOSITION => &mut claims.disposition,
                TYPE => &mut claims.content_type,
                LENGTH => &mut claims.length,
                SIGNATURE => &mut signature,
                other
                    if other
                        .get(..10)
                        .is_some_and(|start| start.eq_ignore_ascii_case("X-Storage-")) =>
                {
                    return Err(denied("the link has an unknown parameter"));
                }
                // Other parameters (a cache buster, for example) change nothing.
                _ => continue,
            };
            // A line feed inside a value could be read as the border between two values.
            if !slot.is_empty() || value.is_empty() || value.contains('\n') {
                return Err(denied("the link has a parameter that is empty, doubled or broken"));
            }
            *slot = value.into_owned();
        }
        if claims.method.is_empty() || claims.expires.is_empty() || signature.is_empty() {
            return Err(denied("the link is not signed"));
        }
        Ok((claims, signature))
    }

    fn append_to(&self, url: &mut Url, signature: &str) {
        let parameters = [
            (METHOD, &*self.method),
            (EXPIRES, &*self.expires),
            (DISPOSITION, &*self.disposition),
            (TYPE, &*self.content_type),
            (LENGTH, &*self.length),
            (SIGNATURE, signature),
        ];
        url.query_pairs_mut()
            .extend_pairs(parameters.into_iter().filter(|(_, value)| !value.is_empty()));
    }
}

fn denied(reason: &'static str) -> Error {
    Error::new(ErrorKind::PermissionDenied, reason)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn signer() -> SigningKey {
        SigningKey::new("0123456789abcdef").unwrap()
    }

    fn key(text: &str) -> Key {
        Key::new(text).unwrap()
    }

    fn query(set: impl FnOnce(&mut UrlOptions)) -> String {
        let mut options =
            UrlOptions { expires_in: Some(Duration::from_secs(60)), ..UrlOptions::default() };
        set(&mut options);
        let link = signer()
            .sign(&"https://example.com/m/".parse().unwrap(), &key("a/b c.png"), &options)
            .unwrap();
        link.query().unwrap().to_owned()
    }

    fn refused(method: UrlMethod, of: &str, query: &str, now: SystemTime) -> String {
        let error = signer().verify(method, &key(of), query, now).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::PermissionDenied);
        error.message().to_owned()
    }

    #[test]
    fn a_link_works_only_for_its_key_and_method() {
        let (download, now) = (query(|_| {}), SystemTime::now());
        assert!(signer().verify(UrlMethod::Get, &key("a/b c.png"), &download, now).is_ok());
        assert!(signer().verify(UrlMethod::Head, &key("a/b c.png"), &download, now).is_ok());
        refused(UrlMethod::Put, "a/b c.png", &download, now);
        refused(UrlMethod::Get, "a/other.png", &download, now);
        let upload = query(|options| options.method = UrlMethod::Put);
        refused(UrlMethod::Get, "a/b c.png", &upload, now);
    }

    #[test]
    fn a_link_ends_with_its_last_second() {
        let (minute, before) = (Duration::from_secs(60), SystemTime::now());
        let link = query(|options| options.expires_in = Some(minute));
        let after = SystemTime::now();
        let verify = |now| signer().verify(UrlMethod::Get, &key("a/b c.png"), &link, now);
        let end = verify(before).unwrap().expires_at.unwrap();
        let second = Duration::from_secs(1);
        assert!((before + minute - second..=after + minute + second).contains(&end), "{end:?}");
        assert!(verify(end).is_ok() && verify(end + second / 2).is_ok());
        assert!(refused(UrlMethod::Get, "a/b c.png", &link, end + second).contains("expired"));
    }

    #[test]
    fn a_stable_link_is_signed_for_its_window_and_works_for_the_requested_time() {
        let (base, key) = ("https://example.com/m/".parse().unwrap(), key("a/b c.png"));
        let mut options =
            UrlOptions { expires_in: Some(Duration::from_secs(60)), ..UrlOptions::default() };
        let week = Duration::from_secs(6 * 24 * 60 * 60);
        options.stable_for = Some(week);
        let now = SystemTime::now();
        let link = signer().sign(&base, &key, &options).unwrap();
        let ends = unix_seconds(link.expires_at.unwrap());
        assert_eq!((ends - 60) % week.as_secs(), 0, "the end depends on more than the window");
        let query = link.query().unwrap();
        assert!(
            signer().verify(UrlMethod::Get, &key, query, now + Duration::from_secs(60)).is_ok()
        );
        let late = now + week + Duration::from_secs(62);
        assert!(refused(UrlMethod::Get, "a/b c.png", query, late).contains("expired"));
    }

    #[test]
    fn options_that_cannot_be_signed_are_refused() {
        let sign = |set: fn(&mut UrlOptions)| {
            let mut options =
                UrlOptions { expires_in: Some(Duration::from_secs(60)), ..UrlOptions::default() };
            set(&mut options);
            signer()
                .sign(&"https://example.com/m/".parse().unwrap(), &key("a"), &options)
                .unwrap_err()
                .kind()
        };
        assert_eq!(sign(|options| options.method = UrlMethod::Post), ErrorKind::Unsupported);
        assert_eq!(sign(|options| options.expires_in = None), ErrorKind::InvalidInput);
        assert_eq!(
            sign(|options| options.expires_in = Some(MAX_EXPIRY * 2)),
            ErrorKind::InvalidInput
        );
        // Together they are longer than a link may work.
        assert_eq!(sign(|options| options.stable_for = Some(MAX_EXPIRY)), ErrorKind::InvalidInput);
        assert_eq!(
            sign(|options| options.stable_for = Some(Duration::MAX)),
            ErrorKind::InvalidInput
        );
    }

    #[test]
    fn nothing_that_is_signed_can_be_changed_added_or_doubled() {
        let now = SystemTime::now();
        let upload = query(|options| {
            options.method = UrlMethod::Put;
            options.content_type = Some("image/png".to_owned());
            options.content_length = Some(10);
        });
        let grant = signer().verify(UrlMethod::Put, &key("a/b c.png"), &upload, now).unwrap();
        assert_eq!(
            (grant.content_type.as_deref(), grant.content_length),
            (Some("image/png"), Some(10))
        );
        let tampered = [
            upload.replace("Length=10", "Length=11"),
            upload.replace("image%2Fpng", "text%2Fhtml"),
            upload.replace("&X-Storage-Length=10", ""),
            format!("{upload}&X-Storage-Length=10"),
            format!("{upload}&X-Storage-Disposition=inline"),
            format!("{upload}&X-Storage-Other=1"),
            format!("{upload}&x-storage-length=1"),
            upload.replace("X-Storage-Method=PUT", "X-Storage-Method=GET"),
            upload.replace("Signature=", "Signature=00"),
            upper_case_signature(&upload),
            String::new(),
        ];
        for query in &tampered {
            refused(UrlMethod::Put, "a/b c.png", query, now);
        }
        assert!(
            signer()
                .verify(UrlMethod::Put, &key("a/b c.png"), &format!("{upload}&v=2"), now)
                .is_ok()
        );
    }

    #[test]
    fn a_signed_link_below_a_path_is_relative_and_verifies() {
        let options = UrlOptions::new().expires_in(Duration::from_secs(60));
        let key = key("a/b c.png");
        let link = signer().sign(&"/m/".parse().unwrap(), &key, &options).unwrap();
        assert!(link.as_str().starts_with("/m/a/b%20c.png?X-Storage-Method=GET&"), "{link}");
        assert!(link.expires_at.is_some());
        let query = link.query().unwrap();
        signer().verify(UrlMethod::Get, &key, query, SystemTime::now()).unwrap();
        assert!(!format!("{link:?}").contains("Signature"), "{link:?}");
    }

    fn upper_case_signature(query: &str) -> String {
        let (before, signature) = query.split_once("Signature=").unwrap();
        let upper = signature.to_uppercase();
        assert_ne!(signature, upper, "a signature without letters");
        format!("{before}Signature={upper}")
    }

    #[test]
    fn a_secret_that_can_be_guessed_is_refused() {
        for secret in ["                ", "0000000000000000", "abcabcabcabcabcabc"] {
            let error = SigningKey::new(secret).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidConfig);
            assert!(error.message().contains("can be guessed"), "{error}");
        }
    }

    #[test]
    fn a_value_with_a_line_feed_is_refused() {
        // "inline\ntext/html" as disposition signs the same text as "inline" and "text/html" would.
        let forged = "X-Storage-Method=GET&X-Storage-Expires=9999999999&X-Storage-Disposition=a%0Ab&X-Storage-Signature=00";
        assert!(refused(UrlMethod::Get, "a", forged, SystemTime::now()).contains("broken"));
    }

    #[test]
    fn a_link_of_another_secret_and_a_short_secret_are_refused() {
        let other = SigningKey::new("fedcba9876543210").unwrap();
        assert!(
            other
                .verify(UrlMethod::Get, &key("a/b c.png"), &query(|_| {}), SystemTime::now())
                .is_err()
        );
        assert_eq!(SigningKey::new("short").unwrap_err().kind(), ErrorKind::InvalidConfig);
    }
}
