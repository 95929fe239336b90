//! Formats text from clients and configurations as HTML.

pub(super) use storage_core::internal::escape_html as escaped;
use storage_core::internal::escape_invisible;

/// The maximum length of a text that is shown without a click, in characters.
const MAX_SHOWN: usize = 120;

/// Returns a key or a location. Invisible characters, and those that change the direction of text,
/// are escaped as in Rust. `<bdi>` keeps text from right to left apart from what is around it. A
/// long text is shortened, and is shown in full on a click.
pub(super) fn shown(text: &str) -> String {
    let visible = escape_invisible(text);
    let full = escaped(&visible);
    match visible.char_indices().nth(MAX_SHOWN) {
        None => format!("<bdi>{full}</bdi>"),
        Some((end, _)) => {
            let start = escaped(&visible[..end]);
            format!(
                "<details class=long><summary><bdi>{start}…</bdi></summary><bdi>{full}</bdi>\
                 </details>"
            )
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn html_characters_in_text_from_clients_are_escaped() {
        assert_eq!(escaped("<a href='x'>&\""), "&lt;a href=&#39;x&#39;&gt;&amp;&quot;");
    }

    #[test]
    fn characters_that_change_the_direction_of_text_are_visible() {
        assert_eq!(shown("\u{202e}gpj.<b>"), "<bdi>\\u{202e}gpj.&lt;b&gt;</bdi>");
    }

    #[test]
    fn a_long_key_is_shortened_and_is_complete_on_a_click() {
        let key = "<ü>".repeat(200);
        let html = shown(&key);
        let full = escaped(&key);
        assert!(html.contains(&format!("<bdi>{full}</bdi>")), "{html}");
        assert!(html.contains(&format!("<bdi>{}…</bdi>", "&lt;ü&gt;".repeat(40))), "{html}");
        assert!(!shown(&"x".repeat(120)).contains("details"));
    }
}
