//! The cases that the application of every framework passes.

#![allow(clippy::unwrap_used, reason = "a test that meets an unforeseen error has failed")]

#[path = "../../../avatars/tests/cases/mod.rs"]
mod cases;
#[path = "../../../avatars/tests/s3_server/mod.rs"]
mod s3_server;

use std::path::Path;

use anystorage::Storage;
use avatars::Users;
use avatars_loco::{App, with_storage};
use loco_rs::app::AppContext;
use loco_rs::boot::{StartMode, run_app};
use loco_rs::environment::Environment;
use tokio::net::TcpListener;

cases::tests!(start, include_str!("../production.toml"));

async fn start(storage: Storage, users: Users) -> String {
    // For the client of the tests: the feature `tls-ring` selects no provider for other clients.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let folder = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/config"));
    let config = Environment::Test.load_from_folder(folder).unwrap();
    let context = AppContext::builder(Environment::Test, config).build();
    let context = with_storage(context, &storage, users).unwrap();
    let router = run_app::<App>(&StartMode::ServerOnly, context).await.unwrap().router.unwrap();

    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    address
}
