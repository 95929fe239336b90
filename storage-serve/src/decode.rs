//! [`decode`]: decodes a compressed object while it streams, within limits.
//!
//! A user who uploads an object chooses its bytes, and a few bytes can cost much processor time.
//! Two measures protect the server. Decoding yields to other tasks after every [`YIELD_AFTER`]
//! bytes of input. It fails if the ratio of input to output is out of bounds.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use async_compression::tokio::bufread::{GzipDecoder, ZlibDecoder};
use bytes::{Bytes, BytesMut};
use futures_util::stream;
use storage_core::{Error, ErrorKind, Object, ObjectReader, Result};
use tokio::io::{AsyncBufRead, AsyncRead, ReadBuf};
use tokio_util::io::poll_read_buf;

use crate::body::ResponseBody;
use crate::encoding::Coding;

/// The size of a decoded chunk, in bytes.
const CHUNK: usize = 64 * 1024;
/// How many bytes of input are decoded before the task yields.
const YIELD_AFTER: usize = 16 * 1024;

/// Upper bounds for an object. The first number of each is a constant allowance. The second one is
/// a ratio of input and output.
///
/// Ordinary objects are far below them. A gzip member adds at most 20 bytes and a few bytes for
/// each 64 KiB to its content, and text shrinks to between a tenth and a fiftieth.
struct Limits {
    /// Bytes of input: the allowance, plus this many for each decoded byte. Limits empty blocks and
    /// members, which decode to nothing.
    input: (u64, u64),
    /// Gzip members: the allowance, plus one for each of this many decoded bytes. A member costs
    /// about 3 µs, however small it is.
    members: (u64, u64),
    /// Decoded bytes: the allowance, plus this many for each byte of input. Zeros shrink to a
    /// thousandth.
    output: (u64, u64),
}

const LIMITS: Limits =
    Limits { input: (1024 * 1024, 64), members: (10_000, 64), output: (64 * 1024 * 1024, 256) };

/// Returns the decoded body of an object.
///
/// The body ends with `Integrity` or `Unexpected`, and the server closes the connection, if the
/// object is not valid in its encoding or exceeds the limits.
pub(super) fn decode(coding: Coding, object: Object) -> ResponseBody {
    decode_within(&LIMITS, coding, object)
}

fn decode_within(limits: &'static Limits, coding: Coding, object: Object) -> ResponseBody {
    // An empty file is not valid gzip, but some programs store one with that encoding.
    if object.content_length() == 0 {
        return ResponseBody::empty();
    }
    let input = Input { limits, reader: object.into_reader(), read: 0, decoded: 0, since_yield: 0 };
    let decoding = Decoding {
        decoder: Some(Decoder::new(coding, input)),
        members: 1,
        buffer: BytesMut::new(),
    };
    let chunks = stream::try_unfold(decoding, |mut decoding| async move {
        let chunk = decoding.next().await?;
        Ok(chunk.map(|chunk| (chunk, decoding)))
    });
    ResponseBody::stream(chunks, None)
}

/// A decoder for one member of gzip, or for a document of zlib.
enum Decoder {
    Gzip(GzipDecoder<Input>),
    Deflate(ZlibDecoder<Input>),
}

impl Decoder {
    fn new(coding: Coding, input: Input) -> Self {
        match coding {
            Coding::Gzip => Self::Gzip(GzipDecoder::new(input)),
            Coding::Deflate => Self::Deflate(ZlibDecoder::new(input)),
        }
    }

    fn input(&mut self) -> &mut Input {
        match self {
            Self::Gzip(decoder) => decoder.get_mut(),
            Self::Deflate(decoder) => decoder.get_mut(),
        }
    }

    fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        buffer: &mut BytesMut,
    ) -> Poll<io::Result<usize>> {
        match self {
            Self::Gzip(decoder) => poll_read_buf(Pin::new(decoder), cx, buffer),
            Self::Deflate(decoder) => poll_read_buf(Pin::new(decoder), cx, buffer),
        }
    }
}

struct Decoding {
    /// `None` after the end.
    decoder: Option<Decoder>,
    members: u64,
    buffer: BytesMut,
}

