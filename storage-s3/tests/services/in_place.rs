//! A copy of an object onto itself changes only the metadata that the caller names.

use http::HeaderValue;
use storage_core::{Metadata, Storage};
use storage_s3::Quirks;

use crate::fake::Fake;
use crate::fault_proxy::{CannedResponse, Fault};

const PART: usize = 5 << 20;
const KEPT: [(&str, &str); 4] = [
    ("x-amz-storage-class", "STANDARD_IA"),
    ("x-amz-server-side-encryption", "aws:kms"),
    ("x-amz-server-side-encryption-aws-kms-key-id", "a-key"),
    ("x-amz-website-redirect-location", "/elsewhere"),
];

/// Returns a storage with an object that has all of these headers.
async fn saved(fake: &Fake, body: Vec<u8>) -> Storage {
    let builder = fake.builder(Quirks::None).part_size(PART as u64).largest_copy(PART as u64);
    let storage = Storage::new(builder.build().unwrap());
    storage.save("a", body).content_type("text/x-old").await.unwrap();
    for (name, value) in KEPT {
        fake.set_header("a", name, value);
    }
    storage
}

fn sent(fake: &Fake, operation: &str) -> Vec<Option<HeaderValue>> {
    fake.proxy.inspect(|record| {
        let seen = record.of(operation).last().unwrap();
        KEPT.iter().map(|(name, _)| seen.headers.get(*name).cloned()).collect()
    })
}

fn kept() -> Vec<Option<HeaderValue>> {
    KEPT.iter().map(|(_, value)| Some(HeaderValue::from_static(value))).collect()
}

#[tokio::test]
async fn other_metadata_leaves_storage_class_encryption_and_redirection_as_they_are() {
    for (body, operation) in
        [(b"text".to_vec(), "CopyObject"), (vec![0; PART + 1], "CreateMultipartUpload")]
    {
        let fake = Fake::without(&[]);
        let storage = saved(&fake, body).await;
        storage.copy("a", "a").metadata(Metadata::new().content_type("text/x-new")).await.unwrap();
        assert_eq!(storage.stat("a").await.unwrap().content_type(), Some("text/x-new"));
        assert_eq!(sent(&fake, operation), kept(), "{operation}");
    }
}

#[tokio::test]
async fn an_option_of_the_driver_precedes_the_storage_class_of_the_object() {
    let fake = Fake::without(&[]);
    saved(&fake, b"text".to_vec()).await;
    let storage = Storage::new(
        fake.builder(Quirks::None).sse("AES256").storage_class("GLACIER_IR").build().unwrap(),
    );
    storage.copy("a", "a").metadata(Metadata::new()).await.unwrap();
    let sent: Vec<_> = sent(&fake, "CopyObject")
        .into_iter()
        .map(|value| value.map(|value| value.to_str().unwrap().to_owned()))
        .collect();
    let expected = [Some("GLACIER_IR"), Some("AES256"), None, Some("/elsewhere")];
    assert_eq!(sent, expected.map(|value| value.map(str::to_owned)));
}

#[tokio::test]
async fn a_copy_to_another_key_has_the_options_of_the_driver() {
    let fake = Fake::without(&[]);
    let storage = saved(&fake, b"text".to_vec()).await;
    storage.copy("a", "b").metadata(Metadata::new()).await.unwrap();
    assert_eq!(sent(&fake, "CopyObject"), vec![None; KEPT.len()]);
}

#[tokio::test]
async fn a_copy_by_ranges_keeps_the_tags() {
    let fake = Fake::without(&[]);
    let storage = saved(&fake, vec![0; PART + 1]).await;
    fake.set_header("a", "x-amz-tagging-count", "2");
    let tags = "<Tagging><TagSet><Tag><Key>a b</Key><Value>c&amp;d</Value></Tag>\
                <Tag><Key>e</Key><Value></Value></Tag></TagSet></Tagging>";
    let tagging = fake
        .proxy
        .on("*")
        .only(|request| request.uri().query().is_some_and(|query| query.starts_with("tagging")));
    let tagging = tagging.then(Fault::Respond(CannedResponse::new(200, tags)));
    storage.copy("a", "b").metadata(Metadata::new()).await.unwrap();
    let sent = fake.proxy.inspect(|record| {
        let seen = record.of("CreateMultipartUpload").last().unwrap();
        seen.headers["x-amz-tagging"].to_str().unwrap().to_owned()
    });
    assert_eq!(sent, "a%20b=c%26d&e=");
    tagging.assert_fired();
}
