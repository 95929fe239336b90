//! [`Quirks`]: named profiles of services.

use serde::Deserialize;
use storage_core::{Error, Result};

/// The profile of a service: how it differs from AWS.
///
/// | profile | difference |
/// |---|---|
/// | `none` | none: S3 as AWS documents it |
/// | `r2` | all parts of an upload have one size; no ACLs; no conditional copies; no upload forms |
/// | `b2` | SHA-256 in the signature in place of checksum headers; no conditional saves and copies; no upload forms; no ACLs of objects |
/// | `gcs` | SHA-256 in the signature; no conditional saves and copies; no bulk delete, so objects are deleted one by one; no copies by ranges, so an object of more than 5 GiB cannot be copied with other metadata; objects are requested as they are stored (`Accept-Encoding: gzip`) |
/// | `garage` | no conditional saves and copies; no ACLs; no `sse`; no `storage_class` |
/// | `minio` | no conditional copies; no ACLs |
/// | `ceph` | SHA-256 in the signature; ETags without quotes in conditions; a save with `if_match` that loses a race fails with `UnknownError`, which the driver interprets; no condition on completing a multipart upload; no conditional copies, so that a copy with `create_new` reads and saves the object; another name of the condition on the source of a copy (`x-amz-copy-if-match`); no `_` in names of user metadata, which Ceph would change to `-` |
/// | `wasabi`, `spaces` | SHA-256 in the signature; no conditional saves and copies |
///
/// A verb that needs a missing feature fails with `Unsupported`, or works in another way with the
/// same guarantee. An option that the service would ignore fails with `InvalidConfig`.
///
/// `auto` selects the profile by the host name of the endpoint, and recognises AWS, R2, B2, Google,
/// Wasabi and Spaces. A service at any other endpoint may ignore the condition of a save and
/// overwrite the object. Conditional saves (`create_new`, `if_match`, `unique_name`) therefore fail
/// with `Unsupported` there until a profile is set. Set `none` for a service that behaves like AWS.
/// [`S3::probe`](crate::S3::probe) and `anystorage config check` find the profile that fits.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Quirks {
    /// The profile for the endpoint's host name. For an unknown host, this is [`Quirks::None`]
    /// without conditional saves and copies. This is the default.
    #[default]
    Auto,
    /// AWS, and services that behave like it.
    None,
    /// Cloudflare R2.
    R2,
    /// Backblaze B2.
    B2,
    /// Google Cloud Storage, through its XML API.
    Gcs,
    /// Garage.
    Garage,
    /// MinIO.
    Minio,
    /// Ceph's RadosGW.
    Ceph,
    /// Wasabi.
    Wasabi,
    /// DigitalOcean Spaces.
    Spaces,
}

impl Quirks {
    /// Returns the profile's name, as the option `quirks` contains it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::None => "none",
            Self::R2 => "r2",
            Self::B2 => "b2",
            Self::Gcs => "gcs",
            Self::Garage => "garage",
            Self::Minio => "minio",
            Self::Ceph => "ceph",
            Self::Wasabi => "wasabi",
            Self::Spaces => "spaces",
        }
    }

    /// Returns the profile of a service with a known host name.
    fn for_host(host: &str) -> Option<Self> {
        const KNOWN: &[(&str, Quirks)] = &[
            ("r2.cloudflarestorage.com", Quirks::R2),
            ("backblazeb2.com", Quirks::B2),
            ("storage.googleapis.com", Quirks::Gcs),
            ("wasabisys.com", Quirks::Wasabi),
            ("digitaloceanspaces.com", Quirks::Spaces),
        ];
        let host = host.strip_suffix('.').unwrap_or(host);
        if is_aws_s3(host) {
            return Some(Self::None);
        }
        KNOWN
            .iter()
            .find(|(domain, _)| subdomain_of(host, domain).is_some())
            .map(|(_, quirks)| *quirks)
    }

    /// Returns the features of the service. `host` is that of the endpoint, if one is set.
    pub(crate) fn features(self, host: Option<&str>) -> Features {
        let aws = Features::ALL;
        let all = Features { conditional_delete: false, ..aws };
        match self {
            Self::Auto => match host.map(Self::for_host) {
                None => aws,
                Some(Some(known)) => known.features(None),
                Some(None) => {
                    Features { is_known: false, global_buckets: false, ..all.without_conditions() }
                }
            },
            // A service that behaves like AWS may still have tenants.
            Self::None => Features {
                global_buckets: host.is_none_or(|host| Self::for_host(host).is_some()),
                ..aws
            },
            Self::R2 => Features {
                parts_of_any_size: false,
                acl: false,
                conditional_copy: false,
                forms: false,
                ..all
            },
            Self::B2 => Features {
                forms: false,
                acl: false,
                ..all.without_checksums().without_conditions()
            },
            Self::Gcs => Features {
                bulk_delete: false,
                part_copy: false,
                sends_stored_encoding: false,
                ..all.without_checksums().without_conditions()
            },
            Self::Garage => Features {
                acl: false,
                sse: false,
                storage_class: false,
                conditional_source: true,
                global_buckets: false,
                ..all.without_conditions()
            },
            Self::Minio => Features { acl: false, conditional_copy: false, ..all },
            Self::Ceph => Features {
                quoted_etags: false,
                conditional_complete: false,
                conditional_copy: false,
                ceph_source_condition: true,
                global_buckets: false,
                reports_lost_races: false,
                underscores: false,
                ..all.without_checksums()
            },
            Self::Wasabi | Self::Spaces => all.without_checksums().without_conditions(),
        }
    }
}

