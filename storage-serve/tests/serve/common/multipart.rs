//! A parser of `multipart/byteranges` that shares no code with the writer.

use std::ops::Range;

use super::TestResponse;

/// A part: its range, the size of the object, and its bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Part {
    pub(crate) range: Range<u64>,
    pub(crate) size: u64,
    pub(crate) content_type: String,
    pub(crate) bytes: Vec<u8>,
}

/// Returns the parts of a response.
///
/// # Panics
/// If the document violates RFC 2046 section 5.1 or RFC 9110 section 14.6.
pub(crate) fn parts(response: &TestResponse) -> Vec<Part> {
    let boundary =
        response.header("content-type").strip_prefix("multipart/byteranges; boundary=").unwrap();
    let mut rest = strip(&response.body, format!("--{boundary}").as_bytes());
    let mut parts = Vec::new();
    loop {
        if rest == b"--\r\n" {
            return parts;
        }
        rest = strip(rest, b"\r\n");
        let end = find(rest, b"\r\n\r\n");
        let mut part = head(std::str::from_utf8(&rest[..end]).unwrap());
        rest = &rest[end + 4..];
        // Split by length, because the bytes may contain the boundary.
        let length = usize::try_from(part.range.end - part.range.start).unwrap();
        part.bytes = rest[..length].to_vec();
        parts.push(part);
        rest = strip(&rest[length..], format!("\r\n--{boundary}").as_bytes());
    }
}

fn head(text: &str) -> Part {
    let mut part = Part { range: 0..0, size: 0, content_type: String::new(), bytes: Vec::new() };
    for line in text.split("\r\n") {
        let (name, value) = line.split_once(": ").unwrap();
        match name.to_ascii_lowercase().as_str() {
            "content-type" => part.content_type = value.to_owned(),
            "content-range" => (part.range, part.size) = content_range(value),
            other => panic!("a part has the header {other}"),
        }
    }
    part
}

/// Parses the value of `Content-Range`.
pub(crate) fn content_range(value: &str) -> (Range<u64>, u64) {
    let (range, size) = value.strip_prefix("bytes ").unwrap().split_once('/').unwrap();
    let (first, last) = range.split_once('-').unwrap();
    (first.parse().unwrap()..last.parse::<u64>().unwrap() + 1, size.parse().unwrap())
}

fn strip<'a>(bytes: &'a [u8], start: &[u8]) -> &'a [u8] {
    bytes
        .strip_prefix(start)
        .unwrap_or_else(|| panic!("{:?} does not come here", String::from_utf8_lossy(start)))
}

fn find(bytes: &[u8], wanted: &[u8]) -> usize {
    bytes.windows(wanted.len()).position(|window| window == wanted).unwrap()
}
