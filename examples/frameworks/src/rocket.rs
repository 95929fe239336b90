//! Rocket 0.5.

use std::convert::Infallible;

use anystorage::serve::{ResponseBody, Serve, error_response_of_call, respond};
use anystorage::{Error, Storage};
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use rocket::data::ToByteUnit;
use rocket::http::Status;
use rocket::request::{self, FromRequest};
use rocket::response::{self, Responder};
use rocket::route::{self, Handler, Route};
use rocket::{Build, Data, Request, Response, Rocket, State, get, put, routes};
use tokio_util::io::StreamReader;

#[put("/photos/<name>", data = "<photo>")]
async fn upload(storage: &State<Storage>, name: &str, photo: Data<'_>) -> Result<Status, Failure> {
    let mut writer = storage.writer(format!("photos/{name}")).await?;
    if !photo.open(10.mebibytes()).stream_to(&mut writer).await?.complete {
        return Ok(Status::PayloadTooLarge); // without `finish`, nothing is stored
    }
    writer.finish().await?;
    Ok(Status::Created)
}

#[get("/photos/<name>")]
async fn download(storage: &State<Storage>, name: &str, head: Head) -> Result<Found, Failure> {
    // Check here that the user may read it.
    Ok(Found(respond(storage, format!("photos/{name}"), &Method::GET, &head.0).await?))
}

/// Handles the requests for signed links.
#[derive(Clone)]
struct Media(Serve);

#[rocket::async_trait]
impl Handler for Media {
    async fn handle<'r>(&self, request: &'r Request<'_>, _data: Data<'r>) -> route::Outcome<'r> {
        let mut converted = http::Request::new(String::new());
        *converted.uri_mut() = request.uri().to_string().parse().unwrap_or_default();
        *converted.headers_mut() = headers(request);
        route::Outcome::from(request, Found(self.0.handle(converted).await))
    }
}

/// The headers of a request.
struct Head(HeaderMap);

#[rocket::async_trait]
impl<'r> FromRequest<'r> for Head {
    type Error = Infallible;

    async fn from_request(request: &'r Request<'_>) -> request::Outcome<Self, Infallible> {
        request::Outcome::Success(Self(headers(request)))
    }
}

fn headers(request: &Request<'_>) -> HeaderMap {
    let convert = |header: rocket::http::Header<'_>| {
        let name = HeaderName::try_from(header.name.as_str()).ok()?;
        Some((name, HeaderValue::try_from(header.value.as_ref()).ok()?))
    };
    let mut headers = HeaderMap::new();
    for (name, value) in request.headers().iter().filter_map(convert) {
        headers.append(name, value);
    }
    headers
}

/// A response of the storage.
struct Found(http::Response<ResponseBody>);

impl<'r> Responder<'r, 'static> for Found {
    fn respond_to(self, _request: &'r Request<'_>) -> response::Result<'static> {
        let (head, body) = self.0.into_parts();
        let mut response = Response::build();
        response.status(Status::new(head.status.as_u16()));
        for (name, value) in &head.headers {
            let value = String::from_utf8_lossy(value.as_bytes()).into_owned();
            response.raw_header_adjoin(name.to_string(), value);
        }
        response.streamed_body(StreamReader::new(body)).ok()
    }
}

/// An error of a storage as a response.
struct Failure(Error);

impl<E: Into<Error>> From<E> for Failure {
    fn from(error: E) -> Self {
        Self(error.into())
    }
}

impl<'r> Responder<'r, 'static> for Failure {
    fn respond_to(self, request: &'r Request<'_>) -> response::Result<'static> {
        Found(error_response_of_call(&self.0)).respond_to(request)
    }
}

pub fn app(mut rocket: Rocket<Build>, storage: Storage) -> anystorage::Result<Rocket<Build>> {
    // Signed links: storage.url(key).expires_in(..). With S3, they lead to S3.
    if let Some(serve) = Serve::for_own_links(&storage)? {
        let media = serve.mount_path().to_owned();
        let handler = Media(serve.strip_mount_path());
        rocket = rocket.mount(media, [Route::new(rocket::http::Method::Get, "/<key..>", handler)]);
    }
    Ok(rocket.mount("/", routes![upload, download]).manage(storage))
}
