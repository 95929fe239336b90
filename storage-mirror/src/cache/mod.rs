//! The driver `cache`: a disk cache inside an application's own process, in front of any storage.
//!
//! Objects that are opened again come from a local directory instead of from origin. All verbs
//! work, and writes go to origin. The mirror server has the same engine, for many processes and
//! machines at once.
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> storage_core::Result<()> {
//! use storage_core::{Memory, Storage};
//! use storage_mirror::cache::Cache;
//!
//! let directory = tempfile::tempdir()?;
//! // In a real program: a bucket.
//! let origin = Memory::storage();
//! let cache = Cache::builder(origin, directory.path().join("cache"), 10 << 30).build()?;
//! let storage = Storage::new(cache.clone());
//!
//! storage.save("report.pdf", "%PDF").await?;
//! assert_eq!(storage.open("report.pdf").await?.text().await?, "%PDF"); // fetched and kept
//! # // The object is kept a moment after its body has ended. An open before that shares the fetch.
//! # for _ in 0..10_000 {
//! #     let status = cache.status();
//! #     if status.objects > 0 && status.fetching == 0 { break; }
//! #     tokio::time::sleep(std::time::Duration::from_millis(1)).await;
//! # }
//! assert_eq!(storage.open("report.pdf").await?.text().await?, "%PDF"); // from the directory
//! assert_eq!((cache.status().fetched, cache.status().hits), (1, 1));
//! # Ok(()) }
//! ```
//!
//! # Guarantees
//! - **Fresh within `ttl`.** An object is served from the cache for at most `ttl` after origin sent
//!   or confirmed it, and shorter if its `Cache-Control` or `Expires` says so. Then origin is asked
//!   whether it has changed. `stat`, `exists` and `list` always ask origin, and so does a
//!   conditional `open`. That an object is missing is never cached.
//! - **A storage reads what it wrote.** `save`, `copy`, `delete` and `delete_many` remove the key
//!   from the cache before and after, also if their future is dropped. Meanwhile the key bypasses
//!   the cache, and a fetch that began before the write is not kept. If a write fails or is
//!   dropped, origin may still carry it out, so the key bypasses the cache for a minute.
//! - **The bytes are origin's, of one version.** Each block is compared with its checksum when it
//!   is read. A broken object is fetched again, also in the middle of a body: the body continues at
//!   origin, at the next byte of the same version, or ends with a retryable `Integrity` error.
//! - **One fetch for each key.** Concurrent opens of one object share a request to origin, and read
//!   along as it arrives. The fetch goes on if its first reader is dropped.
//! - **Trouble with the cache fails no read.** If the directory is locked by another process,
//!   cannot be opened, or is full, reads go to origin. The reason is logged once. Opening the
//!   directory is tried again each minute.
//! - **Bounded.** The directory takes at most `max_size` bytes. Memory stays bounded: `memory`, and
//!   up to 512 MiB for the index, of 200 bytes and the key for each object.
//! - **Origin keeps its timeouts.** A fetch that receives nothing for 60 seconds ends, and is not
//!   kept. Its readers then read from origin on their own, for as long as origin allows. So do
//!   later ones for a minute, if origin has not responded at all.
//!
//! # Options
//!
//! <!-- options of cache -->
//!
//! | option | type | default | purpose |
//! |-|-|-|-|
//! | `origin` | name or table | required | The storage that holds the objects: the name of another storage, or a table. |
//! | `cache_dir` | path | required | The directory of the cache, which belongs to one storage of one process. |
//! | `max_size` | size | required | Upper bound for what the directory takes on the disk. |
//! | `max_object_size` | size | a tenth of `max_size` | Larger objects are read from origin and not kept. |
//! | `ttl` | duration | `"1h"` | How long an object is served without a request to origin, unless its `Cache-Control` or `Expires` is shorter. |
//! | `memory` | size | `"64MiB"` | The memory for small objects that are read often, and for metadata. The index takes up to 512 MiB more. |
//! | `stale_if_error` | duration | `"0s"` | How long after its `ttl` an object is served if origin fails with a retryable error. |
//!
//! <!-- end of options -->
//!
//! # Limits
//! - Writes that do not pass through the storage are seen after `ttl`: those of other processes and
//!   machines, through links for uploading, and directly at origin.
//! - A range is served from the cache if the object is there and fresh. Otherwise it is read from
//!   origin, and does not fill the cache.
//! - Objects without a strong ETag are not kept, nor those with `no-store` or `private` in their
//!   `Cache-Control`. They, and objects larger than `max_object_size`, cost a second request to
//!   origin once a minute.
//! - Objects survive a restart. A process that is killed during a write leaves nothing of the key,
//!   unless the cache was off. Then the next process may read the old version until its `ttl` is
//!   over.
//! - If another process has locked the directory, what this storage writes is not removed from it.
//!   The other process serves its objects for at most `ttl`.
//! - Needs a Tokio runtime. Building the driver does no I/O. The first `open` creates the directory
//!   or opens it, and waits for up to 2 seconds before origin serves it. A write opens the
//!   directory if it exists, because it may hold the object from an earlier run. Reading back takes
//!   about a second for ten thousand objects.

mod config;
mod copy;
mod delete;
mod directory;
mod driver;
mod open;
mod rename;
mod save;
mod shared;
mod status;
#[cfg(test)]
mod tests;

pub use config::{CacheBuilder, register};
pub use driver::Cache;
pub use status::Status;
