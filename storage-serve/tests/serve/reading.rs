//! Responses to GET and HEAD: the object, its headers, its absence.

use http::{Method, StatusCode};
use storage_core::{ETag, Memory, Metadata};
use storage_serve::Serve;
use storage_serve::{ActiveContent, EncodingPolicy};
use tempfile::TempDir;

use crate::common::scripted::{Version, scripted};
use crate::common::{bytes, get, gzip, head, one_object, put, request, send};

#[tokio::test]
async fn an_object_is_sent_with_its_headers_and_its_length() {
    let storage = Memory::storage();
    let saved = storage
        .save("a b/é.txt", "hello")
        .cache_control("max-age=9")
        .content_language("de")
        .await
        .unwrap();
    let response = get(&Serve::new(storage), "/a%20b/%C3%A9.txt", &[]).await;
    assert_eq!((response.status, response.text()), (StatusCode::OK, "hello"));
    assert_eq!(response.header("content-length"), "5");
    assert_eq!(response.header("content-type"), "text/plain; charset=utf-8");
    assert_eq!(response.header("cache-control"), "max-age=9");
    assert_eq!(response.header("content-language"), "de");
    assert_eq!(response.header("accept-ranges"), "bytes");
    assert_eq!(response.header("x-content-type-options"), "nosniff");
    assert_eq!(response.header("etag"), saved.etag.unwrap().to_string());
    assert_eq!(
        response.header("last-modified"),
        httpdate::fmt_http_date(saved.last_modified.unwrap())
    );
}

#[tokio::test]
async fn a_file_on_disk_is_sent_whole_however_large() {
    let root = TempDir::new().unwrap();
    let storage = storage_core::Storage::new(storage_fs::Fs::builder(root.path()).build().unwrap());
    let content = bytes(3 * 1024 * 1024 + 17);
    storage.save("a.bin", content.clone()).await.unwrap();
    let response = get(&Serve::new(storage), "/a.bin", &[]).await;
    assert_eq!(response.header("content-length"), content.len().to_string());
    assert!(response.body == content);
}

#[tokio::test]
async fn an_empty_object_is_a_response_of_length_0() {
    let serve = Serve::new(one_object("").await);
    let response = get(&serve, "/a.txt", &[]).await;
    assert_eq!(
        (response.status, response.header("content-length"), response.text()),
        (StatusCode::OK, "0", "")
    );
    assert_eq!(head(&serve, "/a.txt", &[]).await.headers, response.headers);
}

#[tokio::test]
async fn a_missing_object_or_invalid_key_is_404() {
    let serve = Serve::new(one_object("hello").await);
    for path in [
        "/b.txt",
        "/",
        "/a.txt/",
        "//a.txt",
        "/../a.txt",
        "/%2e%2e/a.txt",
        "/a.txt%00",
        "/A.TXT",
        "/%zz",
        "/%ff",
    ] {
        let response = get(&serve, path, &[]).await;
        assert_eq!(response.status, StatusCode::NOT_FOUND, "{path}");
        assert_eq!(response.header("cache-control"), "no-store");
        assert_eq!(response.header("x-content-type-options"), "nosniff");
    }
}

#[tokio::test]
async fn a_missing_object_is_404_whatever_the_conditions() {
    let serve = Serve::new(Memory::storage());
    for condition in [("if-match", "*"), ("if-none-match", "*"), ("if-match", "\"a\"")] {
        assert_eq!(get(&serve, "/a.txt", &[condition]).await.status, StatusCode::NOT_FOUND);
    }
}

#[tokio::test]
async fn an_unknown_query_is_ignored() {
    let serve = Serve::new(one_object("hello").await);
    let response =
        get(&serve, "/a.txt?v=2&X-Storage-Disposition=inline&X-Storage-Type=text/html", &[]).await;
    assert_eq!(
        (response.status, response.header("content-type")),
        (StatusCode::OK, "text/plain; charset=utf-8")
    );
    assert!(!response.headers.contains_key("content-disposition"));
}

#[tokio::test]
async fn an_encoded_question_mark_belongs_to_the_key() {
    let storage = Memory::storage();
    storage.save("a.mp3?v=1", "odd").await.unwrap();
    storage.save("a.mp3", "plain").await.unwrap();
    let serve = Serve::new(storage);
    assert_eq!(get(&serve, "/a.mp3%3Fv=1", &[]).await.text(), "odd");
    assert_eq!(get(&serve, "/a.mp3?v=1", &[]).await.text(), "plain");
}

