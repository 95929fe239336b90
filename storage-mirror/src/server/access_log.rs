//! [`AccessLog`]: one line for each request, in the Combined Log Format with two more fields.
//!
//! ```text
//! 192.0.2.1 - - [02/Jan/2025:10:11:12 +0000] "GET /a.mp3 HTTP/1.1" 206 1000 "https://a.example/" \
//!     "a player" hit 12
//! ```
//!
//! (A line ends after the last field; it is wrapped here.) The two fields are the cache status, `-`
//! for other routes than objects, and the duration in milliseconds. The number of bytes is what was
//! passed to the connection. Queries are left out, also that of the referrer, because they contain
//! the signatures of links.
//!
//! One thread writes. If the disk is full or a pipe has no reader, lines are lost and counted. A
//! request never waits for the log.

use std::fs::{self, File};
use std::io::{self, Write};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, SyncSender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use http::header::{HeaderName, REFERER, USER_AGENT};
use http::request::Parts;
use http::{Method, Version};

use super::record::Record;
use super::utc::to_utc;
use crate::engine::Counter;

/// The maximum number of lines that wait to be written: about 30 MB if all have the maximum length.
const MAX_WAITING_LINES: usize = 8192;
/// The maximum time that a line stays in the buffer.
const FLUSH_EVERY: Duration = Duration::from_secs(1);
/// The size at which the buffer is written, in bytes.
const FLUSH_AT: usize = 64 * 1024;
/// How long [`AccessLog::close`] waits for the last lines.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);
/// The maximum length of a logged path, in bytes. The path of every valid key fits.
const MAX_PATH: usize = 3 * 1024 + 64;
/// The maximum length of a logged method, in bytes.
const MAX_METHOD: usize = 32;
/// The maximum length of a logged referrer and of a logged user agent, in bytes.
const MAX_TEXT: usize = 512;

/// The logged fields of a request, completed when its response has ended.
#[derive(Debug)]
pub(crate) struct Line {
    time: SystemTime,
    started: Instant,
    address: IpAddr,
    method: Method,
    path: Box<[u8]>,
    version: Version,
    referrer: Box<[u8]>,
    user_agent: Box<[u8]>,
    status: u16,
    bytes: u64,
    outcome: &'static str,
    duration: Duration,
}

impl Line {
    pub(crate) fn new(address: IpAddr, head: &Parts) -> Self {
        let text = |name: HeaderName| {
            head.headers.get(name).map(http::HeaderValue::as_bytes).unwrap_or_default()
        };
        let referrer =
            text(REFERER).split(|byte| matches!(byte, b'?' | b'#')).next().unwrap_or_default();
        Self {
            time: SystemTime::now(),
            started: Instant::now(),
            address,
            method: head.method.clone(),
            path: shortened(head.uri.path().as_bytes(), MAX_PATH),
            version: head.version,
            referrer: shortened(referrer, MAX_TEXT),
            user_agent: shortened(text(USER_AGENT), MAX_TEXT),
            status: 0,
            bytes: 0,
            outcome: "-",
            duration: Duration::ZERO,
        }
    }

    fn end(&mut self, record: &Record) {
        self.status = record.status;
        self.bytes = record.bytes;
        if let Some((_, outcome)) = &record.object {
            self.outcome = outcome.name();
        }
        self.duration = self.started.elapsed();
    }
}

fn shortened(text: &[u8], most: usize) -> Box<[u8]> {
    text[..text.len().min(most)].into()
}

/// An open log. After it is dropped, its thread writes the remaining lines and ends.
pub(crate) struct AccessLog {
    lines: SyncSender<Box<Line>>,
    /// Disconnects when the thread ends. Only `close` uses it; the lock makes the type `Sync`.
    ended: Mutex<Receiver<()>>,
    lost: Arc<Counter>,
}

impl AccessLog {
    /// Opens a file, or the standard output for `-`. A pipe or a device is opened when the first
    /// line is written, because opening a pipe blocks until it has a reader.
    ///
    /// # Errors
    /// Fails with the error of the operating system if the file cannot be opened or the thread
    /// cannot be started.
    pub(crate) fn open(path: &Path, lost: Arc<Counter>) -> io::Result<Self> {
        let target = Target::new(path)?;
        let (lines, waiting) = mpsc::sync_channel(MAX_WAITING_LINES);
        let (ends, ended) = mpsc::channel();
        let mut writer = Writer {
            target,
            buffer: Vec::new(),
            lines: 0,
            lost: Arc::clone(&lost),
            is_failing: false,
        };
        thread::Builder::new().name("access-log".to_owned()).spawn(move || {
            writer.run(&waiting);
            drop(ends);
        })?;
        Ok(Self { lines, ended: Mutex::new(ended), lost })
    }

    /// Queues a line. Returns at once; if the queue is full, the line is lost and counted.
    pub(crate) fn write(&self, mut line: Box<Line>, record: &Record) {
        line.end(record);
        if self.lines.try_send(line).is_err() {
            self.lost.add(1);
        }
    }

    /// Waits up to 2 seconds until all lines are written.
    pub(crate) fn close(self) {
        let Self { lines, ended, .. } = self;
        drop(lines);
        let ended = ended.into_inner().unwrap_or_else(PoisonError::into_inner);
        if ended.recv_timeout(CLOSE_TIMEOUT) == Err(RecvTimeoutError::Timeout) {
            tracing::warn!("the last lines of the access log could not be written in time");
        }
    }
}

/// The destination of the lines.
enum Target {
    Stdout,
    File(File),
    /// A pipe or a device that is opened with the first line.
    Unopened(PathBuf),
}

