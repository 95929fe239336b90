//! The driver's options: for programs ([`S3Builder`]) and for configuration ([`register`]).

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use http::{HeaderMap, HeaderName};
use storage_core::config::{self, Options, Secret, byte_size};
use storage_core::{Error, LinkBase, Registry, Result};
use url::Url;

use crate::budget::Budget;
use crate::checksums::{Checking, ChecksumMode};
use crate::client::Client;
use crate::copy;
use crate::credentials::{self, Environment, Sources};
use crate::driver::S3;
use crate::endpoint::Bucket;
use crate::headers;
use crate::quirks::{Abilities, Quirks};
use crate::shared::Inner;
use crate::spool;
use crate::transport::Http;

const MIB: u64 = 1024 * 1024;
/// S3's limits for a part ("Amazon S3 multipart upload limits").
const SMALLEST_PART: u64 = 5 * MIB;
const LARGEST_PART: u64 = 5 * 1024 * MIB;
const PART_SIZE: u64 = 8 * MIB;
const CONCURRENCY: usize = 8;
/// The memory that the parts of all saves of a driver may take together, and as much again those of
/// all reads. A reader that takes its time keeps what it has, which no save may have to wait for.
const MEMORY: u64 = 128 * MIB;
/// Where a bucket is if nobody says.
const REGION: &str = "us-east-1";

/// How to set up the driver. See [`build`](Self::build).
///
/// ```
/// use storage_core::Storage;
/// use storage_s3::S3Builder;
///
/// # fn main() -> storage_core::Result<()> {
/// let s3 = S3Builder::new("media").region("eu-west-1").access_key_id("AKIA...").secret_access_key("...").build()?;
/// let storage = Storage::new(s3);
/// assert_eq!(storage.info().location, "s3://media");
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct S3Builder {
    options: S3Options,
    public_url: Option<LinkBase>,
    largest_copy: u64,
}

storage_core::options! {
    /// The options as configuration has them.
    #[derive(Clone)]
    struct S3Options {
        /// The name of the bucket.
        bucket: String => "text", required;
        /// The region of the bucket.
        region: Option<String> => "text",
            otherwise "`AWS_REGION`, `AWS_DEFAULT_REGION`, the profile's, else `us-east-1`";
        /// The address of the service: `https://s3.example.com`.
        #[serde(default, deserialize_with = "config::url::option")]
        endpoint: Option<Url> => "URL",
            otherwise "`AWS_ENDPOINT_URL_S3`, `AWS_ENDPOINT_URL`, the profile's, else AWS";
        /// Whether the bucket is in the path of URLs and not in their host.
        path_style: Option<bool> => "boolean",
            otherwise "`true` for an endpoint; for AWS `true` if the bucket's name has a dot";
        /// The id of the access key. Goes with `secret_access_key`.
        access_key_id: Option<Secret> => "secret",
            otherwise "searched: the environment, the profile, the instance";
        /// The secret of the access key.
        secret_access_key: Option<Secret> => "secret", otherwise "as `access_key_id`";
        /// The token of temporary keys.
        session_token: Option<Secret> => "secret", otherwise "as `access_key_id`";
        /// A profile of the AWS files. Its keys then precede those of environment variables.
        profile: Option<String> => "text", otherwise "`AWS_PROFILE`, else `default`";
        /// Whether requests are sent without a signature, as to a public bucket.
        #[serde(default)]
        anonymous: bool => "boolean", default false;
        /// The address of the service for browsers, in signed links.
        #[serde(default, deserialize_with = "config::url::option")]
        signing_endpoint: Option<Url> => "URL", otherwise "`endpoint`";
        /// The canned ACL of every object: `public-read`. New buckets of AWS have ACLs disabled: use
        /// a policy.
        acl: Option<String> => "text";
        /// The encryption of every object: `AES256`, `aws:kms` or `aws:kms:dsse`. A save fails if
        /// the service does not confirm it.
        sse: Option<String> => "text", otherwise "the bucket's";
        /// The key of `aws:kms`.
        sse_kms_key_id: Option<String> => "text", otherwise "the account's";
        /// The storage class of every object: `STANDARD_IA`, `INTELLIGENT_TIERING`, ... A save fails
        /// if the service does not show it.
        storage_class: Option<String> => "text", otherwise "the bucket's";
        /// The checksum of every body that is sent.
        checksum: Option<ChecksumMode> => "`crc64nvme`, `sha256`, `md5` or `none`",
            otherwise "`crc64nvme`; `sha256` if the service takes no checksum headers";
        /// The size of a part, from 5 MiB to 5 GiB. One request saves what is not larger.
        #[serde(default, deserialize_with = "byte_size::option")]
        part_size: Option<u64> => "size", default "8MiB";
        /// How many parts of one object are sent or read at a time.
        concurrency: Option<usize> => "integer", default 8;
        /// The profile of the service, which says what it lacks. An unknown host has no conditional
        /// saves.
        #[serde(default)]
        quirks: Quirks => "name of a profile", otherwise "`auto`: by the host of the endpoint";
        /// Whether an endpoint without TLS is allowed.
        #[serde(default)]
        allow_http: bool => "boolean", default false;
    }
}

