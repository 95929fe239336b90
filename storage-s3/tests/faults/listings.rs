//! Listings of several pages over failing connections: no name twice, no name missing, and no early
//! end.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::future::join_all;
use storage_core::{Entries, Entry, Error, ErrorKind, Storage};
use storage_s3::{Quirks, S3Builder};

use crate::fault_proxy::{
    CannedResponse, Fault, Front, Gate, PlannedFault, Progress, Proxy, RecordedRequest,
};
use crate::faults::{FaultCase, Outcome, faults};
use crate::fixture::{ATTEMPTS, within_timeout};

const LIST: &str = "ListObjectsV2";
const ALL: [&str; 6] = ["a", "b", "c", "d", "e", "f"];

/// A scripted service that lists six keys on three pages.
struct Listed {
    proxy: Proxy,
    storage: Storage,
    /// The fault that replaces its pages.
    instead: Option<PlannedFault>,
}

/// Several such services, each below a prefix of its own.
struct Services {
    front: Arc<Front>,
    storage: Storage,
    count: AtomicUsize,
}

impl Services {
    fn new() -> Self {
        let front = Front::scripted(|request| match token(request) {
            None => page(request, &ALL[..2], Some("2")),
            Some("2") => page(request, &ALL[2..4], Some("3")),
            Some(_) => page(request, &ALL[4..], None),
        });
        let builder = S3Builder::new("bucket")
            .quirks(Quirks::None)
            .endpoint(front.endpoint())
            .allow_http(true);
        let storage = Storage::new(builder.anonymous(true).build().unwrap());
        Self { front, storage, count: AtomicUsize::new(0) }
    }

    fn another(&self) -> Listed {
        let prefix = format!("service-{:03}", self.count.fetch_add(1, Ordering::SeqCst));
        let storage = self.storage.prefixed(&prefix).unwrap();
        Listed { proxy: Proxy::below(&self.front, prefix), storage, instead: None }
    }
}

impl Listed {
    fn new() -> Self {
        Services::new().another()
    }

    /// Plans a fault of the second page.
    fn on_second(&self, calls: usize, fault: Fault) -> PlannedFault {
        self.proxy.on(LIST).only(|request| token(request) == Some("2")).calls(1..=calls).then(fault)
    }

    /// Responds with the same page always.
    fn always(mut self, response: CannedResponse) -> Self {
        self.instead = Some(self.proxy.on(LIST).then(Fault::Respond(response)));
        self
    }

    async fn names(&self) -> (Vec<String>, Option<Error>) {
        let names = names(self.storage.list("").entries()).await;
        self.instead.iter().for_each(PlannedFault::assert_fired);
        names
    }
}

/// Returns the names up to the end, and the error that ended the listing.
async fn names(mut entries: Entries) -> (Vec<String>, Option<Error>) {
    let mut names = Vec::new();
    while let Some(entry) = entries.next().await {
        match entry {
            Ok(entry) => names.push(entry.name().to_owned()),
            Err(error) => {
                assert!(entries.next().await.is_none(), "something comes after {error}");
                return (names, Some(error));
            }
        }
    }
    (names, None)
}

fn token(request: &RecordedRequest) -> Option<&str> {
    request.uri().query()?.split('&').find_map(|pair| pair.strip_prefix("continuation-token="))
}

/// Returns a page of keys below the requested prefix.
fn page(request: &RecordedRequest, keys: &[&str], next: Option<&str>) -> CannedResponse {
    let query = request.uri().query().unwrap_or_default();
    let prefix = query.split('&').find_map(|pair| pair.strip_prefix("prefix=")).unwrap_or_default();
    page_below(&prefix.replace("%2F", "/"), keys, next)
}

fn page_below(prefix: &str, keys: &[&str], next: Option<&str>) -> CannedResponse {
    let contents: String = keys
        .iter()
        .map(|key| format!("<Contents><Key>{prefix}{key}</Key><Size>1</Size></Contents>"))
        .collect();
    let next = next.map_or_else(
        || "<IsTruncated>false</IsTruncated>".to_owned(),
        |next| format!("<IsTruncated>true</IsTruncated><NextContinuationToken>{next}</NextContinuationToken>"),
    );
    CannedResponse::new(200, format!("<ListBucketResult>{next}{contents}</ListBucketResult>"))
}

