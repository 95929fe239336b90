//! A gallery of pictures: resumable uploads, thumbnails, and private originals by signed links. The
//! same code runs on a disk and on S3. Clients upload with tus, with the S3 plugin of Uppy, or with
//! a form.
//!
//! | file | content |
//! |-|-|
//! | `app.rs` | the routes |
//! | `uploads.rs` | who may upload what, and what happens before a picture is visible |
//! | `thumbnail.rs` | decoding and scaling pictures |
//! | `session.rs` | signing in |
//! | `page.rs`, `assets/` | the page |

mod app;
mod page;
mod session;
mod thumbnail;
mod uploads;

pub use app::{Settings, router};
pub use thumbnail::MAX_PIXELS;
