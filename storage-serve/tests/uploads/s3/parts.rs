//! Uploads in parts.

use std::time::Duration;

use http::{Method, StatusCode};
use serde_json::json;
use storage_serve::uploads::Grant;

use super::client::{
    ORIGIN, begin, call, complete, get, list, objects, part_url, post_json, put, put_part, stored,
    try_begin,
};
use super::places::{all, memory, s3};

#[tokio::test]
async fn parts_in_any_order_become_the_object_on_every_storage() {
    for place in all() {
        let uploads = place.uploads();
        let (first, second) = place.two_parts();
        let upload = begin(&uploads, json!({"name": "a.txt", "relativePath": null})).await;
        assert_eq!(upload.key, "file");
        assert!(list(&uploads, &upload).await.is_empty());

        let end = put_part(&uploads, &upload, 2, &second).await;
        let begin = put_part(&uploads, &upload, 1, &first).await;
        let parts = list(&uploads, &upload).await;
        assert_eq!(parts.len(), 2);
        assert_eq!(parts[0]["PartNumber"], 1);
        assert_eq!(parts[0]["Size"], first.len());
        assert_eq!(parts[0]["ETag"], *begin);
        assert!(!place.storage.exists("file").await.unwrap());

        let reply = complete(&uploads, &upload, &[begin, end]).await;
        assert_eq!(reply.status, StatusCode::OK, "{reply:?}");
        assert_eq!(reply.json(), json!({"location": null, "key": "file", "bucket": ""}));
        assert_eq!(stored(&place.storage).await, [first, second].concat());
        let meta = place.storage.stat("file").await.unwrap();
        assert_eq!(meta.metadata.content_type.as_deref(), Some("text/plain"));
    }
}

#[tokio::test]
async fn parts_go_to_the_storage_if_it_signs_links_and_otherwise_to_the_service() {
    for place in all() {
        let uploads = place.uploads();
        let upload = begin(&uploads, json!({})).await;
        let url = part_url(&uploads, &upload, 1).await;
        assert_eq!(url.starts_with(&format!("{ORIGIN}/uploads/s3/part/")), !place.is_direct);
    }
    let place = s3();
    let uploads = place.uploads().direct_parts(false);
    let upload = begin(&uploads, json!({})).await;
    let url = part_url(&uploads, &upload, 1).await;
    assert!(url.starts_with(&format!("{ORIGIN}/uploads/s3/part/")), "{url}");
    let etag = put_part(&uploads, &upload, 1, b"abc").await;
    assert_eq!(complete(&uploads, &upload, &[etag]).await.status, StatusCode::OK);
    assert_eq!(stored(&place.storage).await, b"abc");
}

#[tokio::test]
async fn a_client_that_lost_the_response_to_a_completion_lists_and_completes_again() {
    for place in all() {
        let uploads = place.uploads();
        let upload = begin(&uploads, json!({})).await;
        let etag = put_part(&uploads, &upload, 1, b"abc").await;
        let first = complete(&uploads, &upload, std::slice::from_ref(&etag)).await;
        assert_eq!(first.status, StatusCode::OK, "{first:?}");
        assert_eq!(list(&uploads, &upload).await[0]["ETag"], *etag);
        let again = complete(&uploads, &upload, &[etag]).await;
        assert_eq!((again.status, again.json()), (StatusCode::OK, first.json()));
        assert_eq!(stored(&place.storage).await, b"abc");
    }
}

#[tokio::test]
async fn concurrent_completions_at_several_servers_all_succeed() {
    // s3s-fs replaces an object and its checksum in two steps, so that a state that is read between
    // them seems to be damaged.
    for place in all().into_iter().filter(|place| !place.is_direct) {
        let servers: Vec<_> = (0..4).map(|_| place.uploads()).collect();
        let upload = begin(&servers[0], json!({})).await;
        let etags = [put_part(&servers[1], &upload, 1, b"abc").await];
        let completions = servers.iter().map(|server| complete(server, &upload, &etags));
        for reply in futures_util::future::join_all(completions).await {
            assert_eq!(reply.status, StatusCode::OK, "{reply:?}");
        }
        assert_eq!(stored(&place.storage).await, b"abc");
    }
}

