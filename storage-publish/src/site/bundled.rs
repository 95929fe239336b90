//! Recognises names that a bundler has hashed.
//!
//! A name that is taken for a hashed one by mistake would be cached for ever with old bytes. So a
//! part of a name counts as a hash only if it does not look like words, numbers or dates. A hash
//! that is missed costs a second hash in the name.

/// Returns whether a bundler has hashed the name, by the rules that
/// [`Naming::Bundled`](crate::Naming::Bundled) describes.
pub(crate) fn is_bundled(path: &str) -> bool {
    let (directory, name) = path.rsplit_once('/').unwrap_or(("", path));
    // The map of a bundled file has the name of the file.
    let name = name.strip_suffix(".map").unwrap_or(name);
    let Some((stem, _extension)) = name.rsplit_once('.') else { return false };
    let is_output =
        directory.split('/').any(|part| matches!(part, "assets" | "immutable" | "_astro"));
    let is_hash_after_hyphen = |part: &str| {
        after_hyphen(part, is_hex_hash)
            || after_hyphen(part, is_base_32_hash)
            || (is_output && ends_in_base_64(part))
    };
    let last = stem.rsplit_once('.').map(|(_, last)| last);
    stem.split('.').any(|part| is_hex_hash(part) || is_hash_after_hyphen(part))
        || (is_output && last.is_some_and(is_base_64_hash))
}

fn after_hyphen(stem: &str, is_hash: fn(&str) -> bool) -> bool {
    stem.rsplit_once('-').is_some_and(|(before, hash)| !before.is_empty() && is_hash(hash))
}

/// Vite: 8 characters after a hyphen, and a hyphen may be one of them.
fn ends_in_base_64(stem: &str) -> bool {
    const LENGTH: usize = 8;
    let Some(border) = stem.len().checked_sub(LENGTH + 1) else { return false };
    let has_hyphen = border > 0 && stem.as_bytes()[border] == b'-';
    has_hyphen && stem.get(border + 1..).is_some_and(is_base_64_hash)
}

/// webpack and others: 8 to 32 digits, of which some are letters and some are not.
fn is_hex_hash(text: &str) -> bool {
    let is_hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    (8..=32).contains(&text.len())
        && text.bytes().all(is_hex)
        && text.bytes().any(|byte| byte.is_ascii_digit())
        && text.bytes().any(|byte| byte.is_ascii_alphabetic())
}

/// esbuild: 8 characters of base 32, of which some are letters and some are not.
fn is_base_32_hash(text: &str) -> bool {
    text.len() == 8
        && text.bytes().all(|byte| byte.is_ascii_uppercase() || (b'2'..=b'7').contains(&byte))
        && text.bytes().any(|byte| byte.is_ascii_digit())
        && text.bytes().any(|byte| byte.is_ascii_uppercase())
        && !is_word_with_number(text)
}

/// Vite, SvelteKit and Astro: 8 characters of base 64. Without upper case, they may be a size such
/// as `1280x720` or `800x600w`.
fn is_base_64_hash(text: &str) -> bool {
    text.len() == 8
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
        && text.bytes().any(|byte| byte.is_ascii_uppercase())
        && text.bytes().any(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
        && !is_word_with_number(text)
        && !text.split('X').all(|part| part.bytes().all(|byte| byte.is_ascii_digit()))
}

/// Returns whether a text is like `section1`, `iPhone15`, `FooterBg`, `my-Photo` or `DSC01234`.
fn is_word_with_number(text: &str) -> bool {
    let word = text.trim_end_matches(|character: char| character.is_ascii_digit());
    let mut parts = word.split(['-', '_']).filter(|part| !part.is_empty());
    let is_letters = parts.all(|part| part.bytes().all(|byte| byte.is_ascii_alphabetic()));
    let pairs = word.as_bytes().windows(2);
    let turns = pairs.filter(|pair| pair[0].is_ascii_lowercase() && pair[1].is_ascii_uppercase());
    is_letters && turns.count() <= 1 && (is_upper_case(word) || can_be_spoken(word))
}

fn is_upper_case(word: &str) -> bool {
    !word.bytes().any(|byte| byte.is_ascii_lowercase())
}

/// Returns whether the words that capital letters begin have a vowel, unless they are short.
fn can_be_spoken(text: &str) -> bool {
    let mut words: Vec<String> = vec![String::new()];
    let mut before = b'A';
    for byte in text.bytes() {
        let begins_word = before.is_ascii_lowercase() && byte.is_ascii_uppercase();
        if begins_word || matches!(byte, b'-' | b'_') {
            words.push(String::new());
        }
        if let Some(word) = words.last_mut() {
            word.push(char::from(byte.to_ascii_lowercase()));
        }
        before = byte;
    }
    words.iter().all(|word| word.len() < 3 || word.contains(['a', 'e', 'i', 'o', 'u', 'y']))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_bundlers_are_recognised() {
        for path in [
            "assets/index-BPx7kQ9z.js",
            "assets/index-D_4x-9Ab.css",
            "assets/index-BPx7kQ9z.js.map",
            "assets/index--EKL6IAM.js",
            "assets/Lazy-CxbZMP15.js",
            "app/assets/vendor.chunk-Ck2P9x_q.js",
            "main.8e0d62a1.js",
            "static/js/main.8e0d62a1.chunk.js",
            "static/media/logo.6ce24c58023cc2f8fd88fe9d219db6c6.svg",
            "_next/static/chunks/main-0a1b2c3d4e5f6071.js",
            "chunk-5KX2ABQ7.js",
            "_app/immutable/entry/start.DKq1aXzF.js",
            "_astro/index.CVz0DWJq.css",
            "css/app.3f9a2c0d51b7e844.css",
        ] {
            assert!(is_bundled(path), "{path}");
        }
    }

    #[test]
    fn words_numbers_and_dates_are_no_hashes() {
        for path in [
            "assets/jquery-ui-timepicker.js",
            "assets/my-calendar.js",
            "assets/photo-20240101.jpg",
            "assets/intro-section1.png",
            "assets/product-iPhone15.png",
            "assets/icon-FooterBg.png",
            "assets/a-My-Photo.png",
            "assets/photo-1280x720.jpg",
            "assets/photo-1280X720.jpg",
            "assets/photo-DSC01234.jpg",
            "assets/photo-README-2.jpg",
            "img/photo.20240101.jpg",
            "js/bootstrap.bundle.min.js",
            "js/index-BPx7kQ9z.js",
            "deadbeef/app.js",
            "text-defaced.js",
            "IMG-CALENDAR.png",
            "IMG-PICTUR22.png",
            "assets/-BPx7kQ9z",
            "assets/BPx7kQ9z.js",
            "assets/ä-é.js",
            "assets",
        ] {
            assert!(!is_bundled(path), "{path}");
        }
    }
}
