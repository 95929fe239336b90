//! Builds a [`Site`] from a directory.

use std::collections::{BTreeSet, HashMap};
use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use storage_core::{Error, ErrorKind, Key, Result};

use super::Site;
use super::asset::{Asset, Naming};
use super::graph::groups;
use super::integrity;
use super::links::{Links, PathEnd, Reader};
use super::naming::{NamingRules, hashed_path};
use super::options::SiteOptions;
use super::problems::Problems;
use super::render::{Rendered, Renderer};
use super::scan::Language;
use super::spool::Spool;
use super::walk::{Source, walk};

/// The largest number of files that are read at once.
const MAX_THREADS: usize = 8;

impl Site {
    /// Reads a directory and returns its files as they are published: with their final names, and
    /// with the references between them rewritten.
    ///
    /// The work runs on the blocking pool of tokio. Dropping the future stops it after the files
    /// that are read at that moment. The directory is only read.
    ///
    /// # Errors
    /// - `InvalidInput` if a reference names no file, a file cannot be read by the rules of its
    ///   language, a pattern is invalid, or there is a symbolic link; the source of an error in
    ///   files is [`Problems`], with file, line and column of each.
    /// - `InvalidKey` if a path is no [`Key`].
    /// - `TooLarge` if a file with references is larger than
    ///   [`max_text_bytes`](SiteOptions::max_text_bytes).
    /// - `Conflict` if a file changed during the call, or if two files have one name.
    /// - The kind of the error of the operating system if a file cannot be read.
    ///
    /// # Panics
    /// Panics if there is no tokio runtime.
    pub async fn build(directory: impl Into<PathBuf>, options: SiteOptions) -> Result<Self> {
        let directory = directory.into();
        let stopped = StopOnDrop(Arc::default());
        let flag = Arc::clone(&stopped.0);
        let work = move || build(&directory, &options, &flag);
        let result = tokio::task::spawn_blocking(work).await;
        result.map_err(|error| Error::unexpected("building the site was aborted", error))?
    }
}

struct StopOnDrop(Arc<AtomicBool>);

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

fn check(stopped: &AtomicBool) -> Result<()> {
    if stopped.load(Ordering::Relaxed) {
        return Err(Error::new(ErrorKind::Unexpected, "building the site was stopped"));
    }
    Ok(())
}

fn build(directory: &Path, options: &SiteOptions, stopped: &AtomicBool) -> Result<Site> {
    let rules = NamingRules::new(options)?;
    let sources = walk(directory, options)?;
    let reader = Reader::new(&sources, options)?;
    let mut links = read_all(&sources, &reader, stopped)?;
    let mut problems: Vec<_> =
        links.iter_mut().flat_map(|file| std::mem::take(&mut file.problems)).collect();
    let is_ignored = |path: &str| reader.is_ignored(path);
    problems.extend(integrity::problems(&sources, &links, is_ignored, || check(stopped))?);
    Problems::check(problems)?;
    let mut warnings: Vec<_> =
        links.iter_mut().flat_map(|file| std::mem::take(&mut file.warnings)).collect();
    warnings.sort();
    let namings = namings(&sources, &links, &reader, &rules, options);
    let spool = Spool::new(options.memory_bytes);
    let renderer = Renderer::new(&sources, &links, &namings, options.max_text_bytes, spool);
    let rendered = renderer.run(|| check(stopped))?;
    let mut assets = assets(&sources, &namings, rendered)?;
    let mut ordered = Vec::with_capacity(assets.len());
    for (index, level) in order(&sources, &links) {
        ordered.extend(assets[index].take().map(|asset| Asset { level, ..asset }));
    }
    Ok(Site { assets: ordered, warnings })
}

/// Reads all files on several threads. The result is in the order of the sources.
fn read_all(sources: &[Source], reader: &Reader<'_>, stopped: &AtomicBool) -> Result<Vec<Links>> {
    let next = AtomicUsize::new(0);
    let results = Mutex::new(Vec::with_capacity(sources.len()));
    let work = || {
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            let Some(source) = sources.get(index) else { return };
            let result = check(stopped).and_then(|()| reader.read(source));
            if result.is_err() {
                // The others stop too.
                next.store(sources.len(), Ordering::Relaxed);
            }
            results.lock().unwrap_or_else(PoisonError::into_inner).push((index, result));
        }
    };
    let threads = std::thread::available_parallelism().map_or(1, NonZero::get).min(MAX_THREADS);
    std::thread::scope(|scope| {
        for _ in 1..threads {
            scope.spawn(work);
        }
        work();
    });
    let mut results = results.into_inner().unwrap_or_else(PoisonError::into_inner);
    results.sort_by_key(|(index, _)| *index);
    results.into_iter().map(|(_, result)| result).collect()
}

