//! [`KeyList`]: keys that are read from a file, one a line, or from JSON lines with a field `key`.
//! A name of a file may look like JSON, so the first line decides about the whole list.

use std::fmt;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures_core::Stream;
use futures_core::stream::BoxStream;
use futures_util::StreamExt;
use serde::Deserialize;
use storage_core::{Error, ErrorKind, Key, Result};
use tokio::io::AsyncBufRead;

use crate::sort::{SortOptions, Sorter};

/// The maximum length of a line, in bytes. A key has at most 1024, and a line of a report also
/// contains the text of an error.
const MAX_LINE_BYTES: usize = 64 * 1024;

/// The keys of a text, as a `Stream` that reads in bounded memory.
///
/// Each line contains one key. A line ends at a line feed, with or without a carriage return before
/// it, or at a NUL byte (`find -print0`). The first end of a line decides which: in a list with NUL
/// bytes, a line feed belongs to the name. Empty lines are skipped. No other character is removed,
/// except a byte order mark at the beginning.
///
/// If the first line ends at a line feed and is a JSON object with a text field `key`, all lines
/// are such objects, and their other fields are ignored. So the files of failed keys and the
/// reports of a transfer can be read again. In any other list, a line that looks like JSON is a
/// key.
///
/// # Errors
/// If one line of a list of JSON objects is something else, the last item is an error of the kind
/// `InvalidInput`: the list may be one of names, the first of which looks like JSON. So it is if a
/// NUL byte follows after a line feed: the first name may contain a line feed.
///
/// A line that is not a key is an error item with the number of the line. Its
/// [`listing_continues`](Error::listing_continues) is `true`, and the next lines follow. Kinds:
/// `InvalidKey`, and `InvalidInput` for a line of more than 64 KiB or one that is not UTF-8. If the
/// reader fails, its error is the last item.
///
/// Dropping it stops reading.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> storage_core::Result<()> {
/// use futures_util::TryStreamExt;
/// use storage_transfer::KeyList;
///
/// let text = "{\"key\":\"c.png\",\"error\":\"Timeout\"}\n";
/// let keys: Vec<_> = KeyList::new(text.as_bytes(), "failed.jsonl").try_collect().await?;
/// assert_eq!(keys, ["c.png"]);
/// let keys: Vec<_> = KeyList::new("a/b.png\nc.png\n".as_bytes(), "keys").try_collect().await?;
/// assert_eq!(keys, ["a/b.png", "c.png"]);
/// # Ok(()) }
/// ```
pub struct KeyList<R> {
    reader: R,
    name: String,
    /// The line so far, or its beginning if it is too long.
    line: Vec<u8>,
    line_number: u64,
    is_too_long: bool,
    /// Whether NUL bytes separate the keys. Decided by the first separator.
    has_nul: Option<bool>,
    /// Whether all lines are JSON objects. Decided by the first line that is not empty.
    is_json: Option<bool>,
    /// Whether a line of a list of JSON objects is something else.
    is_broken: bool,
    is_finished: bool,
}

impl<R> KeyList<R> {
    /// Creates the list. `name` is the name of the file for errors.
    #[must_use]
    pub fn new(reader: R, name: impl Into<String>) -> Self {
        Self {
            reader,
            name: name.into(),
            line: Vec::new(),
            line_number: 1,
            is_too_long: false,
            has_nul: None,
            is_json: None,
            is_broken: false,
            is_finished: false,
        }
    }

    fn push(&mut self, bytes: &[u8]) {
        if self.line.len() + bytes.len() > MAX_LINE_BYTES {
            self.is_too_long = true;
        } else if !self.is_too_long {
            self.line.extend_from_slice(bytes);
        }
    }

    /// Returns the item of the line that has just ended, if it is not empty.
    fn end_line(&mut self, separator: u8) -> Option<Result<Key>> {
        let is_nul = separator == b'\0';
        let item = if is_nul && self.has_nul == Some(false) {
            self.is_broken = true;
            let message = "a NUL byte after a line feed: separate all keys with NUL bytes, or all \
                           with line feeds";
            Some(Err(Error::new(ErrorKind::InvalidInput, message)))
        } else if self.is_too_long {
            let message = format!("the line has more than {MAX_LINE_BYTES} bytes");
            Some(Err(Error::new(ErrorKind::InvalidInput, message)))
        } else {
            self.parse_line(separator).transpose()
        };
        self.has_nul.get_or_insert(is_nul);
        let number = self.line_number;
        self.line.clear();
        self.is_too_long = false;
        self.line_number += 1;
        let context = |error: Error| {
            error
                .with_context(&format!("{}, line {number}", self.name))
                .with_listing_continues(!self.is_broken)
        };
        item.map(|key| key.map_err(context))
    }

