//! [`ProbeRun`]: the tests of a probe, and the objects that they create.

use std::sync::Arc;

use futures_util::future::join_all;
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use storage_core::{
    Checksum, ChecksumAlgorithm, CopyMode, CopyOptions, ETag, Error, ErrorKind, Key, Metadata,
    MetadataDirective, Payload, Result, SaveMode, SaveOptions,
};

use super::report::{Feature, ProbeFinding, ProbeOutcome};
use crate::checksums::{BodyChecksum, ChecksumMode, ChecksumPolicy};
use crate::client::FailedRequest;
use crate::condition::Condition;
use crate::copy::Source;
use crate::multipart::{PartSizes, Upload};
use crate::parts::PartReader;
use crate::quirks::{Features, Quirks};
use crate::request::{Chunks, Request, RetryRule};
use crate::shared::{Inner, Shared};
use crate::{copy, delete, object_options, save, stat};

/// How many writers save one object at a time.
const RACERS: usize = 16;
/// An ETag that no object of a probe has.
const WRONG_ETAG: &str = "00000000000000000000000000000000";

/// A probe in progress.
pub(super) struct ProbeRun {
    /// The driver with all features of AWS, and without checksums.
    unrestricted: Shared,
    directory: Key,
    created: Vec<Key>,
}

/// The outcome of a test, or the service's error.
type CheckResult = Result<ProbeOutcome>;

fn ignored(what: impl Into<String>) -> CheckResult {
    Ok(ProbeOutcome::Ignored(what.into()))
}

/// Returns the outcome of a test of ETags with quotes that could not be made.
fn not_tested() -> ProbeOutcome {
    ProbeOutcome::Refused("not tested, because the test of if_match failed".to_owned())
}

impl ProbeRun {
    pub(super) fn new(s3: &Shared, directory: Key) -> Self {
        let unchecked = ChecksumPolicy { mode: ChecksumMode::None, headers: false };
        let unrestricted = Arc::new(Inner {
            features: Quirks::None.features(None),
            checksum_policy: unchecked,
            ..s3.without_object_headers()
        });
        Self { unrestricted, directory, created: Vec::new() }
    }

    /// Runs all tests.
    ///
    /// # Errors
    /// The error of a plain save, without which no other test can run.
    pub(super) async fn run(&mut self) -> Result<Vec<ProbeFinding>> {
        let object = self.key("object")?;
        self.save(&object, SaveMode::Overwrite).await?;
        let mut findings = Vec::new();
        let mut record = |what, feature, result: CheckResult| {
            let outcome =
                result.unwrap_or_else(|error| ProbeOutcome::Refused(error.message().to_owned()));
            findings.push(ProbeFinding { what, outcome, feature });
        };
        record("create_new", Some(Feature::ConditionalPut), self.create_new(&object).await);
        record("create_new, raced by 16 writers", Some(Feature::ConditionalPut), self.race().await);
        let (if_match, quoted) = self.if_match(&object).await;
        record("if_match", Some(Feature::ConditionalPut), if_match);
        record("if_match with a quoted ETag", Some(Feature::QuotedEtags), quoted);
        record(
            "if_match with an ETag without quotes",
            Some(Feature::UnquotedEtags),
            self.if_match_without_quotes(&object).await,
        );
        record(
            "create_new of an upload in parts",
            Some(Feature::ConditionalComplete),
            self.complete(&object).await,
        );
        record(
            "create_new of a copy",
            Some(Feature::ConditionalCopy),
            self.conditional_copy(&object).await,
        );
        let source = self.conditional_source(&Arc::clone(&self.unrestricted), &object).await;
        let is_ignored = matches!(source, Ok(ProbeOutcome::Ignored(_)));
        record("if_source_match of a copy", Some(Feature::ConditionalSource), source);
        if is_ignored {
            let named_by_ceph = self.conditional_source(&self.ceph(), &object).await;
            let what = "if_source_match of a copy, as Ceph names it";
            record(what, Some(Feature::CephSourceCondition), named_by_ceph);
        }
        record("a copy with other metadata", None, self.copy(&object).await);
        record("a copy by ranges", Some(Feature::PartCopy), self.part_copy(&object).await);
        for (what, feature, body_checksum) in checksum_checks() {
            let result = self.checksum(body_checksum).await;
            record(what, feature, result);
        }
        record(
            "several deletions in one request",
            Some(Feature::BulkDelete),
            self.bulk_delete().await,
        );
        record(
            "underscores in metadata names",
            Some(Feature::Underscores),
            self.underscores().await,
        );
        record("encryption (sse = \"AES256\")", Some(Feature::Sse), self.encryption().await);
        Ok(findings)
    }

