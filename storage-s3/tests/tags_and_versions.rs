//! Tags and versions on a server beside this process, if the environment names one.

#![allow(clippy::unwrap_used, reason = "a test that meets an unforeseen error has failed")]

mod common;
mod tools;

use std::collections::BTreeMap;

use common::external::{External, TestPrefix};
use futures_util::TryStreamExt;
use storage_core::{ErrorKind, Key, Metadata, OpenOptions, Prefix, Storage, UrlMethod};
use storage_s3::{S3, Version};
use tools::curl;

fn tags(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

/// Returns the server and a prefix of its bucket, if there is one.
fn place() -> Option<(S3, TestPrefix)> {
    let s3 = External::get()?.builder().build().unwrap();
    let corner = TestPrefix::of(&Storage::new(s3.clone()));
    Some((s3, corner))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn tags_are_set_by_a_save_and_replaced_without_a_new_version() {
    let Some((_, corner)) = place() else { return };
    let storage = corner.storage();
    let s3 = storage.driver_as::<S3>().unwrap();
    let key = s3.key("a b/é.txt").unwrap();
    let given = tags(&[("state", "draft"), ("a b+/:@", "é c=d&e")]);
    let tagged = Storage::new(s3.with_tags(given.clone()).unwrap());
    tagged.save(&key, "hello").content_type("text/x-test").await.unwrap();
    assert_eq!(s3.tags(&key).await.unwrap(), given);
    let before = storage.stat("a b/é.txt").await.unwrap();

    s3.set_tags(&key, [("state", "final <&>")]).await.unwrap();
    assert_eq!(s3.tags(&key).await.unwrap(), tags(&[("state", "final <&>")]));
    let after = storage.stat("a b/é.txt").await.unwrap();
    assert_eq!((after.etag, after.metadata), (before.etag, before.metadata));

    s3.set_tags(&key, [("", ""); 0]).await.unwrap();
    assert_eq!(s3.tags(&key).await.unwrap(), tags(&[]));
    storage.save("a b/é.txt", "without tags").await.unwrap();
    assert_eq!(s3.tags(&key).await.unwrap(), tags(&[]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_large_object_and_an_upload_by_link_have_the_tags_of_the_driver_and_a_copy_those_of_its_source()
 {
    let Some((_, corner)) = place() else { return };
    let storage = corner.storage();
    let s3 = storage.driver_as::<S3>().unwrap();
    let given = tags(&[("class", "large")]);
    let tagged = Storage::new(s3.with_tags(given.clone()).unwrap());
    let key = |name: &str| s3.key(name).unwrap();

    // Several parts.
    tagged.save(key("large"), vec![7; 9 * 1024 * 1024]).await.unwrap();
    assert_eq!(s3.tags(&key("large")).await.unwrap(), given);

    // A copy has those of its source.
    storage.save("plain", "hello").await.unwrap();
    tagged.copy(key("plain"), key("copy")).await.unwrap();
    assert_eq!(s3.tags(&key("copy")).await.unwrap(), tags(&[]));
    storage.copy("large", "large-copy").await.unwrap();
    assert_eq!(s3.tags(&key("large-copy")).await.unwrap(), given);
    storage.copy("large", "large").metadata(Metadata::new()).await.unwrap();
    assert_eq!(s3.tags(&key("large")).await.unwrap(), given);

    let link = tagged.url(key("by-link")).method(UrlMethod::Put);
    let link = link.expires_in(std::time::Duration::from_secs(60)).await.unwrap();
    if curl::is_installed() {
        let file = tempfile::NamedTempFile::new().unwrap();
        assert_eq!(curl::put(&link, file.path(), &[]).status, 200);
        assert_eq!(s3.tags(&key("by-link")).await.unwrap(), given);
    }
}

/// A bucket that keeps versions.
struct Versioned {
    s3: S3,
    user: String,
    url: String,
}

impl Versioned {
    fn create() -> Option<Self> {
        let external = External::get()?;
        if !curl::is_installed() {
            return None;
        }
        let name = format!("anystorage-versions-{}", std::process::id());
        let this = Self {
            s3: external.builder_of_bucket(&name).build().unwrap(),
            user: external.curl_user(),
            url: external.url_of_bucket(&name),
        };
        assert_eq!(this.signed("PUT", "", ""), 200);
        let enabled = "<VersioningConfiguration xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">\
                       <Status>Enabled</Status></VersioningConfiguration>";
        assert_eq!(this.signed("PUT", "?versioning=", enabled), 200);
        Some(this)
    }

    /// Sends a request that the driver does not have.
    fn signed(&self, method: &str, query: &str, body: &str) -> u16 {
        curl::signed(&self.user, method, &format!("{}{query}", self.url), body)
    }

    async fn versions(&self) -> Vec<Version> {
        self.s3.versions(&Prefix::empty()).try_collect().await.unwrap()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn old_versions_are_listed_opened_restored_and_deleted() {
    let Some(bucket) = Versioned::create() else { return };
    let s3 = &bucket.s3;
    let storage = Storage::new(s3.clone());
    let key = Key::new("a b/é+.txt").unwrap();
    for text in ["first", "second version", "third"] {
        storage.save(&key, text).await.unwrap();
    }
    storage.save("other.txt", "x").await.unwrap();
    storage.delete(&key).await.unwrap();
    assert!(!storage.exists(&key).await.unwrap());

    let versions = bucket.versions().await;
    let shown: Vec<_> = versions
        .iter()
        .map(|version| {
            (version.key.as_str(), version.size, version.is_latest, version.is_delete_marker)
        })
        .collect();
    let name = key.as_str();
    let mut expected = vec![
        (name, 0, true, true),
        (name, 5, false, false),
        (name, 14, false, false),
        (name, 5, false, false),
        ("other.txt", 1, true, false),
    ];
    assert_eq!(shown, expected);
    let second = &versions[2];
    let object = s3.open_version(&key, &second.id, &OpenOptions::new()).await.unwrap();
    assert_eq!(object.meta().etag, second.etag);
    assert_eq!(object.text().await.unwrap(), "second version");
    let range = OpenOptions::new().range(7..);
    let part = s3.open_version(&key, &second.id, &range).await.unwrap();
    assert_eq!(part.text().await.unwrap(), "version");
    let marker = s3.open_version(&key, &versions[0].id, &OpenOptions::new()).await.unwrap_err();
    assert_eq!(marker.kind(), ErrorKind::NotFound);

    // Without its delete marker, the object is back.
    s3.delete_version(&key, &versions[0].id).await.unwrap();
    assert_eq!(storage.read_text(&key).await.unwrap(), "third");
    s3.delete_version(&key, &second.id).await.unwrap();
    expected.remove(2);
    expected.remove(0);
    expected[0].2 = true;
    let left = bucket.versions().await;
    let left: Vec<_> = left
        .iter()
        .map(|version| {
            (version.key.as_str(), version.size, version.is_latest, version.is_delete_marker)
        })
        .collect();
    assert_eq!(left, expected);
    let gone = s3.open_version(&key, &second.id, &OpenOptions::new()).await.unwrap_err();
    assert_eq!(gone.kind(), ErrorKind::NotFound);

    for version in bucket.versions().await {
        s3.delete_version(&version.key, &version.id).await.unwrap();
    }
    assert!(bucket.versions().await.is_empty());
    assert_eq!(bucket.signed("DELETE", "", ""), 204);
}
