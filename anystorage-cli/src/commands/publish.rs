//! `publish`: makes a directory the website of a destination.

use std::error::Error as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anystorage::publish::{
    self, Problems, PublishOptions, PublishPlan, Published, Site, SiteOptions,
};
use anystorage::transfer::Stop;
use serde_json::json;

use crate::compare::overlaps_directory;
use crate::exit::{ExitStatus, Failure, print_line};
use crate::location::Location;
use crate::output::Output;
use crate::progress::Progress;
use crate::publishing::{self, Section};
use crate::resolver::{Resolver, Setup};
use crate::{sizes, verbosity};

/// How many problems of the files of a site are printed.
const MAX_PROBLEMS: usize = 50;

/// Publish the static files of a website, with hashed names and in the right order
///
/// Files get names with a hash of their content, and references to them are rewritten. Pages keep
/// their names, and become visible after all their files. The last releases can be restored with
/// `anystorage rollback`. The table [publish] of the configuration file has the rules for headers,
/// encodings and names: see docs/publish.md.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  anystorage publish ./dist site:                   publish a build
  anystorage publish -n ./dist s3://bucket/www      show what would be uploaded and deleted
  anystorage publish --keep 5 --grace 30d ./dist site:

Exit codes: 0 the site is published; 1 a reference names no file, or another failure: nothing
visible was changed unless the message says so; 2 wrong usage or configuration; 75 interrupted,
another publisher is at work, or a service is unavailable: run again.")]
pub(crate) struct Args {
    /// The table of the configuration file; defaults to publish
    #[arg(long, value_name = "NAME")]
    config_section: Option<String>,
    /// Print what the command would do, one line for each key (+ uploaded, * new headers, > page
    /// written, - deleted), and change nothing
    #[arg(short = 'n', long)]
    dry_run: bool,
    /// The number of releases to keep, with the new one; defaults to 3
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    keep: Option<u32>,
    /// How long the files of a release stay after it was replaced; defaults to 7d
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    grace: Option<Duration>,
    /// Print the result as one JSON object
    #[arg(long)]
    json: bool,
    /// The directory with the files
    #[arg(value_name = "DIR")]
    directory: PathBuf,
    /// The directory to publish to: NAME:PREFIX, a URL or a local path
    #[arg(value_name = "DEST")]
    destination: Location,
}

pub(crate) async fn run(args: Args, setup: Setup, stop: &Stop) -> Result<ExitStatus, Failure> {
    let mut resolver = Resolver::without_storages(setup);
    let section = Section::read(&resolver, args.config_section.as_deref())?;
    let (place, destination) = publishing::destination(&mut resolver, &args.destination)?;
    if overlaps_directory(&place, &args.directory) {
        let line = "DIR and DEST contain each other, so that the published files would be read as \
                    files of the site, or replace them; nothing was changed";
        return Err(Failure::usage(format!("{place}: {line}")));
    }
    let mut options = section.options(&mut resolver, &place, stop)?;
    if let Some(keep) = args.keep {
        options = options.keep(keep);
    }
    if let Some(grace) = args.grace {
        options = options.grace(grace);
    }
    let site = build(&args.directory, section.config.site_options(), stop).await?;
    let mut output = Output::new();
    if args.dry_run {
        let plan = publish::plan(&site, &destination, &options).await;
        let plan = plan.map_err(|error| publishing::failure(&place, &error))?;
        write_plan(&mut output, &plan, args.json)?;
        output.flush()?;
        return Ok(ExitStatus::Success);
    }
    let progress = Progress::keys();
    let options = shown(options, &progress);
    let published = publish::publish(&site, &destination, &options).await;
    progress.clear();
    let published = published.map_err(|error| publishing::failure(&place, &error))?;
    write(&mut output, &published, args.json)?;
    output.flush()?;
    let (purge, cleanup) = (published.purge_error, published.cleanup_error);
    Ok(publishing::report_leftovers(&place, stop, purge, cleanup))
}

