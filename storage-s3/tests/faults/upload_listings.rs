//! Listings of parts and of uploads by a server that sends anything: they end, and nothing that the
//! caller did not name is aborted.

use std::time::Duration;

use futures_util::TryStreamExt;
use storage_core::{ErrorKind, MultipartUpload, Part, Result, Storage, UnfinishedUpload};
use storage_s3::{Quirks, S3Builder};

use crate::fault_proxy::{CannedResponse, Proxy, RecordedRequest};
use crate::fixture::{PART, within_timeout};

fn storage_on(proxy: &Proxy) -> Storage {
    let builder =
        S3Builder::new("bucket").quirks(Quirks::None).endpoint(proxy.endpoint()).allow_http(true);
    Storage::new(builder.anonymous(true).build().unwrap())
}

fn query(request: &RecordedRequest) -> &str {
    request.uri().query().unwrap_or_default()
}

/// The number and the size of a part in a document.
type ListedPart = (&'static str, &'static str);

/// Returns a page of parts, each with its number and its size.
fn page_of_parts(parts: &[(&str, &str)], is_truncated: bool) -> CannedResponse {
    let parts: String = parts
        .iter()
        .map(|(number, size)| {
            format!(
                "<Part><PartNumber>{number}</PartNumber><ETag>&quot;e{number}&quot;</ETag>\
                 <Size>{size}</Size></Part>"
            )
        })
        .collect();
    let document = format!(
        "<ListPartsResult><IsTruncated>{is_truncated}</IsTruncated>{parts}</ListPartsResult>"
    );
    CannedResponse::new(200, document)
}

/// Begins an upload at a server whose listings of parts come from a script.
async fn upload_with(
    listing: impl Fn(&str) -> CannedResponse + Send + Sync + 'static,
) -> (Proxy, MultipartUpload) {
    let proxy = Proxy::scripted(move |request| match request.method().as_str() {
        "POST" if query(request).starts_with("uploads") => CannedResponse::new(
            200,
            "<InitiateMultipartUploadResult><UploadId>u/1 +</UploadId></InitiateMultipartUploadResult>",
        ),
        "GET" => listing(query(request)),
        _ => CannedResponse::error(400, "InvalidRequest"),
    });
    let upload = storage_on(&proxy).multipart("a").part_size(PART).await.unwrap();
    (proxy, upload)
}

async fn listed(upload: &MultipartUpload) -> Result<Vec<Part>> {
    within_timeout(upload.parts().try_collect()).await
}

#[tokio::test]
async fn pages_of_parts_are_read_in_order() {
    let size = PART.to_string();
    let (proxy, upload) = upload_with(move |query| match query {
        query if query.contains("part-number-marker=2") => page_of_parts(&[("7", "5")], false),
        query if query.contains("part-number-marker") => page_of_parts(&[], false),
        _ => page_of_parts(&[("1", &size), ("2", &size)], true),
    })
    .await;
    let numbers: Vec<_> = listed(&upload).await.unwrap().iter().map(|part| part.number).collect();
    assert_eq!(numbers, [1, 2, 7]);
    assert_eq!(proxy.count("ListParts"), 2);
}

#[tokio::test]
async fn a_listing_of_parts_that_is_wrong_is_an_error_and_ends() {
    let wrong: [(&str, &[ListedPart], bool); 7] = [
        ("a page that repeats", &[("1", "5"), ("2", "5")], true),
        ("parts that are out of order", &[("2", "5"), ("1", "5")], false),
        ("one part twice", &[("1", "5"), ("1", "6")], false),
        ("part 0", &[("0", "5")], false),
        ("part 10,001", &[("10001", "5")], false),
        ("a negative size", &[("1", "-1")], false),
        ("an empty page before others", &[], true),
    ];
    for (what, parts, is_truncated) in wrong {
        let (proxy, upload) = upload_with(move |_| page_of_parts(parts, is_truncated)).await;
        let error = listed(&upload).await.expect_err(what);
        assert_eq!(error.kind(), ErrorKind::Unexpected, "{what}: {error}");
        let error = within_timeout(upload.complete()).await.expect_err(what);
        assert_eq!(error.kind(), ErrorKind::Unexpected, "{what}: {error}");
        assert_eq!(proxy.count("CompleteMultipartUpload"), 0, "{what}");
    }
}

