//! [`Cors`]: the pages of other origins that may use a service (Fetch Standard, section 3.3).

use std::fmt;
use std::time::Duration;

use http::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE,
    ACCESS_CONTROL_REQUEST_METHOD, CACHE_CONTROL, HeaderName, HeaderValue, ORIGIN, VARY,
};
use http::request::Parts;
use http::{Method, Response, StatusCode};
use storage_core::{Error, Result};
use url::Url;

use crate::body::ResponseBody;

/// How long a browser may keep the response to a preflight, unless another time is set (2 hours,
/// which is the most that Chromium keeps one).
const MAX_AGE: Duration = Duration::from_secs(2 * 60 * 60);

/// Allows pages of other origins to use a service from a browser (CORS).
///
/// A browser hides a response from a page of another origin, and does not send most requests,
/// unless the server allows it with headers. Fonts, `fetch`, players that read ranges, and uploads
/// need this. Pass it to [`Serve::cors`](crate::Serve::cors) or to
/// [`Uploads::cors`](crate::uploads::Uploads::cors), which know the methods and headers of their
/// protocols. Without it, a service sends none of these headers, so that an application can use a
/// layer of its own.
///
/// - Preflights of an allowed origin get 204 with the allowed methods and headers.
/// - Every response to an allowed origin has `Access-Control-Allow-Origin` and
///   `Access-Control-Expose-Headers`, also an error.
/// - With a list of origins, every response has `Vary: Origin`, so that a cache does not send the
///   headers for one origin to another.
/// - A page of any other origin gets no such header. The request is handled nevertheless: CORS
///   protects the users of browsers, and is no access control.
///
/// ```
/// use http::Request;
/// use http_body_util::Empty;
/// use storage_serve::{Cors, Serve};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let storage = storage_core::Memory::storage();
/// storage.save("fonts/a.woff2", "hello").await?;
/// let serve = Serve::new(storage).cors(Cors::origins(["https://www.example.com"])?);
///
/// let request = Request::get("/fonts/a.woff2")
///     .header("origin", "https://www.example.com")
///     .body(Empty::<bytes::Bytes>::new())?;
/// let response = serve.handle(request).await;
/// assert_eq!(response.headers()["access-control-allow-origin"], "https://www.example.com");
/// # Ok(()) }
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cors {
    origins: Origins,
    has_credentials: bool,
    request_headers: Vec<HeaderName>,
    exposed_headers: Vec<HeaderName>,
    max_age: Duration,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Origins {
    Any,
    Listed(Vec<String>),
}

impl Cors {
    /// Allows pages of every origin, without credentials.
    #[must_use]
    pub fn any_origin() -> Self {
        Self::new(Origins::Any)
    }

    /// Allows pages of these origins, such as `https://www.example.com` or
    /// `http://localhost:5173`. The list `["*"]` is the same as [`any_origin`](Self::any_origin).
    ///
    /// An origin is a scheme, a host, and a port unless it is the default of the scheme (RFC 6454
    /// section 6.2). Origins are compared as browsers send them, so this function accepts no other
    /// notation.
    ///
    /// # Errors
    /// `InvalidConfig` if the list is empty, if an element is not an origin in the notation of
    /// browsers, or if `*` is not the only element. `null` is not accepted, because every sandboxed
    /// page has this origin.
    pub fn origins<T: AsRef<str>>(origins: impl IntoIterator<Item = T>) -> Result<Self> {
        let origins: Vec<String> =
            origins.into_iter().map(|origin| origin.as_ref().to_owned()).collect();
        match &*origins {
            [] => return Err(Error::config("the list of origins is empty")),
            [all] if all == "*" => return Ok(Self::any_origin()),
            _ => origins.iter().try_for_each(|origin| check_origin(origin))?,
        }
        Ok(Self::new(Origins::Listed(origins)))
    }

    fn new(origins: Origins) -> Self {
        Self {
            origins,
            has_credentials: false,
            request_headers: Vec::new(),
            exposed_headers: Vec::new(),
            max_age: MAX_AGE,
        }
    }

    /// Allows requests with credentials: cookies, client certificates and passwords that the
    /// browser adds. Defaults to none. A header `Authorization` that a page sets itself needs no
    /// such permission.
    ///
    /// # Errors
    /// `InvalidConfig` if every origin is allowed, because then every site could act as the user.
    pub fn credentials(mut self) -> Result<Self> {
        if self.origins == Origins::Any {
            return Err(Error::config(
                "credentials cannot be allowed for every origin: list the origins",
            ));
        }
        self.has_credentials = true;
        Ok(self)
    }

    /// Allows further request headers, which the application or a proxy reads. The headers of the
    /// service's own protocols are always allowed, and so are `Authorization`, `X-CSRF-Token`,
    /// `X-Request-ID` and `X-Requested-With`.
    #[must_use]
    pub fn request_headers(mut self, names: impl IntoIterator<Item = HeaderName>) -> Self {
        self.request_headers.extend(names);
        self
    }

    /// Lets pages read further response headers, such as user metadata or those that a proxy adds.
    /// Pages can always read the headers of the service's own protocols.
    #[must_use]
    pub fn exposed_headers(mut self, names: impl IntoIterator<Item = HeaderName>) -> Self {
        self.exposed_headers.extend(names);
        self
    }

    /// Sets how long a browser may keep the response to a preflight, in whole seconds. Defaults to
    /// `2h`. Browsers have upper bounds of their own.
    #[must_use]
    pub fn max_age(mut self, max_age: Duration) -> Self {
        self.max_age = max_age;
        self
    }

    /// Returns whether a page of this origin may send a request with or without credentials.
    #[cfg(feature = "uploads")]
    pub(crate) fn accepts(&self, origin: &HeaderValue, has_credentials: bool) -> bool {
        self.is_allowed(origin) && (self.has_credentials || !has_credentials)
    }

    fn is_allowed(&self, origin: &HeaderValue) -> bool {
        self.origins == Origins::Any || self.lists(origin)
    }

    /// Returns whether the origin is one of a list.
    fn lists(&self, origin: &HeaderValue) -> bool {
        match &self.origins {
            Origins::Any => false,
            Origins::Listed(listed) => {
                listed.iter().any(|listed| listed.as_bytes() == origin.as_bytes())
            }
        }
    }
}

/// What a browser needs to know of a service.
#[derive(Debug)]
pub struct Access {
    /// The methods, separated by commas.
    pub methods: &'static str,
    /// The names of the request headers that need permission.
    pub request: &'static [&'static str],
    /// The names of the response headers that a page cannot read without permission.
    pub exposed: &'static [&'static str],
}

