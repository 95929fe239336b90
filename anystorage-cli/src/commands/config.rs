//! `config check`: tries every storage of the configuration.

use anystorage::config::StorageConfig;
use anystorage::s3::{ProbeOutcome, ProbeReport, S3Builder};
use anystorage::{Definitions, Entry, Error, ErrorKind, Key, Storage, keys};

use crate::exit::{Exit, Failure, say};
use crate::output::Output;
use crate::places::Places;

/// What the probe object holds.
const BODY: &str = "anystorage config check";

/// Look at the configuration
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    Check(Args),
}

/// Try each storage: list it, save, read and delete an object of its own
///
/// The object is below anystorage-probe-... and is deleted again. A read-only storage is only read.
/// For S3 it also tries conditions, checksums, copies and bulk deletes, and prints the line
/// `quirks` to set. Prints a line for each step.
///
/// Exit: 0 all storages work, 1 one of them does not, 2 usage, or a configuration file that cannot
/// be read.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The storages to try; without names, all of them
    #[arg(value_name = "NAME")]
    names: Vec<String>,
}

pub(crate) async fn check(args: &Args, places: &mut Places) -> Result<Exit, Failure> {
    let definitions = places.definitions()?.clone();
    let all = || definitions.names().map(str::to_owned).collect();
    let names: Vec<String> = if args.names.is_empty() { all() } else { args.names.clone() };
    if names.is_empty() {
        return Err(Failure::usage(
            "no storage is configured: set STORAGE_CONFIG to a configuration file, or STORAGE_<NAME>_URL to a URL",
        ));
    }
    if let Some(unknown) = names.iter().find(|name| !definitions.contains(name)) {
        let known: Vec<_> = definitions.names().collect();
        return Err(Failure::usage(format!(
            "no storage is called {unknown:?}; known are {}",
            known.join(", ")
        )));
    }
    let mut exit = Exit::Done;
    for name in &names {
        let mut checked = Checked { name, output: Output::new(), works: true };
        checked.storage(&definitions).await?;
        checked.output.flush()?;
        if !checked.works {
            exit = Exit::Failed;
        }
    }
    Ok(exit)
}

/// One storage, as it is checked.
struct Checked<'a> {
    name: &'a str,
    output: Output,
    works: bool,
}

