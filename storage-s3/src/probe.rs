//! [`S3::probe`]: tries what a service does with conditions, checksums, copies and bulk deletes, and finds the profile
//! that fits.

mod report;
mod trial;

use storage_core::{Key, Result, keys};

use crate::driver::S3;
pub use report::{ProbeFinding, ProbeOutcome, ProbeReport};
use trial::Trial;

/// The beginning of the names of all objects that a probe makes.
const NAME: &str = "anystorage-probe-";

impl S3 {
    /// Tries what the service does, by objects of its own below a prefix (`""` for all of the
    /// bucket), and deletes them afterwards. Their names begin with `anystorage-probe-` and 16
    /// random characters.
    ///
    /// Tries conditional saves (also by 16 writers at once), conditional uploads in parts and
    /// copies, checksums of saves, copies with other metadata and by ranges, deletion of several
    /// objects by one request, encryption, and underscores in the names of user metadata. Sends
    /// about 70 requests, and takes some seconds. The profile of the driver
    /// ([`quirks`](crate::S3Builder::quirks)) does not change what is tried.
    ///
    /// A probe cannot prove that a service never lets two racing writers win; it finds services
    /// that ignore a condition.
    ///
    /// Dropping the future leaves objects behind, which a listing of `anystorage-probe-` shows. In
    /// a bucket with versioning the deleted versions stay, as after every deletion.
    ///
    /// ```no_run
    /// # async fn example() -> storage_core::Result<()> {
    /// let bucket = storage_s3::S3::builder("media").endpoint("https://s3.example.com".parse().unwrap()).build()?;
    /// let report = bucket.probe("").await?;
    /// if let Some(quirks) = report.suggestion() {
    ///     println!("set quirks = \"{}\"", quirks.as_str());
    /// }
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// `InvalidKey` for a prefix that no key can begin with; the errors of
    /// [`save`](storage_core::Storage::save), [`delete`](storage_core::Storage::delete) and the
    /// like if the plain verbs fail. A finding is no error.
    pub async fn probe(&self, prefix: &str) -> Result<ProbeReport> {
        let random: String =
            keys::random_bytes::<8>()?.iter().map(|byte| format!("{byte:02x}")).collect();
        let directory = Key::new(format!("{prefix}{NAME}{random}"))?;
        let mut trial = Trial::new(self.shared(), directory);
        let tried = trial.run().await;
        let tidied = trial.tidy().await;
        match (tried, tidied) {
            (Ok(findings), Ok(())) => Ok(ProbeReport::new(findings, self.shared().abilities)),
            (Ok(_), Err(left)) => Err(left),
            (Err(error), Ok(())) => Err(error),
            // Both matter: why it failed, and what is left behind.
            (Err(error), Err(left)) => Err(error.with_note(left.message())),
        }
    }
}
