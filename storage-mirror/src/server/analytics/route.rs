//! `GET /analytics`: what is counted, as a file that is sent while it is made.

use std::io::{self, Write};
use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;
use futures_util::stream;
use http::header::{CONTENT_DISPOSITION, CONTENT_TYPE, HeaderValue};
use http::{Method, Response, StatusCode};
use storage_core::{Error, Result};
use storage_serve::internal::text_response;
use storage_serve::{ResponseBody, error_response};
use tokio::sync::mpsc;
use tokio::task::spawn_blocking;

use super::Analytics;
use super::day::Day;
use super::export::{ExportFormat, export_files};

/// How much is sent at a time, ...
const CHUNK: usize = 64 * 1024;
/// ... and how many of these may wait for the client.
const CHUNKS: usize = 2;

/// What is asked for.
#[derive(Clone, Copy)]
struct Wanted {
    from: Option<Day>,
    to: Option<Day>,
    format: ExportFormat,
}

impl Wanted {
    /// `None` if it cannot be understood.
    fn read(query: &str) -> Option<Self> {
        let mut wanted = Self { from: None, to: None, format: ExportFormat::Csv };
        for (name, value) in url::form_urlencoded::parse(query.as_bytes()) {
            match &*name {
                "from" => wanted.from = Some(value.parse().ok()?),
                "to" => wanted.to = Some(value.parse().ok()?),
                "format" => wanted.format = value.parse().ok()?,
                _ => return None,
            }
        }
        Some(wanted)
    }
}

/// Answers with the analytics, the present moment included. A client that goes away ends the
/// reading.
pub(crate) async fn exported(
    analytics: Option<Arc<Analytics>>,
    query: &str,
) -> Response<ResponseBody> {
    let Some(wanted) = Wanted::read(query) else {
        let usage = "This takes from=2025-01-31, to=2025-01-31 and format=csv or format=jsonl.\n";
        return text_response(StatusCode::BAD_REQUEST, usage);
    };
    let Some(analytics) = analytics else {
        return text_response(
            StatusCode::NOT_FOUND,
            "Nothing is counted here: analytics_days is 0.\n",
        );
    };
    let saving = Arc::clone(&analytics);
    let saved = spawn_blocking(move || saving.save(SystemTime::now()));
    match saved.await.unwrap_or_else(|join| Err(Error::unexpected("the analytics failed", join))) {
        Ok(()) => file(analytics, wanted),
        Err(error) => error_response(&Method::GET, &error),
    }
}

fn file(analytics: Arc<Analytics>, wanted: Wanted) -> Response<ResponseBody> {
    let (kind, disposition) = match wanted.format {
        ExportFormat::Csv => {
            ("text/csv; charset=utf-8; header=present", "attachment; filename=\"analytics.csv\"")
        }
        ExportFormat::Jsonl => ("application/x-ndjson", "attachment; filename=\"analytics.jsonl\""),
    };
    let (chunks, waiting) = mpsc::channel(CHUNKS);
    spawn_blocking(move || {
        let mut writer = Sender { chunks, buffer: Vec::with_capacity(CHUNK) };
        let exported =
            export_files(&analytics.files, wanted.from, wanted.to, wanted.format, &mut writer);
        if let Err(error) = exported {
            // So that nobody takes it for whole. Whoever is gone needs no telling.
            let _ = writer.chunks.blocking_send(Err(error));
        }
    });
    let chunks =
        stream::unfold(
            waiting,
            |mut waiting| async move { Some((waiting.recv().await?, waiting)) },
        );
    let mut response =
        text_response(StatusCode::OK, "").map(|_| ResponseBody::stream(chunks, None));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response.headers_mut().insert(CONTENT_DISPOSITION, HeaderValue::from_static(disposition));
    response
}

/// Gives what is written to whoever sends it, and waits where that one is slow.
struct Sender {
    chunks: mpsc::Sender<Result<Bytes>>,
    buffer: Vec<u8>,
}

impl Write for Sender {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.buffer.extend_from_slice(bytes);
        if self.buffer.len() >= CHUNK {
            self.flush()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        let chunk = std::mem::replace(&mut self.buffer, Vec::with_capacity(CHUNK));
        self.chunks.blocking_send(Ok(chunk.into())).map_err(|_| io::ErrorKind::BrokenPipe.into())
    }
}
