//! A published website behind `serve --website` and behind the mirror.

use anystorage::publish::{Encoding, PublishConfig, PublishOptions, Site, publish, rollback};
use std::time::{Duration, Instant};

use anystorage::Storage;
use anystorage::fs::Fs;

use crate::mirror::{FILES, Mirror, configured};
use crate::serving::Server;
use crate::support::Sandbox;

/// The time limit of every wait, far above what the tests take.
const PATIENCE: Duration = Duration::from_secs(120);

/// The website of a sandbox, below `media`.
struct Published {
    sandbox: Sandbox,
    runtime: tokio::runtime::Runtime,
    destination: Storage,
}

impl Published {
    fn new() -> Self {
        let sandbox = Sandbox::new();
        std::fs::create_dir_all(sandbox.path("media")).unwrap();
        let destination = Storage::new(Fs::builder(sandbox.path("media")).build().unwrap());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let published = Self { sandbox, runtime, destination };
        published.publish("1");
        published
    }

    /// Publishes a page that names its version and has a style.
    fn publish(&self, version: &str) {
        let style = format!("/* {version} */ {}", "a { color: red } ".repeat(50));
        self.sandbox.write("dist/site.css", style);
        let page = format!("<link rel=stylesheet href=site.css><p>version {version}");
        self.sandbox.write("dist/index.html", page);
        self.sandbox.write("dist/404.html", "<p>no such page");
        let mut config = PublishConfig::default();
        config.encodings = vec![Encoding::Gzip];
        let options = PublishOptions::from_config(&config).unwrap();
        let directory = self.sandbox.path("dist");
        self.runtime.block_on(async {
            let site = Site::build(&directory, config.site_options()).await.unwrap();
            assert!(publish(&site, &self.destination, &options).await.unwrap().is_new);
        });
    }

    fn roll_back(&self) {
        let options = PublishOptions::new();
        self.runtime.block_on(rollback(&self.destination, None, &options)).unwrap();
    }
}

/// Returns the path of the style that a page loads.
fn style_of(page: &str) -> String {
    let name = page.split("href=").nth(1).unwrap().split('>').next().unwrap();
    format!("/{}", name.trim_matches('"'))
}

/// Requests until a page shows a version, and the style of that page. The server looks for another
/// release once a second.
fn expect_version(version: &str, get: impl Fn(&str) -> String) {
    let (text, began) = (format!("version {version}"), Instant::now());
    loop {
        let page = get("/");
        // A page of another release has its style too.
        assert!(get(&style_of(&page)).starts_with("HTTP/1.1 200"), "{page}");
        if page.contains(&text) {
            return;
        }
        assert!(began.elapsed() < PATIENCE, "{text} was never shown");
    }
}

#[test]
fn serve_shows_each_release_of_a_published_website() {
    let published = Published::new();
    let server = Server::start(&published.sandbox, &["media:", "--website"]);
    let get = |path: &str| server.get(path);
    expect_version("1", get);
    let style = style_of(&server.get("/"));
    let request = format!("HEAD {style}");
    let encoded = server.request(&request, "Accept-Encoding: br, gzip\r\n", "").to_lowercase();
    assert!(encoded.contains("content-encoding: gzip\r\n"), "{encoded}");
    assert!(encoded.contains("vary: accept-encoding\r\n"), "{encoded}");
    for path in ["/nothing", "/.anystorage-publish/current.json", "/index.html/"] {
        let missing = server.get(path);
        assert!(missing.starts_with("HTTP/1.1 404") && missing.ends_with("<p>no such page"));
    }
    published.publish("2");
    expect_version("2", get);
    published.roll_back();
    expect_version("1", get);
}

#[test]
fn serve_refuses_a_place_without_a_release_and_writes() {
    let sandbox = Sandbox::new();
    sandbox.put("media:a.txt", "a");
    let error = sandbox.run(&["serve", "media:", "--website"]).failed(1);
    assert!(error.contains("media:"), "{error}");
    for option in ["--writable", "--uploads"] {
        sandbox.run(&["serve", "media:", "--website", option]).failed(2);
    }
}

#[test]
fn the_mirror_shows_each_release_of_a_published_website() {
    let published = Published::new();
    let options = "website = true\nadmin_listen = \"127.0.0.1:0\"";
    published.sandbox.write("mirror.toml", configured(FILES, options));
    let mirror = Mirror::start(&published.sandbox);
    let get = |path: &str| mirror.request(&format!("GET {path}"));
    expect_version("1", get);
    published.publish("2");
    expect_version("2", get);
    published.roll_back();
    expect_version("1", get);
    let missing = get("/metrics");
    assert!(missing.starts_with("HTTP/1.1 404") && missing.ends_with("<p>no such page"));
}
