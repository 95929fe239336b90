//! [`Quirks`]: what some services lack or do otherwise than S3, as named profiles.

use serde::Deserialize;
use storage_core::{Error, Result};

/// A service that speaks S3, for what it lacks or does otherwise.
///
/// | profile | what it changes |
/// |---|---|
/// | `none` | nothing: S3 as AWS documents it |
/// | `r2` | parts of one size; no ACLs; no condition on copies; no forms for uploads |
/// | `b2` | SHA-256 in the signature in place of checksum headers; no conditional saves and copies; no forms for uploads; no ACLs, which only a bucket has there |
/// | `gcs` | SHA-256 in the signature; no conditional saves and copies; no bulk delete, so objects are deleted one by one; no copies by ranges, which those with other metadata above 5 GB would need; objects are asked for as they are stored (`Accept-Encoding: gzip`) |
/// | `garage` | no conditional saves and copies; no ACLs; no `sse`; no `storage_class` |
/// | `minio` | no condition on copies; no ACLs |
/// | `ceph` | SHA-256 in the signature; ETags in conditions of saves without quotes; a save with `if_match` that loses a race is answered with `UnknownError`, which is looked into; no condition on completing a multipart upload; no condition on copies; no `_` in names of user metadata, which it would change to `-` |
/// | `wasabi`, `spaces` | SHA-256 in the signature; no conditional saves and copies |
///
/// What a profile says is lacking is `Unsupported`, or done another way that keeps the promise: see
/// the crate's documentation, verb by verb. An option that a profile's service ignores is
/// `InvalidConfig`.
///
/// `auto` goes by the endpoint's host name: AWS, R2, B2, Google, Wasabi and Spaces are known by it.
/// Any other endpoint may be a service that ignores the condition of a save and overwrites the
/// object, so conditional saves (`create_new`, `if_match`, `unique_name`) are `Unsupported` there
/// until a profile is named. `none` is a profile too: name it for a service that does all that AWS
/// does. [`S3::probe`](crate::S3::probe) and `anystorage config check` find out which profile fits.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Quirks {
    /// The profile of the endpoint's host name. For an unknown host: [`Quirks::None`] without
    /// conditional saves.
    #[default]
    Auto,
    /// AWS, and what does as AWS does.
    None,
    /// Cloudflare R2.
    R2,
    /// Backblaze B2.
    B2,
    /// Google Cloud Storage, by its XML API.
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
    /// Returns the profile's name, as the option `quirks` has it.
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

    /// The profile of a service that is known by its host name.
    fn of_host(host: &str) -> Option<Self> {
        const KNOWN: &[(&str, Quirks)] = &[
            ("r2.cloudflarestorage.com", Quirks::R2),
            ("backblazeb2.com", Quirks::B2),
            ("storage.googleapis.com", Quirks::Gcs),
            ("wasabisys.com", Quirks::Wasabi),
            ("digitaloceanspaces.com", Quirks::Spaces),
        ];
        let host = host.strip_suffix('.').unwrap_or(host);
        if is_s3_of_aws(host) {
            return Some(Self::None);
        }
        KNOWN.iter().find(|(domain, _)| below(host, domain).is_some()).map(|(_, quirks)| *quirks)
    }

    /// What the service can do; `host` is the endpoint's, if one is set.
    pub(crate) fn abilities(self, host: Option<&str>) -> Abilities {
        let all = Abilities::ALL;
        match self {
            Self::Auto => match host.map(Self::of_host) {
                None => all,
                Some(Some(known)) => known.abilities(None),
                Some(None) => Abilities { is_known: false, ..all.without_conditions() },
            },
            Self::None => all,
            Self::R2 => Abilities {
                parts_of_any_size: false,
                acl: false,
                conditional_copy: false,
                forms: false,
                ..all
            },
            Self::B2 => Abilities {
                forms: false,
                acl: false,
                ..all.without_checksums().without_conditions()
            },
            Self::Gcs => Abilities {
                bulk_delete: false,
                part_copy: false,
                sends_stored_encoding: false,
                ..all.without_checksums().without_conditions()
            },
            Self::Garage => Abilities {
                acl: false,
                sse: false,
                storage_class: false,
                ..all.without_conditions()
            },
            Self::Minio => Abilities { acl: false, conditional_copy: false, ..all },
            Self::Ceph => Abilities {
                quoted_etags: false,
                conditional_complete: false,
                conditional_copy: false,
                tells_lost_races: false,
                underscores: false,
                ..all.without_checksums()
            },
            Self::Wasabi | Self::Spaces => all.without_checksums().without_conditions(),
        }
    }
}

