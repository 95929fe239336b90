//! What the first bytes of an upload are, compared with the declared type.

use storage_core::content_type::SNIFF_BYTES;

use crate::uploads::grant;

/// The type of bytes that no format is known for.
const UNKNOWN: &str = "application/octet-stream";

/// Formats whose bytes do not show what is in them, which only the declaration names.
const CONTAINERS: [&str; 6] = [
    "application/zip",
    "application/gzip",
    "application/x-ole-storage",
    "application/ogg",
    "text/xml",
    "text/plain",
];

/// A type, and whether the bytes show it.
struct Found {
    kind: String,
    is_shown: bool,
}

/// Returns the type of an object with these first bytes, or `None` if it is not allowed.
///
/// The bytes decide. The declared type stays where they cannot: for text, for containers such as
/// ZIP, and for formats that are not known. Bytes of another kind than declared are not allowed:
/// HTML that is declared as an image, for example. A declared type that stays must be allowed by
/// name, because `image/*` means pictures and not everything that is called one.
pub(super) fn type_of(start: &[u8], declared: Option<&str>, allowed: &[String]) -> Option<String> {
    let start = &start[..start.len().min(SNIFF_BYTES)];
    let declared = declared.filter(|declared| essence(declared) != UNKNOWN);
    let Found { kind, is_shown } = find(start, declared)?;
    let is_allowed = allowed.is_empty()
        || match is_shown {
            true => grant::is_allowed(&kind, allowed),
            false => grant::is_named(&kind, allowed),
        };
    is_allowed.then_some(kind)
}

fn find(start: &[u8], declared: Option<&str>) -> Option<Found> {
    let found = infer::get(start).map(|found| found.mime_type());
    Some(match (found, declared) {
        (None, None) => Found { kind: UNKNOWN.to_owned(), is_shown: false },
        (None, Some(declared)) => {
            let plain = essence(declared);
            // A format that would have been recognised.
            if !start.is_empty() && infer::is_mime_supported(&plain) {
                return None;
            }
            let is_shown = family(&plain) == "text" && !start.contains(&0);
            Found { kind: declared.to_owned(), is_shown }
        }
        (Some(found), None) => Found { kind: found.to_owned(), is_shown: true },
        (Some(found), Some(declared)) => return compare(found, declared),
    })
}

fn compare(found: &str, declared: &str) -> Option<Found> {
    let plain = essence(declared);
    if plain == found {
        return Some(Found { kind: declared.to_owned(), is_shown: true });
    }
    if CONTAINERS.contains(&found) && (!infer::is_mime_supported(&plain) || is_document(&plain)) {
        return Some(Found { kind: declared.to_owned(), is_shown: false });
    }
    let is_related = family(&plain) == family(found) && family(found) != "application";
    is_related.then(|| Found { kind: found.to_owned(), is_shown: true })
}

/// Returns whether this is a format of office programs and readers, which are ZIP or OLE files that
/// are not always recognised.
fn is_document(essence: &str) -> bool {
    essence.starts_with("application/vnd.")
        || ["application/msword", "application/epub+zip"].contains(&essence)
}

fn essence(declared: &str) -> String {
    declared.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

/// Returns the first half of a type. Audio and video are one family, because they share formats.
fn family(essence: &str) -> &str {
    match essence.split('/').next().unwrap_or_default() {
        "audio" => "video",
        family => family,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PNG: &[u8] = b"\x89PNG\r\n\x1a\n";
    const HTML: &[u8] = b"<!DOCTYPE html><script>alert(1)</script>";

    fn of(start: &[u8], declared: &str) -> Option<String> {
        type_of(start, Some(declared).filter(|declared| !declared.is_empty()), &[])
    }

    #[test]
    fn html_and_text_are_no_images() {
        for start in [HTML, b"<html><body>", b"  <HTML>", b"plain text", b"PK\x03\x04"] {
            assert_eq!(of(start, "image/png"), None, "{start:?}");
            assert_eq!(of(start, "IMAGE/JPEG; x=1"), None, "{start:?}");
        }
        assert_eq!(of(HTML, "video/mp4"), None);
        assert_eq!(of(PNG, "text/plain"), None);
    }

    #[test]
    fn the_bytes_decide_within_a_family() {
        assert_eq!(of(PNG, "image/jpeg").as_deref(), Some("image/png"));
        assert_eq!(of(PNG, "").as_deref(), Some("image/png"));
        assert_eq!(of(PNG, "application/octet-stream").as_deref(), Some("image/png"));
        assert_eq!(of(b"\x1a\x45\xdf\xa3\x01\x00webm", "audio/webm"), of(b"", "audio/webm"));
    }

    #[test]
    fn the_declared_type_stays_where_the_bytes_cannot_decide() {
        for (start, declared) in [
            (&b"a,b\n1,2\n"[..], "text/csv"),
            (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "image/svg+xml"),
            (b"<?xml version='1.0'?><svg/>", "image/svg+xml"),
            (b"PK\x03\x04\x14\x00", "application/java-archive"),
            (b"unknown", "application/x-own"),
            (b"<html>", "text/html; charset=utf-8"),
        ] {
            assert_eq!(of(start, declared).as_deref(), Some(declared));
        }
        assert_eq!(of(b"unknown", "").as_deref(), Some(UNKNOWN));
    }

    #[test]
    fn a_declared_type_that_the_bytes_do_not_show_must_be_allowed_by_name() {
        let images = ["image/*".to_owned(), "image/svg+xml".to_owned()];
        let svg = b"<?xml version='1.0'?><svg/>";
        assert!(type_of(svg, Some("image/svg+xml"), &images).is_some());
        assert_eq!(type_of(svg, Some("image/svg+xml"), &images[..1]), None);
        assert_eq!(type_of(b"<script>", Some("image/x-own"), &images), None);
        assert_eq!(type_of(b"PK\x03\x04\x14\x00", Some("image/x-own"), &images), None);
        assert!(type_of(b"a,b", Some("text/csv"), &["text/*".to_owned()]).is_some());
        assert_eq!(type_of(b"\x00\x01", Some("text/csv"), &["text/*".to_owned()]), None);
    }

    #[test]
    fn an_archive_is_no_pdf_and_may_be_an_office_document() {
        let zip = b"PK\x03\x04\x14\x00";
        assert_eq!(of(zip, "application/pdf"), None);
        let odt = "application/vnd.oasis.opendocument.text";
        assert_eq!(of(zip, odt).as_deref(), Some(odt));
        assert_eq!(
            of(zip, "application/java-archive").as_deref(),
            Some("application/java-archive")
        );
    }

    #[test]
    fn the_type_of_the_bytes_must_be_allowed() {
        let images = ["image/*".to_owned()];
        assert_eq!(type_of(PNG, None, &images).as_deref(), Some("image/png"));
        assert_eq!(type_of(HTML, None, &images), None);
        assert_eq!(type_of(b"text", None, &images), None);
    }
}