/// Returns the part of a host name before a domain, which is empty for the domain itself. Returns
/// `None` for a host of another domain.
fn subdomain_of<'a>(host: &'a str, domain: &str) -> Option<&'a str> {
    let rest = host.strip_suffix(domain)?;
    if rest.is_empty() { Some(rest) } else { rest.strip_suffix('.') }
}

/// Whether a host is S3 of AWS ("Amazon S3 endpoints and quotas"): `s3`, or a name that begins with
/// `s3-` or `s3express-`, which `dualstack`, a region and `vpce` may follow, in a domain of AWS.
/// The labels before it name a bucket, an access point or a VPC endpoint.
///
/// The domain alone is not sufficient: the machines and load balancers of all customers have names
/// in it (`ec2-203-0-113-25.compute-1.amazonaws.com`), and may run any service.
fn is_aws_s3(host: &str) -> bool {
    const DOMAINS: &[&str] = &[
        "amazonaws.com",
        "amazonaws.com.cn",
        "amazonaws.eu",
        "api.aws",
        // The partitions without an internet connection.
        "c2s.ic.gov",
        "sc2s.sgov.gov",
        "csp.hci.ic.gov",
        "cloud.adc-e.uk",
    ];
    let Some(names) = DOMAINS.iter().find_map(|domain| subdomain_of(host, domain)) else {
        return false;
    };
    let service =
        names.rsplit('.').find(|name| !matches!(*name, "vpce" | "dualstack") && !is_region(name));
    service.is_some_and(|name| {
        name == "s3" || name.starts_with("s3-") || name.starts_with("s3express-")
    })
}

/// Whether a name has the form of a region: `eu-west-1`, `us-gov-east-1`. S3's older names
/// (`s3-eu-west-1`) do not count.
fn is_region(name: &str) -> bool {
    let is_numbered = name.rsplit_once('-').is_some_and(|(place, number)| {
        place.contains('-')
            && !number.is_empty()
            && number.bytes().all(|digit| digit.is_ascii_digit())
    });
    is_numbered && !name.starts_with("s3")
}

