//! Makes keys: safe names for uploads, and unused names.

use std::borrow::Cow;
use std::time::SystemTime;

use crate::error::{BoxError, Error, ErrorKind, Result};
use crate::key::{Key, MAX_KEY_BYTES};
use crate::text::{is_invisible, is_visible_mark};

/// The maximum length of a sanitised name in bytes, without the suffix. Every file system
/// accepts 255.
const MAX_NAME_BYTES: usize = 150;

/// The maximum length of the extension of a sanitised name in bytes.
const MAX_EXTENSION_BYTES: usize = 32;

/// The number of random characters of an unguessable name (80 bits).
const UNIQUE_CHARS: usize = 16;

/// The number of random characters of an alternative name, as in Django.
const ALTERNATIVE_CHARS: usize = 7;

/// Returns a unique and unguessable key for an upload: the sanitised file name with 80 random bits
/// before its extension, below a directory.
///
/// The directory may contain `strftime` directives (`%Y`, `%m`, `%d`, ...), which are replaced by
/// the present time in UTC. They need the feature `dates`.
///
/// ```
/// let key = storage_core::keys::unique("avatars/%Y", "C:\\Users\\ada\\My Photo.PNG")?;
/// assert!(key.as_str().starts_with("avatars/20"));
/// assert!(key.name().starts_with("My-Photo-"));
/// assert!(key.name().ends_with(".png"));
/// # Ok::<(), storage_core::Error>(())
/// ```
///
/// # Errors
/// `InvalidKey` if no key can begin with the directory. `InvalidInput` for an unknown directive, or
/// for any directive without the feature `dates`. `Unexpected` if the system has no random numbers.
pub fn unique(directory: &str, file_name: &str) -> Result<Key> {
    let name = with_suffix(&sanitised(file_name), '-', UNIQUE_CHARS)?;
    in_directory(&dated(directory, SystemTime::now())?, &name)
}

/// Replaces the `strftime` directives of a template by a time in UTC: `"%Y/%m/%d"` becomes
/// `"2026/12/01"`. A percent sign is written `%%`. Needs the feature `dates`.
///
/// # Errors
/// `InvalidInput` for an unknown directive, or for any percent sign without the feature `dates`.
pub fn dated(template: &str, time: SystemTime) -> Result<String> {
    formatted(template, time).map_err(|cause| {
        Error::new(ErrorKind::InvalidInput, format!("{template:?} is not a date template"))
            .with_source(cause)
    })
}

#[cfg(feature = "dates")]
fn formatted(template: &str, time: SystemTime) -> std::result::Result<String, BoxError> {
    use std::fmt::Write;

    let time = crate::rfc3339::to_utc(time).ok_or("the time is outside the calendar")?;
    let mut text = String::new();
    // Fails for an unknown directive.
    write!(text, "{}", time.format(template))?;
    Ok(text)
}

/// Returns a template without directives, and fails for others.
#[cfg(not(feature = "dates"))]
fn formatted(template: &str, _time: SystemTime) -> std::result::Result<String, BoxError> {
    if template.contains('%') {
        return Err("this program is built without dates: enable the feature \"dates\"".into());
    }
    Ok(template.to_owned())
}

