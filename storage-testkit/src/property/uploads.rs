//! A multipart upload as a step of a random sequence: begun, filled, and completed or aborted, on
//! the driver and on its model.

use futures_util::TryStreamExt;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::{Just, Strategy};
use proptest::prop_oneof;
use storage_core::{CompleteOptions, MultipartUpload, ObjectMeta, Part, Payload, Result, Storage};

use super::compare::{Pair, kind, same};
use super::step::{Given, Mode, Version, given, key, version};
use crate::case::Checked;
use crate::support::content::pattern;
use crate::support::payloads::streaming;

/// The part size in bytes. A driver with larger parts takes no such steps.
const PART_SIZE: usize = 10;

#[derive(Debug, Clone)]
pub(super) struct Upload {
    pub(super) key: &'static str,
    mode: Mode,
    metadata: Given,
    size: Option<u64>,
    puts: Vec<Put>,
    end: End,
    /// Whether another handle ends the upload, as in another process.
    is_resumed: bool,
}

#[derive(Debug, Clone)]
struct Put {
    number: u32,
    len: usize,
    seed: u8,
    is_streamed: bool,
}

#[derive(Debug, Clone, Copy)]
enum End {
    Complete,
    /// With exactly the parts up to this number that were acknowledged.
    Exactly(u32),
    Abort,
}

pub(super) fn any() -> impl Strategy<Value = Upload> {
    let mode = prop_oneof![
        4 => Just(Mode::Overwrite),
        1 => Just(Mode::CreateNew),
        2 => version().prop_map(Mode::IfMatch),
    ];
    let end = prop_oneof![
        5 => Just(End::Complete),
        2 => (0_u32..4).prop_map(End::Exactly),
        1 => Just(End::Abort),
    ];
    let size = option::weighted(0.3, 0_u64..35);
    (key(), mode, given(), size, puts(), end, proptest::bool::ANY).prop_map(
        |(key, mode, metadata, size, puts, end, is_resumed)| Upload {
            key,
            mode,
            metadata,
            size,
            puts,
            end,
            is_resumed,
        },
    )
}

/// Parts in order of which the last one is shorter, and then a few others.
fn puts() -> impl Strategy<Value = Vec<Put>> {
    let whole = (0_usize..4, 1..=PART_SIZE).prop_map(|(whole, last)| {
        let lens = vec![PART_SIZE; whole].into_iter().chain([last]);
        lens.zip(1..)
            .map(|(len, number)| Put { number, len, seed: 1, is_streamed: len % 2 == 0 })
            .collect::<Vec<_>>()
    });
    let others = (0_u32..6, 0..=PART_SIZE + 1, 0_u8..250, proptest::bool::ANY)
        .prop_map(|(number, len, seed, is_streamed)| Put { number, len, seed, is_streamed });
    (whole, vec(others, 0..3)).prop_map(|(whole, others)| [whole, others].concat())
}

impl Put {
    fn payload(&self) -> Payload {
        let bytes = pattern(self.seed, self.len);
        if self.is_streamed { streaming(bytes, 4) } else { Payload::from_bytes(bytes) }
    }
}

impl Pair<'_> {
    /// Runs an upload on both sides and compares each result. Skips one that the driver does not
    /// support.
    pub(super) async fn upload(&self, step: &Upload) -> Checked {
        let Ok(limits) = self.real.multipart_limits() else { return Ok(()) };
        if limits.min_part_size > PART_SIZE as u64 {
            return Ok(());
        }
        let etags = match step.mode {
            Mode::CreateNew | Mode::UniqueName if !limits.create_new => return Ok(()),
            Mode::IfMatch(_) if !limits.if_match => return Ok(()),
            Mode::IfMatch(version) => match self.etags(step.key, version).await? {
                Some(etags) => Some(etags),
                None => return Ok(()),
            },
            _ => None,
        };
        let (etag, model_etag) = etags.unzip();
        let begin = async |storage: &Storage, etag| {
            let mut begin = storage.multipart(step.key).part_size(PART_SIZE as u64);
            begin = match (step.mode, etag) {
                (Mode::CreateNew, _) => begin.create_new(),
                (Mode::IfMatch(_), Some(etag)) => begin.if_match(etag),
                _ => begin,
            };
            if let Some(size) = step.size {
                begin = begin.size(size);
            }
            begin.metadata(self.given(step.metadata)).await
        };
        let real = begin(&self.real, etag).await;
        if self.is_refused(&real, step.key).await? {
            return Ok(());
        }
        let (real, model) = match (real, begin(&self.model, model_etag).await) {
            (Ok(real), Ok(model)) => (real, model),
            (real, model) => return same(real.map(drop), model.map(drop)),
        };
        let mut known = (Vec::new(), Vec::new());
        for put in &step.puts {
            let stored = (
                real.put_part(put.number, put.payload()).await,
                model.put_part(put.number, put.payload()).await,
            );
            same(shown(&stored.0), shown(&stored.1))?;
            known.0.extend(stored.0.ok());
            known.1.extend(stored.1.ok());
        }
        same(listed(&real).await, listed(&model).await)?;
        let resumed = |storage: &Storage, upload: MultipartUpload| match step.is_resumed {
            true => storage.resume_multipart(step.key, upload.id().clone()),
            false => Ok(upload),
        };
        let (real, model) = (resumed(&self.real, real)?, resumed(&self.model, model)?);
        self.end(step, &real, &model, known).await?;
        same(real.abort().await, model.abort().await)
    }

    async fn end(
        &self,
        step: &Upload,
        real: &MultipartUpload,
        model: &MultipartUpload,
        known: (Vec<Part>, Vec<Part>),
    ) -> Checked {
        let complete = async |upload: &MultipartUpload, known: Vec<Part>| match step.end {
            End::Abort => Ok(None),
            End::Complete => upload.complete().await.map(Some),
            End::Exactly(last) => {
                let named = latest(known).into_iter().filter(|part| part.number <= last);
                upload.complete_with(CompleteOptions::new().exactly(named)).await.map(Some)
            }
        };
        let replaced = self.etags(step.key, Version::Present).await?;
        let completed = complete(real, known.0).await;
        // A tree may refuse what the model stores. Both have this kind of error for wrong parts.
        let is_conflict = kind(&completed) == Some(storage_core::ErrorKind::Conflict);
        if is_conflict && self.has_conflict(step.key).await? {
            return Ok(());
        }
        let expected = complete(model, known.1).await;
        if matches!(expected, Ok(Some(_))) {
            self.remember(step.key, replaced);
        }
        let shown = |object: Option<ObjectMeta>| object.map(|object| self.shown(object));
        same(completed.map(shown), expected.map(shown))
    }
}

/// Returns the last version of each part.
fn latest(parts: Vec<Part>) -> Vec<Part> {
    let by_number = parts.into_iter().map(|part| (part.number, part));
    by_number.collect::<std::collections::BTreeMap<_, _>>().into_values().collect()
}

fn shown(part: &Result<Part>) -> Result<(u32, u64)> {
    match part {
        Ok(part) => Ok((part.number, part.size)),
        Err(error) => Err(storage_core::Error::new(error.kind(), error.message().to_owned())),
    }
}

async fn listed(upload: &MultipartUpload) -> Result<Vec<(u32, u64)>> {
    upload.parts().map_ok(|part| (part.number, part.size)).try_collect().await
}