/// Runs a listing with a fault of the second page, once or always.
async fn second_page_meets(listed: Listed, case: FaultCase, calls: usize) {
    let FaultCase { name, fault, outcome, kind } = case;
    let planned = listed.on_second(calls, fault);
    let (names, error) = listed.names().await;
    if outcome == Outcome::Harmless || (outcome == Outcome::Retried && calls == 1) {
        assert_eq!(
            (names, error.map(|error| error.kind())),
            (ALL.map(str::to_owned).to_vec(), None),
            "{name}"
        );
    } else {
        assert_eq!(names, &ALL[..2], "{name}");
        assert_eq!(error.unwrap().kind(), kind, "{name}");
    }
    let most = if outcome == Outcome::Retried { calls.min(ATTEMPTS) } else { 1 };
    assert_eq!(planned.fired(), most, "{name}");
}

#[tokio::test]
async fn a_later_page_survives_or_reports_each_fault() {
    let services = Services::new();
    let mut cases = Vec::new();
    for case in faults(false) {
        if case.outcome == Outcome::Retried {
            cases.push(second_page_meets(services.another(), case.clone(), 1));
        }
        cases.push(second_page_meets(services.another(), case, usize::MAX));
    }
    join_all(cases).await;
}

#[tokio::test]
async fn a_page_that_breaks_off_is_requested_again() {
    for len in [0, 1, 100] {
        let listed = Listed::new();
        let broken = listed.on_second(1, Fault::Truncate(len));
        assert_eq!(listed.names().await.0, ALL);
        assert_eq!((broken.fired(), listed.proxy.count(LIST)), (1, 4));
    }
}

#[tokio::test]
async fn a_page_that_arrives_byte_by_byte_is_read() {
    let listed = Listed::new();
    let slow = listed.on_second(1, Fault::Trickle);
    assert_eq!(listed.names().await.0, ALL);
    assert_eq!((slow.fired(), listed.proxy.count(LIST)), (1, 3));
}

#[tokio::test]
async fn a_response_that_is_not_a_page_does_not_count_as_an_empty_one() {
    let services = Services::new();
    let whole = page_below("", &ALL, None);
    let half = whole.body.slice(..whole.body.len() / 2);
    let pages = [
        CannedResponse::web_page(200),
        CannedResponse::new(200, ""),
        CannedResponse::new(200, "{}"),
        CannedResponse::new(200, half),
        CannedResponse::new(200, "<ListAllMyBucketsResult/>"),
        CannedResponse::new(200, &b"\xff\xfe"[..]),
        CannedResponse::new(204, ""),
    ];
    for response in pages {
        let body = response.body.clone();
        let (names, error) = services.another().always(response).names().await;
        assert!(names.is_empty(), "{body:?}: {names:?}");
        assert_eq!(error.unwrap().kind(), ErrorKind::Unexpected, "{body:?}");
    }
}

#[tokio::test]
async fn an_error_in_place_of_a_page_fails_the_listing_whatever_the_status() {
    let listed = Listed::new();
    let error =
        |code| Fault::Respond(CannedResponse { status: 200, ..CannedResponse::error(500, code) });
    let once = listed.on_second(1, error("InternalError"));
    assert_eq!(listed.names().await.0, ALL);
    once.assert_fired();

    let listed = Listed::new();
    let always = listed.on_second(usize::MAX, error("AccessDenied"));
    let (names, error) = listed.names().await;
    assert_eq!((names.len(), error.unwrap().kind()), (2, ErrorKind::PermissionDenied));
    assert_eq!(always.fired(), 1);
}