    /// Deletes all created objects.
    ///
    /// # Errors
    /// The first error, after trying all of them.
    pub(super) async fn clean_up(&mut self) -> Result<()> {
        let deleted =
            join_all(self.created.iter().map(|key| delete::delete(&self.unrestricted, key))).await;
        let left = |error: Error| {
            error.with_context(&format!("objects of the probe are left below {}", self.directory))
        };
        deleted.into_iter().collect::<Result<()>>().map_err(left)
    }

    /// Returns a key below the directory, which is deleted at the end.
    fn key(&mut self, name: &str) -> Result<Key> {
        let key = Key::new(format!("{}/{name}", self.directory))?;
        self.created.push(key.clone());
        Ok(key)
    }

    async fn save(&self, key: &Key, mode: SaveMode) -> Result<Option<ETag>> {
        let mut options = SaveOptions::default();
        options.mode = mode;
        Ok(save::save(&self.unrestricted, key, Payload::from("probe"), &options).await?.etag)
    }

    async fn create_new(&self, existing: &Key) -> CheckResult {
        match self.save(existing, SaveMode::CreateNew).await {
            Ok(_) => ignored("the existing object was overwritten"),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(ProbeOutcome::Works),
            Err(error) => Err(error),
        }
    }

    async fn race(&mut self) -> CheckResult {
        let key = self.key("race")?;
        let ended = join_all((0..RACERS).map(|_| self.save(&key, SaveMode::CreateNew))).await;
        let (mut winners, mut failure) = (0, None);
        for outcome in ended {
            match outcome {
                Ok(_) => winners += 1,
                Err(error)
                    if matches!(error.kind(), ErrorKind::AlreadyExists | ErrorKind::Conflict) => {}
                Err(error) => failure = Some(error),
            }
        }
        match (winners, failure) {
            (1, _) => Ok(ProbeOutcome::Works),
            (0, Some(error)) => Err(error),
            (winners, _) => ignored(format!("{winners} of {RACERS} writers succeeded")),
        }
    }

    /// Returns whether a condition on an ETag has an effect, and whether it has one with quotes.
    async fn if_match(&mut self, existing: &Key) -> (CheckResult, CheckResult) {
        let wrong = match ETag::strong(WRONG_ETAG) {
            Ok(wrong) => self.save(existing, SaveMode::IfMatch(wrong)).await,
            Err(error) => Err(error),
        };
        match wrong {
            Ok(_) => {
                let what = || ignored("an object of another ETag was replaced");
                return (what(), what());
            }
            Err(error) if error.kind() == ErrorKind::PreconditionFailed => {}
            Err(error) => return (Err(error), Ok(not_tested())),
        }
        let etag = match stat::stat(&self.unrestricted, existing).await.map(|meta| meta.etag) {
            Ok(Some(etag)) => etag,
            Ok(None) => {
                return (ignored("the object has no ETag"), ignored("the object has no ETag"));
            }
            Err(error) => return (Err(error), Ok(not_tested())),
        };
        match self.save(existing, SaveMode::IfMatch(etag.clone())).await {
            Ok(_) => (Ok(ProbeOutcome::Works), Ok(ProbeOutcome::Works)),
            Err(error) if error.kind() == ErrorKind::PreconditionFailed => (
                self.unquoted(existing, etag).await,
                Ok(ProbeOutcome::Refused(error.message().to_owned())),
            ),
            Err(error) => (Err(error), Ok(not_tested())),
        }
    }

    async fn if_match_without_quotes(&self, existing: &Key) -> CheckResult {
        match self.unquoted(existing, ETag::strong(WRONG_ETAG)?).await {
            Ok(_) => return ignored("an object of another ETag was replaced"),
            Err(error) if error.kind() == ErrorKind::PreconditionFailed => {}
            Err(error) => return Err(error),
        }
        match stat::stat(&self.unrestricted, existing).await?.etag {
            Some(etag) => self.unquoted(existing, etag).await,
            None => ignored("the object has no ETag"),
        }
    }

