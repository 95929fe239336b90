//! Links as curl follows them: the signed request is accepted, and no other.

#![allow(clippy::unwrap_used, reason = "a test that meets an unforeseen error has failed")]

mod common;
mod tools;

use std::fs;
use std::path::PathBuf;
use std::sync::Mutex;
use std::time::{Duration, SystemTime};

use common::external::{External, TestPrefix, has_acls, has_forms};
use common::server::{Bucket, Server};
use storage_core::{ErrorKind, Link, MultipartUpload, PartUrlOptions, Storage, UrlMethod};
use storage_s3::S3Builder;
use tempfile::TempDir;
use tools::curl::{self, CurlResponse, curl};

const MINUTE: Duration = Duration::from_secs(60);

/// A key with characters that are encoded differently in different places.
const KEY: &str = "a dir/b+c %2F&é?#'*!()[]~.txt";

/// The place of a test: a bucket in this process, or a prefix of the bucket that the environment
/// names.
enum Place {
    InProcess(Bucket),
    External(&'static External, Mutex<Vec<TestPrefix>>),
}

impl Place {
    fn in_process() -> Option<Self> {
        curl::is_installed().then(|| Self::InProcess(Server::get().bucket()))
    }

    fn external() -> Option<Self> {
        if curl::is_installed() {
            Some(Self::External(External::get()?, Mutex::default()))
        } else {
            None
        }
    }

    fn builder(&self) -> S3Builder {
        match self {
            Self::InProcess(bucket) => bucket.builder(),
            Self::External(external, _) => external.builder(),
        }
    }

    fn storage(&self) -> Storage {
        self.storage_with(|builder| builder)
    }

    fn storage_with(&self, set_up: impl FnOnce(S3Builder) -> S3Builder) -> Storage {
        let storage = Storage::new(set_up(self.builder()).build().unwrap());
        match self {
            Self::InProcess(_) => storage,
            Self::External(_, prefixes) => {
                let corner = TestPrefix::of(&storage);
                let storage = corner.storage();
                prefixes.lock().unwrap().push(corner);
                storage
            }
        }
    }
}

/// Creates tests of functions. Each runs on the server that the environment names, and those that
/// the server in this process supports also run there.
macro_rules! in_places {
    (both: $($both:ident),+; external: $($external:ident),+;) => {
        tests! { in_process: $($both),+ }
        tests! { external: $($both),+, $($external),+ }
    };
}

macro_rules! tests {
    ($place:ident: $($test:ident),+) => {
        mod $place {
            // Deleting the objects of a prefix blocks its thread, so that the connections need
            // another.
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
            async fn $test() {
                if let Some(place) = super::Place::$place() {
                    super::$test(&place).await;
                }
            })+
        }
    };
}

in_places! {
    both:
        a_link_for_get_returns_the_bytes,
        the_response_has_the_headers_that_the_link_sets,
        a_link_for_head_returns_the_headers,
        a_link_is_valid_only_for_its_method,
        an_expired_link_is_refused,
        a_changed_link_is_refused,
        a_link_for_put_accepts_the_signed_headers,
        a_link_for_put_refuses_another_type,
        a_link_for_put_without_restrictions_accepts_anything,
        a_link_for_a_part_stores_it,
        a_link_for_a_part_is_valid_only_for_this_part,
        stable_links_are_equal_and_valid,
        a_link_is_valid_for_the_signing_endpoint;
    external:
        a_link_for_put_refuses_another_length,
        a_link_for_a_part_refuses_another_length,
        a_form_accepts_what_its_policy_allows,
        a_form_refuses_a_file_that_is_too_large_or_too_small,
        a_form_refuses_another_type,
        a_form_for_a_type_prefix_accepts_only_these_types,
        a_form_without_a_type_accepts_any_type,
        a_form_refuses_another_key,
        a_form_for_any_name_accepts_only_names_below_its_directory,
        an_expired_form_is_refused,
        a_changed_form_is_refused,
        an_object_with_a_public_acl_is_read_without_a_signature,
        an_upload_by_link_or_form_has_the_acl_of_saves,
        an_upload_by_link_must_contain_the_object_headers,
        a_public_link_leads_to_the_object;
}

async fn link(storage: &Storage, key: &str, method: UrlMethod) -> Link {
    storage.url(key).method(method).expires_in(MINUTE).await.unwrap()
}

fn assert_refused(response: &CurlResponse) {
    assert_eq!(response.status, 403, "{response:?}");
}

