//! Names that Windows cannot store, according to Microsoft's page "Naming Files, Paths, and
//! Namespaces". The check uses no system call, so that it can be tested on all systems.

/// The length of the longest name, in UTF-16 code units.
const MAX_UNITS: usize = 255;

/// Characters that Windows does not allow in names, or that have a meaning in paths.
const FORBIDDEN: [char; 9] = ['<', '>', ':', '"', '/', '\\', '|', '?', '*'];

/// Returns why Windows cannot store a name, or `None` if it can.
pub(crate) fn problem(name: &str) -> Option<&'static str> {
    if name.chars().any(|c| c < ' ' || FORBIDDEN.contains(&c)) {
        return Some(
            "names on Windows cannot contain control characters or any of < > : \" \\ | ? *",
        );
    }
    if name.ends_with(['.', ' ']) {
        return Some("names on Windows cannot end in a dot or a space, because Windows removes it");
    }
    if is_device(name) {
        return Some("Windows reserves this name for a device, with any extension");
    }
    if name.encode_utf16().count() > MAX_UNITS {
        return Some("names on Windows have at most 255 UTF-16 code units");
    }
    None
}

/// Returns whether Windows opens a device by this name. An extension, and spaces before it, make no
/// difference.
fn is_device(name: &str) -> bool {
    let stem = name.split('.').next().unwrap_or_default().trim_end_matches(' ');
    let stem = stem.to_ascii_uppercase();
    if matches!(&*stem, "CON" | "PRN" | "AUX" | "NUL" | "CONIN$" | "CONOUT$") {
        return true;
    }
    let number = stem.strip_prefix("COM").or_else(|| stem.strip_prefix("LPT"));
    let mut number = number.unwrap_or_default().chars();
    matches!((number.next(), number.next()), (Some('0'..='9' | '¹' | '²' | '³'), None))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_that_windows_cannot_store_are_refused() {
        for name in [
            "CON",
            "con",
            "Con.txt",
            "nul.tar.gz",
            "AUX",
            "prn.",
            "COM1",
            "com9.log",
            "COM¹",
            "lpt0",
            "LPT³.x",
            "CON .txt",
            "CONIN$",
            "conout$.txt",
            "a.",
            "a..",
            "a ",
            " ",
            "...",
            "a:b",
            "a<b",
            "a>b",
            "a\"b",
            "a|b",
            "a?",
            "*",
            "a\\b",
            "C:",
            "a:stream",
            "a\u{1}",
        ] {
            assert!(problem(name).is_some(), "{name:?}");
        }
    }

    #[test]
    fn names_that_windows_stores_are_allowed() {
        for name in [
            "a", ".a", "..a", "a.b", " a", "console", "CONF", "COM", "COM10", "COMx", "com",
            "nulls", "a.con", "aux-1", "é", "日本", "a b", "a'b", "{a}", "[a]", "%", "a;b", "~1",
            "LPT", "COM⁴",
        ] {
            assert_eq!(problem(name), None, "{name:?}");
        }
    }

    #[test]
    fn the_length_counts_utf_16_code_units() {
        assert_eq!(problem(&"a".repeat(255)), None);
        assert!(problem(&"a".repeat(256)).is_some());
        // Two bytes of UTF-8 and one unit; four bytes and two units.
        assert_eq!(problem(&"é".repeat(255)), None);
        assert_eq!(problem(&"😀".repeat(127)), None);
        assert!(problem(&"😀".repeat(128)).is_some());
    }

    proptest! {
        #[test]
        fn a_name_with_a_forbidden_character_is_refused_wherever_it_is(
            before in "[a-z]{0,8}", character in prop::sample::select(&FORBIDDEN[..]),
            after in "[a-z]{0,8}",
        ) {
            let name = format!("{before}{character}{after}");
            prop_assert!(problem(&name).is_some());
        }

        #[test]
        fn a_device_is_refused_in_any_case_and_with_any_extension(
            device in prop::sample::select(&["con", "NUL", "Aux", "com1", "Lpt9"][..]),
            flip in any::<u8>(), extension in "(\\.[a-z]{1,4}){0,2}",
        ) {
            let flipped: String = device.chars().enumerate().map(|(n, c)| {
                if flip >> n & 1 == 1 { c.to_ascii_uppercase() } else { c.to_ascii_lowercase() }
            }).collect();
            let name = format!("{flipped}{extension}");
            prop_assert!(problem(&name).is_some());
        }

        #[test]
        fn a_name_of_letters_longer_than_any_device_is_allowed(name in "[a-zA-Z]{8,255}") {
            prop_assert_eq!(problem(&name), None);
        }
    }
}
