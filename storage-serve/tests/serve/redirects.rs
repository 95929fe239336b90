//! Redirects to the storage.

use std::time::Duration;

use http::{Method, StatusCode};
use storage_core::layers::PublicUrl;
use storage_core::signed_url::SigningKey;
use storage_core::{Key, Storage, UrlMethod};
use storage_fs::Fs;
use storage_serve::Redirect;
use storage_serve::Serve;
use tempfile::TempDir;
use url::Url;

use crate::common::{get, head, link, one_object, put, signing_key};

const MINUTE: Duration = Duration::from_secs(60);

fn elsewhere() -> SigningKey {
    SigningKey::new("the secret of the other server").unwrap()
}

fn signing_storage() -> (TempDir, Storage) {
    let root = TempDir::new().unwrap();
    let fs = Fs::builder(root.path())
        .public_url("http://other.example.com/".parse().unwrap())
        .signing_key(elsewhere());
    let storage = Storage::new(fs.build().unwrap());
    (root, storage)
}

#[tokio::test]
async fn clients_are_redirected_to_the_public_url() {
    let storage = one_object("hello").await;
    let storage =
        storage.layer(|inner| PublicUrl::new(inner, "https://cdn.example.com/m/".parse().unwrap()));
    let serve = Serve::new(storage).redirect(Redirect::Public);
    let response = get(&serve, "/a%20b.txt", &[]).await;
    assert_eq!((response.status, response.text()), (StatusCode::FOUND, ""));
    assert_eq!(response.header("location"), "https://cdn.example.com/m/a%20b.txt");
    assert_eq!(response.header("cache-control"), "");
    assert_eq!(head(&serve, "/a%20b.txt", &[]).await.headers, response.headers);
}

#[tokio::test]
async fn a_relative_public_url_is_a_relative_location() {
    let storage = one_object("hello").await;
    let storage = storage.layer(|inner| PublicUrl::new(inner, "/cdn/".parse().unwrap()));
    let serve = Serve::new(storage).redirect(Redirect::Public);
    let response = get(&serve, "/a%20b.txt", &[]).await;
    assert_eq!(response.status, StatusCode::FOUND);
    assert_eq!(response.header("location"), "/cdn/a%20b.txt");
}

#[tokio::test]
async fn a_redirect_to_a_signed_link_is_for_its_key_and_method_and_is_not_cached() {
    let (_root, storage) = signing_storage();
    let serve = Serve::new(storage).redirect(Redirect::Signed(MINUTE));
    for (response, method) in [
        (get(&serve, "/a.txt", &[]).await, UrlMethod::Get),
        (head(&serve, "/a.txt", &[]).await, UrlMethod::Head),
    ] {
        assert_eq!(
            (response.status, response.header("cache-control")),
            (StatusCode::FOUND, "no-store")
        );
        let location: Url = response.header("location").parse().unwrap();
        let key = Key::new("a.txt").unwrap();
        let now = std::time::SystemTime::now();
        assert!(elsewhere().verify(method, &key, location.query().unwrap(), now).is_ok());
        assert!(elsewhere().verify(UrlMethod::Put, &key, location.query().unwrap(), now).is_err());
    }
}

#[tokio::test]
async fn a_signed_redirect_passes_on_the_type_and_disposition_of_the_link() {
    let (_root, storage) = signing_storage();
    let serve = Serve::new(storage).redirect(Redirect::Signed(MINUTE)).signing_key(signing_key());
    let link = link("a.txt", |options| {
        options.response_content_disposition = Some("attachment".to_owned());
        options.response_content_type = Some("text/csv".to_owned());
    });
    let location: Url = get(&serve, &link, &[]).await.header("location").parse().unwrap();
    let now = std::time::SystemTime::now();
    let key = Key::new("a.txt").unwrap();
    let grant = elsewhere().verify(UrlMethod::Get, &key, location.query().unwrap(), now).unwrap();
    assert_eq!(grant.content_disposition.as_deref(), Some("attachment"));
    assert_eq!(grant.content_type.as_deref(), Some("text/csv"));
}

