//! [`faults`]: all that can go wrong with one request, and what has to come of it.

use bytes::Bytes;
use storage_core::ErrorKind;

use crate::fault_proxy::{Answer, Fault};

/// A fault, and what has to come of it.
#[derive(Debug, Clone)]
pub(crate) struct Row {
    pub(crate) name: &'static str,
    pub(crate) fault: Fault,
    pub(crate) verdict: Verdict,
    /// The kind of the error, if it is one that stays.
    pub(crate) kind: ErrorKind,
}

/// Whether the request is to be sent again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It is, and if the fault comes to pass but once, the verb succeeds.
    Passes,
    /// It is not: the first answer is final.
    Final,
    /// There is nothing wrong.
    Harmless,
}

/// All faults of a request that may be repeated. The answer to a HEAD has no document, which leaves
/// its status alone to go by.
pub(crate) fn faults(is_head: bool) -> Vec<Row> {
    use ErrorKind::{
        InvalidConfig, PermissionDenied, RateLimited, StorageFull, Timeout, Unauthenticated,
        Unexpected,
    };
    use Verdict::{Final, Harmless, Passes};
    let unknown = if is_head { PermissionDenied } else { Unauthenticated };
    let mut rows = vec![
        row("a connection that closes", Fault::Drop, Passes, Unexpected),
        row("a connection that is reset", Fault::Reset, Passes, Unexpected),
        row("a lost answer", Fault::LoseAnswer, Passes, Unexpected),
        row("an answer lost by a reset", Fault::ResetAnswer, Passes, Unexpected),
        row(
            "half a head",
            Fault::Babble(Bytes::from_static(b"HTTP/1.1 200 O")),
            Passes,
            Unexpected,
        ),
        row(
            "no HTTP",
            Fault::Babble(Bytes::from_static(b"SSH-2.0-OpenSSH_9.6\r\n")),
            Passes,
            Unexpected,
        ),
        row("a head without an end", Fault::Babble(endless_head()), Passes, Unexpected),
        said("an internal error", Answer::error(500, "InternalError"), Passes, Unexpected),
        row(
            "an internal error afterwards",
            Fault::SayInstead(Answer::error(500, "InternalError")),
            Passes,
            Unexpected,
        ),
        said(
            "a slow-down",
            Answer::error(503, "SlowDown").header("retry-after", "0"),
            Passes,
            RateLimited,
        ),
        said("a bare 503", Answer::new(503, ""), Passes, RateLimited),
        said("a 429", Answer::error(429, "TooManyRequests"), Passes, RateLimited),
        said("a gateway without a server", Answer::web_page(502), Passes, Unexpected),
        said("a gateway that has waited in vain", Answer::web_page(504), Passes, Timeout),
        row("a head that comes byte by byte", Fault::Trickle, Harmless, Unexpected),
        said("an expired token", Answer::error(403, "ExpiredToken"), Final, unknown),
        said("a clock that is off", Answer::error(403, "RequestTimeTooSkewed"), Final, unknown),
        said("a wrong signature", Answer::error(403, "SignatureDoesNotMatch"), Final, unknown),
        said("a denial", Answer::error(403, "AccessDenied"), Final, PermissionDenied),
        said(
            "a denial that does not end",
            Answer::new(403, endless_document()),
            Final,
            PermissionDenied,
        ),
        said(
            "another region, as a redirection",
            Answer::error(301, "PermanentRedirect"),
            Final,
            InvalidConfig,
        ),
        said("another region, as a mistake", other_region(), Final, InvalidConfig),
        said("a redirection", redirection(), Final, InvalidConfig),
        said("a full service", Answer::error(507, "InsufficientStorage"), Final, StorageFull),
        said(
            "a verb that is not known",
            Answer::error(501, "NotImplemented"),
            Final,
            ErrorKind::Unsupported,
        ),
        said("a status that nobody knows", Answer::new(418, ""), Final, Unexpected),
    ];
    if !is_head {
        rows.extend([
            said(
                "a body that came too slowly",
                Answer::error(400, "RequestTimeout"),
                Passes,
                Timeout,
            ),
            said("an unknown bucket", Answer::error(404, "NoSuchBucket"), Final, InvalidConfig),
            said("a web page that is not there", Answer::web_page(404), Final, Unexpected),
        ]);
    }
    rows
}

fn row(name: &'static str, fault: Fault, verdict: Verdict, kind: ErrorKind) -> Row {
    Row { name, fault, verdict, kind }
}

fn said(name: &'static str, answer: Answer, verdict: Verdict, kind: ErrorKind) -> Row {
    row(name, Fault::Say(answer), verdict, kind)
}

fn other_region() -> Answer {
    Answer::error(400, "AuthorizationHeaderMalformed").header("x-amz-bucket-region", "eu-west-1")
}

/// To nowhere: whoever follows it finds nothing.
fn redirection() -> Answer {
    Answer::error(307, "TemporaryRedirect").header("location", "http://127.0.0.1:9/elsewhere")
}

/// Longer than anybody reads.
fn endless_document() -> Bytes {
    let mut document = b"<Error><Code>AccessDenied</Code><Message>".to_vec();
    document.resize(1_000_000, b'x');
    document.into()
}

fn endless_head() -> Bytes {
    let mut head = b"HTTP/1.1 200 OK\r\nx-endless: ".to_vec();
    head.resize(600_000, b'x');
    head.into()
}
