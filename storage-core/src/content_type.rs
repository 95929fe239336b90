//! Guesses content types from a key's extension and from the first bytes of an object.

use std::borrow::Cow;

use crate::error::Result;
use crate::key::Key;
use crate::payload::Payload;

/// The number of first bytes that a guess looks at: those in which HTML has to declare its encoding
/// (HTML Living Standard, section 4.2.5.4).
pub const SNIFF_BYTES: usize = 1024;

const UNKNOWN: &str = "application/octet-stream";
const TEXT: &str = "text/plain";
const MPEG_TS: &str = "video/mp2t";

/// Types by extension, sorted, where `mime_guess` has none, an outdated one, or one of another
/// format that has the same extension. The types are those of IANA's registry ("Media Types"), or
/// where it has none, the one in common use.
const CORRECTED: &[(&str, &str)] = &[
    ("3mf", "model/3mf"),
    ("adt", "audio/aac"),
    ("cab", "application/vnd.ms-cab-compressed"),
    ("cjs", "text/javascript"),
    ("cts", TEXT),
    ("deb", "application/vnd.debian.binary-package"),
    ("dmg", "application/x-apple-diskimage"),
    ("dwg", "image/vnd.dwg"),
    ("dxf", "image/vnd.dxf"),
    ("emf", "image/emf"),
    ("java", TEXT),
    ("kar", "audio/midi"),
    ("ktx2", "image/ktx2"),
    ("m2t", MPEG_TS),
    ("m2ts", MPEG_TS),
    ("m3u", "audio/mpegurl"),
    ("m3u8", "application/vnd.apple.mpegurl"),
    ("m4a", "audio/mp4"),
    ("m4b", "audio/mp4"),
    ("m4p", "audio/mp4"),
    ("m4r", "audio/mp4"),
    // Source maps (ECMA-426).
    ("map", "application/json"),
    ("mid", "audio/midi"),
    ("midi", "audio/midi"),
    ("mjs", "text/javascript"),
    ("mtl", "model/mtl"),
    ("obj", "model/obj"),
    ("org", "text/org"),
    ("otf", "font/otf"),
    ("psd", "image/vnd.adobe.photoshop"),
    ("rar", "application/vnd.rar"),
    ("rmi", "audio/midi"),
    ("rpm", "application/x-rpm"),
    ("sql", "application/sql"),
    ("sqlite", "application/vnd.sqlite3"),
    ("sqlite3", "application/vnd.sqlite3"),
    ("step", "model/step"),
    ("stl", "model/stl"),
    ("stp", "model/step"),
    // As `image/svg+xml` it would need `Content-Encoding: gzip`, which a guess does not set.
    ("svgz", "application/gzip"),
    ("tgz", "application/gzip"),
    ("toml", "application/toml"),
    ("tts", MPEG_TS),
    ("usda", "model/vnd.usda"),
    ("usdz", "model/vnd.usdz+zip"),
    ("vcf", "text/vcard"),
    ("wmf", "image/wmf"),
    ("woff", "font/woff"),
    ("yaml", "application/yaml"),
    ("yml", "application/yaml"),
    ("zst", "application/zstd"),
];

/// Types that `infer` returns, sorted, and the names of the same types by extension.
const CORRECTED_SNIFFED: &[(&str, &str)] = &[
    ("application/font-sfnt", "font/sfnt"),
    ("application/font-woff", "font/woff"),
    ("audio/m4a", "audio/mp4"),
    ("audio/opus", "audio/ogg"),
    ("audio/x-aiff", "audio/aiff"),
    ("audio/x-flac", "audio/flac"),
    ("audio/x-wav", "audio/wav"),
];

/// Returns the content type that a key's extension implies, or `application/octet-stream` if it
/// implies none. The types of text come without a charset, which only the bytes can show.
///
/// ```
/// # use storage_core::{content_type, Key};
/// assert_eq!(content_type::of_key(&Key::new("a/b.PNG")?), "image/png");
/// # Ok::<(), storage_core::Error>(())
/// ```
#[must_use]
pub fn of_key(key: &Key) -> String {
    match by_extension(key) {
        ByExtension::Certain(kind) => kind.to_owned(),
        ByExtension::VideoOrText | ByExtension::None => UNKNOWN.to_owned(),
    }
}

