//! What a publish stores, and what it leaves alone.
#![allow(clippy::unwrap_used, reason = "a failed step fails the test")]

mod common;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use common::*;
use storage_core::{Error, ErrorKind, Memory, Operation, Storage, async_trait};
use storage_publish::testing::{asset, hashed, page};
use storage_publish::{
    Content, Encoding, Manifest, Naming, PLAIN_SHA256, POINTER_KEY, PublishConfig, PublishOptions,
    Purge, Site, plan, publish, releases, rollback,
};
use storage_testkit::faults::Faults;

fn config(text: &str) -> PublishConfig {
    toml::from_str(text).unwrap()
}

fn options(clock: &Clock, text: &str) -> PublishOptions {
    clock.with(PublishOptions::from_config(&config(text)).unwrap())
}

async fn manifest(storage: &Storage) -> Manifest {
    let current = releases(storage).await.unwrap().current.unwrap();
    Manifest::read(storage, &current.release).await.unwrap()
}

fn destinations() -> (tempfile::TempDir, [Storage; 2]) {
    let directory = tempfile::tempdir().unwrap();
    let fs = storage_fs::Fs::builder(directory.path()).build().unwrap();
    (directory, [Memory::storage(), Storage::new(fs)])
}

#[tokio::test]
async fn a_published_site_is_current_with_its_headers() {
    let (_directory, destinations) = destinations();
    for storage in destinations {
        let site = site("v1");
        let published = publish(&site, &storage, &Clock::new().options()).await.unwrap();
        assert!(published.is_new);
        assert_eq!(published.pages, 3);
        assert_shows(&storage, &site).await;

        let style = storage.stat(name_of(&site, "css/app.css")).await.unwrap().metadata;
        let immutable = "public, max-age=31536000, immutable";
        assert_eq!(style.cache_control.as_deref(), Some(immutable));
        assert_eq!(style.content_type.as_deref(), Some("text/css; charset=utf-8"));
        let page = storage.stat("index.html").await.unwrap().metadata;
        assert_eq!(page.cache_control.as_deref(), Some("no-cache"));
    }
}

#[tokio::test]
async fn each_object_that_is_stored_is_reported_with_its_size() {
    let (storage, clock) = (Memory::storage(), Clock::new());
    let stored: Arc<Mutex<Vec<(String, u64)>>> = Arc::default();
    let options = |text: &str| {
        let stored = Arc::clone(&stored);
        let report = move |key: &str, size| stored.lock().unwrap().push((key.to_owned(), size));
        options(&clock, text).on_stored(report)
    };
    let site = site("v1");
    let published = publish(&site, &storage, &options("encodings = [\"gzip\"]")).await.unwrap();
    let stored = std::mem::take(&mut *stored.lock().unwrap());
    assert_eq!(stored.len() as u64, published.uploaded);
    assert_eq!(stored.iter().map(|(_, size)| size).sum::<u64>(), published.uploaded_bytes);
    let style = name_of(&site, "css/app.css");
    assert!(stored.iter().any(|(key, _)| key == style), "{stored:?}");
    assert!(stored.iter().any(|(key, _)| key == &format!("{style}.gz")), "{stored:?}");
}

#[tokio::test]
async fn a_site_below_a_prefix_leaves_other_keys_alone() {
    let bucket = Memory::storage();
    bucket.save("other.txt", "mine").await.unwrap();
    publish(&site("v1"), &bucket.prefixed("www").unwrap(), &Clock::new().options()).await.unwrap();
    assert_eq!(text(&bucket, "other.txt").await, "mine");
    assert!(bucket.exists("www/index.html").await.unwrap());
    assert!(bucket.exists("www/.anystorage-publish/current.json").await.unwrap());
}

#[tokio::test]
async fn publishing_an_unchanged_site_reads_two_documents_lists_once_and_writes_nothing() {
    let (faults, clock) = (Faults::new(), Clock::new());
    let storage = faults.in_memory();
    let options = options(&clock, "encodings = [\"gzip\"]");
    publish(&site("v1"), &storage, &options).await.unwrap();
    let count = |faults: &Faults| {
        [
            Operation::Open,
            Operation::List,
            Operation::Save,
            Operation::Copy,
            Operation::Stat,
            Operation::Delete,
            Operation::Exists,
        ]
        .map(|operation| faults.calls(operation))
    };
    let before = count(&faults);
    let published = publish(&site("v1"), &storage, &options).await.unwrap();
    let after = count(&faults);
    let requests: Vec<_> = after.iter().zip(before).map(|(after, before)| after - before).collect();
    assert_eq!(requests, [2, 1, 0, 0, 0, 0, 0]);
    assert!(!published.is_new);
    assert_eq!(published.unchanged, 6);
}

