//! `serve`: shows a storage or a directory in a browser.

use std::env::VarError;
use std::net::SocketAddr;

use anystorage::publish::ServedRelease;
use anystorage::serve::Cors;
use anystorage::signed_url::SigningKey;
use anystorage::{Error, ErrorKind, Storage};
use tokio::net::TcpListener;

use crate::exit::{ExitStatus, Failure};
use crate::location::Location;
use crate::place::Place;
use crate::resolver::{Purpose, Resolver};
use crate::server::{Site, UploadServer, serve};
use crate::verbosity::note;

/// The variable with the secret that signs the URLs of uploads.
const KEY_VARIABLE: &str = "ANYSTORAGE_UPLOADS_KEY";

/// Serve a storage or a directory over HTTP for development, until Ctrl-C
///
/// Directories have pages, or their index.html. Ranges and conditions work. HTML, SVG and scripts
/// run in the browser, so serve only content that you trust: `anystorage::serve` in an application
/// protects browsers from untrusted files. The server is read-only without --writable and
/// --uploads. It has no TLS and no password. -v logs the requests.
///
/// With --website, it serves the current release of what `anystorage publish` published: pages for
/// directories, the best encoding that the browser accepts, and 404.html for what is missing.
///
/// With --uploads, it receives resumable uploads with the protocol tus 1.0 at /uploads. The key of
/// an object is the client's file name, made safe and unique. Unfinished uploads are in the
/// storage, below .uploads/, and survive a restart. Any number of servers may receive the uploads
/// of one storage.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  anystorage serve ./public                        serve a local directory
  anystorage serve media:avatars --listen :9000    serve a directory of a storage
  anystorage serve prod:www --website              serve a published website, as visitors see it
  anystorage serve --writable ./in                 accept PUT and DELETE, too
  curl -T a.png http://127.0.0.1:8080/a.png        save an object with --writable
  anystorage serve media:inbox --uploads           a tus server at http://127.0.0.1:8080/uploads

The servers of one storage share the key that signs the URLs of uploads. It is the value of
ANYSTORAGE_UPLOADS_KEY, or otherwise a random one that the first server stores in
.uploads/signing-key. Use a directory of its own for the --uploads-state of each location.

The server removes uploads that have expired. One that ends while an upload begins can leave parts
that nothing names: anystorage uploads abort removes them.

On a loopback address, which is the default, only requests for localhost or 127.0.0.1 are served, so
that no other site reaches the server through your browser.")]
pub(crate) struct Args {
    /// The address and port to listen on: 127.0.0.1:8080, :8080 for all IPv4 addresses of this
    /// machine, or port 0 for any free port
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8080", value_parser = address)]
    listen: SocketAddr,
    /// Accept PUT and DELETE
    #[arg(long)]
    writable: bool,
    /// Serve the website that `anystorage publish` published to this place
    #[arg(long, conflicts_with_all = ["writable", "uploads"])]
    website: bool,
    /// Receive resumable uploads with the protocol tus 1.0 at /uploads
    #[arg(long)]
    uploads: bool,
    /// Keep the state of unfinished uploads in another storage or directory, for a storage without
    /// conditional saves
    #[arg(long, value_name = "LOC", requires = "uploads")]
    uploads_state: Option<Location>,
    /// Let pages of this origin, as in http://localhost:5173, or of every origin (*) upload in a
    /// browser; may be repeated
    #[arg(long, value_name = "ORIGIN", requires = "uploads")]
    cors_origin: Vec<String>,
    /// A storage or a directory: NAME:, NAME:DIRECTORY, a URL or a local path
    #[arg(value_name = "LOC")]
    location: Location,
}

