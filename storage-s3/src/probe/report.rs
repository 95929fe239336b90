//! [`ProbeReport`]: what was found, and the profile that fits.

use crate::quirks::{Abilities, Quirks};

/// What a probe found out about a service.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ProbeReport {
    /// What was tried, in order.
    pub findings: Vec<ProbeFinding>,
    configured: Abilities,
}

/// One thing that was tried.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ProbeFinding {
    /// What was tried, in a few words: `create_new`.
    pub what: &'static str,
    /// What the service did.
    pub outcome: ProbeOutcome,
    pub(super) ability: Option<Ability>,
}

/// What a service did.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ProbeOutcome {
    /// What AWS does.
    Works,
    /// It reported success and did something else. The text says what.
    Ignored(String),
    /// It reported an error, which the text contains.
    Refused(String),
}

/// What a profile says of a service, as far as a probe can try it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ability {
    ConditionalPut,
    QuotedEtags,
    UnquotedEtags,
    ConditionalComplete,
    ConditionalCopy,
    ChecksumHeaders,
    BulkDelete,
    PartCopy,
    Underscores,
    Sse,
}

impl Ability {
    /// Whether a profile relies on it.
    fn of(self, abilities: Abilities) -> bool {
        match self {
            Self::ConditionalPut => abilities.conditional_put,
            Self::QuotedEtags => abilities.quoted_etags && abilities.conditional_put,
            Self::UnquotedEtags => !abilities.quoted_etags && abilities.conditional_put,
            Self::ConditionalComplete => abilities.conditional_complete,
            Self::ConditionalCopy => abilities.conditional_copy,
            Self::ChecksumHeaders => abilities.checksum_headers,
            Self::BulkDelete => abilities.bulk_delete,
            Self::PartCopy => abilities.part_copy,
            Self::Underscores => abilities.underscores,
            Self::Sse => abilities.sse,
        }
    }

    /// Whether only a save with an option relies on it, and then fails instead of being ignored.
    fn is_checked_by_the_driver(self) -> bool {
        self == Self::Sse
    }
}

/// All profiles, the one that relies on most first.
const PROFILES: [Quirks; 9] = [
    Quirks::None,
    Quirks::Minio,
    Quirks::R2,
    Quirks::Ceph,
    Quirks::Garage,
    Quirks::Wasabi,
    Quirks::Spaces,
    Quirks::B2,
    Quirks::Gcs,
];

impl ProbeReport {
    pub(super) fn new(findings: Vec<ProbeFinding>, configured: Abilities) -> Self {
        Self { findings, configured }
    }

    /// Returns what the profile of the driver relies on and the service was not seen to do. Empty
    /// if the profile fits.
    pub fn broken_promises(&self) -> impl Iterator<Item = &ProbeFinding> {
        self.missing_from(self.configured)
    }

    /// Returns the profile to set as `quirks`: the one that uses most of what the service was seen
    /// to do and relies on nothing else. `None` if the profile of the driver fits and was chosen
    /// (by name, or by a known host), or if no profile fits.
    #[must_use]
    pub fn suggestion(&self) -> Option<Quirks> {
        let fits = self.configured.is_known && self.broken_promises().next().is_none();
        if fits { None } else { self.fitting() }
    }

    /// Returns the profile that uses most of what the service was seen to do, whatever the profile
    /// of the driver is. `None` if none fits.
    #[must_use]
    pub fn fitting(&self) -> Option<Quirks> {
        PROFILES
            .into_iter()
            .find(|quirks| self.missing_from(quirks.abilities(None)).next().is_none())
    }

    fn missing_from(&self, abilities: Abilities) -> impl Iterator<Item = &ProbeFinding> {
        self.findings.iter().filter(move |finding| {
            let is_relied_on = finding.ability.is_some_and(|ability| {
                !ability.is_checked_by_the_driver() && ability.of(abilities)
            });
            is_relied_on && finding.outcome != ProbeOutcome::Works
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [Ability; 10] = [
        Ability::ConditionalPut,
        Ability::QuotedEtags,
        Ability::UnquotedEtags,
        Ability::ConditionalComplete,
        Ability::ConditionalCopy,
        Ability::ChecksumHeaders,
        Ability::BulkDelete,
        Ability::PartCopy,
        Ability::Underscores,
        Ability::Sse,
    ];

    /// The report on a service that lacks these.
    fn without(lacking: &[Ability], configured: Quirks) -> ProbeReport {
        let finding = |ability: Ability| {
            let ignored = || ProbeOutcome::Ignored(String::new());
            let outcome = if lacking.contains(&ability) { ignored() } else { ProbeOutcome::Works };
            ProbeFinding { what: "", outcome, ability: Some(ability) }
        };
        ProbeReport::new(ALL.map(finding).to_vec(), configured.abilities(Some("s3.example.com")))
    }

    #[test]
    fn the_profile_of_each_service_is_found_by_what_it_lacks() {
        use Ability::*;
        for (lacking, profile) in [
            (&[][..], Quirks::None),
            (&[ConditionalCopy], Quirks::Minio),
            (
                &[ConditionalCopy, ConditionalComplete, QuotedEtags, Underscores, ChecksumHeaders],
                Quirks::Ceph,
            ),
            (
                &[ConditionalPut, QuotedEtags, ConditionalComplete, ConditionalCopy, Sse],
                Quirks::Garage,
            ),
            // It would not heed the conditions of the profile `ceph`, which sends ETags without
            // quotes.
            (&[UnquotedEtags, ConditionalComplete, ConditionalCopy], Quirks::Garage),
            (
                &[
                    ConditionalPut,
                    QuotedEtags,
                    ConditionalComplete,
                    ConditionalCopy,
                    ChecksumHeaders,
                ],
                Quirks::Wasabi,
            ),
            (
                &[
                    ConditionalPut,
                    QuotedEtags,
                    ConditionalComplete,
                    ConditionalCopy,
                    ChecksumHeaders,
                    BulkDelete,
                    PartCopy,
                ],
                Quirks::Gcs,
            ),
        ] {
            let report = without(lacking, Quirks::Auto);
            assert_eq!(
                (report.suggestion(), report.fitting()),
                (Some(profile), Some(profile)),
                "{lacking:?}"
            );
        }
        // No profile does without conditions and underscores.
        assert_eq!(without(&ALL, Quirks::Auto).suggestion(), None);
    }

    #[test]
    fn a_profile_that_was_named_and_fits_stays() {
        assert_eq!(without(&[], Quirks::Minio).suggestion(), None);
        let report = without(&[Ability::ConditionalPut], Quirks::None);
        assert_eq!(report.broken_promises().count(), 1);
        assert_eq!(report.suggestion(), Some(Quirks::Garage));
    }

    #[test]
    fn profiles_are_tried_in_the_order_of_how_much_they_rely_on() {
        let relied_on = PROFILES
            .map(|quirks| ALL.iter().filter(|ability| ability.of(quirks.abilities(None))).count());
        let conditions = PROFILES.map(|quirks| quirks.abilities(None).conditional_put);
        assert!(conditions.is_sorted_by(|a, b| a >= b), "{conditions:?}");
        assert_eq!(relied_on[0], ALL.len() - 1, "all but ETags without quotes");
    }
}