/// Returns the content type of an object that was saved without one: by extension, else by the
/// first bytes. `start` is the beginning of the object; at most [`SNIFF_BYTES`] of it are read.
///
/// A `text/` type gets `; charset=utf-8` if the bytes are UTF-8, unless they declare an encoding
/// themselves (HTML, XML and CSS can): browsers read text without a charset as windows-1252.
///
/// Types that a browser executes (HTML, SVG, XML, scripts) are never guessed from the bytes,
/// because uploaders of files without an extension could then choose one. Such bytes are
/// `text/plain` if they are UTF-8, and `application/octet-stream` otherwise. Without the feature
/// `sniff`, no binary format is recognised by its bytes.
///
/// ```
/// # use storage_core::{content_type, Key};
/// let key = Key::new("upload")?;
/// assert_eq!(content_type::of_bytes(&key, b"\x89PNG\r\n\x1a\n"), "image/png");
/// assert_eq!(content_type::of_bytes(&key, b"<script>alert(1)</script>"), "text/plain; charset=utf-8");
/// # Ok::<(), storage_core::Error>(())
/// ```
#[must_use]
pub fn of_bytes(key: &Key, start: &[u8]) -> String {
    let start = &start[..start.len().min(SNIFF_BYTES)];
    let kind = match by_extension(key) {
        ByExtension::Certain(kind) => kind,
        ByExtension::VideoOrText if start.is_empty() => UNKNOWN,
        ByExtension::VideoOrText => {
            if is_text(start) {
                TEXT
            } else {
                MPEG_TS
            }
        }
        ByExtension::None => by_first_bytes(start),
    };
    with_charset(kind, start).into_owned()
}

/// Returns whether the key alone determines the type, so that no bytes need to be read.
#[must_use]
pub fn is_determined_by_key(key: &Key) -> bool {
    matches!(by_extension(key), ByExtension::Certain(kind) if !is_text_type(kind))
}

pub(crate) async fn of_payload(key: &Key, payload: &mut Payload) -> Result<String> {
    if is_determined_by_key(key) {
        Ok(of_key(key))
    } else {
        Ok(of_bytes(key, &payload.peek(SNIFF_BYTES).await?))
    }
}

enum ByExtension {
    Certain(&'static str),
    /// `.ts` and `.mts` are MPEG transport streams or TypeScript.
    VideoOrText,
    None,
}

fn by_extension(key: &Key) -> ByExtension {
    let Some(extension) = key.extension().map(str::to_ascii_lowercase) else {
        return ByExtension::None;
    };
    // `.mod` is a rare video format, and `go.mod` is text.
    match extension.as_str() {
        "ts" | "mts" => return ByExtension::VideoOrText,
        "mod" => return ByExtension::None,
        _ => {}
    }
    let kind =
        corrected(CORRECTED, &extension).or_else(|| mime_guess::from_ext(&extension).first_raw());
    kind.map_or(ByExtension::None, ByExtension::Certain)
}

fn corrected(table: &[(&str, &'static str)], name: &str) -> Option<&'static str> {
    table.binary_search_by_key(&name, |(from, _)| from).ok().map(|index| table[index].1)
}

fn by_first_bytes(start: &[u8]) -> &'static str {
    if let Some(kind) = by_signature(start) {
        return corrected(CORRECTED_SNIFFED, kind).unwrap_or(kind);
    }
    if !start.is_empty() && is_text(start) { TEXT } else { UNKNOWN }
}

/// Returns the type of a binary format, by the signature that its files begin with.
#[cfg(feature = "sniff")]
fn by_signature(start: &[u8]) -> Option<&'static str> {
    let kind = infer::get(start)?;
    (kind.matcher_type() != infer::MatcherType::Text).then(|| kind.mime_type())
}

#[cfg(not(feature = "sniff"))]
fn by_signature(_start: &[u8]) -> Option<&'static str> {
    None
}

fn is_text_type(kind: &str) -> bool {
    kind.starts_with("text/")
}

fn with_charset<'a>(kind: &'a str, start: &[u8]) -> Cow<'a, str> {
    if is_text_type(kind) && !start.is_empty() && is_text(start) && !declares_encoding(kind, start)
    {
        Cow::Owned(format!("{kind}; charset=utf-8"))
    } else {
        Cow::Borrowed(kind)
    }
}

/// Returns whether the bytes name an encoding, which a charset in the header would override: `<meta
/// charset>` in HTML, `encoding=` in XML, `@charset` in CSS.
fn declares_encoding(kind: &str, start: &[u8]) -> bool {
    let can_declare = ["html", "xml", "css"].iter().any(|format| kind.contains(format));
    let start = String::from_utf8_lossy(start).to_ascii_lowercase();
    can_declare && (start.contains("charset") || start.contains("encoding"))
}

