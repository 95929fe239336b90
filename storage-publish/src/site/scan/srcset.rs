//! The URLs of `srcset` and `imagesrcset`.

use std::ops::Range;

/// Returns where the URLs of a `srcset` are: HTML, section 4.8.4.3.12. Commas within a URL belong
/// to it, and commas within parentheses of a descriptor separate nothing.
pub(crate) fn urls(text: &str) -> Vec<Range<usize>> {
    let bytes = text.as_bytes();
    let mut urls = Vec::new();
    let mut at = 0;
    loop {
        at += count(&bytes[at..], |byte| byte.is_ascii_whitespace() || byte == b',');
        if at == bytes.len() {
            return urls;
        }
        let length = count(&bytes[at..], |byte| !byte.is_ascii_whitespace());
        let word = &bytes[at..at + length];
        let commas = word.iter().rev().take_while(|byte| **byte == b',').count();
        urls.push(at..at + length - commas);
        at += length;
        if commas == 0 {
            at += descriptors(&bytes[at..]);
        }
    }
}

/// Returns the length of the descriptors after a URL, up to the comma that ends them.
fn descriptors(bytes: &[u8]) -> usize {
    let mut in_parentheses = false;
    count(bytes, |byte| {
        match byte {
            b'(' => in_parentheses = true,
            b')' => in_parentheses = false,
            _ => {}
        }
        in_parentheses || byte != b','
    })
}

fn count(bytes: &[u8], mut matches: impl FnMut(u8) -> bool) -> usize {
    bytes.iter().take_while(|byte| matches(**byte)).count()
}

#[cfg(test)]
mod tests {
    fn urls(text: &str) -> Vec<&str> {
        super::urls(text).into_iter().map(|range| &text[range]).collect()
    }

    #[test]
    fn urls_with_and_without_descriptors_are_found() {
        assert_eq!(urls("a.png"), ["a.png"]);
        assert_eq!(urls(" a.png 1x,b.png 2x ,\n c.png 100w 50h"), ["a.png", "b.png", "c.png"]);
        assert_eq!(urls("a.png, b.png"), ["a.png", "b.png"]);
        assert!(urls(" , ").is_empty());
    }

    #[test]
    fn a_comma_in_a_url_or_in_parentheses_separates_nothing() {
        assert_eq!(
            urls("a,b.png 1x, data:image/png;base64,AA== 2x"),
            ["a,b.png", "data:image/png;base64,AA=="]
        );
        assert_eq!(urls("a.png f(1, 2) 1x, b.png"), ["a.png", "b.png"]);
    }
}