#[tokio::test]
async fn head_has_the_status_and_headers_of_get_and_no_body() {
    let storage = Memory::storage();
    let saved = storage.save("a.txt", "hello").await.unwrap();
    let page = Metadata::new().content_type("text/html").user("author", "ada");
    storage.save("page", "<p>").metadata(page).await.unwrap();
    storage.save("packed.txt", gzip(b"hello").await).content_encoding("gzip").await.unwrap();
    storage.save("brotli.txt", "...").content_encoding("br").await.unwrap();
    storage.save("empty", "").await.unwrap();
    let etag = saved.etag.unwrap().to_string();
    let date = httpdate::fmt_http_date(saved.last_modified.unwrap());
    let old = "Sun, 06 Nov 1994 08:49:37 GMT";
    let cases: [(&str, &[(&str, &str)]); 16] = [
        ("/a.txt", &[]),
        ("/page", &[]),
        ("/empty", &[]),
        ("/packed.txt", &[]),
        ("/packed.txt", &[("accept-encoding", "gzip")]),
        ("/packed.txt", &[("if-none-match", "*")]),
        ("/brotli.txt", &[("accept-encoding", "gzip")]),
        ("/brotli.txt", &[("accept-encoding", "gzip"), ("if-match", "\"other\"")]),
        ("/missing", &[]),
        ("/a//b", &[]),
        ("/a.txt", &[("if-none-match", &etag)]),
        ("/a.txt", &[("if-modified-since", &date)]),
        ("/a.txt", &[("if-match", &etag)]),
        ("/a.txt", &[("if-match", "\"other\"")]),
        ("/a.txt", &[("if-unmodified-since", old)]),
        ("/a.txt", &[("if-modified-since", old)]),
    ];
    for serve in [
        Serve::new(storage.clone()),
        Serve::new(storage.clone())
            .encoding_policy(EncodingPolicy::Refuse)
            .user_metadata(true)
            .active_content(ActiveContent::Inline),
        Serve::new(storage.clone()).encoding_policy(EncodingPolicy::AsStored),
        Serve::new(storage.clone()).signing_key(crate::common::signing_key()),
        Serve::new(storage.clone()).redirect(storage_serve::Redirect::Public),
        Serve::new(storage.layer(|inner| {
            storage_core::layers::PublicUrl::new(inner, "https://cdn.example.com/".parse().unwrap())
        }))
        .redirect(storage_serve::Redirect::Public),
    ] {
        for (path, headers) in cases {
            let (get, head) = (get(&serve, path, headers).await, head(&serve, path, headers).await);
            assert_eq!(
                (head.status, &head.headers),
                (get.status, &get.headers),
                "{path} {headers:?}"
            );
            assert_eq!(head.body, "", "{path} {headers:?}");
        }
    }
}

#[tokio::test]
async fn head_ignores_ranges() {
    let serve = Serve::new(one_object("hello").await);
    for range in ["bytes=1-2", "bytes=9-", "bytes=0-0,2-2"] {
        let response = head(&serve, "/a.txt", &[("range", range)]).await;
        assert_eq!(
            (response.status, response.header("content-length")),
            (StatusCode::OK, "5"),
            "{range}"
        );
    }
}

#[tokio::test]
async fn other_methods_are_405_with_the_allowed_methods() {
    let serve = Serve::new(one_object("hello").await);
    for method in
        [Method::POST, Method::DELETE, Method::PATCH, Method::PUT, Method::TRACE, Method::CONNECT]
    {
        let response = send(&serve, request(method.clone(), "/a.txt", &[])).await;
        assert_eq!(response.status, StatusCode::METHOD_NOT_ALLOWED, "{method}");
        assert_eq!(response.header("allow"), "GET, HEAD, OPTIONS");
    }
    let response = send(&serve, request(Method::OPTIONS, "/a.txt", &[])).await;
    assert_eq!(
        (response.status, response.header("allow")),
        (StatusCode::NO_CONTENT, "GET, HEAD, OPTIONS")
    );
}

#[tokio::test]
async fn put_is_an_allowed_method_with_a_signing_key() {
    let serve = Serve::new(one_object("hello").await).signing_key(crate::common::signing_key());
    let response = send(&serve, request(Method::DELETE, "/a.txt", &[])).await;
    assert_eq!(
        (response.status, response.header("allow")),
        (StatusCode::METHOD_NOT_ALLOWED, "GET, HEAD, PUT, OPTIONS")
    );
}

