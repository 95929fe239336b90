//! A form that uploads files and a page that shows them, on whichever storage the configuration
//! names:
//!
//! ```console
//! $ cargo run -p uploads
//! $ STORAGE_DEFAULT_URL=s3://example-media cargo run -p uploads
//! ```
//!
//! `STORAGE_CONFIG` names a file instead, whose storage `default` is used. `LISTEN` is where to
//! listen, by default 127.0.0.1:3000.
//!
//! Whoever reaches it may upload and delete. A real application adds a login, a token in each form
//! against forgery from other sites (CSRF), a quota for each user, and a front that times out slow
//! clients. The limits of a form are in `form.rs`.

mod app;
mod file_name;
mod files;
mod form;
mod page;

use std::env::{temp_dir, var};
use std::error::Error;
use std::io::Write;

use anystorage::{Loader, Result, Storage, fs::Fs};
use tokio::net::TcpListener;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let storage = configured()?;
    let listener =
        TcpListener::bind(var("LISTEN").unwrap_or_else(|_| "127.0.0.1:3000".to_owned())).await?;
    let (address, place) = (listener.local_addr()?, &storage.info().location);
    writeln!(std::io::stdout(), "listening on http://{address}/, files are kept in {place}")?;
    axum::serve(listener, app::router(&storage)?).await?;
    Ok(())
}

/// What the environment names as `default`; if it names nothing, a directory among the temporary
/// ones.
fn configured() -> Result<Storage> {
    let named = Loader::new().env()?;
    if named.names().next().is_some() {
        return named.open("default");
    }
    Ok(Storage::new(Fs::builder(temp_dir().join("anystorage-uploads")).build()?))
}
