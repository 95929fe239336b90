//! The cases that the application of every framework passes.

#![allow(clippy::unwrap_used, reason = "a test that meets an unforeseen error has failed")]

#[path = "../../avatars/tests/cases/mod.rs"]
mod cases;
#[path = "../../avatars/tests/s3_server/mod.rs"]
mod s3_server;

use anystorage::Storage;
use avatars::Users;
use tokio::net::TcpListener;

cases::tests!(start, include_str!("../production.toml"));

async fn start(storage: Storage, users: Users) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let router = avatars_axum::router(&storage, users).unwrap();
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    address
}
