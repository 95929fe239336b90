//! `GET /analytics`: the exported analytics, sent while they are read.

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

/// The size of a chunk of the body, in bytes.
const CHUNK_SIZE: usize = 64 * 1024;
/// The maximum number of chunks that wait for the client.
const MAX_WAITING_CHUNKS: usize = 2;

/// The parsed query of a request.
#[derive(Clone, Copy)]
struct ExportQuery {
    from: Option<Day>,
    to: Option<Day>,
    format: ExportFormat,
}

impl ExportQuery {
    /// Parses a query. Returns `None` if a parameter is unknown or invalid.
    fn parse(query: &str) -> Option<Self> {
        let mut parsed = Self { from: None, to: None, format: ExportFormat::Csv };
        for (name, value) in url::form_urlencoded::parse(query.as_bytes()) {
            match &*name {
                "from" => parsed.from = Some(value.parse().ok()?),
                "to" => parsed.to = Some(value.parse().ok()?),
                "format" => parsed.format = value.parse().ok()?,
                _ => return None,
            }
        }
        Some(parsed)
    }
}

/// Saves the current day, then responds with the exported analytics. The export stops if the client
/// disconnects.
pub(crate) async fn respond(
    analytics: Option<Arc<Analytics>>,
    query: &str,
) -> Response<ResponseBody> {
    let Some(query) = ExportQuery::parse(query) else {
        let usage = "Use from=2025-01-31, to=2025-01-31 and format=csv or format=jsonl.\n";
        return text_response(StatusCode::BAD_REQUEST, usage);
    };
    let Some(analytics) = analytics else {
        return text_response(
            StatusCode::NOT_FOUND,
            "The analytics are disabled: analytics_days is 0.\n",
        );
    };
    let saving = Arc::clone(&analytics);
    let saved = spawn_blocking(move || saving.save(SystemTime::now()));
    match saved.await.unwrap_or_else(|join| Err(Error::unexpected("the analytics failed", join))) {
        Ok(()) => file_response(analytics, query),
        Err(error) => error_response(&Method::GET, &error),
    }
}

fn file_response(analytics: Arc<Analytics>, query: ExportQuery) -> Response<ResponseBody> {
    let (kind, disposition) = match query.format {
        ExportFormat::Csv => {
            ("text/csv; charset=utf-8; header=present", "attachment; filename=\"analytics.csv\"")
        }
        ExportFormat::Jsonl => ("application/x-ndjson", "attachment; filename=\"analytics.jsonl\""),
    };
    let (chunks, waiting) = mpsc::channel(MAX_WAITING_CHUNKS);
    spawn_blocking(move || {
        let mut writer = ChunkWriter { chunks, buffer: Vec::with_capacity(CHUNK_SIZE) };
        let exported =
            export_files(&analytics.files, query.from, query.to, query.format, &mut writer);
        if let Err(error) = exported {
            // Ends the response with an error, so that the client detects the incomplete file.
            // Fails if the client has disconnected.
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

/// Passes the written bytes to the response in chunks. Blocks while the client is slow.
struct ChunkWriter {
    chunks: mpsc::Sender<Result<Bytes>>,
    buffer: Vec<u8>,
}

impl Write for ChunkWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.buffer.extend_from_slice(bytes);
        if self.buffer.len() >= CHUNK_SIZE {
            self.flush()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        let chunk = std::mem::replace(&mut self.buffer, Vec::with_capacity(CHUNK_SIZE));
        self.chunks.blocking_send(Ok(chunk.into())).map_err(|_| io::ErrorKind::BrokenPipe.into())
    }
}
