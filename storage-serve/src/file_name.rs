//! Reads the file name in a `Content-Disposition`, in each notation of clients (RFC 6266, and RFC
//! 7578 section 4.2 for forms).
//!
//! multer reads names in UTF-8 only. Pages in another encoding send other bytes, and some clients
//! send the `filename*` of RFC 8187. A name is a suggestion, so an approximate one is sufficient,
//! but a file must not be skipped because of its name.

use http::HeaderMap;
use http::header::CONTENT_DISPOSITION;
use percent_encoding::percent_decode;

/// The file name of a part.
#[cfg(feature = "form")]
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum FileName {
    /// The part is a file.
    Given(String),
    /// The name is empty, as in a field for which no file was chosen.
    Empty,
    /// The part is not a file.
    Absent,
}

/// The parameters with file names.
#[derive(Default)]
struct Names {
    plain: Option<String>,
    extended: Option<String>,
    /// Whether there is a notation that is not supported, such as `filename*0` (RFC 2231).
    has_other: bool,
}

/// Reads the file name of a part. Prefers `filename` to `filename*`, which RFC 7578 excludes from
/// forms.
#[cfg(feature = "form")]
pub(crate) fn file_name(headers: &HeaderMap) -> FileName {
    let Names { plain, extended, has_other } = names(headers);
    let is_file = plain.is_some() || extended.is_some() || has_other;
    let name = plain.filter(|name| !name.is_empty()).or(extended.filter(|name| !name.is_empty()));
    match name {
        Some(name) => FileName::Given(name),
        None if has_other => FileName::Given("file".to_owned()),
        None if is_file => FileName::Empty,
        None => FileName::Absent,
    }
}

/// Reads the file name of the content of a request. Prefers `filename*` (RFC 6266 section 4.3).
#[cfg(feature = "uploads")]
pub(crate) fn suggested_name(headers: &HeaderMap) -> Option<String> {
    let Names { plain, extended, .. } = names(headers);
    extended.filter(|name| !name.is_empty()).or(plain.filter(|name| !name.is_empty()))
}

fn names(headers: &HeaderMap) -> Names {
    let value = headers.get(CONTENT_DISPOSITION).map_or(&b""[..], |value| value.as_bytes());
    let mut names = Names::default();
    for (name, value) in parameters(value) {
        match &*name {
            b"filename" if names.plain.is_none() => {
                names.plain = Some(String::from_utf8_lossy(&value).into_owned());
            }
            b"filename*" if names.extended.is_none() => names.extended = Some(decode(&value)),
            b"filename" | b"filename*" => {}
            name => names.has_other |= name.starts_with(b"filename*"),
        }
    }
    names
}

/// Returns the parameters of a header such as `form-data; name="a"; filename="b.txt"`, with names
/// in lower case.
fn parameters(header: &[u8]) -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut found = Vec::new();
    let mut rest = after(header, b';');
    while !rest.is_empty() {
        let end = rest.iter().position(|byte| matches!(byte, b'=' | b';')).unwrap_or(rest.len());
        let name = rest[..end].trim_ascii().to_ascii_lowercase();
        if rest.get(end) != Some(&b'=') {
            rest = after(rest, b';');
            continue;
        }
        let (value, behind) = value(rest[end + 1..].trim_ascii_start());
        found.push((name, value));
        rest = after(behind, b';');
    }
    found
}

/// Returns a value, quoted or not, and the text after it. In quotes, browsers write `%22` for a
/// quote and keep backslashes. Other clients escape both with a backslash (RFC 9110, section
/// 5.6.4).
fn value(text: &[u8]) -> (Vec<u8>, &[u8]) {
    let Some(quoted) = text.strip_prefix(b"\"") else {
        let end = text.iter().position(|&byte| byte == b';').unwrap_or(text.len());
        return (text[..end].trim_ascii_end().to_vec(), &text[end..]);
    };
    let mut value = Vec::new();
    let mut at = 0;
    while let Some(&byte) = quoted.get(at) {
        match (byte, quoted.get(at + 1)) {
            (b'"', _) => return (value, &quoted[at + 1..]),
            (b'\\', Some(&escaped @ (b'"' | b'\\'))) => {
                value.push(escaped);
                at += 2;
            }
            _ => {
                value.push(byte);
                at += 1;
            }
        }
    }
    (value, &[])
}

