//! A website whose static files are published with hashed names. See README.md.

use std::env::{args, var};
use std::error::Error;
use std::io::Write;

use anystorage::Storages;
use tokio::net::TcpListener;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let site_toml = || concat!(env!("CARGO_MANIFEST_DIR"), "/site.toml").to_owned();
    let config = var("STORAGE_CONFIG").unwrap_or_else(|_| site_toml());
    let destination = || Storages::from_toml_file(&config)?.default_storage();
    let mut output = std::io::stdout();
    let router = match args().nth(1).as_deref() {
        Some("publish") => {
            let published = static_site::publish(static_site::SITE, &destination()?).await?;
            writeln!(output, "the current release is {}", published.release)?;
            return Ok(());
        }
        Some("develop") => static_site::development_router(static_site::SITE)?,
        Some(other) => return Err(format!("{other}: write publish, develop or nothing").into()),
        None => {
            let (router, assets) = static_site::router(&destination()?).await?;
            tokio::spawn(static_site::keep_current(assets));
            router
        }
    };
    let listen = var("LISTEN").unwrap_or_else(|_| "127.0.0.1:3000".to_owned());
    let listener = TcpListener::bind(listen).await?;
    writeln!(output, "listening on http://{}/", listener.local_addr()?)?;
    axum::serve(listener, router).await?;
    Ok(())
}
