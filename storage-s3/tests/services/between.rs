//! Copies between two buckets of a service that has all features of AWS, or all but one.

use storage_core::{CopyOptions, ErrorKind, Key, Metadata, Storage};
use storage_s3::{Quirks, S3Builder, copy_between};

use crate::fake::{Fake, Lack};
use crate::fault_proxy::{CannedResponse, Fault};

const PART: usize = 5 << 20;

/// Returns storages of the buckets `media` and `backup`.
fn pair(fake: &Fake, quirks: Quirks, target: fn(S3Builder) -> S3Builder) -> [Storage; 2] {
    let builder =
        |bucket| fake.builder_of(bucket, quirks).part_size(PART as u64).largest_copy(PART as u64);
    [builder("media"), target(builder("backup"))]
        .map(|builder| Storage::new(builder.build().unwrap()))
}

async fn copy([source, target]: &[Storage; 2], options: CopyOptions) -> storage_core::Result<()> {
    let key = Key::new("a").unwrap();
    copy_between(source, &key, target, &key, options).unwrap().await
}

#[tokio::test]
async fn a_copy_to_another_bucket_creates_an_object_once() {
    let fake = Fake::without(&[]);
    let pair = pair(&fake, Quirks::None, |builder| builder);
    pair[0].save("a", "first").await.unwrap();
    copy(&pair, CopyOptions::new().create_new()).await.unwrap();
    pair[0].save("a", "second").await.unwrap();
    for options in [CopyOptions::new(), CopyOptions::new().metadata(Metadata::new())] {
        let error = copy(&pair, options.create_new()).await.unwrap_err();
        assert_eq!((error.kind(), error.key()), (ErrorKind::AlreadyExists, Some("a")), "{error}");
    }
    assert_eq!(pair[1].open("a").await.unwrap().text().await.unwrap(), "first");
    assert_eq!(fake.left().0, ["backup/a", "media/a"]);
}

#[tokio::test]
async fn a_large_copy_to_another_bucket_creates_an_object_once() {
    let fake = Fake::without(&[]);
    let pair = pair(&fake, Quirks::None, |builder| builder);
    pair[0].save("a", vec![1; PART + 1]).await.unwrap();
    let options = CopyOptions::new().metadata(Metadata::new()).create_new();
    copy(&pair, options.clone()).await.unwrap();
    let error = copy(&pair, options).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AlreadyExists, "{error}");
    assert_eq!(fake.left().1, 0);
}

#[tokio::test]
async fn a_copy_to_another_bucket_has_the_options_of_the_target() {
    let fake = Fake::without(&[]);
    let pair = pair(&fake, Quirks::None, |builder| {
        builder.sse("AES256").storage_class("GLACIER_IR").acl("public-read")
    });
    for (size, operation) in [(5, "CopyObject"), (PART + 1, "CreateMultipartUpload")] {
        pair[0].save("a", vec![0; size]).content_type("text/x-test").await.unwrap();
        fake.set_header("media/a", "x-amz-storage-class", "STANDARD_IA");
        fake.set_header("media/a", "x-amz-website-redirect-location", "/elsewhere");
        copy(&pair, CopyOptions::new().metadata(Metadata::new())).await.unwrap();
        fake.proxy.inspect(|record| {
            let headers = &record.of(operation).last().unwrap().headers;
            assert_eq!(headers["x-amz-server-side-encryption"], "AES256");
            assert_eq!(headers["x-amz-storage-class"], "GLACIER_IR");
            assert_eq!(headers["x-amz-acl"], "public-read");
            // Both objects have the same key, and are two.
            assert!(!headers.contains_key("x-amz-website-redirect-location"));
        });
    }
}

#[tokio::test]
async fn metadata_and_tags_of_the_source_are_read_from_its_bucket() {
    let fake = Fake::without(&[]);
    let pair = pair(&fake, Quirks::Minio, |builder| builder);
    pair[0].save("a", vec![0; PART + 1]).content_type("text/x-test").await.unwrap();
    fake.set_header("media/a", "x-amz-tagging-count", "1");
    fake.set_header("media/a", "x-amz-tagging", "state=final");
    let too_large = CannedResponse::error(400, "InvalidRequest");
    let too_large = fake.proxy.on("CopyObject").then(Fault::Respond(too_large));
    copy(&pair, CopyOptions::new()).await.unwrap();
    too_large.assert_fired();
    fake.proxy.inspect(|record| {
        for operation in ["HeadObject", "GetObjectTagging"] {
            let first = record.of(operation).next().unwrap();
            assert!(first.target.starts_with("/media/a"), "{}", first.target);
        }
        let created = record.of("CreateMultipartUpload").last().unwrap();
        assert_eq!(created.headers["x-amz-tagging"], "state=final");
        assert_eq!(created.headers["content-type"], "text/x-test");
    });
}

#[tokio::test]
async fn ceph_evaluates_the_version_of_the_source_under_its_own_name() {
    let fake = Fake::without(&[Lack::SourceConditionName, Lack::QuotedEtags]);
    let pair = pair(&fake, Quirks::Ceph, |builder| builder);
    pair[0].save("a", "first").await.unwrap();
    let first = pair[0].stat("a").await.unwrap().etag.unwrap();
    copy(&pair, CopyOptions::new().if_source_match(first.clone())).await.unwrap();
    pair[0].save("a", "second").await.unwrap();
    let error = copy(&pair, CopyOptions::new().if_source_match(first)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::PreconditionFailed, "{error}");
    assert_eq!(pair[1].open("a").await.unwrap().text().await.unwrap(), "first");
    assert_eq!((fake.proxy.count("CopyObject"), fake.proxy.count("GetObject")), (2, 1));
}
