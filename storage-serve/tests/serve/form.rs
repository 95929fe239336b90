//! Forms with files, without a framework.

use bytes::Bytes;
use futures_util::stream::{self, Stream, StreamExt};
use storage_core::{Error, ErrorKind, Memory, Result};
use storage_serve::form::UploadForm;

/// Returns a field of a form, as a browser sends it.
fn field(disposition: &str, content: &str) -> String {
    format!("--x\r\ncontent-disposition: form-data; {disposition}\r\n\r\n{content}\r\n")
}

fn chunks(body: &str) -> impl Stream<Item = Result<Bytes>> + Send + use<> {
    let chunks: Vec<_> =
        body.as_bytes().chunks(7).map(|chunk| Ok(Bytes::copy_from_slice(chunk))).collect();
    stream::iter(chunks)
}

fn form(body: &str) -> UploadForm {
    UploadForm::new("multipart/form-data; boundary=x", chunks(body)).unwrap()
}

fn kind<T: std::fmt::Debug>(result: Result<T>) -> ErrorKind {
    result.unwrap_err().kind()
}

#[tokio::test]
async fn a_form_yields_its_texts_and_files_in_order() {
    let body = field("name=title", "Ada") + &field("name=f; filename=\"a b.txt\"", "hello");
    let mut form = form(&(body + "--x--\r\n"));
    let title = form.next_field().await.unwrap().unwrap();
    assert_eq!((title.name(), title.is_file(), title.file_name()), ("title", false, ""));
    assert_eq!(title.text_up_to(3).await.unwrap(), "Ada");
    let file = form.next_field().await.unwrap().unwrap();
    assert_eq!((file.name(), file.is_file(), file.file_name()), ("f", true, "a b.txt"));
    assert_eq!(file.bytes_up_to(5).await.unwrap(), "hello");
    assert!(form.next_field().await.unwrap().is_none());
}

#[tokio::test]
async fn a_text_above_its_limit_is_too_large() {
    let mut form = form(&(field("name=title", "Ada") + "--x--\r\n"));
    let title = form.next_field().await.unwrap().unwrap();
    assert_eq!(kind(title.text_up_to(2).await), ErrorKind::TooLarge);
}

#[tokio::test]
async fn the_rest_of_a_dropped_file_does_not_count_as_headers() {
    let large = "x".repeat(64 << 10);
    let body = field("name=f; filename=a", &large) + &field("name=f; filename=b", "second");
    let mut form = form(&(body + "--x--\r\n"));
    drop(form.next_file().await.unwrap().unwrap());
    let second = form.next_file().await.unwrap().unwrap();
    assert_eq!(second.bytes_up_to(10).await.unwrap(), "second");
}

#[tokio::test]
async fn the_file_after_one_whose_save_failed_is_read() {
    let large = "x".repeat(64 << 10);
    let body = field("name=f; filename=a", &large) + &field("name=f; filename=b", "second");
    let mut form = form(&(body + "--x--\r\n"));
    let storage = Memory::storage();
    let first = form.next_file().await.unwrap().unwrap();
    // The limit of the save ends before the file does.
    let saved = storage.save("a", first).max_size(10).await;
    assert_eq!(kind(saved), ErrorKind::TooLarge);
    let second = form.next_file().await.unwrap().unwrap();
    storage.save("b", second).await.unwrap();
    assert_eq!(storage.list("").keys().await.unwrap(), ["b"]);
}

#[tokio::test]
async fn the_next_field_is_refused_while_the_one_before_is_open() {
    let body = field("name=f; filename=a", "first") + &field("name=f; filename=b", "second");
    let mut form = form(&(body + "--x--\r\n"));
    let first = form.next_file().await.unwrap().unwrap();
    let error = form.next_file().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    assert!(error.to_string().contains("must be read or dropped first"), "{error}");
    assert_eq!(first.bytes_up_to(10).await.unwrap(), "first");
    assert!(form.next_file().await.unwrap().is_some());
}

#[tokio::test]
async fn a_form_that_breaks_off_fails_the_save_and_every_later_read() {
    let body = field("name=f; filename=a", &"x".repeat(1000));
    let broken = chunks(&body[..500])
        .chain(stream::iter([Err(Error::new(ErrorKind::Unexpected, "the connection broke"))]));
    let mut form = UploadForm::new("multipart/form-data; boundary=x", broken).unwrap();
    let storage = Memory::storage();
    let file = form.next_file().await.unwrap().unwrap();
    assert_eq!(kind(storage.save("a", file).await), ErrorKind::InvalidInput);
    assert!(!storage.exists("a").await.unwrap());
    assert_eq!(kind(form.next_file().await), ErrorKind::InvalidInput);
}

#[tokio::test]
async fn a_body_above_its_limit_is_too_large_for_the_save_and_for_the_next_file() {
    let body = field("name=f; filename=a", &"x".repeat(1000));
    let limited = chunks(&body[..500])
        .chain(stream::iter([Err(Error::new(ErrorKind::TooLarge, "the limit of the body"))]));
    let mut form = UploadForm::new("multipart/form-data; boundary=x", limited).unwrap();
    let file = form.next_file().await.unwrap().unwrap();
    assert_eq!(kind(file.bytes_up_to(5000).await), ErrorKind::TooLarge);
    assert_eq!(kind(form.next_file().await), ErrorKind::TooLarge);
}

#[tokio::test]
async fn a_form_with_too_many_fields_is_refused() {
    for (disposition, allowed) in [("name=t", 1000), ("name=f; filename=a", 100)] {
        let mut form = form(&(field(disposition, "").repeat(allowed + 1) + "--x--\r\n"));
        for _ in 0..allowed {
            assert!(form.next_field().await.unwrap().is_some());
        }
        assert_eq!(kind(form.next_field().await), ErrorKind::TooLarge, "{disposition}");
    }
}

#[tokio::test]
async fn the_empty_field_of_a_browser_without_a_chosen_file_is_skipped() {
    let body = field("name=f; filename=\"\"", "") + &field("name=f; filename=b", "second");
    let mut form = form(&(body + "--x--\r\n"));
    let second = form.next_field().await.unwrap().unwrap();
    assert_eq!(second.file_name(), "b");
}

#[tokio::test]
async fn a_file_with_content_and_without_a_name_is_refused() {
    let mut form = form(&(field("name=f; filename=\"\"", "content") + "--x--\r\n"));
    assert_eq!(kind(form.next_field().await), ErrorKind::InvalidInput);
}
