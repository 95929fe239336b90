//! Nothing that authenticates shows anywhere: not in errors and what caused them, not in `Debug`, not in logs, whatever a
//! server answers.

#![allow(clippy::unwrap_used, reason = "a test that meets an unforeseen error has failed")]

mod common;

use std::error::Error as _;
use std::fmt::{Debug, Write as _};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::stream;
use storage_core::config::Options;
use storage_core::{Error, Metadata, Payload, Registry, Storage, UrlMethod};
use storage_s3::S3Builder;
use tracing_subscriber::fmt::MakeWriter;
use url::Url;

const KEY_ID: &str = "AKIACANARYKEYID00000";
const SECRET: &str = "canary/secret+access/key=";
const TOKEN: &str = "canarySessionToken//////////+==";

/// All that was written: by the log, and by what the tests print of values.
#[derive(Clone, Default)]
struct Told(Arc<Mutex<Vec<u8>>>);

impl Told {
    fn note(&self, text: &str) {
        self.0.lock().unwrap().extend_from_slice(text.as_bytes());
    }

    fn debug(&self, value: &impl Debug) {
        self.note(&format!("{value:?}\n{value:#?}\n"));
    }

    /// An error, and all that is behind it.
    fn error(&self, error: &Error) {
        let mut text = format!("{error}\n{error:?}\n");
        let mut cause = error.source();
        while let Some(next) = cause {
            writeln!(text, "{next}\n{next:?}").unwrap();
            cause = next.source();
        }
        self.note(&text);
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().unwrap()).into_owned()
    }
}

