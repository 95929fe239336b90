//! PUT `part/{ticket}`: receives a part, as a storage that signs links for parts does.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use futures_core::stream::BoxStream;
use futures_util::{StreamExt, stream};
use http::header::{ETAG, HeaderValue};
use http::request::Parts;
use http::{Response, StatusCode};
use storage_core::{Error, ErrorKind, Payload, Result as StorageResult};

use super::respond::Failed;
use super::ticket::PartTicket;
use crate::body::ResponseBody;
use crate::body_headers;
use crate::request_body::RequestBody;
use crate::uploads::engine::Failure;
use crate::uploads::settings::Settings;
use crate::uploads::tus;

pub(super) async fn receive<B: RequestBody>(
    settings: &Settings,
    ticket: &str,
    head: &Parts,
    body: B,
) -> Result<Response<ResponseBody>, Failed> {
    let ticket = PartTicket::verify(&settings.signing_key, ticket);
    let ticket = ticket.ok_or_else(Failed::no_such_upload)?;
    if ticket.is_expired() {
        return Err(Failed::expired_link());
    }
    let size = content_length(head)?;
    if size > ticket.max_size {
        return Err(too_large(ticket.max_size));
    }
    let loaded = settings.engine.load(&ticket.id).await?;
    let outcome = Outcome::default();
    let chunks = observed(body, settings.engine.idle_timeout, outcome.clone());
    let payload = Payload::from_stream(chunks).with_size(size);
    let part = settings.engine.put_direct_part(&loaded, ticket.number, payload).await;
    let part = part.map_err(|failure| outcome.failure().unwrap_or(failure))?;
    let etag = HeaderValue::try_from(part.etag.to_string())
        .map_err(|cause| Error::unexpected("the ETag of a part is no header", cause))?;
    let mut response = Response::new(ResponseBody::empty());
    response.headers_mut().insert(ETAG, etag);
    Ok(response)
}

/// Returns the size of the body, which S3 requires too.
fn content_length(head: &Parts) -> Result<u64, Failed> {
    let size = body_headers::content_length(&head.headers)
        .map_err(|_| Failed::bad("The Content-Length is not a number.".to_owned()))?;
    size.ok_or_else(|| {
        let text = "You must provide the Content-Length HTTP header.";
        Failed::new(StatusCode::LENGTH_REQUIRED, "MissingContentLength", text)
    })
}

fn too_large(max_size: u64) -> Failed {
    let text = format!(
        "The part has more than {max_size} bytes: getChunkSize of the client and client_part_size \
         of the server must be equal, and the file must not be too large."
    );
    Failed::new(StatusCode::PAYLOAD_TOO_LARGE, "EntityTooLarge", text)
}

/// How a body ended. The storage reports a failure of the body as its own error.
#[derive(Debug, Clone, Default)]
struct Outcome(Arc<OnceLock<BodyFailure>>);

#[derive(Debug, Clone, Copy)]
enum BodyFailure {
    BrokeOff,
    Stalled,
}

impl Outcome {
    fn record(&self, failure: BodyFailure) -> Error {
        let _ = self.0.set(failure);
        Error::new(ErrorKind::Unexpected, "the body of a part could not be received")
    }

    fn failure(&self) -> Option<Failure> {
        Some(match self.0.get()? {
            BodyFailure::BrokeOff => Failure::BrokeOff,
            BodyFailure::Stalled => Failure::Stalled,
        })
    }
}

/// Returns the chunks of a body. Fails if none arrives within `idle_timeout`.
fn observed<B: RequestBody>(
    body: B,
    idle_timeout: Duration,
    outcome: Outcome,
) -> BoxStream<'static, StorageResult<Bytes>> {
    let chunks = stream::try_unfold(tus::chunks(body), move |mut chunks| {
        let outcome = outcome.clone();
        async move {
            match tokio::time::timeout(idle_timeout, chunks.next()).await {
                Err(_) => Err(outcome.record(BodyFailure::Stalled)),
                Ok(None) => Ok(None),
                Ok(Some(Ok(chunk))) => Ok(Some((chunk, chunks))),
                Ok(Some(Err(cause))) => {
                    tracing::debug!(%cause, "the body of a part broke off");
                    Err(outcome.record(BodyFailure::BrokeOff))
                }
            }
        }
    });
    chunks.boxed()
}
