//! Content that browsers execute: documents with scripts, and scripts.

/// What a browser is told of content that can act: documents with scripts, and scripts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum ActiveContent {
    /// HTML, SVG, XML and scripts are downloaded, not shown (`Content-Disposition: attachment`),
    /// and have no rights should a browser show them all the same (`Content-Security-HeaderPolicy:
    /// sandbox`). For files that users upload.
    #[default]
    Attachment,
    /// They are shown as what they are. Only for files that are as trusted as the application
    /// itself: a script among them acts with the rights of every user who opens it.
    Inline,
}

/// Content has a type that can act if it is a document with scripts, or a script.
///
/// A text that is no valid type (RFC 9110, section 8.3.1) and a type that names none (`*/*`,
/// `unknown/unknown`) are active as well, because browsers guess then. Of several types, which of
/// them counts depends on the browser, so one is enough.
///
/// ```
/// use storage_serve::is_active_content;
///
/// assert!(is_active_content("image/svg+xml"));
/// assert!(is_active_content("image/png, text/html"));
/// assert!(is_active_content("image/*"));
/// assert!(!is_active_content("text/plain; charset=utf-8"));
/// ```
#[must_use]
pub fn is_active_content(content_type: &str) -> bool {
    content_type.split(',').any(is_active_type)
}

fn is_active_type(content_type: &str) -> bool {
    let kind = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let Some((kind, subtype)) = kind.split_once('/') else { return true };
    if !is_token(kind)
        || !is_token(subtype)
        || [kind, subtype].iter().any(|name| *name == "*" || *name == "unknown")
    {
        return true;
    }
    // Every list of types to show would lack one; so, by what browsers are known to run.
    let scripts = ["javascript", "ecmascript", "jscript", "livescript"];
    subtype.contains("html")
        || subtype == "xml"
        || subtype == "x-xml"
        || subtype.starts_with("svg")
        || subtype.ends_with("+xml")
        || subtype.starts_with("xml-")
        || subtype == "x-shockwave-flash"
        || subtype == "x-mspublisher"
        || scripts.iter().any(|script| subtype.contains(script))
        || (kind == "text"
            && (subtype == "xsl" || subtype == "vbscript" || subtype == "x-component"))
        || subtype == "hta"
        || kind == "multipart"
        || kind == "message"
        || subtype == "x-mixed-replace"
}

/// RFC 9110, section 5.6.2.
fn is_token(text: &str) -> bool {
    let is_token_byte =
        |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    !text.is_empty() && text.bytes().all(is_token_byte)
}
