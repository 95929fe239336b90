//! Pages of other origins.

use reqwest::{Method, Response};
use serde_json::json;
use storage_core::Memory;

use crate::common::{Mirror, PATIENCE, TOKEN, config};

const PAGE: &str = "https://www.example.com";

async fn request(mirror: &Mirror, method: Method, path: &str, origin: &str) -> Response {
    let request = mirror.client.request(method, format!("{}{path}", mirror.url));
    let request = request.header("access-control-request-method", "GET").bearer_auth(TOKEN);
    request.header("origin", origin).timeout(PATIENCE).send().await.unwrap()
}

fn header<'a>(response: &'a Response, name: &str) -> &'a str {
    response.headers().get(name).map_or("", |value| value.to_str().unwrap())
}

async fn mirror(origins: serde_json::Value) -> Mirror {
    let origin = Memory::storage();
    origin.save("a.woff2", "hello").await.unwrap();
    Mirror::of(origin, json!({ "cors_origins": origins }))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listed_page_reads_objects_and_errors_and_their_headers() {
    let mirror = mirror(json!([PAGE])).await;
    for (path, status) in [
        ("/a.woff2", 200),
        ("/a.woff2", 200),
        ("/missing", 404),
        ("/verify/a.woff2", 200),
        ("/..", 404),
    ] {
        let response = request(&mirror, Method::GET, path, PAGE).await;
        assert_eq!(header(&response, "access-control-allow-origin"), PAGE, "{path}");
        let exposed = header(&response, "access-control-expose-headers");
        assert!(exposed.contains("cache-status") && exposed.contains("content-range"), "{exposed}");
        let vary = response.headers().get_all("vary");
        assert!(vary.iter().any(|value| value == "origin"), "{path}");
        assert_eq!(response.status().as_u16(), status, "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_preflight_gets_its_response_without_a_request_to_origin() {
    let mirror = mirror(json!([PAGE])).await;
    let response = request(&mirror, Method::OPTIONS, "/a.woff2", PAGE).await;
    assert_eq!(response.status().as_u16(), 204);
    assert_eq!(header(&response, "access-control-allow-methods"), "GET, HEAD, OPTIONS");
    assert!(header(&response, "access-control-allow-headers").contains("range"));
    assert_eq!(mirror.figure("origin_requests_total").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn other_pages_and_the_admin_routes_get_no_permission() {
    let mirror = mirror(json!([PAGE])).await;
    let cases = [
        (Method::GET, "/a.woff2", "https://evil.example"),
        (Method::OPTIONS, "/a.woff2", "https://evil.example"),
        (Method::GET, "/status", PAGE),
        (Method::OPTIONS, "/purge/a.woff2", PAGE),
        (Method::POST, "/purge/a.woff2", PAGE),
        (Method::GET, "/metrics", PAGE),
    ];
    for (method, path, origin) in cases {
        let response = request(&mirror, method, path, origin).await;
        let headers = response.headers().keys();
        let mut allowed = headers.filter(|name| name.as_str().starts_with("access-control-"));
        assert_eq!(allowed.next(), None, "{path} {origin}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mirror_for_every_page_sends_one_response_to_all() {
    let mirror = mirror(json!(["*"])).await;
    let response = mirror.get("/a.woff2").send().await.unwrap();
    assert_eq!(header(&response, "access-control-allow-origin"), "*");
    assert!(!response.headers().get_all("vary").iter().any(|value| value == "origin"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reload_changes_the_origins() {
    let cache = tempfile::TempDir::new().unwrap();
    let mirror = Mirror::at(cache.path(), Memory::storage(), json!({}));
    let response = request(&mirror, Method::GET, "/a", PAGE).await;
    assert_eq!(header(&response, "access-control-allow-origin"), "");
    mirror.handle.reload(config(cache.path(), json!({ "cors_origins": [PAGE] }))).unwrap();
    let response = request(&mirror, Method::GET, "/a", PAGE).await;
    assert_eq!(header(&response, "access-control-allow-origin"), PAGE);
}
