//! The scripted HTTP peer sends what its script describes, and records what it receives.
#![allow(clippy::unwrap_used, reason = "a test that meets an unforeseen error has failed")]

use std::io::ErrorKind;
use std::time::Duration;

use storage_testkit::http::{Gate, Peer, Response, closed_port};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const GET: &[u8] = b"GET /a HTTP/1.1\r\nHost: peer\r\n\r\n";

async fn connect(peer: &Peer) -> TcpStream {
    TcpStream::connect(peer.address()).await.unwrap()
}

/// Sends bytes on a new connection and returns all that the peer sends until it closes.
async fn exchange(peer: &Peer, sent: &[u8]) -> String {
    let mut socket = connect(peer).await;
    socket.write_all(sent).await.unwrap();
    let mut received = String::new();
    socket.read_to_string(&mut received).await.unwrap();
    received
}

/// Reads exactly what is expected.
async fn expect(socket: &mut TcpStream, expected: &str) {
    let mut received = vec![0; expected.len()];
    socket.read_exact(&mut received).await.unwrap();
    assert_eq!(String::from_utf8(received).unwrap(), expected);
}

#[tokio::test]
async fn a_response_has_its_length_and_the_connection_is_kept() {
    let peer = Peer::start(|request| match request.index {
        0 => Response::ok("hello").header("etag", "\"v1\""),
        1 => Response::new(204),
        2 => Response::new("304 Not Modified").headers("ETag: \"v1\"\r\nAge: 5\r\n"),
        _ => Response::ok("last").close(),
    });
    let head = b"HEAD /a HTTP/1.1\r\nHost: peer\r\n\r\n";
    let received = exchange(&peer, &[GET, GET, GET, head].concat()).await;
    let expected = "HTTP/1.1 200 OK\r\netag: \"v1\"\r\ncontent-length: 5\r\n\r\nhello\
                    HTTP/1.1 204 Scripted\r\n\r\n\
                    HTTP/1.1 304 Not Modified\r\nETag: \"v1\"\r\nAge: 5\r\n\r\n\
                    HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 4\r\n\r\n";
    assert_eq!(received, expected);
    assert_eq!((peer.sound(), peer.fired()), (4, 0));
}

#[tokio::test]
async fn requests_are_recorded_with_their_bodies() {
    let peer = Peer::start(|_| Response::new(200));
    let mut socket = connect(&peer).await;
    let sent = "PUT /a?b HTTP/1.1\r\nHost: peer\r\nContent-Length: 5\r\nX-A:  1 \r\n\r\nhello\
                PUT /c HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n2\r\nlo\r\n0\r\n\r\n\
                PUT /d HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n";
    socket.write_all(sent.as_bytes()).await.unwrap();
    socket.shutdown().await.unwrap();
    peer.until_requested("PUT /d", 1).await;
    let requests = peer.requests();
    let seen: Vec<_> =
        requests.iter().map(|it| (it.index, &*it.target, &it.body[..], it.is_complete)).collect();
    assert_eq!(
        seen,
        [(0, "/a?b", &b"hello"[..], true), (1, "/c", b"hello", true), (2, "/d", b"hel", false)]
    );
    assert_eq!(requests[0].header("x-a"), Some("1"));
    assert_eq!(requests[0].without_headers("x-").header("x-a"), None);
    assert_eq!((peer.count("PUT /"), peer.count("GET")), (3, 0));
}

