//! [`Sides`]: the two directories of a sync or a check.

use std::path::{Path, PathBuf};

use anystorage::transfer::{Directory, Filter};
use anystorage::{Error, ErrorKind, Key};

use crate::compare::path_below;
use crate::exit::Failure;
use crate::location::Location;
use crate::pattern::Pattern;
use crate::place::Place;
use crate::resolver::{Purpose, Resolver};

/// Both directories, as places for messages and as the engine needs them.
#[derive(Debug, Clone)]
pub(crate) struct Sides {
    pub(crate) source: Place,
    pub(crate) target: Place,
    pub(crate) from: Directory,
    pub(crate) to: Directory,
}

impl Sides {
    /// Finds the storages of both directories. A local directory to read must exist, because a
    /// missing one would be taken for an empty one.
    pub(crate) fn resolve(
        resolver: &mut Resolver,
        (source, target): (&Location, &Location),
        purpose_of_target: Purpose,
    ) -> Result<Self, Failure> {
        let source = directory(resolver, source, Purpose::Existing)?;
        let target = directory(resolver, target, purpose_of_target)?;
        let of = |place: &Place| {
            Directory::new(&place.storage, &place.text).map_err(|error| place.failure(&error))
        };
        let (from, to) = (of(&source)?, of(&target)?);
        Ok(Self { source, target, from, to })
    }

    /// Fails if one directory contains the other and the filter does not exclude it. The engine
    /// checks this too, but a path may lead to a directory through symlinks.
    pub(crate) fn refuse_overlap(&self, filter: &Filter) -> Result<(), Failure> {
        let (source, target) = (&self.source, &self.target);
        let message = match path_below(source, target).or_else(|| path_below(target, source)) {
            None => return Ok(()),
            Some(path) if path.is_empty() => {
                "source and destination are the same directory; nothing was changed".to_owned()
            }
            Some(path) if !filter.may_admit_below(&path) => return Ok(()),
            Some(path) => format!(
                "one directory contains the other; nothing was changed: --exclude /{path} leaves \
                 out the inner one"
            ),
        };
        Err(Failure::at(self, &Error::new(ErrorKind::Conflict, message)))
    }

    /// Notes which sides list their keys in no order.
    pub(crate) fn with_unsorted(mut self, unsorted: &[Unsorted]) -> Self {
        if unsorted.contains(&Unsorted::Source) {
            self.from = self.from.unsorted();
        }
        if unsorted.contains(&Unsorted::Destination) {
            self.to = self.to.unsorted();
        }
        self
    }

    /// Returns the mistake because of which the source probably has no objects: it is the name of
    /// one object, or a pattern. Call it for a source without objects.
    pub(crate) async fn mistake(&self) -> Option<Failure> {
        let text = self.source.text.trim_end_matches('/');
        let key = Key::new(text).ok()?;
        let shown = self.source.with_text(text);
        if self.source.storage.exists(key).await.is_ok_and(|exists| exists) {
            let line = format!("{shown}: this is an object, not a directory: copy it with cp");
            return Some(Failure::usage(line));
        }
        Pattern::is_pattern(text).then(|| {
            Failure::usage(format!(
                "{shown}: there is no such directory, and this command reads no patterns: name a \
                 directory, and select keys with --include and --exclude"
            ))
        })
    }

    /// Returns the text for messages about a key of both sides.
    pub(crate) fn at(&self, key: &str) -> String {
        let (source, target) = (&self.source, &self.target);
        format!("{source}{key} -> {target}{key}")
    }

    /// Returns the local directory of the source, if it is one: a path, or a part of a storage with
    /// the driver `fs`.
    pub(crate) fn local_source(&self) -> Option<PathBuf> {
        local_directory(&self.source)
    }

    /// Returns the sides that are local directories.
    pub(crate) fn local(&self) -> impl Iterator<Item = (&Place, PathBuf)> {
        let sides = [&self.source, &self.target].into_iter();
        sides.filter_map(|place| Some((place, local_directory(place)?)))
    }

    /// Fails if the backup directory and the source contain each other, because a backup would
    /// replace an object of the source. The engine checks this too, but a path may lead to a
    /// directory through symlinks.
    pub(crate) fn refuse_backup(
        &self,
        backup: Option<&str>,
        filter: &Filter,
    ) -> Result<(), Failure> {
        let Some(backup) = backup else { return Ok(()) };
        let backup = self.target.or_below(backup).directory()?;
        let in_source = path_below(&self.source, &backup)
            .is_some_and(|path| path.is_empty() || filter.may_admit_below(&path));
        if !in_source && path_below(&backup, &self.source).is_none() {
            return Ok(());
        }
        let message = "the backup directory and the source contain each other; nothing was \
                       changed: choose another --backup";
        Err(Failure::at(self, &Error::new(ErrorKind::Conflict, message)))
    }
}

/// A side whose storage lists its keys in no order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Unsorted {
    Source,
    Destination,
}

/// The option for storages without order.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct OrderArgs {
    /// Sort the listing of this side on disk first, for a driver that does not list keys in byte
    /// order: source or destination; may be repeated
    #[arg(long, value_name = "SIDE", value_enum, hide_possible_values = true)]
    pub(crate) unsorted: Vec<Unsorted>,
}

impl std::fmt::Display for Sides {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} -> {}", self.source, self.target)
    }
}

fn directory(
    resolver: &mut Resolver,
    location: &Location,
    purpose: Purpose,
) -> Result<Place, Failure> {
    let place = resolver.resolve(location, purpose)?;
    if place.local && purpose == Purpose::Existing {
        let path = local_path(&place);
        let message = match path.metadata() {
            Ok(found) if found.is_dir() => "",
            Ok(_) => "not a directory: anystorage cp copies one object",
            Err(_) => "no such directory",
        };
        if !message.is_empty() {
            return Err(Failure::local(
                &place.to_string(),
                &Error::new(ErrorKind::NotFound, message),
            ));
        }
    }
    place.directory()
}

fn local_directory(place: &Place) -> Option<PathBuf> {
    let is_local = place.local || place.storage.info().name == "fs";
    is_local.then(|| local_path(place))
}

fn local_path(place: &Place) -> PathBuf {
    Path::new(&place.storage.info().location).join(&place.text)
}
