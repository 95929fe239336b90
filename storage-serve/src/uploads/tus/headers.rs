//! Reading the headers of tus. Every one comes from a client.

use http::HeaderMap;

use super::respond::Rejection;
use crate::body_headers;

/// The only version of the protocol.
pub(super) const VERSION: &str = "1.0.0";

/// Returns the value of a header that may occur once, without surrounding spaces.
pub(super) fn one<'a>(
    headers: &'a HeaderMap,
    name: &'static str,
) -> Result<Option<&'a str>, Rejection> {
    let mut values = headers.get_all(name).iter();
    let (first, second) = (values.next(), values.next());
    if second.is_some() {
        return Err(Rejection::bad(format!("{name} occurs more than once.\n")));
    }
    let Some(value) = first else { return Ok(None) };
    let text = value.to_str().map_err(|_| Rejection::bad(format!("{name} is not ASCII.\n")))?;
    Ok(Some(text.trim()))
}

/// Returns the number in a header: digits, at most `i64::MAX`, which every storage can represent.
pub(super) fn number(headers: &HeaderMap, name: &'static str) -> Result<Option<u64>, Rejection> {
    let Some(text) = one(headers, name)? else { return Ok(None) };
    // `parse` accepts a sign.
    let is_digits = text.bytes().all(|byte| byte.is_ascii_digit());
    let number = text.parse().ok().filter(|number| is_digits && i64::try_from(*number).is_ok());
    match number {
        Some(number) => Ok(Some(number)),
        None => Err(Rejection::bad(format!("{name} is not a number of bytes.\n"))),
    }
}

/// Returns the size of the body, if the client declares it.
pub(super) fn content_length(headers: &HeaderMap) -> Result<Option<u64>, Rejection> {
    body_headers::content_length(headers)
        .map_err(|_| Rejection::bad("Content-Length is not a number of bytes.\n".to_owned()))
}

/// Returns the length that the request declares: `Upload-Length`, or `None` with
/// `Upload-Defer-Length: 1`.
pub(super) fn length_or_deferred(headers: &HeaderMap) -> Result<Option<u64>, Rejection> {
    let length = number(headers, "upload-length")?;
    match (length, one(headers, "upload-defer-length")?) {
        (Some(length), None) => Ok(Some(length)),
        (None, Some("1")) => Ok(None),
        _ => Err(Rejection::bad(
            "A new upload needs Upload-Length or Upload-Defer-Length: 1.\n".to_owned(),
        )),
    }
}
