//! Releases: how a site gets to its destination, becomes visible as a whole, and is replaced.
//!
//! `publish.rs` has the order of the steps. `before.rs` and `draft.rs` decide what is to do,
//! `place.rs` stores files, `pages.rs` shows pages, `cleanup.rs` deletes what old releases leave.
//! `pointer.rs` and `claim.rs` keep publishers apart, `stop.rs` ends one early.

mod assets;
mod before;
mod bundled;
mod claim;
mod cleanup;
mod config;
mod copy;
mod digest;
mod directories;
mod draft;
mod encoder;
mod encodings;
mod layout;
mod listing;
mod manifest;
mod names;
mod options;
mod pages;
mod place;
mod plan;
mod pointer;
mod publish;
mod purge;
mod releases;
mod rollback;
mod rules;
#[cfg(feature = "serve")]
mod served;
mod stop;
pub mod testing;
mod times;
mod verify;

pub use assets::Assets;
pub use config::{PublishConfig, RuleConfig};
pub use digest::Sha256;
pub use encodings::Encoding;
pub use layout::{POINTER_KEY, RESERVED_PREFIX, manifest_key};
pub use manifest::{EncodedBody, Manifest, ManifestEntry, Sibling};
pub use options::PublishOptions;
pub use plan::{PublishPlan, plan};
pub use publish::{Published, publish};
pub use purge::Purge;
pub use releases::{CurrentRelease, PreviousRelease, ReleaseClaim, Releases, releases};
pub use rollback::{RolledBack, rollback};
pub use rules::PLAIN_SHA256;
#[cfg(feature = "serve")]
pub use served::ServedRelease;