fn assert_taken(response: &CurlResponse) {
    assert!((200..300).contains(&response.status), "{response:?}");
}

/// Creates a file to upload, which exists as long as its directory.
fn file(bytes: &[u8]) -> (TempDir, PathBuf) {
    let directory = TempDir::new().unwrap();
    let file = directory.path().join("from the user.bin");
    fs::write(&file, bytes).unwrap();
    (directory, file)
}

async fn text(storage: &Storage, key: &str) -> String {
    storage.open(key).await.unwrap().text().await.unwrap()
}

/// Waits until a link expires. Services count whole seconds.
async fn expiry_of(link: &Link) {
    let left = link.expires_at.unwrap().duration_since(SystemTime::now()).unwrap_or_default();
    tokio::time::sleep(left + Duration::from_secs(1)).await;
}

async fn a_link_for_get_returns_the_bytes(place: &Place) {
    let storage = place.storage();
    let saved = storage.save(KEY, "text").cache_control("no-store").await.unwrap();
    let response = curl::follow(&link(&storage, KEY, UrlMethod::Get).await);
    assert_eq!((response.status, &response.body[..]), (200, &b"text"[..]));
    assert_eq!(response.header("content-type"), Some("text/plain; charset=utf-8"));
    assert_eq!(response.header("cache-control"), Some("no-store"));
    assert_eq!(response.header("etag"), Some(saved.etag.unwrap().to_string().as_str()));
}

async fn the_response_has_the_headers_that_the_link_sets(place: &Place) {
    const DISPOSITION: &str = "attachment; filename=\"a b+c&d.txt\"; filename*=UTF-8''%C3%A9.txt";
    let storage = place.storage();
    storage.save(KEY, "text").content_disposition("inline").await.unwrap();
    let link = storage.url(KEY).expires_in(MINUTE).response_content_disposition(DISPOSITION);
    let link = link.response_content_type("image/svg+xml; charset=utf-8").await.unwrap();
    let response = curl::follow(&link);
    assert_eq!(response.status, 200, "{response:?}");
    assert_eq!(response.header("content-disposition"), Some(DISPOSITION));
    assert_eq!(response.header("content-type"), Some("image/svg+xml; charset=utf-8"));
}

async fn a_link_for_head_returns_the_headers(place: &Place) {
    let storage = place.storage();
    storage.save(KEY, "text").await.unwrap();
    let response = curl::follow(&link(&storage, KEY, UrlMethod::Head).await);
    assert_eq!(
        (response.status, response.header("content-length")),
        (200, Some("4")),
        "{response:?}"
    );
}

async fn a_link_is_valid_only_for_its_method(place: &Place) {
    let storage = place.storage();
    storage.save(KEY, "text").await.unwrap();
    let (_directory, file) = file(b"replaced");
    let get = link(&storage, KEY, UrlMethod::Get).await;
    assert_refused(&curl(&["--head", get.as_str()]));
    assert_refused(&curl(&["--request", "DELETE", get.as_str()]));
    assert_refused(&curl::put(&get, &file, &[]));
    let put = link(&storage, KEY, UrlMethod::Put).await;
    assert_refused(&curl(&[put.as_str()]));
    assert_eq!(text(&storage, KEY).await, "text");
}

async fn an_expired_link_is_refused(place: &Place) {
    let storage = place.storage();
    storage.save(KEY, "text").await.unwrap();
    let link = storage.url(KEY).expires_in(Duration::from_secs(1)).await.unwrap();
    expiry_of(&link).await;
    assert_refused(&curl::follow(&link));
}

async fn a_changed_link_is_refused(place: &Place) {
    let storage = place.storage();
    for key in ["mine", "yours"] {
        storage.save(key, "text").await.unwrap();
    }
    let good =
        storage.url("mine").expires_in(MINUTE).response_content_type("text/plain").await.unwrap();
    assert_eq!(curl::follow(&good).status, 200);
    let changes = [
        ("mine", "yours"),
        ("X-Amz-Expires=60", "X-Amz-Expires=600"),
        ("response-content-type=text%2Fplain", "response-content-type=text%2Fhtml"),
        (
            "response-content-type=text%2Fplain",
            "response-content-type=text%2Fplain&response-cache-control=no-store",
        ),
        ("X-Amz-SignedHeaders=host", "X-Amz-SignedHeaders=host%3Brange"),
    ];
    for (from, to) in changes {
        let bad = good.as_str().replace(from, to);
        assert_ne!(bad, good.as_str(), "{from}");
        assert_refused(&curl(&[bad]));
    }
    // Changes the last digit of the signature.
    let (start, last) = good.as_str().split_at(good.as_str().len() - 1);
    assert!(start.contains("X-Amz-Signature="), "the signature comes last");
    assert_refused(&curl(&[format!("{start}{}", if last == "0" { "1" } else { "0" })]));
}

