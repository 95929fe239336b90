//! The S3 routes of Uppy, in the process.

mod application;
mod client;
mod files;
mod hostile;
mod parts;
mod places;

pub(crate) use client::{Reply, begin, objects, post_broken_form, post_form, put_part, send};