/// Shows each object that is stored.
fn shown(options: PublishOptions, progress: &Progress) -> PublishOptions {
    let Some(on_bytes) = progress.on_bytes() else { return options };
    let progress = progress.clone();
    options.on_stored(move |key, size| {
        progress.count_key(key, None);
        on_bytes(size);
    })
}

/// Reads the directory. Prints each problem of its files, and warnings.
async fn build(directory: &Path, options: SiteOptions, stop: &Stop) -> Result<Site, Failure> {
    let shown = directory.display().to_string();
    let shown = shown.trim_end_matches('/');
    let built = tokio::select! {
        built = Site::build(directory, options) => built,
        () = stop.stopped() => {
            print_line("stopped; nothing was changed: run again");
            return Err(Failure::silent(ExitStatus::RunAgain));
        }
    };
    let site = built.map_err(|error| {
        let Some(problems) = error.source().and_then(|source| source.downcast_ref::<Problems>())
        else {
            let key = error.key().map(|key| format!("/{key}")).unwrap_or_default();
            return Failure::local(&format!("{shown}{key}"), &error);
        };
        let problems = problems.all();
        for problem in problems.iter().take(MAX_PROBLEMS) {
            print_line(&format!("{shown}/{problem}"));
        }
        let (count, s) = (problems.len(), if problems.len() == 1 { "" } else { "s" });
        print_line(&format!(
            "{shown}: nothing was published because of {count} problem{s}: correct the files, or \
             set ignore_references or verbatim in the table [publish]"
        ));
        Failure::silent(ExitStatus::Failed)
    })?;
    for warning in &site.warnings {
        verbosity::note(&format!("{shown}/{warning}"));
    }
    if site.assets.is_empty() {
        verbosity::note(&format!("{shown}: there are no files to publish, so the site is empty"));
    }
    Ok(site)
}

fn write(output: &mut Output, published: &Published, json: bool) -> Result<(), Failure> {
    let Published { release, is_new, uploaded, uploaded_bytes, pages, deleted, .. } = published;
    let (headers, unchanged) = (published.headers_replaced, published.unchanged);
    if json {
        return output.json(&json!({
            "release": release,
            "new": is_new,
            "uploaded": uploaded,
            "bytes": uploaded_bytes,
            "headers": headers,
            "pages": pages,
            "unchanged": unchanged,
            "deleted": deleted,
        }));
    }
    let what = if *is_new { "is current" } else { "is current already" };
    let (bytes, pages) = (sizes::human(*uploaded_bytes), publishing::pages(*pages));
    output.line(&format!(
        "release {release} {what}: {uploaded} uploaded ({bytes}), {headers} with new headers, \
         {pages}, {unchanged} unchanged, {deleted} deleted"
    ))
}

fn write_plan(output: &mut Output, plan: &PublishPlan, json: bool) -> Result<(), Failure> {
    let bytes = plan.uploads.iter().map(|(_, size)| size).sum::<u64>();
    if json {
        return output.json(&json!({
            "new": plan.is_new,
            "uploads": plan.uploads.iter().map(|(key, _)| key).collect::<Vec<_>>(),
            "bytes": bytes,
            "encodings": plan.encodings,
            "headers": plan.headers,
            "pages": plan.pages,
            "deletions": plan.deletions,
            "unchanged": plan.unchanged,
        }));
    }
    let uploads = plan.uploads.iter().map(|(key, _)| key).chain(&plan.encodings);
    for (symbol, keys) in [
        ('+', uploads.collect::<Vec<_>>()),
        ('*', plan.headers.iter().collect()),
        ('>', plan.pages.iter().collect()),
        ('-', plan.deletions.iter().collect()),
    ] {
        for key in keys {
            output.line(&format!("{symbol} {key}"))?;
        }
    }
    verbosity::note(&format!(
        "{} would be uploaded ({}), {} would get new headers, {} would be written, {} would be \
         deleted, {} unchanged",
        plan.uploads.len() + plan.encodings.len(),
        sizes::human(bytes),
        plan.headers.len(),
        publishing::pages(plan.pages.len() as u64),
        plan.deletions.len(),
        plan.unchanged
    ));
    Ok(())
}