#[tokio::test]
async fn a_listing_that_repeats_its_token_is_an_error() {
    // Every page is the same.
    let repeated = page_below("", &[], Some("2"));
    // A truncated page without a token.
    let no_token = CannedResponse::new(
        200,
        "<ListBucketResult><IsTruncated>true</IsTruncated></ListBucketResult>",
    );
    // More bytes than a page of a thousand keys has.
    let endless = CannedResponse::new(200, vec![b' '; 17 * 1024 * 1024]);
    for response in [repeated, no_token, endless] {
        let listed = Listed::new().always(response);
        let (names, error) = within_timeout(listed.names()).await;
        assert_eq!((names.len(), error.unwrap().kind()), (0, ErrorKind::Unexpected));
        assert!(listed.proxy.count(LIST) <= 2, "{} requests", listed.proxy.count(LIST));
    }
}

/// Returns the number of the page that a request is for.
fn after(request: &RecordedRequest) -> usize {
    token(request).map_or(0, |token| token.parse().unwrap())
}

/// Runs a listing on a scripted service and returns all its requests.
async fn listing_on(
    script: impl Fn(&RecordedRequest) -> CannedResponse + Send + Sync + 'static,
) -> (Vec<String>, Option<Error>, usize) {
    let proxy = Proxy::scripted(script);
    let builder =
        S3Builder::new("bucket").quirks(Quirks::None).endpoint(proxy.endpoint()).allow_http(true);
    let storage = Storage::new(builder.anonymous(true).build().unwrap());
    let (names, error) = within_timeout(names(storage.list("").start_after("a").entries())).await;
    (names, error, proxy.count(LIST))
}

#[tokio::test]
async fn a_listing_of_pages_without_a_new_name_fails() {
    let counting =
        |request: &RecordedRequest| page_below("", &[], Some(&(after(request) + 1).to_string()));
    let alternating = |request: &RecordedRequest| {
        page_below("", &[], Some(if after(request) == 1 { "2" } else { "1" }))
    };
    // A name that is not after the first page is not new.
    let before =
        |request: &RecordedRequest| page_below("", &["a"], Some(&(after(request) + 1).to_string()));
    for script in [counting, alternating, before] {
        let (names, error, requests) = listing_on(script).await;
        let error = error.unwrap();
        assert_eq!(
            (names.len(), error.kind(), error.is_retryable()),
            (0, ErrorKind::Unexpected, false)
        );
        assert!(error.message().contains("100 consecutive pages"), "{error}");
        assert!((100..=101).contains(&requests), "{requests} requests");
    }
}

#[tokio::test]
async fn repeated_names_that_are_not_utf_8_are_an_error() {
    let page = |request: &RecordedRequest| {
        let next = if after(request) == 1 { "2" } else { "1" };
        let document = format!(
            "<ListBucketResult><EncodingType>url</EncodingType><IsTruncated>true</IsTruncated>\
             <NextContinuationToken>{next}</NextContinuationToken>\
             <Contents><Key>%FE</Key><Size>1</Size></Contents><Contents><Key>%FF</Key><Size>1</Size></Contents>\
             </ListBucketResult>"
        );
        CannedResponse::new(200, document)
    };
    let proxy = Proxy::scripted(page);
    let builder =
        S3Builder::new("bucket").quirks(Quirks::None).endpoint(proxy.endpoint()).allow_http(true);
    let mut entries = Storage::new(builder.anonymous(true).build().unwrap()).list("").entries();
    for _ in 0..2 {
        let error = entries.next().await.unwrap().unwrap_err();
        assert_eq!((error.kind(), error.listing_continues()), (ErrorKind::InvalidKey, true));
    }
    let error = entries.next().await.unwrap().unwrap_err();
    assert_eq!((error.kind(), error.listing_continues()), (ErrorKind::Unsupported, false));
    assert!(entries.next().await.is_none());
}

#[tokio::test]
async fn empty_pages_between_names_are_skipped() {
    let script = |request: &RecordedRequest| match after(request) {
        150 => page_below("", &["c"], None),
        75 => page_below("", &["b"], Some("76")),
        page => page_below("", &[], Some(&(page + 1).to_string())),
    };
    let (names, error, requests) = listing_on(script).await;
    assert_eq!(
        (names, error.map(|error| error.kind()), requests),
        (vec!["b".to_owned(), "c".to_owned()], None, 151)
    );
}

