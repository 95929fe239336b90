//! The server of `serve`: shows a storage in a browser, for development.
//!
//! | module | job |
//! |---|---|
//! | `connections` | sockets and connections |
//! | `site` | the requests: objects, directories, uploads, deletions |
//! | `page` | the page of a directory |

mod connections;
mod page;
mod site;

pub(crate) use connections::serve;
pub(crate) use site::Site;
