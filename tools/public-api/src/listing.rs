//! The listing of a crate: every public path with the item that it names.

use std::collections::{BTreeMap, BTreeSet};

use syn::{Item, UseTree, Visibility};

use crate::krate::{Crate, Names, is_hidden};
use crate::render;

/// Returns the listing of a crate as text.
pub(crate) fn of(krate: &Crate) -> String {
    let mut walk = Walk { krate, found: BTreeMap::new(), types: BTreeSet::new() };
    walk.module(&Vec::new(), &krate.name, 0);
    let mut listing = format!(
        "# The public API of {}. Written by: cargo run -p public-api -- --write\n",
        krate.name
    );
    for (path, text) in &walk.found {
        listing.push('\n');
        listing.push_str(&render::entry(path, text));
    }
    listing
}

/// Modules that re-export each other would never end.
const MAX_DEPTH: usize = 16;

struct Walk<'a> {
    krate: &'a Crate,
    /// The text of each public path.
    found: BTreeMap<String, String>,
    /// The types that are listed already, under another path.
    types: BTreeSet<Names>,
}

impl Walk<'_> {
    /// Lists the public items of a module under a public path.
    fn module(&mut self, module: &Names, shown: &str, depth: usize) {
        let Some(items) = self.krate.modules.get(module).filter(|_| depth < MAX_DEPTH) else {
            return;
        };
        for item in items {
            match item {
                Item::Use(item) if is_public(&item.vis) && !is_hidden(&item.attrs) => {
                    self.uses(module, &item.tree, Vec::new(), shown, depth);
                }
                Item::Mod(item) if is_public(&item.vis) && !is_hidden(&item.attrs) => {
                    let name = item.ident.to_string();
                    let child = [module.clone(), vec![name.clone()]].concat();
                    self.module(&child, &format!("{shown}::{name}"), depth + 1);
                }
                Item::Macro(item) if render::is_exported(item) && !is_hidden(&item.attrs) => {
                    let name = item.ident.as_ref().map(ToString::to_string).unwrap_or_default();
                    self.add(format!("{}::{name}!", self.krate.name), "macro".to_owned());
                }
                _ => self.item(module, item, shown, None),
            }
        }
    }

    /// Lists one item, under another name if it is re-exported so.
    fn item(&mut self, module: &Names, item: &Item, shown: &str, renamed: Option<&str>) {
        let Some(name) = render::public_name(item) else { return };
        let path = [module.clone(), vec![name.clone()]].concat();
        let shown = format!("{shown}::{}", renamed.unwrap_or(&name));
        if !self.types.insert(path) {
            self.add(shown, "re-export".to_owned());
            return;
        }
        let mut text = render::declaration(item);
        text.push_str(&render::implementations(self.krate, module, &name));
        self.add(shown, text);
    }

    /// Lists what a `pub use` names.
    fn uses(&mut self, module: &Names, tree: &UseTree, so_far: Names, shown: &str, depth: usize) {
        match tree {
            UseTree::Path(path) => {
                let so_far = [so_far, vec![path.ident.to_string()]].concat();
                self.uses(module, &path.tree, so_far, shown, depth);
            }
            UseTree::Group(group) => {
                for tree in &group.items {
                    self.uses(module, tree, so_far.clone(), shown, depth);
                }
            }
            UseTree::Name(name) => {
                let name = name.ident.to_string();
                self.export(module, &[so_far, vec![name.clone()]].concat(), &name, shown, depth);
            }
            UseTree::Rename(rename) => {
                let path = [so_far, vec![rename.ident.to_string()]].concat();
                self.export(module, &path, &rename.rename.to_string(), shown, depth);
            }
            UseTree::Glob(_) => match self.local(module, &so_far) {
                Some(target) => self.module(&target, shown, depth + 1),
                None => self
                    .add(format!("{shown}::*"), format!("re-export of {}::*", so_far.join("::"))),
            },
        }
    }

    fn export(&mut self, module: &Names, path: &Names, name: &str, shown: &str, depth: usize) {
        let Some(target) = self.local(module, path) else {
            self.add(format!("{shown}::{name}"), format!("re-export of {}", path.join("::")));
            return;
        };
        if self.krate.modules.contains_key(&target) {
            self.module(&target, &format!("{shown}::{name}"), depth + 1);
            return;
        }
        let (Some(last), parent) = (target.last(), target[..target.len() - 1].to_vec()) else {
            return;
        };
        let items = self.krate.modules.get(&parent).map_or(&[][..], Vec::as_slice);
        if let Some(item) = items.iter().find(|item| render::name_of(item).as_ref() == Some(last)) {
            self.item(&parent, item, shown, Some(name));
            return;
        }
        // The module re-exports it in turn.
        for item in items {
            if let Item::Use(item) = item
                && let Some(next) = leaf(&item.tree, &Vec::new(), last)
                && depth < MAX_DEPTH
            {
                self.export(&parent, &next, name, shown, depth + 1);
                return;
            }
        }
        self.add(format!("{shown}::{name}"), format!("re-export of {}", path.join("::")));
    }

    /// Returns a path from the root, if it stays in the crate.
    fn local(&self, module: &Names, path: &Names) -> Option<Names> {
        let (first, rest) = path.split_first()?;
        match first.as_str() {
            "crate" => Some(rest.to_vec()),
            "self" => Some([module.clone(), rest.to_vec()].concat()),
            "super" => {
                let parent = module[..module.len().checked_sub(1)?].to_vec();
                Some([parent, rest.to_vec()].concat())
            }
            _ => {
                let child = [module.clone(), vec![first.clone()]].concat();
                let inside = [module.clone(), path.clone()].concat();
                self.krate.modules.contains_key(&child).then_some(inside)
            }
        }
    }

    fn add(&mut self, path: String, text: String) {
        self.found.insert(path, text);
    }
}

/// Returns the path that a `use` tree imports under a name.
fn leaf(tree: &UseTree, so_far: &Names, wanted: &str) -> Option<Names> {
    let with = |name: &syn::Ident| [so_far.clone(), vec![name.to_string()]].concat();
    match tree {
        UseTree::Path(path) => leaf(&path.tree, &with(&path.ident), wanted),
        UseTree::Group(group) => group.items.iter().find_map(|tree| leaf(tree, so_far, wanted)),
        UseTree::Name(name) => (name.ident == wanted).then(|| with(&name.ident)),
        UseTree::Rename(rename) => (rename.rename == wanted).then(|| with(&rename.ident)),
        UseTree::Glob(_) => None,
    }
}

fn is_public(visibility: &Visibility) -> bool {
    matches!(visibility, Visibility::Public(_))
}
