//! A layer that injects faults, for testing how an application handles them.
//!
//! A [`Faults`] is a set of plans that the test controls. [`Faults::layer`] applies the plans to
//! any driver, and [`Faults::in_memory`] to a new storage in memory. Each plan selects calls of a
//! verb and a fault for them. Plans can be added before the application runs and while it runs.
//! Each plan counts how often it fired, so that a test can assert that its fault occurred.
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> storage_core::Result<()> {
//! use storage_core::{ErrorKind, Operation};
//! use storage_testkit::faults::Faults;
//!
//! let faults = Faults::new();
//! let storage = faults.in_memory();
//!
//! // The second save fails, and a download breaks off after three bytes.
//! let full = faults.on(Operation::Save).call(2).fail(ErrorKind::StorageFull);
//! let broken = faults.on(Operation::Open).truncate(3);
//!
//! storage.save("a.txt", "hello").await?;
//! assert_eq!(storage.save("b.txt", "hello").await.unwrap_err().kind(), ErrorKind::StorageFull);
//! assert!(storage.open("a.txt").await?.bytes().await.is_err());
//!
//! assert_eq!((full.fired(), broken.fired()), (1, 1));
//! # Ok(()) }
//! ```
//!
//! # Faults
//!
//! | plan | effect on the call |
//! |---|---|
//! | [`fail`](Plan::fail), [`fail_with`](Plan::fail_with) | fails without effect |
//! | [`lose_response`](Plan::lose_response) | takes effect, then fails |
//! | [`fail_midway`](Plan::fail_midway) | fails after some bytes or entries |
//! | [`truncate`](Plan::truncate) | ends after some bytes or entries |
//! | [`corrupt`](Plan::corrupt) | changes one byte |
//! | [`delay`](Plan::delay) | starts later |
//! | [`hold`](Plan::hold) | starts when the test releases it |
//! | [`stall`](Plan::stall) | never ends after some bytes or entries |
//!
//! If several plans select a call, each takes effect, in the order in which they were added, until
//! one fails the call.

mod driver;
mod multipart;
mod plan;
mod streams;

pub use driver::Faulty;
pub use plan::{Faults, Plan, Planned};
