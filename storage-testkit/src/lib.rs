//! The conformance suite for drivers of anystorage, and drivers and servers for tests.
//!
//! A driver's author adds this crate to the dev-dependencies and implements [`Harness`], which
//! makes storages. [`conformance!`] then generates a test for each guarantee of the contract:
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
//! `cargo test` runs `my_driver::save::a_failed_stream_leaves_the_old_object`,
//! `my_driver::create_new::one_of_32_concurrent_saves_succeeds`, and about three hundred others.
//!
//! # Skipped cases
//!
//! The suite runs the cases that apply to the driver. It derives them from the driver's
//! [`Capabilities`](storage_core::Capabilities) and from the [`Harness`]. It skips the others, and
//! the test `my_driver::skipped_cases_are_named` prints each with the reason
//! (`cargo test -- --nocapture`). A harness can also skip a case itself, if it fails because of a
//! known defect of the server that the driver uses: see [`Harness::skip_reason`].
//!
//! # Where to look
//!
//! | item | purpose |
//! |---|---|
//! | [`conformance!`], [`Harness`], [`Fixture`] | run the suite on a driver |
//! | [`property::agrees_with_memory`] | compare random operations with the memory driver |
//! | [`cases`], [`case`], [`Case`], [`Outcome`] | run single cases, for example to check that they detect a defect |
//! | [`extra_entries::ExtraEntries`] | a layer that adds folder markers and unreadable directories to listings |
//! | [`faults::Faults`] | a layer that fails, delays, truncates or corrupts as planned, for testing applications |
//! | [`scripted::Scripted`] | a driver that follows a script and records its calls, for testing layers and servers |
//! | `http::Peer` | an HTTP server that follows a script, for testing drivers that speak HTTP (feature `http`) |
//!
//! # Failures
//!
//! A failed case prints the call and the values that violate the contract. To run it again:
//! `cargo test my_driver::list`. Cases share nothing: each creates its own harness, its own storage
//! and its own runtime with several threads.
//!
//! The cases about concurrency repeat their races, but no number of repetitions covers all orders
//! of events. A case that fails occasionally has found a defect.

#![cfg_attr(docsrs, feature(doc_cfg))]

mod case;
mod cases;
pub mod extra_entries;
pub mod faults;
mod harness;
#[cfg(feature = "http")]
pub mod http;
#[doc(hidden)]
pub mod jobs;
mod kit;
#[doc(hidden)]
pub mod leftovers;
mod own_process;
pub mod property;
mod requirement;
pub mod scripted;
#[doc(hidden)]
pub mod servers;
mod suite;
mod support;
#[doc(hidden)]
pub mod wait;

pub use case::{Case, Outcome};
pub use cases::cases;
pub use harness::{Fixture, Harness};
pub use own_process::in_own_process;
pub use requirement::Requirement;
pub use suite::{case, check, name_skipped};
