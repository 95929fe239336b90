//! [`Paced`]: a connection whose client has to take what it asked for.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep};

/// For how long a new connection may take nothing.
const FIRST: Duration = Duration::from_secs(60);
/// For how long a connection may take nothing at most, however much it took before.
const MOST: Duration = Duration::from_secs(10 * 60);

/// A connection that fails with `TimedOut` if its client takes bytes too slowly.
///
/// Only the time counts in which bytes wait and the connection takes none. There is credit for it:
/// 60 seconds at first, and a second more for as many bytes as `min_rate` has, which the client
/// takes; 10 minutes at most. So a listener who has some minutes of a recording may pause the
/// player for as long, and a client that takes a byte a minute is gone soon.
#[derive(Debug)]
pub(crate) struct Paced<S> {
    stream: S,
    /// In bytes per second. 0 means no minimum.
    min_rate: u64,
    credit: Duration,
    blocked_since: Option<Instant>,
    /// When the credit ends, while the connection is blocked. Made with the first wait.
    end: Option<Pin<Box<Sleep>>>,
}

impl<S> Paced<S> {
    pub(crate) fn new(stream: S, min_rate: u64) -> Self {
        Self { stream, min_rate, credit: FIRST, blocked_since: None, end: None }
    }

    /// Takes account of an attempt to write.
    fn account(
        &mut self,
        cx: &mut Context<'_>,
        polled: Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        match polled {
            Poll::Pending => self.wait(cx),
            Poll::Ready(written) => {
                if let Some(since) = self.blocked_since.take() {
                    self.credit = self.credit.saturating_sub(since.elapsed());
                }
                if let Ok(bytes) = &written {
                    self.credit = self.credit.saturating_add(self.earned(*bytes)).min(MOST);
                }
                Poll::Ready(written)
            }
        }
    }

    fn wait(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let until = Instant::now() + self.credit;
        let end = self.end.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(until)));
        if self.blocked_since.is_none() {
            self.blocked_since = Some(Instant::now());
            end.as_mut().reset(until);
        }
        match end.as_mut().poll(cx) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(()) => {
                let message = "the client takes the response too slowly";
                Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, message)))
            }
        }
    }

    fn earned(&self, bytes: usize) -> Duration {
        match (bytes, self.min_rate) {
            (0, _) => Duration::ZERO,
            (_, 0) => MOST,
            (bytes, rate) => Duration::from_secs_f64(bytes as f64 / rate as f64),
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Paced<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Paced<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.account(cx, polled)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.account(cx, polled)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

    use super::*;

    const KIB: usize = 1024;

    /// A server that writes without end, over a pipe that holds as much as this.
    fn writing(min_rate: u64, holds: usize) -> (tokio::task::JoinHandle<io::Error>, DuplexStream) {
        let (client, server) = duplex(holds);
        let mut server = Paced::new(server, min_rate);
        let writing = tokio::spawn(async move {
            loop {
                if let Err(error) = server.write_all(&[7; 4096]).await {
                    break error;
                }
            }
        });
        (writing, client)
    }

    async fn take(client: &mut DuplexStream, bytes: usize) {
        let mut taken = vec![0; bytes];
        client.read_exact(&mut taken).await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_takes_nothing_is_cut_after_a_minute() {
        let (writing, client) = writing(1024, KIB);
        let began = Instant::now();
        assert_eq!(writing.await.unwrap().kind(), io::ErrorKind::TimedOut);
        assert_eq!(began.elapsed().as_secs(), 61, "a second for the kibibyte that the pipe took");
        drop(client);
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_takes_a_byte_now_and_then_is_cut_too() {
        let (writing, mut client) = writing(1024, KIB);
        let began = Instant::now();
        let trickle = tokio::spawn(async move {
            loop {
                tokio::time::sleep(Duration::from_secs(10)).await;
                client.read_u8().await.unwrap();
            }
        });
        assert_eq!(writing.await.unwrap().kind(), io::ErrorKind::TimedOut);
        trickle.abort();
        assert!(began.elapsed() < Duration::from_secs(90), "{:?}", began.elapsed());
    }

    #[tokio::test(start_paused = true)]
    async fn a_listener_may_pause_the_player_and_go_on() {
        let (writing, mut client) = writing(1024, KIB);
        // At the rate of a recording: several pauses of nearly ten minutes, each after ten minutes
        // of listening.
        for _ in 0..3 {
            for _ in 0..600 {
                take(&mut client, 8 * KIB).await;
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
            tokio::time::sleep(MOST - Duration::from_secs(10)).await;
        }
        assert!(!writing.is_finished());
        let began = Instant::now();
        assert_eq!(writing.await.unwrap().kind(), io::ErrorKind::TimedOut, "but not for ever");
        assert!(began.elapsed() <= MOST);
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_is_slower_than_the_minimum_is_cut_and_one_that_is_faster_is_not() {
        for (a_second, is_cut) in [(512, true), (2048, false)] {
            let (writing, mut client) = writing(1024, 64);
            for _ in 0..600 {
                if writing.is_finished() {
                    break;
                }
                tokio::time::sleep(Duration::from_secs(1)).await;
                let mut taken = vec![0; a_second];
                let _ = client.read_exact(&mut taken).await;
            }
            assert_eq!(writing.is_finished(), is_cut, "{a_second} bytes a second");
            writing.abort();
        }
    }

    #[tokio::test(start_paused = true)]
    async fn without_a_minimum_a_byte_earns_all_the_time_there_is() {
        let (writing, mut client) = writing(0, KIB);
        for _ in 0..20 {
            tokio::time::sleep(Duration::from_secs(500)).await;
            take(&mut client, 1).await;
        }
        assert!(!writing.is_finished());
        writing.abort();
    }
}