    async fn unquoted(&self, existing: &Key, etag: ETag) -> CheckResult {
        let mut features = self.unrestricted.features;
        features.quoted_etags = false;
        let s3: Shared = Arc::new(Inner {
            features,
            checksum_policy: self.unrestricted.checksum_policy,
            ..self.unrestricted.without_object_headers()
        });
        let mut options = SaveOptions::default();
        options.mode = SaveMode::IfMatch(etag);
        save::save(&s3, existing, Payload::from("probe"), &options)
            .await
            .map(|_| ProbeOutcome::Works)
    }

    /// Completes a multipart upload over an existing object, on the condition that there is none.
    async fn complete(&self, existing: &Key) -> CheckResult {
        let mut upload = self.upload(existing, HeaderMap::new()).await?;
        let mut parts = PartReader::from_bytes("probe".into(), &self.unrestricted.save_budget);
        let sizes = PartSizes::new(self.unrestricted.part_size, Some(5), true);
        let first = parts.next(sizes.size_of(1)).await?;
        let sent = upload.send_all(first, &mut parts, sizes, 1).await;
        let completed = match sent {
            Ok(()) => upload.complete(&Condition::IfAbsent, true).await,
            Err(error) => Err(error),
        };
        match completed {
            Ok(_) => ignored("the existing object was overwritten"),
            Err(error) => {
                upload.abort().await;
                if error.kind() == ErrorKind::AlreadyExists {
                    Ok(ProbeOutcome::Works)
                } else {
                    Err(error)
                }
            }
        }
    }

    async fn upload(&self, key: &Key, headers: HeaderMap) -> Result<Upload> {
        Upload::create(&self.unrestricted.client, key, headers, self.unrestricted.checksum_policy)
            .await
    }

    fn source<'a>(&'a self, key: &'a Key) -> Source<'a> {
        Source::new(&self.unrestricted, key)
    }

    async fn conditional_copy(&mut self, from: &Key) -> CheckResult {
        let to = self.key("copied-over")?;
        self.save(&to, SaveMode::Overwrite).await?;
        let mut options = CopyOptions::default();
        options.mode = CopyMode::CreateNew;
        match copy::copy(&self.unrestricted, self.source(from), &to, &options).await {
            Ok(()) => ignored("the existing object was overwritten"),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(ProbeOutcome::Works),
            Err(error) => Err(error),
        }
    }

    /// Returns the driver with the condition on the source of a copy as Ceph names it.
    fn ceph(&self) -> Shared {
        let features = Features { ceph_source_condition: true, ..self.unrestricted.features };
        Arc::new(Inner { features, ..self.unrestricted.without_object_headers() })
    }

    async fn conditional_source(&mut self, s3: &Shared, from: &Key) -> CheckResult {
        let to = self.key("copied-if-unchanged")?;
        let mut options = CopyOptions::default();
        options.if_source_match = Some(ETag::strong(WRONG_ETAG)?);
        match copy::copy_at_service(s3, self.source(from), &to, &options).await {
            Ok(()) => return ignored("an object of another ETag was copied"),
            Err(error) if error.kind() == ErrorKind::PreconditionFailed => {}
            Err(error) => return Err(error),
        }
        options.if_source_match = stat::stat(&self.unrestricted, from).await?.etag;
        copy::copy_at_service(s3, self.source(from), &to, &options)
            .await
            .map(|()| ProbeOutcome::Works)
    }

    async fn copy(&mut self, from: &Key) -> CheckResult {
        let to = self.key("copied")?;
        let mut options = CopyOptions::default();
        options.metadata = MetadataDirective::Replace(Metadata::new().content_type("text/x-probe"));
        copy::copy(&self.unrestricted, self.source(from), &to, &options).await?;
        let copied = stat::stat(&self.unrestricted, &to).await?;
        match copied.content_type() {
            Some("text/x-probe") => Ok(ProbeOutcome::Works),
            _ => ignored("the copy has the metadata of its source"),
        }
    }

