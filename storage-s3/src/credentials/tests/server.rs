//! A server on the loopback that answers what a test says and remembers what it was asked, and
//! clients that go there whoever they are told to ask.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use async_trait::async_trait;
use http::Method;
use object_store::ClientOptions;
use object_store::client::{
    HttpClient, HttpConnector, HttpError, HttpRequest, HttpResponse, HttpService,
};

/// A question that was asked.
#[derive(Debug, Clone, Default)]
pub(super) struct Asked {
    pub(super) method: String,
    pub(super) path: String,
    /// Lines of `name: value`, names in lower case.
    pub(super) headers: String,
    pub(super) body: String,
}

/// An response.
pub(super) struct Reply {
    status: u16,
    headers: String,
    body: String,
}

impl Reply {
    pub(super) fn new(status: u16, body: impl Into<String>) -> Self {
        Self { status, headers: String::new(), body: body.into() }
    }

    pub(super) fn ok(body: impl Into<String>) -> Self {
        Self::new(200, body)
    }

    pub(super) fn dated(mut self, time: std::time::SystemTime) -> Self {
        self.headers = format!("date: {}\r\n", httpdate::fmt_http_date(time));
        self
    }
}

type Handler = Box<dyn Fn(&Asked, usize) -> Reply + Send>;

/// Ends when it is dropped.
pub(super) struct Server {
    address: SocketAddr,
    asked: Arc<Mutex<Vec<Asked>>>,
    ended: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    /// `response` is given each question, and how many came before it.
    pub(super) fn start(response: impl Fn(&Asked, usize) -> Reply + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (asked, ended) = (Arc::<Mutex<Vec<Asked>>>::default(), Arc::<AtomicBool>::default());
        let (all, end) = (Arc::clone(&asked), Arc::clone(&ended));
        let response: Handler = Box::new(response);
        let thread = std::thread::spawn(move || {
            for stream in listener.incoming() {
                if end.load(Ordering::SeqCst) {
                    return;
                }
                // A client that has gone is no trouble of the server's.
                if let Ok(stream) = stream {
                    let _ = serve(stream, &all, &response);
                }
            }
        });
        Self { address, asked, ended, thread: Some(thread) }
    }

    pub(super) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(super) fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }

    /// A client whose every request comes here.
    pub(super) fn client(&self) -> Here {
        Here { address: self.address, told: Arc::default() }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(self.address);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn serve(stream: TcpStream, all: &Mutex<Vec<Asked>>, response: &Handler) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream);
    let mut asked = Asked::default();
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let mut words = line.split_whitespace().map(str::to_owned);
    (asked.method, asked.path) =
        (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let mut length = 0;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let Some((name, value)) = line.trim_end().split_once(": ") else { break };
        let name = name.to_ascii_lowercase();
        if name == "content-length" {
            length = value.parse().unwrap_or(0);
        }
        asked.headers.push_str(&format!("{name}: {value}\n"));
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    asked.body = String::from_utf8_lossy(&body).into_owned();
    let before = {
        let mut all = all.lock().unwrap();
        all.push(asked.clone());
        all.len() - 1
    };
    let Reply { status, headers, body } = response(&asked, before);
    let length = body.len();
    write!(
        reader.get_mut(),
        "HTTP/1.1 {status} Said\r\n{headers}content-length: {length}\r\nconnection: close\r\n\r\n{body}"
    )
}

/// A client that asks one server on the loopback, and remembers whom it was told to ask.
#[derive(Debug, Clone)]
pub(super) struct Here {
    address: SocketAddr,
    told: Arc<Mutex<Vec<String>>>,
}

impl Here {
    /// Whom it was told to ask: scheme, host and port.
    pub(super) fn told(&self) -> Vec<String> {
        self.told.lock().unwrap().clone()
    }
}

impl HttpConnector for Here {
    fn connect(&self, _: &ClientOptions) -> object_store::Result<HttpClient> {
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        Ok(HttpClient::new(Service { client: HttpClient::new(client), here: self.clone() }))
    }
}

#[derive(Debug)]
struct Service {
    client: HttpClient,
    here: Here,
}

#[async_trait]
impl HttpService for Service {
    async fn call(&self, mut request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let uri = request.uri().clone();
        let told = format!("{}://{}", uri.scheme_str().unwrap(), uri.authority().unwrap());
        self.here.told.lock().unwrap().push(told);
        let path = uri.path_and_query().unwrap();
        *request.uri_mut() = format!("http://{}{path}", self.here.address).parse().unwrap();
        self.client.execute(request).await
    }
}

/// A client that gets an response to its first question after a while, and to no other; or to none at
/// all.
#[derive(Debug)]
pub(super) struct Silence {
    pub(super) after: Option<Duration>,
}

impl HttpConnector for Silence {
    fn connect(&self, _: &ClientOptions) -> object_store::Result<HttpClient> {
        Ok(HttpClient::new(Self { after: self.after }))
    }
}

#[async_trait]
impl HttpService for Silence {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        match self.after {
            Some(after) if request.method() == Method::PUT => tokio::time::sleep(after).await,
            _ => std::future::pending().await,
        }
        Ok(HttpResponse::new("metadata-token".to_owned().into()))
    }
}
