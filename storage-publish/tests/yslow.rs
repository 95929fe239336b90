//! The rules of YSlow for static files: far-future `Expires`, gzip, ETags, and types.
#![cfg(feature = "serve")]
#![allow(clippy::unwrap_used, reason = "a failed step fails the test")]

use std::io::Read;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::{HeaderMap, Request, StatusCode};
use http_body_util::BodyExt;
use storage_core::Memory;
use storage_publish::{
    Manifest, ManifestEntry, Naming, PublishConfig, PublishOptions, ServedRelease, Site,
    SiteOptions, publish,
};
use storage_serve::website::Website;

const CONFIG: &str = r#"
encodings = ["gzip"]

[[rules]]
match = "assets/**"
expires = "1y"
"#;

const PAGE: &str = "<!DOCTYPE html><link rel=stylesheet href=assets/app.css>\n";

/// The files of the site, and their types.
const FILES: [(&str, &str, &str); 8] = [
    ("index.html", PAGE, "text/html"),
    ("assets/app.css", "p { background: url(paper.svg) }\n", "text/css"),
    ("assets/app.js", "run('a value');\n", "text/javascript"),
    ("assets/paper.svg", "<svg xmlns='http://www.w3.org/2000/svg'></svg>\n", "image/svg+xml"),
    ("assets/data.json", "[1, 2, 3, 4]", "application/json"),
    ("assets/photo.png", "PNG", "image/png"),
    ("assets/text.woff2", "wOF2", "font/woff2"),
    ("robots.txt", "User-agent: *\n", "text/plain"),
];

/// Types that do not get smaller.
const COMPRESSED: [&str; 2] = ["image/png", "font/woff2"];

/// A website of one release.
struct Scene {
    website: Website,
    manifest: Manifest,
}

/// What a client received.
struct Received {
    status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
}

impl Scene {
    async fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        std::fs::create_dir(directory.path().join("assets")).unwrap();
        for (path, text, _) in FILES {
            // Spaces make it worth compressing, and change nothing.
            let text = format!("{text}{}", " ".repeat(400));
            std::fs::write(directory.path().join(path), text).unwrap();
        }
        let config: PublishConfig = toml::from_str(CONFIG).unwrap();
        let site = Site::build(directory.path(), SiteOptions::default()).await.unwrap();
        let destination = Memory::storage();
        let options = PublishOptions::from_config(&config).unwrap();
        let release = publish(&site, &destination, &options).await.unwrap().release;
        let manifest = Manifest::read(&destination, &release).await.unwrap();
        let served = ServedRelease::load(&destination).await.unwrap();
        Self { website: Website::new(destination, served), manifest }
    }

    fn entry(&self, path: &str) -> &ManifestEntry {
        &self.manifest.entries[path]
    }

    async fn get(&self, path: &str, accepted: &str, version: &str) -> Received {
        let request = Request::get(format!("/{}", self.entry(path).name))
            .header("accept-encoding", accepted)
            .header("if-none-match", version);
        let (head, body) = self.website.handle(request.body(()).unwrap()).await.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        Received { status: head.status, headers: head.headers, body }
    }
}

impl Received {
    fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    fn etag(&self) -> &str {
        self.header("etag").unwrap()
    }
}

#[tokio::test]
async fn hashed_files_have_a_far_future_expires() {
    let scene = Scene::new().await;
    let far = SystemTime::now() + Duration::from_secs(360 * 24 * 3600);
    let mut hashed = 0;
    for (path, entry) in &scene.manifest.entries {
        let received = scene.get(path, "gzip", "\"\"").await;
        assert_eq!(received.status, StatusCode::OK, "{path}");
        let expires =
            received.header("expires").map(|text| httpdate::parse_http_date(text).unwrap());
        if entry.naming == Naming::Fixed {
            assert_eq!((expires, received.header("cache-control")), (None, Some("no-cache")));
            continue;
        }
        hashed += 1;
        assert!(expires.unwrap() > far, "{path}: {expires:?}");
        let control = received.header("cache-control");
        assert_eq!(control, Some("public, max-age=31536000, immutable"), "{path}");
    }
    assert_eq!(hashed, FILES.len() - 2);
}

#[tokio::test]
async fn text_is_served_with_gzip() {
    let scene = Scene::new().await;
    for (path, _, content_type) in FILES {
        let plain = scene.get(path, "identity", "\"\"").await;
        assert_eq!(plain.header("content-encoding"), None, "{path}");
        let received = scene.get(path, "gzip, br", "\"\"").await;
        if COMPRESSED.contains(&content_type) {
            assert_eq!(received.header("content-encoding"), None, "{path}");
            assert_eq!(received.body, plain.body, "{path}");
            continue;
        }
        assert_eq!(received.header("content-encoding"), Some("gzip"), "{path}");
        assert_eq!(received.header("vary"), Some("accept-encoding"), "{path}");
        assert!(received.body.len() < plain.body.len() / 2, "{path}");
        let mut decoded = Vec::new();
        flate2::read::GzDecoder::new(&received.body[..]).read_to_end(&mut decoded).unwrap();
        assert_eq!(decoded, plain.body, "{path}");
    }
}

#[tokio::test]
async fn files_have_etags() {
    let scene = Scene::new().await;
    let mut forms = Vec::new();
    for (path, _, content_type) in FILES {
        for accepted in ["identity", "gzip"] {
            let received = scene.get(path, accepted, "\"\"").await;
            let etag = received.etag().to_owned();
            assert!(etag.starts_with('"'), "{path}: {etag} is not strong");
            let again = scene.get(path, accepted, &etag).await;
            assert_eq!(again.status, StatusCode::NOT_MODIFIED, "{path}, {accepted}");
            assert!(again.body.is_empty(), "{path}, {accepted}");
            assert_eq!(again.etag(), etag, "{path}, {accepted}");
            assert_eq!(again.header("vary"), received.header("vary"), "{path}, {accepted}");
            if accepted == "identity" || !COMPRESSED.contains(&content_type) {
                forms.push(etag);
            }
        }
    }
    let count = forms.len();
    forms.sort();
    forms.dedup();
    assert_eq!(forms.len(), count, "each form of each file has its own ETag");
}

#[tokio::test]
async fn files_have_their_types() {
    let scene = Scene::new().await;
    for (path, _, content_type) in FILES {
        for accepted in ["identity", "gzip"] {
            let received = scene.get(path, accepted, "\"\"").await;
            let found = received.header("content-type").unwrap();
            assert_eq!(found.split(';').next(), Some(content_type), "{path}");
            assert_eq!(received.header("x-content-type-options"), Some("nosniff"), "{path}");
        }
    }
}
