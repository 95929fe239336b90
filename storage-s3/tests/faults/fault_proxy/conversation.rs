//! One connection of the driver: request after request, each passed on, or failed as it was
//! planned.

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
use super::wire::{Answer, Asked, Socket, gone, read_body, read_head};

/// Between two bytes of a head that comes slowly.
const TRICKLE: Duration = Duration::from_millis(1);

/// What is behind the proxy.
pub(super) enum Server {
    At(Url),
    Script(Arc<dyn Fn(&Asked) -> Answer + Send + Sync>),
}

/// Whether the connection is of further use.
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
    while let Ok(Some(mut asked)) = read_head(&mut socket).await {
        let operation = operation_of(&asked);
        // The one request whose URL does not tell what it is about.
        if operation == "DeleteObjects" && read_body(&mut socket, &mut asked).await.is_err() {
            return;
        }
        let Some(state) = shared.proxy_of(&asked) else { return };
        let place = state.note(|record| record.come(operation, &asked));
        let mut turn = Turn { shared: &shared, state: &state, operation, place, asked };
        match turn.take(&mut socket).await {
            Ok(Then::GoOn) => {}
            Ok(Then::Close) => return,
            Err(_) => {
                state.note(|record| record.reach(place, Reached::Abandoned));
                return;
            }
        }
    }
}

/// A request's turn.
struct Turn<'a> {
    shared: &'a Shared,
    state: &'a State,
    operation: &'static str,
    place: usize,
    asked: Asked,
}

impl Turn<'_> {
    async fn take(&mut self, socket: &mut Socket) -> io::Result<Then> {
        let fault = self.state.fault_for(self.operation, &self.asked);
        if let Some(Fault::SayEarly(answer)) = fault {
            self.send(socket, &answer, Manner::Whole).await?;
            // To close with something unread would be a reset, which can overtake the answer.
            socket.shutdown().await?;
            tokio::io::copy(socket, &mut tokio::io::sink()).await?;
            return Ok(Then::Close);
        }
        if self.asked.body().is_empty() {
            read_body(socket, &mut self.asked).await?;
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
            Fault::LoseAnswer => {
                self.ask().await;
                Ok(Then::Close)
            }
            Fault::ResetAnswer => {
                self.ask().await;
                reset(socket)
            }
            Fault::Say(answer) | Fault::SayEarly(answer) => {
                self.send(socket, &answer, Manner::Whole).await
            }
            Fault::SayInstead(answer) => {
                self.ask().await;
                self.send(socket, &answer, Manner::Whole).await
            }
            Fault::Babble(bytes) => {
                socket.write_all(&bytes).await?;
                Ok(Then::Close)
            }
            Fault::Stall => self.stall(socket).await,
            Fault::StallAnswer => {
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
            Fault::HoldAnswer(gate) => {
                let answer = self.ask().await;
                self.wait(socket, &gate).await?;
                self.send(socket, &answer, Manner::Whole).await
            }
            Fault::Alter(alter) => self.pass(socket, |answer| alter(answer), Manner::Whole).await,
            Fault::Trickle => self.pass(socket, |_| {}, Manner::Trickle).await,
            Fault::Truncate(bytes) => self.pass(socket, |_| {}, Manner::Truncate(bytes)).await,
            Fault::StallBody(bytes) => self.pass(socket, |_| {}, Manner::StallAfter(bytes)).await,
            Fault::Corrupt => {
                let mut body = self.asked.body().to_vec();
                let middle = body.len() / 2;
                body[middle] ^= 1;
                *self.asked.body_mut() = body.into();
                self.pass(socket, |_| {}, Manner::Whole).await
            }
        }
    }

    async fn pass(
        &mut self,
        socket: &mut Socket,
        alter: impl FnOnce(&mut Answer),
        manner: Manner,
    ) -> io::Result<Then> {
        let mut answer = self.ask().await;
        alter(&mut answer);
        self.send(socket, &answer, manner).await
    }

    /// Has the server do what was asked.
    async fn ask(&self) -> Answer {
        let is_over = self.shared.knows_what_is_over
            && self.state.record().is_about_what_is_over(&self.asked);
        let answer = match &self.shared.server {
            _ if is_over => Answer::error(404, "NoSuchUpload"),
            Server::Script(script) => script(&self.asked),
            Server::At(endpoint) => forward(endpoint, &self.asked).await,
        };
        self.state.note(|record| record.done(self.place, self.operation, &self.asked, &answer));
        answer
    }

    async fn send(&self, socket: &mut Socket, answer: &Answer, manner: Manner) -> io::Result<Then> {
        let body =
            if self.asked.method() == Method::HEAD { Bytes::new() } else { answer.body.clone() };
        match manner {
            // In one go, if it is no great copy.
            Manner::Whole if body.len() < 64 * 1024 => {
                socket.write_all(&[&answer.head(), &*body].concat()).await?
            }
            Manner::Whole => {
                socket.write_all(&answer.head()).await?;
                socket.write_all(&body).await?;
            }
            Manner::Trickle => {
                for byte in answer.head() {
                    socket.write_all(&[byte]).await?;
                    tokio::time::sleep(TRICKLE).await;
                }
                socket.write_all(&body).await?;
            }
            Manner::Truncate(bytes) | Manner::StallAfter(bytes) => {
                socket.write_all(&answer.head()).await?;
                socket.write_all(&body[..bytes.min(body.len())]).await?;
            }
        }
        match manner {
            Manner::StallAfter(_) => self.stall(socket).await,
            Manner::Truncate(_) => Ok(Then::Close),
            Manner::Whole | Manner::Trickle => {
                self.state.note(|record| record.reach(self.place, Reached::Answered));
                Ok(Then::GoOn)
            }
        }
    }

    /// Does nothing until the driver gives up.
    async fn stall(&self, socket: &mut Socket) -> io::Result<Then> {
        self.state.note(|record| record.reach(self.place, Reached::Held));
        gone(socket).await;
        Err(io::ErrorKind::BrokenPipe.into())
    }

    /// Waits for the test, or until the driver gives up.
    async fn wait(&self, socket: &mut Socket, gate: &Gate) -> io::Result<()> {
        self.state.note(|record| record.reach(self.place, Reached::Held));
        tokio::select! {
            () = gate.opened() => Ok(()),
            () = gone(socket) => Err(io::ErrorKind::BrokenPipe.into()),
        }
    }
}

/// How an answer is sent.
#[derive(Clone, Copy)]
enum Manner {
    Whole,
    Trickle,
    Truncate(usize),
    StallAfter(usize),
}

/// Has the connection end with a reset in place of an orderly end.
fn reset(socket: &mut Socket) -> io::Result<Then> {
    socket.get_ref().set_zero_linger()?;
    Ok(Then::Close)
}

/// Sends a request on, as it was signed.
async fn forward(endpoint: &Url, asked: &Asked) -> Answer {
    let url = endpoint.join(&asked.uri().to_string()).unwrap();
    let mut request = reqwest::Request::new(asked.method().clone(), url);
    *request.headers_mut() = asked.headers().clone();
    *request.body_mut() = Some(asked.body().clone().into());
    match answer_of(request).await {
        Ok(answer) => answer,
        Err(error) => Answer::new(599, format!("the proxy could not pass it on: {error:?}")),
    }
}

async fn answer_of(request: reqwest::Request) -> reqwest::Result<Answer> {
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
    Ok(Answer { status, headers, body: response.bytes().await? })
}
