//! Pages of other origins.

use http::{HeaderName, Request, StatusCode};
use http_body_util::Empty;
use storage_core::{Memory, Storage};
use storage_serve::{Cors, Serve};

use crate::common::{TestResponse, one_object, send, signing_key};

const PAGE: (&str, &str) = ("origin", "https://www.example.com");
const OTHER: (&str, &str) = ("origin", "https://evil.example");

fn listed() -> Cors {
    Cors::origins(["https://www.example.com", "http://localhost:5173"]).unwrap()
}

async fn request(serve: &Serve, method: &str, uri: &str, headers: &[(&str, &str)]) -> TestResponse {
    let request = Request::builder().method(method).uri(uri);
    let request = headers.iter().fold(request, |it, (name, value)| it.header(*name, *value));
    send(serve, request.body(Empty::<bytes::Bytes>::new()).unwrap()).await
}

async fn preflight(serve: &Serve, origin: (&str, &str)) -> TestResponse {
    let headers = [origin, ("access-control-request-method", "GET")];
    request(serve, "OPTIONS", "/a.txt", &headers).await
}

fn cors_headers(response: &TestResponse) -> Vec<&str> {
    let names = response.headers.keys().map(HeaderName::as_str);
    names.filter(|name| name.starts_with("access-control-")).collect()
}

async fn storage() -> Storage {
    one_object("hello").await
}

#[tokio::test]
async fn a_service_without_cors_sends_none_of_its_headers() {
    let serve = Serve::new(storage().await);
    let response = request(&serve, "GET", "/a.txt", &[PAGE]).await;
    assert_eq!(response.status, StatusCode::OK);
    assert!(cors_headers(&response).is_empty() && !response.headers.contains_key("vary"));
    let response = preflight(&serve, PAGE).await;
    assert!(cors_headers(&response).is_empty(), "{response:?}");
    assert_eq!(response.header("allow"), "GET, HEAD, OPTIONS");
}

#[tokio::test]
async fn a_page_of_a_listed_origin_reads_an_object_and_its_headers() {
    let serve = Serve::new(storage().await).cors(listed());
    let response = request(&serve, "GET", "/a.txt", &[PAGE, ("range", "bytes=1-2")]).await;
    assert_eq!((response.status, response.text()), (StatusCode::PARTIAL_CONTENT, "el"));
    assert_eq!(response.header("access-control-allow-origin"), PAGE.1);
    assert_eq!(response.header("access-control-allow-credentials"), "");
    let exposed = response.header("access-control-expose-headers");
    for name in ["etag", "content-range", "accept-ranges", "content-length", "content-disposition"]
    {
        assert!(exposed.split(", ").any(|exposed| exposed == name), "{name}: {exposed}");
    }
}

#[tokio::test]
async fn a_preflight_of_a_listed_origin_gets_the_methods_and_the_headers() {
    let serve = Serve::new(storage().await).cors(listed());
    let response = preflight(&serve, PAGE).await;
    assert_eq!(response.status, StatusCode::NO_CONTENT);
    assert_eq!(response.header("access-control-allow-origin"), PAGE.1);
    assert_eq!(response.header("access-control-allow-methods"), "GET, HEAD, OPTIONS");
    assert_eq!(response.header("access-control-max-age"), "7200");
    let allowed = response.header("access-control-allow-headers");
    for name in ["range", "if-range", "authorization", "if-none-match"] {
        assert!(allowed.split(", ").any(|allowed| allowed == name), "{name}: {allowed}");
    }
    let serve = serve.signing_key(signing_key());
    let response = preflight(&serve, PAGE).await;
    assert_eq!(response.header("access-control-allow-methods"), "GET, HEAD, PUT, OPTIONS");
}

#[tokio::test]
async fn a_page_of_another_origin_gets_no_permission() {
    let serve = Serve::new(storage().await).cors(listed().credentials().unwrap());
    let others = [
        OTHER,
        ("origin", "null"),
        ("origin", "https://www.example.com.evil.example"),
        ("origin", "http://www.example.com"),
        ("origin", "https://www.example.com:8443"),
        ("origin", "*"),
        ("origin", ""),
    ];
    for other in others {
        for response in
            [request(&serve, "GET", "/a.txt", &[other]).await, preflight(&serve, other).await]
        {
            assert!(response.status.is_success());
            assert!(cors_headers(&response).is_empty(), "{other:?}: {response:?}");
            assert_eq!(response.header("vary"), "origin");
        }
    }
}

