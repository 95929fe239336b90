//! What one storage serves, the driver reads as another.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use storage_core::{ErrorKind, Memory, Storage};
use storage_http::{Http, Serve};
use tokio::net::TcpListener;

/// A storage, and the same by way of HTTP.
async fn both() -> (Storage, Storage) {
    let origin = Memory::storage();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap()).parse().unwrap();
    let serve = Serve::new(origin.clone()).user_metadata(true);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let service = TowerToHyperService::new(serve.clone());
            tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
        }
    });
    (origin, Storage::new(Http::builder(url).build().unwrap()))
}

#[tokio::test]
async fn an_object_arrives_with_its_metadata() {
    let (origin, http) = both().await;
    let saved = origin.save("ä/a b%.txt", "0123456789").content_type("text/plain").cache_control("max-age=60");
    let saved = saved.content_language("de").user_metadata("author", "Ada Löveläce").await.unwrap();
    for meta in [http.stat("ä/a b%.txt").await.unwrap(), http.open("ä/a b%.txt").await.unwrap().meta().clone()] {
        assert_eq!((meta.size, &meta.etag, &meta.metadata), (10, &saved.etag, &saved.metadata));
    }
    assert_eq!(http.open("ä/a b%.txt").range(2..4).await.unwrap().text().await.unwrap(), "23");
    assert_eq!(http.open("nope").await.unwrap_err().kind(), ErrorKind::NotFound);
}

#[tokio::test]
async fn an_encoded_object_arrives_as_it_is_stored() {
    let (origin, http) = both().await;
    // Whoever decoded it would find that it is no gzip.
    origin.save("a.txt.gz", "0123456789").content_type("text/plain").content_encoding("gzip").await.unwrap();
    let object = http.open("a.txt.gz").await.unwrap();
    assert_eq!(object.meta().metadata.content_encoding.as_deref(), Some("gzip"));
    assert_eq!(object.text().await.unwrap(), "0123456789");
    assert_eq!(http.open("a.txt.gz").range(2..4).await.unwrap().text().await.unwrap(), "23");
}
