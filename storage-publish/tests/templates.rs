//! Names of published files in templates of askama, minijinja and Tera.
#![cfg(all(feature = "askama", feature = "minijinja", feature = "tera"))]
#![allow(clippy::unwrap_used, reason = "a failed step fails the test")]

mod common;

use std::error::Error;

use askama::Template;
use common::Clock;
use minijinja::Environment;
use storage_core::Memory;
use storage_publish::templates::askama::{asset_integrity, asset_preload, asset_url};
use storage_publish::templates::{minijinja::add_functions, tera::register_functions};
use storage_publish::testing::hashed;
use storage_publish::{Assets, publish};
use tera::{Context, Tera};

#[derive(Template)]
#[template(
    ext = "html",
    source = r#"{{ self::asset_preload(assets, "css/site.css")? }}
<link href="{{ self::asset_url(assets, "css/site.css")? }}" integrity="{{ self::asset_integrity(assets, "css/site.css")? }}">"#
)]
struct AskamaPage {
    assets: Assets,
}

#[derive(Template)]
#[template(ext = "html", source = "{{ self::asset_url(assets, path)? }}")]
struct AskamaUrl<'a> {
    assets: Assets,
    path: &'a str,
}

const JINJA: &str = r#"{{ asset_preload("css/site.css") }}
<link href="{{ asset_url("css/site.css") }}" integrity="{{ asset_integrity("css/site.css") }}">"#;

const TERA: &str = r#"{{ asset_preload(path="css/site.css") }}
<link href="{{ asset_url(path="css/site.css") }}" integrity="{{ asset_integrity(path="css/site.css") }}">"#;

/// The result or the messages of the error, with those of its sources.
type Rendered = Result<String, String>;

fn messages(error: &dyn Error) -> String {
    let (mut messages, mut source) = (error.to_string(), error.source());
    while let Some(error) = source {
        messages += &format!(": {error}");
        source = error.source();
    }
    messages
}

fn minijinja(assets: &Assets, template: &str) -> Rendered {
    let mut environment = Environment::new();
    add_functions(&mut environment, assets);
    let rendered = environment.render_named_str("page.html", template, ());
    rendered.map_err(|error| messages(&error))
}

fn tera(assets: &Assets, template: &str) -> Rendered {
    let mut tera = Tera::default();
    register_functions(&mut tera, assets);
    tera.add_raw_template("page.html", template).unwrap();
    tera.render("page.html", &Context::new()).map_err(|error| messages(&error))
}

/// Renders the page in each engine.
fn pages(assets: &Assets) -> [String; 3] {
    let askama = AskamaPage { assets: assets.clone() }.render().unwrap();
    [askama, minijinja(assets, JINJA).unwrap(), tera(assets, TERA).unwrap()]
}

async fn published(path: &str) -> Assets {
    let storage = Memory::storage();
    let site = common::site_of(vec![hashed(path, b"a{}")]);
    publish(&site, &storage, &Clock::new().options()).await.unwrap();
    Assets::load(&storage).await.unwrap()
}

#[tokio::test]
async fn every_engine_renders_url_integrity_and_preload_of_a_published_file() {
    let assets = published("css/site.css").await;
    let url = assets.url("css/site.css").unwrap();
    let integrity = assets.integrity("css/site.css").unwrap().unwrap();
    let preload = assets.preload("css/site.css").unwrap();
    for page in pages(&assets) {
        let expected = format!("{preload}\n<link href=\"{url}\" integrity=\"{integrity}\">");
        assert_eq!(page, expected);
    }
}

#[test]
fn every_engine_renders_plain_names_and_no_integrity_in_development() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::create_dir(directory.path().join("css")).unwrap();
    std::fs::write(directory.path().join("css/site.css"), "").unwrap();
    for page in pages(&Assets::development(directory.path())) {
        assert!(page.ends_with("<link href=\"/css/site.css\" integrity=\"\">"), "{page}");
    }
}

#[tokio::test]
async fn an_unknown_name_is_an_error_of_the_rendering_that_names_the_asset() {
    let assets = published("css/site.css").await;
    let askama = AskamaUrl { assets: assets.clone(), path: "css/sight.css" }.render();
    for rendered in [
        askama.map_err(|error| messages(&error)),
        minijinja(&assets, "{{ asset_url('css/sight.css') }}"),
        minijinja(&assets, "{{ asset_integrity('css/sight.css') }}"),
        minijinja(&assets, "{{ asset_preload('css/sight.css') }}"),
        tera(&assets, "{{ asset_url(path='css/sight.css') }}"),
        tera(&assets, "{{ asset_integrity(path='css/sight.css') }}"),
        tera(&assets, "{{ asset_preload(path='css/sight.css') }}"),
    ] {
        let message = rendered.unwrap_err();
        assert!(message.contains("the site has no file \"css/sight.css\""), "{message}");
    }
}

#[tokio::test]
async fn a_name_with_characters_of_html_is_escaped_once() {
    let assets = published("a&b.css").await;
    let url = assets.url("a&b.css").unwrap();
    let escaped = url.replace('&', "&amp;");
    let askama = AskamaUrl { assets: assets.clone(), path: "a&b.css" }.render().unwrap();
    let minijinja = minijinja(&assets, "{{ asset_url('a&b.css') }}").unwrap();
    let tera = tera(&assets, "{{ asset_url(path='a&b.css') }}").unwrap();
    assert_eq!([askama, minijinja, tera], [&*escaped; 3]);
}

#[tokio::test]
async fn a_template_that_was_added_before_a_refresh_shows_the_new_release() {
    let (storage, clock) = (Memory::storage(), Clock::new());
    let site = |text: &[u8]| common::site_of(vec![hashed("site.css", text)]);
    publish(&site(b"1"), &storage, &clock.options()).await.unwrap();
    let assets = Assets::load(&storage).await.unwrap();
    let mut environment = Environment::new();
    add_functions(&mut environment, &assets);
    environment.add_template("page.html", "{{ asset_url('site.css') }}").unwrap();
    let render = || environment.get_template("page.html").unwrap().render(()).unwrap();
    let before = render();
    publish(&site(b"2"), &storage, &clock.options()).await.unwrap();
    assert!(assets.refresh().await.unwrap());
    assert_ne!(render(), before);
    assert_eq!(render(), *assets.url("site.css").unwrap());
}
