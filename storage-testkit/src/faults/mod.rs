//! A layer that fails on purpose, for testing what an application does about it.
//!
//! A [`Faults`] is a script that the test holds. [`Faults::layer`] puts the script around any
//! driver. Each plan names a verb, the calls it is for, and what goes wrong; plans can be made
//! before and while the application runs. Each can tell whether it came to pass, so that a test
//! cannot pass because its fault never fired.
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> storage_core::Result<()> {
//! use storage_core::{ErrorKind, Memory, Operation};
//! use storage_testkit::faults::Faults;
//!
//! let faults = Faults::new();
//! let storage = Memory::storage().layer(|inner| faults.layer(inner));
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
//! # What can go wrong
//!
//! | plan | the call |
//! |---|---|
//! | [`fail`](Plan::fail), [`fail_with`](Plan::fail_with) | fails and does nothing |
//! | [`lose_answer`](Plan::lose_answer) | does what it should, then fails |
//! | [`fail_midway`](Plan::fail_midway) | fails after some bytes or entries |
//! | [`truncate`](Plan::truncate) | drops what follows after some bytes or entries |
//! | [`corrupt`](Plan::corrupt) | changes one byte |
//! | [`delay`](Plan::delay) | begins later |
//! | [`hold`](Plan::hold) | begins when the test says so, or never |
//! | [`stall`](Plan::stall) | stops for ever after some bytes or entries |
//!
//! Where more plans than one are for a call, each takes effect, in the order they were made, until
//! one fails it.

mod driver;
mod plan;
mod streams;

pub use driver::Faulty;
pub use plan::{Faults, Plan, Planned};