    fn parse_line(&mut self, separator: u8) -> Result<Option<Key>> {
        let line = match self.line.as_slice() {
            // A name that ends at a NUL byte may end in any other character.
            [line @ .., b'\r'] if separator == b'\n' => line,
            line => line,
        };
        let line = match line.strip_prefix("\u{feff}".as_bytes()) {
            Some(after) if self.line_number == 1 => after,
            _ => line,
        };
        if line.is_empty() {
            return Ok(None);
        }
        let text = std::str::from_utf8(line).map_err(|_| {
            let message = "the line is not UTF-8, and keys are";
            Error::new(ErrorKind::InvalidInput, message).with_key(shortened(line))
        })?;
        let from_json = key_of_json(text);
        let is_json = *self.is_json.get_or_insert(separator == b'\n' && from_json.is_some());
        match (is_json, from_json) {
            (true, Some(key)) => Key::new(key).map(Some),
            (false, _) => Key::new(text).map(Some),
            (true, None) => {
                self.is_broken = true;
                let message = "the first line is a JSON object with a key, and this one is not: \
                               separate names of files with NUL bytes (find -print0)";
                Err(Error::new(ErrorKind::InvalidInput, message))
            }
        }
    }
}

/// Returns the lossy beginning of a line for an error.
fn shortened(line: &[u8]) -> String {
    String::from_utf8_lossy(&line[..line.len().min(storage_core::MAX_KEY_BYTES)]).into_owned()
}

fn key_of_json(line: &str) -> Option<String> {
    #[derive(Deserialize)]
    struct Record {
        key: String,
    }

    if !line.starts_with("{\"") {
        return None;
    }
    serde_json::from_str::<Record>(line).ok().map(|record| record.key)
}

impl<R: AsyncBufRead + Unpin> KeyList<R> {
    /// Reads to the end of the next line, and returns its separator; `None` at the end.
    fn poll_line(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Option<u8>>> {
        let has_nul = self.has_nul;
        loop {
            let buffer = ready!(Pin::new(&mut self.reader).poll_fill_buf(cx))?;
            if buffer.is_empty() {
                return Poll::Ready(Ok(None));
            }
            // A name that ends at a NUL byte may contain line feeds.
            let is_end = |byte: &u8| *byte == b'\0' || (*byte == b'\n' && has_nul != Some(true));
            let end = buffer.iter().position(is_end);
            let piece = buffer[..end.unwrap_or(buffer.len())].to_vec();
            let separator = end.map(|end| buffer[end]);
            Pin::new(&mut self.reader).consume(piece.len() + usize::from(separator.is_some()));
            self.push(&piece);
            if separator.is_some() {
                return Poll::Ready(Ok(separator));
            }
        }
    }
}

impl<R: AsyncBufRead + Unpin> Stream for KeyList<R> {
    type Item = Result<Key>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        while !self.is_finished {
            let separator = match ready!(self.poll_line(cx)) {
                Ok(separator) => separator,
                Err(error) => {
                    self.is_finished = true;
                    let error = Error::from(error).with_context(&format!(
                        "{}, line {}: the list of keys cannot be read",
                        self.name, self.line_number
                    ));
                    return Poll::Ready(Some(Err(error)));
                }
            };
            self.is_finished = separator.is_none();
            // The last line may end without a line feed.
            let item = self.end_line(separator.unwrap_or(b'\n'));
            self.is_finished |= self.is_broken;
            if let Some(item) = item {
                return Poll::Ready(Some(item));
            }
        }
        Poll::Ready(None)
    }
}

impl<R> fmt::Debug for KeyList<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyList")
            .field("name", &self.name)
            .field("line_number", &self.line_number)
            .finish_non_exhaustive()
    }
}