/// Converts an untrusted file name to one safe segment of a key.
///
/// - Uses the part after the last slash or backslash.
/// - Keeps letters and digits of any script with their combining marks, `.`, `_` and `-`. Removes
///   invisible characters (joiners, marks of direction). Replaces each run of other characters by
///   one dash.
/// - Removes dots and dashes at the ends, so that the name is neither hidden nor an option.
/// - Converts the extension to lower case, and shortens the rest so that the name fits 150 bytes.
/// - If nothing is left, returns `file`.
/// - Adds an underscore to a name for which Windows opens a device, regardless of its extensions:
///   `nul.tar.gz` becomes `nul_.tar.gz`.
///
/// Applied to its own result, it changes nothing.
///
/// ```
/// use storage_core::keys::sanitised;
///
/// assert_eq!(sanitised("../../etc/passwd"), "passwd");
/// assert_eq!(sanitised("Été à la mer.JPEG"), "Été-à-la-mer.jpeg");
/// assert_eq!(sanitised("..."), "file");
/// ```
#[must_use]
pub fn sanitised(file_name: &str) -> String {
    let name = file_name.rsplit(['/', '\\']).next().unwrap_or_default();
    let mut safe = String::new();
    for c in name.chars() {
        if is_invisible(c) && !c.is_control() {
            continue;
        }
        let is_kept = match c {
            '.' | '_' | '-' => true,
            // Without its letter a mark would combine with the character before it.
            c if is_visible_mark(c) => !safe.is_empty() && !safe.ends_with(['.', '_', '-']),
            c => c.is_alphanumeric(),
        };
        if is_kept {
            safe.push(c);
        } else if !safe.ends_with('-') {
            safe.push('-');
        }
    }
    let safe = safe.trim_end_matches(['.', '-']);
    let (stem, extension) = match safe.rsplit_once('.') {
        Some((stem, extension)) => (stem, extension.trim_matches('-').to_lowercase()),
        None => (safe, String::new()),
    };
    let stem = stem.trim_matches(['.', '-']);
    let stem = if stem.is_empty() { "file" } else { stem };
    shortened(&without_device(stem), &extension)
}

/// Adds an underscore if Windows opens a device for the name, regardless of what follows the first
/// dot.
fn without_device(stem: &str) -> Cow<'_, str> {
    let (base, rest) = stem.split_at(stem.find('.').unwrap_or(stem.len()));
    if is_windows_device(base) { Cow::Owned(format!("{base}_{rest}")) } else { Cow::Borrowed(stem) }
}

/// Returns another key beside one that is taken: `a/photo.png` becomes `a/photo_x7k2m9q.png`.
///
/// # Errors
/// `Unexpected` if the system has no random numbers.
pub fn alternative(key: &Key) -> Result<Key> {
    let name = with_suffix(key.name(), '_', ALTERNATIVE_CHARS)?;
    in_directory(key.parent().unwrap_or_default(), &name)
}

fn in_directory(directory: &str, name: &str) -> Result<Key> {
    let directory = directory.strip_suffix('/').unwrap_or(directory);
    if directory.is_empty() {
        return Key::new(name);
    }
    // If a long directory leaves too little room, the beginning of the name is cut off, because its
    // end is what differs.
    let room = MAX_KEY_BYTES.saturating_sub(directory.len() + 1);
    let mut start = name.len().saturating_sub(room.max(1));
    while !name.is_char_boundary(start) {
        start += 1;
    }
    Key::new(format!("{directory}/{}", &name[start..]))
}

fn with_suffix(name: &str, separator: char, chars: usize) -> Result<String> {
    let random = random_text(chars)?;
    Ok(match name.rsplit_once('.') {
        Some((stem, extension)) if !stem.is_empty() => {
            format!(
                "{}{separator}{random}.{extension}",
                cut(stem, MAX_NAME_BYTES.saturating_sub(extension.len()))
            )
        }
        _ => format!("{}{separator}{random}", cut(name, MAX_NAME_BYTES)),
    })
}

fn shortened(stem: &str, extension: &str) -> String {
    let extension = cut(extension, MAX_EXTENSION_BYTES).trim_end_matches('-');
    let dot = usize::from(!extension.is_empty());
    let stem = cut(stem, MAX_NAME_BYTES - extension.len() - dot).trim_end_matches(['.', '-']);
    // A cut may leave the name of a device, if one letter with many marks followed it.
    let stem = without_device(stem);
    if extension.is_empty() { stem.into_owned() } else { format!("{stem}.{extension}") }
}

