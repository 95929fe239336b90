//! [`Purge`]: removes the copies of changed pages from mirrors.

use async_trait::async_trait;
use storage_core::Result;

/// Removes the copies of changed objects from mirrors, after a release became current.
#[async_trait]
pub trait Purge: Send + Sync {
    /// Removes the copies of these keys below the destination: fixed names, and names with a hash
    /// whose headers have changed. Others never change.
    ///
    /// # Errors
    /// If a mirror may still have a copy. The release stays current, and the next publish or
    /// rollback purges again.
    async fn purge(&self, keys: &[String]) -> Result<()>;
}
