//! Secrets appear nowhere: not in errors and their sources, not in `Debug` forms, not in the log of
//! any crate at any level, regardless of the server's response.
//!
//! All secrets contain one word, so that parts of a secret are detected.

#![allow(clippy::unwrap_used, reason = "a test that meets an unforeseen error has failed")]

mod common;
#[path = "faults/fault_proxy/mod.rs"]
mod fault_proxy;

use std::error::Error as _;
use std::fmt::{Debug, Write as _};
use std::io::{self, Write};
use std::sync::{Arc, LazyLock, Mutex};
use std::time::Duration;

use fault_proxy::{CannedResponse, Fault, Proxy, RecordedRequest};
use futures_util::future::join_all;
use futures_util::{StreamExt, stream};
use storage_core::config::{Options, StorageConfig};
use storage_core::{Error, LinkBase, Metadata, Payload, Registry, Storage, UrlMethod};
use storage_s3::{Quirks, S3Builder};
use storage_testkit::http::closed_port;
use tracing_subscriber::fmt::MakeWriter;
use url::Url;

const WORD: &str = "canary";
const KEY_ID: &str = "AKIACANARYKEYID00000";
const SECRET: &str = "canary/secret+access/key=";

/// As long as such tokens are, which exceeds the excerpt of a message.
static TOKEN: LazyLock<String> = LazyLock::new(|| "canarySessionToken//////////+==".repeat(30));

/// The log of all crates and tests.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

/// Everything that was written: the log, and the printed values.
struct CapturedOutput {
    log: Log,
    values: Mutex<String>,
}

impl CapturedOutput {
    /// Captures everything from now on.
    fn begin() -> Self {
        static LOG: LazyLock<Log> = LazyLock::new(|| {
            let log = Log::default();
            let writer = tracing_subscriber::fmt()
                .with_max_level(tracing::Level::TRACE)
                .with_writer(log.clone());
            // Some crates use the crate `log`.
            tracing_log::LogTracer::init().unwrap();
            tracing::subscriber::set_global_default(writer.finish()).unwrap();
            log
        });
        Self { log: LOG.clone(), values: Mutex::default() }
    }

    fn record_event(&self, text: &str) {
        self.values.lock().unwrap().push_str(text);
    }

    fn text(&self) -> String {
        let log = String::from_utf8_lossy(&self.log.0.lock().unwrap()).into_owned();
        log + &self.values.lock().unwrap()
    }

    fn debug(&self, value: &impl Debug) {
        self.record_event(&format!("{value:?}\n{value:#?}\n"));
    }

    /// Captures an error and its sources.
    fn error(&self, error: &Error) {
        let mut text = format!("{error}\n{error:?}\n{error:#?}\n");
        let mut cause = error.source();
        while let Some(next) = cause {
            writeln!(text, "{next}\n{next:?}").unwrap();
            cause = next.source();
        }
        self.record_event(&text);
    }

    /// Asserts that no secret, no part of one and none of these signatures was written.
    #[track_caller]
    fn assert_hidden(&self, signatures: &[String]) {
        let text = self.text();
        // A shown signature may be shortened.
        let parts = signatures.iter().map(|signature| &signature[..20]);
        for secret in parts.chain([WORD]) {
            if let Some(at) = text.to_lowercase().find(secret) {
                let before: Vec<_> = text[..at].chars().rev().take(400).collect();
                panic!("{secret:?} shows, behind {}", before.into_iter().rev().collect::<String>());
            }
        }
    }

