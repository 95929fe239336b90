//! The application as its users meet it, over HTTP.
#![allow(clippy::unwrap_used, reason = "a test that meets an unforeseen error has failed")]

mod app;

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::app::{App, form};

const MIB: usize = 1 << 20;

/// Bytes that are different everywhere.
fn bytes(len: usize) -> Vec<u8> {
    (0..len).map(|at| (at.wrapping_mul(2_654_435_761) >> 13) as u8).collect()
}

async fn comes_back_as_it_went(app: &App) {
    let photo = bytes(3 * MIB + 17);
    let answer = app.upload(&[("My Photo.PNG", &photo), ("notes", b"hello\n")]).await;
    assert_eq!(
        (answer.status().as_u16(), answer.headers()["location"].to_str().unwrap()),
        (303, "/")
    );

    let shown = app.shown().await;
    let told: Vec<_> = shown.iter().map(|file| (&*file.size, &*file.kind)).collect();
    assert_eq!(told, [("3145745 bytes", "image/png"), ("6 bytes", "text/plain; charset=utf-8")]);
    assert!(shown[0].name.starts_with("My-Photo-") && shown[0].name.ends_with(".png"), "{shown:?}");
    let answer = app.get(&shown[0].link).await;
    assert_eq!(
        (answer.status().as_u16(), &answer.headers()["content-type"].to_str().unwrap()),
        (200, &"image/png")
    );
    assert!(answer.bytes().await.unwrap() == photo);
    assert_eq!(app.get(&shown[1].link).await.text().await.unwrap(), "hello\n");
}

#[tokio::test]
async fn files_come_back_as_they_went_from_a_disk() {
    let app = App::on_disk();
    comes_back_as_it_went(&app).await;
    assert!(app.on_the_disk().len() >= 2);
}

#[tokio::test]
async fn files_come_back_as_they_went_from_memory() {
    comes_back_as_it_went(&App::in_memory()).await;
}

#[tokio::test]
async fn files_come_back_as_they_went_though_the_mirror_is_dead() {
    comes_back_as_it_went(&App::behind_a_dead_mirror()).await;
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

    let shown = app.shown().await;
    assert_eq!(shown.len(), names.len());
    assert!(
        shown
            .iter()
            .any(|file| file.name.starts_with("passwd-") && file.link.starts_with("/files/2")),
        "{shown:?}"
    );
    let is_harmless = |c: char| c.is_alphanumeric() || matches!(c, '-' | '.' | '_');
    for file in &shown {
        assert!(!file.name.starts_with('.') && file.name.chars().all(is_harmless), "{file:?}");
        assert_eq!(app.get(&file.link).await.text().await.unwrap(), "x", "{file:?}");
    }
}

#[tokio::test]
async fn two_files_of_one_name_are_both_there() {
    let app = App::in_memory();
    app.upload(&[("a.txt", b"first")]).await;
    app.upload(&[("a.txt", b"second"), ("a.txt", b"third")]).await;
    let mut found = Vec::new();
    for file in app.shown().await {
        found.push(app.get(&file.link).await.text().await.unwrap());
    }
    found.sort_unstable();
    assert_eq!(found, ["first", "second", "third"]);
}

#[tokio::test]
async fn a_file_that_is_too_large_leaves_nothing_and_the_page_says_so() {
    let app = App::on_disk();
    let answer = app.upload(&[("large<b>.bin", &bytes(10 * MIB + 1))]).await;
    assert_eq!(answer.status(), 413);
    assert!(
        answer
            .text()
            .await
            .unwrap()
            .contains("Too large: large&lt;b&gt;.bin. A file may have 10 MiB.")
    );
    assert_eq!(app.shown().await, []);
    assert!(app.on_the_disk().is_empty(), "{:?}", app.on_the_disk());
}

#[tokio::test]
async fn the_largest_file_is_kept_and_so_are_those_beside_one_that_is_too_large() {
    let app = App::on_disk();
    let (largest, larger) = (bytes(10 * MIB), bytes(10 * MIB + 1));
    let answer = app.upload(&[("a.bin", &largest), ("b.bin", &larger), ("c.txt", b"small")]).await;
    assert_eq!(answer.status(), 413);
    let sizes: Vec<_> = app.shown().await.into_iter().map(|file| file.size).collect();
    assert_eq!(sizes, ["10485760 bytes", "5 bytes"]);
}

/// A form of so many bytes altogether: four files, of which the last gives way.
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
    assert_eq!(app.shown().await.len(), 4);
    // No more than a few bytes more: where many are left unread, the end of the connection may
    // overtake the answer.
    assert_eq!(app.post_form(form_of(40 * MIB + 30)).await.status(), 413);
    assert_eq!(app.shown().await.len(), 7);
}