#[tokio::test]
async fn an_endless_list_of_unfinished_uploads_fails() {
    let page = |request: &RecordedRequest| {
        let query = request.uri().query().unwrap_or_default();
        let next = if query.contains("upload-id-marker=1") { "2" } else { "1" };
        let document = format!(
            "<ListMultipartUploadsResult><IsTruncated>true</IsTruncated><NextKeyMarker>a</NextKeyMarker>\
             <NextUploadIdMarker>{next}</NextUploadIdMarker></ListMultipartUploadsResult>"
        );
        CannedResponse::new(200, document)
    };
    let proxy = Proxy::scripted(page);
    let builder =
        S3Builder::new("bucket").quirks(Quirks::None).endpoint(proxy.endpoint()).allow_http(true);
    let storage = Storage::new(builder.anonymous(true).build().unwrap());
    let error = within_timeout(storage.abort_stale("", Duration::ZERO)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unexpected);
    let requests = proxy.inspect(|record| record.count("*"));
    assert!((100..=102).contains(&requests), "{requests} requests");
}

/// Garage lists nothing if `start-after` sorts before the prefix.
#[tokio::test]
async fn a_start_after_that_excludes_nothing_is_not_sent() {
    for (prefix, after, is_sent) in [
        ("b/", "a", false),
        ("b/", "b", false),
        ("b/", "", false),
        ("", "", false),
        ("b/", "b/", true),
        ("b/", "b/1", true),
        ("", "a", true),
    ] {
        let proxy = Proxy::scripted(|_| page_below("b/", &["2"], None));
        let builder = S3Builder::new("bucket")
            .quirks(Quirks::None)
            .endpoint(proxy.endpoint())
            .allow_http(true);
        let storage = Storage::new(builder.anonymous(true).build().unwrap());
        let (names, error) = names(storage.list(prefix).start_after(after).entries()).await;
        assert_eq!((names, error.map(|error| error.kind())), (vec!["b/2".to_owned()], None));
        let sent = proxy.inspect(|record| {
            record.of(LIST).any(|request| request.target.contains("start-after"))
        });
        assert_eq!(sent, is_sent, "prefix {prefix:?}, after {after:?}");
    }
}

/// A bucket with the folder markers `d/` and `d/e/`, an object `d/1`, and `d/f/`, which is not
/// empty.
fn with_folder_markers(request: &RecordedRequest) -> CannedResponse {
    let sized =
        |name: &str, size: u8| format!("<Contents><Key>{name}</Key><Size>{size}</Size></Contents>");
    match (request.method().as_str(), request.uri().path()) {
        ("GET", "/bucket" | "/bucket/") => {
            let contents =
                sized("d/", 0) + &sized("d/1", 1) + &sized("d/e/", 0) + &sized("d/f/", 5);
            CannedResponse::new(200, format!("<ListBucketResult>{contents}</ListBucketResult>"))
        }
        ("HEAD", "/bucket/d/" | "/bucket/d/e/") => {
            CannedResponse::new(200, "").header("content-length", "0")
        }
        ("HEAD", "/bucket/d/f/") => CannedResponse::new(200, "").header("content-length", "5"),
        ("DELETE", _) => CannedResponse::new(204, ""),
        ("POST", _) => CannedResponse::new(200, "<DeleteResult></DeleteResult>"),
        _ => CannedResponse::error(404, "NoSuchKey"),
    }
}

/// Returns the objects that were deleted.
fn deleted(proxy: &Proxy) -> Vec<String> {
    proxy.inspect(|record| {
        let deleted = record.of("*").filter(|request| request.method == "DELETE");
        deleted.map(|request| request.target.clone()).collect()
    })
}

#[tokio::test]
async fn folder_markers_are_counted_and_an_object_with_content_is_an_error_item() {
    let proxy = Proxy::scripted(with_folder_markers);
    let builder =
        S3Builder::new("bucket").quirks(Quirks::None).endpoint(proxy.endpoint()).allow_http(true);
    let storage = Storage::new(builder.anonymous(true).build().unwrap());
    let mut entries = storage.list("d/").entries();
    assert_eq!(entries.next().await.unwrap().unwrap().name(), "d/1");
    let error = entries.next().await.unwrap().unwrap_err();
    assert_eq!(
        (error.kind(), error.key(), error.listing_continues()),
        (ErrorKind::InvalidKey, Some("d/f/"), true)
    );
    assert!(entries.next().await.is_none());
    assert_eq!(entries.folder_markers(), 2);
}

