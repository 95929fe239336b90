//! A form that uploads files and a page that lists them, with any storage:
//!
//! ```console
//! $ cargo run -p uploads
//! $ STORAGE_DEFAULT_URL=s3://example-media cargo run -p uploads
//! ```
//!
//! `STORAGE_CONFIG` may name a configuration file instead, with the storage `default`. `LISTEN`
//! defaults to 127.0.0.1:3000.
//!
//! Every client may upload and delete. A real application adds a login, a token in each form
//! against cross-site request forgery (CSRF), a quota for each user, and a front-end server with
//! timeouts for slow clients.

mod app;
mod files;
mod page;

use std::env::{temp_dir, var};
use std::error::Error;
use std::io::Write;

use anystorage::{Loader, Result, Storage, fs::Fs};
use tokio::net::TcpListener;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let storage = open_storage()?;
    let listener =
        TcpListener::bind(var("LISTEN").unwrap_or_else(|_| "127.0.0.1:3000".to_owned())).await?;
    let (address, place) = (listener.local_addr()?, &storage.info().location);
    writeln!(std::io::stdout(), "listening on http://{address}/, files are stored in {place}")?;
    axum::serve(listener, app::router(&storage)?).await?;
    Ok(())
}

/// Opens the storage `default` of the environment. Without one, uses a temporary directory.
fn open_storage() -> Result<Storage> {
    let definitions = Loader::new().env()?;
    if definitions.names().next().is_some() {
        return definitions.open("default");
    }
    Ok(Storage::new(Fs::builder(temp_dir().join("anystorage-uploads")).build()?))
}
