//! An endpoint with an unknown service, which may ignore the condition of a save and overwrite the
//! object.

use storage_core::{ETag, ErrorKind};
use storage_s3::Quirks;

use crate::fake::{Fake, Lack};

#[tokio::test]
async fn a_conditional_save_at_an_unknown_host_is_refused_without_a_request() {
    let fake =
        Fake::without(&[Lack::PutConditions, Lack::CompleteConditions, Lack::CopyConditions]);
    let storage = fake.storage(Quirks::Auto);
    let capabilities = storage.info().capabilities;
    assert!(!capabilities.create_new && !capabilities.save_if_match);
    let etag = ETag::strong("of-another").unwrap();
    for large in [false, true] {
        let body = if large { vec![0; 9 << 20] } else { b"new".to_vec() };
        for save in [
            storage.save("a", body.clone()).create_new(),
            storage.save("a", body.clone()).unique_name(),
            storage.save("a", body.clone()).if_match(etag.clone()),
        ] {
            let error = save.await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
            for word in ["quirks", "\"none\"", "anystorage config check"] {
                assert!(error.message().contains(word), "{word}: {error}");
            }
        }
    }
    let error = storage.copy("a", "b").create_new().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
    assert_eq!(fake.proxy.count("*"), 0);
    storage.save("a", "plain").await.unwrap();
}

#[tokio::test]
async fn a_named_profile_allows_conditional_saves_at_any_host() {
    for quirks in [Quirks::None, Quirks::Minio] {
        let fake = Fake::without(&[]);
        let storage = fake.storage(quirks);
        storage.save("a", "first").create_new().await.unwrap();
        let error = storage.save("a", "second").create_new().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::AlreadyExists, "{error}");
    }
}
