//! The options of the driver: [`S3Builder`] in code, [`register`] for configurations.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use http::{HeaderMap, HeaderName};
use storage_client::{Spool, header_value};
use storage_core::config::{self, Options, Secret, byte_size};
use storage_core::{Error, LinkBase, Registry, Result};
use url::Url;

use crate::budget::Budget;
use crate::checksums::{ChecksumMode, ChecksumPolicy};
use crate::client::Client;
use crate::credentials::{self, Environment, Sources};
use crate::driver::S3;
use crate::endpoint::Bucket;
use crate::quirks::{Features, Quirks};
use crate::shared::Inner;
use crate::transport::Http;
use crate::{copy, open};

const MIB: u64 = 1024 * 1024;
/// S3's limits for the size of a part ("Amazon S3 multipart upload limits").
const MIN_PART_SIZE: u64 = 5 * MIB;
const MAX_PART_SIZE: u64 = 5 * 1024 * MIB;
const DEFAULT_PART_SIZE: u64 = 8 * MIB;
const DEFAULT_CONCURRENCY: usize = 8;
/// The memory limit for the parts of all saves, and again for the ranges of all reads. The limits
/// are separate, so that a slow reader cannot block a save.
const MEMORY_LIMIT: u64 = 128 * MIB;
/// The default of the option `region`.
const DEFAULT_REGION: &str = "us-east-1";

