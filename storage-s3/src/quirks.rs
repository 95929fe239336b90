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
/// | `gcs` | SHA-256 in the signature; no conditional saves and copies; no bulk delete, so objects are deleted one by one; no copies by ranges, which those with other metadata above 5 GB would need |
/// | `garage` | no conditional saves and copies; no ACLs |
/// | `minio` | no condition on copies; no ACLs |
/// | `ceph` | SHA-256 in the signature; ETags in conditions of saves without quotes; a save with `if_match` that loses a race is answered with `UnknownError`, which is looked into; no condition on completing a multipart upload; no condition on copies; no `_` in names of user metadata, which it would change to `-` |
/// | `wasabi`, `spaces` | SHA-256 in the signature; no conditional saves and copies |
///
/// What a profile says is lacking is `Unsupported`, or done another way that keeps the promise: see the crate's
/// documentation, verb by verb. `auto` goes by the endpoint's host name: R2, B2, Google, Wasabi and Spaces are known by it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Quirks {
    /// What the endpoint's host name tells, else [`Quirks::None`].
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
    /// The profile of a service that is known by its host name.
    fn of_host(host: &str) -> Self {
        const KNOWN: &[(&str, Quirks)] = &[
            ("r2.cloudflarestorage.com", Quirks::R2),
            ("backblazeb2.com", Quirks::B2),
            ("storage.googleapis.com", Quirks::Gcs),
            ("wasabisys.com", Quirks::Wasabi),
            ("digitaloceanspaces.com", Quirks::Spaces),
        ];
        let is_below =
            |domain: &str| host.strip_suffix(domain).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'));
        KNOWN.iter().find(|(domain, _)| is_below(domain)).map_or(Self::None, |(_, quirks)| *quirks)
    }

    /// What the service can do; `host` is the endpoint's, if one is set.
    pub(crate) fn abilities(self, host: Option<&str>) -> Abilities {
        let all = Abilities::ALL;
        match self {
            Self::Auto => host.map_or(Self::None, Self::of_host).abilities(None),
            Self::None => all,
            Self::R2 => {
                Abilities { parts_of_any_size: false, acl: false, conditional_copy: false, forms: false, ..all }
            }
            Self::B2 => Abilities { forms: false, acl: false, ..all.without_checksums().without_conditions() },
            Self::Gcs => {
                Abilities { bulk_delete: false, part_copy: false, ..all.without_checksums().without_conditions() }
            }
            Self::Garage => Abilities { acl: false, ..all.without_conditions() },
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
    /// Says that it was a lost race when a conditional save loses one; else it is a 500 without a reason.
    pub(crate) tells_lost_races: bool,
    /// Keeps an underscore in the name of user metadata.
    pub(crate) underscores: bool,
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
    };

    fn without_checksums(self) -> Self {
        Self { checksum_headers: false, ..self }
    }

    fn without_conditions(self) -> Self {
        Self { conditional_put: false, conditional_complete: false, conditional_copy: false, ..self }
    }

    /// Refuses an option that the service would not honour.
    pub(crate) fn check_acl(self, acl: Option<&str>) -> Result<()> {
        match acl {
            Some(_) if !self.acl => Err(Error::config("option acl: this service has no canned ACLs")),
            _ => Ok(()),
        }
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
        assert_eq!(abilities("notstorage.googleapis.com"), Abilities::ALL);
        assert_eq!(abilities("127.0.0.1"), Abilities::ALL);
        assert_eq!(Quirks::Auto.abilities(None), Abilities::ALL);
    }

    #[test]
    fn a_named_profile_wins_over_the_host_name() {
        assert_eq!(Quirks::None.abilities(Some("s3.wasabisys.com")), Abilities::ALL);
    }
}