/// Sorts keys in byte order and removes repetitions, as the `keys` of
/// [`Synchronize`](crate::Synchronize::keys) and [`Check`](crate::Check::keys) must be. Memory is
/// bounded: what exceeds 32 MiB is sorted in temporary files.
///
/// If the future is dropped, the temporary files are removed.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> storage_core::Result<()> {
/// use futures_util::TryStreamExt;
/// use storage_transfer::{KeyList, sort_keys};
///
/// let sorted = sort_keys(KeyList::new("b\na\nb\n".as_bytes(), "keys")).await?;
/// assert_eq!(sorted.try_collect::<Vec<_>>().await?, ["a", "b"]);
/// # Ok(()) }
/// ```
///
/// # Errors
/// The first error of the stream. `StorageFull` and other errors of temporary files.
pub async fn sort_keys(
    keys: impl Stream<Item = Result<Key>> + Send,
) -> Result<BoxStream<'static, Result<Key>>> {
    let mut keys = Box::pin(keys);
    let mut sorter = Sorter::<Key>::new(SortOptions::default());
    while let Some(key) = keys.next().await {
        sorter.push(&key?).await?;
    }
    sorter.finish().await
}

#[cfg(test)]
mod tests {
    use futures_util::StreamExt;
    use tokio::io::{AsyncReadExt, BufReader};

    use super::*;

    /// Reads a list through a buffer of a few bytes, so that lines lie across its borders.
    async fn read(text: impl AsRef<[u8]>) -> Vec<Result<Key>> {
        KeyList::new(BufReader::with_capacity(3, text.as_ref()), "keys").collect().await
    }

    async fn keys(text: impl AsRef<[u8]>) -> Vec<String> {
        read(text).await.into_iter().map(|key| key.unwrap().to_string()).collect()
    }

    #[tokio::test]
    async fn each_line_is_a_key_and_empty_lines_are_skipped() {
        assert_eq!(keys("a\n\nb c/d \r\n\r\n# e\nlast").await, ["a", "b c/d ", "# e", "last"]);
        assert!(keys("").await.is_empty() && keys("\n\n").await.is_empty());
    }

    #[tokio::test]
    async fn keys_may_be_separated_by_nul_bytes() {
        assert_eq!(keys("a b\0c\0\0d").await, ["a b", "c", "d"]);
    }

    #[tokio::test]
    async fn a_line_feed_in_a_name_of_a_list_with_nul_bytes_begins_no_other_key() {
        let items = read("a\0x\nreports/2024.csv\0b\0").await;
        assert_eq!(items[1].as_ref().unwrap_err().kind(), ErrorKind::InvalidKey);
        assert_eq!(items[0].as_ref().unwrap(), "a");
        assert_eq!(items[2].as_ref().unwrap(), "b");
    }

    #[tokio::test]
    async fn a_nul_byte_after_a_line_feed_ends_the_list() {
        let items = read("x\nreports/2024.csv\0b\0").await;
        assert_eq!(items[0].as_ref().unwrap(), "x");
        let error = items[1].as_ref().unwrap_err();
        assert!(error.message().contains("NUL byte") && !error.listing_continues(), "{error}");
        assert_eq!(items.len(), 2);
    }

    #[tokio::test]
    async fn a_carriage_return_before_a_nul_byte_is_not_removed() {
        let items = read("a\r\0b").await;
        assert_eq!(items[0].as_ref().unwrap_err().kind(), ErrorKind::InvalidKey);
        assert_eq!(items[1].as_ref().unwrap(), "b");
    }

    #[tokio::test]
    async fn a_byte_order_mark_is_removed_at_the_beginning_only() {
        assert_eq!(keys("\u{feff}a\n\u{feff}b").await, ["a", "\u{feff}b"]);
        assert!(keys("\u{feff}").await.is_empty());
    }

    #[tokio::test]
    async fn the_key_of_a_json_line_is_its_field() {
        let text = r#"{"key":"a/b","error":"no \"such\" object","n":[{"key":1}]}
{"verdict":"!","key":"c\u00e9"}
"#;
        assert_eq!(keys(text).await, ["a/b", "cé"]);
    }

