//! The pages. All text from users is escaped. In addition, a policy forbids scripts.

use std::fmt::Write;

use anystorage::format_time;
use axum::http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY};
use axum::response::{Html, IntoResponse};

use crate::files::File;

const POLICY: &str =
    "default-src 'none'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'";

const FORM: &str = r#"<form method="post" action="/" enctype="multipart/form-data">
<input type="file" name="files" multiple required> <button>Upload</button>
</form>
"#;

pub(crate) fn overview(files: &[File]) -> impl IntoResponse {
    let mut rows = String::new();
    for File { meta, link } in files {
        let time = meta.last_modified.map(format_time).unwrap_or_default();
        let (link, key, name) = (escape(link), escape(meta.key.as_str()), escape(meta.key.name()));
        let (size, kind) = (meta.size, escape(meta.content_type().unwrap_or_default()));
        // `2026-12-01T08:30:00Z` becomes `2026-12-01 08:30`.
        let time = time.get(..16).unwrap_or_default().replace('T', " ");
        // Writing to a string does not fail.
        let _ = writeln!(
            rows,
            "<tr><td><a href=\"{link}\">{name}</a><td>{size} bytes<td>{kind}<td>{time}\
             <td><form method=\"post\" action=\"/delete/{key}\"><button>Delete</button></form>"
        );
    }
    page(&format!(
        "{FORM}<table>\n<tr><th>Name<th>Size<th>Type<th>Time (UTC)<th>\n{rows}</table>\n"
    ))
}

pub(crate) fn too_large(names: &[String], max: u64) -> impl IntoResponse + use<> {
    let names = escape(&names.join(", "));
    page(&format!(
        "<p>Too large: {names}. A file may have {} MiB. <a href=\"/\">Back</a></p>\n",
        max >> 20
    ))
}

fn page(body: &str) -> impl IntoResponse + use<> {
    // Signed links in a cached page could have expired.
    let headers = [(CONTENT_SECURITY_POLICY, POLICY), (CACHE_CONTROL, "no-store")];
    let html = format!(
        "<!DOCTYPE html>\n<html lang=\"en\"><meta charset=\"utf-8\"><title>Uploads</title>\n{body}</html>\n"
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
