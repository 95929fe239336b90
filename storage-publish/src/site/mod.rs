//! A site as it is published: its files with their final names and bytes.

mod asset;

pub use asset::{Asset, Content, Naming};

/// The files of a site with their final names and bytes, in an order for uploads.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Site {
    /// The files. One that another one refers to comes before it, except in a cycle.
    pub assets: Vec<Asset>,
}
