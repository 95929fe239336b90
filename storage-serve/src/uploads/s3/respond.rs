//! The responses of these routes: JSON as of Uppy's Companion, and XML as of S3 where a client
//! sends bytes.

use bytes::Bytes;
use http::header::{
    ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderValue, RETRY_AFTER, X_CONTENT_TYPE_OPTIONS,
};
use http::{Response, StatusCode};
use serde::Serialize;
use storage_core::Error;

use crate::body::ResponseBody;
use crate::uploads::engine::{Failure, Incomplete};
use crate::uploads::grant::Refusal;
use crate::uploads::tus::Rejection;

/// A request that gets an error as response.
#[derive(Debug)]
pub(super) struct Failed {
    status: StatusCode,
    /// The code of S3, which is in the XML.
    code: &'static str,
    /// Without a line break at its end.
    text: String,
    allow: Option<&'static str>,
}

impl Failed {
    pub(super) fn new(status: StatusCode, code: &'static str, text: impl Into<String>) -> Self {
        let text = text.into().trim_end().to_owned();
        Self { status, code, text, allow: None }
    }

    pub(super) fn bad(text: String) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "InvalidRequest", text)
    }

    /// The response to an id that is forged, or to a key of another upload.
    pub(super) fn no_such_upload() -> Self {
        Self::new(StatusCode::NOT_FOUND, "NoSuchUpload", "There is no such upload.")
    }

    /// The response to an expired link. Uppy requests another one if it finds this message.
    pub(super) fn expired_link() -> Self {
        Self::new(StatusCode::FORBIDDEN, "AccessDenied", "Request has expired")
    }

    pub(super) fn not_allowed(allow: &'static str) -> Self {
        let text = "This method is not allowed here.";
        let failed = Self::new(StatusCode::METHOD_NOT_ALLOWED, "MethodNotAllowed", text);
        Self { allow: Some(allow), ..failed }
    }

    pub(super) fn json(self) -> Response<ResponseBody> {
        #[derive(Serialize)]
        struct Message<'a> {
            message: &'a str,
        }
        let mut response = json(&Message { message: &self.text });
        self.mark(&mut response);
        response
    }

    pub(super) fn xml(self) -> Response<ResponseBody> {
        let text = format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>{}</Code><Message>{}\
             </Message></Error>",
            self.code,
            escaped(&self.text)
        );
        let mut response = xml(text);
        self.mark(&mut response);
        response
    }

    fn mark(&self, response: &mut Response<ResponseBody>) {
        *response.status_mut() = self.status;
        if let Some(allow) = self.allow {
            response.headers_mut().insert(ALLOW, HeaderValue::from_static(allow));
        }
        if self.status == StatusCode::SERVICE_UNAVAILABLE {
            response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
        }
    }
}

impl From<Failure> for Failed {
    fn from(failure: Failure) -> Self {
        let code = match &failure {
            Failure::Gone => "NoSuchUpload",
            Failure::TooLarge => "EntityTooLarge",
            Failure::Rejected(_) | Failure::Refused(_) => "AccessDenied",
            Failure::Stalled => "RequestTimeout",
            Failure::BrokeOff => "IncompleteBody",
            Failure::Superseded | Failure::Busy => "OperationAborted",
            Failure::TooMany => "SlowDown",
            _ => "InternalError",
        };
        let Rejection { status, text } = Rejection::from(failure);
        Self::new(status, code, text)
    }
}

impl From<Incomplete> for Failed {
    fn from(incomplete: Incomplete) -> Self {
        match incomplete {
            Incomplete::Parts(reason) => Self::new(StatusCode::BAD_REQUEST, "InvalidPart", reason),
            Incomplete::Failed(failure) => failure.into(),
        }
    }
}

impl From<Error> for Failed {
    fn from(error: Error) -> Self {
        Failure::Storage(error).into()
    }
}

impl From<Rejection> for Failed {
    fn from(Rejection { status, text }: Rejection) -> Self {
        Self::new(status, "InvalidRequest", text)
    }
}

impl From<Refusal> for Failed {
    fn from(refusal: Refusal) -> Self {
        let Refusal { status, text } = refusal;
        Self::new(status, "AccessDenied", text)
    }
}

/// Returns a response with JSON that no cache stores.
pub(super) fn json(value: &impl Serialize) -> Response<ResponseBody> {
    // Only maps whose keys are no texts fail, and there are none.
    let text = serde_json::to_vec(value).unwrap_or_default();
    with_type("application/json", text)
}

/// Returns a response with XML that no cache stores.
pub(super) fn xml(text: String) -> Response<ResponseBody> {
    with_type("application/xml", text.into_bytes())
}

fn with_type(content_type: &'static str, text: Vec<u8>) -> Response<ResponseBody> {
    let mut response = Response::new(ResponseBody::bytes(Bytes::from(text)));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// Returns a text for XML.
pub(super) fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