#[tokio::test]
async fn every_response_to_a_listed_origin_has_the_headers() {
    let serve = Serve::new(storage().await).cors(listed());
    let etag = request(&serve, "GET", "/a.txt", &[]).await.header("etag").to_owned();
    let cases = [
        ("GET", "/missing", vec![PAGE], StatusCode::NOT_FOUND),
        ("DELETE", "/a.txt", vec![PAGE], StatusCode::METHOD_NOT_ALLOWED),
        ("GET", "/a.txt", vec![PAGE, ("if-none-match", &*etag)], StatusCode::NOT_MODIFIED),
        ("GET", "/a.txt", vec![PAGE, ("if-match", "\"x\"")], StatusCode::PRECONDITION_FAILED),
        ("GET", "/a.txt", vec![PAGE, ("range", "bytes=9-")], StatusCode::RANGE_NOT_SATISFIABLE),
        ("GET", "/a.txt", vec![PAGE, ("host", "a"), ("host", "b")], StatusCode::BAD_REQUEST),
    ];
    for (method, uri, headers, status) in cases {
        let response = request(&serve, method, uri, &headers).await;
        assert_eq!(response.status, status);
        assert_eq!(response.header("access-control-allow-origin"), PAGE.1, "{status}");
        assert_eq!(response.header("vary"), "origin", "{status}");
    }
    let signed = serve.signing_key(signing_key());
    let response = request(&signed, "GET", "/a.txt", &[PAGE]).await;
    assert_eq!(response.status, StatusCode::FORBIDDEN);
    assert_eq!(response.header("access-control-allow-origin"), PAGE.1);
}

#[tokio::test]
async fn a_response_that_depends_on_the_origin_and_the_encoding_says_both() {
    let storage = Memory::storage();
    let save = storage.save("a.txt", "hello").content_encoding("identity, x-unknown");
    save.await.unwrap();
    let serve = Serve::new(storage).cors(listed());
    let response = request(&serve, "HEAD", "/a.txt", &[]).await;
    let vary: Vec<_> = response.headers.get_all("vary").iter().collect();
    assert_eq!(vary, ["accept-encoding", "origin"]);
    assert!(cors_headers(&response).is_empty());
}

#[tokio::test]
async fn a_service_for_every_origin_sends_one_response_to_all() {
    let serve = Serve::new(storage().await).cors(Cors::any_origin());
    for headers in [&[][..], &[OTHER], &[PAGE]] {
        let response = request(&serve, "GET", "/a.txt", headers).await;
        assert_eq!(response.header("access-control-allow-origin"), "*");
        assert_eq!(response.header("access-control-allow-credentials"), "");
        assert!(!response.headers.contains_key("vary"));
    }
}

#[tokio::test]
async fn credentials_and_further_headers_are_allowed_if_the_application_says_so() {
    let cors = listed()
        .credentials()
        .unwrap()
        .request_headers([HeaderName::from_static("x-tenant")])
        .exposed_headers([HeaderName::from_static("x-storage-meta-owner")])
        .max_age(std::time::Duration::from_secs(60));
    let serve = Serve::new(storage().await).cors(cors);
    let response = preflight(&serve, PAGE).await;
    assert_eq!(response.header("access-control-allow-credentials"), "true");
    assert_eq!(response.header("access-control-max-age"), "60");
    assert!(response.header("access-control-allow-headers").ends_with(", x-tenant"));
    let response = request(&serve, "GET", "/a.txt", &[PAGE]).await;
    assert_eq!(response.header("access-control-allow-credentials"), "true");
    assert!(response.header("access-control-expose-headers").ends_with(", x-storage-meta-owner"));
}

#[tokio::test]
async fn a_preflight_with_an_ambiguous_length_is_rejected() {
    let serve = Serve::new(storage().await).cors(listed());
    let headers =
        [PAGE, ("access-control-request-method", "GET"), ("transfer-encoding", "chunked")];
    let response = request(&serve, "OPTIONS", "/a.txt", &headers).await;
    assert_eq!(response.status, StatusCode::BAD_REQUEST);
    assert_eq!(response.header("connection"), "close");
}