#[tokio::test]
async fn a_form_that_ends_in_the_middle_of_a_file_leaves_nothing_of_it() {
    let app = App::on_disk();
    let whole = form(&[("a.txt", b"whole"), ("b.bin", &bytes(MIB))]);
    let answer = app.post_form(&whole[..whole.len() / 2]).await;
    assert_eq!(answer.status(), 400);
    let names: Vec<_> = app.shown().await.into_iter().map(|file| file.size).collect();
    assert_eq!(names, ["5 bytes"]);
}

#[tokio::test]
async fn a_connection_that_breaks_off_leaves_nothing() {
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
    let mut answer = Vec::new();
    connection.read_to_end(&mut answer).await.unwrap();
    assert!(!answer.starts_with(b"HTTP/1.1 303"), "{}", String::from_utf8_lossy(&answer));

    // What the save had begun may be taken away a moment after the connection.
    for _ in 0..1_200 {
        if app.on_the_disk().is_empty() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(app.on_the_disk().is_empty(), "{:?}", app.on_the_disk());
    assert_eq!(app.shown().await, []);
}

#[tokio::test]
async fn what_is_no_form_is_refused() {
    let app = App::in_memory();
    assert_eq!(app.post("/", "text/plain", "hello").await.status(), 400);
    assert_eq!(app.post("/", "multipart/form-data", "hello").await.status(), 400);
    assert_eq!(app.post_form("hello").await.status(), 400);
    assert_eq!(app.shown().await, []);
}

#[tokio::test]
async fn a_form_without_a_file_saves_nothing() {
    let app = App::in_memory();
    assert_eq!(app.upload(&[("", b"")]).await.status(), 303);
    assert_eq!(app.shown().await, []);
}

/// A form of one file, with this text for its name.
fn form_named(disposition: &[u8], content: &[u8]) -> Vec<u8> {
    let mut body = b"------a-boundary\r\nContent-Disposition: form-data; name=\"files\"; ".to_vec();
    body.extend_from_slice(disposition);
    body.extend_from_slice(b"\r\n\r\n");
    body.extend_from_slice(content);
    body.extend_from_slice(b"\r\n------a-boundary--\r\n");
    body
}

#[tokio::test]
async fn a_file_is_kept_in_whichever_way_its_name_is_written() {
    for (disposition, beginning) in [
        (&b"filename=\"caf\xe9.txt\""[..], "caf"),
        (b"filename*=UTF-8''%e2%82%ac%20rates.txt", "rates"),
        (b"filename*=ISO-8859-1''na%efve.txt", "naïve"),
        (b"filename*0=\"a.txt\"", "file"),
    ] {
        let app = App::in_memory();
        let answer = app.post_form(form_named(disposition, b"kept")).await;
        assert_eq!(answer.status(), 303);
        let shown = app.shown().await;
        assert_eq!(shown.len(), 1, "{beginning}");
        assert!(shown[0].name.trim_start_matches('-').starts_with(beginning), "{shown:?}");
        assert_eq!(app.get(&shown[0].link).await.text().await.unwrap(), "kept");
    }
}

#[tokio::test]
async fn a_file_with_content_and_without_a_name_is_refused_and_not_passed_over() {
    let app = App::in_memory();
    assert_eq!(app.post_form(form_named(b"filename=\"\"", b"content")).await.status(), 400);
    assert_eq!(app.shown().await, []);
}

#[tokio::test]
async fn a_field_without_a_file_is_passed_over_and_the_files_behind_it_are_kept() {
    let app = App::in_memory();
    let mut body =
        b"------a-boundary\r\nContent-Disposition: form-data; name=\"comment\"\r\n\r\n".to_vec();
    body.extend_from_slice(&bytes(MIB));
    body.extend_from_slice(b"\r\n");
    body.extend_from_slice(&form(&[("a.txt", b"kept")]));
    assert_eq!(app.post_form(body).await.status(), 303);
    assert_eq!(app.shown().await.len(), 1);
}

#[tokio::test]
async fn a_form_of_very_many_empty_files_is_refused_at_a_hundred() {
    let app = App::on_disk();
    let empty = |name, count| form(&vec![(name, b"".as_slice()); count]);
    assert_eq!(app.post_form(empty("", 100)).await.status(), 303);
    assert_eq!(app.post_form(empty("", 101)).await.status(), 413);
    assert_eq!(app.post_form(empty("a", 101)).await.status(), 413);
    assert_eq!(app.shown().await.len(), 100);
}

/// Sends the head of a form and a beginning of its body, and returns the start of the response.
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
async fn headers_of_a_part_that_do_not_end_are_refused_before_they_fill_the_memory() {
    let app = App::in_memory();
    let mut endless =
        b"------a-boundary\r\nContent-Disposition: form-data; name=\"files\"; filename=\"".to_vec();
    endless.resize(64 << 10, b'a');
    assert_eq!(response_to_a_beginning(&app, &endless).await, "HTTP/1.1 400");
    // Behind a file, where the reader has looked ahead; and before any part.
    let mut second =
        b"------a-boundary\r\nContent-Disposition: form-data; name=\"f\"; filename=\"a\"\r\n\r\nx\r\n".to_vec();
    second.extend_from_slice(&endless);
    assert_eq!(response_to_a_beginning(&app, &second).await, "HTTP/1.1 400");
    assert_eq!(response_to_a_beginning(&app, &vec![b'x'; 64 << 10]).await, "HTTP/1.1 400");
}

#[tokio::test]
async fn a_long_name_fits_into_the_headers_of_a_part() {
    let app = App::in_memory();
    let name = format!("{}.txt", "ü".repeat(2_000));
    assert_eq!(app.upload(&[(&name, b"x")]).await.status(), 303);
    assert_eq!(app.shown().await[0].size, "1 bytes");
}

#[tokio::test]
async fn an_uploaded_page_is_downloaded_and_has_no_rights_though_its_browser_called_it_a_picture() {
    let app = App::in_memory();
    let script = b"<script>document.title = 'owned'</script>";
    app.upload(&[
        ("a.html", script),
        ("b.svg", b"<svg xmlns='http://www.w3.org/2000/svg'/>"),
        ("c.xhtml", script),
    ])
    .await;
    let shown = app.shown().await;
    let kinds: Vec<_> = shown.iter().map(|file| &*file.kind).collect();
    assert_eq!(kinds, ["text/html; charset=utf-8", "image/svg+xml", "application/xhtml+xml"]);
    for file in &shown {
        let answer = app.get(&file.link).await;
        let headers = answer.headers();
        assert_eq!(headers["content-disposition"], "attachment", "{file:?}");
        assert_eq!(headers["content-security-policy"], "default-src 'none'; sandbox", "{file:?}");
        assert_eq!(headers["x-content-type-options"], "nosniff", "{file:?}");
    }
}

#[tokio::test]
async fn a_script_without_an_extension_is_text() {
    let app = App::in_memory();
    app.upload(&[("page", b"<!DOCTYPE html><script>document.title = 'owned'</script>")]).await;
    assert_eq!(app.shown().await[0].kind, "text/plain; charset=utf-8");
}

#[tokio::test]
async fn the_page_allows_no_scripts() {
    let answer = App::in_memory().get("/").await;
    let policy = answer.headers()["content-security-policy"].to_str().unwrap();
    assert!(policy.contains("default-src 'none'") && !policy.contains("script-src"), "{policy}");
}

#[tokio::test]
async fn a_deleted_file_is_gone() {
    let app = App::in_memory();
    app.upload(&[("a.txt", b"a"), ("b.txt", b"b")]).await;
    let shown = app.shown().await;
    assert_eq!(app.post(&shown[0].delete, "text/plain", "").await.status(), 303);
    assert_eq!(app.shown().await, shown[1..]);
    assert_eq!(app.get(&shown[0].link).await.status(), 404);
    assert_eq!(app.post("/delete/a%2F..%2Fsecret", "text/plain", "").await.status(), 400);
}

#[tokio::test]
async fn what_the_storage_signs_is_reached_by_signed_links_alone() {
    let app = App::start(
        "[storages.default]\ndriver = 'fs'\nroot = 'ROOT'\npublic_url = 'https://media.example.com/'\n\
         signing_key = 'a secret of many bytes'\n",
    );
    app.upload(&[("a.html", b"a"), ("b.txt", b"b")]).await;
    let shown = app.shown().await;
    for file in &shown {
        assert!(file.link.starts_with("https://media.example.com/uploads/2"), "{file:?}");
        assert!(file.link.contains("X-Storage-Signature="), "{file:?}");
        let key = file.delete.strip_prefix("/delete").unwrap();
        assert_eq!(app.get(&format!("/files{key}")).await.status(), 404);
    }
    assert!(shown[0].link.contains("X-Storage-Disposition=attachment"), "{shown:?}");
    assert!(!shown[1].link.contains("X-Storage-Disposition"), "{shown:?}");
}

#[tokio::test]
async fn what_the_storage_shows_to_everybody_has_its_public_link() {
    let app = App::start(
        "[storages.default]\ndriver = 'memory'\npublic_url = 'https://media.example.com/'\n",
    );
    app.upload(&[("a b.txt", b"a")]).await;
    let link = app.shown().await.remove(0).link;
    assert!(
        link.starts_with("https://media.example.com/uploads/2") && !link.contains('?'),
        "{link}"
    );
}

#[tokio::test]
async fn a_storage_for_reading_only_says_that_it_failed_and_not_why() {
    let app = App::start("[storages.default]\ndriver = 'memory'\nread_only = true\n");
    let answer = app.upload(&[("a.txt", b"a")]).await;
    assert_eq!(answer.status(), 500);
    assert_eq!(answer.text().await.unwrap(), "The storage failed.\n");
}
