//! [`Trial`]: the objects of a probe, and what is tried with them.

use std::sync::Arc;

use futures_util::future::join_all;
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use storage_core::{
    Checksum, ChecksumAlgorithm, CopyMode, CopyOptions, ETag, Error, ErrorKind, Key, Metadata,
    MetadataDirective, Payload, Result, SaveMode, SaveOptions,
};

use super::report::{Ability, ProbeFinding, ProbeOutcome};
use crate::checksums::{Checking, ChecksumMode, Proof};
use crate::client::Failed;
use crate::condition::Condition;
use crate::multipart::{PartSizes, Upload};
use crate::parts::Parts;
use crate::quirks::Quirks;
use crate::request::{Chunks, Repeat, Request};
use crate::shared::{Inner, Shared};
use crate::{copy, delete, save, stat, stored};

/// How many writers race for one object.
const RACERS: usize = 16;
/// An ETag that no object of a probe has.
const NO_ETAG: &str = "00000000000000000000000000000000";

/// A probe under way.
pub(super) struct Trial {
    /// The service, as if it did all that AWS does, and without checksums.
    bold: Shared,
    directory: Key,
    made: Vec<Key>,
}

/// The outcome of what was tried, or the service's refusal of it.
type Tried = Result<ProbeOutcome>;

fn ignored(what: impl Into<String>) -> Tried {
    Ok(ProbeOutcome::Ignored(what.into()))
}

impl Trial {
    pub(super) fn new(s3: &Shared, directory: Key) -> Self {
        let unchecked = Checking { mode: ChecksumMode::None, headers: false };
        let bold = Arc::new(Inner {
            abilities: Quirks::None.abilities(None),
            checking: unchecked,
            ..s3.plain()
        });
        Self { bold, directory, made: Vec::new() }
    }

    /// Tries all there is to try.
    ///
    /// # Errors
    /// Those of a plain save, without which nothing else can be tried.
    pub(super) async fn run(&mut self) -> Result<Vec<ProbeFinding>> {
        let object = self.key("object")?;
        self.save(&object, SaveMode::Overwrite).await?;
        let mut findings = Vec::new();
        let mut note = |what, ability, tried: Tried| {
            let outcome =
                tried.unwrap_or_else(|error| ProbeOutcome::Refused(error.message().to_owned()));
            findings.push(ProbeFinding { what, outcome, ability });
        };
        note("create_new", Some(Ability::ConditionalPut), self.create_new(&object).await);
        note("create_new, raced by 16 writers", Some(Ability::ConditionalPut), self.race().await);
        let (if_match, quoted) = self.if_match(&object).await;
        note("if_match", Some(Ability::ConditionalPut), if_match);
        note("if_match with a quoted ETag", Some(Ability::QuotedEtags), quoted);
        note(
            "if_match with an ETag without quotes",
            Some(Ability::UnquotedEtags),
            self.if_match_without_quotes(&object).await,
        );
        note(
            "create_new of an upload in parts",
            Some(Ability::ConditionalComplete),
            self.complete(&object).await,
        );
        note(
            "create_new of a copy",
            Some(Ability::ConditionalCopy),
            self.conditional_copy(&object).await,
        );
        note("a copy with other metadata", None, self.copy(&object).await);
        note("a copy by ranges", Some(Ability::PartCopy), self.part_copy(&object).await);
        for (what, ability, proof) in checksums() {
            let tried = self.checksum(proof).await;
            note(what, ability, tried);
        }
        note(
            "several deletions in one request",
            Some(Ability::BulkDelete),
            self.bulk_delete().await,
        );
        note("underscores in metadata names", Some(Ability::Underscores), self.underscores().await);
        note("encryption (sse = \"AES256\")", Some(Ability::Sse), self.encryption().await);
        Ok(findings)
    }

    /// Deletes all that was made.
    ///
    /// # Errors
    /// The first of a deletion, after all the others were tried.
    pub(super) async fn tidy(&mut self) -> Result<()> {
        let deleted = join_all(self.made.iter().map(|key| delete::delete(&self.bold, key))).await;
        let left = |error: Error| {
            error.with_context(&format!("objects of the probe are left below {}", self.directory))
        };
        deleted.into_iter().collect::<Result<()>>().map_err(left)
    }

    /// A key below the directory, to be deleted at the end.
    fn key(&mut self, name: &str) -> Result<Key> {
        let key = Key::new(format!("{}/{name}", self.directory))?;
        self.made.push(key.clone());
        Ok(key)
    }

    async fn save(&self, key: &Key, mode: SaveMode) -> Result<Option<ETag>> {
        let mut options = SaveOptions::default();
        options.mode = mode;
        Ok(save::save(&self.bold, key, Payload::from("probe"), &options).await?.etag)
    }