#[tokio::test]
async fn put_is_refused_without_a_signing_key() {
    let storage = one_object("hello").await;
    let response = put(&Serve::new(storage.clone()), "/b.txt", &[], b"new").await;
    assert_eq!(response.status, StatusCode::METHOD_NOT_ALLOWED);
    assert!(!storage.exists("b.txt").await.unwrap());
}

#[tokio::test]
async fn an_uploaded_page_is_downloaded_and_sandboxed() {
    let storage = Memory::storage();
    let metadata = Metadata::new()
        .content_type("text/html")
        .content_disposition("inline; filename=\"a.html\"");
    storage.save("a", "<script>").metadata(metadata).await.unwrap();
    for headers in [&[][..], &[("range", "bytes=0-1")], &[("range", "bytes=0-1,4-5")]] {
        let response = get(&Serve::new(storage.clone()), "/a", headers).await;
        assert_eq!(response.header("content-disposition"), "attachment; filename=\"a.html\"");
        assert_eq!(response.header("content-security-policy"), "default-src 'none'; sandbox");
        assert_eq!(response.header("x-content-type-options"), "nosniff");
    }
    let trusted = get(&Serve::new(storage).active_content(ActiveContent::Inline), "/a", &[]).await;
    assert_eq!(trusted.header("content-disposition"), "inline; filename=\"a.html\"");
    assert_eq!(trusted.header("content-security-policy"), "");
}

#[tokio::test]
async fn an_object_with_invalid_metadata_is_sent_without_those_headers() {
    let storage = scripted([Version::new("hello", |meta| {
        meta.metadata.content_type = Some("text/plain\r\nset-cookie: a=b".to_owned());
        meta.metadata.content_disposition = Some("inline\0".to_owned());
        meta.metadata.user_metadata.insert("a b".to_owned(), "c".to_owned());
        meta.metadata.user_metadata.insert("name".to_owned(), "c\r\nd".to_owned());
        meta.last_modified =
            std::time::SystemTime::UNIX_EPOCH.checked_sub(std::time::Duration::from_secs(86_400));
        meta.metadata.expires =
            Some(std::time::SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(1 << 40));
        meta.etag = Some(ETag::strong("é").unwrap());
    })]);
    let serve = Serve::new(storage).user_metadata(true);
    let response = get(&serve, "/a.txt", &[]).await;
    assert_eq!((response.status, response.text()), (StatusCode::OK, "hello"));
    assert_eq!(response.header("content-type"), "application/octet-stream");
    for absent in
        ["set-cookie", "content-disposition", "last-modified", "expires", "x-storage-meta-a b"]
    {
        assert!(!response.headers.contains_key(absent), "{absent}");
    }
    assert_eq!(response.header("x-storage-meta-name"), "c%0D%0Ad");
    assert_eq!(head(&serve, "/a.txt", &[]).await.headers, response.headers);
}

#[tokio::test]
async fn a_file_from_before_1970_is_served() {
    let root = TempDir::new().unwrap();
    std::fs::write(root.path().join("a.txt"), "hello").unwrap();
    let file = std::fs::File::options().write(true).open(root.path().join("a.txt")).unwrap();
    file.set_modified(
        std::time::SystemTime::UNIX_EPOCH - std::time::Duration::from_secs(1_000_000),
    )
    .unwrap();
    let serve = Serve::new(storage_core::Storage::new(
        storage_fs::Fs::builder(root.path()).build().unwrap(),
    ));
    let response = get(&serve, "/a.txt", &[]).await;
    assert_eq!(
        (response.status, response.text(), response.header("last-modified")),
        (StatusCode::OK, "hello", "")
    );
}

#[tokio::test]
async fn the_default_cache_control_applies_to_objects_without_one() {
    let storage = one_object("hello").await;
    storage.save("b.txt", "hello").cache_control("no-cache").await.unwrap();
    let serve = Serve::new(storage).cache_control("max-age=60".parse().unwrap());
    assert_eq!(get(&serve, "/a.txt", &[]).await.header("cache-control"), "max-age=60");
    assert_eq!(get(&serve, "/b.txt", &[]).await.header("cache-control"), "no-cache");
    assert_eq!(get(&serve, "/missing", &[]).await.header("cache-control"), "no-store");
}
