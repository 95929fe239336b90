//! An application with avatars: it checks each uploaded picture, scales it to two sizes, and saves
//! the three objects and a row that refers to them.
//!
//! ```console
//! $ export AVATARS_DIR=/tmp/avatars LINK_SECRET=$(openssl rand -hex 32)
//! $ cargo run -p avatars-actix
//! $ curl -T ada.jpg http://127.0.0.1:3000/users/1/avatar
//! $ curl http://127.0.0.1:3000/users/1/avatar
//! ```
//!
//! `app.toml` defines the storage on a disk, and `production.toml` the one in S3: `STORAGE_CONFIG`
//! selects a file, and defaults to `app.toml`. The code is the same for both. `LISTEN` defaults to
//! 127.0.0.1:3000. Every client may change every avatar: a real application adds a login.

use std::env::var;
use std::error::Error;

use actix_web::HttpServer;
use anystorage::Storages;
use avatars::Users;
use avatars_actix::{App, configure};

#[actix_web::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let development = || concat!(env!("CARGO_MANIFEST_DIR"), "/app.toml").to_owned();
    let config = var("STORAGE_CONFIG").unwrap_or_else(|_| development());
    let storage = Storages::from_toml_file(config)?.default_storage()?;
    let app = App::new(&storage, Users::with_ids(1..=3))?;
    let address = var("LISTEN").unwrap_or_else(|_| "127.0.0.1:3000".to_owned());
    let server = HttpServer::new(move || actix_web::App::new().configure(configure(&app)));
    server.bind(address)?.run().await?;
    Ok(())
}
