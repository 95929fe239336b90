//! Responses of success whose documents have another root element than those of AWS.

use storage_core::{ErrorKind, Metadata, Storage};
use storage_s3::Quirks;

use crate::fake::Fake;
use crate::fault_proxy::{CannedResponse, Fault};

const PART: usize = 5 << 20;

fn storage(fake: &Fake) -> Storage {
    let builder = fake.builder(Quirks::None).part_size(PART as u64).largest_copy(PART as u64);
    Storage::new(builder.build().unwrap())
}

/// Renames the root element of a response.
fn renamed(from: &'static str, to: &'static str) -> Fault {
    Fault::alter(move |response| {
        let body = String::from_utf8(response.body.to_vec()).unwrap();
        response.body = body.replace(from, to).into();
    })
}

#[tokio::test]
async fn a_completion_whose_document_has_another_root_succeeds() {
    let fake = Fake::without(&[]);
    let storage = storage(&fake);
    for (operation, from, to) in [
        (
            "CompleteMultipartUpload",
            "CompleteMultipartUploadResult",
            "CompleteMultipartUploadResponse",
        ),
        ("CreateMultipartUpload", "InitiateMultipartUploadResult", "CreateMultipartUploadOutput"),
    ] {
        let other = fake.proxy.on(operation).then(renamed(from, to));
        storage.save("a", vec![0; PART + 1]).await.unwrap();
        storage.save("new", vec![0; PART + 1]).create_new().await.unwrap();
        storage.delete("new").await.unwrap();
        other.assert_fired();
    }
}

#[tokio::test]
async fn a_copy_whose_document_has_another_root_succeeds() {
    let fake = Fake::without(&[]);
    let storage = storage(&fake);
    storage.save("small", "text").await.unwrap();
    storage.save("large", vec![0; PART + 1]).await.unwrap();
    let copied =
        fake.proxy.on("CopyObject").then(renamed("CopyObjectResult", "CopyObjectResponse"));
    storage.copy("small", "b").await.unwrap();
    let part =
        fake.proxy.on("UploadPartCopy").then(renamed("CopyPartResult", "UploadPartCopyResult"));
    storage.copy("large", "c").metadata(Metadata::new()).await.unwrap();
    copied.assert_fired();
    part.assert_fired();
}

#[tokio::test]
async fn a_completion_document_without_an_etag_is_an_unknown_outcome_that_names_the_root() {
    let fake = Fake::without(&[]);
    let storage = storage(&fake);
    storage.save("small", "text").await.unwrap();
    let other = || Fault::ReplaceResponse(CannedResponse::new(200, "<SomethingElse/>"));
    let completed = fake.proxy.on("CompleteMultipartUpload").then(other());
    // The object is recognised by its metadata.
    storage.save("a", vec![0; PART + 1]).await.unwrap();
    // Unless that cannot be read.
    let denied = Fault::Respond(CannedResponse::error(403, "AccessDenied"));
    let unreadable = fake.proxy.on("HeadObject").then(denied);
    let error = storage.save("b", vec![0; PART + 1]).await.unwrap_err();
    unreadable.assert_fired();
    assert_eq!(error.kind(), ErrorKind::Unexpected, "{error}");
    assert!(
        error.message().contains("may have been stored")
            && error.message().contains("SomethingElse"),
        "{error}"
    );

    let copied = fake.proxy.on("CopyObject").then(other());
    let error = storage.copy("small", "b").await.unwrap_err();
    assert!(
        error.message().contains("may have been made") && error.message().contains("SomethingElse"),
        "{error}"
    );

    let deleted = fake.proxy.on("DeleteObjects").then(other());
    let mut keys = storage.delete_many(futures_util::stream::iter(["a", "small"]));
    let error = keys.next().await.unwrap().unwrap_err();
    assert!(
        error.message().contains("may have been deleted")
            && error.message().contains("SomethingElse"),
        "{error}"
    );
    for planned in [completed, copied, deleted] {
        planned.assert_fired();
    }
}
