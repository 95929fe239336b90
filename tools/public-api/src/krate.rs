//! [`Crate`]: the modules of a crate, read from its sources.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use syn::{Attribute, Item, ItemImpl, Meta, Token, punctuated::Punctuated};

/// A path from the root of a crate: the names of modules, then perhaps that of an item.
pub(crate) type Names = Vec<String>;

/// A crate: its modules by path, and all its `impl` blocks.
pub(crate) struct Crate {
    pub(crate) name: String,
    pub(crate) modules: BTreeMap<Names, Vec<Item>>,
    /// Each with the module that it stands in.
    pub(crate) impls: Vec<(Names, ItemImpl)>,
}

impl Crate {
    /// Reads a crate from its root file and the files of its modules.
    pub(crate) fn load(name: &str, root: &Path) -> Result<Self, String> {
        let name = name.replace('-', "_");
        let mut krate = Self { name, modules: BTreeMap::new(), impls: Vec::new() };
        let directory = root.parent().unwrap_or(Path::new(".")).to_owned();
        krate.load_file(root, &directory, Vec::new())?;
        Ok(krate)
    }

    fn load_file(&mut self, file: &Path, directory: &Path, path: Names) -> Result<(), String> {
        let text = std::fs::read_to_string(file)
            .map_err(|error| format!("{}: {error}", file.display()))?;
        let parsed =
            syn::parse_file(&text).map_err(|error| format!("{}: {error}", file.display()))?;
        self.load_items(parsed.items, directory, path)
    }

    fn load_items(
        &mut self,
        items: Vec<Item>,
        directory: &Path,
        path: Names,
    ) -> Result<(), String> {
        let mut kept = Vec::new();
        for item in items {
            match item {
                Item::Mod(module) if !is_test(&module.attrs) => {
                    let name = module.ident.to_string();
                    let below = directory.join(&name);
                    let child = [path.clone(), vec![name.clone()]].concat();
                    match &module.content {
                        Some((_, items)) => self.load_items(items.clone(), &below, child)?,
                        None => self.load_file(&file_of(directory, &name)?, &below, child)?,
                    }
                    kept.push(Item::Mod(module));
                }
                Item::Impl(block) if !is_test(&block.attrs) => {
                    self.impls.push((path.clone(), block));
                }
                Item::Mod(_) | Item::Impl(_) => {}
                other => kept.push(other),
            }
        }
        self.modules.insert(path, kept);
        Ok(())
    }
}

fn file_of(directory: &Path, module: &str) -> Result<PathBuf, String> {
    [format!("{module}.rs"), format!("{module}/mod.rs")]
        .iter()
        .map(|name| directory.join(name))
        .find(|file| file.exists())
        .ok_or_else(|| format!("{}: no file for module {module}", directory.display()))
}

fn is_test(attributes: &[Attribute]) -> bool {
    conditions(attributes).iter().any(|condition| condition.contains("test"))
}

/// Returns the `cfg` conditions of an item as text: `feature = "checksums"`.
pub(crate) fn conditions(attributes: &[Attribute]) -> Vec<String> {
    let cfg = attributes.iter().filter(|attribute| attribute.path().is_ident("cfg"));
    cfg.filter_map(|attribute| match &attribute.meta {
        Meta::List(list) => Some(list.tokens.to_string()),
        _ => None,
    })
    .collect()
}

/// Returns whether an item has `#[doc(hidden)]`.
pub(crate) fn is_hidden(attributes: &[Attribute]) -> bool {
    attributes.iter().filter(|attribute| attribute.path().is_ident("doc")).any(|attribute| {
        let nested = attribute.parse_args_with(Punctuated::<Meta, Token![,]>::parse_terminated);
        nested.is_ok_and(|nested| nested.iter().any(|meta| meta.path().is_ident("hidden")))
    })
}
