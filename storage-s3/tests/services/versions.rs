//! Versions of objects: listing, opening and deleting them.

use futures_util::TryStreamExt;
use storage_core::{ErrorKind, Key, OpenOptions, Prefix};
use storage_s3::{Quirks, S3, S3Builder, Version};

use crate::fault_proxy::{CannedResponse, Fault, Proxy, RecordedRequest};

const BODY: &str = "the text of the old version";

fn key() -> Key {
    Key::new("a b").unwrap()
}

fn parameter(request: &RecordedRequest, name: &str) -> String {
    let query = request.uri().query().unwrap_or_default().as_bytes();
    let mut pairs = url::form_urlencoded::parse(query);
    pairs.find(|(other, _)| other == name).map(|(_, value)| value.into_owned()).unwrap_or_default()
}

/// Returns a service and a driver of it.
fn service(
    respond: impl Fn(&RecordedRequest) -> CannedResponse + Send + Sync + 'static,
) -> (Proxy, S3) {
    let proxy = Proxy::scripted(move |request| respond(request));
    let builder = S3Builder::new("bucket").quirks(Quirks::None).endpoint(proxy.endpoint());
    let s3 = builder.allow_http(true).anonymous(true).build().unwrap();
    (proxy, s3)
}

fn page(content: &str) -> CannedResponse {
    CannedResponse::new(200, format!("<ListVersionsResult>{content}</ListVersionsResult>"))
}

fn version(key: &str, id: &str, second: u8) -> String {
    format!(
        "<Version><Key>{key}</Key><VersionId>{id}</VersionId><IsLatest>false</IsLatest>\
         <LastModified>2026-01-01T00:00:{second:02}.000Z</LastModified><ETag>&quot;{id}&quot;</ETag>\
         <Size>{second}</Size><StorageClass>STANDARD</StorageClass></Version>"
    )
}

fn marker(key: &str, id: &str, second: u8, is_latest: bool) -> String {
    format!(
        "<DeleteMarker><Key>{key}</Key><VersionId>{id}</VersionId><IsLatest>{is_latest}</IsLatest>\
         <LastModified>2026-01-01T00:00:{second:02}.000Z</LastModified></DeleteMarker>"
    )
}

async fn listed(s3: &S3) -> storage_core::Result<Vec<Version>> {
    s3.versions(&Prefix::new("a").unwrap()).try_collect().await
}

fn ids(versions: &[Version]) -> Vec<(&str, &str)> {
    versions.iter().map(|version| (version.key.as_str(), version.id.as_str())).collect()
}

#[tokio::test]
async fn versions_and_delete_markers_of_several_pages_are_listed_newest_first() {
    let (proxy, s3) = service(|request| {
        assert_eq!(parameter(request, "prefix"), "a");
        match (&*parameter(request, "key-marker"), &*parameter(request, "version-id-marker")) {
            ("", "") => {
                let next = "<IsTruncated>true</IsTruncated><EncodingType>url</EncodingType>\
                            <NextKeyMarker>a+b</NextKeyMarker>\
                            <NextVersionIdMarker>2</NextVersionIdMarker>";
                let versions = [version("a+b", "3", 3), version("a+b", "2", 2)].concat();
                page(
                    &[next, &versions, &marker("a", "9", 1, true), &marker("a+b", "4", 3, true)]
                        .concat(),
                )
            }
            ("a b", "2") => page(&[version("a b", "null", 1), version("a/c", "5", 5)].concat()),
            markers => panic!("{markers:?}"),
        }
    });
    let versions = listed(&s3).await.unwrap();
    let expected =
        [("a", "9"), ("a b", "4"), ("a b", "3"), ("a b", "2"), ("a b", "null"), ("a/c", "5")];
    assert_eq!(ids(&versions), expected);
    assert_eq!(proxy.count("ListObjectVersions"), 2);
    let deletion = &versions[1];
    assert!(deletion.is_delete_marker && deletion.is_latest && deletion.etag.is_none());
    let third = &versions[2];
    assert!(!third.is_delete_marker && !third.is_latest);
    assert_eq!((third.size, third.etag.as_ref().unwrap().opaque()), (3, "3"));
    assert!(third.last_modified.is_some());
}

#[tokio::test]
async fn a_listing_of_versions_continues_after_a_name_that_is_not_a_key() {
    use futures_util::StreamExt;
    let (_proxy, s3) = service(|_| page(&[version("a/", "1", 1), version("a/b", "2", 2)].concat()));
    let versions: Vec<_> = s3.versions(&Prefix::empty()).collect().await;
    let [Err(invalid), Ok(version)] = &versions[..] else { panic!("{versions:?}") };
    assert_eq!((invalid.kind(), invalid.key()), (ErrorKind::InvalidKey, Some("a/")));
    assert!(invalid.listing_continues());
    assert_eq!(version.key, "a/b");
}

