//! [`Version`]: one version of an object, whose rest is requested if a connection fails.

use std::ops::Range;
use std::time::{Duration, SystemTime};

use http::header::{DATE, IF_MATCH, RANGE};
use http::{HeaderMap, Method};
use storage_client::{
    Reopen, Response, ResumableBody, Segment, changed_while_read, header_value, http_date,
    resumed_positions,
};
use storage_core::{ByteRange, ETag, Key, ObjectMeta, Result};

use crate::shared::Shared;

/// One version of an object.
pub(crate) struct Version {
    http: Shared,
    key: Key,
    /// A strong ETag, by which bytes of several responses can be joined.
    etag: ETag,
    size: u64,
}

/// Returns the body of a range of an object. `sent` are the positions that the response contains.
/// The body resumes if the response proves its version.
pub(crate) fn body(
    http: &Shared,
    meta: &ObjectMeta,
    range: Range<u64>,
    response: Response,
    sent: Range<u64>,
) -> ResumableBody<Version> {
    let etag = proof_of_version(meta, &response.headers).filter(|_| http.resume);
    let version = etag.map(|etag| Version {
        http: http.clone(),
        key: meta.key.clone(),
        etag,
        size: meta.size,
    });
    ResumableBody::new(range, Some(Segment::new(response.body, sent)), version)
}

impl Reopen for Version {
    const REPEATS: bool = false;

    async fn reopen(&self, rest: Range<u64>) -> Result<Segment> {
        let mut conditions = HeaderMap::with_capacity(2);
        conditions.insert(RANGE, header_value(&ByteRange::from(rest.clone()).to_string())?);
        conditions.insert(IF_MATCH, header_value(&self.etag.to_string())?);
        let response = self.http.client.object(Method::GET, &self.key, conditions).await;
        let response = response.map_err(changed_while_read)?;
        let positions =
            resumed_positions(response.status, &response.headers, &rest, &self.etag, self.size)?;
        Ok(Segment::new(response.body, positions))
    }
}

/// Returns the ETag by which the bytes of this response can be joined with those of another, or
/// `None` if another version may have the same ETag.
///
/// File servers make ETags of the time in whole seconds and the size (nginx: `"65a1b2c3-1f4"`, in
/// hexadecimal digits), and send them as strong. Such an ETag is accepted only if the `Date` of the
/// response is at least two seconds after `Last-Modified`, so that the second was over by the clock
/// of the server (RFC 9110, section 8.8.2.2).
fn proof_of_version(meta: &ObjectMeta, headers: &HeaderMap) -> Option<ETag> {
    let etag = meta.strong_etag()?.clone();
    let Some(modified) = meta.last_modified else { return Some(etag) };
    let seconds =
        modified.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let is_of_time = etag.opaque().contains(&format!("{seconds:x}"));
    let is_over =
        http_date(headers, &DATE).is_some_and(|now| now >= modified + Duration::from_secs(2));
    (!is_of_time || is_over).then_some(etag)
}

#[cfg(test)]
mod tests {
    use http::{HeaderName, HeaderValue};
    use storage_client::object_meta;

    use super::*;

    #[test]
    fn an_etag_of_time_and_size_proves_no_version_until_two_seconds_later() {
        // 784111777 seconds are 0x2ebc98a1.
        let proof = |etag, modified, now| {
            let headers = [("etag", etag), ("last-modified", modified), ("date", now)].map(
                |(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)),
            );
            let headers = headers.into_iter().collect();
            let meta = object_meta(Key::new("a").unwrap(), 7, &headers);
            proof_of_version(&meta, &headers).is_some()
        };
        let (modified, soon, later) = (
            "Sun, 06 Nov 1994 08:49:37 GMT",
            "Sun, 06 Nov 1994 08:49:38 GMT",
            "Sun, 06 Nov 1994 08:49:39 GMT",
        );
        assert!(!proof("\"2ebc98a1-7\"", modified, soon));
        assert!(proof("\"2ebc98a1-7\"", modified, later));
        assert!(proof("\"5d41402abc4b2a76\"", modified, soon));
        assert!(!proof("W/\"5d41402abc4b2a76\"", modified, later));
        assert!(!proof("", modified, later));
    }
}
