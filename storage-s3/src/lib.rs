//! The S3 driver of anystorage, for AWS S3 and every service that implements its API.
//!
//! ```no_run
//! # async fn example() -> storage_core::Result<()> {
//! use storage_core::Storage;
//! use storage_s3::S3;
//! let storage = Storage::new(S3::builder("example-media").region("eu-west-1").build()?);
//! storage.save("avatars/ada.png", &b"\x89PNG"[..]).create_new().await?;
//! # Ok(()) }
//! ```
//!
//! Most applications select the driver in their configuration: [`register`] adds it to a registry.
//! [`S3::builder`] is for applications that set it up in code.
//!
//! # Options
//!
//! <!-- options of s3 -->
//!
//! | option | type | default | purpose |
//! |-|-|-|-|
//! | `bucket` | text | required | The name of the bucket. |
//! | `region` | text | `AWS_REGION`, `AWS_DEFAULT_REGION`, the profile's, else `us-east-1` | The region of the bucket. |
//! | `endpoint` | URL | `AWS_ENDPOINT_URL_S3`, `AWS_ENDPOINT_URL`, the profile's, else AWS | The URL of the service: `https://s3.example.com`. |
//! | `path_style` | boolean | `true` for an endpoint; for AWS `true` if the bucket's name has a dot | Whether the bucket is in the path of URLs instead of their host name. |
//! | `access_key_id` | secret | searched: the environment, the profile, the container, the instance | The id of the access key. Requires `secret_access_key`. |
//! | `secret_access_key` | secret | as `access_key_id` | The secret of the access key. Requires `access_key_id`. |
//! | `session_token` | secret | as `access_key_id` | The session token of temporary keys. |
//! | `profile` | text | `AWS_PROFILE`, else `default` | The profile of the AWS files. If it is set, its keys precede those of environment variables. |
//! | `anonymous` | boolean | `false` | Whether requests are sent without a signature, as for a public bucket. |
//! | `signing_endpoint` | URL | `endpoint` | The URL of the service in signed links, if browsers reach it under another host name. |
//! | `acl` | text | | The canned ACL of every object: `public-read`. New buckets of AWS have ACLs disabled, so use a bucket policy there. |
//! | `sse` | text | the bucket's | The encryption of every object: `AES256`, `aws:kms` or `aws:kms:dsse`. A save fails if the service does not confirm it. |
//! | `sse_kms_key_id` | text | the account's | The key of `aws:kms`. |
//! | `storage_class` | text | the bucket's | The storage class of every object: `STANDARD_IA`, `INTELLIGENT_TIERING`, ... A save fails if the service does not apply it. |
//! | `checksum` | `crc64nvme`, `crc32c`, `sha256`, `md5` or `none` | `crc64nvme`; `sha256` if the service supports no checksum headers | The checksum of every request body. |
//! | `part_size` | size | `"8MiB"` | The size of a part, from 5 MiB to 5 GiB. An object of at most this size is saved by one request. |
//! | `concurrency` | integer | `8` | How many parts of one object are sent or read at a time, at most 1,000. |
//! | `quirks` | name of a profile | `auto`: by the host of the endpoint | The profile of the service, which lists what the service lacks. At an unknown host, conditional saves fail unless a profile is set. |
//! | `allow_http` | boolean | `false` | Whether an endpoint without TLS is allowed. |
//!
//! <!-- end of options -->
//!
//! Every driver also takes `prefix`, `read_only`, `public_url`, `timeout`, `retries` and
//! `default_headers` ([`CommonOptions`](storage_core::config::CommonOptions)).
//!
//! # Guarantees
//!
//! - **All or nothing**: an object becomes visible when the service has received its PUT, or the
//!   completion of its multipart upload. If a save fails, or its future is dropped, the upload is
//!   aborted, in the latter case in the background. If the process ends before, or if the service
//!   may be completing the upload at that moment,
//!   [`Storage::abort_stale`](storage_core::Storage::abort_stale) removes what is left later.
//! - **Conditions**: `create_new` and `if_match` use the conditional requests of S3 and give the
//!   same guarantee against races. If the response to a conditional request is lost, the request is
//!   not repeated, and the error reports that the outcome is unknown, unless the object of a
//!   multipart upload is recognised by its metadata.
//! - **Checksums**: every request body has a checksum, which the service verifies
//!   ([`ChecksumMode`]). If S3 stores a checksum of an object, the driver verifies it when the
//!   object is read completely. Checksums that the caller requests are stored as user metadata
//!   `anystorage-...`.
//! - **Object options**: if the service does not confirm the encryption of `sse`, or does not apply
//!   the `storage_class`, the save fails with `Unsupported`. The object may be stored then, which
//!   the error states ([`Error::took_effect`](storage_core::Error::took_effect)).
//! - **Reading**: if a connection breaks off or stalls for 30 s, the body resumes at the next byte
//!   if the object is still the same version. It ends with an error after five attempts in a row
//!   without a byte, and if the object was replaced or has no strong ETag.
//! - **Copying** is done by the service, within a bucket and with [`S3::copy_from`] or
//!   [`copy_between`] between two buckets of one service. The copy is one version of the source. If
//!   the service does not evaluate a condition, the driver reads the object and saves it. A copy by
//!   ranges is never of two versions: each range has a condition, or the driver compares the
//!   version of the source before the copy becomes visible.
//! - **Listings** are in byte order, and the driver verifies the order. A name that is not a valid
//!   key (`a//b`, `..`) is an error item that contains the name. An empty object whose name ends in
//!   a slash is a folder marker.
//!
//! - **Renaming**: S3 has no such request, so the driver copies one version of the object, and then
//!   deletes the source if it still has the ETag of that version. AWS compares the ETag in the
//!   DELETE itself. Other services do not, so the driver looks it up right before: an object that
//!   is saved under the source between these two requests is deleted. If the DELETE fails, both
//!   objects exist.
//!
//! # Limits
//!
//! - **Memory**: the parts of all saves of a driver use at most 128 MiB together, and the ranges
//!   that all reads fetch ahead use at most another 128 MiB. A payload that stalls in the middle of
//!   a part does not count until it goes on, so that it cannot block other saves: limit the number
//!   of clients that upload at a time. A part of a multipart upload is in memory, also if it is
//!   larger than that.
//! - **Size**: a multipart upload has at most 10,000 parts. For a payload of known size, the driver
//!   chooses larger parts if necessary. For a payload of unknown size, it doubles the part size
//!   every 1,000 parts, up to 64 MiB, which allows 492 GiB with the default `part_size`. With the
//!   profile `r2`, the part size does not grow, which allows 78 GiB. A larger payload fails with
//!   `TooLarge`.
//! - **Without `Content-Length`**: an object whose response has no length is collected in a
//!   temporary file of at most 1 GiB, and all such files of a driver have at most 2 GiB, unless the
//!   caller allows an unknown size.
//! - **Signed links** are valid for at most 7 days.
//!
//! # Requests of each verb
//!
//! | verb | requests |
//! |---|---|
//! | save, up to `part_size` | 1 PUT |
//! | save, more than that | 2 POST and a PUT for each part |
//! | the first save with `storage_class`, not at AWS | 1 HEAD more, and 1 GET if that does not show the class |
//! | open | 1 GET; more if the object is read over several connections, and if a connection breaks off |
//! | reader | 1 GET for each window, whose size doubles from 64 KiB to 8 MiB; 2 GETs for an empty object |
//! | stat, exists | 1 HEAD; for the first missing object, 1 GET of one byte, which shows whether the bucket exists |
//! | delete | 1 DELETE; 1 POST for up to 1,000 keys of `delete_many` and `delete_prefix`; 1 HEAD and 1 DELETE for a folder marker |
//! | list | 1 GET for each 1,000 keys |
//! | copy | 1 PUT; a HEAD more with other metadata; above 5 GiB a HEAD, 2 POST, a PUT for each 512 MiB, and a PUT that is refused if the metadata is kept |
//! | rename | those of a copy; 2 HEAD and 1 DELETE more |
//! | url | none |
//! | begin a multipart upload | 1 POST |
//! | put a part | 1 PUT |
//! | list parts, list multipart uploads | 1 GET for each 1,000 |
//! | complete a multipart upload | 1 GET for each 1,000 parts, 1 POST and 1 HEAD; again later 1 GET and 1 HEAD |
//! | abort a multipart upload | 2 DELETE; 1 DELETE if there is none |
//! | `S3::tags`, `set_tags`, `delete_version` | 1 |
//! | `S3::versions` | 1 GET for each 1,000 versions |
//! | tags of `S3::with_tags`, or of a copy with other metadata, not at AWS | 1 GET or 2 more, and 1 PUT if the service dropped the tags |
//! | `S3::copy_from`, `copy_between` | those of a copy |
//! | a copy by ranges with the profile `ceph`, or without conditions on the source | 1 HEAD more |
//! | `S3::probe`, `anystorage config check` | about 70 |
//!
//! # Files
//!
//! `driver` has one line for each verb, and each verb has a file: `info`, `save`, `open`, `stat`,
//! `list`, `copy`, `rename`, `delete`, `link` (with `post_form` and `signing`). `shared` is the
//! state that they share, `config` sets it up. Below the verbs: `client`, `request`, `endpoint` and
//! `transport` build, sign, send and retry requests; `parts`, `multipart` and `budget` upload in
//! parts; `body` and `version` resume bodies; `headers`, `checksums`, `condition` and `xml` convert
//! between the contract and S3; `errors` maps S3's error codes to kinds; `quirks` describes
//! services; `object_options` verifies that object options had an effect; `credentials` finds and
//! renews keys. `probe`, `tags` (with `tag_set` and `tagging`), `versions` and `copy_between` are
//! operations of [`S3`] beyond the contract.

#![cfg_attr(docsrs, feature(doc_cfg))]

mod body;
mod budget;
mod checksums;
mod client;
mod condition;
mod config;
mod copy;
mod copy_between;
mod credentials;
mod crypto;
mod delete;
mod driver;
mod endpoint;
mod errors;
mod headers;
mod info;
mod link;
mod list;
mod multipart;
mod object_options;
mod open;
mod parts;
mod post_form;
mod probe;
mod quirks;
mod rename;
mod request;
mod save;
mod shared;
mod signature;
mod signing;
mod stat;
mod tag_set;
mod tagging;
mod tags;
mod time;
mod transport;
mod version;
mod versions;
mod xml;

pub use checksums::ChecksumMode;
pub use config::{S3Builder, register};
pub use copy_between::copy_between;
pub use driver::S3;
pub use probe::{ProbeFinding, ProbeOutcome, ProbeReport};
pub use quirks::Quirks;
pub use versions::Version;

// Compiles and runs the examples of the README.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