async fn a_link_for_put_accepts_the_signed_headers(place: &Place) {
    let storage = place.storage();
    let link = storage.url(KEY).method(UrlMethod::Put).expires_in(MINUTE);
    let link = link.content_type("image/png").content_length(5).await.unwrap();
    let (_directory, file) = file(b"bytes");
    assert_taken(&curl::put(&link, &file, &[]));
    let object = storage.open(KEY).await.unwrap();
    assert_eq!(object.meta().content_type(), Some("image/png"));
    assert_eq!(object.bytes().await.unwrap(), &b"bytes"[..]);
}

async fn a_link_for_put_refuses_another_type(place: &Place) {
    let storage = place.storage();
    let mut link = storage
        .url(KEY)
        .method(UrlMethod::Put)
        .expires_in(MINUTE)
        .content_type("image/png")
        .await
        .unwrap();
    let (_directory, file) = file(b"bytes");
    link.headers = Vec::new();
    assert_refused(&curl::put(&link, &file, &["content-type: text/html"]));
    assert_refused(&curl::put(&link, &file, &[]));
    assert!(!storage.exists(KEY).await.unwrap());
}

async fn a_link_for_put_refuses_another_length(place: &Place) {
    let storage = place.storage();
    let mut link =
        storage.url(KEY).method(UrlMethod::Put).expires_in(MINUTE).content_length(5).await.unwrap();
    link.headers = Vec::new();
    for bytes in [&b"shor"[..], b"longer"] {
        let (_directory, file) = file(bytes);
        assert_refused(&curl::put(&link, &file, &[]));
    }
    assert!(!storage.exists(KEY).await.unwrap());
}

async fn a_link_for_put_without_restrictions_accepts_anything(place: &Place) {
    let storage = place.storage();
    let link = link(&storage, KEY, UrlMethod::Put).await;
    for (bytes, content_type) in [(&b"one"[..], "image/png"), (b"another", "text/x-any")] {
        let (_directory, file) = file(bytes);
        assert_taken(&curl::put(&link, &file, &[&format!("content-type: {content_type}")]));
        let object = storage.open(KEY).await.unwrap();
        assert_eq!(object.meta().content_type(), Some(content_type));
        assert_eq!(object.bytes().await.unwrap(), bytes);
    }
}

/// Begins an upload, and makes a link for one part of this many bytes.
async fn part_link(storage: &Storage, number: u32, bytes: u64) -> (MultipartUpload, Link) {
    let upload = storage.multipart(KEY).content_type("text/x-part").await.unwrap();
    let options = PartUrlOptions::new(MINUTE).content_length(bytes);
    let link = upload.part_url(number, options).await.unwrap();
    (upload, link)
}

async fn a_link_for_a_part_stores_it(place: &Place) {
    let storage = place.storage();
    let (upload, link) = part_link(&storage, 1, 4).await;
    assert_eq!(link.method, UrlMethod::Put);
    let (_directory, file) = file(b"part");
    assert_taken(&curl::put(&link, &file, &[]));
    let meta = upload.complete().await.unwrap();
    assert_eq!((meta.size, meta.content_type()), (4, Some("text/x-part")));
    assert_eq!(text(&storage, KEY).await, "part");
    // The upload has ended.
    assert_eq!(curl::put(&link, &file, &[]).status, 404);
    assert_eq!(text(&storage, KEY).await, "part");
}

async fn a_link_for_a_part_is_valid_only_for_this_part(place: &Place) {
    let storage = place.storage();
    let (upload, link) = part_link(&storage, 1, 4).await;
    let (other, _) = part_link(&storage, 1, 4).await;
    let (_directory, file) = file(b"part");
    let another = link.as_str().replace("partNumber=1&", "partNumber=2&");
    assert_ne!(another, link.as_str());
    let without = link.as_str().replace("partNumber=1&", "").replace("uploadId=", "x=");
    for bad in [another, without] {
        assert_refused(&curl(&["--upload-file", file.to_str().unwrap(), &bad]));
    }
    for upload in [upload, other] {
        assert_eq!(upload.complete().await.unwrap_err().kind(), ErrorKind::Conflict);
        upload.abort().await.unwrap();
    }
    assert!(!storage.exists(KEY).await.unwrap());
}

