//! The page of a directory.

use std::fmt::Write;

use anystorage::internal::{escape_html, escape_invisible, floor_to_second};
use anystorage::serve::ResponseBody;
use anystorage::serve::internal::is_upload_state;
use anystorage::{Entries, Entry, Error, Key, LinkBase, Result, Storage, format_time};
use http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderValue, X_CONTENT_TYPE_OPTIONS,
};
use http::{Response, StatusCode};

use crate::sizes;

/// The maximum number of entries on a page. A link leads to the next page.
const MAX_ENTRIES: usize = 1000;

/// Allows the page its own styles and nothing else.
const POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; \
     frame-ancestors 'none'",
);

const STYLE: &str = "body{font:15px/1.6 system-ui,sans-serif;margin:2em auto;max-width:60em;\
    padding:0 1em;color:#222;background:#fff}h1{font-size:1.3em;overflow-wrap:anywhere}\
    table{border-collapse:collapse;width:100%}td{padding:.15em 1em .15em 0;\
    border-bottom:1px solid #ddd;overflow-wrap:anywhere}td.n{text-align:right;white-space:nowrap;\
    color:#666;font-variant-numeric:tabular-nums}a{color:#05c;text-decoration:none}\
    a:hover{text-decoration:underline}@media(prefers-color-scheme:dark){body{color:#ddd;\
    background:#181818}td{border-color:#444}td.n{color:#999}a{color:#7bf}}";

/// Returns the path of an object on this server, percent-encoded.
pub(super) fn path_of(key: &Key) -> Result<String> {
    Ok("/".parse::<LinkBase>()?.link(key).as_str().to_owned())
}

/// Returns the path of a directory, given by its prefix.
fn path_of_directory(prefix: &str) -> Result<String> {
    match prefix.strip_suffix('/') {
        None => Ok("/".to_owned()),
        Some(name) => Ok(path_of(&Key::new(name)?)? + "/"),
    }
}

/// Returns the page of a directory, or `None` if nothing is below it. The root always has a page.
///
/// # Errors
/// Any error that ends the listing. Invalid names are counted on the page.
pub(super) async fn directory_page(
    storage: &Storage,
    title: &str,
    prefix: &str,
    after: Option<&str>,
) -> Result<Option<Response<ResponseBody>>> {
    let mut list = storage.list(prefix).delimiter("/");
    if let Some(after) = after {
        list = list.start_after(after);
    }
    let rows = Rows::read(list.entries(), prefix).await?;
    if rows.is_empty && after.is_none() && !prefix.is_empty() {
        return Ok(None);
    }
    let mut page = format!(
        "<!doctype html><html lang=en><meta charset=utf-8><title>{title}</title>\
         <meta name=viewport content=\"width=device-width\"><style>{STYLE}</style><h1>{title}</h1>\
         <table>",
        title = escaped(&format!("{title}{prefix}")),
    );
    if let Some(parent) = prefix.strip_suffix('/') {
        let parent = parent.rfind('/').map_or("", |slash| &parent[..=slash]);
        let path = path_of_directory(parent)?;
        let _ =
            write!(page, "<tr><td><a href=\"{}\">../</a><td class=n><td class=n>", escaped(&path));
    }
    page.push_str(&rows.html);
    page.push_str("</table>");
    if rows.is_empty {
        page.push_str("<p>There are no objects.");
    }
    if rows.unreadable > 0 {
        let _ = write!(
            page,
            "<p>{} names are not shown, because they are not valid keys or cannot be read.",
            rows.unreadable
        );
    }
    if let Some(last) = rows.next {
        let query = url::form_urlencoded::Serializer::new(String::new())
            .append_pair("after", &last)
            .finish();
        let path = format!("{}?{query}", path_of_directory(prefix)?);
        let _ = write!(page, "<p><a href=\"{}\">Next page</a>", escaped(&path));
    }
    Ok(Some(html(page)))
}

/// The rows of a page.
#[derive(Default)]
struct Rows {
    html: String,
    /// How many names are not shown.
    unreadable: u64,
    /// The last name of this page, if another page follows.
    next: Option<String>,
    is_empty: bool,
}

impl Rows {
    async fn read(mut entries: Entries, prefix: &str) -> Result<Self> {
        let (mut rows, mut shown, mut last) = (Self::default(), 0, None);
        while let Some(entry) = entries.next().await {
            match entry {
                Ok(entry) if is_upload_state(entry.name()) => {}
                // This entry is the first of the next page.
                Ok(_) if shown == MAX_ENTRIES => {
                    rows.next = last;
                    break;
                }
                Ok(entry) => {
                    write_row(&mut rows.html, prefix, &entry)?;
                    last = Some(entry.name().to_owned());
                    shown += 1;
                }
                Err(error) if error.listing_continues() => rows.unreadable += 1,
                Err(error) => return Err(error),
            }
        }
        rows.is_empty = shown == 0 && rows.unreadable == 0 && entries.folder_markers() == 0;
        Ok(rows)
    }
}

/// Writes the row of an entry. Writing to a string does not fail.
fn write_row(rows: &mut String, prefix: &str, entry: &Entry) -> Result<()> {
    let (path, size, time) = match entry {
        Entry::Object(object) => {
            let time = object.last_modified.map(|time| format_time(floor_to_second(time)));
            (path_of(&object.key)?, sizes::human(object.size), time.unwrap_or_default())
        }
        Entry::Prefix(directory) => {
            (path_of_directory(directory.as_str())?, String::new(), String::new())
        }
        _ => return Err(Error::unsupported("this entry cannot be shown")),
    };
    let name = entry.name().strip_prefix(prefix).unwrap_or(entry.name());
    let (path, name) = (escaped(&path), escaped(name));
    let _ = write!(
        rows,
        "<tr><td><a href=\"{path}\">{name}</a><td class=n>{size}<td class=n>{}",
        escaped(&time)
    );
    Ok(())
}

fn html(page: String) -> Response<ResponseBody> {
    let mut response = Response::new(ResponseBody::bytes(page.into()));
    *response.status_mut() = StatusCode::OK;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    headers.insert(CONTENT_SECURITY_POLICY, POLICY);
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// Escapes text for HTML, and invisible characters, which could reverse or hide a name.
fn escaped(text: &str) -> String {
    escape_html(&escape_invisible(text))
}
