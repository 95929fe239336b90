//! Resumable uploads into any storage with multipart uploads: the service [`Uploads`]. Needs the
//! feature `uploads`.
//!
//! A client begins an upload, sends its bytes in any number of requests, and continues after a
//! broken connection, a restart of the server, or at another server of the same storage. The
//! protocols are [tus 1.0](https://tus.io/protocols/resumable-upload), the
//! [IETF draft](https://datatracker.ietf.org/doc/draft-ietf-httpbis-resumable-upload/) in interop
//! version 8, that of Uppy's S3 plugin (`@uppy/aws-s3` of the versions 5 and 6), and plain requests
//! with a whole file or an HTML form.
//!
//! | file | content |
//! |-|-|
//! | `service.rs`, `settings.rs` | [`Uploads`] and its options |
//! | `grant.rs` | [`UploadRequest`], [`Grant`] and [`Refusal`]: what the application decides |
//! | `completed.rs` | [`CompletedUpload`]: what the application sees before the object is visible |
//! | `handle.rs` | which request belongs to which protocol |
//! | `admission.rs`, `cross_site.rs` | which uploads may begin; requests that other sites forge |
//! | `token.rs` | the signed URL of an upload |
//! | `engine/` | the upload as a state in the storage, without a protocol |
//! | `tus/`, `draft/`, `s3/` | the protocols: tus 1.0, the IETF draft, and the S3 routes of Uppy |
//! | `form.rs` | HTML forms |

mod admission;
mod completed;
mod cross_site;
mod draft;
mod engine;
mod form;
mod grant;
mod handle;
mod s3;
mod service;
mod settings;
mod token;
mod tus;

pub use completed::CompletedUpload;
pub use grant::{Grant, Refusal, UploadRequest};
pub use service::Uploads;