async fn a_link_for_a_part_refuses_another_length(place: &Place) {
    let storage = place.storage();
    let (upload, mut link) = part_link(&storage, 1, 4).await;
    link.headers = Vec::new();
    for bytes in [&b"par"[..], b"parts"] {
        let (_directory, file) = file(bytes);
        assert_refused(&curl::put(&link, &file, &[]));
    }
    upload.abort().await.unwrap();
}

async fn stable_links_are_equal_and_valid(place: &Place) {
    let storage = place.storage();
    storage.save(KEY, "text").await.unwrap();
    let stable =
        async || storage.url(KEY).expires_in(MINUTE).stable_for(24 * 60 * MINUTE).await.unwrap();
    let mut links = [stable().await, stable().await];
    if links[0] != links[1] {
        // A new window has just begun.
        links = [stable().await, stable().await];
    }
    assert_eq!(links[0], links[1]);
    let response = curl::follow(&links[0]);
    assert_eq!((response.status, &response.body[..]), (200, &b"text"[..]));
}

async fn a_link_is_valid_for_the_signing_endpoint(place: &Place) {
    let storage = place.storage();
    storage.save(KEY, "text").await.unwrap();
    let mut seen = link(&storage, KEY, UrlMethod::Get).await.url().unwrap().join("/").unwrap();
    if seen.host_str() != Some("127.0.0.1") {
        common::skip("a signing endpoint", "the server is not known by another name of its host");
        return;
    }
    seen.set_host(Some("localhost")).unwrap();
    let storage = place.storage_with(|builder| builder.signing_endpoint(seen));
    storage.save(KEY, "text").await.unwrap();
    let (_directory, file) = file(b"bytes");
    let get = link(&storage, KEY, UrlMethod::Get).await;
    assert_eq!(get.url().unwrap().host_str(), Some("localhost"));
    assert_eq!(curl::follow(&get).body, b"text");
    assert_taken(&curl::put(&link(&storage, KEY, UrlMethod::Put).await, &file, &[]));
    assert_eq!(text(&storage, KEY).await, "bytes");
    // The signature covers the host.
    assert_refused(&curl(&[get.as_str().replace("localhost", "127.0.0.1")]));
}

/// Returns a form with another value of a field, or with one more field.
fn with_field(form: &Link, name: &str, value: &str) -> Link {
    let mut form = form.clone();
    match form.fields.iter_mut().find(|(other, _)| other == name) {
        Some(field) => field.1 = value.to_owned(),
        None => form.fields.push((name.to_owned(), value.to_owned())),
    }
    form
}

async fn a_form_accepts_what_its_policy_allows(place: &Place) {
    let storage = place.storage();
    if !has_forms(&storage) {
        return;
    }
    let form =
        storage.url(KEY).method(UrlMethod::Post).expires_in(MINUTE).content_type("image/png");
    let form = form.content_length_range(5..=10).await.unwrap();
    for bytes in [&b"bytes"[..], b"0123456789"] {
        let (_directory, file) = file(bytes);
        assert_taken(&curl::post(&form, file.to_str().unwrap()));
        let object = storage.open(KEY).await.unwrap();
        assert_eq!(object.meta().content_type(), Some("image/png"));
        assert_eq!(object.bytes().await.unwrap(), bytes);
    }
}

async fn a_form_refuses_a_file_that_is_too_large_or_too_small(place: &Place) {
    let storage = place.storage();
    if !has_forms(&storage) {
        return;
    }
    let form = storage
        .url(KEY)
        .method(UrlMethod::Post)
        .expires_in(MINUTE)
        .content_length_range(5..=10)
        .await
        .unwrap();
    for (bytes, code) in [(&b"01234567890"[..], "EntityTooLarge"), (b"shor", "EntityTooSmall")] {
        let (_directory, file) = file(bytes);
        let response = curl::post(&form, file.to_str().unwrap());
        assert_eq!((response.status, response.code().as_str()), (400, code), "{response:?}");
    }
    assert!(!storage.exists(KEY).await.unwrap());
}

