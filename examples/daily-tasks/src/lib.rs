//! The code of `docs/daily-tasks.md`. The tests run it in memory, on a disk and in S3, and compare
//! the page with it.
//!
//! | file | content |
//! |-|-|
//! | `objects.rs` | opening a storage; saving, listing, deleting and reading objects |
//! | `web.rs` | uploads, links and responses of a web application |
//! | `pictures.rs` | pictures of users: variants, and rows that refer to them |

pub mod objects;
pub mod pictures;
pub mod web;

// Compiles the code of the manual of multipart uploads.
#[cfg(doctest)]
#[doc = include_str!("../../../docs/multipart.md")]
struct MultipartUploads;

// Compiles the code of the manual of transfers.
#[cfg(doctest)]
#[doc = include_str!("../../../docs/transfer.md")]
struct Transfers;
