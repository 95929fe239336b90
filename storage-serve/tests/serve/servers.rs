//! The servers it is used with: axum, and hyper alone (which the tests on the wire use as well).

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
async fn below_a_path_of_axum_it_answers_as_it_does_alone() {
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

/// A server that ends with the test's runtime.
async fn axum_server() -> Server {
    let (listener, _) = listener().await;
    let router = router().await;
    let address = listener.local_addr().unwrap();
    let accepting = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    Server { address, accepting }
}

#[tokio::test]
async fn axum_adds_no_length_where_there_is_none() {
    let server = axum_server().await;
    let answers: [Raw; 4] = [
        server.ask("HEAD", "/media/packed", "").await,
        server.ask("GET", "/media/a.txt", "if-none-match: *\r\n").await,
        server.ask("HEAD", "/media/a.txt", "if-none-match: *\r\n").await,
        server.ask("OPTIONS", "/media/a.txt", "").await,
    ];
    for answer in answers {
        assert_eq!(answer.header("content-length"), None, "{answer:?}");
    }
    assert_eq!(server.ask("HEAD", "/media/a.txt", "").await.header("content-length"), Some("10"));
    assert_eq!(server.ask("GET", "/media/a.txt", "range: bytes=8-\r\n").await.body, "89");
}

#[tokio::test]
async fn a_link_works_below_a_path_that_the_router_takes_away() {
    let storage = Memory::storage();
    let mut router = Router::new()
        .nest_service("/media", Serve::new(storage.clone()).signing_key(signing_key()));
    let link = link("a.txt", |options| options.method = storage_core::UrlMethod::Put);
    let answer = router.call(request(Method::PUT, &format!("/media{link}"), &[])).await.unwrap();
    assert_eq!(answer.status(), http::StatusCode::CREATED);
    assert!(storage.exists("a.txt").await.unwrap());
    // As it does without a router.
    assert_eq!(
        put(&Serve::new(storage).signing_key(signing_key()), &link, &[], b"x").await.status,
        201
    );
}

#[tokio::test]
async fn hyper_alone_needs_nothing_else() {
    let server = Server::start(Serve::new(one_object("0123456789").await)).await;
    let answer = server.ask("GET", "/a.txt", "").await;
    assert_eq!((answer.status.as_str(), answer.body.as_str()), ("200 OK", "0123456789"));
}

#[test]
fn it_can_be_shared_and_sent() {
    fn is<T: Send + Sync + Clone + 'static>() {}
    fn is_sent<T: Send + 'static>() {}
    is::<Serve>();
    is_sent::<storage_serve::ResponseBody>();
}