    async fn create_new(&self, there: &Key) -> Tried {
        match self.save(there, SaveMode::CreateNew).await {
            Ok(_) => ignored("the object that was there was overwritten"),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(ProbeOutcome::Works),
            Err(error) => Err(error),
        }
    }

    async fn race(&mut self) -> Tried {
        let key = self.key("race")?;
        let ended = join_all((0..RACERS).map(|_| self.save(&key, SaveMode::CreateNew))).await;
        let (mut winners, mut trouble) = (0, None);
        for outcome in ended {
            match outcome {
                Ok(_) => winners += 1,
                Err(error)
                    if matches!(error.kind(), ErrorKind::AlreadyExists | ErrorKind::Conflict) => {}
                Err(error) => trouble = Some(error),
            }
        }
        match (winners, trouble) {
            (1, _) => Ok(ProbeOutcome::Works),
            (0, Some(error)) => Err(error),
            (winners, _) => ignored(format!("{winners} of {RACERS} writers won")),
        }
    }

    /// Of a condition on an ETag: whether it is heeded, and whether with quotes.
    async fn if_match(&mut self, there: &Key) -> (Tried, Tried) {
        let wrong = match ETag::strong(NO_ETAG) {
            Ok(wrong) => self.save(there, SaveMode::IfMatch(wrong)).await,
            Err(error) => Err(error),
        };
        match wrong {
            Ok(_) => {
                let what = || ignored("an object of another ETag was replaced");
                return (what(), what());
            }
            Err(error) if error.kind() == ErrorKind::PreconditionFailed => {}
            Err(error) => return (Err(error), Ok(ProbeOutcome::Ignored("not tried".to_owned()))),
        }
        let etag = match stat::stat(&self.bold, there).await.map(|meta| meta.etag) {
            Ok(Some(etag)) => etag,
            Ok(None) => {
                return (ignored("the object has no ETag"), ignored("the object has no ETag"));
            }
            Err(error) => return (Err(error), ignored("not tried")),
        };
        match self.save(there, SaveMode::IfMatch(etag.clone())).await {
            Ok(_) => (Ok(ProbeOutcome::Works), Ok(ProbeOutcome::Works)),
            Err(error) if error.kind() == ErrorKind::PreconditionFailed => (
                self.unquoted(there, etag).await,
                Ok(ProbeOutcome::Refused(error.message().to_owned())),
            ),
            Err(error) => (Err(error), ignored("not tried")),
        }
    }

    async fn if_match_without_quotes(&self, there: &Key) -> Tried {
        match self.unquoted(there, ETag::strong(NO_ETAG)?).await {
            Ok(_) => return ignored("an object of another ETag was replaced"),
            Err(error) if error.kind() == ErrorKind::PreconditionFailed => {}
            Err(error) => return Err(error),
        }
        match stat::stat(&self.bold, there).await?.etag {
            Some(etag) => self.unquoted(there, etag).await,
            None => ignored("the object has no ETag"),
        }
    }

    async fn unquoted(&self, there: &Key, etag: ETag) -> Tried {
        let mut abilities = self.bold.abilities;
        abilities.quoted_etags = false;
        let s3: Shared =
            Arc::new(Inner { abilities, checking: self.bold.checking, ..self.bold.plain() });
        let mut options = SaveOptions::default();
        options.mode = SaveMode::IfMatch(etag);
        save::save(&s3, there, Payload::from("probe"), &options).await.map(|_| ProbeOutcome::Works)
    }