#[tokio::test]
async fn a_folder_marker_is_deleted_only_if_it_is_empty() {
    let proxy = Proxy::scripted(with_folder_markers);
    let builder =
        S3Builder::new("bucket").quirks(Quirks::None).endpoint(proxy.endpoint()).allow_http(true);
    let storage = Storage::new(builder.anonymous(true).build().unwrap());
    storage.delete_folder_marker("d/e/").await.unwrap();
    storage.delete_folder_marker("none/").await.unwrap();
    let error = storage.delete_folder_marker("d/f/").await.unwrap_err();
    assert_eq!((error.kind(), error.key()), (ErrorKind::Conflict, Some("d/f/")));
    // An empty name would address the bucket.
    storage.delete_folder_marker("").await.unwrap();
    assert_eq!(deleted(&proxy), ["/bucket/d/e/"]);
}

#[tokio::test]
async fn deleting_a_prefix_removes_folder_markers_and_reports_what_remains() {
    let proxy = Proxy::scripted(with_folder_markers);
    let builder =
        S3Builder::new("bucket").quirks(Quirks::None).endpoint(proxy.endpoint()).allow_http(true);
    let storage = Storage::new(builder.anonymous(true).build().unwrap());
    let mut removal = storage.delete_prefix("d/");
    let (mut gone, mut stay) = (Vec::new(), Vec::new());
    while let Some(entry) = removal.next().await {
        match entry {
            Ok(entry) => gone.push(entry.name().to_owned()),
            Err(error) => stay.push(error.key().unwrap().to_owned()),
        }
    }
    assert_eq!(
        (gone, stay),
        (vec!["d/".to_owned(), "d/1".to_owned(), "d/e/".to_owned()], vec!["d/f/".to_owned()])
    );
    let mut deleted = deleted(&proxy);
    deleted.sort_unstable();
    assert_eq!(deleted, ["/bucket/d/", "/bucket/d/1", "/bucket/d/e/"]);
}

#[tokio::test]
async fn names_out_of_order_are_an_error_and_are_not_returned() {
    for keys in [["a", "c", "b"], ["a", "b", "b"]] {
        let page = page_below("service-000/", &keys, None);
        let (names, error) = Listed::new().always(page).names().await;
        assert_eq!(names, keys[..2]);
        assert_eq!(error.unwrap().kind(), ErrorKind::Unsupported);
    }
}

#[tokio::test]
async fn dropping_a_listing_cancels_its_requests() {
    // While the first page is awaited, and while the second one is in flight ahead of time.
    for (read, call) in [(0, 1), (1, 2)] {
        let listed = Listed::new();
        let held = listed.proxy.on(LIST).call(call).then(Fault::Hold(Gate::new()));
        let mut entries = listed.storage.list("").entries();
        let reading = tokio::spawn(async move {
            for _ in 0..read {
                assert!(matches!(entries.next().await, Some(Ok(Entry::Object(_)))));
            }
            if read == 0 {
                entries.next().await;
            }
            std::future::pending::<()>().await;
            drop(entries);
        });
        listed
            .proxy
            .until("the request", |record| record.count_at(LIST, Progress::Held) == 1)
            .await;
        reading.abort();
        listed
            .proxy
            .until("its end", |record| record.count_at(LIST, Progress::Abandoned) == 1)
            .await;
        assert_eq!((held.fired(), listed.proxy.count(LIST)), (1, call));
    }
}

#[tokio::test]
async fn a_listing_sends_no_request_before_it_is_polled() {
    let listed = Listed::new();
    let entries = listed.storage.list("").entries();
    drop(entries);
    listed.storage.exists("a").await.unwrap();
    assert_eq!(listed.proxy.inspect(|record| (record.count(LIST), record.count("*"))), (0, 1));
}
