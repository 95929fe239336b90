//! [`Paced`]: a connection that fails if its client reads too slowly.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep};

/// How long a new connection may be blocked.
const INITIAL_CREDIT: Duration = Duration::from_secs(60);
/// The maximum time that a connection may be blocked.
const MAX_CREDIT: Duration = Duration::from_secs(10 * 60);

/// A connection that fails with `TimedOut` if its client reads too slowly.
///
/// A connection is blocked while bytes wait and it accepts none. It has a credit of blocked time:
/// 60 seconds at first, and one second more for each `min_rate` bytes that it accepts, up to 10
/// minutes. So a listener who has received some minutes of a recording can pause the player for
/// that long, and a client that reads a byte a minute is disconnected soon.
#[derive(Debug)]
pub(crate) struct Paced<S> {
    stream: S,
    /// In bytes per second. 0 sets no minimum.
    min_rate: u64,
    credit: Duration,
    blocked_since: Option<Instant>,
    /// Ends with the credit while the connection is blocked. Created with the first wait.
    end: Option<Pin<Box<Sleep>>>,
}

impl<S> Paced<S> {
    pub(crate) fn new(stream: S, min_rate: u64) -> Self {
        Self { stream, min_rate, credit: INITIAL_CREDIT, blocked_since: None, end: None }
    }

    /// Updates the credit after an attempt to write. Fails if the connection is blocked and has no
    /// credit left.
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
                    self.credit = self.credit.saturating_add(self.earned(*bytes)).min(MAX_CREDIT);
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
                let message = "the client reads the response too slowly";
                Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, message)))
            }
        }
    }

    fn earned(&self, bytes: usize) -> Duration {
        match (bytes, self.min_rate) {
            (0, _) => Duration::ZERO,
            (_, 0) => MAX_CREDIT,
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

    /// Starts a server that writes without end, over a pipe with a buffer of `capacity` bytes.
    fn writing(
        min_rate: u64,
        capacity: usize,
    ) -> (tokio::task::JoinHandle<io::Error>, DuplexStream) {
        let (client, server) = duplex(capacity);
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
    async fn a_client_that_reads_nothing_is_disconnected_after_a_minute() {
        let (writing, client) = writing(1024, KIB);
        let began = Instant::now();
        assert_eq!(writing.await.unwrap().kind(), io::ErrorKind::TimedOut);
        assert_eq!(began.elapsed().as_secs(), 61, "the pipe accepted 1 KiB, which adds one second");
        drop(client);
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_reads_a_byte_every_ten_seconds_is_disconnected() {
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
    async fn a_listener_can_pause_the_player_for_nearly_ten_minutes() {
        let (writing, mut client) = writing(1024, KIB);
        // Reads 8 KiB a second for ten minutes, then pauses for nearly ten minutes, three times.
        for _ in 0..3 {
            for _ in 0..600 {
                take(&mut client, 8 * KIB).await;
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
            tokio::time::sleep(MAX_CREDIT - Duration::from_secs(10)).await;
        }
        assert!(!writing.is_finished());
        let began = Instant::now();
        assert_eq!(writing.await.unwrap().kind(), io::ErrorKind::TimedOut, "a longer pause fails");
        assert!(began.elapsed() <= MAX_CREDIT);
    }

    #[tokio::test(start_paused = true)]
    async fn only_a_client_below_the_minimum_rate_is_disconnected() {
        for (rate, is_disconnected) in [(512, true), (2048, false)] {
            let (writing, mut client) = writing(1024, 64);
            for _ in 0..600 {
                if writing.is_finished() {
                    break;
                }
                tokio::time::sleep(Duration::from_secs(1)).await;
                let mut taken = vec![0; rate];
                let _ = client.read_exact(&mut taken).await;
            }
            assert_eq!(writing.is_finished(), is_disconnected, "{rate} bytes per second");
            writing.abort();
        }
    }

    #[tokio::test(start_paused = true)]
    async fn without_a_minimum_each_read_allows_a_pause_of_ten_minutes() {
        let (writing, mut client) = writing(0, KIB);
        for _ in 0..20 {
            tokio::time::sleep(Duration::from_secs(500)).await;
            take(&mut client, 1).await;
        }
        assert!(!writing.is_finished());
        writing.abort();
    }
}
