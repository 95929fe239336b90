//! Hostile requests.

use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, StatusCode};
use http_body_util::Full;
use serde_json::json;
use storage_serve::uploads::{Grant, Refusal};
use storage_testkit::wait::until;

use super::client::{
    ORIGIN, Upload, begin, call, complete, get, list, part_url, post_json, put, put_part, send,
    try_begin,
};
use super::places::{all, memory};
use crate::client as tus;

#[tokio::test]
async fn a_refusal_has_the_status_and_the_text_of_the_application() {
    let place = memory();
    let refusal = Refusal::new(StatusCode::UNAUTHORIZED, "Sign in first.\n");
    let uploads = tus::granting(&place.storage, Err(refusal));
    for reply in [
        try_begin(&uploads, json!({})).await,
        get(&uploads, "/uploads/s3/params?filename=a.txt&type=text%2Fplain").await,
    ] {
        assert_eq!(reply.status, StatusCode::UNAUTHORIZED);
        assert_eq!(reply.json(), json!({"message": "Sign in first."}));
    }
    assert!(place.storage.list("").keys().await.unwrap().is_empty());
}

#[tokio::test]
async fn a_type_that_is_not_allowed_is_refused() {
    let uploads = memory().granting(Grant::new("file").unwrap().types(["image/*"]));
    for reply in [
        try_begin(&uploads, json!({})).await,
        get(&uploads, "/uploads/s3/params?filename=a.txt&type=text%2Fplain").await,
        get(&uploads, "/uploads/s3/params?filename=a.txt").await,
    ] {
        assert_eq!(reply.status, StatusCode::UNSUPPORTED_MEDIA_TYPE);
    }
}

#[tokio::test]
async fn a_foreign_key_gets_404_on_every_route() {
    let place = memory();
    let uploads = place.uploads();
    let upload = begin(&uploads, json!({})).await;
    let etag = put_part(&uploads, &upload, 1, b"abc").await;
    for key in ["", "other", "file/", "FILE", "fil"] {
        let foreign = Upload { key: key.to_owned(), ..upload.clone() };
        assert_eq!(get(&uploads, &foreign.route("")).await.status, StatusCode::NOT_FOUND);
        assert_eq!(get(&uploads, &foreign.route("/1")).await.status, StatusCode::NOT_FOUND);
        let reply = complete(&uploads, &foreign, std::slice::from_ref(&etag)).await;
        assert_eq!(reply.status, StatusCode::NOT_FOUND);
        let reply = call(&uploads, Method::DELETE, &foreign.route("")).await;
        assert_eq!(reply.status, StatusCode::NOT_FOUND);
    }
    let without = format!("/uploads/s3/multipart/{}", upload.id);
    assert_eq!(get(&uploads, &without).await.status, StatusCode::NOT_FOUND);
    assert_eq!(list(&uploads, &upload).await.len(), 1);
}

