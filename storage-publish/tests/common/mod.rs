//! A small site in several versions, and checks of what a destination shows.
#![allow(
    clippy::unwrap_used,
    dead_code,
    unreachable_pub,
    reason = "not every test file uses all of it"
)]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use storage_core::{Checksum, ChecksumAlgorithm, Storage};
use storage_publish::testing::{hashed, page};
use storage_publish::{
    Asset, Manifest, Naming, POINTER_KEY, PublishOptions, RESERVED_PREFIX, Site, releases,
};

/// A clock that stands still until a test moves it.
#[derive(Clone, Debug)]
pub struct Clock(Arc<AtomicU64>);

impl Clock {
    pub fn new() -> Self {
        Self(Arc::new(AtomicU64::new(1_800_000_000)))
    }

    pub fn now(&self) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(self.0.load(Ordering::SeqCst))
    }

    pub fn advance(&self, time: Duration) {
        self.0.fetch_add(time.as_secs(), Ordering::SeqCst);
    }

    pub fn options(&self) -> PublishOptions {
        self.with(PublishOptions::new())
    }

    pub fn with(&self, options: PublishOptions) -> PublishOptions {
        let clock = self.clone();
        options.clock(move || clock.now())
    }
}

pub fn day() -> Duration {
    Duration::from_secs(24 * 3600)
}

pub fn site_of(assets: Vec<Asset>) -> Site {
    let mut site = Site::default();
    site.assets = assets;
    site
}

/// A site whose style and start page differ by version. Pages have one asset a line.
pub fn site(version: &str) -> Site {
    let font = hashed("fonts/text.woff2", b"the font");
    let style = hashed("css/app.css", format!("{version} {}", "a { b: c } ".repeat(50)).as_bytes());
    let script = hashed("app.js", b"run()");
    let index = format!("{}\n{}\n{}", style.name, script.name, font.name);
    let about = script.name.clone();
    site_of(vec![
        font,
        script,
        style,
        page("index.html", index.as_bytes()),
        page("about.html", about.as_bytes()),
        page("robots.txt", b""),
    ])
}

pub fn name_of<'a>(site: &'a Site, path: &str) -> &'a str {
    &site.assets.iter().find(|asset| asset.path == path).unwrap().name
}

pub async fn text(storage: &Storage, key: &str) -> String {
    storage.open(key).await.unwrap().text().await.unwrap()
}

/// The pages that visitors of a bare bucket see.
pub async fn pages(storage: &Storage) -> BTreeMap<String, String> {
    let mut pages = BTreeMap::new();
    for key in storage.list("").keys().await.unwrap() {
        let is_page = key.as_str().ends_with(".html") || key.as_str() == "robots.txt";
        if is_page && !key.as_str().starts_with(RESERVED_PREFIX) {
            pages.insert(key.to_string(), text(storage, key.as_str()).await);
        }
    }
    pages
}

pub fn pages_of(site: &Site) -> BTreeMap<String, String> {
    let pages = site.assets.iter().filter(|asset| asset.naming == Naming::Fixed);
    pages
        .map(|asset| match &asset.content {
            storage_publish::Content::Rewritten(bytes) => {
                (asset.name.clone(), String::from_utf8(bytes.to_vec()).unwrap())
            }
            _ => unreachable!("pages of these tests are in memory"),
        })
        .collect()
}

/// Checks that every asset of every page that visitors see is there.
pub async fn assert_no_page_lacks_an_asset(storage: &Storage) {
    for (page, assets) in pages(storage).await {
        for asset in assets.lines() {
            assert!(storage.exists(asset).await.unwrap(), "{page} lacks {asset}");
        }
    }
}

/// Checks that the pointer names a release whose manifest and objects are there and whole.
pub async fn assert_current_release_is_whole(storage: &Storage) {
    let Some(current) = releases(storage).await.unwrap().current else { return };
    let manifest = Manifest::read(storage, &current.release).await.unwrap();
    for (path, entry) in &manifest.entries {
        let bytes = storage.open(entry.object_key()).await.unwrap().bytes().await.unwrap();
        let sha256 = Checksum::of(ChecksumAlgorithm::Sha256, &bytes);
        let expected = entry.body.as_ref().map_or(entry.sha256, |body| body.sha256);
        assert_eq!(sha256.value(), expected.0, "{path}");
        for sibling in entry.encodings.values() {
            assert_eq!(storage.stat(&*sibling.name).await.unwrap().size, sibling.size, "{path}");
        }
    }
}

/// Checks that a site is the current release, and that visitors see it.
pub async fn assert_shows(storage: &Storage, site: &Site) {
    assert_current_release_is_whole(storage).await;
    assert_no_page_lacks_an_asset(storage).await;
    let releases = releases(storage).await.unwrap();
    assert_eq!((&releases.switching, &releases.claim), (&None, &None));
    let manifest = Manifest::read(storage, &releases.current.unwrap().release).await.unwrap();
    let names = |paths: &[(&String, &String)]| format!("{paths:?}");
    let published: Vec<_> =
        manifest.entries.iter().map(|(path, entry)| (path, &entry.name)).collect();
    let mut expected: Vec<_> = site.assets.iter().map(|asset| (&asset.path, &asset.name)).collect();
    expected.sort();
    assert_eq!(names(&published), names(&expected));
    let shown = pages(storage).await;
    for (name, text) in pages_of(site) {
        assert_eq!(shown.get(&name), Some(&text), "{name}");
    }
}

pub async fn pointer(storage: &Storage) -> String {
    text(storage, POINTER_KEY).await
}
