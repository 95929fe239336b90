//! One application in four frameworks: it receives files, sends them, and serves signed links.
//! `docs/frameworks.md` shows these files.

pub mod poem;
pub mod rocket;
pub mod salvo;
pub mod warp;
