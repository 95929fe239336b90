//! `config check`: tests every storage of the configuration.

use std::time::Duration;

use anystorage::config::StorageConfig;
use anystorage::s3::{ProbeOutcome, ProbeReport, S3Builder};
use anystorage::{Definitions, Entry, Error, ErrorKind, Key, Link, Storage, keys};
use storage_client::{ClientConfig, send_error};

use crate::exit::{ExitStatus, Failure, print_line};
use crate::output::Output;
use crate::resolver::Resolver;

/// The content of the test object.
const BODY: &str = "anystorage config check";
/// How long the signed link is valid.
const LINK_LIFETIME: Duration = Duration::from_secs(60);
/// The time limit for a download by a link.
const LINK_TIMEOUT: Duration = Duration::from_secs(10);

/// Check the configuration
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    Check(Args),
}

/// Test each storage: list it, save, read and delete a test object, and make links to it
///
/// The test object is below anystorage-probe-... with a random name, and is deleted at the end,
/// also after Ctrl-C. A read-only storage is only read. With --fetch-links, the links are
/// downloaded, too. For S3, the check also tests conditions, checksums, copies and bulk deletes,
/// and prints the value of `quirks` to set. Prints one line for each step.
///
/// Exit codes: 0 all storages work, 1 a storage fails, 2 wrong usage, or the configuration file
/// cannot be read.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  anystorage config check                        test all storages
  anystorage config check media                  test one
  anystorage config check --fetch-links media    download the test object by its links, too
  anystorage --config app.toml config check      test the storages of a file")]
pub(crate) struct Args {
    /// Download the test object by its public and its signed link
    #[arg(long)]
    fetch_links: bool,
    /// The storages to test; defaults to all
    #[arg(value_name = "NAME")]
    names: Vec<String>,
}

pub(crate) async fn check(args: &Args, resolver: &mut Resolver) -> Result<ExitStatus, Failure> {
    let definitions = resolver.definitions()?.clone();
    let all = || definitions.names().map(str::to_owned).collect();
    let names: Vec<String> = if args.names.is_empty() { all() } else { args.names.clone() };
    if names.is_empty() {
        return Err(Failure::usage(
            "no storage is configured: set STORAGE_CONFIG to a configuration file, \
             or STORAGE_<NAME>_URL to a URL",
        ));
    }
    if let Some(unknown) = names.iter().find(|name| !definitions.contains(name)) {
        let known: Vec<_> = definitions.names().collect();
        return Err(Failure::usage(format!(
            "no storage is called {unknown:?}; known storages: {}",
            known.join(", ")
        )));
    }
    let mut exit = ExitStatus::Success;
    for name in &names {
        let fetch_links = args.fetch_links;
        let mut check = StorageCheck { name, fetch_links, output: Output::new(), works: true };
        check.storage(&definitions).await?;
        check.output.flush()?;
        if !check.works {
            exit = ExitStatus::Failed;
        }
    }
    Ok(exit)
}

/// The check of one storage.
struct StorageCheck<'a> {
    name: &'a str,
    fetch_links: bool,
    output: Output,
    works: bool,
}