#[tokio::test]
async fn numbers_may_be_text_and_etags_may_have_quotes() {
    let place = memory();
    let uploads = place.uploads();
    let upload = begin(&uploads, json!({})).await;
    let etag = put_part(&uploads, &upload, 1, b"abc").await;
    assert!(etag.starts_with('"'));
    let bare = etag.trim_matches('"');
    for body in [
        json!({"parts": [{"PartNumber": "1", "ETag": etag}]}),
        json!({"parts": [{"PartNumber": 1, "ETag": bare}]}),
    ] {
        let reply = post_json(&uploads, &upload.route("/complete"), &body.to_string()).await;
        assert_eq!(reply.status, StatusCode::OK, "{reply:?}");
    }
}

#[tokio::test]
async fn a_part_that_is_sent_again_replaces_the_first_one() {
    for place in all() {
        let uploads = place.uploads();
        let upload = begin(&uploads, json!({})).await;
        let old = put_part(&uploads, &upload, 1, b"abc").await;
        let new = put_part(&uploads, &upload, 1, b"defg").await;
        let reply = complete(&uploads, &upload, &[old]).await;
        assert_eq!(reply.status, StatusCode::BAD_REQUEST, "{reply:?}");
        assert_eq!(complete(&uploads, &upload, &[new]).await.status, StatusCode::OK);
        assert_eq!(stored(&place.storage).await, b"defg");
    }
}

#[tokio::test]
async fn parts_that_the_client_does_not_name_are_discarded() {
    let place = memory();
    let uploads = place.uploads();
    let upload = begin(&uploads, json!({})).await;
    let etag = put_part(&uploads, &upload, 1, b"abcdefgh").await;
    put_part(&uploads, &upload, 2, b"other").await;
    assert_eq!(complete(&uploads, &upload, &[etag]).await.status, StatusCode::OK);
    assert_eq!(stored(&place.storage).await, b"abcdefgh");
}

#[tokio::test]
async fn an_abort_removes_the_parts_and_can_be_repeated() {
    for place in all() {
        let uploads = place.uploads();
        let upload = begin(&uploads, json!({})).await;
        let etag = put_part(&uploads, &upload, 1, b"abc").await;
        for _ in 0..2 {
            let reply = call(&uploads, Method::DELETE, &upload.route("")).await;
            assert_eq!((reply.status, &*reply.text), (StatusCode::OK, "{}"));
        }
        assert_eq!(get(&uploads, &upload.route("")).await.status, StatusCode::GONE);
        assert_eq!(complete(&uploads, &upload, &[etag]).await.status, StatusCode::GONE);
        assert!(place.storage.list("").keys().await.unwrap().is_empty());
        assert_eq!(place.storage.abort_stale("", Duration::ZERO).await.unwrap(), 0);
    }
}

#[tokio::test]
async fn an_upload_whose_parts_vanished_is_lost() {
    for place in all() {
        let uploads = place.uploads();
        let upload = begin(&uploads, json!({})).await;
        let etag = put_part(&uploads, &upload, 1, b"abc").await;
        assert_eq!(place.storage.abort_stale("", Duration::ZERO).await.unwrap(), 1);
        assert_eq!(complete(&uploads, &upload, &[etag]).await.status, StatusCode::GONE);
        assert_eq!(get(&uploads, &upload.route("")).await.status, StatusCode::GONE);
        assert!(objects(&place.storage).await.is_empty());
    }
}

#[tokio::test]
async fn a_part_that_breaks_off_is_not_stored() {
    let place = memory();
    let uploads = place.uploads();
    let upload = begin(&uploads, json!({})).await;
    let url = part_url(&uploads, &upload, 1).await;
    let frames = [
        Ok(http_body::Frame::data(bytes::Bytes::from_static(b"ab"))),
        Err(std::io::Error::other("the client is gone")),
    ];
    let body = http_body_util::StreamBody::new(futures_util::stream::iter(frames));
    let path = url.strip_prefix(ORIGIN).unwrap();
    let request = http::Request::put(path).header("content-length", 3).body(body).unwrap();
    let reply = super::send(&uploads, request).await;
    assert_eq!(reply.status, StatusCode::INTERNAL_SERVER_ERROR);
    assert!(list(&uploads, &upload).await.is_empty());
}

