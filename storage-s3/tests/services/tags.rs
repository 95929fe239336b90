//! Tags of objects: in the request of a save, and by requests of their own.

use std::collections::BTreeMap;
use std::time::Duration;

use storage_core::{Driver, ErrorKind, Key, Metadata, Storage, UrlMethod};
use storage_s3::{Quirks, S3};

use crate::fake::{Fake, Lack};
use crate::fault_proxy::{CannedResponse, Fault};

const PART: usize = 5 * 1024 * 1024;

fn key() -> Key {
    Key::new("a").unwrap()
}

fn tags(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn driver(fake: &Fake) -> S3 {
    fake.builder(Quirks::None).part_size(PART as u64).build().unwrap()
}

/// Returns the tags in the last request of an operation.
fn sent(fake: &Fake, operation: &str) -> Option<String> {
    fake.proxy.inspect(|record| {
        let headers = &record.of(operation).last().unwrap().headers;
        headers.get("x-amz-tagging").map(|tags| tags.to_str().unwrap().to_owned())
    })
}

#[tokio::test]
async fn a_save_sends_the_tags_with_the_object() {
    let fake = Fake::without(&[]);
    let s3 = driver(&fake);
    let tagged = s3.with_tags([("state", "draft"), ("a b", "c&d")]).unwrap();
    Storage::new(tagged.clone()).save("a", "hello").await.unwrap();
    let expected = Some("a%20b=c%26d&state=draft".to_owned());
    assert_eq!(sent(&fake, "PutObject"), expected);
    // Read once by each save, because the service is not AWS.
    assert_eq!(fake.proxy.count("GetObjectTagging"), 1);
    assert_eq!(fake.proxy.count("PutObjectTagging"), 0);
    Storage::new(tagged).save("a", vec![0; PART + 1]).await.unwrap();
    assert_eq!(sent(&fake, "CreateMultipartUpload"), expected);
    Storage::new(s3).save("a", "hello").await.unwrap();
    assert_eq!(sent(&fake, "PutObject"), None);
}

#[tokio::test]
async fn tags_that_a_service_ignores_in_a_save_are_set_afterwards() {
    for size in [5, PART + 1] {
        let fake = Fake::without(&[Lack::Tags]);
        let s3 = driver(&fake);
        let tagged = Storage::new(s3.with_tags([("state", "draft")]).unwrap());
        tagged.save("a", vec![0; size]).await.unwrap();
        assert_eq!(s3.tags(&key()).await.unwrap(), tags(&[("state", "draft")]));
        assert_eq!(fake.proxy.count("PutObjectTagging"), 1);
    }
}

#[tokio::test]
async fn a_save_to_a_service_without_tags_fails_with_what_is_stored() {
    let fake = Fake::without(&[]);
    let lacking = fake.proxy.on("GetObjectTagging");
    let lacking = lacking.then(Fault::Respond(CannedResponse::error(501, "NotImplemented")));
    let tagged = Storage::new(driver(&fake).with_tags([("state", "draft")]).unwrap());
    let error = tagged.save("a", "hello").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert!(error.message().contains("the object is stored"), "{error}");
    lacking.assert_fired();
}

#[tokio::test]
async fn a_copy_onto_itself_sets_the_tags_that_a_service_drops_with_the_metadata() {
    let fake = Fake::without(&[]);
    let s3 = driver(&fake);
    let storage = Storage::new(s3.clone());
    storage.save("a", "hello").await.unwrap();
    s3.set_tags(&key(), [("state", "draft")]).await.unwrap();
    // The fake replaces all headers, and the tags with them.
    fake.set_header("a", "x-amz-tagging-count", "1");
    storage.copy("a", "a").metadata(Metadata::new()).await.unwrap();
    assert_eq!(s3.tags(&key()).await.unwrap(), tags(&[("state", "draft")]));
}

#[tokio::test]
async fn a_copy_by_ranges_sets_the_tags_that_a_service_ignores_in_an_upload() {
    let fake = Fake::without(&[Lack::Tags]);
    let builder = fake.builder(Quirks::None).part_size(PART as u64).largest_copy(PART as u64);
    let s3 = builder.build().unwrap();
    let storage = Storage::new(s3.clone());
    storage.save("a", vec![0; PART + 1]).await.unwrap();
    s3.set_tags(&key(), [("state", "draft")]).await.unwrap();
    fake.set_header("a", "x-amz-tagging-count", "1");
    storage.copy("a", "b").metadata(Metadata::new()).await.unwrap();
    let copy = Key::new("b").unwrap();
    assert_eq!(s3.tags(&copy).await.unwrap(), tags(&[("state", "draft")]));
}

#[tokio::test]
async fn a_copy_does_not_send_the_tags_of_the_driver() {
    for lacks in [&[][..], &[Lack::CopyConditions]] {
        let fake = Fake::without(lacks);
        let storage = Storage::new(driver(&fake).with_tags([("state", "draft")]).unwrap());
        storage.save("a", "hello").await.unwrap();
        storage.copy("a", "b").await.unwrap();
        assert_eq!(sent(&fake, "CopyObject"), None);
        storage.copy("a", "c").metadata(Metadata::new()).await.unwrap();
        assert_eq!(sent(&fake, "CopyObject"), None);
    }
}

#[tokio::test]
async fn tags_of_an_object_are_replaced_and_removed() {
    let fake = Fake::without(&[]);
    let s3 = driver(&fake);
    Storage::new(s3.clone()).save("a", "hello").await.unwrap();
    assert!(s3.tags(&key()).await.unwrap().is_empty());
    s3.set_tags(&key(), [("a b", "c"), ("state", "")]).await.unwrap();
    assert_eq!(s3.tags(&key()).await.unwrap(), tags(&[("a b", "c"), ("state", "")]));
    s3.set_tags(&key(), tags(&[])).await.unwrap();
    assert_eq!(fake.proxy.count("DeleteObjectTagging"), 1);
    assert!(s3.tags(&key()).await.unwrap().is_empty());
}

#[tokio::test]
async fn tags_of_a_missing_object_are_not_found() {
    let fake = Fake::without(&[]);
    let s3 = driver(&fake);
    for error in [
        s3.tags(&key()).await.unwrap_err(),
        s3.set_tags(&key(), [("a", "b")]).await.unwrap_err(),
        s3.set_tags(&key(), tags(&[])).await.unwrap_err(),
    ] {
        assert_eq!((error.kind(), error.key()), (ErrorKind::NotFound, Some("a")));
    }
}

#[tokio::test]
async fn invalid_tags_are_refused_before_a_request() {
    let fake = Fake::without(&[]);
    let s3 = driver(&fake);
    let error = s3.set_tags(&key(), [("", "b")]).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    let error = s3.with_tags([("a", "b\n")]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    assert_eq!(fake.proxy.count("*"), 0);
}

#[tokio::test]
async fn reading_the_tags_of_a_service_without_tags_is_unsupported() {
    let fake = Fake::without(&[]);
    let s3 = driver(&fake);
    let lacking = fake.proxy.on("GetObjectTagging").call(1);
    let lacking = lacking.then(Fault::Respond(CannedResponse::error(501, "NotImplemented")));
    assert_eq!(s3.tags(&key()).await.unwrap_err().kind(), ErrorKind::Unsupported);
    lacking.assert_fired();
}

#[tokio::test]
async fn a_web_page_in_place_of_tags_is_an_error() {
    let fake = Fake::without(&[]);
    let s3 = driver(&fake);
    let page =
        fake.proxy.on("GetObjectTagging").then(Fault::Respond(CannedResponse::web_page(200)));
    assert_eq!(s3.tags(&key()).await.unwrap_err().kind(), ErrorKind::Unexpected);
    page.assert_fired();
}

#[tokio::test]
async fn an_upload_link_contains_the_tags_and_a_form_is_unsupported() {
    let fake = Fake::without(&[]);
    let tagged = driver(&fake).with_tags([("state", "draft")]).unwrap();
    assert!(driver(&fake).info().capabilities.signed_post);
    assert!(!tagged.info().capabilities.signed_post);
    let storage = Storage::new(tagged);
    let link = |method| storage.url("a").method(method).expires_in(Duration::from_secs(60));
    let put = link(UrlMethod::Put).await.unwrap();
    assert!(put.headers.contains(&("x-amz-tagging".to_owned(), "state=draft".to_owned())));
    assert!(put.query().unwrap().contains("x-amz-tagging"), "{:?}", put.headers);
    assert_eq!(link(UrlMethod::Post).await.unwrap_err().kind(), ErrorKind::Unsupported);
    assert!(link(UrlMethod::Get).await.unwrap().headers.is_empty());
}
