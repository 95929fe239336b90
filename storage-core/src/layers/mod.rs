//! Layers: drivers that wrap a driver and change one thing about it.
//!
//! A layer forwards every verb that it does not change, `url` included, with
//! [`forward!`](crate::forward!). [`Driver`](crate::Driver) has no default methods, so a layer that
//! forgets a verb does not compile. A layer holds the contract if the driver that it wraps does.
//!
//! A body in a file stays in the file ([`Object::file`](crate::Object::file)), and a body in memory
//! is passed on without a copy.
//!
//! # Order
//!
//! Each layer wraps the one before it, so their order matters. This order, from the driver
//! outwards, suits most applications. [`Registry`](crate::Registry) uses it without [`Limit`], for
//! which there is no option:
//!
//! 1. [`PublicUrl`], [`Prefixed`], [`DefaultMetadata`], [`ReadOnly`], which change the call.
//! 2. [`Timeout`], so that each attempt has its own time.
//! 3. [`Limit`], so that waiting for a permit does not count towards the timeout.
//! 4. [`Retry`], so that a call holds no permit while it waits for its next attempt.
//! 5. [`Observed`], which reports what the application sees.
//!
//! ```
//! use std::time::Duration;
//! use storage_core::{Memory, layers};
//!
//! let storage = Memory::storage()
//!     .layer(|inner| layers::Timeout::new(inner, Duration::from_secs(10)))
//!     .layer(|inner| layers::Limit::new(inner, 64))
//!     .layer(|inner| layers::Retry::new(inner, 3))
//!     .layer(layers::Observed::new);
//! ```

mod away;
mod default_metadata;
mod limit;
mod observed;
mod prefixed;
mod public_url;
mod read_only;
mod recorder;
mod retry;
mod timeout;

pub use default_metadata::DefaultMetadata;
pub use limit::Limit;
pub use observed::Observed;
pub use prefixed::Prefixed;
pub use public_url::PublicUrl;
pub use read_only::ReadOnly;
pub use retry::Retry;
pub use timeout::Timeout;
