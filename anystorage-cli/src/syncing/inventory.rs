//! [`SourceInventory`]: an S3 Inventory of the source of a transfer.

use anystorage::format_time;
use anystorage::transfer::Inventory;
use serde_json::{Value, json};

use crate::exit::Failure;
use crate::location::Location;
use crate::place::Place;
use crate::resolver::{Purpose, Resolver};
use crate::syncing::sides::Sides;

/// An inventory, limited to the source.
#[derive(Debug)]
pub(crate) struct SourceInventory {
    manifest: Place,
    inventory: Inventory,
}

impl SourceInventory {
    /// Reads a manifest.
    ///
    /// # Errors
    /// A usage error if it is no manifest, or that of another bucket.
    pub(crate) async fn open(
        resolver: &mut Resolver,
        manifest: &Location,
        sides: &Sides,
    ) -> Result<Self, Failure> {
        let manifest = resolver.resolve(manifest, Purpose::Existing)?;
        let inventory = Inventory::open(&manifest.storage, manifest.key()?).await;
        let inventory = inventory.and_then(|all| all.below(&sides.from));
        let inventory = inventory.map_err(|error| Failure::of_engine(&manifest, &error))?;
        Ok(Self { manifest, inventory })
    }

    pub(crate) fn inventory(&self) -> &Inventory {
        &self.inventory
    }

    /// Returns borders of this many shards, as names below the source.
    pub(crate) async fn borders(
        &self,
        sides: &Sides,
        shards: usize,
    ) -> Result<Vec<String>, Failure> {
        let borders = self.inventory.borders(shards.saturating_sub(1)).await;
        let borders = borders.map_err(|error| Failure::of_engine(&self.manifest, &error))?;
        let prefix = sides.from.prefix().as_str();
        let names = borders.iter().filter_map(|key| key.as_str().strip_prefix(prefix));
        Ok(names.map(str::to_owned).collect())
    }

    /// Returns when S3 began to write the inventory.
    pub(crate) fn time(&self) -> Option<String> {
        self.inventory.created().map(format_time)
    }

    /// Returns what the summary in JSON contains.
    pub(crate) fn json(&self) -> Value {
        json!({
            "manifest": self.manifest.to_string(),
            "bucket": self.inventory.source_bucket(),
            "created": self.time(),
        })
    }
}
