//! The driver `cache`: a disk cache inside the application's process, in front of any storage.
//!
//! Repeated opens of an object read it from a local directory instead of from origin. All verbs
//! work, and writes go to origin. The mirror server uses the same engine to serve many processes
//! and machines.
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
//! # // The object is stored shortly after its body has ended. An open before that shares the fetch.
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
//!   or confirmed it, or for the shorter time that its `Cache-Control` or `Expires` sets. After
//!   that it is revalidated at origin. `stat`, `exists`, `list`, `url` and conditional opens always
//!   go to origin, except a range with `if_match` of the version that is in the cache and fresh. A
//!   missing object is never cached as missing.
//! - **Reads follow writes.** `save`, `copy`, `rename`, `delete`, `delete_many` and the completion
//!   of a multipart upload remove the keys that they change from the cache before and after the
//!   write, also if their future is dropped. During the write the key bypasses the cache, and a
//!   fetch that began before it is not stored. After a failed or dropped write, which origin may
//!   still carry out, the key bypasses the cache for a minute.
//! - **Checked bytes of one version.** Each block is compared with its checksum when it is read. A
//!   broken object is removed and fetched again. A body that finds a broken block continues at
//!   origin with the next byte of the same version, or ends with a retryable `Integrity` error if
//!   origin no longer has that version.
//! - **One fetch for each key.** Concurrent opens of one object share a request to origin, and read
//!   the object while it arrives. The fetch continues if its first reader is dropped.
//! - **Failures of the cache fail no read.** Reads go to origin if another process has locked the
//!   directory, or if it cannot be opened or is full. The reason is logged once if the directory
//!   cannot be opened, and the next attempt follows after a minute.
//! - **Bounded.** The objects take at most `max_size` of the disk. The cache takes at most
//!   `memory`, and up to 512 MiB for the index: about 200 bytes and the key for each object.
//! - **Origin keeps its timeouts.** A fetch that receives nothing for 60 seconds ends, and its
//!   object is not stored. Its readers then read from origin themselves, with origin's own
//!   timeouts. If origin did not respond at all, later opens of the object also go to origin for a
//!   minute.
//!
//! # Options
//!
//! <!-- options of cache -->
//!
//! | option | type | default | purpose |
//! |-|-|-|-|
//! | `origin` | name or table | required | The storage that holds the objects: the name of another storage, or a table. |
//! | `cache_dir` | path | required | The directory of the cache. Only one storage of one process can use it. |
//! | `max_size` | size | required | Upper bound for the disk space of the objects. |
//! | `max_object_size` | size | a tenth of `max_size` | Larger objects are read from origin and not stored. |
//! | `ttl` | duration | `"1h"` | How long an object is served without a request to origin, unless its `Cache-Control` or `Expires` sets a shorter time. |
//! | `memory` | size | `"64MiB"` | Upper bound for the memory of metadata and of objects that are read often. The index takes up to 512 MiB more. |
//! | `stale_if_error` | duration | `"0s"` | How long after its `ttl` an object is served if origin fails with a retryable error. |
//!
//! <!-- end of options -->
//!
//! # Limits
//! - Writes that do not pass through this storage become visible after `ttl`: those of other
//!   processes and machines, uploads through links, and changes made directly at origin.
//! - A range is served from the cache if the object is stored and fresh. Otherwise it is read from
//!   origin and does not fill the cache.
//! - Objects without a strong ETag are not stored, and neither are objects with `no-store` or
//!   `private` in their `Cache-Control` or objects larger than `max_object_size`. Once a minute, an
//!   open of such an object costs a second request to origin.
//! - Objects survive a restart. If a process is killed during a write, the cache contains no
//!   version of the key, unless the cache was off. In that case the next process may read the old
//!   version until its `ttl` is over.
//! - If another process has locked the directory, writes of this storage do not remove objects from
//!   it. The other process serves the old versions for at most `ttl`.
//! - The driver needs a Tokio runtime. Building it does no I/O. The first `open` creates or opens
//!   the directory, and goes to origin if that takes more than 2 seconds. A write opens the
//!   directory if it exists, because it may contain the object from an earlier run. Opening takes
//!   about a second for ten thousand objects.

mod config;
mod copy;
mod delete;
mod directory;
mod driver;
mod multipart;
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
