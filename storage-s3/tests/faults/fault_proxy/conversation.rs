//! One connection of the driver: each request is forwarded, or fails as planned.

use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use http::Method;
use tokio::io::{AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use url::Url;

use super::State;
use super::fault::{Fault, Gate};
use super::front::Shared;
use super::record::{Progress, operation_of};
use super::wire::{CannedResponse, RecordedRequest, Socket, gone, read_body, read_head};

/// The pause between two bytes of a slow head, or between two spaces.
const BYTE_DELAY: Duration = Duration::from_millis(1);

/// The server behind the proxy.
pub(super) enum Server {
    At(Url),
    Script(Arc<dyn Fn(&RecordedRequest) -> CannedResponse + Send + Sync>),
}

/// Whether the connection stays open.
#[derive(PartialEq, Eq)]
enum Connection {
    KeepOpen,
    Close,
}

pub(super) async fn serve_connection(socket: TcpStream, shared: Arc<Shared>) {
    if socket.set_nodelay(true).is_err() {
        return;
    }
    let mut socket = BufReader::with_capacity(64 * 1024, socket);
    while let Ok(Some(mut request)) = read_head(&mut socket).await {
        let operation = operation_of(&request);
        // The URL of this request does not name its keys.
        if operation == "DeleteObjects" && read_body(&mut socket, &mut request).await.is_err() {
            return;
        }
        let Some(state) = shared.proxy_of(&request) else { return };
        let index = state.record_event(|record| record.add(operation, &request));
        let mut exchange = Exchange { shared: &shared, state: &state, operation, index, request };
        match exchange.handle(&mut socket).await {
            Ok(Connection::KeepOpen) => {}
            Ok(Connection::Close) => return,
            Err(_) => {
                state.record_event(|record| record.set_progress(index, Progress::Abandoned));
                return;
            }
        }
    }
}

/// One request and its response.
struct Exchange<'a> {
    shared: &'a Shared,
    state: &'a State,
    operation: &'static str,
    index: usize,
    request: RecordedRequest,
}