#[tokio::test]
async fn a_second_publish_uploads_only_what_changed() {
    let (faults, clock) = (Faults::new(), Clock::new());
    let storage = faults.in_memory();
    publish(&site("v1"), &storage, &clock.options()).await.unwrap();
    let saves = faults.calls(Operation::Save);
    let published = publish(&site("v2"), &storage, &clock.options()).await.unwrap();
    // The style and the start page; the claim, the manifest, the beginning of the pages, the
    // switch.
    assert_eq!(published.uploaded, 2);
    assert_eq!(faults.calls(Operation::Save) - saves, 2 + 4);
    assert_eq!((published.pages, published.unchanged), (1, 4));
    assert_shows(&storage, &site("v2")).await;
}

#[tokio::test]
async fn a_changed_rule_replaces_headers_without_an_upload() {
    let (_directory, destinations) = destinations();
    for storage in destinations {
        let clock = Clock::new();
        let before = options(&clock, "encodings = [\"gzip\"]");
        publish(&site("v1"), &storage, &before).await.unwrap();
        let after = options(
            &clock,
            "encodings = [\"gzip\"]\n[[rules]]\nmatch = \"*\"\ncache_control = \"max-age=60\"",
        );
        let published = publish(&site("v1"), &storage, &after).await.unwrap();
        assert_eq!(published.uploaded, 0);
        assert!(published.is_new && published.headers_replaced > 6, "{published:?}");
        let style = name_of(&site("v1"), "css/app.css").to_owned();
        for key in [&style, &format!("{style}.gz"), "index.html", "robots.txt"] {
            let metadata = storage.stat(key).await.unwrap().metadata;
            assert_eq!(metadata.cache_control.as_deref(), Some("max-age=60"), "{key}");
        }
        assert_shows(&storage, &site("v1")).await;
        assert!(!publish(&site("v1"), &storage, &after).await.unwrap().is_new);
    }
}

#[tokio::test]
async fn siblings_record_the_hash_of_the_plain_bytes_and_their_encoding() {
    let storage = Memory::storage();
    let options = options(&Clock::new(), "encodings = [\"gzip\", \"br\"]");
    publish(&site("v1"), &storage, &options).await.unwrap();
    let manifest = manifest(&storage).await;
    let style = &manifest.entries["css/app.css"];
    for (encoding, suffix) in [(Encoding::Gzip, ".gz"), (Encoding::Brotli, ".br")] {
        let sibling = &style.encodings[&encoding];
        assert_eq!(sibling.name, format!("{}{suffix}", style.name));
        let meta = storage.stat(&*sibling.name).await.unwrap();
        assert_eq!(meta.metadata.content_encoding.as_deref(), Some(encoding.as_str()));
        assert_eq!(meta.metadata.user_metadata[PLAIN_SHA256], style.sha256.to_string());
        assert_eq!(meta.metadata.content_type, style.metadata.content_type);
        assert_eq!((meta.size, meta.etag.as_ref()), (sibling.size, sibling.etag.as_ref()));
    }
}

#[tokio::test]
async fn an_encoding_without_gain_is_not_kept_and_not_tried_again() {
    let storage = Memory::storage();
    let options = options(&Clock::new(), "encodings = [\"gzip\"]");
    let short = site_of(vec![hashed("a.css", b"a{}"), hashed("a.png", &[0; 1000])]);
    publish(&short, &storage, &options).await.unwrap();
    let manifest = manifest(&storage).await;
    assert!(manifest.entries["a.css"].encodings.is_empty());
    assert!(manifest.entries["a.css"].without_gain.contains(&Encoding::Gzip));
    // Images are not tried at all.
    assert!(manifest.entries["a.png"].without_gain.is_empty());
    assert!(!publish(&short, &storage, &options).await.unwrap().is_new);
}

#[tokio::test]
async fn the_siblings_of_pages_are_stored_beside_the_release_only() {
    let storage = Memory::storage();
    let options = options(&Clock::new(), "encodings = [\"gzip\"]");
    let site = site_of(vec![page("index.html", "<p>hello</p>".repeat(100).as_bytes())]);
    publish(&site, &storage, &options).await.unwrap();
    assert!(!storage.exists("index.html.gz").await.unwrap());
    let manifest = manifest(&storage).await;
    let sibling = &manifest.entries["index.html"].encodings[&Encoding::Gzip];
    let stored = manifest.entries["index.html"].stored.as_ref().unwrap();
    assert_eq!(sibling.name, format!("{stored}.gz"));
    assert!(storage.exists(&*sibling.name).await.unwrap());
}