impl Decoding {
    async fn next(&mut self) -> Result<Option<Bytes>> {
        while let Some(decoder) = &mut self.decoder {
            self.buffer.reserve(CHUNK);
            let decoded = poll_fn(|cx| decoder.poll_read(cx, &mut self.buffer)).await?;
            if decoded > 0 {
                decoder.input().count_decoded(decoded)?;
                return Ok(Some(self.buffer.split().freeze()));
            }
            self.next_member().await?;
        }
        Ok(None)
    }

    /// Continues with the next member. A file may have several (RFC 1952 section 2.2).
    async fn next_member(&mut self) -> Result<()> {
        let Some(Decoder::Gzip(ended)) = self.decoder.take() else { return Ok(()) };
        let mut input = ended.into_inner();
        if poll_fn(|cx| Pin::new(&mut input).poll_fill_buf(cx).map_ok(<[u8]>::is_empty)).await? {
            return Ok(());
        }
        self.members += 1;
        let (free, bytes_each) = input.limits.members;
        if self.members > free + input.decoded / bytes_each {
            return Err(out_of_proportion("it has too many gzip members for its decoded size"));
        }
        self.decoder = Some(Decoder::new(Coding::Gzip, input));
        Ok(())
    }
}

/// The stored bytes as input of a decoder, which counts them and yields regularly.
struct Input {
    limits: &'static Limits,
    reader: ObjectReader,
    /// The number of bytes read.
    read: u64,
    /// The number of decoded bytes.
    decoded: u64,
    /// The number of bytes read since the last yield.
    since_yield: usize,
}

impl Input {
    fn count_decoded(&mut self, bytes: usize) -> Result<()> {
        self.decoded += bytes as u64;
        let (free, ratio) = self.limits.output;
        if self.decoded > self.read.saturating_mul(ratio).saturating_add(free) {
            return Err(out_of_proportion("its decoded size is too large for its stored size"));
        }
        Ok(())
    }

    fn check_read(&self) -> Result<()> {
        let (free, ratio) = self.limits.input;
        if self.read > self.decoded.saturating_mul(ratio).saturating_add(free) {
            return Err(out_of_proportion("its stored size is too large for its decoded size"));
        }
        Ok(())
    }
}

fn out_of_proportion(what: &str) -> Error {
    Error::new(
        ErrorKind::Integrity,
        format!(
            "the object cannot be decoded for a client that does not accept its encoding: {what}; \
             store it again, or set EncodingPolicy::AsStored"
        ),
    )
}