/// Returns what stands before a domain in a host name, empty for the domain itself. `None` for a
/// host of another domain.
fn below<'a>(host: &'a str, domain: &str) -> Option<&'a str> {
    let rest = host.strip_suffix(domain)?;
    if rest.is_empty() { Some(rest) } else { rest.strip_suffix('.') }
}

/// Returns whether a host is S3 of AWS ("Amazon S3 endpoints and quotas"): `s3`, or a name that
/// begins with `s3-` or `s3express-`, perhaps followed by `dualstack`, a region and `vpce`, in a
/// domain of AWS. What stands before it is a bucket, an access point or a VPC endpoint.
///
/// The domain alone proves nothing: the machines and load balancers of all customers have names
/// there too (`ec2-203-0-113-25.compute-1.amazonaws.com`), and may run any service.
fn is_s3_of_aws(host: &str) -> bool {
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
    let Some(names) = DOMAINS.iter().find_map(|domain| below(host, domain)) else { return false };
    let service =
        names.rsplit('.').find(|name| !matches!(*name, "vpce" | "dualstack") && !is_region(name));
    service.is_some_and(|name| {
        name == "s3" || name.starts_with("s3-") || name.starts_with("s3express-")
    })
}

/// Returns whether a name is formed as a region's is: `eu-west-1`, `us-gov-east-1`. Not S3's older
/// names, `s3-eu-west-1`.
fn is_region(name: &str) -> bool {
    let is_numbered = name.rsplit_once('-').is_some_and(|(place, number)| {
        place.contains('-')
            && !number.is_empty()
            && number.bytes().all(|digit| digit.is_ascii_digit())
    });
    is_numbered && !name.starts_with("s3")
}

/// What a service can do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Abilities {
    /// Takes `x-amz-checksum-crc64nvme` and its like.
    pub(crate) checksum_headers: bool,
    /// Heeds `If-None-Match` and `If-Match` of a PUT.
    pub(crate) conditional_put: bool,
    /// Heeds them when a multipart upload is completed.
    pub(crate) conditional_complete: bool,
    /// Heeds them when an object is copied.
    pub(crate) conditional_copy: bool,
    /// Knows an ETag in the condition of a save by its quotes, too.
    pub(crate) quoted_etags: bool,
    /// Deletes many keys in one request.
    pub(crate) bulk_delete: bool,
    /// Takes parts that differ in size.
    pub(crate) parts_of_any_size: bool,
    /// Copies a range of an object as a part.
    pub(crate) part_copy: bool,
    /// Has canned ACLs.
    pub(crate) acl: bool,
    /// Takes form uploads by a signed policy.
    pub(crate) forms: bool,
    /// Says that it was a lost race when a conditional save loses one; else it is a 500 without a
    /// reason.
    pub(crate) tells_lost_races: bool,
    /// Keeps an underscore in the name of user metadata.
    pub(crate) underscores: bool,
    /// Honours or refuses the option `sse`; otherwise ignores it.
    pub(crate) sse: bool,
    /// Honours or refuses the option `storage_class`; otherwise ignores it.
    pub(crate) storage_class: bool,
    /// Sends an object with `Content-Encoding: gzip` as it is stored, whatever the request accepts.
    pub(crate) sends_stored_encoding: bool,
    /// Whether a profile was named, or the service is known by its host name.
    pub(crate) is_known: bool,
}

