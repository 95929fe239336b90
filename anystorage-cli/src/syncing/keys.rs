//! The option `--keys-from`: a list of keys from a file or standard input.

use std::future::ready;
use std::path::{Path, PathBuf};

use anystorage::transfer::{KeyList, Stop, sort_keys};
use anystorage::{Error, Key, Result};
use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use tokio::io::{AsyncBufRead, BufReader};

use crate::exit::{ExitStatus, Failure};
use crate::syncing::line_file::STANDARD_INPUT;
use crate::syncing::recorder::Recorder;

/// The option for a list of keys.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct KeyArgs {
    /// Handle these keys alone: a file with a key on each line or with NUL bytes between them, or a
    /// file of --failed; - reads standard input
    #[arg(long, value_name = "FILE")]
    keys_from: Option<PathBuf>,
}

/// A sorted list of keys without repetitions.
pub(crate) type SortedKeys = BoxStream<'static, Result<Key>>;

impl KeyArgs {
    /// Returns the file, or [`STANDARD_INPUT`].
    pub(crate) fn file(&self) -> Option<&Path> {
        self.keys_from.as_deref()
    }

    pub(crate) fn is_set(&self) -> bool {
        self.keys_from.is_some()
    }

    /// Reads and sorts the list. Records lines that are not keys as failures. Returns `None`
    /// without the option, or if the run was ended.
    ///
    /// # Errors
    /// A usage error if the file cannot be opened. Errors of reading and of temporary files.
    pub(crate) async fn read(
        &self,
        recorder: &Recorder,
        stop: &Stop,
    ) -> std::result::Result<Option<SortedKeys>, Failure> {
        let Some(path) = &self.keys_from else { return Ok(None) };
        let name = path.display().to_string();
        let failure = |error: &Error| Failure::local(&format!("--keys-from {name}"), error);
        let reader = tokio::select! {
            biased;
            () = stop.stopped() => return Ok(None),
            // A named pipe without a writer blocks a thread, for which nothing waits.
            reader = open(path) => reader,
        };
        let reader = reader.map_err(|error| failure(&error.into()).with_exit(ExitStatus::Usage))?;
        let keys = KeyList::new(reader, name.clone()).filter_map(|item| {
            ready(match item {
                Err(error) if error.listing_continues() => {
                    recorder.invalid_key(&error);
                    None
                }
                item => Some(item),
            })
        });
        tokio::select! {
            biased;
            () = stop.stopped() => Ok(None),
            sorted = sort_keys(keys) => sorted.map(Some).map_err(|error| failure(&error)),
        }
    }
}

async fn open(path: &Path) -> std::io::Result<Box<dyn AsyncBufRead + Send + Unpin>> {
    if path == Path::new(STANDARD_INPUT) {
        return Ok(Box::new(BufReader::new(tokio::io::stdin())));
    }
    let file = tokio::fs::File::open(path).await?;
    Ok(Box::new(BufReader::with_capacity(64 * 1024, file)))
}
