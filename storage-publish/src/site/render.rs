//! Names and rewrites the files of a site, those that others refer to first.

use std::collections::HashMap;

use sha2::{Digest, Sha256};
use storage_core::Result;
use storage_core::internal::hex;

use super::asset::{Content, Naming};
use super::graph::groups;
use super::integrity::{self, Algorithm};
use super::links::{IntegrityOf, Links};
use super::naming::HASH_DIGITS;
use super::read;
use super::source_map::shift;
use super::splice::{Edit, splice};
use super::spool::Spool;
use super::walk::Source;

/// Stands for the hash of a file of a cycle while the cycle is hashed.
const PLACEHOLDER: &str = "0000000000000000";

/// A file with its final bytes and the hash of its name.
#[derive(Clone, Debug)]
pub(crate) struct Rendered {
    pub(crate) sha256: [u8; 32],
    pub(crate) size: u64,
    pub(crate) content: Content,
    /// The hash in the name, if the name has one.
    pub(crate) hash: Option<String>,
}

/// Names and rewrites files.
pub(crate) struct Renderer<'a> {
    sources: &'a [Source],
    links: &'a [Links],
    namings: &'a [Naming],
    /// The largest size of a source map that is rewritten.
    max_text_bytes: u64,
    /// The file whose columns a source map describes.
    files_of_maps: HashMap<usize, usize>,
    rendered: Vec<Option<Rendered>>,
    integrity: HashMap<(usize, Algorithm), String>,
    spool: Spool,
}

impl<'a> Renderer<'a> {
    pub(crate) fn new(
        sources: &'a [Source],
        links: &'a [Links],
        namings: &'a [Naming],
        max_text_bytes: u64,
        spool: Spool,
    ) -> Self {
        let mut renderer = Self {
            sources,
            links,
            namings,
            max_text_bytes,
            files_of_maps: HashMap::new(),
            rendered: vec![None; sources.len()],
            integrity: HashMap::new(),
            spool,
        };
        renderer.files_of_maps = renderer.find_files_of_maps();
        renderer
    }

    /// Returns all files in the order of the sources.
    pub(crate) fn run(mut self, check: impl Fn() -> Result<()>) -> Result<Vec<Rendered>> {
        for group in groups(&self.dependencies()) {
            check()?;
            self.render_group(&group)?;
        }
        Ok(self.rendered.into_iter().flatten().collect())
    }

    /// Returns the files whose names or bytes the bytes of each file contain.
    fn dependencies(&self) -> Vec<Vec<usize>> {
        let of = |file: &Links| {
            let names = file.links.iter().map(|link| link.target);
            let names = names.filter(|target| self.is_hashed(*target));
            let bytes = file.integrity.iter().map(|integrity| integrity.target);
            let mut targets: Vec<_> = names.chain(bytes).collect();
            targets.sort_unstable();
            targets.dedup();
            targets
        };
        self.links.iter().map(of).collect()
    }

    fn is_hashed(&self, file: usize) -> bool {
        self.namings[file] == Naming::Hashed
    }

    /// Of several files with one source map, that of which it has the name counts.
    fn find_files_of_maps(&self) -> HashMap<usize, usize> {
        let mut files = HashMap::new();
        for (file, links) in self.links.iter().enumerate() {
            let Some(map) = links.source_map else { continue };
            let has_name = self.sources[map].path == format!("{}.map", self.sources[file].path);
            if has_name {
                files.insert(map, file);
            } else {
                files.entry(map).or_insert(file);
            }
        }
        files
    }

    fn render_group(&mut self, group: &[usize]) -> Result<()> {
        let shared_hash = if self.is_cycle(group) { Some(self.group_hash(group)?) } else { None };
        for file in group {
            // The names of a cycle are known before its bytes.
            let in_group = |target: usize| shared_hash.as_deref().filter(|_| has(group, target));
            let bytes = self.final_bytes(*file, in_group)?;
            let rendered = self.rendered(*file, bytes, shared_hash.clone())?;
            self.rendered[*file] = Some(rendered);
        }
        Ok(())
    }

    fn is_cycle(&self, group: &[usize]) -> bool {
        let refers_to_itself = |file: usize| {
            self.is_hashed(file) && self.links[file].links.iter().any(|link| link.target == file)
        };
        group.len() > 1 || group.iter().any(|file| refers_to_itself(*file))
    }

    /// Returns the hash of all files of a cycle, in which a placeholder stands for their names.
    fn group_hash(&mut self, group: &[usize]) -> Result<String> {
        let mut digest = Sha256::new();
        for file in group {
            let placeholder = |target: usize| has(group, target).then_some(PLACEHOLDER);
            let bytes = match self.final_bytes(*file, placeholder)? {
                Some(bytes) => bytes,
                None => self.read(*file)?,
            };
            digest.update(self.sources[*file].path.as_bytes());
            // No path contains this byte, so that the parts cannot be confused.
            digest.update([0]);
            digest.update(u64::try_from(bytes.len()).unwrap_or(u64::MAX).to_le_bytes());
            digest.update(bytes);
        }
        Ok(name_hash(&digest.finalize()))
    }

