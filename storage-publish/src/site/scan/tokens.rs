//! What the tokenizers of style sheets and of JavaScript share.

use super::decoded::Decoded;

/// Returns the URL of a comment that names a source map: `# sourceMappingURL=app.css.map`. The
/// comment's text begins at `start` of the file.
pub(crate) fn source_map_url(comment: &[u8], start: usize) -> Option<Decoded> {
    let text = comment.strip_prefix(b"#").or_else(|| comment.strip_prefix(b"@"))?;
    let text = text.trim_ascii_start();
    let url = text.strip_prefix(b"sourceMappingURL=")?;
    let from = start + (comment.len() - url.len());
    let url = url.trim_ascii_end();
    if url.is_empty() || url.iter().any(u8::is_ascii_whitespace) {
        return None;
    }
    Some(Decoded::plain(url, from))
}

/// Returns the number of bytes of white space of JavaScript at the beginning that are not ASCII.
pub(crate) fn unicode_space(text: &[u8]) -> Option<usize> {
    let length = match text {
        [0xc2, 0xa0, ..] => 2,
        // The byte order mark, and the separators of lines and paragraphs.
        [0xef, 0xbb, 0xbf, ..] | [0xe2, 0x80, 0xa8 | 0xa9, ..] => 3,
        _ => return None,
    };
    Some(length)
}