async fn a_form_refuses_another_type(place: &Place) {
    let storage = place.storage();
    if !has_forms(&storage) {
        return;
    }
    let form = storage
        .url(KEY)
        .method(UrlMethod::Post)
        .expires_in(MINUTE)
        .content_type("image/png")
        .await
        .unwrap();
    let (_directory, file) = file(b"bytes");
    assert_refused(&curl::post(
        &with_field(&form, "Content-Type", "text/html"),
        file.to_str().unwrap(),
    ));
    assert!(!storage.exists(KEY).await.unwrap());
}

async fn a_form_for_a_type_prefix_accepts_only_these_types(place: &Place) {
    let storage = place.storage();
    if !has_forms(&storage) {
        return;
    }
    let form = storage
        .url(KEY)
        .method(UrlMethod::Post)
        .expires_in(MINUTE)
        .content_type("image/*")
        .await
        .unwrap();
    let (_directory, file) = file(b"bytes");
    let file = file.to_str().unwrap();
    assert_refused(&curl::post(&with_field(&form, "Content-Type", "text/html"), file));
    assert!(!storage.exists(KEY).await.unwrap());
    assert_taken(&curl::post(&with_field(&form, "Content-Type", "image/webp"), file));
    assert_eq!(storage.stat(KEY).await.unwrap().content_type(), Some("image/webp"));
}

async fn a_form_without_a_type_accepts_any_type(place: &Place) {
    let storage = place.storage();
    if !has_forms(&storage) {
        return;
    }
    let form = link(&storage, KEY, UrlMethod::Post).await;
    let (_directory, file) = file(b"bytes");
    let file = file.to_str().unwrap();
    assert_taken(&curl::post(&form, file));
    assert_eq!(
        storage.stat(KEY).await.unwrap().content_type(),
        Some("text/plain"),
        "guessed from the key"
    );
    assert_taken(&curl::post(&with_field(&form, "Content-Type", "image/webp"), file));
    assert_eq!(storage.stat(KEY).await.unwrap().content_type(), Some("image/webp"));
}

async fn a_form_refuses_another_key(place: &Place) {
    let storage = place.storage();
    if !has_forms(&storage) {
        return;
    }
    let form = link(&storage, "mine", UrlMethod::Post).await;
    let (_directory, file) = file(b"bytes");
    let key = &form.fields.iter().find(|(name, _)| name == "key").unwrap().1;
    for other in [format!("{key}2"), key.replace("mine", "yours"), format!("{key}/${{filename}}")] {
        assert_refused(&curl::post(&with_field(&form, "key", &other), file.to_str().unwrap()));
    }
    assert!(storage.list("").entries().next().await.is_none());
}

async fn a_form_for_any_name_accepts_only_names_below_its_directory(place: &Place) {
    let storage = place.storage();
    if !has_forms(&storage) {
        return;
    }
    let directory_of_the_user = "uploads/7 +é";
    let form = storage
        .url(directory_of_the_user)
        .method(UrlMethod::Post)
        .expires_in(MINUTE)
        .any_name()
        .await
        .unwrap();
    let (_directory, file) = file(b"bytes");
    let file = file.to_str().unwrap();
    // The browser sends the file's name, which replaces `${filename}`.
    assert_taken(&curl::post(&form, file));
    assert_eq!(
        text(&storage, &format!("{directory_of_the_user}/from the user.bin")).await,
        "bytes"
    );
    let key = &form.fields.iter().find(|(name, _)| name == "key").unwrap().1;
    let below = key.replace("${filename}", "sub/another & name.txt");
    assert_taken(&curl::post(&with_field(&form, "key", &below), file));
    assert_eq!(
        text(&storage, &format!("{directory_of_the_user}/sub/another & name.txt")).await,
        "bytes"
    );
    for outside in ["uploads/7 +ée.txt", "uploads/8/a.txt", "uploads/7 +é"] {
        let outside = key.replace("uploads/7 +é/${filename}", outside);
        assert_refused(&curl::post(&with_field(&form, "key", &outside), file));
    }
    assert_eq!(storage.list("").entries().collect().await.unwrap().len(), 2);
}

async fn an_expired_form_is_refused(place: &Place) {
    let storage = place.storage();
    if !has_forms(&storage) {
        return;
    }
    let form =
        storage.url(KEY).method(UrlMethod::Post).expires_in(Duration::from_secs(1)).await.unwrap();
    let (_directory, file) = file(b"bytes");
    expiry_of(&form).await;
    assert_refused(&curl::post(&form, file.to_str().unwrap()));
    assert!(!storage.exists(KEY).await.unwrap());
}

