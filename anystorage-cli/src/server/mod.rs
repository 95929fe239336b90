//! The server of `serve`: shows a storage in a browser, for development.
//!
//! | module | job |
//! |---|---|
//! | `connections` | sockets and connections |
//! | `site` | the requests: objects, directories, uploads, deletions |
//! | `page` | the page of a directory |
//! | `uploads` | resumable uploads |

mod connections;
mod page;
mod site;
mod uploads;

pub(crate) use connections::serve;
pub(crate) use site::Site;
pub(crate) use uploads::UploadServer;
