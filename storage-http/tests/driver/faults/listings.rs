//! Listings of servers without WebDAV, and of servers that send wrong documents.

use storage_core::{ErrorKind, Storage};

use storage_testkit::http::{Peer, Request, Response};

use super::peer::PeerDriver;

/// Returns the element of one resource in a listing.
fn response(href: &str, properties: &str) -> String {
    format!(
        "<d:response><d:href>{href}</d:href><d:propstat><d:prop>{properties}</d:prop><d:status>HTTP/1.1 200 OK</d:status>\
         </d:propstat></d:response>"
    )
}

const DIRECTORY: &str = "<d:resourcetype><d:collection/></d:resourcetype>";
const FILE: &str = "<d:resourcetype/><d:getcontentlength>5</d:getcontentlength>";

fn multistatus(responses: &str) -> Response {
    let document = format!(
        "<?xml version=\"1.0\"?><d:multistatus xmlns:d=\"DAV:\">{responses}</d:multistatus>"
    );
    Response::new("207 Multi-Status").headers("Content-Type: application/xml\r\n").body(document)
}

/// Returns these elements for the root, and 404 for any other URL.
fn root_only(request: &Request, responses: &str) -> Response {
    match &*request.target {
        "/files/" => multistatus(responses).fault(),
        _ => Response::new("404 Not Found"),
    }
}

#[tokio::test]
async fn a_server_without_webdav_is_unsupported() {
    for status in [
        "405 Method Not Allowed",
        "501 Not Implemented",
        "200 OK",
        "400 Bad Request",
        "404 Not Found",
    ] {
        let peer = Peer::start(move |_| {
            Response::new(status).headers("Content-Type: text/html\r\n").body("<html>").fault()
        });
        for prefix in ["", "a/b"] {
            let error = peer.storage().list(prefix).entries().collect().await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Unsupported, "{status}");
            assert!(error.message().contains("PROPFIND"), "{error}");
        }
        peer.assert_fired();
    }
}

#[tokio::test]
async fn a_storage_without_webdav_sends_no_request_to_list() {
    let peer = Peer::start(|_| Response::new("404 Not Found"));
    let read_only = peer.http().build().unwrap();
    let without_webdav = peer.http().writable(true).webdav(false).build().unwrap();
    for http in [read_only, without_webdav] {
        let error = Storage::new(http).list("").entries().collect().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported);
        assert!(error.message().contains("webdav = true"), "{error}");
    }
    assert!(peer.requests().is_empty(), "{:?}", peer.requests());
}

#[tokio::test]
async fn a_delete_without_the_option_webdav_deletes_no_directory() {
    let peer = Peer::start(|request| match &*request.method {
        "PROPFIND" => multistatus(&response(&request.target, DIRECTORY)).fault(),
        _ => Response::new("204 No Content"),
    });
    let http = peer.http().writable(true).webdav(false).build().unwrap();
    Storage::new(http).delete("directory").await.unwrap();
    peer.assert_fired();
    assert!(peer.requests().iter().all(|request| request.method == "PROPFIND"));
}

#[tokio::test]
async fn an_error_response_is_not_an_empty_listing() {
    for (status, kind) in [
        ("401 Unauthorized", ErrorKind::Unauthenticated),
        ("403 Forbidden", ErrorKind::PermissionDenied),
        ("500 Internal Server Error", ErrorKind::Unexpected),
    ] {
        let peer = Peer::start(move |_| Response::new(status).fault());
        assert_eq!(
            peer.storage().list("").entries().collect().await.unwrap_err().kind(),
            kind,
            "{status}"
        );
        peer.assert_fired();
    }
}

#[tokio::test]
async fn a_document_that_is_not_a_listing_is_an_error() {
    for document in ["", "<html>", "<d:multistatus xmlns:d=\"DAV:\"><d:response>", "\u{0}", "<x/>"]
    {
        let peer = Peer::start(move |_| Response::new("207 Multi-Status").body(document).fault());
        let error = peer.storage().list("").entries().collect().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unexpected, "{document:?}: {error}");
        peer.assert_fired();
    }
}