impl Write for Told {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Told {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

/// A server that answers each request with this status, and throws back at the driver all that it was sent.
struct Echo {
    endpoint: Url,
    /// The signatures that came.
    signatures: Arc<Mutex<Vec<String>>>,
}

impl Echo {
    fn start(status: u16, code: &'static str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
        let signatures = Arc::<Mutex<Vec<String>>>::default();
        let seen = Arc::clone(&signatures);
        // Ends with the process.
        std::thread::spawn(move || {
            for socket in listener.incoming().flatten() {
                let seen = Arc::clone(&seen);
                std::thread::spawn(move || answer(socket, status, code, &seen));
            }
        });
        Self { endpoint, signatures }
    }
}

fn answer(socket: std::net::TcpStream, status: u16, code: &str, seen: &Mutex<Vec<String>>) -> Option<()> {
    let mut socket = BufReader::new(socket);
    loop {
        let (mut head, mut length, mut is_head) = (String::new(), 0, false);
        loop {
            let mut line = String::new();
            if socket.read_line(&mut line).ok()? == 0 {
                return None;
            }
            if line == "\r\n" {
                break;
            }
            is_head |= line.starts_with("HEAD ");
            let (name, value) = line.trim().split_once(": ").unwrap_or((line.trim(), ""));
            match name.to_ascii_lowercase().as_str() {
                "content-length" => length = value.parse().ok()?,
                "authorization" => seen.lock().ok()?.push(value.split("Signature=").nth(1)?.to_owned()),
                _ => {}
            }
            head.push_str(line.trim());
            head.push(' ');
        }
        io::copy(&mut socket.by_ref().take(length), &mut io::sink()).ok()?;
        let echoed = head.replace(['<', '&'], " ");
        let body = format!(
            "<Error><Code>{code}</Code><Message>{echoed} {SECRET}</Message><RequestId>{TOKEN}</RequestId>\
             <HostId>{echoed}</HostId><Region>{SECRET}</Region></Error>"
        );
        let length = body.len();
        let shown = if is_head { "" } else { &body };
        let written = write!(
            socket.get_mut(),
            "HTTP/1.1 {status} Echo\r\ncontent-length: {length}\r\nx-amz-request-id: {TOKEN}\r\n\
             x-amz-bucket-region: {SECRET}\r\n\r\n{shown}"
        );
        written.ok()?;
    }
}

fn builder(endpoint: &Url) -> S3Builder {
    S3Builder::new("bucket")
        .endpoint(endpoint.clone())
        .region("us-east-1")
        .access_key_id(KEY_ID)
        .secret_access_key(SECRET)
        .session_token(TOKEN)
        .allow_http(true)
        .part_size(5 * 1024 * 1024)
}

/// Every verb, each of which fails.
async fn every_verb(storage: &Storage, told: &Told) {
    let large = || Payload::from_stream(stream::iter((0..6).map(|_| Ok::<_, Error>(vec![1; 1024 * 1024]))));
    let mut errors = Vec::new();
    errors.extend(storage.save("a", "body").await.err());
    errors.extend(storage.save("a", "body").create_new().await.err());
    errors.extend(storage.save("a", large()).await.err());
    errors.extend(storage.open("a").await.err());
    errors.extend(storage.stat("a").await.err());
    errors.extend(storage.exists("a").await.err());
    errors.extend(storage.delete("a").await.err());
    errors.extend(storage.delete_all(stream::iter(["a", "b"])).finish().await.err());
    errors.extend(storage.list("").entries().collect().await.err());
    errors.extend(storage.copy("a", "b").await.err());
    errors.extend(storage.copy("a", "b").metadata(Metadata::new()).await.err());
    assert_eq!(errors.len(), 11, "every one of them fails: {errors:?}");
    errors.iter().for_each(|error| told.error(error));
}

async fn every_link(storage: &Storage, told: &Told) {
    for method in [UrlMethod::Get, UrlMethod::Head, UrlMethod::Put, UrlMethod::Post] {
        told.debug(&storage.url("a").method(method).expires_in(Duration::from_secs(60)).await.unwrap());
        let too_long = storage.url("a").method(method).expires_in(Duration::from_secs(8 * 24 * 60 * 60)).await;
        told.error(&too_long.unwrap_err());
    }
}

fn what_cannot_be_built(told: &Told) {
    let mut registry = Registry::new();
    storage_s3::register(&mut registry);
    for odd in [
        format!("s3://bucket?secret_access_key={SECRET}"),
        format!("s3://bucket?region=us-east-1&session_token={TOKEN}"),
        format!("s3://user:{SECRET}@bucket"),
        format!("s3://bucket?endpoint=http://{KEY_ID}:secret@127.0.0.1&allow_http=true"),
    ] {
        told.error(&registry.open_url(&odd).unwrap_err());
    }
    let options = || Options::new().with("bucket", "b").with("region", "r").with("secret_access_key", SECRET);
    for wrong in [
        options(),
        options().with("access_key_id", KEY_ID).with("unknown", SECRET),
        options().with("access_key_id", KEY_ID).with("part_size", SECRET),
        options().with("access_key_id", KEY_ID).with("endpoint", SECRET),
        options().with("access_key_id", KEY_ID).with("checksum", SECRET),
        options().with("access_key_id", KEY_ID).with("quirks", SECRET),
        options().with("access_key_id", KEY_ID).with("acl", format!("{SECRET}\n")),
    ] {
        told.debug(&wrong);
        let config = storage_core::config::StorageConfig::new("s3", wrong).unwrap();
        told.debug(&config);
        told.error(&registry.open_config(&config).unwrap_err());
    }
}

#[test]
fn no_secret_token_or_signature_shows_anywhere() {
    let told = Told::default();
    let log = tracing_subscriber::fmt().with_max_level(tracing::Level::TRACE).with_writer(told.clone()).finish();
    tracing_log::LogTracer::init().unwrap();
    tracing::subscriber::set_global_default(log).unwrap();
    what_cannot_be_built(&told);

    let mut signatures = Vec::new();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        for (status, code) in [
            (403, "SignatureDoesNotMatch"),
            (403, "AccessDenied"),
            (400, "InvalidToken"),
            (400, "AuthorizationHeaderMalformed"),
            (301, "PermanentRedirect"),
            (403, "RequestTimeTooSkewed"),
            (404, "NoSuchBucket"),
            (418, "Unheard"),
            // An error in an answer of success, and a document that is none.
            (400, ""),
        ] {
            let echo = Echo::start(status, code);
            let driver = builder(&echo.endpoint).build().unwrap();
            told.debug(&builder(&echo.endpoint));
            told.debug(&driver);
            let storage = Storage::new(driver);
            told.debug(&storage);
            every_verb(&storage, &told).await;
            every_link(&storage, &told).await;
            signatures.append(&mut echo.signatures.lock().unwrap());
        }
        // Nobody is there at all.
        let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let storage = Storage::new(builder(&format!("http://{closed}").parse().unwrap()).build().unwrap());
        told.error(&storage.stat("a").await.unwrap_err());
    });

    let text = told.text();
    assert!(text.contains("TRACE"), "the log was not seen");
    assert!(text.contains("SignatureDoesNotMatch") && text.contains("no connection to 127.0.0.1"), "no error was seen");
    assert!(signatures.len() > 50, "{} signatures were seen", signatures.len());
    let secrets = [SECRET, TOKEN, KEY_ID].into_iter().map(str::to_owned).chain(signatures);
    for secret in secrets {
        if let Some(at) = text.find(&secret) {
            let before: Vec<_> = text[..at].chars().rev().take(400).collect();
            panic!("{secret:?} shows, behind {}", before.into_iter().rev().collect::<String>());
        }
    }
}
