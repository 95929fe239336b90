//! The errors of refusals: their kinds and their advice.

#![allow(clippy::unwrap_used, reason = "a test that meets an unforeseen error has failed")]

mod common;
mod tools;

use std::time::Duration;

use common::external::has_acls;
use serde_json::json;
use storage_core::{Error, ErrorKind, Storage};
use storage_s3::S3Builder;
use tools::Bucket;

tools::on_servers! {
    both:
        every_verb_reports_an_unknown_bucket;
    external:
        every_verb_reports_a_wrong_secret,
        every_verb_reports_an_unknown_access_key,
        without_credentials_a_private_object_is_denied,
        without_credentials_a_public_object_is_read,
        a_policy_denies_exactly_its_actions,
        without_the_permission_to_list_a_missing_object_is_not_reported_as_missing,
        a_stale_upload_that_cannot_be_aborted_is_reported;
}

fn built(builder: S3Builder) -> Storage {
    Storage::new(builder.build().unwrap())
}

/// Returns the error of each verb.
async fn failures(storage: &Storage) -> Vec<(&'static str, Error)> {
    let listed = storage.list("").entries().next().await;
    let deleted = storage.delete_many(futures_util::stream::iter(["a", "b"])).next().await;
    vec![
        ("save", storage.save("a", "text").await.unwrap_err()),
        ("save in parts", storage.save("a", vec![0; 9 << 20]).await.unwrap_err()),
        ("open", storage.open("a").await.unwrap_err()),
        ("stat", storage.stat("a").await.unwrap_err()),
        ("exists", storage.exists("a").await.unwrap_err()),
        ("delete", storage.delete("a").await.unwrap_err()),
        ("delete_many", deleted.unwrap().unwrap_err()),
        ("list", listed.unwrap().unwrap_err()),
        ("copy", storage.copy("a", "b").await.unwrap_err()),
    ]
}

/// The response to a HEAD has no document, so that only its status counts.
fn has_no_document(verb: &str) -> bool {
    matches!(verb, "stat" | "exists")
}

/// Asserts that the error is a permanent refusal of the service with its request id.
fn assert_refused(verb: &str, error: &Error, kind: ErrorKind, code: &str, advice: &str) {
    assert_eq!(error.kind(), kind, "{verb}: {error}");
    assert!(error.message().starts_with(code), "{verb}: {error}");
    assert!(error.message().contains(" [request "), "{verb}: {error}");
    assert!(error.message().contains(advice), "{verb}: {error}");
    assert!(!error.is_retryable(), "{verb}: {error}");
}

const CHECK_THE_KEY: &str = "check access_key_id and secret_access_key, or where they come from";
const CREDENTIALS_OR_POLICY: &str = "the credentials are wrong, or the policy does not allow it";
const CHECK_THE_POLICY: &str = "the policy of the user or of the bucket does not allow it";

async fn every_verb_reports_an_unknown_bucket(bucket: &Bucket) {
    let storage = built(bucket.server().builder("anystorage-there-is-no-such-bucket"));
    for (verb, error) in failures(&storage).await {
        let advice = "create the bucket, or correct the option bucket";
        assert_refused(verb, &error, ErrorKind::InvalidConfig, "NoSuchBucket (404)", advice);
    }
}

async fn every_verb_reports_a_wrong_secret(bucket: &Bucket) {
    let storage = built(bucket.builder().secret_access_key("a/wrong+secret"));
    for (verb, error) in failures(&storage).await {
        if has_no_document(verb) {
            assert_refused(
                verb,
                &error,
                ErrorKind::PermissionDenied,
                "the service responded with status 403",
                CREDENTIALS_OR_POLICY,
            );
        } else {
            assert_refused(
                verb,
                &error,
                ErrorKind::Unauthenticated,
                "SignatureDoesNotMatch (403)",
                CHECK_THE_KEY,
            );
        }
        assert!(!format!("{error} {error:?}").contains("wrong+secret"), "{verb}");
    }
}

async fn every_verb_reports_an_unknown_access_key(bucket: &Bucket) {
    let storage = built(bucket.builder().access_key_id("AKNOBODY"));
    for (verb, error) in failures(&storage).await {
        if has_no_document(verb) {
            assert_refused(
                verb,
                &error,
                ErrorKind::PermissionDenied,
                "the service responded with status 403",
                CREDENTIALS_OR_POLICY,
            );
        } else {
            assert_refused(
                verb,
                &error,
                ErrorKind::Unauthenticated,
                "InvalidAccessKeyId (403)",
                CHECK_THE_KEY,
            );
        }
    }
}

fn anonymous(bucket: &Bucket) -> Storage {
    built(
        S3Builder::new(bucket.name())
            .endpoint(bucket.server().endpoint())
            .allow_http(true)
            .anonymous(true),
    )
}