/// Cuts a text to at most `max` bytes. Cuts between a letter and its marks only if nothing else
/// would be left.
fn cut(text: &str, max: usize) -> &str {
    let mut end = text.len().min(max);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    let start = &text[..end];
    if !text[end..].starts_with(is_visible_mark) {
        return start;
    }
    let letter = start.char_indices().rev().find(|(_, c)| !is_visible_mark(*c));
    letter.map(|(at, _)| &start[..at]).filter(|whole| !whole.is_empty()).unwrap_or(start)
}

/// Returns whether a name up to its first dot is that of a device ("Naming Files, Paths, and
/// Namespaces"): `CON`, `PRN`, `AUX`, `NUL`, `COM0` to `COM9`, `LPT0` to `LPT9`, also with one of
/// the superscript digits of Latin-1.
fn is_windows_device(base: &str) -> bool {
    let base = base.to_ascii_lowercase();
    if matches!(base.as_str(), "con" | "prn" | "aux" | "nul") {
        return true;
    }
    let port = base.strip_prefix("com").or_else(|| base.strip_prefix("lpt"));
    port.and_then(|port| only(port.chars()))
        .is_some_and(|c| c.is_ascii_digit() || matches!(c, '¹' | '²' | '³'))
}

fn only(mut chars: std::str::Chars<'_>) -> Option<char> {
    chars.next().filter(|_| chars.next().is_none())
}

/// Returns random lower-case letters and digits from the system's generator, five bits a character.
///
/// # Errors
/// `Unexpected` if the system has no random numbers.
pub fn random_text(chars: usize) -> Result<String> {
    const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
    let mut random = vec![0_u8; chars];
    fill_random(&mut random)?;
    Ok(random.into_iter().map(|byte| char::from(ALPHABET[usize::from(byte & 31)])).collect())
}

/// Returns random bytes from the system's generator.
///
/// # Errors
/// `Unexpected` if the system has no random numbers.
pub fn random_bytes<const N: usize>() -> Result<[u8; N]> {
    let mut random = [0; N];
    fill_random(&mut random)?;
    Ok(random)
}