    #[tokio::test]
    async fn a_line_that_only_resembles_json_is_the_key_itself() {
        for line in
            ["{\"key\":1}", "{\"key\":\"a\"", "{\"other\":\"a\"}", "{a}", " {\"key\":\"a\"}"]
        {
            assert_eq!(keys(line).await, [line]);
        }
        assert_eq!(keys(r#"{"key":"{\"key\":\"a\"}"}"#).await, [r#"{"key":"a"}"#]);
    }

    #[tokio::test]
    async fn in_a_list_of_names_a_name_that_looks_like_json_is_a_key() {
        let record = "{\"key\":\"victim\"}";
        assert_eq!(keys(format!("a\n{record}\n")).await, ["a", record]);
        assert_eq!(keys(format!("{record}\0a\0")).await, [record, "a"]);
    }

    #[tokio::test]
    async fn a_list_ends_with_an_error_if_only_its_first_lines_are_json() {
        let items = read("{\"key\":\"victim\"}\na\nb\n").await;
        assert_eq!((items.len(), items[0].as_ref().unwrap().as_str()), (2, "victim"));
        let error = items[1].as_ref().unwrap_err();
        assert_eq!((error.kind(), error.listing_continues()), (ErrorKind::InvalidInput, false));
        assert!(error.to_string().contains("keys, line 2: "), "{error}");
    }

    #[tokio::test]
    async fn a_line_that_is_not_a_key_is_an_error_with_its_number_and_the_rest_follows() {
        let text = b"a\n\n/b\n\xff\nc/\nd\n".as_slice();
        let items = read(text).await;
        let errors: Vec<_> = items.iter().filter_map(|item| item.as_ref().err()).collect();
        let shown: Vec<_> = errors.iter().map(ToString::to_string).collect();
        assert!(shown[0].contains("keys, line 3: ") && errors[0].key() == Some("/b"), "{shown:?}");
        assert!(shown[1].contains("keys, line 4: "), "{shown:?}");
        assert!(shown[2].contains("keys, line 5: ") && errors[2].key() == Some("c/"), "{shown:?}");
        assert!(errors.iter().all(|error| error.listing_continues()));
        let kinds: Vec<_> = errors.iter().map(|error| error.kind()).collect();
        assert_eq!(kinds, [ErrorKind::InvalidKey, ErrorKind::InvalidInput, ErrorKind::InvalidKey]);
        assert_eq!(items.iter().filter_map(|item| item.as_ref().ok()).count(), 2);
    }

    #[tokio::test]
    async fn a_line_that_is_too_long_is_an_error_and_is_not_kept_in_memory() {
        let endless = tokio::io::repeat(b'x').take(8 * 1024 * 1024);
        let reader = BufReader::new("a\n".as_bytes().chain(endless).chain("\nb".as_bytes()));
        let mut list = KeyList::new(reader, "keys");
        assert_eq!(list.next().await.unwrap().unwrap(), "a");
        let error = list.next().await.unwrap().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        assert!(error.to_string().contains("keys, line 2: "), "{error}");
        assert!(list.line.capacity() <= 2 * MAX_LINE_BYTES);
        assert_eq!(list.next().await.unwrap().unwrap(), "b");
        assert!(list.next().await.is_none());
    }

    #[tokio::test]
    async fn a_json_line_of_the_maximum_length_is_read() {
        let mut line = String::from(r#"{"key":"a","error":""#);
        line.push_str(&"x".repeat(MAX_LINE_BYTES - line.len() - 2));
        line.push_str("\"}");
        assert_eq!(line.len(), MAX_LINE_BYTES);
        assert_eq!(keys(&line).await, ["a"]);
        let items = read(format!("{line} ")).await;
        assert_eq!(items[0].as_ref().unwrap_err().kind(), ErrorKind::InvalidInput);
    }

    #[tokio::test]
    async fn a_reader_that_fails_ends_the_list_with_its_error() {
        let pieces = [Ok(&b"a\nb"[..]), Err(io::Error::other("the cable was pulled"))];
        let reader = tokio_util::io::StreamReader::new(futures_util::stream::iter(pieces));
        let items: Vec<_> = KeyList::new(reader, "keys").collect().await;
        assert_eq!(items.len(), 2);
        let error = items[1].as_ref().unwrap_err();
        assert!(error.to_string().contains("keys, line 2: "), "{error}");
        assert!(!error.listing_continues());
    }
}
