//! What a GET or HEAD is answered: the object, its headers, its absence.

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
    let answer = get(&Serve::new(storage), "/a%20b/%C3%A9.txt", &[]).await;
    assert_eq!((answer.status, answer.text()), (StatusCode::OK, "hello"));
    assert_eq!(answer.header("content-length"), "5");
    assert_eq!(answer.header("content-type"), "text/plain; charset=utf-8");
    assert_eq!(answer.header("cache-control"), "max-age=9");
    assert_eq!(answer.header("content-language"), "de");
    assert_eq!(answer.header("accept-ranges"), "bytes");
    assert_eq!(answer.header("x-content-type-options"), "nosniff");
    assert_eq!(answer.header("etag"), saved.etag.unwrap().to_string());
    assert_eq!(
        answer.header("last-modified"),
        httpdate::fmt_http_date(saved.last_modified.unwrap())
    );
}

#[tokio::test]
async fn a_file_on_disk_is_sent_whole_however_large() {
    let root = TempDir::new().unwrap();
    let storage = storage_core::Storage::new(storage_fs::Fs::builder(root.path()).build().unwrap());
    let content = bytes(3 * 1024 * 1024 + 17);
    storage.save("a.bin", content.clone()).await.unwrap();
    let answer = get(&Serve::new(storage), "/a.bin", &[]).await;
    assert_eq!(answer.header("content-length"), content.len().to_string());
    assert!(answer.body == content);
}

#[tokio::test]
async fn an_empty_object_is_an_answer_of_length_0() {
    let serve = Serve::new(one_object("").await);
    let answer = get(&serve, "/a.txt", &[]).await;
    assert_eq!(
        (answer.status, answer.header("content-length"), answer.text()),
        (StatusCode::OK, "0", "")
    );
    assert_eq!(head(&serve, "/a.txt", &[]).await.headers, answer.headers);
}

#[tokio::test]
async fn what_is_not_there_or_cannot_be_is_not_found() {
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
        let answer = get(&serve, path, &[]).await;
        assert_eq!(answer.status, StatusCode::NOT_FOUND, "{path}");
        assert_eq!(answer.header("cache-control"), "no-store");
        assert_eq!(answer.header("x-content-type-options"), "nosniff");
    }
}

#[tokio::test]
async fn conditions_do_not_make_an_object() {
    let serve = Serve::new(Memory::storage());
    for condition in [("if-match", "*"), ("if-none-match", "*"), ("if-match", "\"a\"")] {
        assert_eq!(get(&serve, "/a.txt", &[condition]).await.status, StatusCode::NOT_FOUND);
    }
}

#[tokio::test]
async fn a_query_of_others_changes_nothing() {
    let serve = Serve::new(one_object("hello").await);
    let answer =
        get(&serve, "/a.txt?v=2&X-Storage-Disposition=inline&X-Storage-Type=text/html", &[]).await;
    assert_eq!(
        (answer.status, answer.header("content-type")),
        (StatusCode::OK, "text/plain; charset=utf-8")
    );
    assert!(!answer.headers.contains_key("content-disposition"));
}

#[tokio::test]
async fn a_name_with_a_question_mark_is_another_object() {
    let storage = Memory::storage();
    storage.save("a.mp3?v=1", "odd").await.unwrap();
    storage.save("a.mp3", "plain").await.unwrap();
    let serve = Serve::new(storage);
    assert_eq!(get(&serve, "/a.mp3%3Fv=1", &[]).await.text(), "odd");
    assert_eq!(get(&serve, "/a.mp3?v=1", &[]).await.text(), "plain");
}

