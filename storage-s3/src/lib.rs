//! The S3 driver of anystorage: AWS S3, and every service that speaks its protocol.
//!
//! ```no_run
//! # async fn example() -> storage_core::Result<()> {
//! use storage_core::Storage;
//! use storage_s3::S3Builder;
//!
//! let storage = Storage::new(S3Builder::new("example-media").region("eu-west-1").build()?);
//! storage.save("avatars/ada.png", &b"\x89PNG"[..]).create_new().await?;
//! # Ok(()) }
//! ```
//!
//! Most applications name the driver in their configuration ([`register`]); [`S3Builder`] is for
//! the others.
//!
//! # Options
//!
//! <!-- options of s3 -->
//!
//! | option | type | default | purpose |
//! |-|-|-|-|
//! | `bucket` | text | required | The name of the bucket. |
//! | `region` | text | `AWS_REGION`, `AWS_DEFAULT_REGION`, the profile's, else `us-east-1` | The region of the bucket. |
//! | `endpoint` | URL | `AWS_ENDPOINT_URL_S3`, `AWS_ENDPOINT_URL`, the profile's, else AWS | The address of the service: `https://s3.example.com`. |
//! | `path_style` | boolean | `true` for an endpoint; for AWS `true` if the bucket's name has a dot | Whether the bucket is in the path of URLs and not in their host. |
//! | `access_key_id` | secret | searched: the environment, the profile, the instance | The id of the access key. Goes with `secret_access_key`. |
//! | `secret_access_key` | secret | as `access_key_id` | The secret of the access key. |
//! | `session_token` | secret | as `access_key_id` | The token of temporary keys. |
//! | `profile` | text | `AWS_PROFILE`, else `default` | A profile of the AWS files. Its keys then precede those of environment variables. |
//! | `anonymous` | boolean | `false` | Whether requests are sent without a signature, as to a public bucket. |
//! | `signing_endpoint` | URL | `endpoint` | The address of the service for browsers, in signed links. |
//! | `acl` | text | | The canned ACL of every object: `public-read`. New buckets of AWS have ACLs disabled: use a policy. |
//! | `sse` | text | the bucket's | The encryption of every object: `AES256`, `aws:kms` or `aws:kms:dsse`. A save fails if the service does not confirm it. |
//! | `sse_kms_key_id` | text | the account's | The key of `aws:kms`. |
//! | `storage_class` | text | the bucket's | The storage class of every object: `STANDARD_IA`, `INTELLIGENT_TIERING`, ... A save fails if the service does not show it. |
//! | `checksum` | `crc64nvme`, `sha256`, `md5` or `none` | `crc64nvme`; `sha256` if the service takes no checksum headers | The checksum of every body that is sent. |
//! | `part_size` | size | `"8MiB"` | The size of a part, from 5 MiB to 5 GiB. One request saves what is not larger. |
//! | `concurrency` | integer | `8` | How many parts of one object are sent or read at a time. |
//! | `quirks` | name of a profile | `auto`: by the host of the endpoint | The profile of the service, which says what it lacks. An unknown host has no conditional saves. |
//! | `allow_http` | boolean | `false` | Whether an endpoint without TLS is allowed. |
//!
//! <!-- end of options -->
//!
//! Every driver also takes `prefix`, `read_only`, `public_url`, `timeout`, `retries` and
//! `default_headers` ([`CommonOptions`](storage_core::config::CommonOptions)).
//!
//! # What each verb costs
//!
//! | verb | requests |
//! |---|---|
//! | save, up to `part_size` | 1 PUT |
//! | save, more than that | 2 POST and a PUT for each part |
//! | the first save with `storage_class`, not at AWS | 1 HEAD more, and 1 GET where that does not show the class |
//! | open | 1 GET; more for what is read over several connections, and where a connection breaks off |
//! | stat, exists | 1 HEAD; the first time that something is not there, 1 GET of a byte to be sure that the bucket is |
//! | delete | 1 DELETE; 1 POST for up to 1,000 keys of `delete_many` and `delete_prefix`; 1 HEAD and 1 DELETE for a folder marker |
//! | list | 1 GET for each 1,000 keys |
//! | copy | 1 PUT; a HEAD more with other metadata; above 5 GiB a HEAD, 2 POST, a PUT for each 512 MiB, and a PUT that is refused if the metadata is kept |
//! | url | none |
//! | `S3::probe`, `anystorage config check` | about 70 |
//!
//! # How promises are kept
//!
//! - **All or nothing**: an object becomes visible with the answer to its PUT, or to the completion
//!   of its upload. An upload that fails or whose save is dropped is aborted;
//!   [`S3::abort_stale_uploads`] finds those whose process died.
//! - **Conditions** (`create_new`, `if_match`) are S3's own, and as race-free as they are. A
//!   conditional request whose answer was lost is not repeated: the error says that the outcome is
//!   not known.
//! - **Checksums** go along with every body and are verified by the service ([`ChecksumMode`]);
//!   what S3 keeps of an object is verified when all of it is read. Checksums that the caller asks
//!   for are kept as user metadata `anystorage-...`.
//! - **Options** that every object is saved with are not lost silently: where a service does not
//!   confirm the encryption of `sse`, or does not show the `storage_class`, the save fails.
//! - **Reading** goes on at the next byte where a connection breaks off, on the condition that the
//!   object is the same version.
//! - **Memory**: the parts of all saves of a driver take at most 128 MiB, and so do those that are
//!   read ahead. A payload that stalls in the middle of a part does not count, lest it hold up
//!   others.
//! - **Listings** are in byte order, which is checked. What is no key of the contract (`a//b`,
//!   `a/`, `..`) is an error item that carries the raw name; a folder marker, the empty object
//!   `a/`, is told apart by its message.
//!
//! # Where to look
//!
//! A file for each verb (`save`, `open`, `stat`, `list`, `copy`, `delete`, `link`), above these:
//! `client` (signing, sending, trying again), `request`, `errors` (S3's codes in the contract's
//! kinds), `headers` (metadata, there and back), `xml` (documents), `endpoint` (URLs),
//! `credentials`, `quirks`.

mod body;
mod budget;
mod checksums;
mod client;
mod condition;
mod config;
mod copy;
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
mod open;
mod parts;
mod post_form;
mod probe;
mod quirks;
mod request;
mod save;
mod shared;
mod signing;
mod spool;
mod stale_uploads;
mod stat;
mod stored;
mod transport;
mod version;
mod xml;

pub use checksums::ChecksumMode;
pub use config::{S3Builder, register};
pub use driver::S3;
pub use probe::{ProbeFinding, ProbeOutcome, ProbeReport};
pub use quirks::Quirks;