const COMMON_REQUEST_HEADERS: &[&str] = &[
    "authorization",
    "content-type",
    "if-match",
    "if-none-match",
    "x-csrf-token",
    "x-request-id",
    "x-requested-with",
];

const COMMON_EXPOSED_HEADERS: &[&str] =
    &["allow", "content-disposition", "date", "etag", "location", "retry-after", "x-request-id"];

/// CORS around the handling of one request: create it from the request, respond with
/// [`preflight`](Self::preflight) or handle the request, and [`apply`](Self::apply) it to the
/// response in either case.
#[derive(Debug)]
pub struct CorsExchange<'a> {
    cors: Option<&'a Cors>,
    origin: Option<HeaderValue>,
    access: &'static Access,
}

impl<'a> CorsExchange<'a> {
    /// Returns the exchange for a request to a service. Without `cors` it changes nothing.
    #[must_use]
    pub fn new(cors: Option<&'a Cors>, head: &Parts, access: &'static Access) -> Self {
        Self { cors, origin: cors.and(head.headers.get(ORIGIN)).cloned(), access }
    }

    /// Returns the response to a preflight (section 4.8), or `None` for any other request.
    #[must_use]
    pub fn preflight(&self, head: &Parts) -> Option<Response<ResponseBody>> {
        let (cors, origin) = (self.cors?, self.origin.as_ref()?);
        if head.method != Method::OPTIONS
            || !head.headers.contains_key(ACCESS_CONTROL_REQUEST_METHOD)
        {
            return None;
        }
        let mut response = Response::new(ResponseBody::none());
        *response.status_mut() = StatusCode::NO_CONTENT;
        let headers = response.headers_mut();
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if cors.is_allowed(origin) {
            let methods = HeaderValue::from_static(self.access.methods);
            headers.insert(ACCESS_CONTROL_ALLOW_METHODS, methods);
            let allowed = [COMMON_REQUEST_HEADERS, self.access.request];
            headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, list(allowed, &cors.request_headers));
            headers.insert(ACCESS_CONTROL_MAX_AGE, HeaderValue::from(cors.max_age.as_secs()));
        }
        Some(response)
    }

    /// Adds the headers that every response has.
    ///
    /// A service that allows every origin sends them also without an `Origin`, so that a cache can
    /// store one response for all. Otherwise the response depends on the origin, also if it is
    /// missing or not allowed.
    #[must_use]
    pub fn apply<B>(&self, mut response: Response<B>) -> Response<B> {
        let Some(cors) = self.cors else { return response };
        let headers = response.headers_mut();
        let allowed = match (&cors.origins, &self.origin) {
            (Origins::Any, _) => HeaderValue::from_static("*"),
            (Origins::Listed(_), origin) => {
                headers.append(VARY, HeaderValue::from_static("origin"));
                match origin.as_ref().filter(|origin| cors.is_allowed(origin)) {
                    Some(origin) => origin.clone(),
                    None => return response,
                }
            }
        };
        headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, allowed);
        let exposed = [COMMON_EXPOSED_HEADERS, self.access.exposed];
        headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, list(exposed, &cors.exposed_headers));
        if cors.has_credentials {
            headers.insert(ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
        }
        response
    }
}