/// Sets the options of an [`S3`] and builds it. Created by [`S3::builder`].
///
/// ```
/// use storage_core::Storage;
/// use storage_s3::S3Builder;
/// # fn main() -> storage_core::Result<()> {
/// let s3 = S3Builder::new("media")
///     .region("eu-west-1")
///     .access_key_id("AKIA...")
///     .secret_access_key("...")
///     .build()?;
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
    /// The options as a configuration contains them.
    #[derive(Clone)]
    struct S3Options {
        /// The name of the bucket.
        bucket: String => "text", required;
        /// The region of the bucket.
        region: Option<String> => "text",
            otherwise "`AWS_REGION`, `AWS_DEFAULT_REGION`, the profile's, else `us-east-1`";
        /// The URL of the service: `https://s3.example.com`.
        #[serde(default, deserialize_with = "config::url::option")]
        endpoint: Option<Url> => "URL",
            otherwise "`AWS_ENDPOINT_URL_S3`, `AWS_ENDPOINT_URL`, the profile's, else AWS";
        /// Whether the bucket is in the path of URLs instead of their host name.
        path_style: Option<bool> => "boolean",
            otherwise "`true` for an endpoint; for AWS `true` if the bucket's name has a dot";
        /// The id of the access key. Requires `secret_access_key`.
        access_key_id: Option<Secret> => "secret",
            otherwise "searched: the environment, the profile, the container, the instance";
        /// The secret of the access key. Requires `access_key_id`.
        secret_access_key: Option<Secret> => "secret", otherwise "as `access_key_id`";
        /// The session token of temporary keys.
        session_token: Option<Secret> => "secret", otherwise "as `access_key_id`";
        /// The profile of the AWS files. If it is set, its keys precede those of environment
        /// variables.
        profile: Option<String> => "text", otherwise "`AWS_PROFILE`, else `default`";
        /// Whether requests are sent without a signature, as for a public bucket.
        #[serde(default)]
        anonymous: bool => "boolean", default false;
        /// The URL of the service in signed links, if browsers reach it under another host name.
        #[serde(default, deserialize_with = "config::url::option")]
        signing_endpoint: Option<Url> => "URL", otherwise "`endpoint`";
        /// The canned ACL of every object: `public-read`. New buckets of AWS have ACLs disabled, so
        /// use a bucket policy there.
        acl: Option<String> => "text";
        /// The encryption of every object: `AES256`, `aws:kms` or `aws:kms:dsse`. A save fails if
        /// the service does not confirm it.
        sse: Option<String> => "text", otherwise "the bucket's";
        /// The key of `aws:kms`.
        sse_kms_key_id: Option<String> => "text", otherwise "the account's";
        /// The storage class of every object: `STANDARD_IA`, `INTELLIGENT_TIERING`, ... A save
        /// fails if the service does not apply it.
        storage_class: Option<String> => "text", otherwise "the bucket's";
        /// The checksum of every request body.
        checksum: Option<ChecksumMode> => "`crc64nvme`, `crc32c`, `sha256`, `md5` or `none`",
            otherwise "`crc64nvme`; `sha256` if the service supports no checksum headers";
        /// The size of a part, from 5 MiB to 5 GiB. An object of at most this size is saved by one
        /// request.
        #[serde(default, deserialize_with = "byte_size::option")]
        part_size: Option<u64> => "size", default "8MiB";
        /// How many parts of one object are sent or read at a time, at most 1,000.
        concurrency: Option<usize> => "integer", default 8;
        /// The profile of the service, which lists what the service lacks. At an unknown host,
        /// conditional saves fail unless a profile is set.
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
    /// Creates a builder for a bucket. The bucket is at AWS unless an endpoint is set, by
    /// [`endpoint`](Self::endpoint), by an environment variable or by the profile.
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
        Self { options, public_url: None, largest_copy: copy::MAX_SINGLE_COPY }
    }

    setters! {
        /// Sets the bucket's region. Defaults to `AWS_REGION`, then `AWS_DEFAULT_REGION`, then the
        /// profile's region, then `us-east-1`.
        region: impl Into<String> => Some(region.into());
        /// Sets the URL of the service: `https://s3.example.com`. Defaults to
        /// `AWS_ENDPOINT_URL_S3`, then `AWS_ENDPOINT_URL`, then the profile's endpoint, then AWS.
        endpoint: Url => Some(endpoint);
        /// Sets whether the bucket is in the path of a URL (`https://host/bucket/key`) or in its
        /// host name (`https://bucket.host/key`). Defaults to `true` if an endpoint is set. At AWS,
        /// defaults to `true` only for a bucket name that contains a dot.
        path_style: bool => Some(path_style);
        /// Sets the id of the access key. Requires [`secret_access_key`](Self::secret_access_key).
        access_key_id: impl Into<String> => Some(Secret::new(access_key_id));
        /// Sets the secret of the access key. Requires [`access_key_id`](Self::access_key_id).
        secret_access_key: impl Into<String> => Some(Secret::new(secret_access_key));
        /// Sets the session token of temporary keys.
        session_token: impl Into<String> => Some(Secret::new(session_token));
        /// Sets the profile of the AWS files to use. Defaults to `AWS_PROFILE`, then `default`.
        profile: impl Into<String> => Some(profile.into());
        /// Sets whether requests are sent without a signature, as for a public bucket. Defaults to
        /// `false`.
        anonymous: bool => anonymous;
        /// Sets the URL that signed links begin with, if clients reach the service under another
        /// host name than this program. Defaults to the endpoint.
        signing_endpoint: Url => Some(signing_endpoint);
        /// Sets the canned ACL of every saved or copied object: `public-read`. Defaults to none.
        /// New buckets of AWS have ACLs disabled, so use a bucket policy there.
        acl: impl Into<String> => Some(acl.into());
        /// Sets the encryption of every object: `AES256`, `aws:kms` or `aws:kms:dsse`. Defaults to
        /// that of the bucket. A save fails with `Unsupported` if the service does not confirm it.
        sse: impl Into<String> => Some(sse.into());
        /// Sets the key of the encryption `aws:kms`. Defaults to that of the account.
        sse_kms_key_id: impl Into<String> => Some(sse_kms_key_id.into());
        /// Sets the storage class of every object: `STANDARD_IA`. Defaults to that of the bucket. A
        /// save fails with `Unsupported` if the service does not apply it.
        storage_class: impl Into<String> => Some(storage_class.into());
        /// Sets the checksum of every request body. Defaults to [`ChecksumMode::Crc64Nvme`], or to
        /// [`ChecksumMode::Sha256`] if the service does not support checksum headers.
        checksum: ChecksumMode => Some(checksum);
        /// Sets the size of a part in bytes, from 5 MiB to 5 GiB. Defaults to 8 MiB. An object of
        /// at most this size is saved by one request.
        part_size: u64 => Some(part_size);
        /// Sets how many parts of one object are transferred at a time. Defaults to 8. At least 1
        /// is required, and more than 1,000 count as 1,000.
        concurrency: usize => Some(concurrency);
        /// Sets the profile of the service. Defaults to [`Quirks::Auto`], which selects it by the
        /// host name of the endpoint.
        quirks: Quirks => quirks;
        /// Sets whether an endpoint without TLS is allowed. Defaults to `false`, with which `build`
        /// fails for an endpoint that begins with `http://`.
        allow_http: bool => allow_http;
    }

    /// Reads the options of this driver from a configuration. The [crate's
    /// documentation](crate#options) lists them. The options of every driver (`prefix`,
    /// `public_url`, ...) are not accepted here.
    ///
    /// # Errors
    /// `InvalidConfig`, which names the option.
    pub fn from_options(options: Options) -> Result<Self> {
        Ok(Self {
            options: options.read("s3")?,
            public_url: None,
            largest_copy: copy::MAX_SINGLE_COPY,
        })
    }

    /// Sets the base URL of public links: that of a CNAME, of a CDN, or of the bucket itself if it
    /// is public. Defaults to none, so that public links fail with `Unsupported`.
    #[must_use]
    pub fn public_url(mut self, base: LinkBase) -> Self {
        self.public_url = Some(base);
        self
    }

    /// Sets the largest object that one request copies, in bytes. Defaults to 5 GiB. For tests of
    /// larger copies.
    #[doc(hidden)]
    #[must_use]
    pub fn largest_copy(mut self, bytes: u64) -> Self {
        self.largest_copy = bytes;
        self
    }

    /// Builds the driver. Reads the profile files, and sends no request.
    ///
    /// Options that are not set come from the environment variables of the AWS tools. Credentials
    /// are taken from the first of these that applies: the options, the environment, the profile
    /// files, a web identity token, the container, the instance. If the option `profile` is set,
    /// the environment is skipped. Blocks the thread while it reads the files.
    ///
    /// # Errors
    /// - `InvalidConfig`, which names the option.
    /// - `Unauthenticated` if no source of credentials applies. The instance always applies, unless
    ///   `AWS_EC2_METADATA_DISABLED` is `true`.
    /// - `Unexpected` if TLS cannot be set up, for example because the system has no root
    ///   certificates.
    pub fn build(self) -> Result<S3> {
        self.build_in(&Environment::process())
    }

    pub(crate) fn build_in(self, environment: &Environment) -> Result<S3> {
        let Self { options, public_url, largest_copy } = self;
        let http = Http::default();
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
            None => first_variable(environment, &["AWS_REGION", "AWS_DEFAULT_REGION"])?
                .or(found.region)
                .unwrap_or_else(|| DEFAULT_REGION.to_owned()),
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
        let features = options.quirks.features(endpoint.as_ref().and_then(Url::host_str));
        let default =
            if features.checksum_headers { ChecksumMode::Crc64Nvme } else { ChecksumMode::Sha256 };
        let part_size = options.checked_part_size()?;
        Ok(S3::new(Inner {
            can_sign: found.provider.is_some(),
            client: Client::new(
                http.client_for(bucket.scheme(), bucket.host())?,
                bucket,
                region,
                found.provider,
                found.renewal,
            ),
            signing_bucket,
            public_url,
            object_headers: options.object_headers(features)?,
            tags: None,
            features,
            checksum_policy: ChecksumPolicy {
                mode: options.checksum.unwrap_or(default),
                headers: features.checksum_headers,
            },
            part_size,
            concurrency: options.checked_concurrency()?,
            save_budget: Budget::new(MEMORY_LIMIT),
            read_budget: Budget::new(MEMORY_LIMIT),
            spool: Spool::new(open::MAX_SPOOLED, open::MAX_SPOOLED_TOTAL, open::SEND_LENGTH),
            largest_copy,
            bucket_exists: AtomicBool::new(false),
            storage_class_confirmed: AtomicBool::new(false),
        }))
    }
}

