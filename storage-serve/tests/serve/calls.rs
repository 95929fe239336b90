//! How many calls a request makes to the storage. Every call costs time and money.

use http::Method;
use storage_core::{Operation, UrlMethod};
use storage_serve::Redirect;
use storage_serve::Serve;
use storage_testkit::faults::Faults;

use crate::common::{gzip, link, one_object, put, request, send, signing_key};

/// Returns how many calls of `stat`, `open` and other methods a request makes.
async fn calls(method: Method, headers: &[(&str, &str)]) -> (usize, usize, usize) {
    let faults = Faults::new();
    let storage = one_object("0123456789").await.layer(|inner| faults.layer(inner));
    storage.save("packed", gzip(b"hello").await).content_encoding("gzip").await.unwrap();
    send(&Serve::new(storage), request(method, "/a.txt", headers)).await;
    count(&faults)
}

fn count(faults: &Faults) -> (usize, usize, usize) {
    let others =
        [Operation::Exists, Operation::List, Operation::Url, Operation::Delete, Operation::Copy];
    let others = others.into_iter().map(|operation| faults.calls(operation)).sum();
    (faults.calls(Operation::Stat), faults.calls(Operation::Open), others)
}

#[tokio::test]
async fn a_plain_get_is_one_open() {
    assert_eq!(calls(Method::GET, &[]).await, (0, 1, 0));
}

#[tokio::test]
async fn a_single_range_is_one_open() {
    assert_eq!(calls(Method::GET, &[("range", "bytes=1-2")]).await, (0, 1, 0));
    assert_eq!(calls(Method::GET, &[("range", "bytes=-2")]).await, (0, 1, 0));
    assert_eq!(
        calls(Method::GET, &[("range", "nonsense"), ("if-range", "\"x\"")]).await,
        (0, 1, 0)
    );
}

#[tokio::test]
async fn head_is_one_stat() {
    assert_eq!(calls(Method::HEAD, &[]).await, (1, 0, 0));
    assert_eq!(
        calls(Method::HEAD, &[("if-none-match", "*"), ("range", "bytes=0-1")]).await,
        (1, 0, 0)
    );
}

#[tokio::test]
async fn a_condition_that_decides_is_one_stat() {
    assert_eq!(calls(Method::GET, &[("if-none-match", "*")]).await, (1, 0, 0));
    assert_eq!(calls(Method::GET, &[("if-match", "\"other\"")]).await, (1, 0, 0));
}

#[tokio::test]
async fn a_condition_that_holds_is_a_stat_and_an_open() {
    assert_eq!(calls(Method::GET, &[("if-none-match", "\"other\"")]).await, (1, 1, 0));
    assert_eq!(
        calls(Method::GET, &[("range", "bytes=1-2"), ("if-range", "\"other\"")]).await,
        (1, 1, 0)
    );
}

#[tokio::test]
async fn several_ranges_are_a_stat_and_an_open_each() {
    assert_eq!(calls(Method::GET, &[("range", "bytes=0-1,4-5,8-9")]).await, (1, 3, 0));
}

#[tokio::test]
async fn an_unsatisfiable_range_is_at_most_an_open_and_a_stat() {
    assert_eq!(calls(Method::GET, &[("range", "bytes=50-")]).await, (1, 1, 0));
    assert_eq!(calls(Method::GET, &[("range", "bytes=-0")]).await, (1, 0, 0));
}

#[tokio::test]
async fn a_refused_request_calls_no_method_of_the_storage() {
    for (method, path) in
        [(Method::GET, "/a//b"), (Method::POST, "/a.txt"), (Method::OPTIONS, "/a.txt")]
    {
        let faults = Faults::new();
        let storage = one_object("0123456789").await.layer(|inner| faults.layer(inner));
        send(&Serve::new(storage), request(method, path, &[])).await;
        assert_eq!(count(&faults), (0, 0, 0));
    }
    let faults = Faults::new();
    let storage = one_object("0123456789").await.layer(|inner| faults.layer(inner));
    let serve = Serve::new(storage).signing_key(signing_key());
    send(&serve, request(Method::GET, "/a.txt", &[])).await;
    put(&serve, &link("a.txt", |_| {}), &[], b"new").await;
    assert_eq!((count(&faults), faults.calls(Operation::Save)), ((0, 0, 0), 0));
}

#[tokio::test]
async fn an_upload_is_one_save() {
    let faults = Faults::new();
    let storage = one_object("0123456789").await.layer(|inner| faults.layer(inner));
    let serve = Serve::new(storage).signing_key(signing_key());
    put(&serve, &link("a.txt", |options| options.method = UrlMethod::Put), &[], b"new").await;
    assert_eq!((count(&faults), faults.calls(Operation::Save)), ((0, 0, 0), 1));
}

#[tokio::test]
async fn a_redirect_is_one_url_call() {
    let faults = Faults::new();
    let storage = one_object("0123456789").await.layer(|inner| faults.layer(inner));
    send(&Serve::new(storage).redirect(Redirect::Public), request(Method::GET, "/a.txt", &[]))
        .await;
    assert_eq!((count(&faults), faults.calls(Operation::Url)), ((0, 0, 1), 1));
}