#[tokio::test]
async fn a_listing_of_versions_that_never_ends_is_aborted() {
    let repeated = "<IsTruncated>true</IsTruncated><NextKeyMarker>a</NextKeyMarker>";
    let (proxy, s3) = service(move |_| page(repeated));
    assert_eq!(listed(&s3).await.unwrap_err().kind(), ErrorKind::Unexpected);
    assert_eq!(proxy.count("ListObjectVersions"), 2);

    let without_marker = "<IsTruncated>true</IsTruncated>";
    let (proxy, s3) = service(move |_| page(without_marker));
    assert_eq!(listed(&s3).await.unwrap_err().kind(), ErrorKind::Unexpected);
    assert_eq!(proxy.count("ListObjectVersions"), 1);

    let (proxy, s3) = service(move |request| {
        let next = format!("{}x", parameter(request, "key-marker"));
        page(&format!("<IsTruncated>true</IsTruncated><NextKeyMarker>{next}</NextKeyMarker>"))
    });
    assert_eq!(listed(&s3).await.unwrap_err().kind(), ErrorKind::Unexpected);
    assert_eq!(proxy.count("ListObjectVersions"), 100);
}

#[tokio::test]
async fn a_document_of_another_kind_is_an_error_of_a_listing_of_versions() {
    let (_proxy, s3) = service(|_| CannedResponse::web_page(200));
    assert_eq!(listed(&s3).await.unwrap_err().kind(), ErrorKind::Unexpected);
    let (_proxy, s3) = service(|_| CannedResponse::error(501, "NotImplemented"));
    assert_eq!(listed(&s3).await.unwrap_err().kind(), ErrorKind::Unsupported);
}

/// Serves one old version.
fn old_version(request: &RecordedRequest) -> CannedResponse {
    if parameter(request, "versionId") != "v 1" {
        return CannedResponse::error(404, "NoSuchVersion");
    }
    let range = request.headers().get("range").map(|range| range.to_str().unwrap().to_owned());
    let from = range.as_deref().map_or(0, |range| {
        range.trim_start_matches("bytes=").split('-').next().unwrap().parse().unwrap()
    });
    let response = CannedResponse::new(if from == 0 { 200 } else { 206 }, &BODY[from..]);
    let positions = format!("bytes {from}-{}/{}", BODY.len() - 1, BODY.len());
    let response = if from == 0 { response } else { response.header("content-range", &positions) };
    response.header("etag", "\"old\"").header("content-type", "text/x-old")
}

#[tokio::test]
async fn an_old_version_is_opened_by_its_id() {
    let (proxy, s3) = service(old_version);
    let object = s3.open_version(&key(), "v 1", &OpenOptions::new()).await.unwrap();
    assert_eq!(object.meta().content_type(), Some("text/x-old"));
    assert_eq!(object.text().await.unwrap(), BODY);
    let part = s3.open_version(&key(), "v 1", &OpenOptions::new().range(4..)).await.unwrap();
    assert_eq!(part.text().await.unwrap(), &BODY[4..]);
    assert_eq!(proxy.count("GetObject"), 2);
    let missing = s3.open_version(&key(), "v2", &OpenOptions::new()).await.unwrap_err();
    assert_eq!((missing.kind(), missing.key()), (ErrorKind::NotFound, Some("a b")));
}

#[tokio::test]
async fn the_body_of_an_old_version_resumes_with_the_same_version() {
    let (proxy, s3) = service(old_version);
    let broken = proxy.on("GetObject").call(1).then(Fault::Truncate(5));
    let object = s3.open_version(&key(), "v 1", &OpenOptions::new()).await.unwrap();
    assert_eq!(object.text().await.unwrap(), BODY);
    broken.assert_fired();
    let resumed = proxy.inspect(|record| {
        let seen = record.of("GetObject").last().unwrap();
        (seen.target.clone(), seen.headers["if-match"].clone())
    });
    assert!(resumed.0.contains("versionId=v%201"), "{resumed:?}");
    assert_eq!(resumed.1, "\"old\"");
}

#[tokio::test]
async fn a_delete_marker_is_not_found_and_a_condition_of_a_version_is_reported() {
    let (_proxy, s3) = service(|request| match request.headers().get("if-none-match") {
        Some(_) => CannedResponse::new(304, "").header("etag", "\"old\""),
        None => {
            CannedResponse::error(405, "MethodNotAllowed").header("x-amz-delete-marker", "true")
        }
    });
    let marker = s3.open_version(&key(), "d", &OpenOptions::new()).await.unwrap_err();
    assert_eq!(marker.kind(), ErrorKind::NotFound);
    assert!(marker.message().contains("delete marker"), "{marker}");
    let options = OpenOptions::new().if_none_match("\"old\"".parse().unwrap());
    let current = s3.open_version(&key(), "v", &options).await.unwrap_err();
    assert_eq!(current.kind(), ErrorKind::NotModified);
}

#[tokio::test]
async fn a_version_is_deleted_by_its_id_and_a_missing_one_is_a_success() {
    let (proxy, s3) = service(|request| match &*parameter(request, "versionId") {
        "1" => CannedResponse::new(204, ""),
        "denied" => CannedResponse::error(403, "AccessDenied"),
        _ => CannedResponse::error(404, "NoSuchVersion"),
    });
    s3.delete_version(&key(), "1").await.unwrap();
    s3.delete_version(&key(), "2").await.unwrap();
    let denied = s3.delete_version(&key(), "denied").await.unwrap_err();
    assert_eq!((denied.kind(), denied.key()), (ErrorKind::PermissionDenied, Some("a b")));
    assert_eq!(proxy.count("DeleteObject"), 3);
}
