//! [`Merge`]: joins the sorted listings of both sides by name, in bounded memory.

use std::cmp::Ordering;

use storage_core::{Error, ObjectEntry};

use crate::directory::Directory;
use crate::listing::{Listed, Listing, NameRange};

/// A side of a transfer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Side {
    /// Where objects are read.
    Source,
    /// Where objects are written.
    Target,
}

/// What both listings contain under one name. At least one side has an object.
#[derive(Debug, Clone)]
pub(crate) struct Pair {
    pub(crate) source: Option<ObjectEntry>,
    pub(crate) target: Option<ObjectEntry>,
    /// The lengths of the prefixes of both sides in bytes.
    prefix_lens: (usize, usize),
}

impl Pair {
    pub(crate) fn new(
        directories: (&Directory, &Directory),
        source: Option<ObjectEntry>,
        target: Option<ObjectEntry>,
    ) -> Self {
        Self { source, target, prefix_lens: prefix_lens(directories) }
    }

    /// Returns the name below both directories.
    pub(crate) fn name(&self) -> &str {
        match (&self.source, &self.target) {
            (Some(source), _) => name(source, self.prefix_lens.0),
            (None, Some(target)) => name(target, self.prefix_lens.1),
            (None, None) => "",
        }
    }
}

fn name(object: &ObjectEntry, prefix_len: usize) -> &str {
    object.key.as_str().get(prefix_len..).unwrap_or_default()
}

fn prefix_lens((source, target): (&Directory, &Directory)) -> (usize, usize) {
    (source.prefix().as_str().len(), target.prefix().as_str().len())
}

/// A step of the merge.
#[derive(Debug)]
pub(crate) enum Step {
    Pair(Pair),
    /// Everything at and below this name is unknown on this side.
    Unknown(Side, String, Error),
    FolderMarker(Side),
    /// Neither side has this key of a list.
    Missing(String),
    /// A listing broke off. This is the last step.
    Broken(Side, Error),
}

/// One listing, and its next object.
#[derive(Debug)]
struct Head {
    side: Side,
    listing: Listing,
    object: Option<ObjectEntry>,
    ended: bool,
}

impl Head {
    /// Reads until the next object is known. Returns a step that comes before it.
    async fn fill(&mut self) -> Option<Step> {
        if self.object.is_some() || self.ended {
            return None;
        }
        match self.listing.next().await {
            Some(Listed::Object(object)) => self.object = Some(object),
            Some(Listed::Unknown(name, error)) => {
                return Some(Step::Unknown(self.side, name, error));
            }
            Some(Listed::FolderMarker) => return Some(Step::FolderMarker(self.side)),
            Some(Listed::Broken(error)) => return Some(Step::Broken(self.side, error)),
            None => self.ended = true,
        }
        None
    }
}

/// The objects of both sides, in byte order of their names.
#[derive(Debug)]
pub(crate) struct Merge {
    prefix_lens: (usize, usize),
    source: Head,
    target: Head,
    is_broken: bool,
}

impl Merge {
    pub(crate) fn begin(source: &Directory, target: &Directory, range: &NameRange) -> Self {
        let listings = [source, target].map(|side| Listing::begin(side, range.clone()));
        Self::join((source, target), listings)
    }

    /// Joins the listings of the source and of the target.
    pub(crate) fn join(
        directories: (&Directory, &Directory),
        [source, target]: [Listing; 2],
    ) -> Self {
        let head = |side, listing| Head { side, listing, object: None, ended: false };
        Self {
            prefix_lens: prefix_lens(directories),
            source: head(Side::Source, source),
            target: head(Side::Target, target),
            is_broken: false,
        }
    }

    /// Returns the next step; `None` if both listings ended. Cancel-safe.
    pub(crate) async fn next(&mut self) -> Option<Step> {
        if self.is_broken {
            return None;
        }
        for head in [&mut self.source, &mut self.target] {
            while head.object.is_none() && !head.ended {
                if let Some(step) = head.fill().await {
                    self.is_broken = matches!(step, Step::Broken(..));
                    return Some(step);
                }
            }
        }
        self.pair().map(Step::Pair)
    }

    /// Takes the object with the smaller name, or both if their names are equal.
    fn pair(&mut self) -> Option<Pair> {
        let (source, target) = (&mut self.source.object, &mut self.target.object);
        let order = match (source.as_ref(), target.as_ref()) {
            (None, None) => return None,
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some(source), Some(target)) => {
                name(source, self.prefix_lens.0).cmp(name(target, self.prefix_lens.1))
            }
        };
        let source = if order.is_le() { source.take() } else { None };
        let target = if order.is_ge() { target.take() } else { None };
        Some(Pair { source, target, prefix_lens: self.prefix_lens })
    }
}