impl Exchange<'_> {
    async fn handle(&mut self, socket: &mut Socket) -> io::Result<Connection> {
        let fault = self.state.fault_for(self.operation, &self.request);
        if let Some(Fault::RespondEarly(response)) = fault {
            self.send(socket, &response, SendMode::Whole).await?;
            // Closing with unread data would send a reset, which can overtake the response.
            socket.shutdown().await?;
            tokio::io::copy(socket, &mut tokio::io::sink()).await?;
            return Ok(Connection::Close);
        }
        if self.request.body().is_empty() {
            read_body(socket, &mut self.request).await?;
        }
        match fault {
            None => self.pass(socket, |_| {}, SendMode::Whole).await,
            Some(fault) => self.fail(socket, fault).await,
        }
    }

    async fn fail(&mut self, socket: &mut Socket, fault: Fault) -> io::Result<Connection> {
        match fault {
            Fault::Drop => Ok(Connection::Close),
            Fault::Reset => reset(socket),
            Fault::LoseResponse => {
                self.server_response().await;
                Ok(Connection::Close)
            }
            Fault::ResetAfterRequest => {
                self.server_response().await;
                reset(socket)
            }
            Fault::Respond(response) | Fault::RespondEarly(response) => {
                self.send(socket, &response, SendMode::Whole).await
            }
            Fault::ReplaceResponse(response) => {
                self.server_response().await;
                self.send(socket, &response, SendMode::Whole).await
            }
            Fault::SendBytes(bytes) => {
                socket.write_all(&bytes).await?;
                Ok(Connection::Close)
            }
            Fault::Stall => self.stall(socket).await,
            Fault::StallResponse => {
                self.server_response().await;
                self.stall(socket).await
            }
            Fault::StallHead => {
                let head = self.server_response().await.head();
                socket.write_all(&head[..head.len() / 2]).await?;
                self.stall(socket).await
            }
            Fault::Hold(gate) => {
                self.wait(socket, &gate).await?;
                self.pass(socket, |_| {}, SendMode::Whole).await
            }
            Fault::HoldResponse(gate) => {
                let response = self.server_response().await;
                self.wait(socket, &gate).await?;
                self.send(socket, &response, SendMode::Whole).await
            }
            Fault::Alter(alter) => {
                self.pass(socket, |response| alter(response), SendMode::Whole).await
            }
            Fault::Trickle => self.pass(socket, |_| {}, SendMode::Trickle).await,
            Fault::Truncate(bytes) => self.pass(socket, |_| {}, SendMode::Truncate(bytes)).await,
            Fault::StallBody(bytes) => self.pass(socket, |_| {}, SendMode::StallAfter(bytes)).await,
            Fault::Spaces(sent) => self.send_spaces(socket, &sent).await,
            Fault::Corrupt => {
                let mut body = self.request.body().to_vec();
                let middle = body.len() / 2;
                body[middle] ^= 1;
                *self.request.body_mut() = body.into();
                self.pass(socket, |_| {}, SendMode::Whole).await
            }
        }
    }

    async fn pass(
        &mut self,
        socket: &mut Socket,
        alter: impl FnOnce(&mut CannedResponse),
        mode: SendMode,
    ) -> io::Result<Connection> {
        let mut response = self.server_response().await;
        alter(&mut response);
        self.send(socket, &response, mode).await
    }

    /// Returns the response of the server to the request.
    async fn server_response(&self) -> CannedResponse {
        let has_ended = self.shared.rejects_ended_uploads
            && self.state.record().is_for_ended_upload(&self.request);
        let response = match &self.shared.server {
            _ if has_ended => CannedResponse::error(404, "NoSuchUpload"),
            Server::Script(script) => script(&self.request),
            Server::At(endpoint) => forward(endpoint, &self.request).await,
        };
        self.state.record_event(|record| {
            record.record_response(self.index, self.operation, &self.request, &response);
        });
        response
    }

    async fn send(
        &self,
        socket: &mut Socket,
        response: &CannedResponse,
        mode: SendMode,
    ) -> io::Result<Connection> {
        let body = if self.request.method() == Method::HEAD {
            Bytes::new()
        } else {
            response.body.clone()
        };
        match mode {
            // A small body is written in one piece.
            SendMode::Whole if body.len() < 64 * 1024 => {
                socket.write_all(&[&response.head(), &*body].concat()).await?;
            }
            SendMode::Whole => {
                socket.write_all(&response.head()).await?;
                socket.write_all(&body).await?;
            }
            SendMode::Trickle => {
                for byte in response.head() {
                    socket.write_all(&[byte]).await?;
                    tokio::time::sleep(BYTE_DELAY).await;
                }
                socket.write_all(&body).await?;
            }
            SendMode::Truncate(bytes) | SendMode::StallAfter(bytes) => {
                socket.write_all(&response.head()).await?;
                socket.write_all(&body[..bytes.min(body.len())]).await?;
            }
        }
        match mode {
            SendMode::StallAfter(_) => self.stall(socket).await,
            SendMode::Truncate(_) => Ok(Connection::Close),
            SendMode::Whole | SendMode::Trickle => {
                self.state
                    .record_event(|record| record.set_progress(self.index, Progress::Responded));
                Ok(Connection::KeepOpen)
            }
        }
    }

    /// Sends spaces until the driver disconnects.
    async fn send_spaces(&self, socket: &mut Socket, sent: &AtomicUsize) -> io::Result<Connection> {
        self.state.record_event(|record| record.set_progress(self.index, Progress::Held));
        socket.write_all(b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n").await?;
        loop {
            socket.write_all(b" ").await?;
            sent.fetch_add(1, Ordering::SeqCst);
            self.state.record_event(|_| ());
            tokio::time::sleep(BYTE_DELAY).await;
        }
    }

    /// Waits without a response until the driver disconnects.
    async fn stall(&self, socket: &mut Socket) -> io::Result<Connection> {
        self.state.record_event(|record| record.set_progress(self.index, Progress::Held));
        gone(socket).await;
        Err(io::ErrorKind::BrokenPipe.into())
    }

    /// Waits until the test opens the gate or the driver disconnects.
    async fn wait(&self, socket: &mut Socket, gate: &Gate) -> io::Result<()> {
        self.state.record_event(|record| record.set_progress(self.index, Progress::Held));
        tokio::select! {
            () = gate.opened() => Ok(()),
            () = gone(socket) => Err(io::ErrorKind::BrokenPipe.into()),
        }
    }
}

/// How a response is sent.
#[derive(Clone, Copy)]
enum SendMode {
    Whole,
    Trickle,
    Truncate(usize),
    StallAfter(usize),
}

/// Ends the connection with a reset.
fn reset(socket: &mut Socket) -> io::Result<Connection> {
    socket.get_ref().set_zero_linger()?;
    Ok(Connection::Close)
}

/// Forwards a request as it was signed.
async fn forward(endpoint: &Url, request: &RecordedRequest) -> CannedResponse {
    let url = endpoint.join(&request.uri().to_string()).unwrap();
    let mut forwarded = reqwest::Request::new(request.method().clone(), url);
    *forwarded.headers_mut() = request.headers().clone();
    *forwarded.body_mut() = Some(request.body().clone().into());
    match response_to(forwarded).await {
        Ok(response) => response,
        Err(error) => {
            CannedResponse::new(599, format!("the proxy could not forward the request: {error:?}"))
        }
    }
}

async fn response_to(request: reqwest::Request) -> reqwest::Result<CannedResponse> {
    static CLIENT: OnceLock<reqwest::Client> = OnceLock::new();
    let client = CLIENT.get_or_init(|| {
        let builder = reqwest::Client::builder().http1_only().http1_max_headers(1024).no_proxy();
        builder.redirect(reqwest::redirect::Policy::none()).build().unwrap()
    });
    let is_head = request.method() == Method::HEAD;
    let response = client.execute(request).await?;
    let (status, mut headers) = (response.status().as_u16(), response.headers().clone());
    for name in ["transfer-encoding", "connection"] {
        headers.remove(name);
    }
    if !is_head {
        headers.remove("content-length");
    }
    Ok(CannedResponse { status, headers, body: response.bytes().await? })
}