#[tokio::test]
async fn a_declared_size_is_the_size_of_the_object() {
    for place in all() {
        let uploads = place.uploads();
        let upload = begin(&uploads, json!({"size": place.part_size + 3})).await;
        let (first, second) = place.two_parts();
        let begin = put_part(&uploads, &upload, 1, &first).await;
        // The link is for 3 bytes.
        let url = part_url(&uploads, &upload, 2).await;
        let reply = put(&uploads, &url, b"four").await;
        assert!(reply.status.is_client_error(), "{reply:?}");
        let reply = complete(&uploads, &upload, std::slice::from_ref(&begin)).await;
        assert_eq!(reply.status, StatusCode::BAD_REQUEST, "{reply:?}");
        let end = put_part(&uploads, &upload, 2, &second).await;
        assert_eq!(complete(&uploads, &upload, &[begin, end]).await.status, StatusCode::OK);
        assert_eq!(stored(&place.storage).await.len(), place.part_size + 3);
    }
}

#[tokio::test]
async fn a_file_with_a_declared_size_of_more_than_10000_parts_has_larger_parts() {
    let place = memory();
    let uploads = place.uploads();
    let upload = begin(&uploads, json!({"size": 10_000 * 20})).await;
    put_part(&uploads, &upload, 1, &[b'a'; 20]).await;
    assert_eq!(list(&uploads, &upload).await[0]["Size"], 20);
    let url = part_url(&uploads, &upload, 2).await;
    assert_eq!(put(&uploads, &url, &[b'a'; 21]).await.status, StatusCode::PAYLOAD_TOO_LARGE);
}

#[tokio::test]
async fn an_empty_file_has_one_empty_part() {
    for place in all() {
        for metadata in [json!({}), json!({"size": 0})] {
            let uploads = place.uploads();
            let upload = begin(&uploads, metadata).await;
            let etag = put_part(&uploads, &upload, 1, b"").await;
            let reply = complete(&uploads, &upload, &[etag]).await;
            assert_eq!(reply.status, StatusCode::OK, "{reply:?}");
            assert_eq!(stored(&place.storage).await, b"");
        }
    }
}

#[tokio::test]
async fn an_upload_that_is_larger_than_its_grant_is_refused() {
    for place in all() {
        let part_size = place.part_size as u64;
        let uploads = place.granting(Grant::new("file").unwrap().max_size(part_size + 2));
        let reply = try_begin(&uploads, json!({"size": part_size + 3})).await;
        assert_eq!(reply.status, StatusCode::PAYLOAD_TOO_LARGE);

        let upload = begin(&uploads, json!({})).await;
        let reply = get(&uploads, &upload.route("/3")).await;
        assert_eq!(reply.status, StatusCode::PAYLOAD_TOO_LARGE);
        let (first, second) = place.two_parts();
        put_part(&uploads, &upload, 1, &first).await;
        // The link is one of the service, because a link of S3 would not limit the size.
        let url = part_url(&uploads, &upload, 2).await;
        let reply = put(&uploads, &url, &second).await;
        assert_eq!(reply.status, StatusCode::PAYLOAD_TOO_LARGE, "{reply:?}");
        assert!(objects(&place.storage).await.is_empty());
    }
}

#[tokio::test]
async fn parts_of_another_size_than_that_of_the_service_are_refused_with_the_reason() {
    for place in [memory(), s3()] {
        let uploads = place.uploads();
        let upload = begin(&uploads, json!({})).await;
        let first = put_part(&uploads, &upload, 1, b"short").await;
        let second = put_part(&uploads, &upload, 2, b"shorter").await;
        let reply = complete(&uploads, &upload, &[first, second]).await;
        assert_eq!(reply.status, StatusCode::BAD_REQUEST);
        assert!(reply.message().contains("getChunkSize"), "{reply:?}");
    }
}