/// Returns a list of names, separated by commas.
fn list(fixed: [&[&str]; 2], added: &[HeaderName]) -> HeaderValue {
    let fixed = fixed.into_iter().flatten().copied();
    let names: Vec<&str> = fixed.chain(added.iter().map(HeaderName::as_str)).collect();
    // Names of headers are always valid in a value.
    HeaderValue::try_from(names.join(", ")).unwrap_or(HeaderValue::from_static(""))
}

/// Fails unless the text is an origin as browsers serialize it (RFC 6454 section 6.2).
fn check_origin(text: &str) -> Result<()> {
    let bad = |why: &dyn fmt::Display| Err(Error::config(format!("origin {text:?}: {why}")));
    if text == "null" {
        return bad(&"every sandboxed page has it, so it identifies no site");
    }
    if text.contains('*') {
        return bad(&"contains a wildcard; list each origin, or only \"*\" for every origin");
    }
    let example = "write a scheme and a host, as in \"https://www.example.com\"";
    let Ok(url) = Url::parse(text) else { return bad(&example) };
    let Some(host) = url.host_str().filter(|host| !host.is_empty()) else { return bad(&example) };
    // `Url::origin` is opaque for the schemes of applications, such as `capacitor`.
    let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
    let serialized = format!("{}://{host}{port}", url.scheme());
    if text != serialized {
        return bad(&format_args!("write it as browsers send it: \"{serialized}\""));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_origins_in_the_notation_of_browsers_are_accepted() {
        let origins = [
            "https://a.example",
            "http://localhost:5173",
            "http://[::1]:80",
            "capacitor://localhost",
        ];
        // Browsers leave out the default port.
        assert!(Cors::origins(origins).is_err());
        assert!(Cors::origins([origins[0], origins[1], origins[3]]).is_ok());
        for (wrong, advice) in [
            ("https://a.example/", "\"https://a.example\""),
            ("https://a.example:443", "\"https://a.example\""),
            ("HTTPS://A.example", "\"https://a.example\""),
            ("https://a.example/b?c#d", "\"https://a.example\""),
            ("https://user@a.example", "\"https://a.example\""),
            ("https://bücher.example", "\"https://xn--bcher-kva.example\""),
            ("a.example", "write a scheme"),
            ("file:///a", "write a scheme"),
            ("", "write a scheme"),
            ("null", "sandboxed"),
            ("https://*.a.example", "wildcard"),
        ] {
            let error = Cors::origins([wrong]).unwrap_err();
            assert!(error.message().contains(advice), "{wrong}: {error}");
        }
        assert!(Cors::origins(["*", "https://a.example"]).is_err());
        assert!(Cors::origins(<[&str; 0]>::default()).is_err());
    }

    #[test]
    fn credentials_need_a_list_of_origins() {
        assert!(Cors::any_origin().credentials().is_err());
        assert!(Cors::origins(["*"]).unwrap().credentials().is_err());
        assert!(Cors::origins(["https://a.example"]).unwrap().credentials().is_ok());
    }
}