#[tokio::test]
async fn a_signed_redirect_expires_no_later_than_the_link() {
    let (_root, storage) = signing_storage();
    let serve =
        Serve::new(storage).redirect(Redirect::Signed(MINUTE * 60)).signing_key(signing_key());
    let link = link("a.txt", |options| options.expires_in = Some(MINUTE));
    let location: Url = get(&serve, &link, &[]).await.header("location").parse().unwrap();
    let (key, now) = (Key::new("a.txt").unwrap(), std::time::SystemTime::now());
    assert!(elsewhere().verify(UrlMethod::Get, &key, location.query().unwrap(), now).is_ok());
    let later = now + MINUTE + Duration::from_secs(2);
    assert!(elsewhere().verify(UrlMethod::Get, &key, location.query().unwrap(), later).is_err());
}

#[tokio::test]
async fn a_link_with_a_type_is_served_directly_if_redirects_are_public() {
    let storage = one_object("hello").await;
    let storage =
        storage.layer(|inner| PublicUrl::new(inner, "https://cdn.example.com/".parse().unwrap()));
    let serve =
        Serve::new(storage).redirect(Redirect::Public).signing_key(signing_key()).public_reads();
    assert_eq!(get(&serve, &link("a.txt", |_| {}), &[]).await.status, StatusCode::FOUND);
    let chosen = link("a.txt", |options| {
        options.response_content_disposition = Some("attachment".to_owned());
    });
    let response = get(&serve, &chosen, &[]).await;
    assert_eq!(
        (response.status, response.text(), response.header("content-disposition")),
        (StatusCode::OK, "hello", "attachment")
    );
}

#[tokio::test]
async fn a_redirect_that_needs_a_link_is_not_cached() {
    let storage = one_object("hello").await;
    let storage =
        storage.layer(|inner| PublicUrl::new(inner, "https://cdn.example.com/".parse().unwrap()));
    let serve = Serve::new(storage).redirect(Redirect::Public).signing_key(signing_key());
    let response = get(&serve, &link("a.txt", |_| {}), &[]).await;
    assert_eq!(
        (response.status, response.header("cache-control")),
        (StatusCode::FOUND, "no-store")
    );
}

#[tokio::test]
async fn a_request_without_a_link_is_not_redirected() {
    let (_root, storage) = signing_storage();
    let serve = Serve::new(storage).redirect(Redirect::Signed(MINUTE)).signing_key(signing_key());
    let response = get(&serve, "/a.txt", &[]).await;
    assert_eq!((response.status, response.header("location")), (StatusCode::FORBIDDEN, ""));
}

#[tokio::test]
async fn a_redirect_that_the_storage_cannot_create_is_501() {
    for redirect in [Redirect::Public, Redirect::Signed(MINUTE)] {
        let serve = Serve::new(one_object("hello").await).redirect(redirect);
        for method in [Method::GET, Method::HEAD] {
            let request = crate::common::request(method, "/a.txt", &[]);
            assert_eq!(
                crate::common::send(&serve, request).await.status,
                StatusCode::NOT_IMPLEMENTED
            );
        }
    }
}

#[tokio::test]
async fn an_invalid_lifetime_of_redirects_is_500() {
    let (_root, storage) = signing_storage();
    let serve = Serve::new(storage).redirect(Redirect::Signed(MINUTE * 60 * 24 * 30));
    assert_eq!(get(&serve, "/a.txt", &[]).await.status, StatusCode::INTERNAL_SERVER_ERROR);
}

#[tokio::test]
async fn an_upload_is_not_redirected() {
    let (_root, storage) = signing_storage();
    let serve =
        Serve::new(storage.clone()).redirect(Redirect::Signed(MINUTE)).signing_key(signing_key());
    let response =
        put(&serve, &link("a.txt", |options| options.method = UrlMethod::Put), &[], b"new").await;
    assert_eq!(response.status, StatusCode::CREATED);
    assert!(storage.exists("a.txt").await.unwrap());
}
