//! An HTTP server that responds to every request with the result of a function, and records the
//! methods.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

pub(crate) struct Fake {
    address: SocketAddr,
    ended: Arc<AtomicBool>,
    methods: Arc<Mutex<Vec<String>>>,
    thread: Option<JoinHandle<()>>,
}

impl Fake {
    /// Starts the server. The function gets the head of a request in lower case and returns the
    /// status line and the headers of the response. The response to GET has the body `hello`. A
    /// response with its own body, after an empty line, is sent unchanged.
    pub(crate) fn start(respond: impl Fn(&str) -> String + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (ended, methods) =
            (Arc::new(AtomicBool::new(false)), Arc::<Mutex<Vec<String>>>::default());
        let (end, seen) = (Arc::clone(&ended), Arc::clone(&methods));
        let thread = std::thread::spawn(move || {
            for stream in listener.incoming() {
                if end.load(Ordering::SeqCst) {
                    return;
                }
                // The client may close the connection early.
                let _ = serve(stream.unwrap(), &respond, &seen);
            }
        });
        Self { address, ended, methods, thread: Some(thread) }
    }

    /// Returns the configuration of a storage for this server, by one of its host names.
    pub(crate) fn storage(&self, name: &str, host: &str) -> String {
        let port = self.address.port();
        format!(
            "[storages.{name}]\ndriver = 'http'\nbase_url = 'http://{host}:{port}/'\nwritable = true\n"
        )
    }

    /// Returns the address of the server.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns the methods of all requests so far.
    pub(crate) fn methods(&self) -> Vec<String> {
        self.methods.lock().unwrap().clone()
    }
}

fn serve(
    stream: TcpStream,
    respond: &impl Fn(&str) -> String,
    seen: &Mutex<Vec<String>>,
) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if reader.read_line(&mut head)? == 0 {
            return Ok(());
        }
    }
    let head = head.to_lowercase();
    let field = |name: &str| head.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
    let method = head.split(' ').next().unwrap_or_default().to_owned();
    seen.lock().unwrap().push(method.clone());
    let length: u64 = field("content-length:").and_then(|length| length.parse().ok()).unwrap_or(0);
    std::io::copy(&mut reader.by_ref().take(length), &mut std::io::sink())?;
    let body = if method == "get" { "hello" } else { "" };
    let length = if matches!(&*method, "get" | "head") { 5 } else { 0 };
    let response = match respond(&head) {
        whole if whole.contains("\r\n\r\n") => whole,
        start => format!("{start}Content-Length: {length}\r\nConnection: close\r\n\r\n{body}"),
    };
    reader.get_mut().write_all(response.as_bytes())
}

impl Drop for Fake {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(self.address);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
