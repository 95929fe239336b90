//! `serve`: shows a storage or a directory in a browser.

use std::net::SocketAddr;

use anystorage::{Error, ErrorKind};
use tokio::net::TcpListener;

use crate::exit::{ExitStatus, Failure};
use crate::location::Location;
use crate::place::Place;
use crate::resolver::{Purpose, Resolver};
use crate::server::{Site, serve};
use crate::verbosity::note;

/// Serve a storage or a directory over HTTP for development, until Ctrl-C
///
/// Directories have pages, or their index.html. Ranges and conditions work. HTML, SVG and scripts
/// run in the browser, so serve only content that you trust: `anystorage::serve` in an application
/// protects browsers from untrusted files. The server is read-only without --writable. It has no
/// TLS and no password. -v logs the requests.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  anystorage serve ./public                        serve a local directory
  anystorage serve media:avatars --listen :9000    serve a directory of a storage
  anystorage serve --writable ./in                 accept PUT and DELETE, too
  curl -T a.png http://127.0.0.1:8080/a.png        save an object with --writable

On a loopback address, which is the default, only requests for localhost or 127.0.0.1 are served, so
that no other site reaches the server through your browser.")]
pub(crate) struct Args {
    /// The address and port to listen on: 127.0.0.1:8080, :8080 for all addresses of this machine,
    /// or port 0 for any free port
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8080", value_parser = address)]
    listen: SocketAddr,
    /// Accept PUT and DELETE
    #[arg(long)]
    writable: bool,
    /// A storage or a directory: NAME:, NAME:DIRECTORY, a URL or a local path
    #[arg(value_name = "LOC")]
    location: Location,
}

pub(crate) async fn run(args: Args, resolver: &mut Resolver) -> Result<ExitStatus, Failure> {
    let directory = resolver.resolve(&args.location, Purpose::Existing)?.directory()?;
    check(&directory, args.writable).await?;
    let storage = match directory.text.strip_suffix('/') {
        None => directory.storage.clone(),
        Some(name) => {
            directory.storage.prefixed(name).map_err(|error| directory.failure(&error))?
        }
    };
    let shown = args.listen.to_string();
    let failure = |error: std::io::Error| Failure::local(&shown, &error.into());
    let listener = TcpListener::bind(args.listen).await.map_err(failure)?;
    let address = listener.local_addr().map_err(failure)?;
    let site = Site::new(storage, directory.to_string(), address, args.writable)
        .map_err(|error| directory.failure(&error))?;
    note(&format!("serving {directory} at http://{address}/ until Ctrl-C"));
    note("HTML and scripts in it run in your browser: serve only content that you trust");
    if !address.ip().is_loopback() {
        let verb = if args.writable { "read, replace and delete" } else { "read" };
        note(&format!("everyone who reaches {address} can {verb} the objects"));
    }
    serve(listener, site).await;
    Ok(ExitStatus::Success)
}

/// Fails if the place is not a directory of a storage that can be served.
async fn check(directory: &Place, writable: bool) -> Result<(), Failure> {
    let info = directory.storage.info();
    let failure = |kind, message: &'static str| Failure::at(directory, &Error::new(kind, message));
    if writable && !info.capabilities.write {
        return Err(failure(
            ErrorKind::PermissionDenied,
            "the storage is read-only, so it cannot be served with --writable",
        ));
    }
    if !info.capabilities.list || directory.text.is_empty() {
        return Ok(());
    }
    let mut entries = directory.storage.list(directory.prefix()?).with_folder_markers().entries();
    match entries.next().await {
        None if !writable => Err(failure(ErrorKind::NotFound, "nothing is below this directory")),
        Some(Err(error)) if !error.listing_continues() => Err(directory.failure(&error)),
        _ => Ok(()),
    }
}

fn address(text: &str) -> Result<SocketAddr, String> {
    let text = match text.strip_prefix("localhost:") {
        Some(port) => format!("127.0.0.1:{port}"),
        None if text.starts_with(':') => format!("0.0.0.0{text}"),
        None => text.to_owned(),
    };
    text.parse().map_err(|_| {
        "write an address and a port, as in 127.0.0.1:8080, [::1]:8080 or :8080".to_owned()
    })
}