/// Returns whether the bytes are UTF-8 without control characters other than white space. The last
/// character may be cut off.
fn is_text(start: &[u8]) -> bool {
    let whole = match std::str::from_utf8(start) {
        Ok(text) => text,
        Err(error) if error.error_len().is_none() => {
            std::str::from_utf8(&start[..error.valid_up_to()]).unwrap_or_default()
        }
        Err(_) => return false,
    };
    whole.chars().all(|c| !c.is_control() || c.is_ascii_whitespace())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn guess(key: &str, start: &[u8]) -> String {
        of_bytes(&Key::new(key).unwrap(), start)
    }

    #[test]
    fn the_extension_decides_before_the_bytes() {
        assert_eq!(guess("site.css", b"\x89PNG\r\n\x1a\n"), "text/css");
        assert_eq!(guess("Episode.MP3", b""), "audio/mpeg");
    }

    #[test]
    fn the_bytes_decide_if_the_name_has_no_known_extension() {
        assert_eq!(guess("cover", b"\xff\xd8\xff\xe0\x00\x10JFIF"), "image/jpeg");
        assert_eq!(guess("notes", "héllo\n".as_bytes()), "text/plain; charset=utf-8");
        assert_eq!(guess("data.unheard-of", b"\x00\x01\x02"), "application/octet-stream");
        assert_eq!(guess("empty", b""), "application/octet-stream");
    }

    #[test]
    fn a_type_that_browsers_execute_is_never_guessed_from_bytes() {
        for start in [
            "<!DOCTYPE html><html>",
            "<svg xmlns='http://www.w3.org/2000/svg'>",
            "<?xml version='1.0'?>",
            "#!/bin/sh\n",
        ] {
            assert_eq!(guess("upload", start.as_bytes()), "text/plain; charset=utf-8", "{start}");
        }
    }

    #[test]
    fn text_cut_in_the_middle_of_a_character_is_text() {
        assert_eq!(
            guess("notes", &"€".repeat(400).as_bytes()[..SNIFF_BYTES]),
            "text/plain; charset=utf-8"
        );
    }

    #[test]
    fn the_tables_are_sorted_and_name_types_in_lower_case() {
        for table in [CORRECTED, CORRECTED_SNIFFED] {
            assert!(table.is_sorted_by(|(a, _), (b, _)| a < b));
            for (name, kind) in table {
                assert_eq!((*name, *kind), (&*name.to_lowercase(), &*kind.to_lowercase()));
            }
        }
    }

    #[test]
    fn an_extension_has_the_type_that_is_registered_and_that_browsers_need() {
        let types = [
            // Web pages.
            ("html", "text/html"),
            ("xhtml", "application/xhtml+xml"),
            ("css", "text/css"),
            ("js", "text/javascript"),
            ("mjs", "text/javascript"),
            ("cjs", "text/javascript"),
            ("json", "application/json"),
            ("map", "application/json"),
            ("webmanifest", "application/manifest+json"),
            ("wasm", "application/wasm"),
            ("xml", "text/xml"),
            ("rss", "application/rss+xml"),
            ("atom", "application/atom+xml"),
            ("txt", "text/plain"),
            ("md", "text/markdown"),
            ("csv", "text/csv"),
            ("ics", "text/calendar"),
            ("vcf", "text/vcard"),
            ("yaml", "application/yaml"),
            ("toml", "application/toml"),
            // Fonts.
            ("woff", "font/woff"),
            ("woff2", "font/woff2"),
            ("otf", "font/otf"),
            ("ttf", "font/ttf"),
            ("ttc", "font/collection"),
            ("eot", "application/vnd.ms-fontobject"),
            // Images.
            ("png", "image/png"),
            ("apng", "image/apng"),
            ("jpg", "image/jpeg"),
            ("jpeg", "image/jpeg"),
            ("jfif", "image/jpeg"),
            ("gif", "image/gif"),
            ("webp", "image/webp"),
            ("avif", "image/avif"),
            ("heic", "image/heic"),
            ("jxl", "image/jxl"),
            ("svg", "image/svg+xml"),
            ("svgz", "application/gzip"),
            ("ico", "image/x-icon"),
            ("bmp", "image/bmp"),
            ("tif", "image/tiff"),
            ("psd", "image/vnd.adobe.photoshop"),
            ("dwg", "image/vnd.dwg"),
            ("dxf", "image/vnd.dxf"),
            ("ktx2", "image/ktx2"),
            // Sound and video.
            ("mp3", "audio/mpeg"),
            ("m4a", "audio/mp4"),
            ("m4b", "audio/mp4"),
            ("aac", "audio/aac"),
            ("flac", "audio/flac"),
            ("wav", "audio/wav"),
            ("ogg", "audio/ogg"),
            ("opus", "audio/ogg"),
            ("weba", "audio/webm"),
            ("mid", "audio/midi"),
            ("mp4", "video/mp4"),
            ("webm", "video/webm"),
            ("mov", "video/quicktime"),
            ("mkv", "video/x-matroska"),
            ("m2ts", "video/mp2t"),
            ("m3u8", "application/vnd.apple.mpegurl"),
            ("mpd", "application/dash+xml"),
            ("vtt", "text/vtt"),
            ("srt", "application/x-subrip"),
            // Models.
            ("obj", "model/obj"),
            ("mtl", "model/mtl"),
            ("stl", "model/stl"),
            ("3mf", "model/3mf"),
            ("glb", "model/gltf-binary"),
            ("gltf", "model/gltf+json"),
            ("usdz", "model/vnd.usdz+zip"),
            ("step", "model/step"),
            // Documents, archives, packages.
            ("pdf", "application/pdf"),
            ("epub", "application/epub+zip"),
            ("doc", "application/msword"),
            ("docx", "application/vnd.openxmlformats-officedocument.wordprocessingml.document"),
            ("xlsx", "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"),
            ("odt", "application/vnd.oasis.opendocument.text"),
            ("zip", "application/zip"),
            ("gz", "application/gzip"),
            ("tgz", "application/gzip"),
            ("zst", "application/zstd"),
            ("7z", "application/x-7z-compressed"),
            ("rar", "application/vnd.rar"),
            ("tar", "application/x-tar"),
            ("rpm", "application/x-rpm"),
            ("deb", "application/vnd.debian.binary-package"),
            ("apk", "application/vnd.android.package-archive"),
            ("jar", "application/java-archive"),
            ("sqlite", "application/vnd.sqlite3"),
            ("parquet", "application/vnd.apache.parquet"),
            ("geojson", "application/geo+json"),
        ];
        for (extension, kind) in types {
            assert_eq!(of_key(&Key::new(format!("a.{extension}")).unwrap()), kind, "{extension}");
            assert_eq!(
                of_key(&Key::new(format!("a.{}", extension.to_uppercase())).unwrap()),
                kind,
                "{extension}"
            );
        }
    }

    #[test]
    fn first_bytes_decide_between_video_and_typescript() {
        let mut video = vec![0xff; SNIFF_BYTES];
        for packet in video.chunks_mut(188) {
            packet[0] = 0x47;
        }
        for extension in ["ts", "mts", "TS"] {
            let key = format!("a.{extension}");
            assert_eq!(guess(&key, &video), "video/mp2t");
            assert_eq!(guess(&key, b"export const a: number = 1;\n"), "text/plain; charset=utf-8");
            assert_eq!(guess(&key, b""), "application/octet-stream");
            assert!(!is_determined_by_key(&Key::new(key).unwrap()));
        }
        assert_eq!(guess("go.mod", b"module example.com/a\n"), "text/plain; charset=utf-8");
    }

    #[test]
    fn text_that_is_utf_8_says_so_unless_it_declares_its_encoding() {
        assert_eq!(guess("a.txt", "Grüße".as_bytes()), "text/plain; charset=utf-8");
        assert_eq!(guess("a.js", b"let a = 1;"), "text/javascript; charset=utf-8");
        assert_eq!(guess("a.html", b"<!DOCTYPE html><title>a</title>"), "text/html; charset=utf-8");
        assert_eq!(guess("a.txt", b"Gr\xfc\xdfe"), "text/plain");
        assert_eq!(guess("a.txt", b"\xff\xfea\x00"), "text/plain");
        assert_eq!(guess("a.txt", b""), "text/plain");
        assert_eq!(guess("a.html", b"<!DOCTYPE html><meta charset=iso-8859-1>"), "text/html");
        let late = format!("<!DOCTYPE html><!--{}--><meta charset=iso-8859-1>", "-".repeat(900));
        assert_eq!(guess("a.html", late.as_bytes()), "text/html");
        assert_eq!(guess("a.xml", b"<?xml version='1.0' encoding='latin1'?>"), "text/xml");
        assert_eq!(guess("a.css", b"@charset \"koi8-r\";"), "text/css");
        assert_eq!(guess("a.json", b"{}"), "application/json");
        assert_eq!(guess("a.svg", b"<svg/>"), "image/svg+xml");
    }

    #[test]
    fn bytes_and_extension_lead_to_the_same_name_of_a_type() {
        let samples: [(&str, &[u8]); 4] = [
            ("flac", b"fLaC\0\0\0\x22"),
            ("wav", b"RIFF\x24\0\0\0WAVEfmt "),
            ("woff", b"wOFF\0\x01\0\0\0\0"),
            ("m4a", b"\0\0\0\x20ftypM4A \0\0\0\0"),
        ];
        for (extension, start) in samples {
            assert_eq!(
                guess("a", start),
                of_key(&Key::new(format!("a.{extension}")).unwrap()),
                "{extension}"
            );
        }
    }
}
