//! Tests of the application over HTTP.
#![allow(clippy::unwrap_used, reason = "a test fails on an unexpected error")]

mod app;

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::app::{App, form};

const MIB: usize = 1 << 20;

/// Returns pseudo-random bytes.
fn bytes(len: usize) -> Vec<u8> {
    (0..len).map(|at| (at.wrapping_mul(2_654_435_761) >> 13) as u8).collect()
}

async fn assert_upload_and_download(app: &App) {
    let photo = bytes(3 * MIB + 17);
    let response = app.upload(&[("My Photo.PNG", &photo), ("notes", b"hello\n")]).await;
    assert_eq!(
        (response.status().as_u16(), response.headers()["location"].to_str().unwrap()),
        (303, "/")
    );

    let listed = app.listed().await;
    let details: Vec<_> = listed.iter().map(|file| (&*file.size, &*file.kind)).collect();
    assert_eq!(details, [("3145745 bytes", "image/png"), ("6 bytes", "text/plain; charset=utf-8")]);
    assert!(
        listed[0].name.starts_with("My-Photo-") && listed[0].name.ends_with(".png"),
        "{listed:?}"
    );
    let response = app.get(&listed[0].link).await;
    assert_eq!(
        (response.status().as_u16(), &response.headers()["content-type"].to_str().unwrap()),
        (200, &"image/png")
    );
    assert!(response.bytes().await.unwrap() == photo);
    assert_eq!(app.get(&listed[1].link).await.text().await.unwrap(), "hello\n");
}

#[tokio::test]
async fn uploaded_files_are_downloaded_unchanged_from_a_disk() {
    let app = App::on_disk();
    assert_upload_and_download(&app).await;
    assert!(app.files_on_disk().len() >= 2);
}

#[tokio::test]
async fn uploaded_files_are_downloaded_unchanged_from_memory() {
    assert_upload_and_download(&App::in_memory()).await;
}

#[tokio::test]
async fn uploaded_files_are_downloaded_unchanged_if_the_mirror_is_down() {
    assert_upload_and_download(&App::behind_a_dead_mirror()).await;
}

#[tokio::test]
async fn a_hostile_name_is_harmless() {
    let app = App::on_disk();
    let names = [
        "../../etc/passwd",
        "..\\..\\boot.ini",
        "<script>alert(1)<script>.html",
        ".htaccess",
        "%00.txt",
        "a&b?c#d%2f.txt",
        "Été.txt",
    ];
    let files: Vec<_> = names.iter().map(|name| (*name, b"x".as_slice())).collect();
    assert_eq!(app.upload(&files).await.status(), 303);

    let listed = app.listed().await;
    assert_eq!(listed.len(), names.len());
    assert!(
        listed
            .iter()
            .any(|file| file.name.starts_with("passwd-") && file.link.starts_with("/files/2")),
        "{listed:?}"
    );
    let is_harmless = |c: char| c.is_alphanumeric() || matches!(c, '-' | '.' | '_');
    for file in &listed {
        assert!(!file.name.starts_with('.') && file.name.chars().all(is_harmless), "{file:?}");
        assert_eq!(app.get(&file.link).await.text().await.unwrap(), "x", "{file:?}");
    }
}

#[tokio::test]
async fn files_with_the_same_name_are_all_kept() {
    let app = App::in_memory();
    app.upload(&[("a.txt", b"first")]).await;
    app.upload(&[("a.txt", b"second"), ("a.txt", b"third")]).await;
    let mut found = Vec::new();
    for file in app.listed().await {
        found.push(app.get(&file.link).await.text().await.unwrap());
    }
    found.sort_unstable();
    assert_eq!(found, ["first", "second", "third"]);
}

#[tokio::test]
async fn a_file_that_is_too_large_is_reported_and_leaves_no_object() {
    let app = App::on_disk();
    let response = app.upload(&[("large<b>.bin", &bytes(10 * MIB + 1))]).await;
    assert_eq!(response.status(), 413);
    assert!(
        response
            .text()
            .await
            .unwrap()
            .contains("Too large: large&lt;b&gt;.bin. A file may have 10 MiB.")
    );
    assert_eq!(app.listed().await, []);
    assert!(app.files_on_disk().is_empty(), "{:?}", app.files_on_disk());
}

