//! A site as it is published: its files with their final names and bytes.

mod asset;
mod build;
mod bundled;
mod graph;
mod integrity;
mod links;
mod naming;
mod options;
mod patterns;
mod policy;
mod problems;
mod read;
mod render;
mod resolve;
mod scan;
mod source_map;
mod splice;
mod spool;
mod walk;

pub(crate) use bundled::is_bundled;

pub use asset::{Asset, Content, Naming, SpooledFile};
pub use options::SiteOptions;
pub use problems::{Problem, Problems};

/// The files of a site with their final names and bytes, in an order for uploads.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Site {
    /// The files: those without references, sorted by path; those with references; pages. One that
    /// another one refers to comes before it, except in a cycle and between pages.
    pub assets: Vec<Asset>,
    /// What is probably unintended: source maps that are named and missing, links that are not
    /// UTF-8, and an `import()` because of which all files keep their names.
    pub warnings: Vec<Problem>,
}