impl Abilities {
    const ALL: Self = Self {
        checksum_headers: true,
        conditional_put: true,
        conditional_complete: true,
        conditional_copy: true,
        quoted_etags: true,
        bulk_delete: true,
        parts_of_any_size: true,
        part_copy: true,
        acl: true,
        forms: true,
        tells_lost_races: true,
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
            ..self
        }
    }

    /// Refuses an option that the service would not honour: one of `acl`, `sse`, `sse_kms_key_id`,
    /// `storage_class`.
    ///
    /// # Errors
    /// `InvalidConfig` that names the option.
    pub(crate) fn check_option(self, option: &str) -> Result<()> {
        let refused = match option {
            "acl" if !self.acl => "this service has no canned ACLs",
            "sse" | "sse_kms_key_id" if !self.sse => {
                "this service ignores it and would store the object as it is"
            }
            "storage_class" if !self.storage_class => {
                "this service ignores it, because it has one storage class"
            }
            _ => return Ok(()),
        };
        Err(Error::config(format!(
            "option {option}: {refused}; remove the option, or name another profile in quirks"
        )))
    }

    /// The error of a conditional save that the service would not heed, or may not heed.
    pub(crate) fn no_conditions(self) -> Error {
        Error::unsupported(if self.is_known {
            "this service does not heed the conditions of saves (see the option quirks)"
        } else {
            "the service at this endpoint is unknown, and some services ignore the condition of a save and overwrite \
             the object: set the option quirks to the profile of the service, or to \"none\" if it does all that AWS \
             does; `anystorage config check` tries it and prints the profile to set"
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn services_are_known_by_the_end_of_their_host_name() {
        let abilities = |host| Quirks::Auto.abilities(Some(host));
        assert_eq!(abilities("0123.r2.cloudflarestorage.com"), Quirks::R2.abilities(None));
        assert_eq!(abilities("storage.googleapis.com"), Quirks::Gcs.abilities(None));
        assert_eq!(Quirks::Auto.abilities(None), Abilities::ALL);
    }

    #[test]
    fn every_endpoint_of_aws_is_known() {
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
            assert_eq!(Quirks::Auto.abilities(Some(host)), Abilities::ALL, "{host}");
        }
    }

    #[test]
    fn a_customers_machine_at_aws_is_not_taken_for_s3() {
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
            let abilities = Quirks::Auto.abilities(Some(host));
            assert!(!abilities.is_known && !abilities.conditional_put, "{host}");
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
            let abilities = Quirks::Auto.abilities(Some(host));
            assert_eq!(
                abilities,
                Abilities { is_known: false, ..Abilities::ALL.without_conditions() },
                "{host}"
            );
            let said = abilities.no_conditions();
            assert_eq!(said.kind(), storage_core::ErrorKind::Unsupported);
            assert!(
                said.message().contains("quirks")
                    && said.message().contains("anystorage config check"),
                "{said}"
            );
            assert_eq!(Quirks::None.abilities(Some(host)), Abilities::ALL);
        }
    }

    #[test]
    fn an_option_that_a_service_ignores_is_refused_by_its_profile() {
        let refused = |quirks: Quirks, option| {
            let error = quirks.abilities(None).check_option(option).unwrap_err();
            assert_eq!(error.kind(), storage_core::ErrorKind::InvalidConfig);
            assert!(error.message().contains(option), "{error}");
        };
        for option in ["acl", "sse", "sse_kms_key_id", "storage_class"] {
            refused(Quirks::Garage, option);
            assert!(Quirks::None.abilities(None).check_option(option).is_ok());
        }
    }

    #[test]
    fn a_named_profile_wins_over_the_host_name() {
        assert_eq!(Quirks::None.abilities(Some("s3.wasabisys.com")), Abilities::ALL);
    }
}
