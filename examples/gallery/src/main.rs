//! Runs the gallery. `examples/gallery/run` installs the widget for uploads, sets the variables and
//! starts it:
//!
//! | variable | |
//! |-|-|
//! | `GALLERY_PASSWORD` | the password of all users |
//! | `GALLERY_SECRET` | signs sessions and links; the same for all servers of one gallery |
//! | `GALLERY_MAX_MIB` | the largest picture, in MiB. Defaults to 50 |
//! | `STORAGE_CONFIG` | the file with the storage. Defaults to `app.toml`, which uses `GALLERY_DIR` |
//! | `GALLERY_WIDGET` | the directory `dist` of Uppy. Defaults to that in `node_modules` |
//! | `LISTEN` | the address. Defaults to 127.0.0.1:3000 |
//!
//! `production.toml` defines a storage in S3. A real application has users with passwords of their
//! own, limits attempts to sign in, and adds `Secure` to the cookie behind TLS.

use std::env::var;
use std::error::Error;
use std::io::Write;
use std::path::Path;
use std::time::Duration;

use anystorage::Storages;
use anystorage::serve::uploads::Uploads;
use gallery::Settings;
use tokio::net::TcpListener;

/// The time between two removals of expired uploads.
const SWEEP_INTERVAL: Duration = Duration::from_secs(3600);

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    tracing_subscriber::fmt().with_writer(std::io::stderr).init();
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let config = var("STORAGE_CONFIG").map_or_else(|_| here.join("app.toml"), Into::into);
    let storage = Storages::from_toml_file(config)?.default_storage()?;
    let needed = |name: &str| var(name).map_err(|_| format!("set the variable {name}"));
    let max_mib: u64 = var("GALLERY_MAX_MIB").unwrap_or_else(|_| "50".to_owned()).parse()?;
    let installed = || here.join("node_modules/uppy/dist");
    let widget = var("GALLERY_WIDGET").map_or_else(|_| installed(), Into::into);
    let settings = Settings {
        password: needed("GALLERY_PASSWORD")?,
        secret: needed("GALLERY_SECRET")?,
        max_size: max_mib << 20,
        widget,
    };
    let (router, uploads) = gallery::router(&storage, &settings)?;
    tokio::spawn(remove_expired(uploads));

    let listen = var("LISTEN").unwrap_or_else(|_| "127.0.0.1:3000".to_owned());
    let listener = TcpListener::bind(listen).await?;
    writeln!(std::io::stdout(), "listening on http://{}/", listener.local_addr()?)?;
    axum::serve(listener, router).await?;
    Ok(())
}

/// Removes what clients left unfinished.
async fn remove_expired(uploads: Uploads) {
    let mut interval = tokio::time::interval(SWEEP_INTERVAL);
    loop {
        interval.tick().await;
        match uploads.sweep().await {
            Ok(0) => {}
            Ok(removed) => tracing::info!(removed, "expired uploads are removed"),
            Err(error) => tracing::error!(%error, "expired uploads could not be removed"),
        }
    }
}