    /// An upload in parts over an object that is there, on the condition that there is none.
    async fn complete(&self, there: &Key) -> Tried {
        let mut upload = self.upload(there, HeaderMap::new()).await?;
        let mut parts = Parts::of_bytes("probe".into(), &self.bold.save_budget);
        let sizes = PartSizes::new(self.bold.part_size, Some(5), true);
        let first = parts.next(sizes.of(1)).await?;
        let sent = upload.send_all(first, &mut parts, sizes, 1).await;
        let completed = match sent {
            Ok(()) => upload.complete(&Condition::Missing, true).await,
            Err(error) => Err(error),
        };
        match completed {
            Ok(_) => ignored("the object that was there was overwritten"),
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
        Upload::create(&self.bold.client, key, headers, self.bold.checking).await
    }

    async fn conditional_copy(&mut self, from: &Key) -> Tried {
        let to = self.key("copied-over")?;
        self.save(&to, SaveMode::Overwrite).await?;
        let mut options = CopyOptions::default();
        options.mode = CopyMode::CreateNew;
        match copy::copy(&self.bold, from, &to, &options).await {
            Ok(()) => ignored("the object that was there was overwritten"),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(ProbeOutcome::Works),
            Err(error) => Err(error),
        }
    }

    async fn copy(&mut self, from: &Key) -> Tried {
        let to = self.key("copied")?;
        let mut options = CopyOptions::default();
        options.metadata = MetadataDirective::Replace(Metadata::new().content_type("text/x-probe"));
        copy::copy(&self.bold, from, &to, &options).await?;
        let copied = stat::stat(&self.bold, &to).await?;
        match copied.content_type() {
            Some("text/x-probe") => Ok(ProbeOutcome::Works),
            _ => ignored("the copy has the metadata of its source"),
        }
    }

    async fn part_copy(&mut self, from: &Key) -> Tried {
        let to = self.key("copied-by-ranges")?;
        copy::in_ranges(&self.bold, from, &to).await?;
        let size = stat::stat(&self.bold, &to).await?.size;
        if size == "probe".len() as u64 {
            Ok(ProbeOutcome::Works)
        } else {
            ignored("the copy has another size")
        }
    }

    /// Saves bytes with the checksum of others, and then with their own.
    async fn checksum(&mut self, proof: fn(&[u8]) -> Proof) -> Tried {
        let key = self.key("checked")?;
        let wrong = self.put(&key, &proof(b"other bytes")).await;
        match wrong {
            Ok(()) => return ignored("bytes with another checksum were stored"),
            Err(failed) if failed.status().is_some_and(|status| (400..500).contains(&status)) => {}
            Err(failed) => return Err(failed.error),
        }
        self.put(&key, &proof(b"probe"))
            .await
            .map(|()| ProbeOutcome::Works)
            .map_err(|failed| failed.error)
    }

    async fn put(&self, key: &Key, proof: &Proof) -> Result<(), Failed> {
        let body = Chunks::from(bytes::Bytes::from_static(b"probe"));
        // Wrong bytes are a failure that may pass; not here.
        let request = Request::new(Method::PUT, key.as_str()).body(body).repeat(Repeat::IfNotBegun);
        self.bold.client.send(&request.verified_by(proof)?).await.map(|_| ())
    }

    async fn bulk_delete(&mut self) -> Tried {
        let keys = [self.key("deleted-1")?, self.key("deleted-2")?];
        for key in &keys {
            self.save(key, SaveMode::Overwrite).await?;
        }
        delete::delete_many(&self.bold, &keys).await.into_iter().collect::<Result<()>>()?;
        for key in &keys {
            if stat::exists(&self.bold, key).await? {
                return ignored("the objects are still there");
            }
        }
        Ok(ProbeOutcome::Works)
    }

    async fn underscores(&mut self) -> Tried {
        let key = self.key("underscores")?;
        let mut options = SaveOptions::default();
        options.metadata = Metadata::new().user("a_b", "c");
        save::save(&self.bold, &key, Payload::from("probe"), &options).await?;
        let found = stat::stat(&self.bold, &key).await?.metadata.user_metadata;
        if found.contains_key("a_b") {
            Ok(ProbeOutcome::Works)
        } else {
            ignored("the name came back as another one")
        }
    }

    async fn encryption(&mut self) -> Tried {
        let key = self.key("encrypted")?;
        let sse = HeaderName::from_static("x-amz-server-side-encryption");
        let body = Chunks::from(bytes::Bytes::from_static(b"probe"));
        let request = Request::new(Method::PUT, key.as_str())
            .body(body)
            .header(sse, HeaderValue::from_static("AES256"));
        let answer = self.bold.client.send(&request).await?;
        match stored::check_encryption(&request.headers, &answer.headers) {
            Ok(()) => Ok(ProbeOutcome::Works),
            Err(_) => ignored("the service does not confirm the encryption"),
        }
    }
}

type ChecksumTrial = (&'static str, Option<Ability>, fn(&[u8]) -> Proof);

/// The ways to say what the bytes are. The driver needs one of them.
fn checksums() -> [ChecksumTrial; 3] {
    fn crc(bytes: &[u8]) -> Proof {
        let checksum = Checksum::of(ChecksumAlgorithm::Crc64Nvme, bytes);
        Proof { checksum, in_header: true, in_signature: false }
    }
    fn sha256(bytes: &[u8]) -> Proof {
        let checksum = Checksum::of(ChecksumAlgorithm::Sha256, bytes);
        Proof { checksum, in_header: false, in_signature: true }
    }
    fn md5(bytes: &[u8]) -> Proof {
        Proof {
            checksum: Checksum::of(ChecksumAlgorithm::Md5, bytes),
            in_header: true,
            in_signature: false,
        }
    }
    [
        ("checksum = \"crc64nvme\"", Some(Ability::ChecksumHeaders), crc),
        ("checksum = \"sha256\" in the signature", None, sha256),
        ("checksum = \"md5\"", None, md5),
    ]
}
