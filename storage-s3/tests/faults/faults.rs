//! [`faults`]: the faults of one request, each with its expected outcome.

use bytes::Bytes;
use storage_core::ErrorKind;

use crate::fault_proxy::{CannedResponse, Fault};

/// A fault and its expected outcome.
#[derive(Debug, Clone)]
pub(crate) struct FaultCase {
    pub(crate) name: &'static str,
    pub(crate) fault: Fault,
    pub(crate) outcome: Outcome,
    /// The kind of the error if the fault persists.
    pub(crate) kind: ErrorKind,
}

/// Whether the driver repeats the request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It repeats the request. If the fault occurs once, the verb succeeds.
    Retried,
    /// It does not repeat the request, because the first response is final.
    Final,
    /// The request succeeds in spite of the fault.
    Harmless,
}

/// Returns all faults of a request that may be repeated. The response to a HEAD has no document, so
/// that only its status counts.
pub(crate) fn faults(is_head: bool) -> Vec<FaultCase> {
    use ErrorKind::{
        InvalidConfig, PermissionDenied, RateLimited, StorageFull, Timeout, Unauthenticated,
        Unexpected,
    };
    use Outcome::{Final, Harmless, Retried};
    let unknown = if is_head { PermissionDenied } else { Unauthenticated };
    let mut cases = vec![
        case("a connection that closes", Fault::Drop, Retried, Unexpected),
        case("a connection that is reset", Fault::Reset, Retried, Unexpected),
        case("a lost response", Fault::LoseResponse, Retried, Unexpected),
        case("a response lost by a reset", Fault::ResetAfterRequest, Retried, Unexpected),
        case(
            "half a head",
            Fault::SendBytes(Bytes::from_static(b"HTTP/1.1 200 O")),
            Retried,
            Unexpected,
        ),
        case(
            "no HTTP",
            Fault::SendBytes(Bytes::from_static(b"SSH-2.0-OpenSSH_9.6\r\n")),
            Retried,
            Unexpected,
        ),
        case("a head without an end", Fault::SendBytes(endless_head()), Retried, Unexpected),
        response(
            "an internal error",
            CannedResponse::error(500, "InternalError"),
            Retried,
            Unexpected,
        ),
        case(
            "an internal error afterwards",
            Fault::ReplaceResponse(CannedResponse::error(500, "InternalError")),
            Retried,
            Unexpected,
        ),
        response(
            "a slow-down",
            CannedResponse::error(503, "SlowDown").header("retry-after", "0"),
            Retried,
            RateLimited,
        ),
        response(
            "a 503 that names a time",
            CannedResponse::new(503, "").header("retry-after", "0"),
            Retried,
            RateLimited,
        ),
        response(
            "a gateway that lost the server",
            CannedResponse::web_page(503),
            Retried,
            Unexpected,
        ),
        response("a 429", CannedResponse::error(429, "TooManyRequests"), Retried, RateLimited),
        response("a gateway without a server", CannedResponse::web_page(502), Retried, Unexpected),
        response("a gateway timeout", CannedResponse::web_page(504), Retried, Timeout),
        case("a head that comes byte by byte", Fault::Trickle, Harmless, Unexpected),
        response("an expired token", CannedResponse::error(403, "ExpiredToken"), Final, unknown),
        response(
            "a clock that is off",
            CannedResponse::error(403, "RequestTimeTooSkewed"),
            Final,
            unknown,
        ),
        response(
            "a wrong signature",
            CannedResponse::error(403, "SignatureDoesNotMatch"),
            Final,
            unknown,
        ),
        response("a denial", CannedResponse::error(403, "AccessDenied"), Final, PermissionDenied),
        response(
            "a denial that does not end",
            CannedResponse::new(403, endless_document()),
            Final,
            PermissionDenied,
        ),
        response(
            "another region, as a redirection",
            CannedResponse::error(301, "PermanentRedirect"),
            Final,
            InvalidConfig,
        ),
        response("another region, as a mistake", other_region(), Final, InvalidConfig),
        response("a redirection", redirection(), Final, InvalidConfig),
        response(
            "a full service",
            CannedResponse::error(507, "InsufficientStorage"),
            Final,
            StorageFull,
        ),
        response(
            "a verb that is not known",
            CannedResponse::error(501, "NotImplemented"),
            Final,
            ErrorKind::Unsupported,
        ),
        response("an unknown status", CannedResponse::new(418, ""), Final, Unexpected),
    ];
    if !is_head {
        cases.extend([
            response(
                "a body that came too slowly",
                CannedResponse::error(400, "RequestTimeout"),
                Retried,
                Timeout,
            ),
            response(
                "an unknown bucket",
                CannedResponse::error(404, "NoSuchBucket"),
                Final,
                InvalidConfig,
            ),
            response(
                "a web page that is not there",
                CannedResponse::web_page(404),
                Final,
                Unexpected,
            ),
        ]);
    }
    cases
}

fn case(name: &'static str, fault: Fault, outcome: Outcome, kind: ErrorKind) -> FaultCase {
    FaultCase { name, fault, outcome, kind }
}

fn response(
    name: &'static str,
    response: CannedResponse,
    outcome: Outcome,
    kind: ErrorKind,
) -> FaultCase {
    case(name, Fault::Respond(response), outcome, kind)
}

fn other_region() -> CannedResponse {
    CannedResponse::error(400, "AuthorizationHeaderMalformed")
        .header("x-amz-bucket-region", "eu-west-1")
}

/// Redirects to a URL without an object.
fn redirection() -> CannedResponse {
    CannedResponse::error(307, "TemporaryRedirect")
        .header("location", "http://127.0.0.1:9/elsewhere")
}

/// Longer than any client reads.
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
