//! The conformance suite that every anystorage driver runs, and a driver that fails on purpose.
//!
//! Whoever writes a driver adds this crate to the dev-dependencies, says how to make a storage, and
//! gets every promise of the contract as a test of its own, named as a sentence:
//!
//! ```
//! // tests/conformance.rs
//! use storage_core::{Storage, async_trait};
//! use storage_testkit::Harness;
//! # use storage_core::Memory as MyDriver;
//!
//! struct Fresh;
//!
//! #[async_trait]
//! impl Harness for Fresh {
//!     async fn storage(&self) -> Storage {
//!         Storage::new(MyDriver::default())
//!     }
//! }
//!
//! storage_testkit::conformance!(my_driver, Fresh);
//! # fn main() {}
//! ```
//!
//! `cargo test` then runs `my_driver::save::a_failed_stream_leaves_the_old_object`,
//! `my_driver::create_new::of_32_racers_exactly_one_wins`, and some two hundred others. Which of
//! them apply, the suite reads from the driver's [`Capabilities`](storage_core::Capabilities) and
//! from what [`Harness`] lets its author say; the rest are skipped, and the test
//! `my_driver::skipped_cases_are_named` names them (`-- --nocapture` shows it). So is a case that a
//! known fault of the server under the driver makes impossible, with the reason that
//! [`Harness::excuses`] gives.
//!
//! # Where to look
//!
//! | item | what it is for |
//! |---|---|
//! | [`conformance!`], [`Harness`], [`Fixture`] | running the suite on a driver |
//! | [`property::agrees_with_memory`] | random operations, compared with the memory driver |
//! | [`cases`], [`case`], [`Case`], [`Verdict`] | the cases one by one, to prove that they find a fault that is there |
//! | [`foreign::Foreign`] | a layer that shows folder markers and directories that cannot be read |
//! | [`faults::Faults`] | a layer that fails, delays, truncates or corrupts as planned, for testing applications |
//! | [`scripted::Scripted`] | a driver that follows a script and records its calls, for testing layers and servers |
//! | `http::Peer` | an HTTP server that follows a script, for testing drivers that speak HTTP (feature `http`) |
//!
//! # A promise that is not kept
//!
//! A case fails with the call and the values that betray it. To try one again: `cargo test
//! my_driver::list`. Cases share nothing: each makes its own harness, its own storage, and its own
//! runtime of several threads.
//!
//! Races are run several times, but a race that is won a thousand times can be lost the next time:
//! a case that fails now and then has found something.

mod alone;
mod case;
mod cases;
pub mod faults;
pub mod foreign;
mod harness;
#[cfg(feature = "http")]
pub mod http;
mod kit;
mod need;
pub mod property;
pub mod scripted;
mod suite;
mod support;

pub use alone::alone;
pub use case::{Case, Verdict};
pub use cases::cases;
pub use harness::{Fixture, Harness};
pub use need::Need;
pub use suite::{case, check, name_skipped};
