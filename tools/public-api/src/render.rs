//! Declarations as text: without bodies, comments, private fields and private methods.

use std::collections::BTreeSet;

use quote::ToTokens;
use syn::{
    Attribute, Fields, File, ImplItem, Item, ItemFn, ItemImpl, ItemMacro, TraitItem, Type,
    Visibility, parse_quote,
};

use crate::krate::{Crate, Names, conditions, is_hidden};

/// Attributes that users of an item see.
const SHOWN: &[&str] = &["derive", "non_exhaustive", "must_use", "cfg", "deprecated"];

/// Returns one entry of the listing.
pub(crate) fn entry(path: &str, text: &str) -> String {
    if text.contains('\n') {
        let indented: String = text.lines().map(|line| format!("    {line}\n")).collect();
        format!("{path}\n{indented}")
    } else {
        format!("{path}: {text}\n")
    }
}

/// Returns whether a macro is `#[macro_export]`.
pub(crate) fn is_exported(item: &ItemMacro) -> bool {
    item.attrs.iter().any(|attribute| attribute.path().is_ident("macro_export"))
}

/// Returns the name of an item, regardless of its visibility.
pub(crate) fn name_of(item: &Item) -> Option<String> {
    Some(parts(item)?.0)
}

/// Returns the name of an item that is public and not hidden.
pub(crate) fn public_name(item: &Item) -> Option<String> {
    let (name, visibility, attributes) = parts(item)?;
    (matches!(visibility, Visibility::Public(_)) && !is_hidden(attributes)).then_some(name)
}

fn parts(item: &Item) -> Option<(String, &Visibility, &[Attribute])> {
    let (name, visibility, attributes) = match item {
        Item::Const(item) => (&item.ident, &item.vis, &item.attrs),
        Item::Enum(item) => (&item.ident, &item.vis, &item.attrs),
        Item::Fn(item) => (&item.sig.ident, &item.vis, &item.attrs),
        Item::Static(item) => (&item.ident, &item.vis, &item.attrs),
        Item::Struct(item) => (&item.ident, &item.vis, &item.attrs),
        Item::Trait(item) => (&item.ident, &item.vis, &item.attrs),
        Item::Type(item) => (&item.ident, &item.vis, &item.attrs),
        _ => return None,
    };
    Some((name.to_string(), visibility, attributes))
}

/// Returns the declaration of an item.
pub(crate) fn declaration(item: &Item) -> String {
    let mut item = item.clone();
    match &mut item {
        Item::Struct(item) => {
            item.attrs.retain(is_shown);
            let private = hide_private_fields(&mut item.fields);
            if private && matches!(item.fields, Fields::Unit) {
                item.semi_token = Some(<syn::Token![;]>::default());
            }
        }
        Item::Enum(item) => {
            item.attrs.retain(is_shown);
            for variant in &mut item.variants {
                variant.attrs.retain(is_shown);
                variant.fields.iter_mut().for_each(|field| field.attrs.retain(is_shown));
            }
        }
        Item::Trait(item) => {
            item.attrs.retain(is_shown);
            item.items.iter_mut().for_each(without_body);
        }
        Item::Fn(item) => {
            item.attrs.retain(is_shown);
            item.block = parse_quote!({});
        }
        Item::Const(item) => item.attrs.retain(is_shown),
        Item::Static(item) => item.attrs.retain(is_shown),
        Item::Type(item) => item.attrs.retain(is_shown),
        _ => {}
    }
    printed(item)
}

/// Removes private fields. Returns whether there were any.
fn hide_private_fields(fields: &mut Fields) -> bool {
    let is_public = |field: &syn::Field| matches!(field.vis, Visibility::Public(_));
    let all = fields.len();
    if let Fields::Named(named) = fields {
        let public = named.named.iter().filter(|field| is_public(field)).cloned();
        named.named = public.collect();
        named.named.iter_mut().for_each(|field| field.attrs.retain(is_shown));
    }
    if !fields.iter().any(is_public) {
        *fields = Fields::Unit;
    }
    fields.len() != all
}

