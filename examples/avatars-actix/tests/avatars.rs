//! The cases that the application of every framework passes.

#![allow(clippy::unwrap_used, reason = "a test that meets an unforeseen error has failed")]

#[path = "../../avatars/tests/cases/mod.rs"]
mod cases;
#[path = "../../avatars/tests/s3_server/mod.rs"]
mod s3_server;

use actix_web::HttpServer;
use anystorage::Storage;
use avatars::Users;
use avatars_actix::{App, configure};

cases::tests!(start, include_str!("../production.toml"));

async fn start(storage: Storage, users: Users) -> String {
    let app = App::new(&storage, users).unwrap();
    let server = HttpServer::new(move || actix_web::App::new().configure(configure(&app)));
    let server = server.workers(1).bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", server.addrs()[0]);
    tokio::spawn(server.disable_signals().run());
    address
}
