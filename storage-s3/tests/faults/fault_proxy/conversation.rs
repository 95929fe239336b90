//! One connection of the driver: each request is forwarded, or fails as planned.

use std::io;
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
use super::record::{Reached, operation_of};
use super::wire::{CannedResponse, RecordedRequest, Socket, gone, read_body, read_head};

/// The pause between two bytes of a slow head.
const TRICKLE: Duration = Duration::from_millis(1);

/// The server behind the proxy.
pub(super) enum Server {
    At(Url),
    Script(Arc<dyn Fn(&RecordedRequest) -> CannedResponse + Send + Sync>),
}

/// Whether the connection stays open.
#[derive(PartialEq, Eq)]
enum Then {
    GoOn,
    Close,
}

pub(super) async fn converse(socket: TcpStream, shared: Arc<Shared>) {
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
        let place = state.record_event(|record| record.come(operation, &request));
        let mut turn = Turn { shared: &shared, state: &state, operation, place, request };
        match turn.take(&mut socket).await {
            Ok(Then::GoOn) => {}
            Ok(Then::Close) => return,
            Err(_) => {
                state.record_event(|record| record.reach(place, Reached::Abandoned));
                return;
            }
        }
    }
}

/// One request and its response.
struct Turn<'a> {
    shared: &'a Shared,
    state: &'a State,
    operation: &'static str,
    place: usize,
    request: RecordedRequest,
}

impl Turn<'_> {
    async fn take(&mut self, socket: &mut Socket) -> io::Result<Then> {
        let fault = self.state.fault_for(self.operation, &self.request);
        if let Some(Fault::RespondEarly(response)) = fault {
            self.send(socket, &response, Manner::Whole).await?;
            // Closing with unread data would send a reset, which can overtake the response.
            socket.shutdown().await?;
            tokio::io::copy(socket, &mut tokio::io::sink()).await?;
            return Ok(Then::Close);
        }
        if self.request.body().is_empty() {
            read_body(socket, &mut self.request).await?;
        }
        match fault {
            None => self.pass(socket, |_| {}, Manner::Whole).await,
            Some(fault) => self.fail(socket, fault).await,
        }
    }

    async fn fail(&mut self, socket: &mut Socket, fault: Fault) -> io::Result<Then> {
        match fault {
            Fault::Drop => Ok(Then::Close),
            Fault::Reset => reset(socket),
            Fault::LoseResponse => {
                self.ask().await;
                Ok(Then::Close)
            }
            Fault::ResetAfterRequest => {
                self.ask().await;
                reset(socket)
            }
            Fault::Respond(response) | Fault::RespondEarly(response) => {
                self.send(socket, &response, Manner::Whole).await
            }
            Fault::ReplaceResponse(response) => {
                self.ask().await;
                self.send(socket, &response, Manner::Whole).await
            }
            Fault::SendBytes(bytes) => {
                socket.write_all(&bytes).await?;
                Ok(Then::Close)
            }
            Fault::Stall => self.stall(socket).await,
            Fault::StallResponse => {
                self.ask().await;
                self.stall(socket).await
            }
            Fault::StallHead => {
                let head = self.ask().await.head();
                socket.write_all(&head[..head.len() / 2]).await?;
                self.stall(socket).await
            }
            Fault::Hold(gate) => {
                self.wait(socket, &gate).await?;
                self.pass(socket, |_| {}, Manner::Whole).await
            }
            Fault::HoldResponse(gate) => {
                let response = self.ask().await;
                self.wait(socket, &gate).await?;
                self.send(socket, &response, Manner::Whole).await
            }
            Fault::Alter(alter) => {
                self.pass(socket, |response| alter(response), Manner::Whole).await
            }
            Fault::Trickle => self.pass(socket, |_| {}, Manner::Trickle).await,
            Fault::Truncate(bytes) => self.pass(socket, |_| {}, Manner::Truncate(bytes)).await,
            Fault::StallBody(bytes) => self.pass(socket, |_| {}, Manner::StallAfter(bytes)).await,
            Fault::Corrupt => {
                let mut body = self.request.body().to_vec();
                let middle = body.len() / 2;
                body[middle] ^= 1;
                *self.request.body_mut() = body.into();
                self.pass(socket, |_| {}, Manner::Whole).await
            }
        }
    }

    async fn pass(
        &mut self,
        socket: &mut Socket,
        alter: impl FnOnce(&mut CannedResponse),
        manner: Manner,
    ) -> io::Result<Then> {
        let mut response = self.ask().await;
        alter(&mut response);
        self.send(socket, &response, manner).await
    }

    /// Lets the server handle the request.
    async fn ask(&self) -> CannedResponse {
        let is_over = self.shared.knows_what_is_over
            && self.state.record().is_about_what_is_over(&self.request);
        let response = match &self.shared.server {
            _ if is_over => CannedResponse::error(404, "NoSuchUpload"),
            Server::Script(script) => script(&self.request),
            Server::At(endpoint) => forward(endpoint, &self.request).await,
        };
        self.state.record_event(|record| {
            record.done(self.place, self.operation, &self.request, &response);
        });
        response
    }

    async fn send(
        &self,
        socket: &mut Socket,
        response: &CannedResponse,
        manner: Manner,
    ) -> io::Result<Then> {
        let body = if self.request.method() == Method::HEAD {
            Bytes::new()
        } else {
            response.body.clone()
        };
        match manner {
            // A small body is written in one piece.
            Manner::Whole if body.len() < 64 * 1024 => {
                socket.write_all(&[&response.head(), &*body].concat()).await?;
            }
            Manner::Whole => {
                socket.write_all(&response.head()).await?;
                socket.write_all(&body).await?;
            }
            Manner::Trickle => {
                for byte in response.head() {
                    socket.write_all(&[byte]).await?;
                    tokio::time::sleep(TRICKLE).await;
                }
                socket.write_all(&body).await?;
            }
            Manner::Truncate(bytes) | Manner::StallAfter(bytes) => {
                socket.write_all(&response.head()).await?;
                socket.write_all(&body[..bytes.min(body.len())]).await?;
            }
        }
        match manner {
            Manner::StallAfter(_) => self.stall(socket).await,
            Manner::Truncate(_) => Ok(Then::Close),
            Manner::Whole | Manner::Trickle => {
                self.state.record_event(|record| record.reach(self.place, Reached::Responded));
                Ok(Then::GoOn)
            }
        }
    }

    /// Waits without a response until the driver disconnects.
    async fn stall(&self, socket: &mut Socket) -> io::Result<Then> {
        self.state.record_event(|record| record.reach(self.place, Reached::Held));
        gone(socket).await;
        Err(io::ErrorKind::BrokenPipe.into())
    }

    /// Waits until the test opens the gate or the driver disconnects.
    async fn wait(&self, socket: &mut Socket, gate: &Gate) -> io::Result<()> {
        self.state.record_event(|record| record.reach(self.place, Reached::Held));
        tokio::select! {
            () = gate.opened() => Ok(()),
            () = gone(socket) => Err(io::ErrorKind::BrokenPipe.into()),
        }
    }
}

/// How a response is sent.
#[derive(Clone, Copy)]
enum Manner {
    Whole,
    Trickle,
    Truncate(usize),
    StallAfter(usize),
}

/// Ends the connection with a reset.
fn reset(socket: &mut Socket) -> io::Result<Then> {
    socket.get_ref().set_zero_linger()?;
    Ok(Then::Close)
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
            CannedResponse::new(599, format!("the proxy could not pass it on: {error:?}"))
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