fn after(text: &[u8], separator: u8) -> &[u8] {
    text.iter().position(|&byte| byte == separator).map_or(&[], |at| &text[at + 1..])
}

/// Decodes the value of a `filename*`: `UTF-8''na%C3%AFve.txt` (RFC 8187, section 3.2). Reads all
/// other character sets as Latin-1, in which every byte is a character.
fn decode(value: &[u8]) -> String {
    let charset_end = value.iter().position(|&byte| byte == b'\'').unwrap_or(0);
    let (charset, text) = (&value[..charset_end], after(after(value, b'\''), b'\''));
    let text = if charset_end == 0 { value } else { text };
    let bytes: Vec<u8> = percent_decode(text).collect();
    match charset.is_empty() || charset.eq_ignore_ascii_case(b"utf-8") {
        true => String::from_utf8_lossy(&bytes).into_owned(),
        false => bytes.into_iter().map(char::from).collect(),
    }
}

#[cfg(feature = "form")]
#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn read(header: &[u8]) -> FileName {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_DISPOSITION, HeaderValue::from_bytes(header).unwrap());
        file_name(&headers)
    }

    fn given(name: &str) -> FileName {
        FileName::Given(name.to_owned())
    }

    #[test]
    fn a_file_name_is_read_in_each_notation_of_clients() {
        for (header, name) in [
            (&b"form-data; name=\"f\"; filename=\"a b;c.txt\""[..], "a b;c.txt"),
            (b"form-data; filename=plain.txt; name=f", "plain.txt"),
            (b"form-data;FileName = \"a.txt\"", "a.txt"),
            (b"form-data; filename=\"a\\\"b\\\\c.txt\"", "a\"b\\c.txt"),
            (b"form-data; filename=\"C:\\dir\\a.txt\"", "C:\\dir\\a.txt"),
            (b"form-data; filename=\"open.txt", "open.txt"),
            ("form-data; filename=\"é☺.txt\"".as_bytes(), "é☺.txt"),
            (b"form-data; filename=\"\xe9t\xe9.txt\"", "\u{fffd}t\u{fffd}.txt"),
            (b"form-data; filename*=UTF-8''%e2%82%ac%20rates.txt", "€ rates.txt"),
            (b"form-data; filename*=utf-8'en'a.txt", "a.txt"),
            (b"form-data; filename*=ISO-8859-1''%e9.txt", "é.txt"),
            (b"form-data; filename*=%e2%82%ac.txt", "€.txt"),
            (b"form-data; filename=\"plain.txt\"; filename*=UTF-8''other.txt", "plain.txt"),
            (b"form-data; filename=\"\"; filename*=UTF-8''other.txt", "other.txt"),
            (b"form-data; filename*0=\"long\"; filename*1=\".txt\"", "file"),
        ] {
            assert_eq!(read(header), given(name), "{}", String::from_utf8_lossy(header));
        }
    }

    #[test]
    fn a_part_without_a_file_has_no_name() {
        for header in [
            &b"form-data; name=\"filename\""[..],
            b"form-data; name=f",
            b"form-data",
            b"",
            b"; ; =",
            b"filename=x",
        ] {
            assert_eq!(read(header), FileName::Absent, "{}", String::from_utf8_lossy(header));
        }
        assert_eq!(file_name(&HeaderMap::new()), FileName::Absent);
        for header in [
            &b"form-data; name=f; filename=\"\""[..],
            b"form-data; filename=",
            b"form-data; filename*=",
        ] {
            assert_eq!(read(header), FileName::Empty, "{}", String::from_utf8_lossy(header));
        }
    }

    #[cfg(feature = "uploads")]
    #[test]
    fn the_name_of_a_request_prefers_the_extended_notation() {
        let mut headers = HeaderMap::new();
        assert_eq!(suggested_name(&headers), None);
        for (header, name) in [
            ("inline; filename=\"a.txt\"; filename*=UTF-8''%e2%82%ac.txt", Some("€.txt")),
            ("inline; filename=\"a b.txt\"", Some("a b.txt")),
            ("attachment; filename=a.txt; filename*=UTF-8''", Some("a.txt")),
            ("inline; filename=\"\"", None),
            ("inline", None),
        ] {
            headers.insert(CONTENT_DISPOSITION, HeaderValue::from_static(header));
            assert_eq!(suggested_name(&headers).as_deref(), name, "{header}");
        }
    }
}
