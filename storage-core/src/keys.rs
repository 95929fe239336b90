//! Making keys: safe names for uploads, names that nobody has taken.

use std::time::SystemTime;

use jiff::Timestamp;
use jiff::fmt::strtime;

use crate::error::{Error, ErrorKind, Result};
use crate::key::{Key, MAX_KEY_BYTES};

/// The most bytes that a made name has: what every file system holds, with room to spare.
const MAX_NAME_BYTES: usize = 150;

/// How many random characters make a name unguessable (80 bits) ...
const UNIQUE_CHARS: usize = 16;

/// ... and how many tell one name from its twin, as Django has it.
const ALTERNATIVE_CHARS: usize = 7;

/// A key for an upload that no other upload has and nobody can guess: the sanitised file name with 80 random bits
/// before its extension, below a directory.
///
/// The directory may hold `strftime` directives (`%Y`, `%m`, `%d`, ...), filled in with the present time in UTC.
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
/// `InvalidKey` if the directory could not begin a key; `InvalidInput` for an unknown directive.
pub fn unique(directory: &str, file_name: &str) -> Result<Key> {
    let name = with_suffix(&sanitised(file_name), '-', UNIQUE_CHARS)?;
    in_directory(&dated(directory, SystemTime::now())?, &name)
}

/// Fills in the `strftime` directives of a template with a time, in UTC: `"%Y/%m/%d"` gives `"2026/12/01"`.
///
/// # Errors
/// `InvalidInput` for an unknown directive; a plain percent sign is written `%%`.
pub fn dated(template: &str, time: SystemTime) -> Result<String> {
    let bad =
        |cause| Error::new(ErrorKind::InvalidInput, format!("{template:?} is not a date template")).with_source(cause);
    let time = Timestamp::try_from(time).map_err(bad)?;
    strtime::format(template, time).map_err(bad)
}

/// A file name of a stranger as one safe segment of a key.
///
/// Takes what follows the last slash or backslash; keeps letters and digits of any script, `.`, `_` and `-`;
/// makes a dash of everything else; drops dots and dashes at the ends, so that nothing is hidden or an option;
/// puts the extension in lower case; shortens the rest to fit 150 bytes. If nothing is left, it is `file`.
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
        if c.is_alphanumeric() || matches!(c, '.' | '_' | '-') {
            safe.push(c);
        } else if !safe.ends_with('-') {
            safe.push('-');
        }
    }
    let (stem, extension) = match safe.rsplit_once('.') {
        Some((stem, extension)) => (stem, extension.trim_matches('-').to_lowercase()),
        None => (&*safe, String::new()),
    };
    let stem = stem.trim_matches(['.', '-']);
    let stem = if stem.is_empty() { "file" } else { stem };
    // Windows opens a device for these names, whatever the extension.
    let stem = if is_windows_device(stem) { format!("{stem}_") } else { stem.to_owned() };
    shortened(&stem, &extension)
}

/// Another key beside one that is taken: `a/photo.png` becomes `a/photo_x7k2m9q.png`.
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
    // Where a long directory leaves too little room, the name's beginning gives way: its end is what differs.
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
            format!("{}{separator}{random}.{extension}", cut(stem, MAX_NAME_BYTES.saturating_sub(extension.len())))
        }
        _ => format!("{}{separator}{random}", cut(name, MAX_NAME_BYTES)),
    })
}

fn shortened(stem: &str, extension: &str) -> String {
    let extension = cut(extension, 32);
    let stem = cut(stem, MAX_NAME_BYTES - extension.len()).trim_end_matches(['.', '-']);
    if extension.is_empty() { stem.to_owned() } else { format!("{stem}.{extension}") }
}

fn cut(text: &str, max: usize) -> &str {
    let mut end = text.len().min(max);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

fn is_windows_device(stem: &str) -> bool {
    let base = stem.split('.').next().unwrap_or_default().to_ascii_lowercase();
    match base.as_str() {
        "con" | "prn" | "aux" | "nul" => true,
        other => matches!(other.as_bytes(), [b'c', b'o', b'm', b'0'..=b'9'] | [b'l', b'p', b't', b'0'..=b'9']),
    }
}

/// Random text of lower-case letters and digits, five bits a character, from the system's generator.
///
/// # Errors
/// `Unexpected` if the system has no random numbers.
pub fn random_text(chars: usize) -> Result<String> {
    const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
    let mut random = vec![0_u8; chars];
    fill_random(&mut random)?;
    Ok(random.into_iter().map(|byte| char::from(ALPHABET[usize::from(byte & 31)])).collect())
}

/// Random bytes from the system's generator.
///
/// # Errors
/// `Unexpected` if the system has no random numbers.
pub fn random_bytes<const N: usize>() -> Result<[u8; N]> {
    let mut random = [0; N];
    fill_random(&mut random)?;
    Ok(random)
}

fn fill_random(bytes: &mut [u8]) -> Result<()> {
    getrandom::fill(bytes).map_err(|cause| Error::unexpected("the system has no random numbers", cause))
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
        for odd in ["a/.env".to_owned(), format!("{}/{}", "d".repeat(900), "n".repeat(123)), "k".repeat(1024)] {
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