/// The features of a service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Features {
    /// Accepts `x-amz-checksum-` headers.
    pub(crate) checksum_headers: bool,
    /// Evaluates `If-None-Match` and `If-Match` of a PUT.
    pub(crate) conditional_put: bool,
    /// Evaluates them when a multipart upload is completed.
    pub(crate) conditional_complete: bool,
    /// Evaluates them when an object is copied.
    pub(crate) conditional_copy: bool,
    /// Evaluates `x-amz-copy-source-if-match`, or Ceph's name of it.
    pub(crate) conditional_source: bool,
    /// Evaluates it as `x-amz-copy-if-match`, and only for a copy of the whole object.
    pub(crate) ceph_source_condition: bool,
    /// The name of a bucket denotes the same bucket for every access key. Otherwise, each tenant
    /// may have buckets of its own.
    pub(crate) global_buckets: bool,
    /// Evaluates `If-Match` of a DELETE. No other service than AWS is known to.
    pub(crate) conditional_delete: bool,
    /// Recognises an ETag with quotes in the condition of a save.
    pub(crate) quoted_etags: bool,
    /// Deletes many keys in one request.
    pub(crate) bulk_delete: bool,
    /// Accepts parts of different sizes.
    pub(crate) parts_of_any_size: bool,
    /// Copies a range of an object as a part.
    pub(crate) part_copy: bool,
    /// Supports canned ACLs of objects.
    pub(crate) acl: bool,
    /// Accepts upload forms with a signed policy.
    pub(crate) forms: bool,
    /// Reports a lost race of conditional saves as such. Otherwise it responds with 500 and
    /// `UnknownError`.
    pub(crate) reports_lost_races: bool,
    /// Keeps underscores in the names of user metadata.
    pub(crate) underscores: bool,
    /// Applies or refuses the option `sse`. Otherwise it ignores the option.
    pub(crate) sse: bool,
    /// Applies or refuses the option `storage_class`. Otherwise it ignores the option.
    pub(crate) storage_class: bool,
    /// Sends an object with `Content-Encoding: gzip` as it is stored, regardless of what the
    /// request accepts.
    pub(crate) sends_stored_encoding: bool,
    /// Whether a profile was named, or the service is known by its host name.
    pub(crate) is_known: bool,
}

impl Features {
    const ALL: Self = Self {
        checksum_headers: true,
        conditional_put: true,
        conditional_complete: true,
        conditional_copy: true,
        conditional_source: true,
        ceph_source_condition: false,
        global_buckets: true,
        conditional_delete: true,
        quoted_etags: true,
        bulk_delete: true,
        parts_of_any_size: true,
        part_copy: true,
        acl: true,
        forms: true,
        reports_lost_races: true,
        underscores: true,
        sse: true,
        storage_class: true,
        sends_stored_encoding: true,
        is_known: true,
    };

    fn without_checksums(self) -> Self {
        Self { checksum_headers: false, ..self }
    }

    fn without_conditions(self) -> Self {
        Self {
            conditional_put: false,
            conditional_complete: false,
            conditional_copy: false,
            conditional_source: false,
            ..self
        }
    }

    /// Whether the service evaluates the condition on the source of a part.
    pub(crate) fn has_conditional_part_source(self) -> bool {
        self.conditional_source && !self.ceph_source_condition
    }

    /// Refuses an option that the service would ignore: `acl`, `sse`, `sse_kms_key_id`,
    /// `storage_class`.
    ///
    /// # Errors
    /// `InvalidConfig`, which names the option.
    pub(crate) fn check_option(self, option: &str) -> Result<()> {
        let refused = match option {
            "acl" if !self.acl => "this service has no canned ACLs",
            "sse" | "sse_kms_key_id" if !self.sse => {
                "this service ignores it and stores the object without encryption"
            }
            "storage_class" if !self.storage_class => {
                "this service ignores it, because it has one storage class"
            }
            _ => return Ok(()),
        };
        Err(Error::config(format!(
            "option {option}: {refused}; remove the option, or set another profile in the option quirks"
        )))
    }

