//! A scripted HTTP peer, for testing drivers and clients that speak HTTP. Needs the feature `http`.
//!
//! A [`Peer`] listens on a port of the loopback interface. A function that the test supplies
//! returns a [`Response`] for each [`Request`]; the response describes every byte on the wire:
//! status line, headers and body, and where the transmission stops. The peer records all requests,
//! and counts the faults that it has sent, so that a test can assert that its fault occurred.
//!
//! The peer runs on a runtime of its own. A test may therefore pause its own clock, and a test
//! without a runtime can use a peer as well.
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> std::io::Result<()> {
//! use storage_testkit::http::{Peer, Response};
//! use tokio::io::{AsyncReadExt, AsyncWriteExt};
//!
//! // The first body breaks off after two bytes; the others are complete.
//! let peer = Peer::start(|request| match request.index {
//!     0 => Response::ok("hello").cut_after(2),
//!     _ => Response::ok("hello"),
//! });
//!
//! let mut client = tokio::net::TcpStream::connect(peer.address()).await?;
//! client.write_all(b"GET /a.txt HTTP/1.1\r\nHost: peer\r\n\r\n").await?;
//! let mut received = String::new();
//! client.read_to_string(&mut received).await?;
//! assert_eq!(received, "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhe");
//!
//! assert_eq!(peer.requests()[0].target, "/a.txt");
//! peer.assert_fired();
//! # Ok(()) }
//! ```
//!
//! # Responses
//!
//! | response | on the wire |
//! |---|---|
//! | [`new`](Response::new), [`ok`](Response::ok), [`in_range`](Response::in_range) | a complete response |
//! | [`raw`](Response::raw) | exactly these bytes |
//! | [`delay`](Response::delay), [`wait`](Response::wait) | bytes that are held back until the test opens a [`Gate`] |
//! | [`cut_after`](Response::cut_after), [`reset_after`](Response::reset_after) | a part of the body, then the end of the connection |
//! | [`stall_after`](Response::stall_after), [`stall`](Response::stall) | a part of the response; the connection stays open |
//! | [`never`](Response::never), [`disconnect`](Response::disconnect) | no response at all |

mod peer;
mod request;
mod response;

pub use peer::{Peer, closed_port};
pub use request::Request;
pub use response::{Gate, Response};