#[tokio::test]
async fn names_outside_the_directory_cause_no_entries_and_no_requests() {
    let peer = Peer::start(|request| {
        let odd = [
            "http://127.0.0.1:9/files/../x",
            "/elsewhere/x",
            "/files",
            "/",
            "/filesystem/x",
            "../x",
            "x",
            "",
            "/files/deeper/x",
            "/files//x",
        ];
        let files = odd.map(|href| response(href, FILE)).concat();
        let directories = odd.map(|href| response(href, DIRECTORY)).concat();
        let sound = response("http://another.name/files/sound", FILE);
        root_only(
            request,
            &format!("{}{files}{directories}{sound}", response("/files/", DIRECTORY)),
        )
    });
    let entries = peer.storage().list("").entries().collect().await.unwrap();
    assert_eq!(entries.iter().map(storage_core::Entry::name).collect::<Vec<_>>(), ["sound"]);
    peer.assert_fired();
    assert!(
        peer.requests().iter().all(|request| request.target == "/files/"),
        "{:?}",
        peer.requests()
    );
}

#[tokio::test]
async fn invalid_names_are_error_items_and_the_listing_continues() {
    let peer = Peer::start(|request| {
        let odd = ["/files/%2e%2e", "/files/..", "/files/a%2Fb", "/files/%ff", "/files/a%0Ab"]
            .map(|href| response(href, FILE));
        let directories = ["/files/%2e%2e/", "/files/b%2Fc/", "/files/%fe/"]
            .map(|href| response(href, DIRECTORY));
        let sound = response("/files/z%20%26", FILE);
        root_only(request, &format!("{}{}{sound}", odd.concat(), directories.concat()))
    });
    let mut entries = peer.storage().list("").entries();
    let (mut names, mut odd) = (Vec::new(), 0);
    while let Some(entry) = entries.next().await {
        match entry {
            Ok(entry) => names.push(entry.name().to_owned()),
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::InvalidKey, "{error}");
                odd += 1;
            }
        }
    }
    // `..` appears twice.
    assert_eq!((names, odd), (vec!["z &".to_owned()], 7));
    assert!(
        peer.requests().iter().all(|request| request.target == "/files/"),
        "{:?}",
        peer.requests()
    );
    peer.assert_fired();
}

#[tokio::test]
async fn a_directory_that_contains_itself_ends_at_the_longest_key() {
    let peer = Peer::start(|request| {
        multistatus(&response(&format!("{}directory/", request.target), DIRECTORY)).fault()
    });
    let mut entries = peer.storage().list("").entries();
    let error = entries.next().await.unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidKey);
    assert!(entries.next().await.is_none());
    // At most as many as fit into the 1,024 bytes of a key.
    assert!((90..110).contains(&peer.fired()), "{}", peer.fired());
}

#[tokio::test]
async fn a_listing_without_an_end_is_an_error() {
    const PIECE: usize = 1024 * 1024;
    let mut endless = b"HTTP/1.1 207 Multi-Status\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
    for _ in 0..65 {
        endless.extend_from_slice(format!("{PIECE:x}\r\n").as_bytes());
        endless.resize(endless.len() + PIECE, b' ');
        endless.extend_from_slice(b"\r\n");
    }
    let peer = Peer::start(move |request| match request.header("depth") {
        Some("0") => multistatus(&response("/files/", DIRECTORY)),
        _ => Response::raw(endless.clone()).stall(),
    });
    let error = peer.storage().list("").entries().collect().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TooLarge, "{error}");
    peer.assert_fired();
}

#[tokio::test]
async fn sizes_missing_in_a_listing_are_requested() {
    let peer = Peer::start(|request| match &*request.method {
        "HEAD" if request.target == "/files/gone" => {
            Response::raw("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")
        }
        "HEAD" => Response::raw("HTTP/1.1 200 OK\r\nContent-Length: 7\r\nETag: \"v7\"\r\n\r\n"),
        _ => {
            let files = ["/files/a", "/files/gone"]
                .map(|href| response(href, "<d:resourcetype/>"))
                .concat();
            multistatus(&files).fault()
        }
    });
    let entries = peer.storage().list("").entries().collect().await.unwrap();
    let objects: Vec<_> =
        entries.into_iter().filter_map(storage_core::Entry::into_object).collect();
    assert_eq!(objects.len(), 1);
    assert_eq!((objects[0].key.as_str(), objects[0].size), ("a", 7));
    peer.assert_fired();
}

