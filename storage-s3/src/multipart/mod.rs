//! Multipart uploads: those of saves and copies, and those that outlive a process.
//!
//! | file | contents |
//! |---|---|
//! | `remote.rs` | [`RemoteUpload`]: the requests of one upload, which all other files share |
//! | `sizes.rs` | [`PartSizes`]: the sizes of the parts of a save |
//! | `upload.rs` | [`Upload`]: an upload of a save or a copy, which is completed or aborted |
//! | `verbs.rs` | the verbs of the contract, and what the service accepts |
//! | `begin.rs`, `put_part.rs`, `complete.rs`, `part_url.rs` | one verb each |
//! | `parts.rs`, `uploads.rs` | the listings |
//! | `id.rs`, `nonce.rs` | ids of uploads, and how the object of an upload is recognised |

mod begin;
mod complete;
mod id;
mod nonce;
mod part_url;
mod parts;
mod put_part;
mod remote;
mod sizes;
mod upload;
mod uploads;
mod verbs;

pub(crate) use remote::part_error;
pub(crate) use sizes::{MAX_PARTS, PartSizes};
pub(crate) use upload::{SentPart, Upload};
