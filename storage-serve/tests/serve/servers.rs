//! The service in axum, and in hyper alone (which the tests on the wire use too).

use axum::Router;
use http::Method;
use http_body_util::BodyExt;
use storage_core::Memory;
use storage_serve::Serve;
use tower_service::Service;

use crate::common::server::{Raw, Server, listener};
use crate::common::{gzip, link, one_object, put, request, signing_key};

async fn router() -> Router {
    let storage = one_object("0123456789").await;
    storage.save("packed", gzip(b"hello").await).content_encoding("gzip").await.unwrap();
    Router::new().nest_service("/media", Serve::new(storage))
}

#[tokio::test]
async fn a_service_nested_in_axum_responds_as_it_does_alone() {
    let alone = Serve::new(one_object("0123456789").await);
    let mut router = router().await;
    for headers in [
        &[][..],
        &[("range", "bytes=2-3")],
        &[("range", "bytes=0-0,5-5")],
        &[("if-none-match", "*")],
    ] {
        for method in [Method::GET, Method::HEAD] {
            let nested =
                router.call(request(method.clone(), "/media/a.txt", headers)).await.unwrap();
            let direct = alone.handle(request(method.clone(), "/a.txt", headers)).await;
            assert_eq!(nested.status(), direct.status());
            let names = |headers: &http::HeaderMap| {
                let mut names: Vec<_> = headers.keys().map(ToString::to_string).collect();
                names.sort_unstable();
                names
            };
            assert_eq!(names(nested.headers()), names(direct.headers()), "{method} {headers:?}");
            assert_eq!(
                nested.headers().get("content-length"),
                direct.headers().get("content-length")
            );
            let length = nested.into_body().collect().await.unwrap().to_bytes().len();
            assert_eq!(
                length,
                direct.into_body().collect().await.unwrap().to_bytes().len(),
                "{method} {headers:?}"
            );
        }
    }
}

/// Starts a server that ends with the runtime of the test.
async fn axum_server() -> Server {
    let (listener, _) = listener().await;
    let router = router().await;
    let address = listener.local_addr().unwrap();
    let accepting = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    Server { address, accepting }
}

#[tokio::test]
async fn axum_adds_no_content_length() {
    let server = axum_server().await;
    let responses: [Raw; 4] = [
        server.request("HEAD", "/media/packed", "").await,
        server.request("GET", "/media/a.txt", "if-none-match: *\r\n").await,
        server.request("HEAD", "/media/a.txt", "if-none-match: *\r\n").await,
        server.request("OPTIONS", "/media/a.txt", "").await,
    ];
    for response in responses {
        assert_eq!(response.header("content-length"), None, "{response:?}");
    }
    assert_eq!(
        server.request("HEAD", "/media/a.txt", "").await.header("content-length"),
        Some("10")
    );
    assert_eq!(server.request("GET", "/media/a.txt", "range: bytes=8-\r\n").await.body, "89");
}

#[tokio::test]
async fn a_link_works_in_a_nested_router_that_strips_the_path() {
    let storage = Memory::storage();
    let mut router = Router::new()
        .nest_service("/media", Serve::new(storage.clone()).signing_key(signing_key()));
    let link = link("a.txt", |options| options.method = storage_core::UrlMethod::Put);
    let response = router.call(request(Method::PUT, &format!("/media{link}"), &[])).await.unwrap();
    assert_eq!(response.status(), http::StatusCode::CREATED);
    assert!(storage.exists("a.txt").await.unwrap());
    // As without a router.
    assert_eq!(
        put(&Serve::new(storage).signing_key(signing_key()), &link, &[], b"x").await.status,
        201
    );
}

#[tokio::test]
async fn the_service_runs_on_hyper_alone() {
    let server = Server::start(Serve::new(one_object("0123456789").await)).await;
    let response = server.request("GET", "/a.txt", "").await;
    assert_eq!((response.status.as_str(), response.body.as_str()), ("200 OK", "0123456789"));
}

#[test]
fn the_service_can_be_shared_and_sent() {
    fn is<T: Send + Sync + Clone + 'static>() {}
    fn is_sent<T: Send + 'static>() {}
    is::<Serve>();
    is_sent::<storage_serve::ResponseBody>();
}
