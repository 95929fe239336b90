//! Signed links: what they allow, and what they do not.

use std::time::{Duration, UNIX_EPOCH};

use http::{Method, StatusCode};
use storage_core::signed_url::SigningKey;
use storage_core::{Key, Storage, UrlMethod, UrlOptions};
use storage_serve::Serve;

use crate::common::{get, gzip, head, link, one_object, put, signing_key};

async fn serve() -> (Storage, Serve) {
    let storage = one_object("hello").await;
    (storage.clone(), Serve::new(storage).signing_key(signing_key()))
}

fn uploads(options: &mut UrlOptions) {
    options.method = UrlMethod::Put;
}

#[tokio::test]
async fn a_request_without_a_link_reveals_nothing() {
    let (_, serve) = serve().await;
    for path in ["/a.txt", "/missing.txt", "/a.txt?v=1"] {
        for response in [
            get(&serve, path, &[]).await,
            head(&serve, path, &[]).await,
            put(&serve, path, &[], b"x").await,
        ] {
            assert_eq!(response.status, StatusCode::FORBIDDEN, "{path}");
            assert!(!response.headers.contains_key("etag"));
            assert_eq!(response.header("cache-control"), "no-store");
        }
    }
}

#[tokio::test]
async fn a_download_link_allows_downloads() {
    let (_, serve) = serve().await;
    let link = link("a.txt", |_| {});
    let response = get(&serve, &link, &[]).await;
    assert_eq!(
        (response.status, response.text(), response.header("cache-control")),
        (StatusCode::OK, "hello", "private")
    );
    assert_eq!(head(&serve, &link, &[]).await.headers, response.headers);
    let part = get(&serve, &link, &[("range", "bytes=1-2")]).await;
    assert_eq!((part.status, part.text()), (StatusCode::PARTIAL_CONTENT, "el"));
    let etag = response.header("etag").to_owned();
    assert_eq!(
        get(&serve, &link, &[("if-none-match", &etag)]).await.status,
        StatusCode::NOT_MODIFIED
    );
}