#[tokio::test]
async fn one_encoding_under_the_plain_name_has_a_content_encoding() {
    let storage = Memory::storage();
    let options = options(&Clock::new(), "[[rules]]\nmatch = \"*\"\nencoding = \"gzip\"\n");
    publish(&site("v1"), &storage, &options).await.unwrap();
    let manifest = manifest(&storage).await;
    let style = &manifest.entries["css/app.css"];
    let meta = storage.stat(&*style.name).await.unwrap();
    assert_eq!(meta.metadata.content_encoding.as_deref(), Some("gzip"));
    assert_eq!(meta.size, style.body.as_ref().unwrap().size);
    assert!(meta.size < style.size);
    assert_current_release_is_whole(&storage).await;
    assert!(!publish(&site("v1"), &storage, &options).await.unwrap().is_new);
}

#[tokio::test]
async fn a_relative_expires_changes_no_headers_while_half_of_it_is_left() {
    let (storage, clock) = (Memory::storage(), Clock::new());
    let options = options(&clock, "[[rules]]\nmatch = \"*\"\nexpires = \"10d\"");
    publish(&site("v1"), &storage, &options).await.unwrap();
    let expires = storage.stat("index.html").await.unwrap().metadata.expires;
    assert_eq!(expires, Some(clock.now() + 10 * day()));
    clock.advance(4 * day());
    assert!(!publish(&site("v1"), &storage, &options).await.unwrap().is_new);
    clock.advance(2 * day());
    let published = publish(&site("v1"), &storage, &options).await.unwrap();
    assert_eq!((published.is_new, published.uploaded), (true, 0));
    let expires = storage.stat("index.html").await.unwrap().metadata.expires;
    assert_eq!(expires, Some(clock.now() + 10 * day()));
}

#[tokio::test]
async fn a_torn_object_under_a_name_with_a_hash_ends_the_publish_before_the_pages() {
    let (_directory, destinations) = destinations();
    for storage in destinations {
        let (clock, style) = (Clock::new(), name_of(&site("v1"), "css/app.css").to_owned());
        storage.save(&*style, "v1 a { b: c").await.unwrap();
        let error = publish(&site("v1"), &storage, &clock.options()).await.unwrap_err();
        assert_eq!((error.kind(), error.key()), (ErrorKind::Integrity, Some(&*style)));
        assert!(pages(&storage).await.is_empty());
        storage.delete(&*style).await.unwrap();
        publish(&site("v1"), &storage, &clock.options()).await.unwrap();
        assert_shows(&storage, &site("v1")).await;
    }
}

#[tokio::test]
async fn an_object_of_equal_size_with_other_bytes_is_found_by_its_hash() {
    let storage = Memory::storage();
    let script = name_of(&site("v1"), "app.js").to_owned();
    storage.save(&*script, "RUN()").await.unwrap();
    let error = publish(&site("v1"), &storage, &Clock::new().options()).await.unwrap_err();
    assert_eq!((error.kind(), error.key()), (ErrorKind::Integrity, Some(&*script)));
}

#[tokio::test]
async fn an_object_that_exists_with_the_right_bytes_gets_the_right_headers() {
    let (_directory, destinations) = destinations();
    for storage in destinations {
        let script = name_of(&site("v1"), "app.js").to_owned();
        storage.save(&*script, "run()").cache_control("max-age=1").await.unwrap();
        publish(&site("v1"), &storage, &Clock::new().options()).await.unwrap();
        let metadata = storage.stat(&*script).await.unwrap().metadata;
        let immutable = "public, max-age=31536000, immutable";
        assert_eq!(metadata.cache_control.as_deref(), Some(immutable));
    }
}

#[tokio::test]
async fn an_object_of_the_last_release_that_is_gone_is_uploaded_again() {
    let (storage, clock) = (Memory::storage(), Clock::new());
    publish(&site("v1"), &storage, &clock.options()).await.unwrap();
    storage.delete(name_of(&site("v1"), "app.js")).await.unwrap();
    storage.delete("about.html").await.unwrap();
    let published = publish(&site("v1"), &storage, &clock.options()).await.unwrap();
    assert_eq!((published.uploaded, published.pages), (1, 1));
    assert_shows(&storage, &site("v1")).await;
}