#[tokio::test]
async fn a_range_is_cut_out_of_the_body() {
    let peer = Peer::start(|request| Response::ok("01").body("23456789").in_range(request).close());
    for (range, status, expected) in [
        (
            "bytes=2-4",
            "206",
            "content-range: bytes 2-4/10\r\nconnection: close\r\ncontent-length: 3\r\n\r\n234",
        ),
        (
            "bytes=8-99",
            "206",
            "content-range: bytes 8-9/10\r\nconnection: close\r\ncontent-length: 2\r\n\r\n89",
        ),
        (
            "bytes=-3",
            "206",
            "content-range: bytes 7-9/10\r\nconnection: close\r\ncontent-length: 3\r\n\r\n789",
        ),
        (
            "bytes=10-",
            "416",
            "content-range: bytes */10\r\nconnection: close\r\ncontent-length: 0\r\n\r\n",
        ),
        ("lines=1-2", "200", "content-length: 10\r\n\r\n0123456789"),
    ] {
        let sent = format!("GET / HTTP/1.1\r\nRange: {range}\r\n\r\n");
        let received = exchange(&peer, sent.as_bytes()).await;
        assert!(received.starts_with(&format!("HTTP/1.1 {status} ")), "{range}: {received}");
        assert!(received.ends_with(expected), "{range}: {received}");
    }
}

#[tokio::test]
async fn a_cut_body_ends_with_the_connection() {
    let peer = Peer::start(|_| Response::ok("hello").cut_after(2));
    let received = exchange(&peer, GET).await;
    assert_eq!(received, "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhe");
    peer.set_script(|_| Response::disconnect());
    assert_eq!(exchange(&peer, GET).await, "");
    peer.set_script(|_| Response::raw("SSH-2.0\r\n").close());
    assert_eq!(exchange(&peer, GET).await, "SSH-2.0\r\n");
    assert_eq!((peer.fired(), peer.sound()), (2, 1));
}

#[tokio::test]
async fn a_reset_is_an_error_for_the_client() {
    let peer = Peer::start(|_| Response::ok("hello").reset_after(0));
    let mut socket = connect(&peer).await;
    socket.write_all(GET).await.unwrap();
    let error = socket.read_to_end(&mut Vec::new()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    peer.assert_fired();
}

#[tokio::test]
async fn a_stalled_response_stays_open_and_others_are_served_meanwhile() {
    let peer = Peer::start(|request| match request.index {
        0 => Response::ok("hello").stall_after(2),
        1 => Response::never(),
        _ => Response::ok("").close(),
    });
    let (mut stalled, mut silent) = (connect(&peer).await, connect(&peer).await);
    stalled.write_all(GET).await.unwrap();
    expect(&mut stalled, "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhe").await;
    silent.write_all(GET).await.unwrap();
    peer.until_requested("GET /a", 2).await;
    assert!(exchange(&peer, GET).await.ends_with("\r\n\r\n"));
    for socket in [&mut stalled, &mut silent] {
        let more = tokio::time::timeout(Duration::from_millis(50), socket.read_u8()).await;
        assert!(more.is_err(), "{more:?}");
    }
    assert_eq!((peer.fired(), peer.sound()), (2, 1));
}

#[tokio::test]
async fn a_gate_holds_back_the_rest_of_a_body_or_a_whole_response() {
    let gate = Gate::new();
    let held = gate.clone();
    let peer = Peer::start(move |request| match request.index {
        0 => Response::ok("he").wait(&held).body("llo"),
        _ => Response::ok("").delay(&held),
    });
    let (mut half, mut whole) = (connect(&peer).await, connect(&peer).await);
    half.write_all(GET).await.unwrap();
    expect(&mut half, "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhe").await;
    whole.write_all(GET).await.unwrap();
    peer.until_requested("GET", 2).await;
    gate.open();
    expect(&mut half, "llo").await;
    expect(&mut whole, "HTTP/1.1 200 OK\r\n").await;
}

#[tokio::test]
async fn a_dropped_peer_closes_its_connections_and_its_port() {
    let peer = Peer::start(|_| Response::never());
    let (address, mut socket) = (peer.address(), connect(&peer).await);
    socket.write_all(GET).await.unwrap();
    peer.until_requested("GET", 1).await;
    drop(peer);
    let mut rest = Vec::new();
    let end = tokio::time::timeout(Duration::from_secs(120), socket.read_to_end(&mut rest)).await;
    assert!(end.is_ok_and(|_| rest.is_empty()), "{rest:?}");
    let refused = TcpStream::connect(address).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
    let closed = closed_port();
    let refused = TcpStream::connect(("127.0.0.1", closed.port().unwrap())).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
}