#[tokio::test]
async fn a_file_of_the_maximum_size_is_kept_beside_one_that_is_too_large() {
    let app = App::on_disk();
    let (largest, larger) = (bytes(10 * MIB), bytes(10 * MIB + 1));
    let response =
        app.upload(&[("a.bin", &largest), ("b.bin", &larger), ("c.txt", b"small")]).await;
    assert_eq!(response.status(), 413);
    let sizes: Vec<_> = app.listed().await.into_iter().map(|file| file.size).collect();
    assert_eq!(sizes, ["10485760 bytes", "5 bytes"]);
}

/// Returns a form of this size in bytes, with four files, of which the last is shorter.
fn form_of(len: usize) -> Vec<u8> {
    let file = bytes(10 * MIB);
    let of = |last: &[u8]| form(&[("a", &file), ("b", &file), ("c", &file), ("d", last)]);
    let excess = of(&file).len() - len;
    of(&file[excess..])
}

#[tokio::test]
async fn a_form_that_is_too_large_is_refused() {
    let app = App::on_disk();
    assert_eq!(app.post_form(form_of(40 * MIB)).await.status(), 303);
    assert_eq!(app.listed().await.len(), 4);
    // Only a few bytes more: with many unread bytes, the connection may close before the response
    // arrives.
    assert_eq!(app.post_form(form_of(40 * MIB + 30)).await.status(), 413);
    assert_eq!(app.listed().await.len(), 7);
}

#[tokio::test]
async fn a_form_that_ends_within_a_file_leaves_no_object_of_that_file() {
    let app = App::on_disk();
    let whole = form(&[("a.txt", b"whole"), ("b.bin", &bytes(MIB))]);
    let response = app.post_form(&whole[..whole.len() / 2]).await;
    assert_eq!(response.status(), 400);
    let names: Vec<_> = app.listed().await.into_iter().map(|file| file.size).collect();
    assert_eq!(names, ["5 bytes"]);
}

