//! [`S3::probe`]: tests what a service supports and finds the profile that fits.

mod report;
mod run;

use storage_core::{Key, Result, keys};

use crate::driver::S3;
pub use report::{ProbeFinding, ProbeOutcome, ProbeReport};
use run::ProbeRun;

/// The beginning of the names of all objects that a probe creates.
const NAME_PREFIX: &str = "anystorage-probe-";

impl S3 {
    /// Tests what the service supports. Creates objects below a prefix (`""` for the root of the
    /// bucket) and deletes them afterwards. Their names begin with `anystorage-probe-` and 16
    /// random hexadecimal digits.
    ///
    /// Tests conditional saves (also by 16 concurrent writers), conditional multipart uploads and
    /// copies, checksums, copies with other metadata and by ranges, bulk deletes, encryption, and
    /// underscores in the names of user metadata. Sends about 70 requests, which take some seconds.
    /// The option [`quirks`](crate::S3Builder::quirks) does not change what is tested.
    ///
    /// A probe finds services that ignore a condition. It cannot prove that a service never lets
    /// two concurrent writers succeed.
    ///
    /// If the future is dropped, objects of the probe remain. A listing of `anystorage-probe-`
    /// below the prefix contains them. In a bucket with versioning, the deleted versions remain, as
    /// after every deletion.
    ///
    /// ```no_run
    /// # async fn example() -> storage_core::Result<()> {
    /// let endpoint = "https://s3.example.com".parse().unwrap();
    /// let bucket = storage_s3::S3::builder("media").endpoint(endpoint).build()?;
    /// let report = bucket.probe("").await?;
    /// if let Some(quirks) = report.suggestion() {
    ///     println!("set quirks = \"{}\"", quirks.as_str());
    /// }
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// `InvalidKey` if no key can begin with the prefix. The errors of
    /// [`save`](storage_core::Storage::save) and [`delete`](storage_core::Storage::delete) if a
    /// plain save or a deletion fails. A missing feature is a finding, not an error.
    pub async fn probe(&self, prefix: &str) -> Result<ProbeReport> {
        let random: String =
            keys::random_bytes::<8>()?.iter().map(|byte| format!("{byte:02x}")).collect();
        let directory = Key::new(format!("{prefix}{NAME_PREFIX}{random}"))?;
        let mut run = ProbeRun::new(self.shared(), directory);
        let result = run.run().await;
        let cleaned_up = run.clean_up().await;
        match (result, cleaned_up) {
            (Ok(findings), Ok(())) => Ok(ProbeReport::new(findings, self.shared().features)),
            (Ok(_), Err(left)) => Err(left),
            (Err(error), Ok(())) => Err(error),
            // The error reports both causes: the failure, and the objects that are left.
            (Err(error), Err(left)) => Err(error.with_note(left.message())),
        }
    }
}
