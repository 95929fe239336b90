//! A website with pages that an application renders, and static files that are published.
//!
//! [`publish`] stores the files below a destination. [`router`] serves them from there, with the
//! pages of the application. [`development_router`] serves them from the directory as they are.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anystorage::fs::Fs;
use anystorage::publish::templates::minijinja::add_functions;
use anystorage::publish::{
    Assets, PublishConfig, PublishOptions, Published, ServedRelease, Site, publish as publish_site,
};
use anystorage::serve::website::Website;
use anystorage::serve::{ActiveContent, Serve};
use anystorage::{Error, Result, Storage};
use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Html;
use axum::routing::get;
use minijinja::{Environment, context};
use serde::Deserialize;

/// The directory with the files of the website.
pub const SITE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/site");

/// How often the application looks for another release.
const REFRESH_PAUSE: Duration = Duration::from_secs(1);

/// The part of `site.toml` that says how the website is published.
#[derive(Debug, Deserialize)]
struct Config {
    publish: PublishConfig,
}

/// Publishes a directory to a destination.
///
/// # Errors
/// Those of [`Site::build`] and [`anystorage::publish::publish`].
pub async fn publish(directory: impl AsRef<Path>, destination: &Storage) -> Result<Published> {
    let config: Config = toml::from_str(include_str!("../site.toml"))
        .map_err(|error| Error::unexpected("site.toml is invalid", error))?;
    let site = Site::build(directory.as_ref(), config.publish.site_options()).await?;
    publish_site(&site, destination, &PublishOptions::from_config(&config.publish)?).await
}

/// Returns the application on the release that the destination has, and the names of its files.
///
/// # Errors
/// `NotFound` if nothing was published yet.
pub async fn router(destination: &Storage) -> Result<(Router, Assets)> {
    let assets = Assets::load(destination).await?;
    let release = ServedRelease::load(destination).await?;
    let website = Website::new(destination.clone(), release);
    Ok((pages(&assets)?.fallback_service(website), assets))
}

/// Loads each new release. Names of the release before stay valid meanwhile, for its grace.
pub async fn keep_current(assets: Assets) {
    loop {
        tokio::time::sleep(REFRESH_PAUSE).await;
        if let Err(error) = assets.refresh().await {
            eprint_error(&error);
        }
    }
}

/// Returns the application on the files of a directory, under their plain names. A changed file is
/// visible at once.
///
/// # Errors
/// Those of opening the directory.
pub fn development_router(directory: impl AsRef<Path>) -> Result<Router> {
    let files = Storage::new(Fs::builder(directory.as_ref()).build()?).read_only();
    // The developer has written the scripts.
    let files = Serve::new(files).active_content(ActiveContent::Inline);
    Ok(pages(&Assets::development(directory))?.fallback_service(files))
}

#[derive(Clone, Debug)]
struct App {
    templates: Arc<Environment<'static>>,
    views: Arc<AtomicU64>,
}

/// Returns the pages that the application renders.
fn pages(assets: &Assets) -> Result<Router> {
    let mut templates = Environment::new();
    add_functions(&mut templates, assets);
    templates
        .add_template("home.html", include_str!("../templates/home.html"))
        .map_err(|error| Error::unexpected("a template is invalid", error))?;
    let app = App { templates: Arc::new(templates), views: Arc::default() };
    Ok(Router::new().route("/", get(home)).with_state(app))
}

async fn home(State(App { templates, views }): State<App>) -> Result<Html<String>, StatusCode> {
    let views = views.fetch_add(1, Ordering::Relaxed) + 1;
    let page = templates.get_template("home.html").and_then(|page| page.render(context! { views }));
    // A name that the release does not have is an error, so that no page refers to nothing.
    page.map(Html).map_err(|error| {
        eprint_error(&error);
        StatusCode::INTERNAL_SERVER_ERROR
    })
}

#[allow(clippy::print_stderr, reason = "the log of this example")]
fn eprint_error(error: &dyn std::error::Error) {
    eprintln!("{error}");
}

// Compiles the examples of the page about publishing.
#[cfg(doctest)]
#[doc = include_str!("../../../docs/publish.md")]
struct Manual;
