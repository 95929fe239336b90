//! `meta set`: changes the headers and the user metadata of stored objects.

use std::str::FromStr;

use anystorage::{
    CopyOptions, ErrorKind, Key, Metadata, MetadataDirective, ObjectMeta, Result as StorageResult,
    Storage,
};
use futures_util::{StreamExt, stream};

use crate::exit::{ExitStatus, Failure, print_line};
use crate::headers::HeaderArgs;
use crate::location::Location;
use crate::output::Output;
use crate::place::Place;
use crate::resolver::{Purpose, Resolver};
use crate::source::Source;
use crate::transfer::ManyArgs;

/// Change the metadata of stored objects
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    Set(SetArgs),
}

/// Set headers and user metadata of stored objects, and keep those that are not named
///
/// Each object is copied onto itself by its storage, so its bytes are not transferred, and its time
/// changes. An object that already has the metadata is not changed. If the object is replaced at
/// the same moment, the command changes the new version. Without a strong ETag it cannot detect
/// that, and the new version may get the metadata of the older one.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  anystorage meta set --cache-control 'public, max-age=3600' media:a.png
  anystorage meta set -r --cache-control no-cache media:drafts
  anystorage meta set --content-type image/avif 'media:**/*.avif'
  anystorage meta set --meta owner=ada --unset meta.draft --unset expires media:report.pdf

Patterns are those of cp: see anystorage cp --help. anystorage stat shows the metadata.")]
pub(crate) struct SetArgs {
    #[command(flatten)]
    headers: HeaderArgs,
    /// Remove a field: cache-control, content-encoding, content-disposition, content-language,
    /// expires, meta.NAME, or meta for all user metadata; content-type is guessed again from the
    /// name; may be repeated
    #[arg(long, value_name = "FIELD")]
    unset: Vec<Field>,
    /// Change all objects below a directory
    #[arg(short, long)]
    recursive: bool,
    #[command(flatten)]
    many: ManyArgs,
    /// The objects or patterns, or with -r the directories: NAME:KEY, URLs or local paths
    #[arg(value_name = "LOC", required = true)]
    locations: Vec<Location>,
}

/// A field that `--unset` removes.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Field {
    ContentType,
    ContentEncoding,
    ContentDisposition,
    ContentLanguage,
    CacheControl,
    Expires,
    AllMeta,
    Meta(String),
}

impl FromStr for Field {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Some(name) = text.strip_prefix("meta.").filter(|name| !name.is_empty()) {
            return Ok(Self::Meta(name.to_ascii_lowercase()));
        }
        match text.replace('_', "-").to_ascii_lowercase().as_str() {
            "content-type" => Ok(Self::ContentType),
            "content-encoding" => Ok(Self::ContentEncoding),
            "content-disposition" => Ok(Self::ContentDisposition),
            "content-language" => Ok(Self::ContentLanguage),
            "cache-control" => Ok(Self::CacheControl),
            "expires" => Ok(Self::Expires),
            "meta" => Ok(Self::AllMeta),
            _ => Err("write a header, as in cache-control, or meta.NAME".to_owned()),
        }
    }
}

impl Field {
    fn remove_from(&self, metadata: &mut Metadata) {
        match self {
            Self::ContentType => metadata.content_type = None,
            Self::ContentEncoding => metadata.content_encoding = None,
            Self::ContentDisposition => metadata.content_disposition = None,
            Self::ContentLanguage => metadata.content_language = None,
            Self::CacheControl => metadata.cache_control = None,
            Self::Expires => metadata.expires = None,
            Self::AllMeta => metadata.user_metadata.clear(),
            Self::Meta(name) => {
                metadata.user_metadata.remove(name);
            }
        }
    }
}

/// The maximum number of attempts. Each fails if another program replaces the object meanwhile.
const MAX_ATTEMPTS: u32 = 10;

/// The changes of one run.
#[derive(Debug)]
struct Changes {
    set: Metadata,
    unset: Vec<Field>,
    dry_run: bool,
}

