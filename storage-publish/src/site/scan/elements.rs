//! Which attributes of which elements are references, in HTML and in SVG.

use super::decoded::Decoded;
use super::found::{Role, Scan};
use super::{css, srcset};

/// What the value of an attribute is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Value {
    Url(Role),
    /// The URLs of a `srcset`.
    SourceSet,
    Css,
    /// A text that may be a name of a file.
    Text,
}

/// The names of an element and of an attribute in lower case, and what else decides.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place<'a> {
    pub(crate) element: &'a str,
    pub(crate) attribute: &'a str,
    /// The attribute `rel` of a `<link>`.
    pub(crate) rel: &'a str,
    /// The name or the property of a `<meta>`.
    pub(crate) meta: &'a str,
    pub(crate) is_svg: bool,
}

impl Place<'_> {
    fn value(self, text: &str) -> Value {
        let is_css = self.attribute == "style" || (self.is_svg && text.contains("url("));
        if is_css {
            return Value::Css;
        }
        match self.attribute {
            "src" => match self.element {
                "iframe" | "frame" => Value::Url(Role::Link),
                "img" | "source" | "video" | "audio" | "track" | "script" | "input" | "embed" => {
                    Value::Url(Role::Asset)
                }
                _ => Value::Text,
            },
            "href" | "xlink:href" => self.href(),
            "srcset" if matches!(self.element, "img" | "source") => Value::SourceSet,
            "imagesrcset" if self.element == "link" => Value::SourceSet,
            "poster" if self.element == "video" => Value::Url(Role::Asset),
            "data" if self.element == "object" => Value::Url(Role::Asset),
            "background" if self.is_old_layout() => Value::Url(Role::Asset),
            "content" if self.element == "meta" && is_image(self.meta) => Value::Url(Role::Link),
            _ => Value::Text,
        }
    }

    /// Returns whether the element is one whose background was an attribute before style sheets.
    fn is_old_layout(self) -> bool {
        const OLD: [&str; 8] = ["body", "table", "tbody", "td", "tfoot", "th", "thead", "tr"];
        OLD.contains(&self.element)
    }

    fn href(self) -> Value {
        match self.element {
            "link" if self.rel.split_ascii_whitespace().any(is_asset) => Value::Url(Role::Asset),
            "a" | "area" | "link" => Value::Url(Role::Link),
            // `<base>` is no reference, and other elements have none outside of SVG.
            _ if self.is_svg => Value::Url(Role::Asset),
            _ => Value::Text,
        }
    }
}

/// Returns whether a `<link>` of this relation loads a file. Others lead to pages.
fn is_asset(relation: &str) -> bool {
    const ASSETS: [&str; 11] = [
        "stylesheet",
        "icon",
        "apple-touch-icon",
        "apple-touch-icon-precomposed",
        "apple-touch-startup-image",
        "mask-icon",
        "fluid-icon",
        "manifest",
        "preload",
        "modulepreload",
        "image_src",
    ];
    ASSETS.iter().any(|asset| asset.eq_ignore_ascii_case(relation))
}

/// Returns whether a `<meta>` of this name has the URL of an image or another file.
fn is_image(name: &str) -> bool {
    const BEGINNINGS: [&str; 5] =
        ["og:image", "og:video", "og:audio", "twitter:image", "msapplication-"];
    let name = name.to_ascii_lowercase();
    BEGINNINGS.iter().any(|beginning| name.starts_with(beginning))
        || matches!(name.as_str(), "image" | "thumbnailurl")
}

/// Adds the references of an attribute.
pub(crate) fn read_attribute(place: Place<'_>, value: Decoded, scan: &mut Scan<'_>) {
    match place.value(&value.text) {
        Value::Url(role) => scan.add(Some(value), role),
        Value::SourceSet => {
            for range in srcset::urls(&value.text) {
                scan.add(value.slice(range), Role::Asset);
            }
        }
        Value::Css => scan.read_within(&value, css::scan),
        Value::Text => scan.mention_words(&value),
    }
}