    #[track_caller]
    fn has(&self, text: &str) {
        assert!(self.text().contains(text), "{text:?} was never written");
    }
}

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Log {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

fn signature_of(request: &RecordedRequest) -> Option<String> {
    let authorization = request.headers().get("authorization")?.to_str().unwrap();
    Some(authorization.split("Signature=").nth(1)?.to_owned())
}

/// Returns all parts of a request, escaped for a document.
fn all_of(request: &RecordedRequest) -> String {
    let mut all = format!("{} {}", request.method(), request.uri());
    for (name, value) in request.headers() {
        write!(all, " {name}: {}", value.to_str().unwrap()).unwrap();
    }
    all.replace(['<', '&'], " ")
}

/// A server that repeats all that it received, in its responses.
struct EchoServer {
    proxy: Proxy,
    /// The received signatures.
    signatures: Arc<Mutex<Vec<String>>>,
}

impl EchoServer {
    fn start(
        response: impl Fn(&RecordedRequest, String) -> CannedResponse + Send + Sync + 'static,
    ) -> Self {
        let signatures = Arc::<Mutex<Vec<String>>>::default();
        let seen = Arc::clone(&signatures);
        let proxy = Proxy::scripted(move |request| {
            seen.lock().unwrap().extend(signature_of(request));
            response(request, all_of(request))
        });
        Self { proxy, signatures }
    }

    /// Responds with an error that repeats the secrets in every place that the driver reads.
    fn error(status: u16, code: &'static str) -> Self {
        let token = TOKEN.as_str();
        Self::start(move |_, all| {
            let document = format!(
                "<Error><Code>{code}</Code><Message>{token} {SECRET} {all}</Message><RequestId>{token}</RequestId>\
                 <HostId>{all}</HostId><Region>{SECRET}</Region></Error>"
            );
            let response = CannedResponse::new(status, document).header("x-amz-request-id", token);
            response.header("x-amz-id-2", SECRET).header("x-amz-bucket-region", KEY_ID)
        })
    }

    fn builder(&self) -> S3Builder {
        builder(&self.proxy.endpoint())
    }

    fn signatures(&self) -> Vec<String> {
        self.signatures.lock().unwrap().clone()
    }
}

fn builder(endpoint: &Url) -> S3Builder {
    S3Builder::new("bucket")
        .quirks(Quirks::None)
        .endpoint(endpoint.clone())
        .region("us-east-1")
        .access_key_id(KEY_ID)
        .secret_access_key(SECRET)
        .session_token(TOKEN.as_str())
        .allow_http(true)
        .part_size(5 * 1024 * 1024)
}

fn large() -> Payload {
    Payload::from_stream(stream::iter((0..6).map(|_| Ok::<_, Error>(vec![1; 1024 * 1024]))))
}

/// Runs every verb. Each of them fails.
async fn every_verb(storage: &Storage, output: &CapturedOutput) {
    let mut errors = Vec::new();
    errors.extend(storage.save("a", "body").await.err());
    errors.extend(storage.save("a", "body").create_new().await.err());
    errors.extend(storage.save("a", large()).await.err());
    errors.extend(storage.open("a").await.err());
    errors.extend(storage.stat("a").await.err());
    errors.extend(storage.exists("a").await.err());
    errors.extend(storage.delete("a").await.err());
    errors.extend(storage.delete_many(stream::iter(["a", "b"])).finish().await.err());
    errors.extend(storage.list("").entries().collect().await.err());
    errors.extend(storage.copy("a", "b").await.err());
    errors.extend(storage.copy("a", "b").metadata(Metadata::new()).await.err());
    assert_eq!(errors.len(), 11, "every one of them fails: {errors:?}");
    errors.iter().for_each(|error| output.error(error));
}

#[tokio::test]
async fn no_error_shows_a_secret_that_the_server_repeats() {
    let output = CapturedOutput::begin();
    let cases = [
        (403, "SignatureDoesNotMatch"),
        (403, "AccessDenied"),
        (400, "InvalidToken"),
        (400, "AuthorizationHeaderMalformed"),
        (301, "PermanentRedirect"),
        (403, "RequestTimeTooSkewed"),
        (404, "NoSuchBucket"),
        (418, "Unheard"),
        (400, ""),
        // Repeated requests are logged.
        (500, "InternalError"),
        (503, "SlowDown"),
    ];
    let signatures = join_all(cases.map(async |(status, code)| {
        let echo = EchoServer::error(status, code);
        every_verb(&Storage::new(echo.builder().build().unwrap()), &output).await;
        echo.signatures()
    }));
    let signatures = signatures.await.concat();
    assert!(signatures.len() > 100, "{} signatures were seen", signatures.len());
    output.has("SignatureDoesNotMatch (403): *** *** GET");
    output.has("an S3 request is repeated");
    output.assert_hidden(&signatures);
}

#[tokio::test]
async fn no_error_shows_a_secret_in_place_of_a_code() {
    let output = CapturedOutput::begin();
    let codes = [SECRET, TOKEN.as_str(), KEY_ID];
    let signatures = join_all(codes.map(async |code| {
        let echo = EchoServer::error(500, code);
        let storage = Storage::new(echo.builder().build().unwrap());
        output.error(&storage.open("a").await.unwrap_err());
        echo.signatures()
    }));
    output.assert_hidden(&signatures.await.concat());
}

#[tokio::test]
async fn no_error_in_a_response_of_success_shows_a_secret() {
    let output = CapturedOutput::begin();
    let echo = EchoServer::start(|request, all| {
        let token = TOKEN.as_str();
        let query = request.uri().query().unwrap_or_default();
        let error =
            format!("<Error><Code>AccessDenied</Code><Message>{token} {all}</Message></Error>");
        let response = match request.method().as_str() {
            "POST" if query.starts_with("uploads=") => {
                "<InitiateMultipartUploadResult><UploadId>1</UploadId></InitiateMultipartUploadResult>".to_owned()
            }
            "POST" if query.starts_with("delete=") => {
                let of_key =
                    format!("<Error><Key>a</Key><Code>AccessDenied</Code><Message>{all} {token}</Message></Error>");
                format!("<DeleteResult>{of_key}</DeleteResult>")
            }
            _ => error,
        };
        CannedResponse::new(200, response).header("etag", "\"e\"").header("x-amz-request-id", token)
    });
    // The abort is refused too, which only the log reports.
    let refused = CannedResponse::error(403, TOKEN.as_str());
    let aborted = echo.proxy.on("AbortMultipartUpload").then(Fault::Respond(refused));
    let storage = Storage::new(echo.builder().build().unwrap());
    let mut errors = vec![
        storage.save("a", large()).await.unwrap_err(),
        storage.copy("a", "b").await.unwrap_err(),
        storage.list("").entries().next().await.unwrap().unwrap_err(),
    ];
    errors.extend(
        storage
            .delete_many(stream::iter(["a", "b"]))
            .filter_map(async |key| key.err())
            .collect::<Vec<_>>()
            .await,
    );
    assert_eq!(errors.len(), 4, "{errors:?}");
    errors.iter().for_each(|error| output.error(error));
    aborted.assert_fired();
    output.has("AccessDenied (200): *** POST");
    output.has("an upload could not be aborted");
    output.assert_hidden(&echo.signatures());
}

#[tokio::test]
async fn no_error_of_a_connection_shows_a_secret() {
    let output = CapturedOutput::begin();
    let faults = [
        Fault::Drop,
        Fault::Reset,
        Fault::SendBytes(format!("HTTP/1.1 {} {SECRET}\r\n\r\n", TOKEN.as_str()).into()),
        Fault::SendBytes(format!("HTTP/1.1 200 OK\r\n{SECRET}\r\n\r\n").into()),
        Fault::Respond(CannedResponse::web_page(200)),
        Fault::Truncate(3),
    ];
    let signatures = join_all(faults.map(async |fault| {
        let echo = EchoServer::start(|_, all| CannedResponse::new(403, all));
        let broken = echo.proxy.on("*").then(fault);
        let storage = Storage::new(echo.builder().build().unwrap());
        // Texts that a connection cannot contain are reported in errors.
        for error in [
            storage.save("a", "body").await.err(),
            storage.list("").entries().collect().await.err(),
        ] {
            output.error(&error.unwrap());
        }
        broken.assert_fired();
        echo.signatures()
    }));
    let signatures = signatures.await.concat();
    let storage = Storage::new(builder(&closed_port()).build().unwrap());
    output.error(&storage.stat("a").await.unwrap_err());
    output.has("no connection to 127.0.0.1");
    output.has("TRACE");
    output.assert_hidden(&signatures);
}

#[tokio::test]
async fn the_debug_form_of_a_link_is_not_a_working_link() {
    let output = CapturedOutput::begin();
    let storage =
        Storage::new(builder(&"https://s3.example.com".parse().unwrap()).build().unwrap());
    let mut signatures = Vec::new();
    for method in [UrlMethod::Get, UrlMethod::Head, UrlMethod::Put, UrlMethod::Post] {
        let link =
            storage.url("a").method(method).expires_in(Duration::from_secs(60)).await.unwrap();
        let url = link.url().unwrap();
        let in_query = url.query_pairs().find(|(name, _)| name == "X-Amz-Signature");
        let in_form = link.fields.iter().find(|(name, _)| name == "x-amz-signature");
        signatures.extend(in_query.map(|(_, signature)| signature.into_owned()));
        signatures.extend(in_form.map(|(_, signature)| signature.clone()));
        output.debug(&link);
        let too_long =
            storage.url("a").method(method).expires_in(Duration::from_secs(8 * 24 * 60 * 60)).await;
        output.error(&too_long.unwrap_err());
    }
    assert_eq!(signatures.len(), 4);
    output.assert_hidden(&signatures);
}

#[test]
fn no_driver_and_no_builder_shows_its_secrets() {
    let output = CapturedOutput::begin();
    let with_password: Url = format!("https://{KEY_ID}:{WORD}@s3.example.com").parse().unwrap();
    for builder in [
        builder(&"https://s3.example.com".parse().unwrap()),
        builder(&with_password),
        builder(&"https://s3.example.com".parse().unwrap()).signing_endpoint(with_password.clone()),
    ] {
        output.debug(&builder);
        match builder.build() {
            Ok(driver) => {
                output.debug(&driver);
                output.debug(&Storage::new(driver));
            }
            Err(error) => output.error(&error),
        }
    }
    output.has("S3Builder");
    output.error(&LinkBase::try_from(with_password).unwrap_err());
    output.assert_hidden(&[]);
}

#[tokio::test]
async fn a_secret_that_a_header_cannot_contain_is_not_shown() {
    let output = CapturedOutput::begin();
    for (id, token) in
        [(format!("{KEY_ID}\n"), TOKEN.clone()), (KEY_ID.to_owned(), format!("{SECRET}\r\nx: y"))]
    {
        let builder =
            builder(&"http://127.0.0.1:9".parse().unwrap()).access_key_id(id).session_token(token);
        match builder.build() {
            Ok(driver) => output.error(&Storage::new(driver).stat("a").await.unwrap_err()),
            Err(error) => output.error(&error),
        }
    }
    output.assert_hidden(&[]);
}

#[test]
fn a_refused_configuration_is_not_quoted() {
    let output = CapturedOutput::begin();
    let mut registry = Registry::new();
    storage_s3::register(&mut registry);
    for odd in [
        format!("s3://bucket?secret_access_key={SECRET}"),
        format!("s3://bucket?region=us-east-1&session_token={}", TOKEN.as_str()),
        format!("s3://user:{SECRET}@bucket"),
        format!("s3://bucket?endpoint=http://{KEY_ID}:secret@127.0.0.1&allow_http=true"),
        format!("s3://bucket?endpoint=https://127.0.0.1/?token={WORD}"),
    ] {
        output.error(&registry.open_url(&odd).unwrap_err());
    }
    let options =
        || Options::new().with("bucket", "b").with("region", "r").with("secret_access_key", SECRET);
    let with_key = || options().with("access_key_id", KEY_ID);
    for wrong in [
        options(),
        with_key().with("unknown", SECRET),
        with_key().with("part_size", SECRET),
        with_key().with("endpoint", SECRET),
        with_key().with("endpoint", format!("https://{KEY_ID}:{WORD}@127.0.0.1")),
        with_key().with("checksum", SECRET),
        with_key().with("quirks", SECRET),
        with_key().with("acl", format!("{SECRET}\n")),
        with_key().with("region", format!("{SECRET} ")),
        with_key().with("bucket", format!("{SECRET}/")),
        with_key().with("secret_access_key", Options::new().with("nested", SECRET)),
    ] {
        output.debug(&wrong);
        let config = StorageConfig::new("s3", wrong).unwrap();
        output.debug(&config);
        output.error(&registry.open_config(&config).unwrap_err());
    }
    output.has("InvalidConfig");
    output.assert_hidden(&[]);
}
