//! `uploads`: lists and aborts unfinished multipart uploads.

mod abort;
mod list;

use anystorage::UploadStream;

use crate::exit::{ExitStatus, Failure};
use crate::location::Location;
use crate::place::Place;
use crate::resolver::{Purpose, Resolver};

/// List and abort unfinished multipart uploads
///
/// An upload is unfinished until its program completes or aborts it. Until then its parts take
/// room, and S3 charges for them. The uploads of all programs are listed, and on S3 also those of
/// running saves of large objects.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    List(list::Args),
    Abort(abort::Args),
}

pub(crate) async fn run(command: Command, resolver: &mut Resolver) -> Result<ExitStatus, Failure> {
    match command {
        Command::List(args) => list::run(args, resolver).await,
        Command::Abort(args) => abort::run(args, resolver).await,
    }
}

/// The uploads that a command handles.
#[derive(Debug, clap::Args)]
struct Selection {
    /// A storage or a prefix of keys in it: NAME:PREFIX, a URL or a local path
    #[arg(value_name = "LOC")]
    location: Location,
    /// A prefix that is appended to LOC
    #[arg(value_name = "PREFIX")]
    prefix: Option<String>,
}

impl Selection {
    /// Finds the storage and the prefix.
    fn resolve(&self, resolver: &mut Resolver) -> Result<Place, Failure> {
        let place = resolver.resolve(&self.location, Purpose::Existing)?;
        let Some(prefix) = &self.prefix else { return Ok(place) };
        let text = format!("{}{prefix}", place.text);
        Ok(place.with_text(text))
    }
}

fn uploads(place: &Place) -> Result<UploadStream, Failure> {
    Ok(place.storage.multipart_uploads(place.prefix()?))
}