impl Checked<'_> {
    async fn storage(&mut self, definitions: &Definitions) -> Result<(), Failure> {
        let opened = definitions.open(self.name);
        let Some(storage) = self.note("configuration", opened)? else { return Ok(()) };
        let info = storage.info();
        self.line(&format!("is {} on {}", info.location, info.name))?;
        let listed = if info.capabilities.list { self.list(&storage).await? } else { None };
        if !info.capabilities.write {
            return self.read_only(&storage, listed).await;
        }
        if !self.write(&storage).await? {
            return Ok(());
        }
        match definitions.config(self.name).filter(|config| config.driver == "s3") {
            Some(config) => self.s3(config).await,
            None => Ok(()),
        }
    }

    /// The first object of a listing, if there is one.
    async fn list(&mut self, storage: &Storage) -> Result<Option<Key>, Failure> {
        let mut entries = storage.list("").entries();
        let listed = loop {
            match entries.next().await {
                Some(Ok(Entry::Object(object))) => break Ok(Some(object.key)),
                // A name that is no key is an item of a listing that works.
                Some(Ok(_)) => {}
                Some(Err(error)) if error.kind() == ErrorKind::InvalidKey => {}
                Some(Err(error)) => break Err(error),
                None => break Ok(None),
            }
        };
        Ok(self.note("list", listed)?.flatten())
    }

    async fn read_only(&mut self, storage: &Storage, listed: Option<Key>) -> Result<(), Failure> {
        self.line("is read-only, so that nothing is saved")?;
        let read = match listed {
            Some(key) => storage.open(key).await.map(drop),
            None => storage.exists("anystorage-probe").await.map(drop),
        };
        self.note("read", read).map(drop)
    }

    /// Saves, reads and deletes an object. Returns whether all of it worked.
    async fn write(&mut self, storage: &Storage) -> Result<bool, Failure> {
        let key = match probe_key() {
            Ok(key) => key,
            Err(error) => return self.note::<()>("save", Err(error)).map(|_| false),
        };
        let saved = storage.save(key.clone(), BODY).await;
        let failed = saved.is_err();
        self.note("save", saved)?;
        if failed {
            return self.tidy(storage, &key).await.map(|()| false);
        }
        let read = self.note("read", read(storage, &key).await)?;
        let deleted = self.note("delete", delete(storage, &key).await)?;
        Ok(read.is_some() && deleted.is_some())
    }

    /// Deletes what a failed save may have stored all the same, as where a service ignores an
    /// option.
    async fn tidy(&mut self, storage: &Storage, key: &Key) -> Result<(), Failure> {
        match storage.delete(key.clone()).await {
            Ok(()) => Ok(()),
            Err(error) => self.note::<()>("delete", Err(error)).map(drop),
        }
    }

    async fn s3(&mut self, config: &StorageConfig) -> Result<(), Failure> {
        let prefix = config.common.prefix.as_deref().map(|prefix| prefix.trim_matches('/'));
        let prefix = prefix.filter(|prefix| !prefix.is_empty()).map(|prefix| format!("{prefix}/"));
        let bucket = S3Builder::from_options(config.options.clone()).and_then(S3Builder::build);
        let probed = match bucket {
            Ok(bucket) => bucket.probe(&prefix.unwrap_or_default()).await,
            Err(error) => Err(error),
        };
        let Some(report) = self.note("probe", probed)? else { return Ok(()) };
        for finding in &report.findings {
            let outcome = match &finding.outcome {
                ProbeOutcome::Works => "works".to_owned(),
                ProbeOutcome::Ignored(what) => format!("ignored: {what}"),
                ProbeOutcome::Refused(why) => format!("refused: {why}"),
                other => format!("{other:?}"),
            };
            self.line(&format!("{}: {outcome}", finding.what))?;
        }
        self.profile(&report)
    }

    /// Says which profile to set.
    fn profile(&mut self, report: &ProbeReport) -> Result<(), Failure> {
        let broken: Vec<_> = report.missing_features().map(|finding| finding.what).collect();
        if !broken.is_empty() {
            self.works = false;
            self.output.flush()?;
            say(&format!(
                "{}: the profile in use relies on what the service does not do: {}",
                self.name,
                broken.join(", ")
            ));
        }
        match report.suggestion() {
            Some(quirks) => self.line(&format!("set quirks = {:?}", quirks.as_str())),
            None if broken.is_empty() => self.line("the profile in use fits"),
            None => self.line(
                "no profile fits this service: use none of what is ignored, or another service",
            ),
        }
    }

    fn line(&mut self, text: &str) -> Result<(), Failure> {
        self.output.line(&format!("{}: {text}", self.name))
    }

    /// Notes a step. Returns what it came to if it worked.
    fn note<T>(&mut self, step: &str, outcome: Result<T, Error>) -> Result<Option<T>, Failure> {
        match outcome {
            Ok(done) => {
                self.line(&format!("{step}: ok"))?;
                Ok(Some(done))
            }
            Err(error) => {
                self.works = false;
                self.output.flush()?;
                Failure::at(&format!("{}: {step}", self.name), &error).tell();
                Ok(None)
            }
        }
    }
}

fn probe_key() -> Result<Key, Error> {
    let random: String =
        keys::random_bytes::<8>()?.iter().map(|byte| format!("{byte:02x}")).collect();
    Key::new(format!("anystorage-probe-{random}/object"))
}

async fn read(storage: &Storage, key: &Key) -> Result<(), Error> {
    let found = storage.open(key.clone()).await?.text().await?;
    if found == BODY {
        return Ok(());
    }
    Err(Error::new(ErrorKind::Integrity, "what was saved reads back as something else"))
}

async fn delete(storage: &Storage, key: &Key) -> Result<(), Error> {
    storage.delete(key.clone()).await?;
    if storage.exists(key.clone()).await? {
        return Err(Error::new(
            ErrorKind::Unexpected,
            "the object is still there after its deletion",
        ));
    }
    Ok(())
}