#[tokio::test]
async fn a_broken_connection_leaves_no_object() {
    let app = App::on_disk();
    let body = form(&[("a.bin", &bytes(MIB))]);
    let address = app.url.strip_prefix("http://").unwrap();
    let mut connection = TcpStream::connect(address).await.unwrap();
    let head = format!(
        "POST / HTTP/1.1\r\nHost: {address}\r\nContent-Length: {}\r\n\
         Content-Type: multipart/form-data; boundary=----a-boundary\r\n\r\n",
        body.len()
    );
    connection.write_all(head.as_bytes()).await.unwrap();
    connection.write_all(&body[..body.len() / 2]).await.unwrap();
    connection.shutdown().await.unwrap();
    let mut response = Vec::new();
    connection.read_to_end(&mut response).await.unwrap();
    assert!(!response.starts_with(b"HTTP/1.1 303"), "{}", String::from_utf8_lossy(&response));

    // The unfinished save may be removed a moment after the connection closes.
    for _ in 0..1_200 {
        if app.files_on_disk().is_empty() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(app.files_on_disk().is_empty(), "{:?}", app.files_on_disk());
    assert_eq!(app.listed().await, []);
}

#[tokio::test]
async fn a_request_without_a_form_is_refused() {
    let app = App::in_memory();
    assert_eq!(app.post("/", "text/plain", "hello").await.status(), 400);
    assert_eq!(app.post("/", "multipart/form-data", "hello").await.status(), 400);
    assert_eq!(app.post_form("hello").await.status(), 400);
    assert_eq!(app.listed().await, []);
}

#[tokio::test]
async fn a_form_without_a_file_saves_nothing() {
    let app = App::in_memory();
    assert_eq!(app.upload(&[("", b"")]).await.status(), 303);
    assert_eq!(app.listed().await, []);
}

/// Returns a form of one file, with this text in its `Content-Disposition`.
fn form_named(disposition: &[u8], content: &[u8]) -> Vec<u8> {
    let mut body = b"------a-boundary\r\nContent-Disposition: form-data; name=\"files\"; ".to_vec();
    body.extend_from_slice(disposition);
    body.extend_from_slice(b"\r\n\r\n");
    body.extend_from_slice(content);
    body.extend_from_slice(b"\r\n------a-boundary--\r\n");
    body
}

#[tokio::test]
async fn a_file_is_kept_for_all_forms_of_its_name() {
    for (disposition, beginning) in [
        (&b"filename=\"caf\xe9.txt\""[..], "caf"),
        (b"filename*=UTF-8''%e2%82%ac%20rates.txt", "rates"),
        (b"filename*=ISO-8859-1''na%efve.txt", "naïve"),
        (b"filename*0=\"a.txt\"", "file"),
    ] {
        let app = App::in_memory();
        let response = app.post_form(form_named(disposition, b"kept")).await;
        assert_eq!(response.status(), 303);
        let listed = app.listed().await;
        assert_eq!(listed.len(), 1, "{beginning}");
        assert!(listed[0].name.trim_start_matches('-').starts_with(beginning), "{listed:?}");
        assert_eq!(app.get(&listed[0].link).await.text().await.unwrap(), "kept");
    }
}

#[tokio::test]
async fn a_file_with_content_and_an_empty_name_is_refused() {
    let app = App::in_memory();
    assert_eq!(app.post_form(form_named(b"filename=\"\"", b"content")).await.status(), 400);
    assert_eq!(app.listed().await, []);
}

#[tokio::test]
async fn a_field_without_a_file_is_skipped() {
    let app = App::in_memory();
    let mut body =
        b"------a-boundary\r\nContent-Disposition: form-data; name=\"comment\"\r\n\r\n".to_vec();
    body.extend_from_slice(&bytes(MIB));
    body.extend_from_slice(b"\r\n");
    body.extend_from_slice(&form(&[("a.txt", b"kept")]));
    assert_eq!(app.post_form(body).await.status(), 303);
    assert_eq!(app.listed().await.len(), 1);
}

#[tokio::test]
async fn a_form_with_more_than_a_hundred_parts_is_refused() {
    let app = App::on_disk();
    let empty = |name, count| form(&vec![(name, b"".as_slice()); count]);
    assert_eq!(app.post_form(empty("", 100)).await.status(), 303);
    assert_eq!(app.post_form(empty("", 101)).await.status(), 413);
    assert_eq!(app.post_form(empty("a", 101)).await.status(), 413);
    assert_eq!(app.listed().await.len(), 100);
}

/// Sends the headers and the beginning of a form. Returns the start of the response.
async fn response_to_a_beginning(app: &App, beginning: &[u8]) -> String {
    let address = app.url.strip_prefix("http://").unwrap();
    let mut connection = TcpStream::connect(address).await.unwrap();
    let head = format!(
        "POST / HTTP/1.1\r\nHost: {address}\r\nContent-Length: 30000000\r\nConnection: close\r\n\
         Content-Type: multipart/form-data; boundary=----a-boundary\r\n\r\n"
    );
    connection.write_all(head.as_bytes()).await.unwrap();
    connection.write_all(beginning).await.unwrap();
    let mut response = [0; 12];
    let read =
        tokio::time::timeout(Duration::from_secs(60), connection.read_exact(&mut response)).await;
    read.expect("a response before the rest is sent").unwrap();
    String::from_utf8(response.to_vec()).unwrap()
}

#[tokio::test]
async fn endless_headers_of_a_part_are_refused() {
    let app = App::in_memory();
    let mut endless =
        b"------a-boundary\r\nContent-Disposition: form-data; name=\"files\"; filename=\"".to_vec();
    endless.resize(64 << 10, b'a');
    assert_eq!(response_to_a_beginning(&app, &endless).await, "HTTP/1.1 400");
    // After a file, and before the first part.
    let mut second =
        b"------a-boundary\r\nContent-Disposition: form-data; name=\"f\"; filename=\"a\"\r\n\r\nx\r\n".to_vec();
    second.extend_from_slice(&endless);
    assert_eq!(response_to_a_beginning(&app, &second).await, "HTTP/1.1 400");
    assert_eq!(response_to_a_beginning(&app, &vec![b'x'; 64 << 10]).await, "HTTP/1.1 400");
}

#[tokio::test]
async fn a_file_with_a_long_name_is_kept() {
    let app = App::in_memory();
    let name = format!("{}.txt", "ü".repeat(2_000));
    assert_eq!(app.upload(&[(&name, b"x")]).await.status(), 303);
    assert_eq!(app.listed().await[0].size, "1 bytes");
}

#[tokio::test]
async fn active_content_is_sent_as_a_sandboxed_download() {
    let app = App::in_memory();
    let script = b"<script>document.title = 'owned'</script>";
    app.upload(&[
        ("a.html", script),
        ("b.svg", b"<svg xmlns='http://www.w3.org/2000/svg'/>"),
        ("c.xhtml", script),
    ])
    .await;
    let listed = app.listed().await;
    let kinds: Vec<_> = listed.iter().map(|file| &*file.kind).collect();
    assert_eq!(kinds, ["text/html; charset=utf-8", "image/svg+xml", "application/xhtml+xml"]);
    for file in &listed {
        let response = app.get(&file.link).await;
        let headers = response.headers();
        assert_eq!(headers["content-disposition"], "attachment", "{file:?}");
        assert_eq!(headers["content-security-policy"], "default-src 'none'; sandbox", "{file:?}");
        assert_eq!(headers["x-content-type-options"], "nosniff", "{file:?}");
    }
}

#[tokio::test]
async fn a_page_without_an_extension_is_text() {
    let app = App::in_memory();
    app.upload(&[("page", b"<!DOCTYPE html><script>document.title = 'owned'</script>")]).await;
    assert_eq!(app.listed().await[0].kind, "text/plain; charset=utf-8");
}

#[tokio::test]
async fn the_page_allows_no_scripts() {
    let response = App::in_memory().get("/").await;
    let policy = response.headers()["content-security-policy"].to_str().unwrap();
    assert!(policy.contains("default-src 'none'") && !policy.contains("script-src"), "{policy}");
}

#[tokio::test]
async fn a_deleted_file_is_gone() {
    let app = App::in_memory();
    app.upload(&[("a.txt", b"a"), ("b.txt", b"b")]).await;
    let listed = app.listed().await;
    assert_eq!(app.post(&listed[0].delete, "text/plain", "").await.status(), 303);
    assert_eq!(app.listed().await, listed[1..]);
    assert_eq!(app.get(&listed[0].link).await.status(), 404);
    assert_eq!(app.post("/delete/a%2F..%2Fsecret", "text/plain", "").await.status(), 400);
}

#[tokio::test]
async fn a_storage_with_signed_links_is_not_served_by_the_application() {
    let app = App::start(
        "[storages.default]\ndriver = 'fs'\nroot = 'ROOT'\npublic_url = 'https://media.example.com/'\n\
         signing_key = 'a secret of many bytes'\n",
    );
    app.upload(&[("a.html", b"a"), ("b.txt", b"b")]).await;
    let listed = app.listed().await;
    for file in &listed {
        assert!(file.link.starts_with("https://media.example.com/uploads/2"), "{file:?}");
        assert!(file.link.contains("X-Storage-Signature="), "{file:?}");
        let key = file.delete.strip_prefix("/delete").unwrap();
        assert_eq!(app.get(&format!("/files{key}")).await.status(), 404);
    }
    assert!(listed[0].link.contains("X-Storage-Disposition=attachment"), "{listed:?}");
    assert!(!listed[1].link.contains("X-Storage-Disposition"), "{listed:?}");
}

#[tokio::test]
async fn a_storage_with_public_links_uses_them() {
    let app = App::start(
        "[storages.default]\ndriver = 'memory'\npublic_url = 'https://media.example.com/'\n",
    );
    app.upload(&[("a b.txt", b"a")]).await;
    let link = app.listed().await.remove(0).link;
    assert!(
        link.starts_with("https://media.example.com/uploads/2") && !link.contains('?'),
        "{link}"
    );
}

#[tokio::test]
async fn a_failure_of_the_storage_does_not_reveal_its_cause() {
    let app = App::start("[storages.default]\ndriver = 'memory'\nread_only = true\n");
    let response = app.upload(&[("a.txt", b"a")]).await;
    assert_eq!(response.status(), 500);
    assert_eq!(response.text().await.unwrap(), "The storage failed.\n");
}
