//! Copying, synchronising and verifying objects between any two storages. Feature `transfer`.
//!
//! Contains all of the crate `storage-transfer`, and [`server_side`].

#[doc(inline)]
pub use storage_transfer::*;

/// Returns the services of the drivers that are built in, which copy between two of their storages
/// without this process: S3 between two buckets.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> anystorage::Result<()> {
/// use anystorage::transfer;
///
/// let (media, backup) = (anystorage::open("memory:")?, anystorage::open("memory:")?);
/// media.save("a.txt", "hello").await?;
/// transfer::copy(&media, "a.txt", &backup, "a.txt").server_side(transfer::server_side()).await?;
/// # Ok(()) }
/// ```
#[must_use]
pub fn server_side() -> ServerSideCopy {
    let services = ServerSideCopy::within_one_storage();
    #[cfg(feature = "s3")]
    let services = services.with(storage_s3::copy_between);
    services
}