#[tokio::test]
async fn a_forged_id_gets_404_on_every_route() {
    let place = memory();
    let uploads = place.uploads();
    let upload = begin(&uploads, json!({})).await;
    let tus_url = tus::begin(&uploads, 3).await;
    let tus_token = tus_url.rsplit('/').next().unwrap();
    let part = part_url(&uploads, &upload, 1).await;
    let part_ticket = part.rsplit('/').next().unwrap();
    let cut = &upload.id[1..];
    for id in [cut, &format!("{}0", upload.id), "x", "..", tus_token, part_ticket] {
        let forged = Upload { id: id.to_owned(), ..upload.clone() };
        for rest in ["", "/1"] {
            let reply = get(&uploads, &forged.route(rest)).await;
            assert_eq!(reply.status, StatusCode::NOT_FOUND, "{id}");
        }
        assert_eq!(complete(&uploads, &forged, &[]).await.status, StatusCode::NOT_FOUND);
        let reply = call(&uploads, Method::DELETE, &forged.route("")).await;
        assert_eq!(reply.status, StatusCode::NOT_FOUND);
    }
    // The id of an upload in parts is no URL of tus.
    let reply = tus::head(&uploads, &format!("/uploads/{}", upload.id)).await;
    assert_eq!(reply.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_part_number_out_of_range_is_refused() {
    for place in all() {
        let uploads = place.uploads();
        let upload = begin(&uploads, json!({})).await;
        for number in ["0", "10001", "-1", "+1", "1.0", "x", "99999999999", ""] {
            let reply = get(&uploads, &upload.route(&format!("/{number}"))).await;
            assert_eq!(reply.status, StatusCode::BAD_REQUEST, "{number}");
        }
        let reply = get(&uploads, &upload.route("/10000")).await;
        assert_eq!(reply.status, StatusCode::OK);
    }
}

#[tokio::test]
async fn a_part_that_is_larger_than_its_link_allows_is_refused_before_it_is_read() {
    let place = memory();
    let uploads = place.uploads();
    let upload = begin(&uploads, json!({})).await;
    let url = part_url(&uploads, &upload, 1).await;
    let reply = put(&uploads, &url, b"012345678").await;
    assert_eq!(reply.status, StatusCode::PAYLOAD_TOO_LARGE);
    assert!(reply.text.contains("<Code>EntityTooLarge</Code>"), "{reply:?}");

    // A Content-Length that is not that of the body.
    let path = url.strip_prefix(ORIGIN).unwrap();
    let body = Full::new(Bytes::from_static(b"012345678"));
    let request = Request::put(path).header("content-length", 3).body(body).unwrap();
    assert!(!send(&uploads, request).await.status.is_success());

    let body = Full::new(Bytes::from_static(b"0123"));
    let reply = send(&uploads, Request::put(path).body(body).unwrap()).await;
    assert_eq!(reply.status, StatusCode::LENGTH_REQUIRED);
    assert!(list(&uploads, &upload).await.is_empty());
}

#[tokio::test]
async fn a_forged_link_for_a_part_gets_404() {
    let place = memory();
    let uploads = place.uploads();
    let upload = begin(&uploads, json!({})).await;
    let url = part_url(&uploads, &upload, 1).await;
    for forged in [
        url.replacen("-1-", "-2-", 1),
        url.replacen("-8-", "-9-", 1),
        format!("{url}0"),
        format!("{ORIGIN}/uploads/s3/part/{}", upload.id),
        format!("{ORIGIN}/uploads/s3/part/"),
    ] {
        assert_ne!(forged, url);
        let reply = put(&uploads, &forged, b"abc").await;
        assert_eq!(reply.status, StatusCode::NOT_FOUND, "{forged}");
    }
    assert!(list(&uploads, &upload).await.is_empty());
}

#[tokio::test]
async fn an_expired_link_for_a_part_has_the_response_of_s3() {
    let place = memory();
    let uploads = place.uploads().part_link_lifetime(Duration::ZERO);
    let upload = begin(&uploads, json!({})).await;
    let url = part_url(&uploads, &upload, 1).await;
    // A lifetime of no second ends with the second in which the link is signed.
    let is_refused = async || put(&uploads, &url, b"abc").await.status != StatusCode::OK;
    assert!(until(is_refused).await, "the link never expires");
    let reply = put(&uploads, &url, b"abc").await;
    assert_eq!(reply.status, StatusCode::FORBIDDEN);
    // Version 5 of the plugin compares this text.
    assert!(reply.text.contains("<Message>Request has expired</Message>"), "{reply:?}");
}

#[tokio::test]
async fn an_expired_upload_gets_410() {
    let place = memory();
    let uploads = place.granting(Grant::new("file").unwrap().lifetime(Duration::ZERO));
    let upload = begin(&uploads, json!({})).await;
    let is_refused = async || get(&uploads, &upload.route("")).await.status != StatusCode::OK;
    assert!(until(is_refused).await, "the upload never expires");
    let reply = get(&uploads, &upload.route("")).await;
    assert_eq!((reply.status, &*reply.message()), (StatusCode::GONE, "The upload has expired."));
    assert_eq!(get(&uploads, &upload.route("/1")).await.status, StatusCode::GONE);
}

#[tokio::test]
async fn a_completion_with_other_parts_than_those_stored_is_refused() {
    let place = memory();
    let uploads = place.uploads();
    let upload = begin(&uploads, json!({})).await;
    let first = put_part(&uploads, &upload, 1, b"01234567").await;
    let third = put_part(&uploads, &upload, 3, b"abc").await;
    let part = |number: u32, etag: &str| json!({"PartNumber": number, "ETag": etag});
    for parts in [
        json!([]),
        json!([part(1, "other")]),
        json!([part(1, "")]),
        json!([part(1, &first), part(3, &third)]),
        json!([part(1, &first), part(2, &first)]),
        json!([part(1, &first), part(1, &first)]),
        json!([part(0, &first)]),
        json!([part(4_000_000_000, &first)]),
    ] {
        let body = json!({ "parts": parts }).to_string();
        let reply = post_json(&uploads, &upload.route("/complete"), &body).await;
        assert_eq!(reply.status, StatusCode::BAD_REQUEST, "{body}");
    }
    assert_eq!(complete(&uploads, &upload, &[first]).await.status, StatusCode::OK);
}

#[tokio::test]
async fn a_body_that_is_not_the_json_of_the_route_is_refused() {
    let place = memory();
    let uploads = place.uploads();
    let upload = begin(&uploads, json!({})).await;
    let route = upload.route("/complete");
    for body in [
        "",
        "{}",
        "[]",
        "null",
        r#"{"parts":1}"#,
        r#"{"parts":[{"ETag":"a"}]}"#,
        r#"{"parts":[{"PartNumber":-1,"ETag":"a"}]}"#,
        r#"{"parts":[{"PartNumber":1.5,"ETag":"a"}]}"#,
        r#"{"parts":[{"PartNumber":1}]}"#,
    ] {
        assert_eq!(
            post_json(&uploads, &route, body).await.status,
            StatusCode::BAD_REQUEST,
            "{body}"
        );
    }
    for body in
        ["", "[]", r#"{"filename":1}"#, r#"{"metadata":[]}"#, r#"{"metadata":{"size":"-1"}}"#]
    {
        let reply = post_json(&uploads, "/uploads/s3/multipart", body).await;
        assert_eq!(reply.status, StatusCode::BAD_REQUEST, "{body}");
    }
    // A page of another site can send these types without the permission of CORS.
    let body = Full::new(Bytes::from_static(b"{}"));
    let request = Request::post("/uploads/s3/multipart")
        .header("host", "files.example.com")
        .header("content-type", "text/plain");
    let reply = send(&uploads, request.body(body).unwrap()).await;
    assert_eq!(reply.status, StatusCode::UNSUPPORTED_MEDIA_TYPE);
}

#[tokio::test]
async fn a_completion_may_name_10000_parts_and_have_no_more_than_1_mib() {
    let place = memory();
    let uploads = place.uploads();
    let upload = begin(&uploads, json!({})).await;
    let etags = vec!["\"0123456789abcdef0123456789abcdef\"".to_owned(); 10_000];
    let reply = complete(&uploads, &upload, &etags).await;
    assert!(reply.message().contains("Part 1 is not stored"), "{reply:?}");
    let etags = vec!["a".to_owned(); 10_001];
    let reply = complete(&uploads, &upload, &etags).await;
    assert!(reply.message().contains("10000 parts"), "{reply:?}");
    let huge = format!("{{\"parts\":[{}]}}", " ".repeat(1 << 20));
    let reply = post_json(&uploads, &upload.route("/complete"), &huge).await;
    assert_eq!(reply.status, StatusCode::PAYLOAD_TOO_LARGE);
    let huge = format!("{{\"filename\":\"{}\"}}", "a".repeat(64 << 10));
    let reply = post_json(&uploads, "/uploads/s3/multipart", &huge).await;
    assert_eq!(reply.status, StatusCode::PAYLOAD_TOO_LARGE);
}

#[tokio::test]
async fn a_method_or_a_path_that_has_no_meaning_is_refused() {
    let place = memory();
    let uploads = place.uploads();
    let upload = begin(&uploads, json!({})).await;
    for (method, uri) in [
        (Method::POST, "/uploads/s3/params"),
        (Method::GET, "/uploads/s3/multipart"),
        (Method::PUT, &upload.route("")),
        (Method::GET, &upload.route("/complete")),
        (Method::DELETE, &upload.route("/1")),
        (Method::GET, "/uploads/s3/part/x"),
        (Method::GET, "/uploads/s3/file/x"),
    ] {
        let reply = call(&uploads, method.clone(), uri).await;
        assert_eq!(reply.status, StatusCode::METHOD_NOT_ALLOWED, "{method} {uri}");
        assert!(reply.header("allow").contains("OPTIONS"), "{reply:?}");
    }
    for uri in ["/uploads/s3/", "/uploads/s3/x", "/uploads/s3/multipart/a/b/c"] {
        assert_eq!(get(&uploads, uri).await.status, StatusCode::NOT_FOUND, "{uri}");
    }
    let reply = get(&uploads, "/uploads/s3/sts").await;
    assert!(reply.message().contains("getTemporarySecurityCredentials"), "{reply:?}");
}
