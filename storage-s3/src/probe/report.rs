//! [`ProbeReport`]: the findings, and the profile that fits.

use crate::quirks::{Features, Quirks};

/// The result of a probe.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ProbeReport {
    /// The tests, in order.
    pub findings: Vec<ProbeFinding>,
    configured: Features,
}

/// The result of one test.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ProbeFinding {
    /// The name of the test: `create_new`.
    pub what: &'static str,
    /// What the service did.
    pub outcome: ProbeOutcome,
    pub(super) feature: Option<Feature>,
}

/// What a service did.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ProbeOutcome {
    /// It did the same as AWS.
    Works,
    /// It reported success and did something else, which the text describes.
    Ignored(String),
    /// It reported an error, which the text contains.
    Refused(String),
}

/// The features of a profile that a probe can test.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Feature {
    ConditionalPut,
    QuotedEtags,
    UnquotedEtags,
    ConditionalComplete,
    ConditionalCopy,
    ConditionalSource,
    CephSourceCondition,
    ChecksumHeaders,
    BulkDelete,
    PartCopy,
    Underscores,
    Sse,
}

impl Feature {
    /// Whether a profile uses the feature.
    fn is_used_by(self, features: Features) -> bool {
        match self {
            Self::ConditionalPut => features.conditional_put,
            Self::QuotedEtags => features.quoted_etags && features.conditional_put,
            Self::UnquotedEtags => !features.quoted_etags && features.conditional_put,
            Self::ConditionalComplete => features.conditional_complete,
            Self::ConditionalCopy => features.conditional_copy,
            Self::ConditionalSource => features.has_conditional_part_source(),
            Self::CephSourceCondition => features.ceph_source_condition,
            Self::ChecksumHeaders => features.checksum_headers,
            Self::BulkDelete => features.bulk_delete,
            Self::PartCopy => features.part_copy,
            Self::Underscores => features.underscores,
            Self::Sse => features.sse,
        }
    }

    /// Whether only saves with an option use the feature, and fail if it is missing.
    fn is_checked_on_save(self) -> bool {
        self == Self::Sse
    }
}

/// All profiles, the one that uses most features first.
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
    pub(super) fn new(findings: Vec<ProbeFinding>, configured: Features) -> Self {
        Self { findings, configured }
    }

    /// Returns the findings about features that the configured profile uses and the service lacks.
    /// Empty if the profile fits.
    pub fn missing_features(&self) -> impl Iterator<Item = &ProbeFinding> {
        self.missing_for(self.configured)
    }

    /// Returns the profile to set as `quirks`: the one that uses most of the service's features and
    /// no others. Returns `None` if the configured profile fits and was chosen (by name or by a
    /// known host), or if no profile fits.
    #[must_use]
    pub fn suggestion(&self) -> Option<Quirks> {
        let fits = self.configured.is_known && self.missing_features().next().is_none();
        if fits { None } else { self.fitting_profile() }
    }

    /// Returns the profile that uses most of the service's features and no others, regardless
    /// of the configured profile. Returns `None` if no profile fits.
    #[must_use]
    pub fn fitting_profile(&self) -> Option<Quirks> {
        PROFILES.into_iter().find(|quirks| self.missing_for(quirks.features(None)).next().is_none())
    }

    fn missing_for(&self, features: Features) -> impl Iterator<Item = &ProbeFinding> {
        self.findings.iter().filter(move |finding| {
            let is_used = finding.feature.is_some_and(|feature| {
                !feature.is_checked_on_save() && feature.is_used_by(features)
            });
            is_used && finding.outcome != ProbeOutcome::Works
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [Feature; 12] = [
        Feature::ConditionalPut,
        Feature::QuotedEtags,
        Feature::UnquotedEtags,
        Feature::ConditionalComplete,
        Feature::ConditionalCopy,
        Feature::ConditionalSource,
        Feature::CephSourceCondition,
        Feature::ChecksumHeaders,
        Feature::BulkDelete,
        Feature::PartCopy,
        Feature::Underscores,
        Feature::Sse,
    ];

    /// Returns the report on a service without these features.
    fn without(missing: &[Feature], configured: Quirks) -> ProbeReport {
        let finding = |feature: Feature| {
            let ignored = || ProbeOutcome::Ignored(String::new());
            let outcome = if missing.contains(&feature) { ignored() } else { ProbeOutcome::Works };
            ProbeFinding { what: "", outcome, feature: Some(feature) }
        };
        ProbeReport::new(ALL.map(finding).to_vec(), configured.features(Some("s3.example.com")))
    }

    #[test]
    fn the_profile_of_each_service_is_found_by_what_it_lacks() {
        use Feature::*;
        for (missing, profile) in [
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
            // Such a service would ignore the conditions of the profile `ceph`, which sends ETags
            // without quotes.
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
            let report = without(missing, Quirks::Auto);
            assert_eq!(
                (report.suggestion(), report.fitting_profile()),
                (Some(profile), Some(profile)),
                "{missing:?}"
            );
        }
        // Every profile needs conditions or underscores.
        assert_eq!(without(&ALL, Quirks::Auto).suggestion(), None);
    }

    #[test]
    fn a_named_profile_that_fits_is_not_replaced() {
        assert_eq!(without(&[], Quirks::Minio).suggestion(), None);
        let report = without(&[Feature::ConditionalPut], Quirks::None);
        assert_eq!(report.missing_features().count(), 1);
        assert_eq!(report.suggestion(), Some(Quirks::Garage));
    }

    #[test]
    fn profiles_are_ordered_by_the_number_of_features() {
        let used = PROFILES.map(|quirks| {
            ALL.iter().filter(|feature| feature.is_used_by(quirks.features(None))).count()
        });
        let conditions = PROFILES.map(|quirks| quirks.features(None).conditional_put);
        assert!(conditions.is_sorted_by(|a, b| a >= b), "{conditions:?}");
        let message = "all but ETags without quotes and Ceph's name of a condition";
        assert_eq!(used[0], ALL.len() - 2, "{message}");
    }
}