#[tokio::test]
async fn sizes_that_overflow_are_a_conflict() {
    let largest = u64::MAX.to_string();
    let (proxy, upload) =
        upload_with(move |_| page_of_parts(&[("1", &largest), ("2", &largest)], false)).await;
    let error = within_timeout(upload.complete()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict, "{error}");
    assert_eq!(proxy.count("CompleteMultipartUpload"), 0);
}

/// Returns a page of uploads, each with its key and its id.
fn page_of_uploads(uploads: &[(&str, &str)], next: Option<&str>) -> CannedResponse {
    let uploads: String = uploads
        .iter()
        .map(|(key, id)| {
            format!(
                "<Upload><Key>{key}</Key><UploadId>{id}</UploadId>\
                 <Initiated>2020-01-01T00:00:00.000Z</Initiated></Upload>"
            )
        })
        .collect();
    let next = next.map_or_else(
        || "<IsTruncated>false</IsTruncated>".to_owned(),
        |key| format!("<IsTruncated>true</IsTruncated><NextKeyMarker>{key}</NextKeyMarker>"),
    );
    let document =
        format!("<ListMultipartUploadsResult>{next}{uploads}</ListMultipartUploadsResult>");
    CannedResponse::new(200, document)
}

/// Returns a storage on a server whose listings of uploads come from a script.
fn listing(page: impl Fn(&str) -> CannedResponse + Send + Sync + 'static) -> (Proxy, Storage) {
    let proxy = Proxy::scripted(move |request| match request.method().as_str() {
        "GET" => page(query(request)),
        _ => CannedResponse::error(404, "NoSuchUpload"),
    });
    let storage = storage_on(&proxy);
    (proxy, storage)
}

#[tokio::test]
async fn uploads_beside_the_prefix_are_not_listed_and_not_aborted() {
    let (proxy, storage) =
        listing(|_| page_of_uploads(&[("a/1", "u1"), ("b/1", "u2"), ("ab", "u3")], None));
    let listed: Vec<UnfinishedUpload> =
        storage.multipart_uploads("a/").try_collect().await.unwrap();
    assert_eq!(listed.len(), 1);
    assert_eq!(listed[0].key, "a/1");
    assert_eq!(storage.abort_stale("a/", Duration::ZERO).await.unwrap(), 1);
    assert_eq!(proxy.count("AbortMultipartUpload"), 1);
}

#[tokio::test]
async fn an_upload_that_cannot_be_named_does_not_prevent_the_others() {
    for unnamed in [("a/../b", "u1"), ("a//b", "u1"), ("a", "")] {
        let (proxy, storage) =
            listing(move |_| page_of_uploads(&[("a", "u0"), unnamed, ("b", "u2")], None));
        let error = storage.abort_stale("", Duration::ZERO).await.unwrap_err();
        let expected =
            if unnamed.1.is_empty() { ErrorKind::InvalidInput } else { ErrorKind::InvalidKey };
        assert_eq!(error.kind(), expected, "{error}");
        assert_eq!(proxy.count("AbortMultipartUpload"), 2, "{unnamed:?}");
        // A DELETE with an empty id would delete the object.
        assert_eq!(proxy.count("*"), 3, "{unnamed:?}");
    }
}

#[tokio::test]
async fn a_truncated_page_of_uploads_without_a_new_marker_is_an_error() {
    for next in ["", "a"] {
        let (proxy, storage) = listing(move |_| page_of_uploads(&[("a", "u1")], Some(next)));
        let listed = storage.multipart_uploads("").try_collect::<Vec<_>>();
        let error = within_timeout(listed).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unexpected, "{error}");
        assert_eq!(proxy.count("*"), next.len() + 1);
    }
}