#[tokio::test]
async fn a_file_that_changed_since_the_site_was_read_ends_the_publish_before_the_pages() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("app.js");
    for changed in ["RUN()", "run() || walk()", ""] {
        let storage = Memory::storage();
        let mut site = site("v1");
        let script = site.assets.iter_mut().find(|asset| asset.path == "app.js").unwrap();
        script.content = Content::File(file.clone());
        std::fs::write(&file, changed).unwrap();
        let error = publish(&site, &storage, &Clock::new().options()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Integrity);
        assert!(error.message().contains("\"app.js\" changed"), "{error}");
        assert!(pages(&storage).await.is_empty());
        assert_eq!(releases(&storage).await.unwrap().claim, None);
    }
}

#[tokio::test]
async fn a_file_on_disk_is_published_as_it_is() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("app.js");
    std::fs::write(&file, "run()").unwrap();
    let mut site = site("v1");
    site.assets[1].content = Content::File(file);
    let storage = Memory::storage();
    publish(&site, &storage, &Clock::new().options()).await.unwrap();
    assert_eq!(text(&storage, name_of(&site, "app.js")).await, "run()");
}

#[tokio::test]
async fn a_name_below_the_reserved_prefix_or_twice_is_refused() {
    let storage = Memory::storage();
    let twice = vec![page("a.html", b"1"), asset("b.html", "a.html", Naming::Fixed, b"2")];
    let reserved = vec![page(".anystorage-publish/current.json", b"{}")];
    for assets in [twice, reserved] {
        let site = site_of(assets);
        let error = publish(&site, &storage, &Clock::new().options()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        assert!(storage.list("").keys().await.unwrap().is_empty());
    }
}

#[tokio::test]
async fn a_storage_without_conditional_saves_is_refused() {
    let storage = Memory::storage().read_only();
    let error = publish(&site("v1"), &storage, &Clock::new().options()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
}

#[tokio::test]
async fn files_of_old_releases_stay_until_the_grace_after_the_end_of_the_release() {
    let (storage, clock) = (Memory::storage(), Clock::new());
    let options = clock.options().keep(1).grace(7 * day());
    publish(&site("v1"), &storage, &options).await.unwrap();
    let style = name_of(&site("v1"), "css/app.css").to_owned();
    // It was current for a year, and the grace begins after that.
    clock.advance(365 * day());
    publish(&site("v2"), &storage, &options).await.unwrap();
    clock.advance(7 * day() - Duration::from_secs(1));
    assert_eq!(publish(&site("v2"), &storage, &options).await.unwrap().deleted, 0);
    assert!(storage.exists(&*style).await.unwrap());
    clock.advance(Duration::from_secs(1));
    let published = publish(&site("v2"), &storage, &options).await.unwrap();
    // The style, the stored start page and the manifest; other stored pages are still needed.
    assert_eq!((published.deleted, published.is_new), (3, false));
    assert!(!storage.exists(&*style).await.unwrap());
    assert!(releases(&storage).await.unwrap().previous.is_empty());
    assert_shows(&storage, &site("v2")).await;
}

#[tokio::test]
async fn kept_releases_keep_their_files_beyond_the_grace() {
    let (storage, clock) = (Memory::storage(), Clock::new());
    let options = clock.options().keep(2).grace(day());
    for version in ["v1", "v2", "v3"] {
        clock.advance(2 * day());
        publish(&site(version), &storage, &options).await.unwrap();
    }
    clock.advance(2 * day());
    publish(&site("v3"), &storage, &options).await.unwrap();
    let exists = |version| {
        let (storage, site) = (storage.clone(), site(version));
        async move { storage.exists(name_of(&site, "css/app.css")).await.unwrap() }
    };
    assert!(!exists("v1").await);
    assert!(exists("v2").await);
    assert!(exists("v3").await);
}

#[tokio::test]
async fn a_removed_page_stays_for_the_grace_and_is_then_deleted_although_its_release_is_kept() {
    let (storage, clock) = (Memory::storage(), Clock::new());
    let options = clock.options().keep(3).grace(day());
    publish(&site("v1"), &storage, &options).await.unwrap();
    let mut smaller = site("v2");
    smaller.assets.retain(|asset| asset.path != "about.html");
    publish(&smaller, &storage, &options).await.unwrap();
    assert!(storage.exists("about.html").await.unwrap());
    clock.advance(2 * day());
    assert_eq!(publish(&smaller, &storage, &options).await.unwrap().deleted, 1);
    assert!(!storage.exists("about.html").await.unwrap());
    assert_eq!(releases(&storage).await.unwrap().previous.len(), 1);
    assert!(!publish(&smaller, &storage, &options).await.unwrap().is_new);
}

#[tokio::test]
async fn a_page_that_another_program_replaced_is_not_deleted() {
    let (storage, clock) = (Memory::storage(), Clock::new());
    let options = clock.options().keep(1).grace(day());
    publish(&site("v1"), &storage, &options).await.unwrap();
    let mut smaller = site("v2");
    smaller.assets.retain(|asset| asset.path != "about.html");
    publish(&smaller, &storage, &options).await.unwrap();
    storage.save("about.html", "of another program").await.unwrap();
    clock.advance(2 * day());
    publish(&smaller, &storage, &options).await.unwrap();
    assert_eq!(text(&storage, "about.html").await, "of another program");
}

#[tokio::test]
async fn files_of_other_programs_are_never_deleted() {
    let (storage, clock) = (Memory::storage(), Clock::new());
    let options = clock.options().keep(1).grace(Duration::ZERO);
    storage.save("app.0123456789abcdef.js", "foreign").await.unwrap();
    for version in ["v1", "v2", "v3"] {
        publish(&site(version), &storage, &options).await.unwrap();
    }
    assert_eq!(text(&storage, "app.0123456789abcdef.js").await, "foreign");
    assert!(!storage.exists(name_of(&site("v1"), "css/app.css")).await.unwrap());
    assert_shows(&storage, &site("v3")).await;
}

#[tokio::test]
async fn nothing_is_deleted_while_the_manifest_of_a_kept_release_is_missing() {
    let (storage, clock) = (Memory::storage(), Clock::new());
    let options = clock.options().keep(2).grace(Duration::ZERO);
    for version in ["v1", "v2"] {
        publish(&site(version), &storage, &options).await.unwrap();
    }
    let second = releases(&storage).await.unwrap().current.unwrap().release;
    storage.delete(storage_publish::manifest_key(&second).unwrap()).await.unwrap();
    let published = publish(&site("v3"), &storage, &options).await.unwrap();
    assert!(published.cleanup_error.unwrap().is_not_found());
    assert!(storage.exists(name_of(&site("v1"), "css/app.css")).await.unwrap());
    assert_shows(&storage, &site("v3")).await;
}

#[tokio::test]
async fn a_damaged_manifest_stops_deletions_only_while_its_release_is_kept() {
    for (keep, is_kept) in [(2, true), (1, false)] {
        let (storage, clock) = (Memory::storage(), Clock::new());
        let options = clock.options().keep(keep).grace(Duration::ZERO);
        for version in ["v1", "v2"] {
            publish(&site(version), &storage, &options).await.unwrap();
        }
        let second = releases(&storage).await.unwrap().current.unwrap().release;
        let key = storage_publish::manifest_key(&second).unwrap();
        storage.save(&key, "{").await.unwrap();
        let published = publish(&site("v3"), &storage, &options).await.unwrap();
        let kind = published.cleanup_error.map(|error| error.kind());
        assert_eq!(kind, is_kept.then_some(ErrorKind::Integrity));
        assert_eq!(storage.exists(&key).await.unwrap(), is_kept);
        let style = name_of(&site("v1"), "css/app.css").to_owned();
        assert_eq!(storage.exists(&*style).await.unwrap(), is_kept);
        assert_shows(&storage, &site("v3")).await;
    }
}

/// Records the purged keys, and fails as often as wanted.
#[derive(Clone, Default)]
struct Mirror(Arc<Mutex<(usize, Vec<Vec<String>>)>>);

#[async_trait]
impl Purge for Mirror {
    async fn purge(&self, keys: &[String]) -> storage_core::Result<()> {
        let mut state = self.0.lock().unwrap();
        state.1.push(keys.to_vec());
        match state.0.checked_sub(1) {
            Some(left) => {
                state.0 = left;
                Err(Error::new(ErrorKind::Timeout, "the mirror does not respond"))
            }
            None => Ok(()),
        }
    }
}

#[tokio::test]
async fn mirrors_are_purged_after_the_switch_and_again_after_a_failure() {
    let (storage, clock, mirror) = (Memory::storage(), Clock::new(), Mirror::default());
    mirror.0.lock().unwrap().0 = 1;
    let options = clock.options().purge(mirror.clone());
    let published = publish(&site("v1"), &storage, &options).await.unwrap();
    assert_eq!(published.purge_error.unwrap().kind(), ErrorKind::Timeout);
    assert!(pointer(&storage).await.contains("purge_pending"));
    let published = publish(&site("v1"), &storage, &options).await.unwrap();
    assert!(published.purge_error.is_none() && !published.is_new);
    let purged = mirror.0.lock().unwrap().1.clone();
    let keys = [POINTER_KEY, "about.html", "index.html", "robots.txt"].map(str::to_owned).to_vec();
    assert_eq!(purged, [keys.clone(), keys]);
    publish(&site("v1"), &storage, &options).await.unwrap();
    assert_eq!(mirror.0.lock().unwrap().1.len(), 2);
}

fn without_about(version: &str) -> Site {
    let mut site = site(version);
    site.assets.retain(|asset| asset.path != "about.html");
    site
}

#[tokio::test]
async fn mirrors_are_purged_of_pages_of_all_listed_releases_after_a_failed_purge() {
    let (storage, clock, mirror) = (Memory::storage(), Clock::new(), Mirror::default());
    let options = clock.options().purge(mirror.clone());
    publish(&site("v1"), &storage, &options).await.unwrap();
    mirror.0.lock().unwrap().0 = 1;
    let failed = publish(&without_about("v2"), &storage, &options).await.unwrap();
    assert!(failed.purge_error.is_some());
    // Neither this release nor the one before has the page.
    publish(&without_about("v3"), &storage, &options).await.unwrap();
    let purged = mirror.0.lock().unwrap().1.pop().unwrap();
    assert!(purged.contains(&"about.html".to_owned()), "{purged:?}");
    publish(&without_about("v4"), &storage, &options).await.unwrap();
    let purged = mirror.0.lock().unwrap().1.pop().unwrap();
    assert!(!purged.contains(&"about.html".to_owned()), "{purged:?}");
}

#[tokio::test]
async fn mirrors_are_purged_of_deleted_pages_and_again_after_a_failure() {
    let (storage, clock, mirror) = (Memory::storage(), Clock::new(), Mirror::default());
    let options = clock.options().keep(1).grace(day()).purge(mirror.clone());
    for site in [site("v1"), without_about("v2")] {
        publish(&site, &storage, &options).await.unwrap();
    }
    clock.advance(2 * day());
    mirror.0.lock().unwrap().0 = 1;
    let failed = publish(&without_about("v2"), &storage, &options).await.unwrap();
    assert_eq!(failed.purge_error.unwrap().kind(), ErrorKind::Timeout);
    assert!(failed.cleanup_error.is_none() && !storage.exists("about.html").await.unwrap());
    let purged = mirror.0.lock().unwrap().1.pop().unwrap();
    assert_eq!(purged, ["about.html"]);
    // Only the release past its grace names the page.
    let again = publish(&without_about("v2"), &storage, &options).await.unwrap();
    assert!(again.purge_error.is_none());
    let purged = mirror.0.lock().unwrap().1.pop().unwrap();
    assert!(purged.contains(&"about.html".to_owned()), "{purged:?}");
    assert!(releases(&storage).await.unwrap().previous.is_empty());
    assert!(!pointer(&storage).await.contains("purge_pending"));
}

#[tokio::test]
async fn a_plan_states_uploads_headers_pages_and_deletions_and_writes_nothing() {
    let (faults, clock) = (Faults::new(), Clock::new());
    let storage = faults.in_memory();
    let first = plan(&site("v1"), &storage, &clock.options()).await.unwrap();
    assert_eq!((first.uploads.len(), first.pages.len(), first.is_new), (6, 3, true));
    assert_eq!(faults.calls(Operation::Save), 0);

    let options = clock.options().keep(1).grace(Duration::ZERO);
    publish(&site("v1"), &storage, &options).await.unwrap();
    let saves = faults.calls(Operation::Save);
    let second = plan(&site("v2"), &storage, &options).await.unwrap();
    let (old, new) = (site("v1"), site("v2"));
    let mut uploads: Vec<_> = second.uploads.iter().map(|(key, _)| key.as_str()).collect();
    uploads.sort_unstable();
    assert_eq!(uploads, [name_of(&new, "css/app.css"), "index.html"]);
    assert_eq!((second.pages, second.unchanged), (vec!["index.html".to_owned()], 4));
    assert!(second.deletions.contains(&name_of(&old, "css/app.css").to_owned()));
    assert_eq!(faults.calls(Operation::Save), saves);
    let deleted = publish(&new, &storage, &options).await.unwrap().deleted;
    assert_eq!(deleted, second.deletions.len() as u64);
}

#[tokio::test]
async fn an_empty_site_is_a_release() {
    let storage = Memory::storage();
    let published = publish(&Site::default(), &storage, &Clock::new().options()).await.unwrap();
    assert!(published.is_new);
    assert!(manifest(&storage).await.entries.is_empty());
}

#[tokio::test]
async fn pages_are_written_after_all_assets_and_assets_before_the_manifest() {
    let (faults, clock) = (Faults::new(), Clock::new());
    let storage = faults.in_memory();
    let held = faults.on(Operation::Copy).call(1).hold();
    let publisher = tokio::spawn({
        let (storage, options) = (storage.clone(), clock.options().concurrency(1));
        async move { publish(&site("v1"), &storage, &options).await }
    });
    held.reached().await;
    let release = releases(&storage).await.unwrap().switching.unwrap();
    let manifest = Manifest::read(&storage, &release).await.unwrap();
    for entry in manifest.entries.values() {
        assert!(storage.exists(entry.object_key()).await.unwrap());
    }
    assert!(pages(&storage).await.is_empty());
    held.release();
    publisher.await.unwrap().unwrap();
    assert_shows(&storage, &site("v1")).await;
}

#[tokio::test]
async fn a_rule_for_one_encoding_may_come_and_go() {
    let (storage, clock) = (Memory::storage(), Clock::new());
    let style = "body{color:red}".repeat(100);
    let site = site_of(vec![
        asset("a.css", "a.3f9a2c0d51b7e844.css", Naming::Hashed, style.as_bytes()),
        page("index.html", b"a.3f9a2c0d51b7e844.css"),
    ]);
    let with = |encoding: &str| {
        let text = format!("[[rules]]\nmatch = '*.css'\nencoding = '{encoding}'");
        clock.with(PublishOptions::from_config(&toml::from_str(&text).unwrap()).unwrap())
    };
    let encoding = async || {
        let object = storage.open("a.3f9a2c0d51b7e844.css").await.unwrap();
        object.meta().metadata.content_encoding.clone()
    };
    let plain = publish(&site, &storage, &clock.options()).await.unwrap().release;
    publish(&site, &storage, &with("gzip")).await.unwrap();
    assert_eq!(encoding().await.as_deref(), Some("gzip"));
    publish(&site, &storage, &with("br")).await.unwrap();
    assert_eq!(encoding().await.as_deref(), Some("br"));
    // The bytes stay as they are, and the headers say how they are encoded.
    rollback(&storage, Some(&plain), &clock.options()).await.unwrap();
    assert_eq!(encoding().await.as_deref(), Some("br"));
    publish(&site, &storage, &clock.options()).await.unwrap();
    assert_eq!(encoding().await, None);
}

#[tokio::test]
async fn a_sibling_does_not_replace_a_file_of_an_earlier_release() {
    let (storage, clock) = (Memory::storage(), Clock::new());
    let (name, own) = ("main.8e0d62a1.js", "main.8e0d62a1.js.gz");
    let script = "let a = 1;".repeat(100);
    let script = || asset(name, name, Naming::Bundled, script.as_bytes());
    let first = site_of(vec![script(), asset(own, own, Naming::Bundled, b"of the bundler")]);
    publish(&first, &storage, &clock.options()).await.unwrap();
    let options = PublishOptions::from_config(&toml::from_str("encodings = ['gzip']").unwrap());
    publish(&site_of(vec![script()]), &storage, &clock.with(options.unwrap())).await.unwrap();
    assert_eq!(storage.open(own).await.unwrap().bytes().await.unwrap(), "of the bundler");
}

#[tokio::test]
async fn a_sibling_changes_no_headers_of_an_equal_file_of_an_earlier_release() {
    let (storage, clock) = (Memory::storage(), Clock::new());
    let (name, own) = ("main.8e0d62a1.js", "main.8e0d62a1.js.gz");
    let script = "let a = 1;".repeat(100);
    let script = || asset(name, name, Naming::Bundled, script.as_bytes());
    let gzip = options(&clock, "encodings = [\"gzip\"]");
    let elsewhere = Memory::storage();
    publish(&site_of(vec![script()]), &elsewhere, &gzip).await.unwrap();
    let equal = elsewhere.open(own).await.unwrap().bytes().await.unwrap();
    let first = site_of(vec![script(), asset(own, own, Naming::Bundled, &equal)]);
    publish(&first, &storage, &clock.options()).await.unwrap();
    publish(&site_of(vec![script()]), &storage, &gzip).await.unwrap();
    let metadata = storage.stat(own).await.unwrap().metadata;
    assert_eq!(metadata.content_encoding, None);
}

#[tokio::test]
async fn a_rule_changes_headers_again_after_a_rollback_restored_them() {
    let (_directory, destinations) = destinations();
    for storage in destinations {
        let (clock, site) = (Clock::new(), site("v1"));
        let rule =
            "encodings = [\"gzip\"]\n[[rules]]\nmatch = \"*.css\"\ncache_control = \"max-age=1\"";
        let plain = || options(&clock, "encodings = [\"gzip\"]");
        publish(&site, &storage, &plain()).await.unwrap();
        publish(&site, &storage, &options(&clock, rule)).await.unwrap();
        rollback(&storage, None, &plain()).await.unwrap();
        let published = publish(&site, &storage, &options(&clock, rule)).await.unwrap();
        assert_eq!((published.is_new, published.uploaded), (true, 0));
        assert_eq!(published.headers_replaced, 2);
        let style = name_of(&site, "css/app.css");
        for key in [style.to_owned(), format!("{style}.gz")] {
            let metadata = storage.stat(&key).await.unwrap().metadata;
            assert_eq!(metadata.cache_control.as_deref(), Some("max-age=1"), "{key}");
        }
    }
}

#[tokio::test]
async fn a_file_that_becomes_a_directory_is_refused_on_a_disk_before_anything_changes() {
    let (_directory, [_, storage]) = destinations();
    let clock = Clock::new();
    let before = site_of(vec![page("index.html", b"v1"), page("team.html", b"v1")]);
    let after = site_of(vec![
        hashed("team.html/app.css", b"a"),
        page("index.html", b"v2"),
        page("team.html/index.html", b"v2"),
    ]);
    publish(&before, &storage, &clock.options()).await.unwrap();
    let keys = storage.list("").keys().await.unwrap().len();
    let error = publish(&after, &storage, &clock.options()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict);
    assert_eq!(error.key(), Some(name_of(&after, "team.html/app.css")));
    let message = error.message();
    assert!(message.contains("\"team.html/index.html\"; nothing visible was changed"), "{message}");
    assert_eq!(pages(&storage).await, pages_of(&before));
    assert_eq!(storage.list("").keys().await.unwrap().len(), keys);
    assert!(releases(&storage).await.unwrap().switching.is_none());

    // What the message advises.
    let without = site_of(vec![page("index.html", b"v2")]);
    let at_once = clock.options().keep(1).grace(Duration::ZERO);
    publish(&without, &storage, &at_once).await.unwrap();
    publish(&after, &storage, &clock.options()).await.unwrap();
    assert_eq!(pages(&storage).await, pages_of(&after));
}

#[tokio::test]
async fn a_directory_that_becomes_a_file_is_refused_on_a_disk_before_anything_changes() {
    let (_directory, [_, storage]) = destinations();
    let clock = Clock::new();
    let before = site_of(vec![page("docs/index.html", b"v1"), page("index.html", b"v1")]);
    let after = site_of(vec![page("docs", b"v2"), page("index.html", b"v2")]);
    publish(&before, &storage, &clock.options()).await.unwrap();
    let error = publish(&after, &storage, &clock.options()).await.unwrap_err();
    assert_eq!((error.kind(), error.key()), (ErrorKind::Conflict, Some("docs")));
    assert_eq!(pages(&storage).await, pages_of(&before));
}

#[tokio::test]
async fn a_file_may_become_a_directory_in_a_storage_of_objects() {
    let (storage, clock) = (Memory::storage(), Clock::new());
    let before = site_of(vec![page("team.html", b"v1")]);
    let after = site_of(vec![page("team.html/index.html", b"v2")]);
    publish(&before, &storage, &clock.options()).await.unwrap();
    publish(&after, &storage, &clock.options()).await.unwrap();
    assert_eq!(text(&storage, "team.html/index.html").await, "v2");
    let keys = storage.list("").keys().await.unwrap();
    assert!(!keys.iter().any(|key| key.as_str().ends_with("probe")), "{keys:?}");
}
