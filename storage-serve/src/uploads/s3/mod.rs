//! The S3 routes of Uppy's Companion, for the plugin `@uppy/aws-s3` of versions 5 and 6.
//!
//! | request below `s3/` | response |
//! |-|-|
//! | GET `params?filename=&type=&metadata[name]=` | where to send a small file, as a form |
//! | POST `file/{ticket}` | receives that form; PUT receives the bytes alone |
//! | POST `multipart` | begins an upload in parts |
//! | GET `multipart/{id}?key=` | the parts that are stored |
//! | GET `multipart/{id}/{number}?key=` | where to send a part |
//! | PUT `part/{ticket}` | receives a part, if the storage signs no links for parts |
//! | POST `multipart/{id}/complete?key=` | completes the upload |
//! | DELETE `multipart/{id}?key=` | removes the upload |
//!
//! | file | content |
//! |-|-|
//! | `handle.rs` | which request does what |
//! | `create.rs`, `parts.rs`, `complete.rs` | the routes of uploads in parts |
//! | `part.rs` | parts that this service receives |
//! | `file.rs` | small files |
//! | `ticket.rs`, `lookup.rs` | the signed ids and URLs; the upload of an id |
//! | `origin.rs` | the URLs in responses |
//! | `request.rs`, `respond.rs` | queries and JSON; responses |
//! | `settings.rs` | the options |

mod complete;
mod create;
mod file;
mod handle;
mod lookup;
mod origin;
mod part;
mod parts;
mod request;
mod respond;
mod settings;
mod ticket;

pub(super) use handle::{PREFIX, handle, is_begun_by_get};
pub(super) use settings::Settings;