#[tokio::test]
async fn a_link_for_head_returns_only_the_headers() {
    let (_, serve) = serve().await;
    let link = link("a.txt", |options| options.method = UrlMethod::Head);
    assert_eq!(head(&serve, &link, &[]).await.status, StatusCode::OK);
    assert_eq!(get(&serve, &link, &[]).await.status, StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn a_download_link_allows_no_upload_and_an_upload_link_no_download() {
    let (storage, serve) = serve().await;
    assert_eq!(
        put(&serve, &link("a.txt", |_| {}), &[], b"new").await.status,
        StatusCode::FORBIDDEN
    );
    assert_eq!(get(&serve, &link("a.txt", uploads), &[]).await.status, StatusCode::FORBIDDEN);
    assert_eq!(head(&serve, &link("a.txt", uploads), &[]).await.status, StatusCode::FORBIDDEN);
    assert_eq!(storage.open("a.txt").await.unwrap().text().await.unwrap(), "hello");
}

#[tokio::test]
async fn a_link_allows_only_its_key() {
    let (storage, serve) = serve().await;
    storage.save("b.txt", "secret").await.unwrap();
    let link = link("a.txt", |_| {});
    let query = link.split_once('?').unwrap().1;
    for other in ["b.txt", "A.txt", "a.txt2", "x/a.txt", "%2561.txt"] {
        assert_eq!(
            get(&serve, &format!("/{other}?{query}"), &[]).await.status,
            StatusCode::FORBIDDEN,
            "{other}"
        );
    }
    // Another encoding of the same key.
    assert_eq!(get(&serve, &format!("/%61.txt?{query}"), &[]).await.status, StatusCode::OK);
}

#[tokio::test]
async fn a_link_of_another_signing_key_is_refused() {
    let (_, serve) = serve().await;
    let mut options = UrlOptions::default();
    options.expires_in = Some(Duration::from_secs(60));
    let other = SigningKey::new("the secret of these tests, but another").unwrap();
    let link =
        other.sign(&"http://h/".parse().unwrap(), &Key::new("a.txt").unwrap(), &options).unwrap();
    assert_eq!(get(&serve, link.as_str(), &[]).await.status, StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn an_expired_link_is_refused() {
    let (_, serve) = serve().await;
    let query = concat!(
        "X-Storage-Method=GET&X-Storage-Expires=1000000000&X-Storage-Signature=",
        "bceefb1e8435d8a3162ac931866f282132dabe779066b4aca4d0d49ed795f334"
    );
    // It was valid before it expired.
    let (key, then) = (Key::new("a.txt").unwrap(), UNIX_EPOCH + Duration::from_secs(1_000_000_000));
    assert!(signing_key().verify(UrlMethod::Get, &key, query, then).is_ok());
    assert_eq!(get(&serve, &format!("/a.txt?{query}"), &[]).await.status, StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn any_change_to_a_link_makes_it_invalid() {
    let (_, serve) = serve().await;
    let link = link("a.txt", |options| {
        options.response_content_disposition = Some("attachment; filename=\"b.txt\"".to_owned());
        options.response_content_type = Some("text/csv".to_owned());
    });
    assert_eq!(get(&serve, &link, &[]).await.status, StatusCode::OK);
    let (path, query) = link.split_once('?').unwrap();
    let parameters: Vec<_> = query.split('&').collect();
    for n in 0..parameters.len() {
        let without: Vec<_> =
            (0..parameters.len()).filter(|&m| m != n).map(|m| parameters[m]).collect();
        let doubled = [&parameters[..], &[parameters[n]]].concat();
        let (name, value) = parameters[n].split_once('=').unwrap();
        let flipped = if value.ends_with('0') { '1' } else { '0' };
        let other = format!("{name}={}{flipped}", &value[..value.len() - 1]);
        let changed = without.iter().copied().chain([other.as_str()]).collect::<Vec<_>>();
        let emptied = format!("{name}=");
        let emptied = without.iter().copied().chain([emptied.as_str()]).collect::<Vec<_>>();
        for (what, query) in [
            ("without", without.clone()),
            ("doubled", doubled),
            ("changed", changed),
            ("emptied", emptied),
        ] {
            let response = get(&serve, &format!("{path}?{}", query.join("&")), &[]).await;
            assert_eq!(response.status, StatusCode::FORBIDDEN, "{what}: {name}");
        }
    }
    for more in
        ["X-Storage-Other=1", "x-storage-method=PUT", "X-Storage-Length=5", "X-Storage-Method=PUT"]
    {
        assert_eq!(
            get(&serve, &format!("{link}&{more}"), &[]).await.status,
            StatusCode::FORBIDDEN,
            "{more}"
        );
    }
}

#[tokio::test]
async fn a_link_is_valid_with_reordered_and_additional_parameters() {
    let (_, serve) = serve().await;
    let link = link("a.txt", |_| {});
    let (path, query) = link.split_once('?').unwrap();
    let reversed: Vec<_> = query.split('&').rev().collect();
    assert_eq!(
        get(&serve, &format!("{path}?{}", reversed.join("&v=1&")), &[]).await.status,
        StatusCode::OK
    );
}

#[tokio::test]
async fn a_link_sets_the_type_and_disposition_of_the_response() {
    let (_, serve) = serve().await;
    let link = link("a.txt", |options| {
        options.response_content_disposition = Some("attachment; filename=\"b.csv\"".to_owned());
        options.response_content_type = Some("text/csv".to_owned());
    });
    let response = get(&serve, &link, &[]).await;
    assert_eq!(response.header("content-type"), "text/csv");
    assert_eq!(response.header("content-disposition"), "attachment; filename=\"b.csv\"");
}

#[tokio::test]
async fn active_content_by_the_type_of_a_link_is_sandboxed() {
    let (_, serve) = serve().await;
    let link =
        link("a.txt", |options| options.response_content_type = Some("text/html".to_owned()));
    let response = get(&serve, &link, &[]).await;
    assert_eq!(
        (response.header("content-type"), response.header("content-disposition")),
        ("text/html", "attachment")
    );
    assert_eq!(response.header("content-security-policy"), "default-src 'none'; sandbox");
}

#[tokio::test]
async fn public_reads_need_no_link_but_uploads_do() {
    let storage = one_object("hello").await;
    let serve = Serve::new(storage.clone()).signing_key(signing_key()).public_reads();
    let response = get(&serve, "/a.txt", &[]).await;
    assert_eq!((response.status, response.header("cache-control")), (StatusCode::OK, ""));
    assert_eq!(head(&serve, "/a.txt", &[]).await.status, StatusCode::OK);
    assert_eq!(put(&serve, "/a.txt", &[], b"new").await.status, StatusCode::FORBIDDEN);
    assert_eq!(put(&serve, &link("a.txt", uploads), &[], b"new").await.status, StatusCode::CREATED);
}

#[tokio::test]
async fn a_link_is_verified_even_if_reads_are_public() {
    let serve = Serve::new(one_object("hello").await).signing_key(signing_key()).public_reads();
    let link = link("a.txt", |options| {
        options.response_content_disposition = Some("attachment".to_owned());
    });
    assert_eq!(get(&serve, &link, &[]).await.header("content-disposition"), "attachment");
    for forged in [
        "/a.txt?X-Storage-Disposition=inline".to_owned(),
        "/a.txt?x-storage-disposition=inline".to_owned(),
        "/a.txt?X%2DStorage%2DDisposition=inline".to_owned(),
        link.replace("attachment", "inline"),
    ] {
        assert_eq!(get(&serve, &forged, &[]).await.status, StatusCode::FORBIDDEN, "{forged}");
    }
}

#[tokio::test]
async fn a_response_to_a_link_is_private_even_if_the_object_is_stored_as_public() {
    let storage = one_object("hello").await;
    storage.save("b.txt", "b").cache_control("public, max-age=9").await.unwrap();
    let serve = Serve::new(storage.clone()).signing_key(signing_key());
    assert_eq!(
        get(&serve, &link("b.txt", |_| {}), &[]).await.header("cache-control"),
        "private, max-age=9"
    );
    // If reads are public, the response does not depend on the link.
    let open = Serve::new(storage).signing_key(signing_key()).public_reads();
    assert_eq!(
        get(&open, &link("b.txt", |_| {}), &[]).await.header("cache-control"),
        "public, max-age=9"
    );
}

#[tokio::test]
async fn a_response_to_a_link_without_a_body_is_private() {
    let storage = one_object("hello").await;
    storage.save("packed", gzip(b"hello").await).content_encoding("gzip").await.unwrap();
    let serve = Serve::new(storage).signing_key(signing_key());
    let response = get(&serve, &link("packed", |_| {}), &[("if-none-match", "*")]).await;
    assert_eq!(
        (response.status, response.header("cache-control")),
        (StatusCode::NOT_MODIFIED, "private")
    );
}

#[tokio::test]
async fn a_link_to_a_missing_object_is_404() {
    let (_, serve) = serve().await;
    assert_eq!(get(&serve, &link("missing", |_| {}), &[]).await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_link_allows_no_other_methods() {
    let (_, serve) = serve().await;
    for method in [Method::POST, Method::DELETE, Method::PATCH] {
        let request = crate::common::request(method.clone(), &link("a.txt", uploads), &[]);
        assert_eq!(
            crate::common::send(&serve, request).await.status,
            StatusCode::METHOD_NOT_ALLOWED,
            "{method}"
        );
    }
}
