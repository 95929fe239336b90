//! The same cases for each framework, on a disk and in S3, by requests to a server.

#![allow(clippy::unwrap_used, reason = "a test that meets an unforeseen error has failed")]

mod cases;
#[path = "../../avatars/tests/s3_server/mod.rs"]
mod s3_server;
mod storages;

use anystorage::Storage;
use tokio::net::TcpListener;

use cases::Uploads;

/// Declares the tests of a framework. `start` runs its application and returns the address.
macro_rules! tests {
    ($framework:ident, $uploads:expr, $start:path) => {
        mod $framework {
            use super::*;

            #[tokio::test]
            async fn a_signed_link_sends_an_object_on_a_disk() {
                let storage = storages::disk();
                cases::a_signed_link_sends_an_object($start, storage.0).await;
            }

            #[tokio::test]
            async fn a_signed_link_sends_an_object_in_s3() {
                let storage = storages::s3().await;
                cases::a_signed_link_sends_an_object($start, storage.0).await;
            }

            #[tokio::test]
            async fn an_uploaded_file_on_a_disk_is_sent_by_the_handler() {
                let storage = storages::disk();
                cases::an_uploaded_file_is_sent($start, storage.0, $uploads).await;
            }

            #[tokio::test]
            async fn an_uploaded_file_in_s3_is_sent_by_the_handler() {
                let storage = storages::s3().await;
                cases::an_uploaded_file_is_sent($start, storage.0, $uploads).await;
            }

            #[tokio::test]
            async fn a_file_above_its_limit_is_refused_and_leaves_nothing() {
                let storage = storages::disk();
                cases::a_large_file_leaves_nothing($start, storage.0, $uploads).await;
            }

            #[tokio::test]
            async fn an_object_that_breaks_off_does_not_look_complete() {
                let storage = storages::disk();
                cases::a_broken_object_does_not_look_complete($start, storage.0).await;
            }

            #[tokio::test]
            async fn a_storage_that_fails_is_a_response_without_internals() {
                let storage = storages::disk();
                cases::a_failure_is_a_response_without_internals($start, storage.0).await;
            }
        }
    };
}

tests!(poem, Uploads::Form, super::start_poem);
tests!(rocket, Uploads::Put, super::start_rocket);
tests!(salvo, Uploads::Form, super::start_salvo);
tests!(warp, Uploads::Form, super::start_warp);

#[tokio::test]
async fn poem_accepts_an_upload_by_a_signed_link() {
    cases::an_upload_by_a_signed_link_is_stored(start_poem, storages::disk().0).await;
}

#[tokio::test]
async fn salvo_accepts_an_upload_by_a_signed_link() {
    cases::an_upload_by_a_signed_link_is_stored(start_salvo, storages::disk().0).await;
}

#[tokio::test]
async fn links_to_warp_may_be_below_a_path_of_two_segments() {
    let storage = storages::disk_at("/files/media/");
    cases::a_signed_link_sends_an_object(start_warp, storage.0).await;
}

#[test]
fn warp_starts_with_links_below_the_root_of_another_host() {
    let storage = storages::disk_at("https://media.example.com/");
    assert!(frameworks::warp::app(storage.0).is_ok());
}

#[tokio::test]
async fn an_upload_to_poem_that_breaks_off_leaves_nothing() {
    let storage = storages::disk();
    cases::an_upload_that_breaks_off_leaves_nothing(start_poem, storage.0).await;
}

#[tokio::test]
async fn an_upload_to_salvo_that_breaks_off_leaves_nothing() {
    let storage = storages::disk();
    cases::an_upload_that_breaks_off_leaves_nothing(start_salvo, storage.0).await;
}

#[tokio::test]
async fn an_upload_to_warp_that_breaks_off_leaves_nothing() {
    let storage = storages::disk();
    cases::an_upload_that_breaks_off_leaves_nothing(start_warp, storage.0).await;
}

async fn listener() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    (listener, address)
}

async fn start_poem(storage: Storage) -> String {
    let (listener, address) = listener().await;
    let acceptor = ::poem::listener::TcpAcceptor::from_tokio(listener).unwrap();
    let app = frameworks::poem::app(storage).unwrap();
    tokio::spawn(::poem::Server::new_with_acceptor(acceptor).run(app));
    address
}

async fn start_salvo(storage: Storage) -> String {
    let (listener, address) = listener().await;
    let acceptor = ::salvo::conn::tcp::TcpAcceptor::try_from(listener).unwrap();
    let app = frameworks::salvo::app(storage).unwrap();
    tokio::spawn(::salvo::Server::new(acceptor).serve(app));
    address
}

async fn start_warp(storage: Storage) -> String {
    let (listener, address) = listener().await;
    let app = frameworks::warp::app(storage).unwrap();
    tokio::spawn(::warp::serve(app).incoming(listener).run());
    address
}

async fn start_rocket(storage: Storage) -> String {
    let (sender, port) = tokio::sync::oneshot::channel();
    let sender = std::sync::Mutex::new(Some(sender));
    let config = ::rocket::Config {
        port: 0,
        log_level: ::rocket::config::LogLevel::Off,
        shutdown: ::rocket::config::Shutdown { ctrlc: false, ..Default::default() },
        ..::rocket::Config::debug_default()
    };
    let report = ::rocket::fairing::AdHoc::on_liftoff("port", move |rocket| {
        let sender = sender.lock().unwrap().take().unwrap();
        sender.send(rocket.config().port).unwrap();
        Box::pin(async {})
    });
    let rocket = frameworks::rocket::app(::rocket::custom(config), storage).unwrap();
    tokio::spawn(rocket.attach(report).launch());
    format!("http://127.0.0.1:{}", port.await.unwrap())
}
