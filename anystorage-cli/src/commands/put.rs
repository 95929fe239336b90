//! `put`: saves a local file or standard input.

use std::io::{self, IsTerminal};
use std::path::{Component, Path, PathBuf};
use std::time::SystemTime;

use anystorage::{ETag, Error, ErrorKind, Metadata, Payload};

use crate::exit::{ExitStatus, Failure};
use crate::location::Location;
use crate::place::Place;
use crate::progress::Progress;
use crate::resolver::{Purpose, Resolver};

/// Save a local file, or standard input
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Content-Type; defaults to a guess from the name and the first bytes
    #[arg(long, value_name = "T")]
    content_type: Option<String>,
    /// Cache-Control
    #[arg(long, value_name = "C")]
    cache_control: Option<String>,
    /// Content-Encoding of a file that is already encoded
    #[arg(long, value_name = "E")]
    content_encoding: Option<String>,
    /// Content-Disposition
    #[arg(long, value_name = "D")]
    content_disposition: Option<String>,
    /// Expires: an HTTP date or an RFC 3339 time
    #[arg(long, value_name = "DATE", value_parser = time)]
    expires: Option<SystemTime>,
    /// User metadata, a name and a value; may be repeated
    #[arg(long, value_name = "K=V", value_parser = pair)]
    meta: Vec<(String, String)>,
    /// Fail if the object exists
    #[arg(long, conflicts_with = "if_match")]
    create_new: bool,
    /// Replace only the version with this ETag
    #[arg(long, value_name = "ETAG")]
    if_match: Option<ETag>,
    /// A local file, or - for standard input
    #[arg(value_name = "SRC")]
    source: PathBuf,
    /// The destination: NAME:KEY, a URL or a local path; the file's name is added if it ends in a
    /// slash
    #[arg(value_name = "LOC")]
    location: Location,
}

pub(crate) async fn run(args: Args, resolver: &mut Resolver) -> Result<ExitStatus, Failure> {
    // Wrong arguments fail before anything is opened or created.
    let metadata = metadata(&args)?;
    let source = (args.source.as_os_str() != "-").then_some(args.source.as_path());
    let payload = payload(source).await?;
    let place = target(resolver.resolve(&args.location, Purpose::NewObject)?, source)?;
    let key = place.key()?;

    let show_bar = source.is_some() || !io::stdin().is_terminal();
    let progress = Progress::bytes(show_bar, payload.size());
    let mut save = place.storage.save(key, progress.count_payload(payload)).metadata(metadata);
    if args.create_new {
        save = save.create_new();
    }
    if let Some(etag) = args.if_match {
        save = save.if_match(etag);
    }
    save.await.map_err(|error| place.failure(&error))?;
    Ok(ExitStatus::Success)
}

fn metadata(args: &Args) -> Result<Metadata, Failure> {
    let mut metadata = Metadata::new();
    metadata.content_type.clone_from(&args.content_type);
    metadata.cache_control.clone_from(&args.cache_control);
    metadata.content_encoding.clone_from(&args.content_encoding);
    metadata.content_disposition.clone_from(&args.content_disposition);
    metadata.expires = args.expires;
    for (name, value) in &args.meta {
        metadata = metadata.user(name, value);
    }
    metadata.validated().map_err(|error| Failure::usage(error.message()))
}

async fn payload(source: Option<&Path>) -> Result<Payload, Failure> {
    match source {
        Some(path) if path.is_dir() => {
            let shown = shown(path);
            let message = format!(
                "a directory, not a regular file: anystorage cp -r {shown} LOC copies all files \
                 below it"
            );
            Err(Failure::local(&shown, &Error::new(ErrorKind::InvalidInput, message)))
        }
        Some(path) => Payload::from_file(path).await.map_err(|error| {
            let shown = path.display().to_string();
            if error.kind() == ErrorKind::NotFound && shown.contains(':') {
                return Failure::usage(format!(
                    "{shown}: no such local file; anystorage cp copies between storages"
                ));
            }
            Failure::local(&shown, &error)
        }),
        None => Ok(Payload::from_reader(tokio::io::stdin())),
    }
}

/// Returns a path as a location for `cp`: a relative path begins with a dot.
fn shown(path: &Path) -> String {
    let text = path.display().to_string();
    let is_location = path.is_absolute()
        || matches!(path.components().next(), Some(Component::CurDir | Component::ParentDir));
    if is_location { text } else { format!("./{text}") }
}

/// Returns the object to write: the location, with the file's name if it ends in a slash.
fn target(place: Place, source: Option<&Path>) -> Result<Place, Failure> {
    let name = source.and_then(Path::file_name);
    match name.map(|name| name.to_str()) {
        None => Ok(place),
        Some(Some(name)) => Ok(place.or_below(name)),
        Some(None) => {
            Err(Failure::usage("the file's name is not UTF-8 text: name the object, too"))
        }
    }
}

fn time(text: &str) -> Result<SystemTime, String> {
    anystorage::parse_time(text).map_err(|error| error.message().to_owned())
}

fn pair(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or_else(|| "write NAME=VALUE".to_owned())?;
    Ok((name.to_owned(), value.to_owned()))
}