/// Shows only the host of the endpoint, whose URL may contain a password until
/// [`build`](S3Builder::build) refuses it.
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
                    "option {option}: an http:// URL sends requests without TLS: use https://, or set allow_http = true"
                )));
            }
            _ => {
                return Err(Error::config(format!(
                    "option {option}: expected a URL that begins with https:// or http://"
                )));
            }
        }
        if !endpoint.username().is_empty() || endpoint.password().is_some() {
            return Err(Error::config(format!(
                "option {option}: the URL must not contain a user name or a password"
            )));
        }
        if endpoint.query().is_some() || endpoint.fragment().is_some() {
            return Err(Error::config(format!(
                "option {option}: the URL must not contain a query or a fragment"
            )));
        }
        Bucket::at(&self.bucket, endpoint, self.path_style.unwrap_or(true))
    }

    fn checked_part_size(&self) -> Result<u64> {
        match self.part_size.unwrap_or(DEFAULT_PART_SIZE) {
            size if (MIN_PART_SIZE..=MAX_PART_SIZE).contains(&size) => Ok(size),
            _ => Err(Error::config(
                "option part_size: set 5 MiB (5242880) to 5 GiB, which are the limits of S3",
            )),
        }
    }

    fn checked_concurrency(&self) -> Result<usize> {
        match self.concurrency.unwrap_or(DEFAULT_CONCURRENCY) {
            0 => Err(Error::config("option concurrency: set at least 1")),
            concurrency => Ok(concurrency.min(1000)),
        }
    }

    fn object_headers(&self, features: Features) -> Result<HeaderMap> {
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
            features.check_option(option)?;
            let legal = |byte: u8| (0x21..0x7f).contains(&byte);
            if value.is_empty() || !value.bytes().all(legal) {
                return Err(Error::config(format!(
                    "option {option}: the value is empty, or contains a space or a character that a header cannot contain"
                )));
            }
            object_headers.insert(HeaderName::from_static(header), header_value(value)?);
        }
        Ok(object_headers)
    }
}