async fn without_credentials_a_private_object_is_denied(bucket: &Bucket) {
    bucket.storage().save("a", "text").await.unwrap();
    let storage = anonymous(bucket);
    for (verb, error) in failures(&storage).await {
        if has_no_document(verb) {
            assert_refused(
                verb,
                &error,
                ErrorKind::PermissionDenied,
                "the service responded with status 403",
                CREDENTIALS_OR_POLICY,
            );
        } else {
            assert_refused(
                verb,
                &error,
                ErrorKind::PermissionDenied,
                "AccessDenied (403)",
                CHECK_THE_POLICY,
            );
        }
    }
}

async fn without_credentials_a_public_object_is_read(bucket: &Bucket) {
    if !has_acls(&bucket.builder()) {
        return;
    }
    built(bucket.builder().acl("public-read")).save("a", "text").await.unwrap();
    let storage = anonymous(bucket);
    assert_eq!(storage.open("a").await.unwrap().text().await.unwrap(), "text");
    assert_eq!(storage.stat("a").await.unwrap().size, 4);
}

/// Forbids an action on the bucket and its objects for every user. Returns whether the service
/// supports policies; otherwise the test is skipped.
fn deny(bucket: &Bucket, action: &str) -> bool {
    let (objects, itself) =
        (format!("arn:aws:s3:::{}/*", bucket.name()), format!("arn:aws:s3:::{}", bucket.name()));
    let statement = json!({ "Effect": "Deny", "Principal": "*", "Action": action, "Resource": [objects, itself] });
    let policy = json!({ "Version": "2012-10-17", "Statement": [statement] });
    match bucket.try_boto("put_bucket_policy", json!({ "Policy": policy.to_string() })) {
        Ok(_) => true,
        Err(code) if ["NotImplemented", "MethodNotAllowed"].contains(&code.as_str()) => {
            common::skip("policies of buckets", &format!("the service responds with {code}"));
            false
        }
        Err(code) => panic!("put_bucket_policy of boto3: {code}"),
    }
}

async fn a_policy_denies_exactly_its_actions(bucket: &Bucket) {
    let storage = bucket.storage();
    storage.save("a", "text").await.unwrap();
    if !deny(bucket, "s3:PutObject") {
        return;
    }
    for payload in [vec![0; 1], vec![0; 9 << 20]] {
        let error = storage.save("a", payload).await.unwrap_err();
        assert_refused(
            "save",
            &error,
            ErrorKind::PermissionDenied,
            "AccessDenied (403)",
            CHECK_THE_POLICY,
        );
    }
    let error = storage.copy("a", "b").await.unwrap_err();
    assert_refused(
        "copy",
        &error,
        ErrorKind::PermissionDenied,
        "AccessDenied (403)",
        CHECK_THE_POLICY,
    );
    assert_eq!(storage.open("a").await.unwrap().text().await.unwrap(), "text");

    assert!(deny(bucket, "s3:DeleteObject"));
    let error = storage.delete("a").await.unwrap_err();
    assert_refused(
        "delete",
        &error,
        ErrorKind::PermissionDenied,
        "AccessDenied (403)",
        CHECK_THE_POLICY,
    );
    let mut deleted = storage.delete_many(futures_util::stream::iter(["a", "b"]));
    while let Some(key) = deleted.next().await {
        assert_eq!(key.unwrap_err().kind(), ErrorKind::PermissionDenied);
    }
    assert!(storage.exists("a").await.unwrap());

    assert!(deny(bucket, "s3:ListBucket"));
    let error = storage.list("").entries().next().await.unwrap().unwrap_err();
    assert_refused(
        "list",
        &error,
        ErrorKind::PermissionDenied,
        "AccessDenied (403)",
        CHECK_THE_POLICY,
    );
    bucket.boto("delete_bucket_policy", json!({}));
}

async fn without_the_permission_to_list_a_missing_object_is_not_reported_as_missing(
    bucket: &Bucket,
) {
    if !has_acls(&bucket.builder()) {
        return;
    }
    built(bucket.builder().acl("public-read")).save("a", "text").await.unwrap();
    let storage = anonymous(bucket);
    assert!(storage.exists("a").await.unwrap());
    for error in [storage.exists("b").await.unwrap_err(), storage.open("b").await.unwrap_err()] {
        assert_eq!(error.kind(), ErrorKind::PermissionDenied, "{error}");
        assert!(
            error
                .message()
                .contains("without s3:ListBucket a missing object has the same response"),
            "{error}"
        );
    }
}

async fn a_stale_upload_that_cannot_be_aborted_is_reported(bucket: &Bucket) {
    for key in ["a", "b"] {
        bucket.boto("create_multipart_upload", json!({ "Key": key }));
    }
    let storage = built(bucket.builder());
    if !deny(bucket, "s3:AbortMultipartUpload") {
        return;
    }
    let error = storage.abort_stale("", Duration::ZERO).await.unwrap_err();
    assert_refused(
        "abort",
        &error,
        ErrorKind::PermissionDenied,
        "AccessDenied (403)",
        CHECK_THE_POLICY,
    );
    bucket.boto("delete_bucket_policy", json!({}));
    assert_eq!(storage.abort_stale("", Duration::ZERO).await.unwrap(), 2);
}
