//! How much a command prints to standard error: `-q`, `-v`, `--no-progress`, and the log.

use std::io::{self, Write};
use std::sync::atomic::{AtomicBool, Ordering};

use anystorage::internal::escape_invisible;
use tracing_subscriber::Layer;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use crate::exit::print_line;

static NOTES: AtomicBool = AtomicBool::new(true);
static PROGRESS: AtomicBool = AtomicBool::new(true);

/// How much to print. These options may stand before or after the command.
#[derive(Debug, Clone, Copy, Default, clap::Args)]
pub(crate) struct VerbosityArgs {
    /// Log to standard error: -v each object, -vv each step
    #[arg(short, long, action = clap::ArgAction::Count, global = true, help_heading = "Global options")]
    verbose: u8,
    /// Print errors only: no progress bar and no notes
    #[arg(short, long, global = true, conflicts_with = "verbose", help_heading = "Global options")]
    quiet: bool,
    /// Show no progress bar; without a terminal there is none
    #[arg(long, global = true, help_heading = "Global options")]
    no_progress: bool,
}

impl VerbosityArgs {
    /// Applies the options to the whole process.
    pub(crate) fn apply(self) {
        NOTES.store(!self.quiet, Ordering::Relaxed);
        // The lines of a log would overwrite a bar.
        let bar = !self.quiet && !self.no_progress && self.verbose == 0;
        PROGRESS.store(bar, Ordering::Relaxed);
    }

    /// Starts the log of a command that ends by itself. Without `-v` there is no log, because
    /// errors are printed without it.
    pub(crate) fn init_log(self) {
        let level = match self.verbose {
            0 => return,
            1 => LevelFilter::INFO,
            2 => LevelFilter::DEBUG,
            _ => LevelFilter::TRACE,
        };
        // Other crates may log more than their users should see, such as the headers of requests.
        let filter = Targets::new()
            .with_default(level.min(LevelFilter::WARN))
            .with_targets(OUR_TARGETS.map(|target| (target, level)));
        let lines = tracing_subscriber::fmt::layer()
            .with_writer(EscapedStderr)
            .with_ansi(false)
            .with_target(level > LevelFilter::INFO)
            .without_time();
        tracing_subscriber::registry().with(lines.with_filter(filter)).init();
    }

    /// Starts the log of a server, at the level of `-v` or of the environment variable `RUST_LOG`.
    /// Defaults to `info`.
    pub(crate) fn init_server_log(self) {
        let configured = std::env::var("RUST_LOG").ok().and_then(|level| level.parse().ok());
        let level = match self.verbose {
            0 if self.quiet => LevelFilter::ERROR,
            0 => configured.unwrap_or(LevelFilter::INFO),
            1 => LevelFilter::DEBUG,
            _ => LevelFilter::TRACE,
        };
        // The mirror logs a failure of origin once for all waiting requests. The storage would log
        // it, too.
        let storages =
            if level >= LevelFilter::DEBUG { level } else { level.min(LevelFilter::ERROR) };
        let filter = Targets::new()
            .with_default(level)
            .with_target("storage_core::layers::observed", storages);
        let lines = tracing_subscriber::fmt::layer().with_writer(EscapedStderr).with_ansi(false);
        tracing_subscriber::registry().with(lines.with_filter(filter)).init();
    }
}

/// The crates of this workspace. A target matches all modules below it.
const OUR_TARGETS: [&str; 11] = [
    "anystorage",
    "storage_client",
    "storage_core",
    "storage_fs",
    "storage_http",
    "storage_http_cache",
    "storage_mirror",
    "storage_publish",
    "storage_s3",
    "storage_serve",
    "storage_transfer",
];

/// Prints a line that is not an error, unless `-q` is set.
pub(crate) fn note(line: &str) {
    if NOTES.load(Ordering::Relaxed) {
        print_line(line);
    }
}

/// Whether progress may be shown.
pub(crate) fn shows_progress() -> bool {
    PROGRESS.load(Ordering::Relaxed)
}

/// Standard error for the log. Escapes invisible characters of each line, because keys and messages
/// of servers may contain sequences that control a terminal.
#[derive(Debug, Clone, Copy)]
struct EscapedStderr;

impl<'a> MakeWriter<'a> for EscapedStderr {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        *self
    }
}

impl Write for EscapedStderr {
    /// Receives a whole line, as `tracing-subscriber` writes each event at once.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(line);
        let text = text.strip_suffix('\n').unwrap_or(&text);
        writeln!(io::stderr(), "{}", escape_invisible(text))?;
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}
