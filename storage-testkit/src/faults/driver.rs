//! [`Faulty`]: the layer that applies the plans.

use std::sync::Arc;

use async_trait::async_trait;
use futures_core::future::BoxFuture;
use futures_core::stream::BoxStream;
use futures_util::{StreamExt, stream};
use storage_core::{
    CopyOptions, Driver, EntryStream, Key, Link, ListOptions, Multipart, Object, ObjectMeta,
    OpenOptions, Operation, Payload, Prefix, RenameOptions, Result, SaveOptions, UrlOptions,
    forward,
};

use super::plan::{Fault, Faults, Planned, planned_error};
use super::streams::{Piece, with_fault};

/// A layer that injects faults: see [`Faults::layer`].
#[derive(Debug, Clone)]
pub struct Faulty {
    pub(super) inner: Arc<dyn Driver>,
    pub(super) faults: Faults,
}

pub(super) type Due = Vec<(Arc<Fault>, Planned)>;

impl Faulty {
    pub(super) fn new(inner: Arc<dyn Driver>, faults: Faults) -> Self {
        Self { inner, faults }
    }

    /// Makes a call of a verb that streams nothing.
    pub(super) async fn call<'a, T>(
        &self,
        operation: Operation,
        key: &str,
        call: BoxFuture<'a, Result<T>>,
    ) -> Result<T> {
        let due = self.faults.of_call(operation, key);
        before(&due).await?;
        after(&due, call.await)
    }

    /// Makes a call of a verb that returns a listing. It is counted at the first poll, because a
    /// listing starts there.
    pub(super) fn listing<T: Piece>(
        &self,
        operation: Operation,
        key: &str,
        items: BoxStream<'static, Result<T>>,
    ) -> BoxStream<'static, Result<T>> {
        let (faults, key) = (self.faults.clone(), key.to_owned());
        let listed = async move {
            let due = faults.of_call(operation, &key);
            match before(&due).await {
                Ok(()) => due
                    .iter()
                    .fold(items, |items, (fault, planned)| with_fault(items, fault, planned)),
                Err(error) => stream::iter([Err(error)]).boxed(),
            }
        };
        stream::once(listed).flatten().boxed()
    }
}

/// Applies the faults that delay or fail a call before it starts.
pub(super) async fn before(due: &Due) -> Result<()> {
    for (fault, planned) in due {
        match &**fault {
            Fault::Fail(error) => {
                planned.fire();
                return Err(error());
            }
            Fault::Delay(time) => {
                planned.fire();
                tokio::time::sleep(*time).await;
            }
            Fault::Hold => {
                planned.fire();
                planned.until_released().await;
            }
            _ => {}
        }
    }
    Ok(())
}

/// Applies the faults that replace the result of a call.
pub(super) fn after<T>(due: &Due, result: Result<T>) -> Result<T> {
    for (fault, planned) in due {
        if let (Fault::LoseResponse(kind), Ok(_)) = (&**fault, &result) {
            planned.fire();
            return Err(planned_error(*kind));
        }
    }
    result
}

fn is_in_stream(fault: &Fault) -> bool {
    matches!(
        fault,
        Fault::FailMidway(..) | Fault::Truncate(_) | Fault::Corrupt(_) | Fault::Stall(_)
    )
}

/// Returns a payload with the faults in its bytes. Its own checks run before the faults, like in a
/// backend that damages what it received.
pub(super) fn faulty_payload(payload: Payload, due: &Due) -> Payload {
    if !due.iter().any(|(fault, _)| is_in_stream(fault)) {
        return payload;
    }
    let chunks = due.iter().fold(payload.into_stream().boxed(), |chunks, (fault, planned)| {
        with_fault(chunks, fault, planned)
    });
    Payload::from_stream(chunks)
}

fn faulty_object(object: Object, due: &Due) -> Object {
    if !due.iter().any(|(fault, _)| is_in_stream(fault)) {
        return object;
    }
    let (meta, range) = (object.meta().clone(), object.range());
    let chunks = due.iter().fold(object.into_stream().boxed(), |chunks, (fault, planned)| {
        with_fault(chunks, fault, planned)
    });
    Object::from_stream(meta, range, chunks)
}

#[async_trait]
impl Driver for Faulty {
    forward! { to self.inner: info, innermost, link_verifier }

    fn multipart(&self) -> Result<&dyn Multipart> {
        self.inner.multipart().map(|_| self as &dyn Multipart)
    }

    async fn save(&self, key: &Key, payload: Payload, options: &SaveOptions) -> Result<ObjectMeta> {
        let due = self.faults.of_call(Operation::Save, key.as_str());
        before(&due).await?;
        after(&due, self.inner.save(key, faulty_payload(payload, &due), options).await)
    }

    async fn open(&self, key: &Key, options: &OpenOptions) -> Result<Object> {
        let due = self.faults.of_call(Operation::Open, key.as_str());
        before(&due).await?;
        let mut options = options.clone();
        options.allow_whole &= !due.iter().any(|(fault, _)| is_in_stream(fault));
        let object = after(&due, self.inner.open(key, &options).await)?;
        Ok(faulty_object(object, &due))
    }

    async fn stat(&self, key: &Key) -> Result<ObjectMeta> {
        self.call(Operation::Stat, key.as_str(), self.inner.stat(key)).await
    }

    async fn exists(&self, key: &Key) -> Result<bool> {
        self.call(Operation::Exists, key.as_str(), self.inner.exists(key)).await
    }

    async fn delete(&self, key: &Key) -> Result<()> {
        self.call(Operation::Delete, key.as_str(), self.inner.delete(key)).await
    }

    /// Counts a call for each key. The driver gets the keys whose calls do not fail in one call.
    async fn delete_many(&self, keys: &[Key]) -> Vec<Result<()>> {
        let mut calls = Vec::with_capacity(keys.len());
        for key in keys {
            let due = self.faults.of_call(Operation::Delete, key.as_str());
            calls.push((before(&due).await, due));
        }
        let passing: Vec<_> = keys
            .iter()
            .zip(&calls)
            .filter(|(_, (begun, _))| begun.is_ok())
            .map(|(key, _)| key.clone())
            .collect();
        let mut results = self.inner.delete_many(&passing).await.into_iter();
        let results = calls.into_iter().map_while(|(begun, due)| match begun {
            Ok(()) => results.next().map(|result| after(&due, result)),
            Err(error) => Some(Err(error)),
        });
        results.collect()
    }

    async fn delete_folder_marker(&self, marker: &Prefix) -> Result<()> {
        self.call(Operation::Delete, marker.as_str(), self.inner.delete_folder_marker(marker)).await
    }

    fn list(&self, prefix: &Prefix, options: &ListOptions) -> EntryStream {
        self.listing(Operation::List, prefix.as_str(), self.inner.list(prefix, options))
    }

    async fn copy(&self, from: &Key, to: &Key, options: &CopyOptions) -> Result<()> {
        self.call(Operation::Copy, from.as_str(), self.inner.copy(from, to, options)).await
    }

    async fn rename(&self, from: &Key, to: &Key, options: &RenameOptions) -> Result<()> {
        self.call(Operation::Rename, from.as_str(), self.inner.rename(from, to, options)).await
    }

    async fn url(&self, key: &Key, options: &UrlOptions) -> Result<Link> {
        self.call(Operation::Url, key.as_str(), self.inner.url(key, options)).await
    }
}
