//! [`BlockingStorage`]: storages for synchronous code, such as scripts, build tools, and programs
//! with a synchronous database library.
//!
//! ```
//! use storage_core::{Memory, SaveOptions};
//!
//! # fn main() -> storage_core::Result<()> {
//! let storage = Memory::storage().blocking()?;
//! storage.save_with("a.txt", "hello", SaveOptions::new().create_new())?;
//! assert_eq!(storage.read_text("a.txt")?, "hello");
//! for entry in storage.list("") {
//!     assert_eq!(entry?.name(), "a.txt");
//! }
//! # Ok(()) }
//! ```
//!
//! The verbs have the guarantees and the errors of those of [`Storage`](crate::Storage). Options
//! are passed as a whole, and [`BlockingStorage::wait`] runs any other call of a `Storage`.
//!
//! # Where it runs
//! [`Storage::blocking`](crate::Storage::blocking) starts a thread with a Tokio runtime, on which
//! network connections and timers run. Call it once, and clone its result. On a thread that has a
//! runtime already, it uses that one.
//!
//! In asynchronous code each verb fails with `Unsupported`, because it would block the thread for
//! all tasks. (Tokio does not reveal this within `tokio::task::unconstrained`, where the call
//! panics.) Use `tokio::task::spawn_blocking` there:
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> storage_core::Result<()> {
//! use storage_core::Memory;
//!
//! let storage = Memory::storage().blocking()?;
//! assert!(storage.exists("a.txt").unwrap_err().is_unsupported());
//!
//! let saved = tokio::task::spawn_blocking(move || storage.save("a.txt", "hello"));
//! assert_eq!(saved.await.expect("it does not panic")?.size, 5);
//! # Ok(()) }
//! ```

mod body;
mod reader;
mod runtime;
mod storage;
mod upload;
mod writer;

pub use body::{BlockingEntries, BlockingObject};
pub use reader::BlockingReader;
pub use storage::BlockingStorage;
pub use upload::BlockingUpload;
pub use writer::BlockingWriter;