    fn rendered(
        &mut self,
        file: usize,
        bytes: Option<Vec<u8>>,
        shared_hash: Option<String>,
    ) -> Result<Rendered> {
        let (sha256, size, content) = match bytes {
            Some(bytes) => {
                let size = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
                (read::sha256(&bytes), size, self.spool.keep(bytes)?)
            }
            None => {
                let Links { sha256, size, .. } = self.links[file];
                (sha256, size, Content::File(self.sources[file].location.clone()))
            }
        };
        let hash = self.is_hashed(file).then(|| shared_hash.unwrap_or_else(|| name_hash(&sha256)));
        Ok(Rendered { sha256, size, content, hash })
    }

    fn read(&self, file: usize) -> Result<Vec<u8>> {
        let Links { size, sha256, .. } = &self.links[file];
        read::read_again(&self.sources[file], *size, sha256)
    }

    /// Returns the bytes of a file with the names of others, or `None` if they stay as they are.
    /// `hash_in_group` returns the hashes of files that are not finished.
    fn final_bytes<'h>(
        &mut self,
        file: usize,
        hash_in_group: impl Fn(usize) -> Option<&'h str>,
    ) -> Result<Option<Vec<u8>>> {
        let links = &self.links[file];
        let mut edits = Vec::new();
        for link in links.links.iter().filter(|link| self.is_hashed(link.target)) {
            let finished = || self.rendered[link.target].as_ref()?.hash.as_deref();
            if let Some(hash) = hash_in_group(link.target).or_else(finished) {
                edits.push(Edit::insert(link.at, format!(".{hash}")));
            }
        }
        let mut integrity = Vec::with_capacity(links.integrity.len());
        for declared in &links.integrity {
            let renewed = self.renewed_integrity(declared)?;
            if let Some(value) = &renewed {
                edits.push(Edit::replace(declared.range.clone(), value.clone()));
            }
            integrity.push(renewed);
        }
        let bytes =
            if edits.is_empty() { None } else { Some(self.spliced(file, edits, &integrity)?) };
        match self.files_of_maps.get(&file) {
            Some(of) if bytes.is_none() => self.moved_map(file, *of),
            _ => Ok(bytes),
        }
    }

    fn spliced(
        &self,
        file: usize,
        mut edits: Vec<Edit>,
        integrity: &[Option<String>],
    ) -> Result<Vec<u8>> {
        let bytes = self.read(file)?;
        let declared = self.links[file].integrity.iter().map(|declared| declared.value.as_str());
        let values = declared.zip(integrity).map(|(old, new)| (old, new.as_deref().unwrap_or(old)));
        let renewed = self.links[file].policy.renewed(&bytes, &mut edits, values);
        edits.extend(renewed);
        Ok(splice(&bytes, edits))
    }

    /// Returns the source map with the columns of its file as it is published, or `None` if it
    /// stays as it is.
    fn moved_map(&self, map: usize, file: usize) -> Result<Option<Vec<u8>>> {
        let Links { links, places, .. } = &self.links[file];
        let hashed = links.iter().zip(places).filter(|(link, _)| self.is_hashed(link.target));
        // Nothing follows the name of the map itself.
        let moving = hashed.filter(|(link, _)| link.target != map);
        let places: Vec<_> = moving.map(|(_, place)| *place).collect();
        let is_bundled = self.namings[map] == Naming::Bundled;
        if is_bundled || places.is_empty() || self.links[map].size > self.max_text_bytes {
            return Ok(None);
        }
        let inserted = u32::try_from(HASH_DIGITS + 1).unwrap_or_default();
        Ok(shift(&self.read(map)?, &places, inserted))
    }

    /// Returns the integrity of the final bytes, if they differ from those of the file.
    fn renewed_integrity(&mut self, declared: &IntegrityOf) -> Result<Option<String>> {
        let target = declared.target;
        let Some(rendered) = &self.rendered[target] else { return Ok(None) };
        if rendered.sha256 == self.links[target].sha256 {
            return Ok(None);
        }
        let mut values: Vec<String> = Vec::new();
        for hash in integrity::parse(&declared.value) {
            let value = self.integrity(target, hash.algorithm)?;
            if !values.contains(&value) {
                values.push(value);
            }
        }
        // A browser ignores an integrity of unknown algorithms.
        if values.is_empty() {
            return Ok(None);
        }
        Ok(Some(values.join(" ")))
    }

    fn integrity(&mut self, file: usize, algorithm: Algorithm) -> Result<String> {
        if let Some(known) = self.integrity.get(&(file, algorithm)) {
            return Ok(known.clone());
        }
        let Some(rendered) = &self.rendered[file] else { return Ok(String::new()) };
        let value = match (&rendered.content, rendered.content.path()) {
            (_, Some(location)) => algorithm.of_file(&self.sources[file].path, location)?,
            (Content::Rewritten(bytes), None) => algorithm.of_bytes(bytes),
            (_, None) => return Ok(String::new()),
        };
        self.integrity.insert((file, algorithm), value.clone());
        Ok(value)
    }
}

/// Returns whether a group, which is sorted, has the file.
fn has(group: &[usize], file: usize) -> bool {
    group.binary_search(&file).is_ok()
}

fn name_hash(digest: &[u8]) -> String {
    let mut hash = hex(digest);
    hash.truncate(HASH_DIGITS);
    hash
}
