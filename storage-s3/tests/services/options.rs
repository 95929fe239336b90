//! Services that ignore encryption and storage classes.

use storage_core::{ErrorKind, Metadata, Storage};
use storage_s3::{Quirks, S3Builder};

use crate::fake::{Fake, Lack};

const PART: usize = 5 << 20;

/// What an error states of an object that is there.
const STORED_UNENCRYPTED: &str = "the object was stored, possibly without encryption";

fn storage(fake: &Fake, set_up: impl FnOnce(S3Builder) -> S3Builder) -> Storage {
    Storage::new(set_up(fake.builder(Quirks::None).part_size(PART as u64)).build().unwrap())
}

#[tokio::test]
async fn a_save_whose_encryption_is_not_confirmed_fails() {
    let fake = Fake::without(&[Lack::Sse]);
    fake.storage(Quirks::None).save("source", "text").await.unwrap();
    let storage = storage(&fake, |builder| builder.sse("AES256"));
    let mut errors = vec![storage.save("a", "text").await.unwrap_err()];
    assert!(errors[0].message().contains(STORED_UNENCRYPTED), "{}", errors[0]);
    errors.push(storage.save("parts", vec![0; PART + 1]).await.unwrap_err());
    for error in &errors {
        assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
        assert!(error.message().contains("sse"), "{error}");
    }
    // The missing encryption is detected before any part is sent.
    assert_eq!((fake.proxy.count("UploadPart"), fake.left().1), (0, 0));
    assert!(!fake.left().0.contains(&"parts".to_owned()));
}

/// After `Unsupported`, a promotion reads the object and saves it, which `create_new` refuses.
#[tokio::test]
async fn a_copy_whose_encryption_is_not_confirmed_fails_and_is_not_taken_for_one_not_made() {
    let fake = Fake::without(&[Lack::Sse]);
    let plain = fake.storage(Quirks::None);
    let etag = plain.save("source", "text").await.unwrap().etag.unwrap();
    let storage = storage(&fake, |builder| builder.sse("AES256"));
    let errors = [
        storage.copy("source", "b").await.unwrap_err(),
        storage.copy("source", "c").metadata(Metadata::new()).await.unwrap_err(),
        storage.promote("source", etag, "d").metadata(Metadata::new()).await.unwrap_err(),
    ];
    for error in errors {
        assert_eq!((error.kind(), error.took_effect()), (ErrorKind::Unsupported, true), "{error}");
        assert!(error.message().contains(STORED_UNENCRYPTED), "{error}");
    }
    assert_eq!((fake.proxy.count("GetObject"), fake.proxy.count("CopyObject")), (0, 3));
}

/// A service that does not evaluate a condition of a copy.
#[tokio::test]
async fn a_copy_through_the_client_whose_encryption_is_not_confirmed_is_made_nevertheless() {
    let fake = Fake::without(&[Lack::Sse]);
    let etag = fake.storage(Quirks::None).save("source", "text").await.unwrap().etag.unwrap();
    let builder = fake.builder(Quirks::Minio).sse("AES256");
    let storage = Storage::new(builder.build().unwrap());
    let promoted = storage.promote("source", etag, "a").create_new().metadata(Metadata::new());
    let error = promoted.await.unwrap_err();
    assert_eq!((error.kind(), error.took_effect()), (ErrorKind::Unsupported, true), "{error}");
    assert!(error.message().contains(STORED_UNENCRYPTED), "{error}");
    assert_eq!((fake.proxy.count("CopyObject"), fake.proxy.count("PutObject")), (0, 2));
}

#[tokio::test]
async fn a_save_whose_encryption_is_confirmed_succeeds() {
    let fake = Fake::without(&[]);
    for set_up in
        [(|builder: S3Builder| builder.sse("AES256")) as fn(S3Builder) -> S3Builder, |builder| {
            builder.sse("aws:kms").sse_kms_key_id("a-key")
        }]
    {
        let storage = storage(&fake, set_up);
        storage.save("a", "text").await.unwrap();
        storage.save("parts", vec![0; PART + 1]).await.unwrap();
        storage.copy("a", "b").metadata(Metadata::new()).await.unwrap();
    }
}

#[tokio::test]
async fn a_storage_class_that_the_service_does_not_show_fails_the_save() {
    let fake = Fake::without(&[Lack::StorageClass]);
    let storage = storage(&fake, |builder| builder.storage_class("STANDARD_IA"));
    for body in [b"text".to_vec(), vec![0; PART + 1]] {
        let error = storage.save("a", body).await.unwrap_err();
        assert_eq!((error.kind(), error.took_effect()), (ErrorKind::Unsupported, true), "{error}");
        assert!(error.message().contains("storage_class"), "{error}");
    }
}

#[tokio::test]
async fn a_storage_class_that_the_service_shows_is_checked_once() {
    let fake = Fake::without(&[]);
    let storage = storage(&fake, |builder| builder.storage_class("STANDARD_IA"));
    for key in ["a", "b", "c"] {
        storage.save(key, "text").await.unwrap();
    }
    assert_eq!(fake.proxy.count("HeadObject"), 1);
    let standard =
        Storage::new(fake.builder(Quirks::None).storage_class("STANDARD").build().unwrap());
    standard.save("d", "text").await.unwrap();
    assert_eq!(fake.proxy.count("HeadObject"), 1);
}

#[tokio::test]
async fn an_option_that_the_profile_excludes_is_refused_by_name() {
    let fake = Fake::without(&[]);
    let builder = || fake.builder(Quirks::Garage);
    for (option, builder) in [
        ("sse", builder().sse("AES256")),
        ("sse", builder().sse("aws:kms").sse_kms_key_id("a-key")),
        ("storage_class", builder().storage_class("STANDARD_IA")),
        ("acl", builder().acl("public-read")),
    ] {
        let error = builder.build().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidConfig, "{error}");
        assert!(error.message().contains(&format!("option {option}: ")), "{error}");
    }
}