impl StorageCheck<'_> {
    async fn storage(&mut self, definitions: &Definitions) -> Result<(), Failure> {
        let opened = definitions.open(self.name);
        let Some(storage) = self.report("configuration", opened)? else { return Ok(()) };
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

    /// Lists the storage. Returns the first object, if there is one.
    async fn list(&mut self, storage: &Storage) -> Result<Option<Key>, Failure> {
        let mut entries = storage.list("").entries();
        let listed = loop {
            match entries.next().await {
                Some(Ok(Entry::Object(object))) => break Ok(Some(object.key)),
                // Folder markers and invalid names do not mean that the listing fails.
                Some(Ok(_)) => {}
                Some(Err(error)) if error.kind() == ErrorKind::InvalidKey => {}
                Some(Err(error)) => break Err(error),
                None => break Ok(None),
            }
        };
        Ok(self.report("list", listed)?.flatten())
    }

    async fn read_only(&mut self, storage: &Storage, listed: Option<Key>) -> Result<(), Failure> {
        self.line("is read-only, so nothing is saved")?;
        let read = match listed {
            Some(key) => storage.open(key).await.map(drop),
            None => storage.exists("anystorage-probe").await.map(drop),
        };
        self.report("read", read).map(drop)
    }

    /// Saves, reads and deletes an object. Returns whether all steps succeeded.
    async fn write(&mut self, storage: &Storage) -> Result<bool, Failure> {
        let key = match probe_key() {
            Ok(key) => key,
            Err(error) => return self.report::<()>("save", Err(error)).map(|_| false),
        };
        let probe = Probe { storage: storage.clone(), key: key.clone(), is_deleted: false };
        let saved = storage.save(key.clone(), BODY).await;
        let failed = saved.is_err();
        self.report("save", saved)?;
        if failed {
            self.delete_leftover(storage, &key).await?;
            probe.deleted();
            return Ok(false);
        }
        let read = self.report("read", read(storage, &key).await)?;
        let links = self.links(storage, &key).await?;
        let deleted = self.report("delete", delete(storage, &key).await)?;
        probe.deleted();
        Ok(read.is_some() && links && deleted.is_some())
    }

    /// Makes a public and a signed link. Returns whether neither fails. A storage without links is
    /// not a failure.
    async fn links(&mut self, storage: &Storage, key: &Key) -> Result<bool, Failure> {
        let public = storage.url(key).await;
        let signed = storage.url(key).expires_in(LINK_LIFETIME).await;
        let mut works = true;
        for (step, link, hint) in
            [("public link", public, "set public_url"), ("signed link", signed, "not configured")]
        {
            let outcome = match link {
                Err(error) if error.kind() == ErrorKind::Unsupported => {
                    self.line(&format!("{step}: none ({hint})"))?;
                    continue;
                }
                Err(error) => Err(error),
                Ok(link) if self.fetch_links && link.is_relative() => {
                    self.line(&format!("{step}: relative, so it is not downloaded"))?;
                    continue;
                }
                Ok(link) if self.fetch_links => fetch(&link).await,
                Ok(_) => Ok(()),
            };
            works &= self.report(step, outcome)?.is_some();
        }
        Ok(works)
    }

    /// Deletes the object that a failed save may have stored. That happens if a service ignores an
    /// option.
    async fn delete_leftover(&mut self, storage: &Storage, key: &Key) -> Result<(), Failure> {
        match storage.delete(key.clone()).await {
            Ok(()) => Ok(()),
            Err(error) => self.report::<()>("delete", Err(error)).map(drop),
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
        let Some(report) = self.report("probe", probed)? else { return Ok(()) };
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

    /// Prints which profile to set.
    fn profile(&mut self, report: &ProbeReport) -> Result<(), Failure> {
        let broken: Vec<_> = report.missing_features().map(|finding| finding.what).collect();
        if !broken.is_empty() {
            self.works = false;
            self.output.flush()?;
            print_line(&format!(
                "{}: the profile in use relies on features that the service lacks: {}",
                self.name,
                broken.join(", ")
            ));
        }
        match report.suggestion() {
            Some(quirks) => self.line(&format!("set quirks = {:?}", quirks.as_str())),
            None if broken.is_empty() => self.line("the profile in use fits"),
            None => self.line(
                "no profile fits this service: do not use the ignored features, or use another \
                 service",
            ),
        }
    }

    fn line(&mut self, text: &str) -> Result<(), Failure> {
        self.output.line(&format!("{}: {text}", self.name))
    }

    /// Prints the result of a step. Returns its value if it succeeded.
    fn report<T>(&mut self, step: &str, outcome: Result<T, Error>) -> Result<Option<T>, Failure> {
        match outcome {
            Ok(done) => {
                self.line(&format!("{step}: ok"))?;
                Ok(Some(done))
            }
            Err(error) => {
                self.works = false;
                self.output.flush()?;
                Failure::at(&format!("{}: {step}", self.name), &error).report();
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

/// The test object, which is deleted in the background if the check is interrupted.
struct Probe {
    storage: Storage,
    key: Key,
    is_deleted: bool,
}

impl Probe {
    /// Records that the check has deleted the object, or has reported that it cannot.
    fn deleted(mut self) {
        self.is_deleted = true;
    }
}

impl Drop for Probe {
    fn drop(&mut self) {
        if !self.is_deleted
            && let Ok(runtime) = tokio::runtime::Handle::try_current()
        {
            let (storage, key) = (self.storage.clone(), self.key.clone());
            runtime.spawn(async move {
                // There is nowhere to report a failure.
                let _ = storage.delete(key).await;
            });
        }
    }
}

/// Downloads the test object by a link.
async fn fetch(link: &Link) -> Result<(), Error> {
    let url = link.url()?;
    let client = ClientConfig::new(LINK_TIMEOUT).build_for(&url)?;
    let failed = |error| send_error(error, "the server of the link", "public_url", "");
    let mut response = client.get(url).timeout(LINK_TIMEOUT).send().await.map_err(failed)?;
    let status = response.status();
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(failed)?
        && body.len() <= BODY.len()
    {
        body.extend_from_slice(&chunk);
    }
    if !status.is_success() {
        let message = format!("the server of the link responds with {status}");
        return Err(Error::new(ErrorKind::Unexpected, message));
    }
    if body != BODY.as_bytes() {
        let message = "the server of the link sent other bytes than those of the test object";
        return Err(Error::new(ErrorKind::Integrity, message));
    }
    Ok(())
}

async fn read(storage: &Storage, key: &Key) -> Result<(), Error> {
    let found = storage.open(key.clone()).await?.text().await?;
    if found == BODY {
        return Ok(());
    }
    Err(Error::new(ErrorKind::Integrity, "the object does not read back as it was saved"))
}

async fn delete(storage: &Storage, key: &Key) -> Result<(), Error> {
    storage.delete(key.clone()).await?;
    if storage.exists(key.clone()).await? {
        return Err(Error::new(
            ErrorKind::Unexpected,
            "the object still exists after its deletion",
        ));
    }
    Ok(())
}
