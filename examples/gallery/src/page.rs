//! The page. All text from users is escaped. In addition, a policy forbids scripts and styles from
//! elsewhere.

use std::fmt::Write;

use anystorage::ObjectEntry;
use axum::http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY};
use axum::response::{Html, IntoResponse};

use crate::uploads::TYPES;

/// The widget shows previews from `blob:` and icons from `data:` URLs.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; \
    img-src 'self' blob: data:; form-action 'self'; frame-ancestors 'none'; base-uri 'none'; \
    connect-src 'self'";

const SIGN_IN: &str = r#"<form class="sign-in" method="post" action="/sign-in">
<label>Name <input name="user" autocomplete="username" pattern="[a-z0-9]{1,32}" required
title="1 to 32 letters and digits"></label>
<label>Password <input name="password" type="password" autocomplete="current-password" required>
</label>
<button>Sign in</button>
</form>
"#;

/// The script shows the choice.
const PROTOCOLS: &str = r#"<fieldset id="protocols" hidden><legend>Protocol</legend>
<label><input type="radio" name="protocol" value="tus" checked> tus, through this server</label>
<label><input type="radio" name="protocol" value="s3"> S3 multipart, straight to a bucket</label>
</fieldset>
"#;

/// What the page shows.
pub(crate) struct Page {
    pub(crate) user: Option<String>,
    pub(crate) pictures: Vec<Picture>,
    pub(crate) max_size: u64,
    pub(crate) has_widget: bool,
    /// Where the widget may send parts of files, beside this application.
    pub(crate) parts_origin: Option<String>,
}

pub(crate) struct Picture {
    pub(crate) meta: ObjectEntry,
    /// The link to the original, for users who are signed in.
    pub(crate) link: Option<String>,
}

pub(crate) fn gallery(page: &Page) -> impl IntoResponse + use<> {
    let (head, section) = match &page.user {
        Some(user) => (account(user), uploader(page)),
        None => (SIGN_IN.to_owned(), String::new()),
    };
    let pictures: String =
        page.pictures.iter().map(|it| figure(it, page.user.as_deref())).collect();
    let hint =
        if page.pictures.is_empty() { "<p class=\"empty\">No pictures yet.</p>\n" } else { "" };
    let body = format!(
        "<header><h1>Gallery</h1>\n{head}</header>\n<main>\n{section}\
         <section aria-labelledby=\"shown\"><h2 id=\"shown\">Pictures</h2>\n\
         <p id=\"status\" role=\"status\"></p>\n\
         <div id=\"pictures\">{hint}<ul>\n{pictures}</ul></div></section>\n</main>\n"
    );
    html(&body, page.parts_origin.as_deref())
}

pub(crate) fn refused() -> impl IntoResponse + use<> {
    html(
        "<main><p role=\"alert\">Wrong name or password, or not your picture. <a href=\"/\">Back</a></p></main>\n",
        None,
    )
}

fn account(user: &str) -> String {
    format!(
        "<form method=\"post\" action=\"/sign-out\"><span>Signed in as <b>{}</b></span> \
         <button>Sign out</button></form>\n",
        escape(user)
    )
}

/// Returns the form for uploads, which the script replaces by the widget.
fn uploader(page: &Page) -> String {
    let (types, max_size) = (TYPES.join(","), page.max_size);
    let mib = max_size >> 20;
    let script = match page.has_widget {
        true => {
            "<link rel=\"stylesheet\" href=\"/uppy/uppy.min.css\">\n\
             <script type=\"module\" src=\"/gallery.js\"></script>\n"
        }
        false => "",
    };
    format!(
        "<section aria-labelledby=\"add\"><h2 id=\"add\">Add pictures</h2>\n\
         <div id=\"widget\" data-types=\"{types}\" data-max-size=\"{max_size}\">\n\
         <form class=\"plain\" method=\"post\" action=\"/uploads\" enctype=\"multipart/form-data\">\n\
         <label>JPEG, PNG or WebP, up to {mib} MiB each\n\
         <input type=\"file\" name=\"files\" accept=\"{types}\" multiple required></label>\n\
         <button>Upload</button></form></div>\n{PROTOCOLS}{script}</section>\n"
    )
}

fn figure(Picture { meta, link }: &Picture, user: Option<&str>) -> String {
    let key = escape(meta.key.as_str());
    let owner = meta.key.as_str().split('/').next().unwrap_or_default();
    // `keys::unique` adds 16 characters to the name: `Sunset-x7k2m9q4w0d3s8fh.jpg`.
    let name = meta.key.name().rsplit_once('-').map_or(meta.key.name(), |(name, _)| name);
    let name = escape(&name.replace('-', " "));
    let picture = format!(
        "<img src=\"/thumbnails/{key}\" alt=\"{name}\" loading=\"lazy\" decoding=\"async\">"
    );
    let picture = match link {
        Some(link) => format!("<a href=\"{}\">{picture}</a>", escape(link)),
        None => picture,
    };
    let delete = match user == Some(owner) {
        true => format!(
            "<form method=\"post\" action=\"/delete/{key}\">\
             <button aria-label=\"Delete {name}\">Delete</button></form>"
        ),
        false => String::new(),
    };
    let mut figure = String::new();
    // Writing to a string does not fail.
    let _ = writeln!(
        figure,
        "<li><figure>{picture}<figcaption><b>{name}</b> <span>{}, by {}</span>{delete}\
         </figcaption></figure></li>",
        size(meta.size),
        escape(owner)
    );
    figure
}

fn size(bytes: u64) -> String {
    match bytes {
        0..1_000_000 => format!("{} kB", bytes.div_ceil(1000)),
        _ => format!("{}.{} MB", bytes / 1_000_000, bytes / 100_000 % 10),
    }
}

fn html(body: &str, parts_origin: Option<&str>) -> impl IntoResponse + use<> {
    let policy = format!("{POLICY} {}", parts_origin.unwrap_or_default());
    // Signed links in a cached page could have expired.
    let headers = [(CONTENT_SECURITY_POLICY, policy), (CACHE_CONTROL, "no-store".to_owned())];
    let html = format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n<title>Gallery</title>\n\
         <link rel=\"stylesheet\" href=\"/gallery.css\">\n{body}</html>\n"
    );
    (headers, Html(html))
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
        .replace('\'', "&#39;")
}