impl AsyncBufRead for Input {
    fn poll_fill_buf(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<&[u8]>> {
        let this = self.get_mut();
        if this.since_yield >= YIELD_AFTER {
            this.since_yield = 0;
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        this.check_read().map_err(io::Error::other)?;
        let bytes = ready!(Pin::new(&mut this.reader).poll_fill_buf(cx))?;
        Poll::Ready(Ok(&bytes[..bytes.len().min(YIELD_AFTER - this.since_yield)]))
    }

    fn consume(self: Pin<&mut Self>, bytes: usize) {
        let this = self.get_mut();
        this.read += bytes as u64;
        this.since_yield += bytes;
        Pin::new(&mut this.reader).consume(bytes);
    }
}

impl AsyncRead for Input {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let bytes = ready!(self.as_mut().poll_fill_buf(cx))?;
        let bytes = &bytes[..bytes.len().min(into.remaining())];
        into.put_slice(bytes);
        let read = bytes.len();
        self.consume(read);
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use futures_util::task::noop_waker;
    use futures_util::{StreamExt, TryStreamExt};
    use storage_core::{Key, ObjectMeta};

    use super::*;

    /// `gzip.compress(b"")`.
    const NOTHING: [u8; 20] = [31, 139, 8, 0, 0, 0, 0, 0, 0, 255, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    /// The header of zlib.
    const ZLIB: [u8; 2] = [0x78, 0x9c];
    /// A stored block of deflate without bytes that is not the last one.
    const EMPTY_BLOCK: [u8; 5] = [0, 0, 0, 0xff, 0xff];

    fn object(bytes: Vec<u8>) -> Object {
        let size = bytes.len() as u64;
        Object::from_bytes(ObjectMeta::new(Key::new("a").unwrap(), size), 0..size, bytes.into())
    }

    fn body(coding: Coding, bytes: Vec<u8>) -> ResponseBody {
        decode(coding, object(bytes))
    }

    async fn outcome(coding: Coding, bytes: Vec<u8>) -> Result<Vec<u8>> {
        let chunks: Vec<Bytes> = body(coding, bytes).try_collect().await?;
        Ok(chunks.concat())
    }

    async fn gzip(bytes: &[u8]) -> Vec<u8> {
        use async_compression::tokio::bufread::GzipEncoder;
        let mut encoder = GzipEncoder::new(bytes);
        let mut compressed = BytesMut::new();
        loop {
            compressed.reserve(CHUNK);
            if poll_fn(|cx| poll_read_buf(Pin::new(&mut encoder), cx, &mut compressed))
                .await
                .unwrap()
                == 0
            {
                return compressed.to_vec();
            }
        }
    }

    fn empty_blocks(count: usize) -> Vec<u8> {
        [&ZLIB[..], &EMPTY_BLOCK.repeat(count)].concat()
    }

    #[test]
    fn decoding_input_without_output_yields_to_other_tasks() {
        for (coding, bytes) in
            [(Coding::Gzip, NOTHING.repeat(5_000)), (Coding::Deflate, empty_blocks(20_000))]
        {
            let (mut body, waker) = (body(coding, bytes), noop_waker());
            let mut pauses = 0;
            // The input is in memory, so it is pending only when it yields.
            let end = loop {
                match body.poll_next_unpin(&mut Context::from_waker(&waker)) {
                    Poll::Pending => pauses += 1,
                    Poll::Ready(end) => break end,
                }
            };
            assert!(pauses >= 100_000 / YIELD_AFTER, "{coding:?}: {pauses} pauses, then {end:?}");
        }
    }

    #[tokio::test]
    async fn too_much_input_for_the_output_is_an_error() {
        let error = outcome(Coding::Deflate, empty_blocks(400_000)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Integrity, "{error}");
        assert!(error.message().contains("its stored size is too large"), "{error}");
    }

    #[tokio::test]
    async fn too_many_members_for_the_output_are_an_error() {
        let error = outcome(Coding::Gzip, NOTHING.repeat(20_000)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Integrity, "{error}");
        assert!(error.message().contains("too many gzip members"), "{error}");
    }

    #[tokio::test]
    async fn too_much_output_for_the_input_is_an_error() {
        // Zeros are compressed to a thousandth.
        static LOW: Limits = Limits { output: (1024 * 1024, 256), ..LIMITS };
        let zeros = gzip(&vec![0; 2 * 1024 * 1024]).await;
        let error = decode_within(&LOW, Coding::Gzip, object(zeros))
            .try_collect::<Vec<_>>()
            .await
            .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Integrity, "{error}");
        assert!(error.message().contains("its decoded size is too large"), "{error}");
    }

    #[tokio::test]
    async fn a_log_with_one_member_for_each_line_is_decoded() {
        for (length, lines) in [(300, 30_000), (100, 40_000)] {
            let line = vec![b'x'; length];
            let member = gzip(&line).await;
            assert!(
                outcome(Coding::Gzip, member.repeat(lines)).await.unwrap() == line.repeat(lines),
                "{length}"
            );
        }
    }

    #[tokio::test]
    async fn empty_members_between_others_are_skipped() {
        let hello = gzip(b"hello").await;
        let bytes = [&NOTHING[..], &hello, &NOTHING, &NOTHING, &hello, &NOTHING].concat();
        assert_eq!(outcome(Coding::Gzip, bytes).await.unwrap(), b"hellohello");
    }

    #[tokio::test]
    async fn a_large_object_of_zeros_below_the_limit_is_decoded() {
        let zeros = vec![0; 4 * 1024 * 1024];
        assert!(outcome(Coding::Gzip, gzip(&zeros).await).await.unwrap() == zeros);
    }
}
