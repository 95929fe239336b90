//! What the application decides: the type of the bytes, and its function for complete uploads.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use http::StatusCode;
use serde_json::json;
use storage_serve::uploads::{CompletedUpload, Grant, Refusal};

use super::client::{begin, complete, form, get, list, objects, post_form, put_part, stored};
use super::places::all;

#[tokio::test]
async fn the_function_of_the_application_sees_an_upload_in_parts_before_it_is_visible() {
    for place in all() {
        let calls = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&calls);
        let uploads = place.uploads().on_complete(move |upload: CompletedUpload| {
            counted.fetch_add(1, Ordering::SeqCst);
            async move {
                assert!(!upload.storage.exists("file").await?);
                assert_eq!(upload.storage.open(&upload.object.key).await?.bytes().await?, "abc");
                assert_eq!(upload.object.content_type(), Some("text/plain"));
                assert_eq!(
                    (&*upload.metadata["filename"], &*upload.metadata["album"]),
                    ("a.txt", "b")
                );
                Ok(())
            }
        });
        let upload = begin(&uploads, json!({"album": "b"})).await;
        let etags = [put_part(&uploads, &upload, 1, b"abc").await];
        for _ in 0..2 {
            let reply = complete(&uploads, &upload, &etags).await;
            assert_eq!(reply.status, StatusCode::OK, "{reply:?}");
        }
        assert_eq!(calls.load(Ordering::SeqCst), 1);
        assert_eq!(stored(&place.storage).await, b"abc");
        assert_eq!(objects(&place.storage).await, ["file"]);
    }
}

#[tokio::test]
async fn an_upload_in_parts_that_the_application_refuses_is_removed() {
    for place in all() {
        let uploads = place.uploads().on_complete(|_| async {
            Err(Refusal::new(StatusCode::UNPROCESSABLE_ENTITY, "It has a virus.\n"))
        });
        let upload = begin(&uploads, json!({})).await;
        let etags = [put_part(&uploads, &upload, 1, b"abc").await];
        for _ in 0..2 {
            let reply = complete(&uploads, &upload, &etags).await;
            assert_eq!(reply.status, StatusCode::UNPROCESSABLE_ENTITY);
            assert_eq!(reply.message(), "It has a virus.");
        }
        assert!(objects(&place.storage).await.is_empty());
        let left = place.storage.list(".uploads/").keys().await.unwrap();
        assert!(left.iter().all(|key| key.as_str().ends_with("/state.json")), "{left:?}");
        assert_eq!(place.storage.abort_stale("", Duration::ZERO).await.unwrap(), 0);
    }
}

#[tokio::test]
async fn a_completion_whose_function_failed_is_finished_by_the_next_one() {
    for place in all() {
        let calls = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&calls);
        let uploads = place.uploads().on_complete(move |_| {
            let is_first = counted.fetch_add(1, Ordering::SeqCst) == 0;
            async move {
                match is_first {
                    true => Err(Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "Later.\n")),
                    false => Ok(()),
                }
            }
        });
        let upload = begin(&uploads, json!({})).await;
        let etags = [put_part(&uploads, &upload, 1, b"abc").await];
        let reply = complete(&uploads, &upload, &etags).await;
        assert_eq!(reply.status, StatusCode::SERVICE_UNAVAILABLE);
        assert!(objects(&place.storage).await.is_empty());
        // As the plugin resumes: it lists the parts, and names them again.
        assert_eq!(list(&uploads, &upload).await[0]["ETag"], *etags[0]);
        assert_eq!(complete(&uploads, &upload, &etags).await.status, StatusCode::OK);
        assert_eq!(stored(&place.storage).await, b"abc");
    }
}

#[tokio::test]
async fn html_that_is_declared_as_an_image_is_refused_on_every_route() {
    let html = b"<html><script>alert(1)</script></html>";
    for place in all() {
        let grant = Grant::new("file").unwrap().types(["image/*"]).sniff();
        let uploads = place.granting(grant).client_part_size(5 << 20);
        let body = json!({"filename": "a.png", "type": "image/png"}).to_string();
        let reply = super::client::post_json(&uploads, "/uploads/s3/multipart", &body).await;
        let text = |name: &str| reply.json()[name].as_str().unwrap().to_owned();
        let upload = super::client::Upload { id: text("uploadId"), key: text("key") };
        let etags = [put_part(&uploads, &upload, 1, html).await];
        let reply = complete(&uploads, &upload, &etags).await;
        assert_eq!(reply.status, StatusCode::UNSUPPORTED_MEDIA_TYPE, "{reply:?}");

        let reply = get(&uploads, "/uploads/s3/params?filename=a.png&type=image%2Fpng").await;
        let url = reply.json()["url"].as_str().unwrap().to_owned();
        let path = url.strip_prefix(super::client::ORIGIN).unwrap();
        let reply = post_form(&uploads, path, form(&[("key", "file")], html)).await;
        assert_eq!(reply.status, StatusCode::UNSUPPORTED_MEDIA_TYPE, "{reply:?}");
        assert!(objects(&place.storage).await.is_empty());
    }
}
