//! [`Problem`]: an error as a problem document (RFC 9457).

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER};
use http::{Response, StatusCode};
use serde_json::{Map, Value, json};

use crate::body::ResponseBody;
use crate::errors::text_response;
use crate::uploads::engine::Failure;
use crate::uploads::grant::Refusal;
use crate::uploads::tus::Rejection;

const OFFSET: HeaderName = HeaderName::from_static("upload-offset");
/// Where IANA registers the types of problems.
const REGISTRY: &str = "https://iana.org/assignments/http-problem-types#";

/// A request that gets an error as response.
#[derive(Debug)]
pub(super) struct Problem {
    status: StatusCode,
    /// The name in the registry. Without one, the status says everything.
    kind: Option<&'static str>,
    title: String,
    members: Vec<(&'static str, Value)>,
    headers: Vec<(HeaderName, HeaderValue)>,
    /// Whether the file was received completely, so that continuing does not help.
    pub(super) is_final: bool,
}

impl Problem {
    pub(super) fn new(status: StatusCode, title: impl Into<String>) -> Self {
        let title = title.into().trim_end().to_owned();
        let (members, headers) = (Vec::new(), Vec::new());
        Self { status, kind: None, title, members, headers, is_final: false }
    }

    fn of_kind(status: StatusCode, kind: &'static str, title: &str) -> Self {
        Self { kind: Some(kind), ..Self::new(status, title) }
    }

    pub(super) fn bad(title: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, title)
    }

    pub(super) fn inconsistent_length() -> Self {
        let title = "The length contradicts the body or an earlier request.";
        Self::of_kind(StatusCode::BAD_REQUEST, "inconsistent-upload-length", title)
    }

    pub(super) fn completed() -> Self {
        let title = "The upload is already complete.";
        Self::of_kind(StatusCode::BAD_REQUEST, "completed-upload", title)
    }

    pub(super) fn mismatching_offset(expected: u64, provided: u64) -> Self {
        let title = "The request does not begin where the upload ends.";
        let problem = Self::of_kind(StatusCode::CONFLICT, "mismatching-upload-offset", title);
        let problem = problem.header(OFFSET, HeaderValue::from(expected));
        problem
            .member("expected-offset", json!(expected))
            .member("provided-offset", json!(provided))
    }

    /// A digest of which the server knows no algorithm.
    pub(super) fn unsupported_digest(header: &str, algorithms: &[String]) -> Self {
        let title = "The digest has no algorithm that the server can verify.";
        let entry = |algorithm: &String| json!({ "algorithm": algorithm, "header": header });
        let list = algorithms.iter().map(entry).collect();
        Self::of_kind(StatusCode::BAD_REQUEST, "digest-unsupported-algorithms", title)
            .member("unsupported-algorithms", Value::Array(list))
    }

    pub(super) fn invalid_digest(header: &str, algorithm: &str, reason: &str) -> Self {
        let list = json!([{ "algorithm": algorithm, "header": header, "reason": reason }]);
        let title = "The value is no digest of its algorithm.";
        Self::of_kind(StatusCode::BAD_REQUEST, "digest-invalid-values", title)
            .member("invalid-digests", list)
    }

    pub(super) fn mismatching_digest(header: &str, algorithm: &str) -> Self {
        let title = "The body has another digest. None of its bytes are kept.";
        let list = json!([{ "algorithm": algorithm, "header": header }]);
        Self::of_kind(StatusCode::BAD_REQUEST, "digest-mismatching-values", title)
            .member("mismatching-digests", list)
    }

    pub(super) fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.push((name, value));
        self
    }

    fn member(mut self, name: &'static str, value: Value) -> Self {
        self.members.push((name, value));
        self
    }

    fn finally(mut self) -> Self {
        self.is_final = true;
        self
    }

    pub(super) fn response(self) -> Response<ResponseBody> {
        let Self { status, kind, title, members, headers, .. } = self;
        let kind =
            kind.map_or_else(|| "about:blank".to_owned(), |kind| format!("{REGISTRY}{kind}"));
        let mut document = Map::new();
        document.insert("type".to_owned(), kind.into());
        document.insert("title".to_owned(), title.into());
        document.insert("status".to_owned(), status.as_u16().into());
        document.extend(members.into_iter().map(|(name, value)| (name.to_owned(), value)));
        let mut response = text_response(status, "");
        *response.body_mut() =
            ResponseBody::bytes(Bytes::from(Value::Object(document).to_string()));
        response.headers_mut().extend(headers);
        let json = HeaderValue::from_static("application/problem+json");
        response.headers_mut().insert(CONTENT_TYPE, json);
        if status == StatusCode::SERVICE_UNAVAILABLE {
            response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
        }
        response
    }
}

impl From<Rejection> for Problem {
    fn from(Rejection { status, text }: Rejection) -> Self {
        Self::new(status, text)
    }
}

/// Clients of the draft repeat a request after 5xx only, and continue after a 409 that contains the
/// offset.
impl From<Failure> for Problem {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::WrongLength => Self::inconsistent_length(),
            Failure::Completed => Self::completed(),
            Failure::Busy | Failure::Superseded => Self::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "Another request is at work on the upload.",
            ),
            // The file is complete, and its processing failed for good.
            Failure::Refused(Refusal { status, text }) if status.is_client_error() => {
                Self::new(status, text).finally()
            }
            Failure::Rejected(_) => Self::from(Rejection::from(failure)).finally(),
            failure => Self::from(Rejection::from(failure)),
        }
    }
}
