//! Publishes the static files of a website to any storage.

mod release;
mod site;

#[cfg(feature = "serve")]
pub use release::ServedRelease;
#[doc(hidden)]
pub use release::testing;
pub use release::{
    Assets, CurrentRelease, EncodedBody, Encoding, Manifest, ManifestEntry, PLAIN_SHA256,
    POINTER_KEY, PreviousRelease, PublishConfig, PublishOptions, PublishPlan, Published, Purge,
    RESERVED_PREFIX, ReleaseClaim, Releases, RolledBack, RuleConfig, Sha256, Sibling, manifest_key,
    plan, publish, releases, rollback,
};
pub use site::{Asset, Content, Naming, Site};
