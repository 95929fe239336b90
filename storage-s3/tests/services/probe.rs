//! The findings of `S3::probe`, and the profile that it suggests.

use storage_core::ErrorKind;
use storage_s3::{ProbeOutcome, ProbeReport, Quirks};

use crate::fake::{Fake, Lack};
use crate::fault_proxy::{CannedResponse, Fault};

/// The host name of the service is unknown to the driver.
async fn probed(fake: &Fake, quirks: Quirks) -> ProbeReport {
    let report = fake.driver(quirks).probe("some/dir/").await.unwrap();
    assert_eq!(fake.left(), (Vec::new(), 0), "objects and uploads that a probe left");
    report
}

fn outcome<'a>(report: &'a ProbeReport, what: &str) -> &'a ProbeOutcome {
    &report
        .findings
        .iter()
        .find(|finding| finding.what == what)
        .unwrap_or_else(|| panic!("no {what}"))
        .outcome
}

#[tokio::test]
async fn a_service_with_all_features_fits_the_profile_none() {
    let fake = Fake::without(&[]);
    let report = probed(&fake, Quirks::Auto).await;
    for finding in &report.findings {
        assert_eq!(finding.outcome, ProbeOutcome::Works, "{}", finding.what);
    }
    assert_eq!(report.suggestion(), Some(Quirks::None), "an unknown host needs a profile");
    assert_eq!(probed(&fake, Quirks::None).await.suggestion(), None);
    let below = fake.proxy.inspect(|record| {
        record.of("*").all(|seen| seen.target.contains("some/dir/anystorage-probe-"))
    });
    assert!(!below, "the one request that names no key in its URL is the deletion of several");
}

#[tokio::test]
async fn a_service_that_ignores_conditions_is_detected() {
    let lacks = [Lack::PutConditions, Lack::CompleteConditions, Lack::CopyConditions, Lack::Sse];
    let fake = Fake::without(&lacks);
    let report = probed(&fake, Quirks::None).await;
    for what in
        ["create_new", "if_match", "create_new of an upload in parts", "create_new of a copy"]
    {
        assert!(
            matches!(outcome(&report, what), ProbeOutcome::Ignored(_)),
            "{what}: {:?}",
            outcome(&report, what)
        );
    }
    let raced = ProbeOutcome::Ignored("16 of 16 writers succeeded".to_owned());
    assert_eq!(outcome(&report, "create_new, raced by 16 writers"), &raced);
    assert!(report.missing_features().count() >= 4, "{:?}", report.findings);
    assert_eq!(report.suggestion(), Some(Quirks::Garage));
    assert_eq!(probed(&fake, Quirks::Garage).await.suggestion(), None);
}

#[tokio::test]
async fn a_service_where_two_writers_succeed_does_not_support_conditions() {
    let fake = Fake::without(&[Lack::PutRaces]);
    let report = probed(&fake, Quirks::None).await;
    assert_eq!(outcome(&report, "create_new"), &ProbeOutcome::Works);
    let raced = ProbeOutcome::Ignored("2 of 16 writers succeeded".to_owned());
    assert_eq!(outcome(&report, "create_new, raced by 16 writers"), &raced);
    assert_eq!(report.suggestion(), Some(Quirks::Garage));
}

#[tokio::test]
async fn a_service_that_compares_etags_without_quotes_fits_the_profile_ceph() {
    let lacks = [
        Lack::QuotedEtags,
        Lack::CompleteConditions,
        Lack::CopyConditions,
        Lack::SourceConditionName,
        Lack::Checksums,
        Lack::Underscores,
    ];
    let report = probed(&Fake::without(&lacks), Quirks::Auto).await;
    let source = "if_source_match of a copy";
    assert!(matches!(outcome(&report, source), ProbeOutcome::Ignored(_)));
    assert_eq!(outcome(&report, &format!("{source}, as Ceph names it")), &ProbeOutcome::Works);
    assert_eq!(outcome(&report, "if_match"), &ProbeOutcome::Works);
    assert!(matches!(outcome(&report, "if_match with a quoted ETag"), ProbeOutcome::Refused(_)));
    assert!(matches!(outcome(&report, "checksum = \"crc64nvme\""), ProbeOutcome::Ignored(_)));
    assert_eq!(outcome(&report, "checksum = \"sha256\" in the signature"), &ProbeOutcome::Works);
    assert_eq!(report.suggestion(), Some(Quirks::Ceph));
}

#[tokio::test]
async fn a_probe_reports_the_message_of_a_refusal() {
    let report = probed(&Fake::without(&[Lack::BulkDelete, Lack::PartCopy]), Quirks::None).await;
    for what in ["several deletions in one request", "a copy by ranges"] {
        let refused = outcome(&report, what);
        assert!(
            matches!(refused, ProbeOutcome::Refused(why) if why.contains("NotImplemented")),
            "{what}: {refused:?}"
        );
    }
    assert_eq!(report.suggestion(), Some(Quirks::Gcs));
}

#[tokio::test]
async fn a_probe_reports_a_test_that_it_could_not_make() {
    let fake = Fake::without(&[]);
    let wrong = format!("\"{}\"", "0".repeat(32));
    let denied = fake
        .proxy
        .on("PutObject")
        .with_header("if-match", wrong)
        .then(Fault::Respond(CannedResponse::error(403, "AccessDenied")));
    let report = probed(&fake, Quirks::None).await;
    denied.assert_fired();
    assert!(matches!(outcome(&report, "if_match"), ProbeOutcome::Refused(_)));
    assert_eq!(
        outcome(&report, "if_match with a quoted ETag"),
        &ProbeOutcome::Refused("not tested, because the test of if_match failed".to_owned())
    );
}

#[tokio::test]
async fn a_failed_probe_deletes_its_objects_or_names_them() {
    let fake = Fake::without(&[]);
    // The object is stored, but the response is an error.
    let denied = Fault::alter(|response| *response = CannedResponse::error(403, "AccessDenied"));
    let saved = fake.proxy.on("PutObject").then(denied);
    let error = fake.driver(Quirks::None).probe("").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::PermissionDenied, "{error}");
    assert_eq!(fake.left(), (Vec::new(), 0));
    saved.assert_fired();

    let kept = fake
        .proxy
        .on("DeleteObject")
        .then(Fault::Respond(CannedResponse::error(403, "AccessDenied")));
    let error = fake.driver(Quirks::None).probe("").await.unwrap_err();
    assert!(error.message().contains("left below anystorage-probe-"), "{error}");
    assert_eq!(fake.left().0.len(), 1);
    kept.assert_fired();
}

#[tokio::test]
async fn a_bucket_that_refuses_saves_cannot_be_probed() {
    let fake = Fake::without(&[Lack::Saves]);
    let error = fake.driver(Quirks::None).probe("").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::PermissionDenied, "{error}");
    let error = fake.driver(Quirks::None).probe("a//b").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidKey, "{error}");
}