macro_rules! setters {
    ($($(#[$doc:meta])* $name:ident: $type:ty => $value:expr;)*) => {
        $($(#[$doc])*
        #[must_use]
        pub fn $name(mut self, $name: $type) -> Self {
            self.options.$name = $value;
            self
        })*
    };
}

impl S3 {
    /// Returns a builder for a driver of this bucket.
    #[must_use]
    pub fn builder(bucket: impl Into<String>) -> S3Builder {
        S3Builder::new(bucket)
    }
}

impl S3Builder {
    /// A bucket, at AWS unless an endpoint is set.
    #[must_use]
    pub fn new(bucket: impl Into<String>) -> Self {
        let options = S3Options {
            bucket: bucket.into(),
            region: None,
            endpoint: None,
            path_style: None,
            access_key_id: None,
            secret_access_key: None,
            session_token: None,
            profile: None,
            anonymous: false,
            signing_endpoint: None,
            acl: None,
            sse: None,
            sse_kms_key_id: None,
            storage_class: None,
            checksum: None,
            part_size: None,
            concurrency: None,
            quirks: Quirks::Auto,
            allow_http: false,
        };
        Self { options, public_url: None, largest_copy: copy::LARGEST }
    }

    setters! {
        /// The bucket's region. Else that of `AWS_REGION`, `AWS_DEFAULT_REGION` or the profile,
        /// else `us-east-1`.
        region: impl Into<String> => Some(region.into());
        /// Where the service is: `https://s3.example.com`. Else `AWS_ENDPOINT_URL_S3`,
        /// `AWS_ENDPOINT_URL`, or the profile's, else AWS.
        endpoint: Url => Some(endpoint);
        /// Whether the bucket is in the path of a URL (`https://host/bucket/key`) or in its host
        /// (`https://bucket.host/key`). The path is the default for an endpoint that is set, the
        /// host for AWS.
        path_style: bool => Some(path_style);
        /// The access key's id; the secret goes with it.
        access_key_id: impl Into<String> => Some(Secret::new(access_key_id));
        /// The access key's secret.
        secret_access_key: impl Into<String> => Some(Secret::new(secret_access_key));
        /// The token of temporary keys.
        session_token: impl Into<String> => Some(Secret::new(session_token));
        /// A profile of the AWS files, by its name.
        profile: impl Into<String> => Some(profile.into());
        /// Whether requests are sent without a signature, as to a public bucket.
        anonymous: bool => anonymous;
        /// The host that browsers know the service by, for signed links, where it is another than
        /// the one this program talks to.
        signing_endpoint: Url => Some(signing_endpoint);
        /// The canned ACL of every object that is saved or copied: `public-read`.
        acl: impl Into<String> => Some(acl.into());
        /// The encryption of every object: `AES256`, `aws:kms`, `aws:kms:dsse`.
        sse: impl Into<String> => Some(sse.into());
        /// The key of `aws:kms`.
        sse_kms_key_id: impl Into<String> => Some(sse_kms_key_id.into());
        /// The storage class of every object: `STANDARD_IA`.
        storage_class: impl Into<String> => Some(storage_class.into());
        /// The checksum of every body that is sent.
        checksum: ChecksumMode => Some(checksum);
        /// The size of a part in bytes, 5 MiB to 5 GiB; 8 MiB by default. What is smaller is saved
        /// by one request.
        part_size: u64 => Some(part_size);
        /// How many parts of one object are on their way at once; 8 by default.
        concurrency: usize => Some(concurrency);
        /// The profile of the service: what it lacks. Defaults to [`Quirks::Auto`], by the
        /// endpoint's host name.
        quirks: Quirks => quirks;
        /// Whether an endpoint may be reached without TLS.
        allow_http: bool => allow_http;
    }

    /// Reads the options of the driver's own, as configuration has them: those that [`register`]
    /// lists, without those of every driver.
    ///
    /// # Errors
    /// `InvalidConfig` that names the option.
    pub fn from_options(options: Options) -> Result<Self> {
        Ok(Self { options: options.read("s3")?, public_url: None, largest_copy: copy::LARGEST })
    }

    /// Where the bucket is publicly shown: a CNAME, a CDN, the bucket itself if it is public. The
    /// base of public links.
    #[must_use]
    pub fn public_url(mut self, base: LinkBase) -> Self {
        self.public_url = Some(base);
        self
    }

    /// The largest object that one request copies; larger ones are copied by ranges. 5 GiB unless
    /// set: for tests, which have no such object.
    #[doc(hidden)]
    #[must_use]
    pub fn largest_copy(mut self, bytes: u64) -> Self {
        self.largest_copy = bytes;
        self
    }

    /// Makes the driver. Reads the profile files, if there are any; sends nothing.
    ///
    /// What is not set comes from the environment, by the names that AWS tools use. Credentials are
    /// looked for in the options, the environment, the profile files, then in what a container or
    /// an instance is given.
    ///
    /// # Errors
    /// `InvalidConfig` that names the option.
    pub fn build(self) -> Result<S3> {
        self.build_in(&Environment::process())
    }

    pub(crate) fn build_in(self, environment: &Environment) -> Result<S3> {
        let Self { options, public_url, largest_copy } = self;
        let http = Http::new()?;
        let sources = Sources {
            access_key_id: options.access_key_id.clone(),
            secret_access_key: options.secret_access_key.clone(),
            session_token: options.session_token.clone(),
            profile: options.profile.clone(),
            anonymous: options.anonymous,
            region: options.region.clone(),
        };
        let found = credentials::find(&sources, environment, Arc::new(http.clone()))?;
        let region = match &options.region {
            Some(region) => region.clone(),
            None => first(environment, &["AWS_REGION", "AWS_DEFAULT_REGION"])?
                .or(found.region)
                .unwrap_or_else(|| REGION.to_owned()),
        };
        check_region(&region)?;
        let endpoint = match &options.endpoint {
            Some(endpoint) => Some(endpoint.clone()),
            None => environment
                .endpoint_of("S3")?
                .or(found.endpoint)
                .map(|text| parse_endpoint(&text))
                .transpose()?,
        };
        let bucket = options.bucket_at(endpoint.as_ref(), &region, "endpoint")?;
        let signing_bucket = match &options.signing_endpoint {
            Some(endpoint) => options.bucket_at(Some(endpoint), &region, "signing_endpoint")?,
            None => bucket.clone(),
        };
        let abilities = options.quirks.abilities(endpoint.as_ref().and_then(Url::host_str));
        let default =
            if abilities.checksum_headers { ChecksumMode::Crc64Nvme } else { ChecksumMode::Sha256 };
        let part_size = options.checked_part_size()?;
        Ok(S3::new(Inner {
            can_sign: found.provider.is_some(),
            client: Client::new(
                http.client_for(bucket.host()),
                bucket,
                region,
                found.provider,
                found.renewal,
            ),
            signing_bucket,
            public_url,
            object_headers: options.object_headers(abilities)?,
            abilities,
            checking: Checking {
                mode: options.checksum.unwrap_or(default),
                headers: abilities.checksum_headers,
            },
            part_size,
            concurrency: options.checked_concurrency()?,
            save_budget: Budget::new(MEMORY),
            read_budget: Budget::new(MEMORY),
            spool_budget: Budget::new(spool::ROOM),
            largest_copy,
            bucket_is_there: AtomicBool::new(false),
            keeps_storage_class: AtomicBool::new(false),
        }))
    }
}

/// Shows no URL, in which there may be a password: `build` refuses it, but that comes later.
impl fmt::Debug for S3Builder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("S3Builder")
            .field("bucket", &self.options.bucket)
            .field("region", &self.options.region)
            .field("endpoint", &self.options.endpoint.as_ref().and_then(Url::host_str))
            .field("quirks", &self.options.quirks)
            .finish_non_exhaustive()
    }
}

impl S3Options {
    fn bucket_at(&self, endpoint: Option<&Url>, region: &str, option: &str) -> Result<Bucket> {
        let Some(endpoint) = endpoint else {
            storage_client::check_tls_support("https")?;
            return Bucket::at_aws(
                &self.bucket,
                region,
                self.path_style.unwrap_or_else(|| self.bucket.contains('.')),
            );
        };
        match endpoint.scheme() {
            "https" => storage_client::check_tls_support("https")?,
            "http" if self.allow_http => {}
            "http" => {
                return Err(Error::config(format!(
                    "option {option}: without TLS (http) only if allow_http = true"
                )));
            }
            _ => {
                return Err(Error::config(format!(
                    "option {option}: a URL that begins with https:// or http://"
                )));
            }
        }
        if !endpoint.username().is_empty() || endpoint.password().is_some() {
            return Err(Error::config(format!(
                "option {option}: a URL without user name and password"
            )));
        }
        if endpoint.query().is_some() || endpoint.fragment().is_some() {
            return Err(Error::config(format!("option {option}: a URL without a query")));
        }
        Bucket::at(&self.bucket, endpoint, self.path_style.unwrap_or(true))
    }

    fn checked_part_size(&self) -> Result<u64> {
        match self.part_size.unwrap_or(PART_SIZE) {
            size if (SMALLEST_PART..=LARGEST_PART).contains(&size) => Ok(size),
            _ => Err(Error::config(
                "option part_size: from 5 MiB (5242880) to 5 GiB, which is what S3 takes",
            )),
        }
    }

    fn checked_concurrency(&self) -> Result<usize> {
        match self.concurrency.unwrap_or(CONCURRENCY) {
            0 => Err(Error::config("option concurrency: at least 1")),
            concurrency => Ok(concurrency.min(1000)),
        }
    }

    fn object_headers(&self, abilities: Abilities) -> Result<HeaderMap> {
        if self.sse_kms_key_id.is_some()
            && !self.sse.as_deref().is_some_and(|sse| sse.starts_with("aws:kms"))
        {
            return Err(Error::config(
                "option sse_kms_key_id needs sse = \"aws:kms\" (or \"aws:kms:dsse\")",
            ));
        }
        let options = [
            ("acl", "x-amz-acl", &self.acl),
            ("sse", "x-amz-server-side-encryption", &self.sse),
            ("sse_kms_key_id", "x-amz-server-side-encryption-aws-kms-key-id", &self.sse_kms_key_id),
            ("storage_class", "x-amz-storage-class", &self.storage_class),
        ];
        let mut object_headers = HeaderMap::new();
        for (option, header, value) in options {
            let Some(value) = value else { continue };
            abilities.check_option(option)?;
            let legal = |byte: u8| (0x21..0x7f).contains(&byte);
            if value.is_empty() || !value.bytes().all(legal) {
                return Err(Error::config(format!(
                    "option {option}: not a value that a header can have"
                )));
            }
            object_headers.insert(HeaderName::from_static(header), headers::header_value(value)?);
        }
        Ok(object_headers)
    }
}

/// The first of these variables that is set.
fn first(environment: &Environment, names: &[&str]) -> Result<Option<String>> {
    for name in names {
        if let Some(value) = environment.text(name)? {
            return Ok(Some(value));
        }
    }
    Ok(None)
}

fn parse_endpoint(text: &str) -> Result<Url> {
    config::url::parse(text).map_err(|expected| {
        Error::config(format!("the endpoint of AWS_ENDPOINT_URL or of the profile: {expected}"))
    })
}

/// It becomes part of a host's name and of every signature.
fn check_region(region: &str) -> Result<()> {
    let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    if (1..=64).contains(&region.len()) && region.chars().all(legal) {
        return Ok(());
    }
    Err(Error::config("option region: a name like eu-west-1 (or auto, where the service has none)"))
}

/// Registers the driver `s3` and its scheme (`s3://bucket/prefix?region=eu-west-1`).
///
/// The driver takes its own [options](crate#options) and those of every driver (`prefix`,
/// `public_url`, ...).
///
/// ```
/// let mut registry = storage_core::Registry::new();
/// storage_s3::register(&mut registry);
/// let storage = registry.open_url("s3://media/avatars?region=eu-west-1&anonymous=true")?;
/// assert_eq!(storage.info().location, "s3://media/avatars");
/// # Ok::<(), storage_core::Error>(())
/// ```
pub fn register(registry: &mut Registry) {
    registry.register("s3", |options: S3Options, context| {
        let public_url = context.common().public_url.clone();
        let builder = S3Builder { options, public_url, largest_copy: copy::LARGEST };
        Ok(Arc::new(builder.build()?))
    });
    registry.register_scheme("s3", "s3", "s3://bucket/prefix", options_of);
}

fn options_of(url: &Url) -> Result<Options> {
    let bucket = url.host_str().filter(|host| !host.is_empty());
    let bucket =
        bucket.ok_or_else(|| Error::config("an S3 URL is s3://bucket or s3://bucket/prefix"))?;
    if url.port().is_some() {
        return Err(Error::config(
            "an S3 URL has a bucket where others have a host: set endpoint=... in its query",
        ));
    }
    if let Some((secret, _)) = url.query_pairs().find(|(name, _)| {
        matches!(&**name, "access_key_id" | "secret_access_key" | "session_token")
    }) {
        return Err(Error::config(format!(
            "an S3 URL with {secret}: secrets come from the environment, a profile or a config file"
        )));
    }
    let mut options = Options::new().with("bucket", bucket);
    let prefix = percent_encoding::percent_decode_str(url.path().trim_matches('/')).decode_utf8();
    let prefix = prefix.map_err(|cause| {
        Error::config("the prefix of an S3 URL is not UTF-8").with_source(cause)
    })?;
    if !prefix.is_empty() {
        options.insert("prefix", prefix.into_owned());
    }
    Ok(options)
}