impl Target {
    fn new(path: &Path) -> io::Result<Self> {
        if path == Path::new("-") {
            return Ok(Self::Stdout);
        }
        match fs::metadata(path) {
            Ok(meta) if !meta.is_file() && !meta.is_dir() => Ok(Self::Unopened(path.to_owned())),
            _ => open(path).map(Self::File),
        }
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        if let Self::Unopened(path) = self {
            *self = Self::File(open(path)?);
        }
        match self {
            Self::File(file) => file.write_all(bytes),
            Self::Stdout => {
                let mut stdout = io::stdout().lock();
                stdout.write_all(bytes)?;
                stdout.flush()
            }
            Self::Unopened(_) => Ok(()),
        }
    }
}

/// Opens the file for appending. Users outside the file's group cannot read a new file, because it
/// contains the addresses of clients.
fn open(path: &Path) -> io::Result<File> {
    let mut options = File::options();
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o640);
    options.append(true).create(true).open(path)
}

/// Formats and writes lines, on a thread of its own.
struct Writer {
    target: Target,
    buffer: Vec<u8>,
    /// The number of lines in the buffer.
    lines: u64,
    lost: Arc<Counter>,
    is_failing: bool,
}

impl Writer {
    fn run(&mut self, waiting: &Receiver<Box<Line>>) {
        // While the buffer is empty, the thread sleeps until a line arrives.
        while let Ok(line) = waiting.recv() {
            self.add(&line);
            let flush = Instant::now() + FLUSH_EVERY;
            while self.buffer.len() < FLUSH_AT {
                match waiting.recv_timeout(flush.saturating_duration_since(Instant::now())) {
                    Ok(line) => self.add(&line),
                    Err(_) => break,
                }
            }
            self.flush();
        }
    }

    fn add(&mut self, line: &Line) {
        format(&mut self.buffer, line);
        self.lines += 1;
    }

    fn flush(&mut self) {
        match self.target.write(&self.buffer) {
            Ok(()) => self.is_failing = false,
            Err(error) => {
                self.lost.add(self.lines);
                // Logs the first failure of a series only.
                if !std::mem::replace(&mut self.is_failing, true) {
                    tracing::error!(
                        %error,
                        "cannot write the access log; lines are lost until a write succeeds"
                    );
                }
            }
        }
        self.buffer.clear();
        self.lines = 0;
    }
}

fn format(buffer: &mut Vec<u8>, line: &Line) {
    let time = to_utc(line.time).format("%d/%b/%Y:%H:%M:%S +0000");
    // Writing to a vector does not fail.
    let _ = write!(buffer, "{} - - [{time}] \"", line.address);
    escape(buffer, &shortened(line.method.as_str().as_bytes(), MAX_METHOD));
    buffer.push(b' ');
    escape(buffer, &line.path);
    let _ = write!(buffer, " {:?}\" {} {} \"", line.version, line.status, line.bytes);
    escape(buffer, &line.referrer);
    buffer.extend_from_slice(b"\" \"");
    escape(buffer, &line.user_agent);
    let _ = writeln!(buffer, "\" {} {}", line.outcome, line.duration.as_millis());
}

/// Appends a field. A byte that could end the field or the line, or control a terminal, is written
/// as `\xHH`. An empty field is written as `-`.
fn escape(buffer: &mut Vec<u8>, text: &[u8]) {
    if text.is_empty() {
        buffer.push(b'-');
    }
    for &byte in text {
        match byte {
            b'"' | b'\\' | 0..0x20 | 0x7f.. => {
                let _ = write!(buffer, "\\x{byte:02X}");
            }
            _ => buffer.push(byte),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn escaped(text: &[u8]) -> String {
        let mut buffer = Vec::new();
        escape(&mut buffer, text);
        String::from_utf8(buffer).unwrap()
    }

    #[test]
    fn bytes_that_could_end_a_field_or_a_line_are_escaped() {
        assert_eq!(escaped(b"a\" 200 1 \"b\r\nc\\x22\x1b[0m\x7f\xc3\xa9\t"), {
            r"a\x22 200 1 \x22b\x0D\x0Ac\x5Cx22\x1B[0m\x7F\xC3\xA9\x09"
        });
        let every: Vec<u8> = (0..=255).collect();
        assert!(escaped(&every).bytes().all(|byte| (0x20..0x7f).contains(&byte) && byte != b'"'));
        assert_eq!(escaped(b""), "-");
    }

    #[test]
    fn a_line_has_the_combined_log_format_and_two_more_fields() {
        let (head, ()) = http::Request::get("/a.mp3?secret=1")
            .header("referer", "https://a.example/x?secret=2#y")
            .header("user-agent", "a \"player\"")
            .body(())
            .unwrap()
            .into_parts();
        let mut line = Line::new("192.0.2.1".parse().unwrap(), &head);
        line.time = SystemTime::UNIX_EPOCH + Duration::from_secs(1_735_812_672);
        line.end(&Record::for_tests(206, 1000));
        line.duration = Duration::from_millis(12);
        let mut buffer = Vec::new();
        format(&mut buffer, &line);
        assert_eq!(
            String::from_utf8(buffer).unwrap(),
            "192.0.2.1 - - [02/Jan/2025:10:11:12 +0000] \"GET /a.mp3 HTTP/1.1\" 206 1000 \
             \"https://a.example/x\" \"a \\x22player\\x22\" hit 12\n"
        );
    }

    #[test]
    fn opening_a_log_fails_if_its_file_cannot_be_opened() {
        let dir = tempfile::tempdir().unwrap();
        assert!(AccessLog::open(dir.path(), Arc::default()).is_err());
        assert!(AccessLog::open(&dir.path().join("no/such/directory"), Arc::default()).is_err());
    }
}
