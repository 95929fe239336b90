//! Pages of other origins.

use http::{Method, Request, StatusCode};
use http_body_util::Empty;
use storage_core::Memory;
use storage_serve::Cors;
use storage_serve::uploads::Uploads;

use crate::client::{Reply, begin, call, service};

const PAGE: (&str, &str) = ("origin", "https://www.example.com");
const OTHER: (&str, &str) = ("origin", "https://evil.example");

fn open() -> Uploads {
    service(&Memory::storage()).cors(Cors::origins([PAGE.1]).unwrap().credentials().unwrap())
}

async fn preflight(uploads: &Uploads, (name, origin): (&str, &str)) -> Reply {
    let request = Request::options("/uploads")
        .header(name, origin)
        .header("access-control-request-method", "PATCH")
        .header("access-control-request-headers", "tus-resumable,upload-offset");
    let request = request.body(Empty::<bytes::Bytes>::new()).unwrap();
    let (head, _) = uploads.handle(request).await.into_parts();
    Reply { status: head.status, headers: head.headers, text: String::new() }
}

fn contains(list: &str, names: &[&str]) {
    for name in names {
        assert!(list.split(", ").any(|listed| listed == *name), "{name} is not in {list}");
    }
}

#[tokio::test]
async fn a_preflight_allows_the_methods_and_the_headers_of_all_protocols() {
    let reply = preflight(&open(), PAGE).await;
    assert_eq!(reply.status, StatusCode::NO_CONTENT);
    assert_eq!(reply.header("access-control-allow-origin"), PAGE.1);
    assert_eq!(reply.header("access-control-allow-credentials"), "true");
    let methods = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"];
    contains(reply.header("access-control-allow-methods"), &methods);
    let headers = [
        "authorization",
        "content-type",
        "tus-resumable",
        "upload-checksum",
        "upload-complete",
        "upload-concat",
        "upload-defer-length",
        "upload-draft-interop-version",
        "upload-length",
        "upload-metadata",
        "upload-offset",
        "x-http-method-override",
        "x-requested-with",
    ];
    contains(reply.header("access-control-allow-headers"), &headers);
}

#[tokio::test]
async fn a_page_can_read_the_headers_that_its_client_needs() {
    let uploads = open();
    let headers = [PAGE, ("upload-length", "3")];
    let reply = call(&uploads, Method::POST, "/uploads", &headers, b"").await;
    assert_eq!(reply.status, StatusCode::CREATED);
    assert_eq!(
        (reply.header("access-control-allow-origin"), reply.header("vary")),
        (PAGE.1, "origin")
    );
    let exposed = reply.header("access-control-expose-headers");
    // Every header of the responses of tus, whichever request is sent.
    let options = call(&uploads, Method::OPTIONS, "/uploads", &[PAGE], b"").await;
    let head = call(&uploads, Method::HEAD, reply.header("location"), &[PAGE], b"").await;
    for headers in [&reply.headers, &options.headers, &head.headers] {
        let names = headers.keys().map(http::HeaderName::as_str);
        let names = names.filter(|name| {
            // Readable without permission, or none of the protocol.
            !["cache-control", "content-length", "vary"].contains(name)
                && !name.starts_with("access-control-")
        });
        contains(exposed, &names.collect::<Vec<_>>());
    }
    let others = ["etag", "upload-complete", "upload-limit", "upload-concat", "tus-max-size"];
    contains(exposed, &others);
}

#[tokio::test]
async fn errors_have_the_headers_too() {
    let uploads = open();
    let url = begin(&uploads, 3).await;
    let cases = [
        (Method::POST, "/uploads", StatusCode::BAD_REQUEST),
        (Method::HEAD, "/uploads/forged", StatusCode::NOT_FOUND),
        (Method::PUT, &*url, StatusCode::METHOD_NOT_ALLOWED),
        (Method::PATCH, &*url, StatusCode::UNSUPPORTED_MEDIA_TYPE),
    ];
    for (method, uri, status) in cases {
        let reply = call(&uploads, method, uri, &[PAGE], b"").await;
        assert_eq!(reply.status, status);
        assert_eq!(reply.header("access-control-allow-origin"), PAGE.1, "{status}");
        assert!(reply.header("access-control-expose-headers").contains("upload-offset"));
    }
}

#[tokio::test]
async fn a_page_of_another_origin_gets_no_permission() {
    let uploads = open();
    let replies = [
        preflight(&uploads, OTHER).await,
        call(&uploads, Method::POST, "/uploads", &[OTHER, ("upload-length", "3")], b"").await,
    ];
    for reply in replies {
        let mut names = reply.headers.keys().map(http::HeaderName::as_str);
        assert!(!names.any(|name| name.starts_with("access-control-")), "{reply:?}");
        assert_eq!(reply.header("vary"), "origin");
    }
}

#[tokio::test]
async fn a_service_without_cors_sends_none_of_its_headers() {
    let uploads = service(&Memory::storage());
    for reply in [
        preflight(&uploads, PAGE).await,
        call(&uploads, Method::POST, "/uploads", &[PAGE, ("upload-length", "3")], b"").await,
    ] {
        let mut names = reply.headers.keys().map(http::HeaderName::as_str);
        assert!(!names.any(|name| name.starts_with("access-control-") || name == "vary"));
    }
}