/// Returns the value of the first of these variables that is set.
fn first_variable(environment: &Environment, names: &[&str]) -> Result<Option<String>> {
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

/// Checks a region, which becomes part of a host name and of every signature.
fn check_region(region: &str) -> Result<()> {
    let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    if (1..=64).contains(&region.len()) && region.chars().all(legal) {
        return Ok(());
    }
    Err(Error::config(
        "option region: expected a name like eu-west-1 (or auto, if the service has no regions)",
    ))
}

/// Registers the driver `s3` and its scheme (`s3://bucket/prefix?region=eu-west-1`).
///
/// The driver takes its own [options](crate#options) and those of every driver (`prefix`,
/// `public_url`, ...). The path of a URL is the `prefix`, and the names in its query are options. A
/// URL with a secret fails with `InvalidConfig`.
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
        let builder = S3Builder { options, public_url, largest_copy: copy::MAX_SINGLE_COPY };
        Ok(Arc::new(builder.build()?))
    });
    registry.register_scheme("s3", "s3", "s3://bucket/prefix", options_from_url);
}

fn options_from_url(url: &Url) -> Result<Options> {
    let bucket = url.host_str().filter(|host| !host.is_empty());
    let bucket = bucket.ok_or_else(|| {
        Error::config("expected an S3 URL of the form s3://bucket or s3://bucket/prefix")
    })?;
    if url.port().is_some() {
        return Err(Error::config(
            "an S3 URL has a bucket instead of a host, and no port: set endpoint=... in its query",
        ));
    }
    if let Some((secret, _)) = url.query_pairs().find(|(name, _)| {
        matches!(&**name, "access_key_id" | "secret_access_key" | "session_token")
    }) {
        return Err(Error::config(format!(
            "an S3 URL must not contain {secret}: set secrets in the environment, a profile or a configuration file"
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

#[cfg(test)]
mod tests {
    use storage_core::config::DeclaredOptions;

    use super::*;

    #[test]
    fn the_declared_defaults_are_those_of_the_driver() {
        let declared = Options::new().with("bucket", "media");
        let declared = declared.with_declared_defaults(S3Options::SPECS);
        let declared = S3Builder::from_options(declared).unwrap().options;
        let default = S3Builder::new("media").options;
        let fields = |options: &S3Options| {
            let parts =
                (options.checked_part_size().unwrap(), options.checked_concurrency().unwrap());
            (parts, options.anonymous, options.allow_http)
        };
        assert_eq!(fields(&declared), fields(&default));
    }
}