    /// Returns the error of a conditional save that the service ignores or may ignore.
    pub(crate) fn conditions_unsupported(self) -> Error {
        Error::unsupported(if self.is_known {
            "this service does not support conditional saves: save without the condition, or set \
             the option quirks to the profile of a service that supports them"
        } else {
            "the service at this endpoint is unknown, and some services ignore the condition of a save and overwrite \
             the object: set the option quirks to the profile of the service, or to \"none\" if it behaves like \
             AWS; `anystorage config check` tests it and prints the profile to set"
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_is_recognised_by_the_end_of_its_host_name() {
        let features = |host| Quirks::Auto.features(Some(host));
        assert_eq!(features("0123.r2.cloudflarestorage.com"), Quirks::R2.features(None));
        assert_eq!(features("storage.googleapis.com"), Quirks::Gcs.features(None));
        assert_eq!(Quirks::Auto.features(None), Features::ALL);
    }

    #[test]
    fn every_endpoint_of_aws_is_recognised() {
        for host in [
            "s3.amazonaws.com",
            "s3.eu-west-1.amazonaws.com",
            "s3-fips.dualstack.us-east-1.amazonaws.com.",
            "bucket.vpce-1a2b3c4d-5e6f.s3.us-east-1.vpce.amazonaws.com",
            "s3.cn-north-1.amazonaws.com.cn",
            "s3-eu-west-1.amazonaws.com",
            "s3-external-1.amazonaws.com",
            "s3.us-gov-west-1.amazonaws.com",
            "s3.dualstack.ap-southeast-2.amazonaws.com",
            "s3-accelerate.amazonaws.com",
            "s3-accelerate.dualstack.amazonaws.com",
            "name-123456789012.s3-accesspoint.eu-central-1.amazonaws.com",
            "alias.mrap.accesspoint.s3-global.amazonaws.com",
            "accesspoint.vpce-1a2b3c4d.s3.us-west-2.vpce.amazonaws.com",
            "s3express-use1-az4.us-east-1.amazonaws.com",
            "s3.dualstack.cn-northwest-1.amazonaws.com.cn",
            "s3.us-iso-east-1.c2s.ic.gov",
            "s3.us-isob-east-1.sc2s.sgov.gov",
            "s3.eusc-de-east-1.amazonaws.eu",
        ] {
            assert_eq!(Quirks::Auto.features(Some(host)), Features::ALL, "{host}");
        }
    }

    #[test]
    fn a_customers_machine_at_aws_is_not_recognised_as_s3() {
        for host in [
            "amazonaws.com",
            "ec2-203-0-113-25.compute-1.amazonaws.com",
            "ec2-203-0-113-25.eu-west-1.compute.amazonaws.com",
            "s3-garage-0123456789.elb.eu-west-1.amazonaws.com",
            "s3-garage-0123456789.eu-west-1.elb.amazonaws.com",
            "abc123.execute-api.eu-west-1.amazonaws.com",
            "vpce-1a2b3c4d.vpce-svc-5e6f.us-east-1.vpce.amazonaws.com",
            "nots3.eu-west-1.amazonaws.com",
            "s3.eu-west-1.notamazonaws.com",
        ] {
            let features = Quirks::Auto.features(Some(host));
            assert!(!features.is_known && !features.conditional_put, "{host}");
        }
    }

    #[test]
    fn an_unknown_host_has_no_conditions_until_a_profile_is_named() {
        for host in [
            "notstorage.googleapis.com",
            "127.0.0.1",
            "garage.example.com",
            "amazonaws.com.example.com",
        ] {
            let features = Quirks::Auto.features(Some(host));
            assert_eq!(
                features,
                Features {
                    is_known: false,
                    conditional_delete: false,
                    global_buckets: false,
                    ..Features::ALL.without_conditions()
                },
                "{host}"
            );
            let error = features.conditions_unsupported();
            assert_eq!(error.kind(), storage_core::ErrorKind::Unsupported);
            assert!(
                error.message().contains("quirks")
                    && error.message().contains("anystorage config check"),
                "{error}"
            );
            // It may still have tenants.
            let expected = Features { global_buckets: false, ..Features::ALL };
            assert_eq!(Quirks::None.features(Some(host)), expected);
        }
    }

    #[test]
    fn an_option_that_a_service_ignores_is_refused_by_its_profile() {
        let refused = |quirks: Quirks, option| {
            let error = quirks.features(None).check_option(option).unwrap_err();
            assert_eq!(error.kind(), storage_core::ErrorKind::InvalidConfig);
            assert!(error.message().contains(option), "{error}");
        };
        for option in ["acl", "sse", "sse_kms_key_id", "storage_class"] {
            refused(Quirks::Garage, option);
            assert!(Quirks::None.features(None).check_option(option).is_ok());
        }
    }

    #[test]
    fn a_named_profile_precedes_the_host_name() {
        assert_eq!(Quirks::None.features(Some("s3.wasabisys.com")), Features::ALL);
    }
}