    async fn part_copy(&mut self, from: &Key) -> CheckResult {
        let to = self.key("copied-by-ranges")?;
        copy::force_by_ranges(&self.unrestricted, self.source(from), &to).await?;
        let size = stat::stat(&self.unrestricted, &to).await?.size;
        if size == "probe".len() as u64 {
            Ok(ProbeOutcome::Works)
        } else {
            ignored("the copy has another size")
        }
    }

    /// Saves bytes with a checksum of other bytes, and then with their own.
    async fn checksum(&mut self, body_checksum: fn(&[u8]) -> BodyChecksum) -> CheckResult {
        let key = self.key("checked")?;
        let wrong = self.put(&key, &body_checksum(b"other bytes")).await;
        match wrong {
            Ok(()) => return ignored("bytes with another checksum were stored"),
            Err(failed) if failed.status().is_some_and(|status| (400..500).contains(&status)) => {}
            Err(failed) => return Err(failed.error),
        }
        self.put(&key, &body_checksum(b"probe"))
            .await
            .map(|()| ProbeOutcome::Works)
            .map_err(|failed| failed.error)
    }

    async fn put(&self, key: &Key, body_checksum: &BodyChecksum) -> Result<(), FailedRequest> {
        let body = Chunks::from(bytes::Bytes::from_static(b"probe"));
        // A mismatch is usually retried, but not here.
        let request =
            Request::new(Method::PUT, key.as_str()).body(body).retry(RetryRule::OnlyIfNotStarted);
        self.unrestricted.client.send(&request.with_checksum(body_checksum)?).await.map(|_| ())
    }

    async fn bulk_delete(&mut self) -> CheckResult {
        let keys = [self.key("deleted-1")?, self.key("deleted-2")?];
        for key in &keys {
            self.save(key, SaveMode::Overwrite).await?;
        }
        delete::delete_many(&self.unrestricted, &keys).await.into_iter().collect::<Result<()>>()?;
        for key in &keys {
            if stat::exists(&self.unrestricted, key).await? {
                return ignored("the objects still exist");
            }
        }
        Ok(ProbeOutcome::Works)
    }

    async fn underscores(&mut self) -> CheckResult {
        let key = self.key("underscores")?;
        let mut options = SaveOptions::default();
        options.metadata = Metadata::new().user("a_b", "c");
        save::save(&self.unrestricted, &key, Payload::from("probe"), &options).await?;
        let found = stat::stat(&self.unrestricted, &key).await?.metadata.user_metadata;
        if found.contains_key("a_b") {
            Ok(ProbeOutcome::Works)
        } else {
            ignored("the name was changed")
        }
    }

    async fn encryption(&mut self) -> CheckResult {
        let key = self.key("encrypted")?;
        let sse = HeaderName::from_static("x-amz-server-side-encryption");
        let body = Chunks::from(bytes::Bytes::from_static(b"probe"));
        let request = Request::new(Method::PUT, key.as_str())
            .body(body)
            .header(sse, HeaderValue::from_static("AES256"));
        let response = self.unrestricted.client.send(&request).await?;
        match object_options::check_encryption(&request.headers, &response.headers) {
            Ok(()) => Ok(ProbeOutcome::Works),
            Err(_) => ignored("the service does not confirm the encryption"),
        }
    }
}

type ChecksumCheck = (&'static str, Option<Feature>, fn(&[u8]) -> BodyChecksum);

/// Returns the checksums to test. The driver needs one of them.
fn checksum_checks() -> [ChecksumCheck; 3] {
    fn crc(bytes: &[u8]) -> BodyChecksum {
        let checksum = Checksum::of(ChecksumAlgorithm::Crc64Nvme, bytes);
        BodyChecksum { checksum, in_header: true, in_signature: false }
    }
    fn sha256(bytes: &[u8]) -> BodyChecksum {
        let checksum = Checksum::of(ChecksumAlgorithm::Sha256, bytes);
        BodyChecksum { checksum, in_header: false, in_signature: true }
    }
    fn md5(bytes: &[u8]) -> BodyChecksum {
        BodyChecksum {
            checksum: Checksum::of(ChecksumAlgorithm::Md5, bytes),
            in_header: true,
            in_signature: false,
        }
    }
    [
        ("checksum = \"crc64nvme\"", Some(Feature::ChecksumHeaders), crc),
        ("checksum = \"sha256\" in the signature", None, sha256),
        ("checksum = \"md5\"", None, md5),
    ]
}
