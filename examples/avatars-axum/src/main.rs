//! An application with avatars: it checks each uploaded picture, scales it to two sizes, and saves
//! the three objects and a row that refers to them.
//!
//! ```console
//! $ export AVATARS_DIR=/tmp/avatars LINK_SECRET=$(openssl rand -hex 32)
//! $ cargo run -p avatars-axum
//! $ curl -T ada.jpg http://127.0.0.1:3000/users/1/avatar
//! $ curl http://127.0.0.1:3000/users/1/avatar
//! ```
//!
//! `app.toml` defines a storage on a disk, and `production.toml` a storage in S3, which needs the
//! variables `AVATARS_BUCKET` and `AWS_REGION`. `STORAGE_CONFIG` selects the file, and defaults to
//! `app.toml`. The code is the same for both. `LISTEN` defaults to 127.0.0.1:3000. Every client may
//! change every avatar: a real application adds a login.

use std::env::var;
use std::error::Error;
use std::io::Write;

use anystorage::Storages;
use avatars::Users;
use tokio::net::TcpListener;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let development = || concat!(env!("CARGO_MANIFEST_DIR"), "/app.toml").to_owned();
    let config = var("STORAGE_CONFIG").unwrap_or_else(|_| development());
    let storage = Storages::from_toml_file(config)?.default_storage()?;
    let listener =
        TcpListener::bind(var("LISTEN").unwrap_or_else(|_| "127.0.0.1:3000".to_owned())).await?;
    writeln!(std::io::stdout(), "listening on http://{}/", listener.local_addr()?)?;
    axum::serve(listener, avatars_axum::router(&storage, Users::with_ids(1..=3))?).await?;
    Ok(())
}
