//! [`Fault`]: one way to fail, and [`Gate`]: what a test opens.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::watch;

use super::wire::CannedResponse;

/// What goes wrong with one request and its response.
#[derive(Clone)]
pub(crate) enum Fault {
    /// The connection is closed; the server has heard nothing.
    Drop,
    /// The connection is reset; the server has heard nothing.
    Reset,
    /// The server does as it was request, and the connection is closed before its response.
    LoseResponse,
    /// The same, with a reset.
    ResetAfterRequest,
    /// This is answered; the server has heard nothing.
    Respond(CannedResponse),
    /// This is answered before the request's body has been read, and nothing more on this
    /// connection.
    RespondEarly(CannedResponse),
    /// The server does as it was request, and this is answered.
    ReplaceResponse(CannedResponse),
    /// These bytes are sent in place of an response, and the connection is closed.
    SendBytes(Bytes),
    /// Nothing is ever answered; the server has heard nothing.
    Stall,
    /// The server does as it was request; nothing is ever answered.
    StallResponse,
    /// The server does as it was request; its response stops in the middle of the head.
    StallHead,
    /// Waits for the gate before the server hears of it.
    Hold(Gate),
    /// The server does as it was request; the response waits for the gate.
    HoldResponse(Gate),
    /// The response is changed on its way.
    Alter(Alter),
    /// The head comes byte by byte.
    Trickle,
    /// The connection is closed after so many bytes of the response's body.
    Truncate(usize),
    /// After so many bytes of the response's body nothing more comes.
    StallBody(usize),
    /// One byte of the request's body is another.
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

    /// Takes a header away from the response.
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
            Self::Corrupt => f.write_str("Corrupt"),
        }
    }
}

/// Held requests go on once it is open.
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