pub(crate) async fn run(args: Args, resolver: &mut Resolver) -> Result<ExitStatus, Failure> {
    let directory = resolver.resolve(&args.location, Purpose::Existing)?.directory()?;
    check(&directory, &args).await?;
    let storage = storage_of(&directory)?;
    let uploads = match args.uploads {
        true => Some(uploads(&args, &directory, &storage, resolver).await?),
        false => None,
    };
    let website = match args.website {
        true => {
            let release = ServedRelease::load(&storage).await;
            Some(release.map_err(|error| directory.failure(&error))?)
        }
        false => None,
    };
    let shown = args.listen.to_string();
    let failure = |error: std::io::Error| Failure::local(&shown, &error.into());
    let listener = TcpListener::bind(args.listen).await.map_err(failure)?;
    let address = listener.local_addr().map_err(failure)?;
    let mut site = Site::new(storage, directory.to_string(), address, args.writable)
        .map_err(|error| directory.failure(&error))?;
    if let Some(release) = website {
        site = site.with_website(release);
    }
    if let Some(uploads) = &uploads {
        site = site.with_uploads(uploads.service().clone(), args.cors_origin);
    }
    note(&format!("serving {directory} at http://{address}/ until Ctrl-C"));
    note("HTML and scripts in it run in your browser: serve only content that you trust");
    if let Some(uploads) = &uploads {
        let path = uploads.service().mount_path();
        note(&format!("receiving tus uploads at http://{address}{path}"));
    }
    if !address.ip().is_loopback() {
        let verb = match (args.writable, args.uploads) {
            (true, _) => "read, replace and delete",
            (false, true) => "read and add",
            (false, false) => "read",
        };
        note(&format!("everyone who reaches {address} can {verb} the objects"));
    }
    match &uploads {
        None => serve(listener, site).await,
        Some(uploads) => tokio::select! {
            () = serve(listener, site) => {}
            never = uploads.maintain() => match never {},
        },
    }
    Ok(ExitStatus::Success)
}

/// Returns the storage below a directory.
fn storage_of(directory: &Place) -> Result<Storage, Failure> {
    match directory.text.strip_suffix('/') {
        None => Ok(directory.storage.clone()),
        Some(name) => directory.storage.prefixed(name).map_err(|error| directory.failure(&error)),
    }
}

/// Creates the service of uploads. Its state is in the storage itself without `--uploads-state`.
async fn uploads(
    args: &Args,
    directory: &Place,
    storage: &Storage,
    resolver: &mut Resolver,
) -> Result<UploadServer, Failure> {
    let state = match &args.uploads_state {
        None => None,
        Some(location) => Some(resolver.resolve(location, Purpose::NewDirectory)?.directory()?),
    };
    let state_storage = match &state {
        None => storage.clone(),
        Some(place) => storage_of(place)?,
    };
    let secret = match std::env::var(KEY_VARIABLE) {
        Ok(secret) => Some(secret),
        Err(VarError::NotPresent) => None,
        Err(VarError::NotUnicode(_)) => {
            return Err(Failure::usage(format!("{KEY_VARIABLE}: the value is not UTF-8")));
        }
    };
    if let Some(Err(error)) = secret.as_ref().map(SigningKey::new) {
        return Err(Failure::at(&KEY_VARIABLE, &error));
    }
    let uploads = UploadServer::new(storage.clone(), state_storage, secret).await;
    let uploads = uploads.map_err(|error| directory.failure(&error))?;
    if args.cors_origin.is_empty() {
        return Ok(uploads);
    }
    let cors = Cors::origins(&args.cors_origin);
    Ok(uploads.with_cors(cors.map_err(|error| Failure::at(&"--cors-origin", &error))?))
}

/// Fails if the place is not a directory of a storage that can be served.
async fn check(directory: &Place, args: &Args) -> Result<(), Failure> {
    let info = directory.storage.info();
    let failure = |kind, message: &'static str| Failure::at(directory, &Error::new(kind, message));
    if args.writable && !info.capabilities.write {
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
        None if !args.writable && !args.uploads => {
            Err(failure(ErrorKind::NotFound, "nothing is below this directory"))
        }
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
