//! Content that browsers execute: documents with scripts, and scripts.

/// How [`Serve`](crate::Serve) sends active content: documents with scripts, and scripts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum ActiveContent {
    /// Sends it as a download (`Content-Disposition: attachment`) that browsers display only in a
    /// sandbox without scripts (`Content-Security-Policy: sandbox`). Use it for files that users
    /// upload. This is the default.
    #[default]
    Attachment,
    /// Sends it like any other content. Use it only for files that are as trusted as the
    /// application itself, because a script in them runs with the rights of every user who opens
    /// it.
    Inline,
}

/// Returns whether browsers may execute scripts in content of a type.
///
/// An invalid type (RFC 9110 section 8.3.1) and an unspecific one (`*/*`, `unknown/unknown`) are
/// active too, because browsers then guess the type. A list of types is active if one of them is,
/// because browsers differ in which one they use.
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
    // An allowlist is never complete, so match the types that browsers execute.
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

/// Returns whether a text is a token (RFC 9110 section 5.6.2).
fn is_token(text: &str) -> bool {
    let is_token_byte =
        |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    !text.is_empty() && text.bytes().all(is_token_byte)
}