#[tokio::test]
async fn entities_are_not_expanded_and_missing_properties_are_ignored() {
    let peer = Peer::start(|request| {
        let missing = "<d:response><d:href>/files/a</d:href><d:propstat><d:prop><d:resourcetype/><d:getcontentlength>3\
            </d:getcontentlength></d:prop><d:status>HTTP/1.1 200 OK</d:status></d:propstat><d:propstat><d:prop><d:getetag>\
            \"no\"</d:getetag></d:prop><d:status>HTTP/1.1 404 Not Found</d:status></d:propstat></d:response>\
            <d:response><d:href>/files/b</d:href><d:status>HTTP/1.1 404 Not Found</d:status></d:response>";
        root_only(request, missing)
    });
    let entries = peer.storage().list("").entries().collect().await.unwrap();
    let objects: Vec<_> =
        entries.into_iter().filter_map(storage_core::Entry::into_object).collect();
    assert_eq!(objects.len(), 1);
    assert_eq!((objects[0].size, objects[0].etag.as_ref()), (3, None));
    let bomb = "<!DOCTYPE x [<!ENTITY a \"aaaaaaaaaa\"><!ENTITY b \"&a;&a;&a;&a;\">]><d:multistatus xmlns:d=\"DAV:\">\
        <d:response><d:href>/files/&b;</d:href></d:response></d:multistatus>";
    let hostile = Peer::start(move |_| Response::new("207 Multi-Status").body(bomb).fault());
    assert_eq!(
        hostile.storage().list("").entries().collect().await.unwrap_err().kind(),
        ErrorKind::Unexpected
    );
    hostile.assert_fired();
    peer.assert_fired();
}

/// Returns a tree in which one directory and one file are refused.
fn with_refusals(request: &Request) -> Response {
    match (&*request.method, &*request.target) {
        (_, "/files/") => {
            let there = ["a", "e", "no-size"]
                .map(|name| response(&format!("/files/{name}"), FILE))
                .concat();
            let there = there
                + &["b", "c"].map(|name| response(&format!("/files/{name}/"), DIRECTORY)).concat();
            multistatus(&(there + &response("/files/d", "<d:resourcetype/>")))
        }
        (_, "/files/c/") => multistatus(&response("/files/c/1", FILE)),
        (_, "/files/b/" | "/files/d") => Response::new("403 Forbidden").fault(),
        _ => Response::new("404 Not Found"),
    }
}

#[tokio::test]
async fn a_refused_directory_or_file_is_one_error_and_the_listing_continues() {
    let peer = Peer::start(with_refusals);
    let mut entries = peer.storage().list("").entries();
    let mut items = Vec::new();
    while let Some(entry) = entries.next().await {
        items.push(match entry {
            Ok(entry) => entry.name().to_owned(),
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::PermissionDenied, "{error}");
                assert!(error.listing_continues(), "{error}");
                format!("!{}", error.key().unwrap())
            }
        });
    }
    assert_eq!(items, ["a", "!b/", "c/1", "!d", "e", "no-size"]);
    peer.assert_fired();
}

#[tokio::test]
async fn a_listing_of_one_level_contains_a_refused_directory() {
    let peer = Peer::start(with_refusals);
    let mut entries = peer.storage().list("").delimiter("/").entries();
    let mut names = Vec::new();
    while let Some(entry) = entries.next().await {
        names.extend(entry.ok().map(|entry| entry.name().to_owned()));
    }
    assert_eq!(names, ["a", "b/", "c/", "e", "no-size"]);
    peer.assert_fired();
}

#[tokio::test]
async fn a_retryable_error_ends_a_listing() {
    let peer = Peer::start(|request| match &*request.target {
        "/files/b/" => Response::new("503 Service Unavailable").fault(),
        _ => with_refusals(request),
    });
    let mut entries = peer.storage().list("").entries();
    assert_eq!(entries.next().await.unwrap().unwrap().name(), "a");
    let error = entries.next().await.unwrap().unwrap_err();
    assert!(error.is_retryable() && !error.listing_continues(), "{error:?}");
    assert!(entries.next().await.is_none());
    peer.assert_fired();
}

// A DELETE would remove the directory with all its files.
#[tokio::test]
async fn no_request_is_sent_for_a_folder_marker() {
    let peer = Peer::start(with_refusals);
    peer.writable().delete_folder_marker("c/").await.unwrap();
    assert!(peer.requests().is_empty(), "{:?}", peer.requests());
}
