//! [`Recorder`]: receives what happens to each key, from many tasks. Writes the files of `--report`
//! and `--failed` and the lines on standard output, and keeps failures until the end.

use std::io::{self, BufWriter, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anystorage::Error;
use anystorage::internal::escape_invisible;
use anystorage::transfer::{Filter, Stop};

use crate::compare::name_below;
use crate::exit::Failure;
use crate::links::{SpecialFile, Unsearched};
use crate::metadata::is_refused_field;
use crate::progress::Progress;
use crate::syncing::line_file::{Line, LineFile, is_same_file};
use crate::syncing::sides::Sides;
use crate::syncing::specials;
use crate::syncing::summary::Rerun;

/// How many failures are printed at the end. Any further one is printed at once.
const MAX_DEFERRED_FAILURES: usize = 1000;

/// The options for files that record what happened to each key.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct RecordArgs {
    /// Write what happened to each key as JSON lines: symbol, key, size, error; the symbols are =
    /// same, + only in the source, * different, - only in the destination, ! failed, ? unknown
    #[arg(long, value_name = "FILE", value_parser = file_name)]
    report: Option<PathBuf>,
    /// Write the keys that need another run as JSON lines, which --keys-from reads
    #[arg(long, value_name = "FILE", value_parser = file_name)]
    failed: Option<PathBuf>,
}

/// Reads the name of a file. `-` is refused, because it usually means standard output, where other
/// lines are.
fn file_name(text: &str) -> Result<PathBuf, &'static str> {
    match text {
        "-" => Err("name a file; ./- is the file of this name"),
        text => Ok(PathBuf::from(text)),
    }
}

impl RecordArgs {
    /// Returns how the keys that failed are handled another time.
    pub(crate) fn rerun(&self) -> Rerun {
        if self.failed.is_some() { Rerun::Recorded } else { Rerun::Unrecorded }
    }

    /// Fails if a file would be an object of a local side: it would be copied before it is
    /// complete, or deleted.
    pub(crate) fn refuse_inside(&self, sides: &Sides, filter: &Filter) -> Result<(), Failure> {
        for file in self.report.iter().chain(&self.failed) {
            // Special files are not objects.
            if file.metadata().is_ok_and(|found| !found.is_file()) {
                continue;
            }
            for (side, directory) in sides.local() {
                let name = name_below(&directory, file).filter(|name| filter.admits(name));
                if let Some(name) = name {
                    return Err(Failure::usage(format!(
                        "{}: this file of --report or --failed would be an object of {side}: name \
                         a file elsewhere, or --exclude '/{}'",
                        file.display(),
                        specials::literal_pattern(&name)
                    )));
                }
            }
        }
        Ok(())
    }

    /// Creates the files.
    ///
    /// # Errors
    /// A usage error if a file cannot be created, or if another option names the same file.
    fn create(&self, read_files: &[&Path]) -> Result<[Option<LineFile>; 2], Failure> {
        let (report, failed) = (self.report.as_deref(), self.failed.as_deref());
        let written: Vec<_> = report.into_iter().chain(failed).collect();
        for (number, file) in written.iter().enumerate() {
            let mut others = written[number + 1..].iter().chain(read_files);
            if others.any(|other| is_same_file(file, other)) {
                return Err(Failure::usage(format!(
                    "{}: two of the options --report, --failed, --keys-from and --filter-from \
                     name this file; name another one",
                    file.display()
                )));
            }
        }
        let create = |path: Option<&Path>| path.map(LineFile::create).transpose();
        Ok([create(report)?, create(failed)?])
    }
}

/// What happened to one key.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Item<'a> {
    pub(crate) symbol: char,
    pub(crate) key: &'a str,
    pub(crate) size: Option<u64>,
    pub(crate) error: Option<&'a Error>,
    /// Whether the key needs another run.
    pub(crate) is_failed: bool,
    /// Whether it is a line on standard output.
    pub(crate) is_printed: bool,
}

/// Receives what happens to each key.
#[derive(Debug)]
pub(crate) struct Recorder {
    sides: Sides,
    report: Option<LineFile>,
    failed: Option<LineFile>,
    pub(crate) progress: Progress,
    stop: Stop,
    stdout: Mutex<BufWriter<io::Stdout>>,
    flushes_lines: bool,
    deferred: Mutex<Vec<Failure>>,
    stdout_error: Mutex<Option<io::Error>>,
    own_failures: AtomicU64,
    own_unknown: AtomicU64,
}

impl Recorder {
    /// Creates the files of the options, which must be none of those that other options read.
    /// `stop` ends the run if nothing reads standard output.
    pub(crate) fn new(
        sides: &Sides,
        args: &RecordArgs,
        read_files: &[&Path],
        stop: &Stop,
    ) -> Result<Arc<Self>, Failure> {
        let [report, failed] = args.create(read_files)?;
        Ok(Arc::new(Self {
            sides: sides.clone(),
            report,
            failed,
            progress: Progress::keys(),
            stop: stop.clone(),
            stdout: Mutex::new(BufWriter::with_capacity(64 * 1024, io::stdout())),
            flushes_lines: io::stdout().is_terminal(),
            deferred: Mutex::default(),
            stdout_error: Mutex::default(),
            own_failures: AtomicU64::new(0),
            own_unknown: AtomicU64::new(0),
        }))
    }

