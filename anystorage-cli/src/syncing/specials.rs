//! The symlinks and special files of a local source, which are not objects. They are reported, and
//! nothing that the destination has under their names is deleted.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use anystorage::transfer::{Filter, FilterBuilder};
use anystorage::{Error, ErrorKind, Key, Result};
use futures_util::StreamExt;

use crate::links::{SpecialFile, SpecialKind, Unsearched, find_special_files, special_file_at};
use crate::syncing::keys::SortedKeys;
use crate::syncing::sides::Sides;

/// How many names are kept from deletion. With more of them nothing is deleted.
const MAX_KEPT: usize = 1000;

/// What was found.
#[derive(Debug, Default)]
pub(crate) struct Specials {
    /// Names of special files that the destination may have as objects.
    names: Vec<String>,
    /// Names at and below which nothing is known.
    unsearched: Vec<String>,
    /// Whether there are more than [`MAX_KEPT`] names of one type.
    pub(crate) has_too_many: bool,
    /// Whether the searched directory itself could not be read to its end.
    pub(crate) is_unknown: bool,
}

impl Specials {
    /// Searches a directory. Calls a function with each special file that the filter concerns, and
    /// with each part that could not be searched.
    pub(crate) async fn find(
        directory: PathBuf,
        filter: &Filter,
        mut report: impl FnMut(Result<&SpecialFile, &Unsearched>),
    ) -> Self {
        let (mut found, mut specials) = (find_special_files(directory), Self::default());
        while let Some(found) = found.recv().await {
            match found {
                Ok(special) if is_concerned(filter, &special) => {
                    report(Ok(&special));
                    specials.keep(special.name, |specials| &mut specials.names);
                }
                Err(unsearched) if is_unknown(filter, &unsearched.name) => {
                    report(Err(&unsearched));
                    let name = unsearched.name.trim_end_matches('/').to_owned();
                    specials.is_unknown |= name.is_empty();
                    specials.keep(name, |specials| &mut specials.unsearched);
                }
                _ => {}
            }
        }
        specials
    }

    /// Remembers a name that the destination may have.
    fn keep(&mut self, name: String, names: fn(&mut Self) -> &mut Vec<String>) {
        match Key::new(name.as_str()) {
            Ok(_) if names(self).len() < MAX_KEPT => names(self).push(name),
            Ok(_) => self.has_too_many = true,
            // No object of the destination has this name.
            Err(_) => {}
        }
    }

    /// Returns the filter with rules that leave out the names of special files, the names of what
    /// could not be searched, and everything below them.
    pub(crate) fn excluded_from(&self, filter: &Filter) -> Result<Filter> {
        exclude(filter, self.names.iter().chain(&self.unsearched))
    }

    /// Returns the filter with rules that leave out what could not be searched.
    pub(crate) fn unsearched_excluded_from(&self, filter: &Filter) -> Result<Filter> {
        exclude(filter, self.unsearched.iter())
    }
}

/// Returns the filter with rules that leave out these names and everything below them.
fn exclude<'a>(filter: &Filter, names: impl Iterator<Item = &'a String>) -> Result<Filter> {
    // The files of rules are not read again, because a pipe can be read only once.
    let rules = Filter::builder().rules(filter.rules(), "--filter");
    let exclude = |rules: FilterBuilder, name| rules.exclude(format!("/{name}"));
    names.map(|name| literal_pattern(name)).fold(rules, exclude).build()
}

/// Returns whether the filter admits a name that could not be searched, or may admit keys below it.
fn is_unknown(filter: &Filter, name: &str) -> bool {
    let name = name.trim_end_matches('/');
    name.is_empty() || filter.admits(name) || filter.may_admit_below(name)
}

/// Returns whether the filter admits the name of a special file, or may admit keys that are below
/// it in the place where it leads.
fn is_concerned(filter: &Filter, special: &SpecialFile) -> bool {
    filter.admits(&special.name)
        || (special.may_be_directory() && filter.may_admit_below(&special.name))
}

/// Takes the special files of a local source, and names below them, out of a list of keys, and what
/// cannot be looked up. Calls a function with each of them that the filter admits.
pub(crate) fn out_of_list(
    keys: SortedKeys,
    sides: &Sides,
    filter: &Filter,
    report: impl FnMut(Result<&SpecialFile, &Unsearched>) + Send + 'static,
) -> SortedKeys {
    let Some(root) = sides.local_source() else { return keys };
    let (filter, report) = (filter.clone(), Arc::new(Mutex::new(report)));
    let kept = keys.filter_map(move |item| {
        let (root, filter, report) = (root.clone(), filter.clone(), Arc::clone(&report));
        async move {
            let name = match &item {
                Ok(key) if filter.admits(key.as_str()) => key.to_string(),
                _ => return Some(item),
            };
            let look = tokio::task::spawn_blocking(move || {
                special_file_at(&root, &name).map_err(|error| Unsearched {
                    error: Error::from(error).with_context("cannot be looked up"),
                    name,
                })
            });
            let found = match look.await {
                Ok(Ok(Some(special))) => Ok(special),
                Ok(Err(unsearched)) => Err(unsearched),
                // Without a result the engine looks up the key.
                Ok(Ok(None)) | Err(_) => return Some(item),
            };
            let mut report = report.lock().unwrap_or_else(PoisonError::into_inner);
            report(found.as_ref());
            None
        }
    });
    kept.boxed()
}

/// Returns the pattern that matches exactly this text.
pub(crate) fn literal_pattern(name: &str) -> String {
    let mut pattern = String::with_capacity(name.len());
    for character in name.chars() {
        if "\\*?[]{}".contains(character) {
            pattern.push('\\');
        }
        pattern.push(character);
    }
    pattern
}

/// Returns why a special file is no object of the source.
pub(crate) fn reason(special: &SpecialFile, past: &str) -> Error {
    match &special.kind {
        SpecialKind::Symlink(_) => {
            Error::unsupported(format!("a symlink, not {past}: --skip-links skips it"))
        }
        SpecialKind::Other(what) => {
            Error::unsupported(format!("{what}, not {past}: --skip-links skips it"))
        }
        SpecialKind::InvalidName => Error::new(
            ErrorKind::InvalidKey,
            "a symlink or special file whose name is not UTF-8 text",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rules_of_the_filter_stay_before_the_names_that_are_left_out() {
        let rules = Filter::builder().exclude("\u{feff}a").include("*.p\\#g ").exclude("#a");
        let rules = rules.include("!b").exclude("\u{feff}c").exclude("d\\ ");
        let filter = rules.rules_from("\\#x\n!y z\\ \n", "rules").build().unwrap();
        let specials = Specials { names: vec!["link".to_owned()], ..Specials::default() };
        let excluded = specials.excluded_from(&filter).unwrap();
        let (last, rules) = excluded.rules().split_last().unwrap();
        assert_eq!((rules, last.as_str()), (filter.rules(), "/link"));
    }

    #[test]
    fn the_names_of_special_files_and_what_is_below_them_are_left_out() {
        let names = ["a*b", "c[d]{e,f}?", "back\\slash", "!x", "#y", "dir/link ", "z"];
        let specials = Specials { names: names.map(str::to_owned).to_vec(), ..Specials::default() };
        let filter = specials.excluded_from(&Filter::default()).unwrap();
        for name in names {
            assert!(!filter.admits(name) && !filter.admits(&format!("{name}/below")), "{name}");
        }
        for name in ["axb", "cd", "back", "x", "y", "dir/link", "zz", "dir/z"] {
            assert!(filter.admits(name), "{name}");
        }
    }
}
