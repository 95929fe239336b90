//! Multipart uploads: uploads that outlive the process which began them.
//!
//! | file | contents |
//! |---|---|
//! | `driver.rs` | [`Multipart`]: what a driver implements |
//! | `options.rs`, `limits.rs` | how to begin and complete an upload, and what a backend accepts |
//! | `id.rs`, `plan.rs` | [`UploadId`]: the storable id, and the plan that it contains |
//! | `part.rs`, `unfinished.rs` | [`Part`] and [`UnfinishedUpload`]: what listings yield |
//! | `begin.rs`, `upload.rs`, `stale.rs` | the calls of applications |
//! | `check.rs` | [`check_parts`]: whether an upload can be completed, for drivers |

mod begin;
mod check;
mod driver;
mod id;
mod limits;
mod options;
mod part;
mod plan;
mod stale;
mod unfinished;
mod upload;

use futures_core::stream::BoxStream;
use futures_util::{StreamExt, stream};

use crate::error::Result;

pub use begin::BeginMultipart;
pub use check::{CheckedParts, check_completed, check_parts};
pub use driver::Multipart;
pub use id::UploadId;
pub use limits::MultipartLimits;
pub use options::{CompleteOptions, MultipartOptions, OtherParts, PartUrlOptions};
pub use part::{Part, PartStream};
pub use plan::UploadPlan;
pub use unfinished::{UnfinishedUpload, UploadStream};
pub use upload::MultipartUpload;

/// Returns the stream, or one whose only item is the error.
pub fn stream_or_error<T: Send + 'static>(
    stream: Result<BoxStream<'static, Result<T>>>,
) -> BoxStream<'static, Result<T>> {
    stream.unwrap_or_else(|error| stream::iter([Err(error)]).boxed())
}
