//! [`Fault`]: one way to fail, and [`Gate`], which a test opens.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use bytes::Bytes;
use tokio::sync::watch;

use super::wire::CannedResponse;

/// A fault of one request and its response.
#[derive(Clone)]
pub(crate) enum Fault {
    /// Closes the connection before the server receives the request.
    Drop,
    /// Resets the connection before the server receives the request.
    Reset,
    /// Closes the connection after the server handled the request.
    LoseResponse,
    /// Resets the connection after the server handled the request.
    ResetAfterRequest,
    /// Sends this response. The server does not receive the request.
    Respond(CannedResponse),
    /// Sends this response before the request's body was read, and nothing more on this connection.
    RespondEarly(CannedResponse),
    /// Sends this response after the server handled the request.
    ReplaceResponse(CannedResponse),
    /// Sends these bytes in place of a response and closes the connection.
    SendBytes(Bytes),
    /// Sends no response. The server does not receive the request.
    Stall,
    /// Sends no response after the server handled the request.
    StallResponse,
    /// Sends half of the head of the response after the server handled the request.
    StallHead,
    /// Waits for the gate before the server receives the request.
    Hold(Gate),
    /// Waits for the gate before the response is sent.
    HoldResponse(Gate),
    /// Changes the response.
    Alter(Alter),
    /// Sends the head byte by byte.
    Trickle,
    /// Closes the connection after this many bytes of the body.
    Truncate(usize),
    /// Sends nothing more after this many bytes of the body.
    StallBody(usize),
    /// Sends a successful head and then spaces without an end, and counts them. The server does not
    /// receive the request.
    Spaces(Arc<AtomicUsize>),
    /// Changes one byte of the request's body.
    Corrupt,
}

type Alter = Arc<dyn Fn(&mut CannedResponse) + Send + Sync>;

impl Fault {
    /// Changes the response.
    pub(crate) fn alter(alter: impl Fn(&mut CannedResponse) + Send + Sync + 'static) -> Self {
        Self::Alter(Arc::new(alter))
    }

    /// Sets a header of the response.
    pub(crate) fn header(name: &'static str, value: &'static str) -> Self {
        Self::alter(move |response| response.set(name, value))
    }

    /// Removes a header of the response.
    pub(crate) fn no_header(name: &'static str) -> Self {
        Self::alter(move |response| {
            response.headers.remove(name);
        })
    }
}

impl fmt::Debug for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Respond(response) => write!(f, "Respond({})", response.status),
            Self::RespondEarly(response) => write!(f, "RespondEarly({})", response.status),
            Self::ReplaceResponse(response) => write!(f, "ReplaceResponse({})", response.status),
            Self::SendBytes(_) => f.write_str("SendBytes"),
            Self::Truncate(bytes) => write!(f, "Truncate({bytes})"),
            Self::StallBody(bytes) => write!(f, "StallBody({bytes})"),
            Self::Drop => f.write_str("Drop"),
            Self::Reset => f.write_str("Reset"),
            Self::LoseResponse => f.write_str("LoseResponse"),
            Self::ResetAfterRequest => f.write_str("ResetAfterRequest"),
            Self::Stall => f.write_str("Stall"),
            Self::StallResponse => f.write_str("StallResponse"),
            Self::StallHead => f.write_str("StallHead"),
            Self::Hold(_) => f.write_str("Hold"),
            Self::HoldResponse(_) => f.write_str("HoldResponse"),
            Self::Alter(_) => f.write_str("Alter"),
            Self::Trickle => f.write_str("Trickle"),
            Self::Spaces(_) => f.write_str("Spaces"),
            Self::Corrupt => f.write_str("Corrupt"),
        }
    }
}

/// Requests that wait for it continue once it is open.
#[derive(Clone)]
pub(crate) struct Gate(watch::Sender<bool>);

impl Gate {
    pub(crate) fn new() -> Self {
        Self(watch::Sender::new(false))
    }

    pub(crate) fn open(&self) {
        self.0.send_replace(true);
    }

    pub(super) async fn opened(&self) {
        let _ = self.0.subscribe().wait_for(|is_open| *is_open).await;
    }
}
