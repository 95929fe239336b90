//! `put`: saves a local file, standard input, or the files of a local directory.

use std::io::{self, IsTerminal};
use std::path::{Component, Path, PathBuf};
use std::time::SystemTime;

use anystorage::{ETag, Error, ErrorKind, Metadata, Payload};

use crate::commands::cp::transfer_many;
use crate::exit::{ExitStatus, Failure};
use crate::headers::HeaderArgs;
use crate::links::LinkArgs;
use crate::location::Location;
use crate::moves::changed_error;
use crate::output;
use crate::pattern::Pattern;
use crate::place::Place;
use crate::progress::Progress;
use crate::resolver::{Purpose, Resolver};
use crate::transfer::{Action, ManyArgs, NewObject, TransferOptions};

/// Save a local file, standard input, or with -r the files of a local directory
///
/// With -r, `put -r photos media:album` saves `photos/a/1.png` as `album/a/1.png`. The options for
/// metadata apply to every object. Reports every file that could not be saved, every symlink and
/// every special file, and saves the rest. `anystorage cp -r` also copies stored metadata.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  anystorage put a.png media:                      save a file under its name
  anystorage put a.png media:avatars/ada.png       save it under another name
  pg_dump app | anystorage put - backup:app.sql    save standard input
  anystorage put -r ./public static:               save all files of a directory
  anystorage put --create-new a.png media:         never replace an object
  anystorage put -r --cache-control 'public, max-age=31536000, immutable' ./assets static:assets
  anystorage put './photos/*.png' media:photos     save what a pattern matches

Patterns are those of cp: see anystorage cp --help.")]
pub(crate) struct Args {
    /// Save all files below a local directory
    #[arg(short, long, conflicts_with = "if_match")]
    recursive: bool,
    #[command(flatten)]
    many: ManyArgs,
    #[command(flatten)]
    links: LinkArgs,
    #[command(flatten)]
    headers: HeaderArgs,
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
    let metadata = args.headers.metadata().validated();
    let metadata = metadata.map_err(|error| Failure::usage(error.message()))?;
    let source = (args.source.as_os_str() != "-").then_some(args.source.as_path());
    if let Some(path) = source
        && (args.recursive || path.symlink_metadata().is_err())
        && save_many(&args, path, &metadata, resolver).await?
    {
        return Ok(ExitStatus::Success);
    }
    if args.recursive {
        return Err(Failure::usage("-r saves many files: name a local directory other than -"));
    }
    let opened = source.and_then(version);
    let payload = payload(source).await?;
    let place = target(resolver.resolve(&args.location, Purpose::NewObject)?, source)?;
    let key = place.key()?;
    if args.many.dry_run {
        output::print(&format!("{} -> {place}", args.source.display()))?;
        return Ok(ExitStatus::Success);
    }

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
    if let (Some(opened), Some(now)) = (opened, source.and_then(version))
        && opened.number == now.number
        && opened != now
    {
        return Err(place.failure(&changed_error()));
    }
    tracing::info!("saved {} -> {place}", args.source.display());
    Ok(ExitStatus::Success)
}

/// Saves the files of a directory or those that a pattern matches. Returns `false` if the path is
/// neither.
async fn save_many(
    args: &Args,
    path: &Path,
    metadata: &Metadata,
    resolver: &mut Resolver,
) -> Result<bool, Failure> {
    let is_pattern = path.to_str().is_some_and(Pattern::is_pattern);
    if !args.recursive && !is_pattern {
        return Ok(false);
    }
    if args.if_match.is_some() {
        return Err(Failure::usage("--if-match replaces one object: name one file, not a pattern"));
    }
    let from = resolver.resolve(&Location::Path(path.to_owned()), Purpose::Existing)?;
    let new =
        NewObject { metadata: metadata.clone(), create_new: args.create_new, is_local_file: false };
    let options = TransferOptions {
        action: Action::Save(&new),
        links: args.links.policy(),
        many: &args.many,
    };
    transfer_many(resolver, &from, &args.location, args.recursive, &options).await
}

/// What changes if another program writes to a file.
#[derive(Debug, PartialEq, Eq)]
struct FileVersion {
    /// Another one belongs to a file that replaced the first one, which is unchanged.
    number: u64,
    size: u64,
    modified: Option<SystemTime>,
}

/// Returns the version of a file, or `None` if it does not exist.
fn version(path: &Path) -> Option<FileVersion> {
    let found = path.metadata().ok()?;
    #[cfg(unix)]
    let number = std::os::unix::fs::MetadataExt::ino(&found);
    #[cfg(not(unix))]
    let number = 0;
    Some(FileVersion { number, size: found.len(), modified: found.modified().ok() })
}

async fn payload(source: Option<&Path>) -> Result<Payload, Failure> {
    match source {
        Some(path) if path.is_dir() => {
            let shown = shown(path);
            let message = format!(
                "a directory, not a regular file: anystorage put -r {shown} LOC saves all files \
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

/// Returns a path as a location: a relative path begins with a dot.
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
