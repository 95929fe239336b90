//! [`AccessLog`]: a line for each request, in the Combined Log Format of other servers, with two words more.
//!
//! ```text
//! 192.0.2.1 - - [02/Jan/2025:10:11:12 +0000] "GET /a.mp3 HTTP/1.1" 206 1000 "https://a.example/" "a player" hit 12
//! ```
//!
//! The words are how the cache answered (`-` for what is no object) and the milliseconds until the
//! end. The bytes are those that were handed to the connection. No line has a query, that of the
//! referrer included: links are signed there.
//!
//! One thread writes. Whoever is slow to take lines (a full disk, a pipe that nobody reads) makes
//! lines get lost, which is counted, and never makes a request wait.

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
use jiff::Timestamp;

use super::record::Record;
use crate::engine::Counter;

/// How many lines may wait to be written: some 30 MB, if all of them are as long as can be.
const WAITING: usize = 8192;
/// How long a line may wait in memory, ...
const FLUSH_EVERY: Duration = Duration::from_secs(1);
/// ... and how many bytes may.
const FLUSH_AT: usize = 64 * 1024;
/// How long the end of the server waits for the last lines.
const PATIENCE: Duration = Duration::from_secs(2);
/// How much is kept of a path: that of any key fits, ...
const MAX_PATH: usize = 3 * 1024 + 64;
/// ... and how much of a method, a referrer, a user agent.
const MAX_METHOD: usize = 32;
const MAX_TEXT: usize = 512;

/// What a log wants to know of a request, and once it has ended, of its answer.
#[derive(Debug)]
pub(crate) struct Line {
    time: SystemTime,
    began: Instant,
    address: IpAddr,
    method: Method,
    path: Box<[u8]>,
    version: Version,
    referrer: Box<[u8]>,
    user_agent: Box<[u8]>,
    status: u16,
    bytes: u64,
    outcome: &'static str,
    took: Duration,
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
            began: Instant::now(),
            address,
            method: head.method.clone(),
            path: shortened(head.uri.path().as_bytes(), MAX_PATH),
            version: head.version,
            referrer: shortened(referrer, MAX_TEXT),
            user_agent: shortened(text(USER_AGENT), MAX_TEXT),
            status: 0,
            bytes: 0,
            outcome: "-",
            took: Duration::ZERO,
        }
    }

    fn end(&mut self, record: &Record) {
        self.status = record.status;
        self.bytes = record.bytes;
        if let Some((_, outcome)) = &record.object {
            self.outcome = outcome.name();
        }
        self.took = self.began.elapsed();
    }
}

fn shortened(text: &[u8], most: usize) -> Box<[u8]> {
    text[..text.len().min(most)].into()
}

/// A log that is open. Dropped, it writes what it has and ends, in its own time.
pub(crate) struct AccessLog {
    lines: SyncSender<Box<Line>>,
    /// Ends with the thread. The lock is for the compiler alone: only the end of the log looks
    /// here.
    ended: Mutex<Receiver<()>>,
    lost: Arc<Counter>,
}

impl AccessLog {
    /// Opens a file, or with `-` the standard output. What is not a plain file, such as a pipe, is
    /// opened when the first line is written, since that may take until somebody reads it.
    ///
    /// # Errors
    /// What the operating system says about file and thread.
    pub(crate) fn open(path: &Path, lost: Arc<Counter>) -> io::Result<Self> {
        let target = Target::new(path)?;
        let (lines, waiting) = mpsc::sync_channel(WAITING);
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

    /// Never waits.
    pub(crate) fn write(&self, mut line: Box<Line>, record: &Record) {
        line.end(record);
        if self.lines.try_send(line).is_err() {
            self.lost.add(1);
        }
    }

    /// Waits until all is written, but not for ever.
    pub(crate) fn close(self) {
        let Self { lines, ended, .. } = self;
        drop(lines);
        let ended = ended.into_inner().unwrap_or_else(PoisonError::into_inner);
        if ended.recv_timeout(PATIENCE) == Err(RecvTimeoutError::Timeout) {
            tracing::warn!("the last lines of the access log could not be written in time");
        }
    }
}

/// Where lines go.
enum Target {
    Stdout,
    File(File),
    /// To be opened.
    Later(PathBuf),
}

impl Target {
    fn new(path: &Path) -> io::Result<Self> {
        if path == Path::new("-") {
            return Ok(Self::Stdout);
        }
        match fs::metadata(path) {
            Ok(known) if !known.is_file() && !known.is_dir() => Ok(Self::Later(path.to_owned())),
            _ => open(path).map(Self::File),
        }
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        if let Self::Later(path) = self {
            *self = Self::File(open(path)?);
        }
        match self {
            Self::File(file) => file.write_all(bytes),
            Self::Stdout => {
                let mut stdout = io::stdout().lock();
                stdout.write_all(bytes)?;
                stdout.flush()
            }
            Self::Later(_) => Ok(()),
        }
    }
}

/// Addresses are in it: nobody else's business.
fn open(path: &Path) -> io::Result<File> {
    let mut options = File::options();
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o640);
    options.append(true).create(true).open(path)
}

