//! Responses without a length, or with a wrong one.

use bytes::Bytes;
use futures_util::TryStreamExt;
use storage_core::{Driver, ErrorKind, Key, OpenOptions, Storage};
use storage_s3::Quirks;

use crate::fake::Fake;
use crate::fault_proxy::{CannedResponse, Fault};

/// Returns a chunked response, which has no length.
fn chunked(headers: &str, chunks: &[&str]) -> Fault {
    let mut said = format!("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n{headers}\r\n");
    for chunk in chunks {
        said += &format!("{:x}\r\n{chunk}\r\n", chunk.len());
    }
    Fault::SendBytes((said + "0\r\n\r\n").into())
}

#[tokio::test]
async fn an_object_whose_response_has_no_length_is_read() {
    let fake = Fake::without(&[]);
    let headers = "etag: \"e\"\r\ncontent-type: text/css\r\n";
    let without = fake.proxy.on("GetObject").then(chunked(headers, &["body ", "{}"]));
    let storage = fake.storage(Quirks::None);
    let object = storage.open("a").await.unwrap();
    assert_eq!((object.meta().size, object.meta().content_type()), (7, Some("text/css")));
    assert_eq!(object.text().await.unwrap(), "body {}");
    // The range is cut out of a response that ignores it.
    let object = storage.open("a").range(1..4).await.unwrap();
    assert_eq!((object.range(), object.meta().size), (1..4, 7));
    let chunks: Vec<Bytes> = object.into_stream().try_collect().await.unwrap();
    assert_eq!(chunks.concat(), b"ody");
    let error = storage.open("a").range(7..9).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::RangeNotSatisfiable, "{error}");
    assert_eq!(without.fired(), 3);
}

#[tokio::test]
async fn a_body_without_a_length_that_breaks_off_is_an_error() {
    let fake = Fake::without(&[]);
    let chunk = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\netag: \"e\"\r\n\r\n5\r\nhalf ";
    let by_chunk = fake
        .proxy
        .on("GetObject")
        .call(1)
        .then(Fault::SendBytes(Bytes::from_static(chunk.as_bytes())));
    let close = "HTTP/1.1 200 OK\r\netag: \"e\"\r\nconnection: close\r\n\r\nhalf ";
    let by_close =
        fake.proxy.on("GetObject").then(Fault::SendBytes(Bytes::from_static(close.as_bytes())));
    let storage = fake.storage(Quirks::None);
    assert_eq!(storage.open("a").await.unwrap_err().kind(), ErrorKind::Unexpected);
    // Nothing shows that the body is complete.
    assert_eq!(storage.open("a").await.unwrap_err().kind(), ErrorKind::Unsupported);
    assert_eq!((by_chunk.fired(), by_close.fired()), (1, 1));
}

#[tokio::test]
async fn the_gcs_profile_requests_the_stored_encoding_outside_of_the_signature() {
    let fake = Fake::without(&[]);
    for (quirks, accepted) in [(Quirks::Gcs, Some("gzip")), (Quirks::None, None)] {
        let storage = fake.storage(quirks);
        storage.save("a", "text").await.unwrap();
        storage.open("a").await.unwrap();
        let (sent, signed) = fake.proxy.inspect(|record| {
            let request = record.of("GetObject").last().unwrap();
            let header = |name| {
                request
                    .headers
                    .get(name)
                    .map(|value: &http::HeaderValue| value.to_str().unwrap().to_owned())
            };
            (header("accept-encoding"), header("authorization").unwrap())
        });
        assert_eq!(sent.as_deref(), accepted);
        assert!(!signed.contains("accept-encoding"), "{signed}");
    }
}

/// Garage sends such a header for a range of an empty object.
#[tokio::test]
async fn a_content_range_with_an_overflow_is_an_unsatisfiable_range() {
    let fake = Fake::without(&[]);
    let range = |value: &str| {
        Fault::Respond(
            CannedResponse::new(206, "").header("etag", "\"e\"").header("content-range", value),
        )
    };
    let of_nothing =
        fake.proxy.on("GetObject").call(1).then(range("bytes 0-18446744073709551615/0"));
    let of_all =
        fake.proxy.on("GetObject").then(range("bytes 0-18446744073709551615/18446744073709551615"));
    let storage = fake.storage(Quirks::None);
    let error = storage.open("a").range(0..5).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::RangeNotSatisfiable, "{error}");
    let error = storage.open("a").range(0..5).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unexpected, "{error}");
    assert_eq!((of_nothing.fired(), of_all.fired()), (1, 1));
}

/// The end of an object of the largest possible size is read ahead.
#[tokio::test]
async fn positions_near_the_largest_number_are_read_without_overflow() {
    const PART: usize = 5 << 20;
    const SIZE: u64 = u64::MAX - 1;
    let from = SIZE - 3 * PART as u64;
    let range = format!("bytes {from}-{}/{SIZE}", SIZE - 1);
    let response = CannedResponse::new(206, vec![7; 3 * PART])
        .header("etag", "\"e\"")
        .header("content-range", &range);
    let fake = Fake::without(&[]);
    let of_the_end = fake.proxy.on("GetObject").then(Fault::Respond(response));
    let builder = fake.builder(Quirks::None).part_size(PART as u64);
    let storage = Storage::new(builder.build().unwrap());
    let object = storage.open("a").range(from..SIZE).await.unwrap();
    let mut read = 0;
    let mut chunks = object.into_stream();
    while let Ok(Some(chunk)) = chunks.try_next().await {
        read += chunk.len();
    }
    assert!(read > PART, "{read} bytes were read");
    of_the_end.assert_fired();
}

/// A caller that only forwards the bytes needs no temporary file.
#[tokio::test]
async fn an_object_without_a_length_is_streamed_to_a_caller_that_allows_it() {
    let fake = Fake::without(&[]);
    let without =
        fake.proxy.on("GetObject").call(1).then(chunked("etag: \"e\"\r\n", &["body ", "{}"]));
    let half = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\netag: \"e\"\r\n\r\n5\r\nhalf ";
    let broken =
        fake.proxy.on("GetObject").then(Fault::SendBytes(Bytes::from_static(half.as_bytes())));
    let driver = fake.driver(Quirks::None);
    let mut options = OpenOptions::default();
    options.allow_unknown_size = true;
    let key = Key::new("a").unwrap();
    let object = driver.open(&key, &options).await.unwrap();
    assert_eq!(object.meta().known_size(), None);
    assert_eq!(object.text().await.unwrap(), "body {}");
    let object = driver.open(&key, &options).await.unwrap();
    assert_eq!(object.bytes().await.unwrap_err().kind(), ErrorKind::Unexpected);
    assert_eq!((without.fired(), broken.fired()), (1, 1));
}
