//! [`Fault`]: one way to fail, and [`Gate`]: what a test opens.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::watch;

use super::wire::Answer;

/// What goes wrong with one request and its answer.
#[derive(Clone)]
pub(crate) enum Fault {
    /// The connection is closed; the server has heard nothing.
    Drop,
    /// The connection is reset; the server has heard nothing.
    Reset,
    /// The server does as it was asked, and the connection is closed before its answer.
    LoseAnswer,
    /// The same, with a reset.
    ResetAnswer,
    /// This is answered; the server has heard nothing.
    Say(Answer),
    /// This is answered before the request's body has been read, and nothing more on this
    /// connection.
    SayEarly(Answer),
    /// The server does as it was asked, and this is answered.
    SayInstead(Answer),
    /// These bytes are sent in place of an answer, and the connection is closed.
    Babble(Bytes),
    /// Nothing is ever answered; the server has heard nothing.
    Stall,
    /// The server does as it was asked; nothing is ever answered.
    StallAnswer,
    /// The server does as it was asked; its answer stops in the middle of the head.
    StallHead,
    /// Waits for the gate before the server hears of it.
    Hold(Gate),
    /// The server does as it was asked; the answer waits for the gate.
    HoldAnswer(Gate),
    /// The answer is changed on its way.
    Alter(Alter),
    /// The head comes byte by byte.
    Trickle,
    /// The connection is closed after so many bytes of the answer's body.
    Truncate(usize),
    /// After so many bytes of the answer's body nothing more comes.
    StallBody(usize),
    /// One byte of the request's body is another.
    Corrupt,
}

type Alter = Arc<dyn Fn(&mut Answer) + Send + Sync>;

impl Fault {
    /// Changes the answer.
    pub(crate) fn alter(alter: impl Fn(&mut Answer) + Send + Sync + 'static) -> Self {
        Self::Alter(Arc::new(alter))
    }

    /// Sets a header of the answer.
    pub(crate) fn header(name: &'static str, value: &'static str) -> Self {
        Self::alter(move |answer| answer.set(name, value))
    }

    /// Takes a header away from the answer.
    pub(crate) fn no_header(name: &'static str) -> Self {
        Self::alter(move |answer| {
            answer.headers.remove(name);
        })
    }
}

impl fmt::Debug for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Say(answer) => write!(f, "Say({})", answer.status),
            Self::SayEarly(answer) => write!(f, "SayEarly({})", answer.status),
            Self::SayInstead(answer) => write!(f, "SayInstead({})", answer.status),
            Self::Babble(_) => f.write_str("Babble"),
            Self::Truncate(bytes) => write!(f, "Truncate({bytes})"),
            Self::StallBody(bytes) => write!(f, "StallBody({bytes})"),
            Self::Drop => f.write_str("Drop"),
            Self::Reset => f.write_str("Reset"),
            Self::LoseAnswer => f.write_str("LoseAnswer"),
            Self::ResetAnswer => f.write_str("ResetAnswer"),
            Self::Stall => f.write_str("Stall"),
            Self::StallAnswer => f.write_str("StallAnswer"),
            Self::StallHead => f.write_str("StallHead"),
            Self::Hold(_) => f.write_str("Hold"),
            Self::HoldAnswer(_) => f.write_str("HoldAnswer"),
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