/// The thread that writes.
struct Writer {
    target: Target,
    buffer: Vec<u8>,
    /// How many lines are in the buffer.
    lines: u64,
    lost: Arc<Counter>,
    is_failing: bool,
}

impl Writer {
    fn run(&mut self, waiting: &Receiver<Box<Line>>) {
        // Without a line in the buffer there is nothing to wake up for.
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
                // Once, not each second.
                if !std::mem::replace(&mut self.is_failing, true) {
                    tracing::error!(%error, "the access log cannot be written; its lines are lost until it can be");
                }
            }
        }
        self.buffer.clear();
        self.lines = 0;
    }
}

fn format(buffer: &mut Vec<u8>, line: &Line) {
    let time = Timestamp::try_from(line.time).unwrap_or(Timestamp::UNIX_EPOCH);
    // Writing to a vector does not fail.
    let _ =
        write!(buffer, "{} - - [{}] \"", line.address, time.strftime("%d/%b/%Y:%H:%M:%S +0000"));
    escape(buffer, &shortened(line.method.as_str().as_bytes(), MAX_METHOD));
    buffer.push(b' ');
    escape(buffer, &line.path);
    let _ = write!(buffer, " {:?}\" {} {} \"", line.version, line.status, line.bytes);
    escape(buffer, &line.referrer);
    buffer.extend_from_slice(b"\" \"");
    escape(buffer, &line.user_agent);
    let _ = writeln!(buffer, "\" {} {}", line.outcome, line.took.as_millis());
}

/// Whatever could end a field or a line, or act in a terminal, is written as `\xHH`. Nothing is
/// `-`.
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
    fn nothing_that_ends_a_field_or_a_line_is_left_as_it_is() {
        assert_eq!(escaped(b"a\" 200 1 \"b\r\nc\\x22\x1b[0m\x7f\xc3\xa9\t"), {
            r"a\x22 200 1 \x22b\x0D\x0Ac\x5Cx22\x1B[0m\x7F\xC3\xA9\x09"
        });
        let every: Vec<u8> = (0..=255).collect();
        assert!(escaped(&every).bytes().all(|byte| (0x20..0x7f).contains(&byte) && byte != b'"'));
        assert_eq!(escaped(b""), "-");
    }

    #[test]
    fn a_line_is_that_of_other_servers_and_two_words_more() {
        let (head, ()) = http::Request::get("/a.mp3?secret=1")
            .header("referer", "https://a.example/x?secret=2#y")
            .header("user-agent", "a \"player\"")
            .body(())
            .unwrap()
            .into_parts();
        let mut line = Line::new("192.0.2.1".parse().unwrap(), &head);
        line.time = SystemTime::UNIX_EPOCH + Duration::from_secs(1_735_812_672);
        line.end(&Record::for_tests(206, 1000));
        line.took = Duration::from_millis(12);
        let mut buffer = Vec::new();
        format(&mut buffer, &line);
        assert_eq!(
            String::from_utf8(buffer).unwrap(),
            "192.0.2.1 - - [02/Jan/2025:10:11:12 +0000] \"GET /a.mp3 HTTP/1.1\" 206 1000 \"https://a.example/x\" \
             \"a \\x22player\\x22\" hit 12\n"
        );
    }

    #[test]
    fn a_file_that_cannot_be_opened_is_known_at_once() {
        let dir = tempfile::tempdir().unwrap();
        assert!(AccessLog::open(dir.path(), Arc::default()).is_err());
        assert!(AccessLog::open(&dir.path().join("no/such/directory"), Arc::default()).is_err());
    }
}
