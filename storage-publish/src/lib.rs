//! Publishes the static files of a website to any storage.

mod site;

pub use site::{Asset, Content, Naming, Site};