fn without_body(item: &mut TraitItem) {
    match item {
        TraitItem::Fn(method) => {
            method.attrs.retain(is_shown);
            if method.default.is_some() {
                method.default = Some(parse_quote!({}));
            }
        }
        TraitItem::Const(item) => item.attrs.retain(is_shown),
        TraitItem::Type(item) => item.attrs.retain(is_shown),
        _ => {}
    }
}

/// Returns the public methods of a type and the traits that it implements.
pub(crate) fn implementations(krate: &Crate, module: &Names, name: &str) -> String {
    let (mut methods, mut traits) = (Vec::new(), BTreeSet::new());
    // A block in another module is for this type, unless that module has a type of the same name.
    let is_meant = |place: &Names| {
        place == module
            || !krate.modules[place].iter().any(|item| name_of(item).as_deref() == Some(name))
    };
    let blocks = krate
        .impls
        .iter()
        .filter(|(place, block)| self_name(block).as_deref() == Some(name) && is_meant(place));
    for (_, block) in blocks {
        match &block.trait_ {
            Some((_, path, _)) => {
                let marks: String =
                    conditions(&block.attrs).iter().map(|text| format!(" (cfg {text})")).collect();
                let generics = compact(&block.self_ty.to_token_stream().to_string());
                let path = compact(&path.to_token_stream().to_string());
                traits.insert(format!("impl {path} for {generics}{marks}\n"));
            }
            None => methods.extend(inherent(block)),
        }
    }
    methods.into_iter().chain(traits).collect()
}

fn inherent(block: &ItemImpl) -> Vec<String> {
    let mut lines = Vec::new();
    for item in &block.items {
        match item {
            ImplItem::Fn(method) => {
                let public = matches!(method.vis, Visibility::Public(_));
                if public && !is_hidden(&method.attrs) {
                    let mut attrs: Vec<Attribute> = method.attrs.clone();
                    attrs.extend(block.attrs.iter().filter(|a| a.path().is_ident("cfg")).cloned());
                    attrs.retain(is_shown);
                    let function = ItemFn {
                        attrs,
                        vis: method.vis.clone(),
                        sig: method.sig.clone(),
                        block: parse_quote!({}),
                    };
                    // A method has a receiver, which a free function has not: printed as its
                    // tokens.
                    lines.push(method_line(&function));
                }
            }
            ImplItem::Const(item) if matches!(item.vis, Visibility::Public(_)) => {
                let (ident, ty) = (&item.ident, item.ty.to_token_stream().to_string());
                lines.push(format!("pub const {ident}: {}\n", compact(&ty)));
            }
            _ => {}
        }
    }
    lines
}

fn method_line(function: &ItemFn) -> String {
    let marks: String =
        conditions(&function.attrs).iter().map(|text| format!(" (cfg {text})")).collect();
    format!("pub {}{marks}\n", compact(&function.sig.to_token_stream().to_string()))
}

/// Returns the name of the type that a block is for, without its path and parameters.
fn self_name(block: &ItemImpl) -> Option<String> {
    match &*block.self_ty {
        Type::Path(path) => path.path.segments.last().map(|segment| segment.ident.to_string()),
        _ => None,
    }
}

fn is_shown(attribute: &Attribute) -> bool {
    SHOWN.iter().any(|name| attribute.path().is_ident(name))
}

fn printed(item: Item) -> String {
    let text = prettyplease::unparse(&File { shebang: None, attrs: Vec::new(), items: vec![item] });
    text.replace(" {}\n", "\n")
}

/// Removes the spaces that a token stream puts between tokens.
fn compact(tokens: &str) -> String {
    let mut text = tokens.to_owned();
    for (from, to) in [
        (" :: ", "::"),
        (":: ", "::"),
        (" < ", "<"),
        ("< ", "<"),
        (" >", ">"),
        (" (", "("),
        ("( ", "("),
        (" )", ")"),
        (" ,", ","),
        (" : ", ": "),
        ("& ", "&"),
        (" [", " ["),
        ("[ ", "["),
        (" ]", "]"),
        (" ;", ";"),
        (",)", ")"),
        (" :", ":"),
        ("' ", "'"),
        (",>", ">"),
    ] {
        text = text.replace(from, to);
    }
    text.replace("- >", "->")
}