async fn a_changed_form_is_refused(place: &Place) {
    let storage = place.storage();
    if !has_forms(&storage) {
        return;
    }
    let small = storage
        .url(KEY)
        .method(UrlMethod::Post)
        .expires_in(MINUTE)
        .content_length_range(1..=2)
        .await
        .unwrap();
    let large = storage
        .url(KEY)
        .method(UrlMethod::Post)
        .expires_in(MINUTE)
        .content_length_range(1..=9)
        .await
        .unwrap();
    let (_directory, file) = file(b"bytes");
    // The policy of one form with the signature of the other.
    let policy = &large.fields.iter().find(|(name, _)| name == "policy").unwrap().1;
    assert_refused(&curl::post(&with_field(&small, "policy", policy), file.to_str().unwrap()));
    assert!(!storage.exists(KEY).await.unwrap());
    assert_taken(&curl::post(&large, file.to_str().unwrap()));
}

fn without_query(link: &Link) -> String {
    link.without_query().to_owned()
}

async fn an_object_with_a_public_acl_is_read_without_a_signature(place: &Place) {
    if !has_acls(&place.builder()) {
        return;
    }
    let private = place.storage();
    private.save(KEY, "text").await.unwrap();
    assert_refused(&curl(&[without_query(&link(&private, KEY, UrlMethod::Get).await)]));
    let public = place.storage_with(|builder| builder.acl("public-read").part_size(5 << 20));
    public.save(KEY, "text").await.unwrap();
    public.save("parts", vec![b'x'; 6 << 20]).await.unwrap();
    public.copy(KEY, "copy").await.unwrap();
    for (key, len) in [(KEY, 4), ("parts", 6 << 20), ("copy", 4)] {
        let response = curl(&[without_query(&link(&public, key, UrlMethod::Get).await)]);
        assert_eq!((response.status, response.body.len()), (200, len), "{key}");
    }
}

async fn an_upload_by_link_or_form_has_the_acl_of_saves(place: &Place) {
    if !has_acls(&place.builder()) {
        return;
    }
    let storage = place.storage_with(|builder| builder.acl("public-read"));
    let (_directory, file) = file(b"bytes");
    assert_taken(&curl::put(&link(&storage, "put", UrlMethod::Put).await, &file, &[]));
    assert_taken(&curl::post(
        &link(&storage, "post", UrlMethod::Post).await,
        file.to_str().unwrap(),
    ));
    for key in ["put", "post"] {
        let response = curl(&[without_query(&link(&storage, key, UrlMethod::Get).await)]);
        assert_eq!((response.status, &response.body[..]), (200, &b"bytes"[..]), "{key}");
    }
}

async fn an_upload_by_link_must_contain_the_object_headers(place: &Place) {
    if !has_acls(&place.builder()) {
        return;
    }
    let storage = place.storage_with(|builder| builder.acl("private").storage_class("STANDARD"));
    let (_directory, file) = file(b"bytes");
    assert_taken(&curl::put(&link(&storage, "put", UrlMethod::Put).await, &file, &[]));
    assert_taken(&curl::post(
        &link(&storage, "post", UrlMethod::Post).await,
        file.to_str().unwrap(),
    ));
    let mut put = link(&storage, KEY, UrlMethod::Put).await;
    put.headers = Vec::new();
    assert_refused(&curl::put(&put, &file, &[]));
    assert_refused(&curl::put(&put, &file, &["x-amz-acl: public-read"]));
    let form = link(&storage, KEY, UrlMethod::Post).await;
    assert_refused(&curl::post(&with_field(&form, "acl", "public-read"), file.to_str().unwrap()));
    assert!(!storage.exists(KEY).await.unwrap());
}

async fn a_public_link_leads_to_the_object(place: &Place) {
    if !has_acls(&place.builder()) {
        return;
    }
    let signed = link(&place.storage(), "a", UrlMethod::Get).await;
    let signed = signed.url().unwrap();
    let bucket = signed.path_segments().unwrap().next().unwrap().to_owned();
    let base = signed.join(&format!("/{bucket}/")).unwrap();
    let storage = place
        .storage_with(|builder| builder.acl("public-read").public_url(base.try_into().unwrap()));
    storage.save(KEY, "text").await.unwrap();
    let link = storage.url(KEY).await.unwrap();
    assert_eq!(link.query(), None);
    assert_eq!(curl::follow(&link).body, b"text");
}