impl Changes {
    /// Returns the new metadata of an object. Fields that are set take precedence over fields that
    /// are removed.
    fn apply(&self, old: &Metadata) -> Metadata {
        let mut rest = old.clone();
        for field in &self.unset {
            field.remove_from(&mut rest);
        }
        let mut new = self.set.clone();
        new.fill_from(&rest);
        new
    }

    /// Returns the new metadata of an object, or `None` if nothing changes.
    fn new_metadata(&self, key: &Key, old: &Metadata) -> StorageResult<Option<Metadata>> {
        let mut new = self.apply(old);
        new.content_type.get_or_insert_with(|| anystorage::content_type::of_key(key));
        let new = validated(new)?;
        Ok((new != *old).then_some(new))
    }

    /// Copies this version of an object onto itself, with new metadata.
    async fn store(
        &self,
        storage: &Storage,
        key: &Key,
        version: &ObjectMeta,
        new: Metadata,
    ) -> StorageResult<()> {
        if self.dry_run {
            return Ok(());
        }
        let mut options = CopyOptions::new().metadata(MetadataDirective::Replace(new));
        options.if_source_match = version.etag.clone().filter(|etag| !etag.is_weak());
        storage.copy_with(key, key, options).await
    }

    /// Changes one object. Returns whether anything changes.
    async fn run(&self, place: &Place) -> Result<bool, Failure> {
        let key = place.key()?;
        let changed = async {
            let mut attempt = 1;
            loop {
                let old = place.storage.stat(&key).await?;
                let Some(new) = self.new_metadata(&key, &old.metadata)? else { return Ok(false) };
                match self.store(&place.storage, &key, &old, new).await {
                    // The object was replaced since.
                    Err(error)
                        if error.kind() == ErrorKind::PreconditionFailed
                            && attempt < MAX_ATTEMPTS =>
                    {
                        attempt += 1;
                    }
                    stored => return stored.map(|()| true),
                }
            }
        };
        let changed = changed.await.map_err(|error| place.failure(&error))?;
        if !self.dry_run {
            tracing::info!("{} {place}", if changed { "changed" } else { "unchanged" });
        }
        Ok(changed)
    }
}

/// Refuses metadata that another program stored and that the contract does not allow.
fn validated(metadata: Metadata) -> StorageResult<Metadata> {
    metadata.validated().map_err(|error| error.with_context("set or --unset this field, too"))
}

pub(crate) async fn set(args: SetArgs, resolver: &mut Resolver) -> Result<ExitStatus, Failure> {
    let set = args.headers.metadata().validated();
    let set = set.map_err(|error| Failure::usage(error.message()))?;
    if set.is_empty() && args.unset.is_empty() {
        return Err(Failure::usage("name what to change, as in --cache-control no-cache"));
    }
    let changes = Changes { set, unset: args.unset, dry_run: args.many.dry_run };
    // All locations are resolved first, so that a mistake in the last one changes nothing.
    let mut all = Vec::new();
    for location in &args.locations {
        let place = resolver.resolve(location, Purpose::Existing)?;
        let source = Source::many(&place, args.recursive).await?;
        if source.is_none() {
            place.key()?;
        }
        all.push((place, source));
    }
    let mut tally = Tally { output: Output::new(), dry_run: args.many.dry_run, done: 0, failed: 0 };
    for (place, source) in all {
        let objects = match &source {
            Some(source) => source.objects()?,
            None => stream::iter([Ok(place)]).boxed(),
        };
        let concurrency = if changes.dry_run { 1 } else { usize::from(args.many.concurrency) };
        let results = objects.map(|place| async {
            let place = place?;
            changes.run(&place).await.map(|changed| (place, changed))
        });
        let mut results = results.buffer_unordered(concurrency);
        let mut nothing = true;
        while let Some(result) = results.next().await {
            nothing = false;
            tally.count(result)?;
        }
        if let (true, Some(source)) = (nothing, &source) {
            tally.count(Err(source.no_match()))?;
        }
    }
    tally.finish()
}

