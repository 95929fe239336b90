//! The driver `http`: the files of any HTTP or WebDAV server as a storage.
//!
//! [`Http`] is the driver, and [`HttpBuilder`] sets its options. The driver reads from any server
//! that supports GET, and writes to servers that support PUT and DELETE, such as nginx, Apache and
//! WebDAV servers.
//!
//! # Guarantees
//!
//! - **The requested bytes.** The driver compares the headers of a response with the request. If a
//!   server ignores ranges, the driver takes the range from the whole object as it arrives.
//! - **One version.** A body that stalls or breaks off resumes at the next byte if the server sent
//!   a strong ETag and still has that version. Without a strong ETag, or after five attempts in a
//!   row without a byte, it ends with a retryable error. If the object was replaced, it ends with
//!   `PreconditionFailed`, and if it was deleted, with `NotFound`.
//! - **Conditions of `open`** hold even if the server ignores them: the driver evaluates them again
//!   on the metadata of the response.
//! - **A size.** A body without a length is collected in a temporary file, so that an object has a
//!   size before its first byte is read. [`HttpBuilder::max_spool_size`] bounds these files.
//! - **No redirection is followed**, so that neither headers nor keys reach another host.
//! - **No credential** appears in an error, a `Debug` form or a log line.
//!
//! # Options
//!
//! <!-- options of http -->
//!
//! | option | type | default | purpose |
//! |-|-|-|-|
//! | `base_url` | URL | required | The URL of the directory that contains the objects. |
//! | `writable` | boolean | `false` | Whether the server accepts PUT and DELETE, as WebDAV servers do. |
//! | `webdav` | boolean | the value of `writable` | Whether the server supports WebDAV, which `list` requires. |
//! | `header_timeout` | duration | `"10s"` | Time limit for the headers of a response, including the time for connecting. |
//! | `idle_timeout` | duration | `"30s"` | Time limit for each chunk of a body. |
//! | `max_spool_size` | size | `"1GiB"` | How many bytes of objects without a stated length may be in temporary files at a time. |
//! | `allow_http` | boolean | `false` | Whether `headers` may be sent without TLS to another machine. |
//! | `headers` | table of secrets | | The headers of every request, by name. |
//!
//! <!-- end of options -->
//!
//! Every driver also takes `prefix`, `read_only`, `public_url`, `timeout`, `retries` and
//! `default_headers` ([`CommonOptions`](storage_core::config::CommonOptions)).
//!
//! # Limits
//!
//! Some guarantees of the contract depend on the server:
//!
//! - **Atomic saves** need a server that replaces a file only after a complete PUT, as nginx does.
//!   If a payload fails, the body of the PUT ends before its length or its last chunk, so that the
//!   server can detect this.
//! - **Conditions of saves** (`create_new`, `unique_name`, `if_match`) are `Unsupported`, because
//!   file servers ignore the conditions of a PUT.
//! - **Metadata**: a save with metadata other than a content type fails with `Unsupported`, because
//!   file servers store none. They derive the content type from the name of the file, and may
//!   ignore the one of the save.
//! - **Directories**: a key and a key below it cannot both exist. The second save fails with
//!   `Conflict`. Directories that become empty stay. A listing does not contain them, but a save
//!   under their name fails with `Conflict`.
//! - **`copy`**, **`rename`**, **multipart uploads** and **signed links** are `Unsupported`.
//! - **`list`** needs WebDAV (PROPFIND), and in a read-only storage also the option `webdav`. To
//!   distinguish directories from objects, `delete` needs WebDAV too: without it, a server that
//!   deletes directories may delete one with all its files.
//!
//! # Example
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use storage_core::Storage;
//! use storage_http::Http;
//!
//! let storage = Storage::new(Http::builder("https://downloads.example.com/audio/".parse()?).build()?);
//! let start = storage.open("2026/episode-1.mp3").range(0..1024).await?.bytes().await?;
//! # Ok(()) }
//! ```
//!
//! # Modules
//!
//! | module | content |
//! |---|---|
//! | `config` | options, builder, registration |
//! | `driver`, `shared` | the driver, and the state that its verbs share |
//! | `open`, `stat`, `save`, `list`, `delete`, `link` | one file for each verb |
//! | `client`, `errors` | requests; errors of responses |
//! | `version` | one version of an object, and resuming its body |
//! | `upload` | the body of a PUT |
//! | `webdav`, `multistatus` | PROPFIND and MKCOL; the document of a PROPFIND |

#![cfg_attr(docsrs, feature(doc_cfg))]

mod client;
mod config;
mod delete;
mod driver;
mod errors;
mod link;
mod list;
mod multistatus;
mod open;
mod save;
mod shared;
mod stat;
mod upload;
mod version;
mod webdav;

pub use config::{HttpBuilder, register};
pub use driver::Http;

// Compiles and runs the examples of the README.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