    /// Records what happened to a key.
    pub(crate) fn record(&self, item: &Item<'_>) {
        let Item { symbol, key, size, error, is_failed, is_printed } = *item;
        if let Some(report) = &self.report {
            report.write(&Line { symbol: Some(symbol), key, size, error });
        }
        if let Some(failed) = self.failed.as_ref().filter(|_| is_failed) {
            failed.write(&Line { symbol: None, key, size, error });
        }
        if let Some(error) = error.filter(|_| is_failed) {
            let failure = Failure::local(&self.sides.at(key), error);
            self.fail(match is_refused_field(error) {
                true => failure.with_hint("--metadata drop leaves this field out"),
                false => failure,
            });
        }
        if is_printed {
            self.print(symbol, key);
        }
        self.progress.count_key(key, size);
    }

    /// Records a line of a list that is not a key.
    pub(crate) fn invalid_key(&self, error: &Error) {
        self.own_failures.fetch_add(1, Ordering::Relaxed);
        if let Some(key) = error.key() {
            let line = Line { symbol: Some('!'), key, size: None, error: Some(error) };
            if let Some(report) = &self.report {
                report.write(&line);
            }
            if let Some(failed) = &self.failed {
                failed.write(&Line { symbol: None, ..line });
            }
        }
        self.fail(Failure::local("--keys-from", error));
    }

    /// Records a symlink or special file of the source. `past` is what it was not: copied.
    pub(crate) fn special(&self, symbol: char, special: &SpecialFile, past: &str) {
        self.own_failures.fetch_add(1, Ordering::Relaxed);
        let (key, error) = (special.name.as_str(), specials::reason(special, past));
        let line = Line { symbol: Some(symbol), key, size: None, error: Some(&error) };
        if let Some(report) = &self.report {
            report.write(&line);
        }
        if let Some(failed) = &self.failed {
            failed.write(&Line { symbol: None, ..line });
        }
        self.fail(Failure::local(&format!("{}{key}", self.sides.source), &error));
    }

    /// Records a part of the source that could not be searched for special files.
    pub(crate) fn unsearched(&self, unsearched: &Unsearched, consequence: &str) {
        self.own_unknown.fetch_add(1, Ordering::Relaxed);
        let Unsearched { name: key, error } = unsearched;
        let line = Line { symbol: Some('?'), key, size: None, error: Some(error) };
        if let Some(report) = &self.report {
            report.write(&line);
        }
        if let Some(failed) = &self.failed {
            failed.write(&Line { symbol: None, ..line });
        }
        let place = format!("{}{key}: {consequence}", self.sides.source);
        self.fail(Failure::local(&place, error));
    }

    /// Counts a failure of the whole run that does not end it.
    pub(crate) fn refuse(&self, failure: Failure) {
        self.own_failures.fetch_add(1, Ordering::Relaxed);
        self.fail(failure);
    }

    /// Reports that a copy lacks a part of its metadata, or a checksum.
    pub(crate) fn dropped(&self, key: &str, error: &Error) {
        let line = format!("{}: not kept: {}", self.sides.at(key), error.message());
        self.fail(Failure::usage(line));
    }

    /// Returns the number of failures that the engine does not count: special files, and lines that
    /// are not keys.
    pub(crate) fn own_failures(&self) -> u64 {
        self.own_failures.load(Ordering::Relaxed)
    }

    /// Returns the number of names that are unknown to the command and that the engine does not
    /// count.
    pub(crate) fn own_unknown(&self) -> u64 {
        self.own_unknown.load(Ordering::Relaxed)
    }

    /// Prints a failure at the end, or at once if there are too many.
    pub(crate) fn fail(&self, failure: Failure) {
        let mut deferred = lock(&self.deferred);
        if deferred.len() < MAX_DEFERRED_FAILURES {
            deferred.push(failure);
        } else {
            drop(deferred);
            self.progress.suspend(|| failure.report());
        }
    }

    fn print(&self, symbol: char, key: &str) {
        let write = || {
            let mut stdout = lock(&self.stdout);
            writeln!(stdout, "{symbol} {}", escape_invisible(key))?;
            if self.flushes_lines { stdout.flush() } else { Ok(()) }
        };
        if let Err(error) = self.progress.suspend(write) {
            lock(&self.stdout_error).get_or_insert(error);
            self.stop.stop();
        }
    }

    /// Ends the progress bar, completes the files, and prints the failures.
    ///
    /// # Errors
    /// Fails if a file or standard output could not be written.
    pub(crate) fn finish(&self) -> Result<(), Failure> {
        self.progress.clear();
        let flushed = lock(&self.stdout).flush().err();
        let stdout_error = lock(&self.stdout_error).take().or(flushed);
        let files = [&self.report, &self.failed].map(|file| match file {
            Some(file) => file.finish(),
            None => Ok(()),
        });
        for failure in std::mem::take(&mut *lock(&self.deferred)) {
            failure.report();
        }
        files.into_iter().collect::<Result<(), _>>()?;
        stdout_error.map_or(Ok(()), |error| Err(crate::output::write_failure(error)))
    }
}

// No code panics while it holds one of the locks.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