struct Tally {
    output: Output,
    dry_run: bool,
    done: u64,
    failed: u64,
}

impl Tally {
    fn count(&mut self, result: Result<(Place, bool), Failure>) -> Result<(), Failure> {
        match result {
            Ok((place, changed)) => {
                self.done += 1;
                if changed && self.dry_run {
                    self.output.line(&place.to_string())?;
                }
            }
            Err(failure) => {
                self.failed += 1;
                self.output.flush()?;
                failure.report();
            }
        }
        Ok(())
    }

    fn finish(mut self) -> Result<ExitStatus, Failure> {
        self.output.flush()?;
        if self.failed == 0 {
            return Ok(ExitStatus::Success);
        }
        // A single failure needs no summary.
        if self.done > 0 || self.failed > 1 {
            print_line(&format!("{} failed, {} succeeded", self.failed, self.done));
        }
        Ok(ExitStatus::Failed)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};

    use anystorage::Driver;

    use super::*;

    #[test]
    fn fields_that_are_not_named_are_kept() {
        let old = Metadata::new()
            .content_type("image/png")
            .cache_control("no-store")
            .content_language("de")
            .user("a", "1")
            .user("b", "2");
        let changes = Changes {
            set: Metadata::new().cache_control("no-cache").user("b", "3"),
            unset: ["content_language", "meta.A"].map(|name| name.parse().unwrap()).into(),
            dry_run: false,
        };
        let expected =
            Metadata::new().content_type("image/png").cache_control("no-cache").user("b", "3");
        assert_eq!(changes.apply(&old), expected);
        assert!("nonsense".parse::<Field>().is_err() && "meta.".parse::<Field>().is_err());
    }

    fn changes() -> Changes {
        Changes { set: Metadata::new().cache_control("no-cache"), unset: vec![], dry_run: false }
    }

    fn place(storage: Storage) -> Place {
        Place { storage, label: "media:".to_owned(), text: "a".to_owned(), local: false }
    }

    /// A layer that replaces the object before the first copies.
    #[derive(Debug)]
    struct Replaced {
        inner: Arc<dyn Driver>,
        times: AtomicU32,
    }

    #[anystorage::async_trait]
    impl Driver for Replaced {
        async fn copy(&self, from: &Key, to: &Key, options: &CopyOptions) -> StorageResult<()> {
            let mut left = self.times.load(Ordering::Relaxed);
            if left > 0 {
                left -= 1;
                self.times.store(left, Ordering::Relaxed);
                let mut save = anystorage::SaveOptions::default();
                save.metadata = Metadata::new().user("version", left.to_string());
                self.inner.save(from, format!("version {left}").into(), &save).await?;
            }
            self.inner.copy(from, to, options).await
        }

        anystorage::forward! {
            to self.inner: info, innermost, save, open, stat, exists, delete, delete_many,
            delete_folder_marker, list, rename, url, link_verifier, multipart
        }
    }

    async fn replaced(times: u32) -> Storage {
        let storage = anystorage::Memory::storage();
        storage.save("a", "hello").user_metadata("version", "old").await.unwrap();
        storage.layer(|inner| Replaced { inner, times: times.into() })
    }

    #[tokio::test]
    async fn an_object_that_is_replaced_meanwhile_keeps_the_metadata_of_its_version() {
        let storage = replaced(2).await;
        assert!(changes().run(&place(storage.clone())).await.unwrap());
        let object = storage.open("a").await.unwrap();
        let metadata = object.meta().metadata.clone();
        assert_eq!(metadata.user_metadata.get("version").map(String::as_str), Some("0"));
        assert_eq!(metadata.cache_control.as_deref(), Some("no-cache"));
        assert_eq!(object.text().await.unwrap(), "version 0");
    }

    #[tokio::test]
    async fn an_object_that_is_replaced_before_each_attempt_is_an_error() {
        let storage = replaced(MAX_ATTEMPTS).await;
        assert!(changes().run(&place(storage.clone())).await.is_err());
        assert_eq!(storage.stat("a").await.unwrap().metadata.cache_control, None);
    }
}