#[tokio::test]
async fn head_is_get_without_the_body_in_every_case() {
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
async fn head_knows_no_ranges() {
    let serve = Serve::new(one_object("hello").await);
    for range in ["bytes=1-2", "bytes=9-", "bytes=0-0,2-2"] {
        let answer = head(&serve, "/a.txt", &[("range", range)]).await;
        assert_eq!(
            (answer.status, answer.header("content-length")),
            (StatusCode::OK, "5"),
            "{range}"
        );
    }
}

#[tokio::test]
async fn other_methods_are_refused_with_those_that_would_do() {
    let serve = Serve::new(one_object("hello").await);
    for method in
        [Method::POST, Method::DELETE, Method::PATCH, Method::PUT, Method::TRACE, Method::CONNECT]
    {
        let answer = send(&serve, request(method.clone(), "/a.txt", &[])).await;
        assert_eq!(answer.status, StatusCode::METHOD_NOT_ALLOWED, "{method}");
        assert_eq!(answer.header("allow"), "GET, HEAD, OPTIONS");
    }
    let answer = send(&serve, request(Method::OPTIONS, "/a.txt", &[])).await;
    assert_eq!(
        (answer.status, answer.header("allow")),
        (StatusCode::NO_CONTENT, "GET, HEAD, OPTIONS")
    );
}

#[tokio::test]
async fn with_a_signing_key_uploads_are_among_the_methods() {
    let serve = Serve::new(one_object("hello").await).signing_key(crate::common::signing_key());
    let answer = send(&serve, request(Method::DELETE, "/a.txt", &[])).await;
    assert_eq!(
        (answer.status, answer.header("allow")),
        (StatusCode::METHOD_NOT_ALLOWED, "GET, HEAD, PUT, OPTIONS")
    );
}

#[tokio::test]
async fn without_a_signing_key_nothing_is_uploaded() {
    let storage = one_object("hello").await;
    let answer = put(&Serve::new(storage.clone()), "/b.txt", &[], b"new").await;
    assert_eq!(answer.status, StatusCode::METHOD_NOT_ALLOWED);
    assert!(!storage.exists("b.txt").await.unwrap());
}

#[tokio::test]
async fn a_page_that_a_user_uploaded_is_downloaded_and_powerless() {
    let storage = Memory::storage();
    let metadata = Metadata::new()
        .content_type("text/html")
        .content_disposition("inline; filename=\"a.html\"");
    storage.save("a", "<script>").metadata(metadata).await.unwrap();
    for headers in [&[][..], &[("range", "bytes=0-1")], &[("range", "bytes=0-1,4-5")]] {
        let answer = get(&Serve::new(storage.clone()), "/a", headers).await;
        assert_eq!(answer.header("content-disposition"), "attachment; filename=\"a.html\"");
        assert_eq!(answer.header("content-security-policy"), "default-src 'none'; sandbox");
        assert_eq!(answer.header("x-content-type-options"), "nosniff");
    }
    let trusted = get(&Serve::new(storage).active_content(ActiveContent::Inline), "/a", &[]).await;
    assert_eq!(trusted.header("content-disposition"), "inline; filename=\"a.html\"");
    assert_eq!(trusted.header("content-security-policy"), "");
}

#[tokio::test]
async fn headers_that_cannot_be_sent_do_not_keep_an_object_from_being_sent() {
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
    let answer = get(&serve, "/a.txt", &[]).await;
    assert_eq!((answer.status, answer.text()), (StatusCode::OK, "hello"));
    assert_eq!(answer.header("content-type"), "application/octet-stream");
    for absent in
        ["set-cookie", "content-disposition", "last-modified", "expires", "x-storage-meta-a b"]
    {
        assert!(!answer.headers.contains_key(absent), "{absent}");
    }
    assert_eq!(answer.header("x-storage-meta-name"), "c%0D%0Ad");
    assert_eq!(head(&serve, "/a.txt", &[]).await.headers, answer.headers);
}

#[tokio::test]
async fn a_file_that_is_older_than_http_is_served() {
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
    let answer = get(&serve, "/a.txt", &[]).await;
    assert_eq!(
        (answer.status, answer.text(), answer.header("last-modified")),
        (StatusCode::OK, "hello", "")
    );
}

#[tokio::test]
async fn the_servers_own_cache_control_is_for_objects_that_say_nothing() {
    let storage = one_object("hello").await;
    storage.save("b.txt", "hello").cache_control("no-cache").await.unwrap();
    let serve = Serve::new(storage).cache_control("max-age=60".parse().unwrap());
    assert_eq!(get(&serve, "/a.txt", &[]).await.header("cache-control"), "max-age=60");
    assert_eq!(get(&serve, "/b.txt", &[]).await.header("cache-control"), "no-cache");
    assert_eq!(get(&serve, "/missing", &[]).await.header("cache-control"), "no-store");
}
