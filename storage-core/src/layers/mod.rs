//! Layers: drivers that wrap a driver and change one thing about it.
//!
//! A layer passes on every verb that it does not change, `url` included; since [`Driver`](crate::Driver) has no
//! default methods, one that forgets a verb does not compile. Each holds the contract if what it wraps does.
//!
//! ```
//! use std::time::Duration;
//! use storage_core::{Memory, layers};
//!
//! let storage = Memory::storage()
//!     .layer(|inner| layers::Timeout::new(inner, Duration::from_secs(10)))
//!     .layer(|inner| layers::Retry::new(inner, 3))
//!     .layer(layers::Observed::new);
//! ```

mod defaults;
mod limit;
mod observed;
mod prefixed;
mod public_url;
mod read_only;
mod retry;
mod timeout;

pub use defaults::Defaults;
pub use limit::Limit;
pub use observed::Observed;
pub use prefixed::Prefixed;
pub use public_url::PublicUrl;
pub use read_only::ReadOnly;
pub use retry::Retry;
pub use timeout::Timeout;
