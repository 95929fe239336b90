//! Layers: drivers that wrap a driver and change one thing about it.
//!
//! A layer passes on every verb that it does not change, `url` included; since
//! [`Driver`](crate::Driver) has no default methods, one that forgets a verb does not compile. Each
//! holds the contract if what it wraps does.
//!
//! A body in a file stays one ([`Object::file`](crate::Object::file)), and a body in memory is
//! handed on as it is.
//!
//! # In which order
//! Each layer sees the one before it as its driver, so the order has a meaning. What
//! [`Registry`](crate::Registry) builds, and what fits most: the layers that change what is asked
//! ([`PublicUrl`], [`Prefixed`], [`DefaultMetadata`], [`ReadOnly`]) next to the driver, then [`Timeout`],
//! so that each attempt has its own time; then [`Limit`], so that standing in line is not timed;
//! then [`Retry`], so that nobody holds a place while waiting to try again; [`Observed`] around
//! all, which tells what the application sees.
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