fn fill_random(bytes: &mut [u8]) -> Result<()> {
    getrandom::fill(bytes)
        .map_err(|cause| Error::unexpected("the system has no random numbers", cause))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hostile_file_name_becomes_one_harmless_segment() {
        for name in [
            "",
            ".",
            "..",
            "../..",
            "a/../../b",
            "..\\..\\c",
            "\0",
            "a\nb",
            "-rf",
            ".htaccess",
            "con.txt",
            "x;y|z",
            "☺",
        ] {
            let safe = sanitised(name);
            assert_eq!(Key::new(safe.as_str()).unwrap().segments().count(), 1, "{name:?}");
            assert!(!safe.starts_with(['.', '-']), "{name:?} became {safe:?}");
        }
        assert_eq!(sanitised("con.txt"), "con_.txt");
        assert!(sanitised(&"é".repeat(1000)).len() <= MAX_NAME_BYTES);
        assert!(sanitised(&format!("a.{}", "é".repeat(1000))).len() <= MAX_NAME_BYTES);
    }

    #[test]
    fn letters_keep_their_combining_marks() {
        for name in
            ["Cafe\u{301}.txt", "हिन्दी.txt", "ภาษาไทย.txt", "தமிழ்.txt", "Việt.txt", "עִבְרִית.txt"]
        {
            assert_eq!(sanitised(name), name);
        }
        assert_eq!(sanitised("a \u{301}b"), "a-b");
        assert_eq!(sanitised("\u{301}a.\u{301}txt"), "a.txt");
        assert_eq!(sanitised("می\u{200c}خواهم"), "میخواهم");
        assert_eq!(sanitised("a\u{202e}gpj.exe"), "agpj.exe");
    }

    #[test]
    fn a_long_name_is_cut_between_letters_with_their_marks() {
        let cut = sanitised(&format!("{}.txt", "e\u{301}".repeat(100)));
        assert!(cut.len() <= MAX_NAME_BYTES && cut.ends_with("e\u{301}.txt"), "{cut}");
        // One letter with too many marks.
        let cut = sanitised(&format!("a{}.txt", "\u{301}".repeat(100)));
        assert!(
            cut.len() <= MAX_NAME_BYTES && cut.starts_with("a\u{301}") && cut.ends_with(".txt"),
            "{cut}"
        );
    }

    #[test]
    fn a_sanitised_name_has_at_most_150_bytes_with_its_dot() {
        assert_eq!(sanitised(&format!("{}.txt", "a".repeat(200))).len(), MAX_NAME_BYTES);
        assert_eq!(sanitised(&"a".repeat(200)).len(), MAX_NAME_BYTES);
    }

    #[test]
    fn a_name_that_windows_opens_as_a_device_is_changed_whatever_follows_its_first_dot() {
        for (name, safe) in [
            ("nul.tar.gz", "nul_.tar.gz"),
            ("NUL", "NUL_"),
            ("COM¹.txt", "COM¹_.txt"),
            ("lpt9.a.b.c", "lpt9_.a.b.c"),
            ("com0", "com0_"),
            ("com10.txt", "com10.txt"),
            ("null.txt", "null.txt"),
            ("a.con", "a.con"),
        ] {
            assert_eq!(sanitised(name), safe);
        }
    }

    proptest::proptest! {
        #[test]
        fn any_name_becomes_one_harmless_segment_of_bounded_length(
            name in "(\\PC|[\u{300}-\u{36f}\u{200b}-\u{200f}\u{0}-\u{20}./\\\\-]|con|NUL|com1|LPT¹){0,90}"
        ) {
            let safe = sanitised(&name);
            proptest::prop_assert!(safe.len() <= MAX_NAME_BYTES);
            proptest::prop_assert!(!safe.starts_with(['.', '-']) && !safe.ends_with(['.', '-']));
            proptest::prop_assert!(!safe.chars().any(is_invisible));
            proptest::prop_assert!(!is_windows_device(safe.split('.').next().unwrap_or_default()));
            proptest::prop_assert_eq!(Key::new(safe.as_str()).unwrap().segments().count(), 1);
            proptest::prop_assert_eq!(sanitised(&safe), safe.clone());
            let unique = unique("a", &name).unwrap();
            proptest::prop_assert!(unique.name().len() <= 255);
        }

        #[test]
        fn a_short_name_of_letters_and_marks_stays_as_it_is(name in "[a-zäöüक-हก-ฮ][a-zäöü0-9\u{300}-\u{34e}क-हिी्ก-ฮ่-๋]{0,20}") {
            proptest::prop_assume!(!is_windows_device(&name));
            proptest::prop_assert_eq!(sanitised(&name), name);
        }
    }

    #[test]
    fn unique_keys_differ() {
        let a = unique("x", "y.png").unwrap();
        assert_ne!(a, unique("x", "y.png").unwrap());
        assert_eq!(unique("../x", "y").unwrap_err().kind(), ErrorKind::InvalidKey);
        assert_eq!(unique("%!", "y").unwrap_err().kind(), ErrorKind::InvalidInput);
    }

    #[test]
    fn an_alternative_stays_in_its_directory_and_keeps_its_extension() {
        let key = alternative(&Key::new("a/photo.tar.gz").unwrap()).unwrap();
        assert!(key.as_str().starts_with("a/photo.tar_") && key.as_str().ends_with(".gz"), "{key}");
        for odd in [
            "a/.env".to_owned(),
            format!("{}/{}", "d".repeat(900), "n".repeat(123)),
            "k".repeat(1024),
        ] {
            let key = Key::new(odd).unwrap();
            assert_ne!(alternative(&key).unwrap(), key);
        }
    }

    #[test]
    fn a_template_is_filled_in_with_the_date() {
        let time = SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(1_796_083_200);
        assert_eq!(dated("uploads/%Y/%m/%d", time).unwrap(), "uploads/2026/12/01");
        assert_eq!(dated("100%%", time).unwrap(), "100%");
    }
}