/// Returns how each file is named.
fn namings(
    sources: &[Source],
    links: &[Links],
    reader: &Reader<'_>,
    rules: &NamingRules,
    options: &SiteOptions,
) -> Vec<Naming> {
    let mut namings: Vec<_> = sources.iter().map(|source| rules.naming(&source.path)).collect();
    let mut keep = vec![false; sources.len()];
    // Many files may have the same ends and prefixes, so each is looked up once.
    let (mut ends, mut prefixes) = (BTreeSet::<PathEnd>::new(), BTreeSet::new());
    for (file, links) in links.iter().enumerate() {
        if options.keep_mentioned || links.is_verbatim {
            links.mentions.iter().for_each(|target| keep[*target] = true);
            ends.extend(links.mentioned_ends.iter().copied());
        }
        prefixes.extend(&links.prefixes);
        // The bytes of a bundled file never change, as its name does not.
        if namings[file] == Naming::Bundled {
            links.links.iter().for_each(|link| keep[link.target] = true);
        }
    }
    for end in ends {
        reader.files_with(end).iter().for_each(|target| keep[*target] = true);
    }
    for prefix in prefixes {
        let first = sources.partition_point(|source| source.path < *prefix);
        let found = sources[first..].iter().take_while(|file| file.path.starts_with(prefix));
        (first..first + found.count()).for_each(|target| keep[target] = true);
    }
    for (naming, keep) in namings.iter_mut().zip(keep) {
        if keep && *naming == Naming::Hashed {
            *naming = Naming::Fixed;
        }
    }
    namings
}

fn assets(
    sources: &[Source],
    namings: &[Naming],
    rendered: Vec<Rendered>,
) -> Result<Vec<Option<Asset>>> {
    let mut paths: HashMap<String, &str> = HashMap::new();
    let mut assets = Vec::with_capacity(sources.len());
    for ((source, naming), rendered) in sources.iter().zip(namings).zip(rendered) {
        let path = source.path.clone();
        let name = match &rendered.hash {
            Some(hash) => hashed_path(&path, hash),
            None => path.clone(),
        };
        Key::new(name.as_str())?;
        if let Some(other) = paths.insert(name.clone(), &source.path) {
            let message = format!(
                "`{other}` and this file are published under one name: rename one of them, or \
                 name one in `keep_names`"
            );
            return Err(Error::new(ErrorKind::Conflict, message).with_key(path));
        }
        let Rendered { sha256, size, content, .. } = rendered;
        assets.push(Some(Asset { path, name, naming: *naming, sha256, size, content, level: 0 }));
    }
    Ok(assets)
}

/// Returns the order of upload, each file with its [level](Asset::level): files without references,
/// then those that refer to others, then pages. References to pages are no reason for an order,
/// because pages refer to each other.
fn order(sources: &[Source], links: &[Links]) -> Vec<(usize, u32)> {
    let is_page = |file: usize| Language::of(&sources[file].path).is_some_and(Language::is_page);
    let targets = |file: &Links| {
        let targets = file.links.iter().map(|link| link.target);
        let mut targets: Vec<_> = targets.filter(|target| !is_page(*target)).collect();
        targets.sort_unstable();
        targets.dedup();
        targets
    };
    let edges: Vec<_> = links.iter().map(targets).collect();
    let groups = groups(&edges);
    let mut levels = vec![0; sources.len()];
    for group in &groups {
        let targets = group.iter().flat_map(|file| &edges[*file]);
        let outside = targets.clone().filter(|target| group.binary_search(target).is_err());
        let level = match outside.map(|target| levels[*target]).max() {
            Some(highest) => highest + 1,
            None => u32::from(targets.count() > 0),
        };
        group.iter().for_each(|file| levels[*file] = level);
    }
    let mut order: Vec<_> = groups.into_iter().flatten().collect();
    order.sort_by_key(|file| match (is_page(*file), edges[*file].is_empty()) {
        (false, true) => (0, *file),
        // The order of the groups stays.
        (false, false) => (1, 0),
        (true, _) => (2, *file),
    });
    order.into_iter().map(|file| (file, levels[file])).collect()
}
