//! The symlinks and special files of a local source, which are not objects. They are reported, and
//! nothing that the destination has under their names is deleted.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use anystorage::transfer::{Filter, FilterBuilder};
use anystorage::{Error, ErrorKind, Key, Result};
use futures_util::StreamExt;

use crate::links::{SpecialFile, SpecialKind, find_special_files, special_file_at};
use crate::syncing::keys::SortedKeys;
use crate::syncing::sides::Sides;

/// How many names are kept from deletion. With more of them nothing is deleted.
const MAX_KEPT: usize = 1000;

/// What was found.
#[derive(Debug, Default)]
pub(crate) struct Specials {
    /// Names that the destination may have as objects.
    names: Vec<String>,
    /// Whether there are more than [`MAX_KEPT`] names.
    pub(crate) has_too_many: bool,
}

impl Specials {
    /// Searches a directory. Calls a function with each special file that the filter concerns.
    pub(crate) async fn find(
        directory: PathBuf,
        filter: &Filter,
        mut report: impl FnMut(&SpecialFile),
    ) -> Self {
        let (mut found, mut specials) = (find_special_files(directory), Self::default());
        while let Some(special) = found.recv().await {
            if !is_concerned(filter, &special) {
                continue;
            }
            report(&special);
            match Key::new(special.name.as_str()) {
                Ok(_) if specials.names.len() < MAX_KEPT => specials.names.push(special.name),
                Ok(_) => specials.has_too_many = true,
                // No object of the destination has this name.
                Err(_) => {}
            }
        }
        specials
    }

    /// Returns the filter with rules that leave out these names and everything below them.
    pub(crate) fn excluded_from(&self, filter: &Filter) -> Result<Filter> {
        // The files of rules are not read again, because a pipe can be read only once.
        let rules = filter.rules().iter();
        let rules = rules.fold(Filter::builder(), |rules, line| rules.rules_from(line, "--filter"));
        let exclude = |rules: FilterBuilder, name| rules.exclude(format!("/{name}"));
        self.names.iter().map(|name| literal_pattern(name)).fold(rules, exclude).build()
    }
}

/// Returns whether the filter admits the name of a special file, or may admit keys that are below
/// it in the place where it leads.
fn is_concerned(filter: &Filter, special: &SpecialFile) -> bool {
    filter.admits(&special.name)
        || (special.may_be_directory() && filter.may_admit_below(&special.name))
}

/// Takes the special files of a local source, and names below them, out of a list of keys. Calls a
/// function with each of them that the filter admits.
pub(crate) fn out_of_list(
    keys: SortedKeys,
    sides: &Sides,
    filter: &Filter,
    report: impl FnMut(&SpecialFile) + Send + 'static,
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
            let look = tokio::task::spawn_blocking(move || special_file_at(&root, &name));
            // Without a result the engine looks up the key.
            let Ok(Some(special)) = look.await else { return Some(item) };
            let mut report = report.lock().unwrap_or_else(PoisonError::into_inner);
            report(&special);
            None
        }
    });
    kept.boxed()
}

/// Returns the pattern that matches exactly this text.
fn literal_pattern(name: &str) -> String {
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
        let rules =
            Filter::builder().include("*.p\\#g ").exclude("#a").include("!b").exclude("d\\ ");
        let filter = rules.rules_from("\\#x\n!y z\\ \n", "rules").build().unwrap();
        let specials = Specials { names: vec!["link".to_owned()], has_too_many: false };
        let excluded = specials.excluded_from(&filter).unwrap();
        let (last, rules) = excluded.rules().split_last().unwrap();
        assert_eq!((rules, last.as_str()), (filter.rules(), "/link"));
    }

    #[test]
    fn the_names_of_special_files_and_what_is_below_them_are_left_out() {
        let names = ["a*b", "c[d]{e,f}?", "back\\slash", "!x", "#y", "dir/link ", "z"];
        let specials = Specials { names: names.map(str::to_owned).to_vec(), has_too_many: false };
        let filter = specials.excluded_from(&Filter::default()).unwrap();
        for name in names {
            assert!(!filter.admits(name) && !filter.admits(&format!("{name}/below")), "{name}");
        }
        for name in ["axb", "cd", "back", "x", "y", "dir/link", "zz", "dir/z"] {
            assert!(filter.admits(name), "{name}");
        }
    }
}
