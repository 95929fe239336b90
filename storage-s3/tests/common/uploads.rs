//! [`WithUploads`]: adds to s3s-fs what it lacks of multipart uploads.
//!
//! s3s-fs stores parts and joins them. It does not know the key of an upload, lists parts without
//! ETags, lists no uploads, and keeps the checksum of an object that an upload replaces.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use s3s::dto::*;
use s3s::{S3, S3Request, S3Response, S3Result, s3_error};
use s3s_fs::FileSystem;
use tokio::sync::Mutex;

/// How many parts or uploads a page has at most.
const PAGE: usize = 1_000;

/// An upload, by its key and its id.
type Uploads = BTreeMap<(String, String), Arc<Mutex<Upload>>>;

struct Upload {
    initiated: SystemTime,
    parts: BTreeMap<i32, Part>,
    has_ended: bool,
}

/// s3s-fs with complete multipart uploads. One bucket.
pub(crate) struct WithUploads {
    files: FileSystem,
    root: PathBuf,
    uploads: Mutex<Uploads>,
}

impl WithUploads {
    pub(crate) fn new(root: PathBuf) -> Self {
        let files = FileSystem::new(&root).unwrap();
        Self { files, root, uploads: Mutex::default() }
    }

    async fn upload(&self, key: &str, id: &str) -> S3Result<Arc<Mutex<Upload>>> {
        let place = (key.to_owned(), id.to_owned());
        let upload = self.uploads.lock().await.get(&place).cloned();
        upload.ok_or_else(|| s3_error!(NoSuchUpload))
    }

    /// Records a part that s3s-fs has stored.
    async fn record(&self, key: &str, id: &str, number: i32, part: Part) -> S3Result<()> {
        let upload = self.upload(key, id).await?;
        upload.lock().await.parts.insert(number, part);
        Ok(())
    }

    /// Removes the checksums of the object that an upload has replaced.
    fn forget_checksums(&self, bucket: &str, key: &str) {
        let (bucket, key) = (URL_SAFE_NO_PAD.encode(bucket), URL_SAFE_NO_PAD.encode(key));
        let path = self.root.join(format!(".bucket-{bucket}.object-{key}.internal.json"));
        let Ok(text) = std::fs::read(&path) else { return };
        let mut info: BTreeMap<String, serde_json::Value> = serde_json::from_slice(&text).unwrap();
        info.retain(|name, _| !name.starts_with("checksum_"));
        std::fs::write(&path, serde_json::to_vec(&info).unwrap()).unwrap();
    }
}

/// Passes operations on to s3s-fs.
macro_rules! pass_on {
    ($($operation:ident: $input:ident => $output:ident),* $(,)?) => {
        #[storage_core::async_trait]
        impl S3 for WithUploads {
            $(async fn $operation(&self, request: S3Request<$input>) -> S3Result<S3Response<$output>> {
                self.files.$operation(request).await
            })*

            async fn create_multipart_upload(
                &self,
                request: S3Request<CreateMultipartUploadInput>,
            ) -> S3Result<S3Response<CreateMultipartUploadOutput>> {
                self.create(request).await
            }

            async fn upload_part(
                &self,
                request: S3Request<UploadPartInput>,
            ) -> S3Result<S3Response<UploadPartOutput>> {
                self.put_part(request).await
            }

            async fn upload_part_copy(
                &self,
                request: S3Request<UploadPartCopyInput>,
            ) -> S3Result<S3Response<UploadPartCopyOutput>> {
                self.copy_part(request).await
            }

            async fn list_parts(
                &self,
                request: S3Request<ListPartsInput>,
            ) -> S3Result<S3Response<ListPartsOutput>> {
                self.parts(request.input).await
            }

            async fn complete_multipart_upload(
                &self,
                request: S3Request<CompleteMultipartUploadInput>,
            ) -> S3Result<S3Response<CompleteMultipartUploadOutput>> {
                self.complete(request).await
            }

            async fn abort_multipart_upload(
                &self,
                request: S3Request<AbortMultipartUploadInput>,
            ) -> S3Result<S3Response<AbortMultipartUploadOutput>> {
                self.abort(request).await
            }

            async fn list_multipart_uploads(
                &self,
                request: S3Request<ListMultipartUploadsInput>,
            ) -> S3Result<S3Response<ListMultipartUploadsOutput>> {
                self.list(request.input).await
            }
        }
    };
}

pass_on! {
    copy_object: CopyObjectInput => CopyObjectOutput,
    delete_object: DeleteObjectInput => DeleteObjectOutput,
    delete_objects: DeleteObjectsInput => DeleteObjectsOutput,
    get_object: GetObjectInput => GetObjectOutput,
    head_bucket: HeadBucketInput => HeadBucketOutput,
    head_object: HeadObjectInput => HeadObjectOutput,
    list_objects: ListObjectsInput => ListObjectsOutput,
    list_objects_v2: ListObjectsV2Input => ListObjectsV2Output,
    put_object: PutObjectInput => PutObjectOutput,
}

impl WithUploads {
    async fn create(
        &self,
        request: S3Request<CreateMultipartUploadInput>,
    ) -> S3Result<S3Response<CreateMultipartUploadOutput>> {
        let key = request.input.key.clone();
        let response = self.files.create_multipart_upload(request).await?;
        let id = response.output.upload_id.clone().unwrap();
        let (initiated, parts) = (SystemTime::now(), BTreeMap::new());
        let upload = Arc::new(Mutex::new(Upload { initiated, parts, has_ended: false }));
        self.uploads.lock().await.insert((key, id), upload);
        Ok(response)
    }

    async fn put_part(
        &self,
        request: S3Request<UploadPartInput>,
    ) -> S3Result<S3Response<UploadPartOutput>> {
        let UploadPartInput { key, upload_id: id, part_number, .. } = &request.input;
        let (key, id, number) = (key.clone(), id.clone(), *part_number);
        let (crc64nvme, crc32c) =
            (request.input.checksum_crc64nvme.clone(), request.input.checksum_crc32c.clone());
        let size = request.input.content_length;
        self.upload(&key, &id).await?;
        let response = self.files.upload_part(request).await?;
        let part = Part {
            part_number: Some(number),
            size,
            e_tag: response.output.e_tag.clone(),
            checksum_crc64nvme: crc64nvme,
            checksum_crc32c: crc32c,
            ..Part::default()
        };
        self.record(&key, &id, number, part).await?;
        Ok(response)
    }

    async fn copy_part(
        &self,
        request: S3Request<UploadPartCopyInput>,
    ) -> S3Result<S3Response<UploadPartCopyOutput>> {
        let UploadPartCopyInput { key, upload_id: id, part_number, .. } = &request.input;
        let (key, id, number) = (key.clone(), id.clone(), *part_number);
        self.upload(&key, &id).await?;
        let response = self.files.upload_part_copy(request).await?;
        let copied = response.output.copy_part_result.clone();
        let e_tag = copied.and_then(|copied| copied.e_tag);
        self.record(
            &key,
            &id,
            number,
            Part { part_number: Some(number), e_tag, ..Part::default() },
        )
        .await?;
        Ok(response)
    }

    async fn parts(&self, input: ListPartsInput) -> S3Result<S3Response<ListPartsOutput>> {
        let upload = self.upload(&input.key, &input.upload_id).await?;
        let upload = upload.lock().await;
        if upload.has_ended {
            return Err(s3_error!(NoSuchUpload));
        }
        let after = input.part_number_marker.unwrap_or(0);
        let most = input.max_parts.and_then(|most| usize::try_from(most).ok());
        let most = most.unwrap_or(PAGE).min(PAGE);
        let rest: Vec<_> = upload.parts.range(after + 1..).map(|(_, part)| part.clone()).collect();
        let is_truncated = Some(rest.len() > most);
        let parts: Vec<_> = rest.into_iter().take(most).collect();
        let next_part_number_marker = parts.last().and_then(|part| part.part_number);
        Ok(S3Response::new(ListPartsOutput {
            bucket: Some(input.bucket),
            key: Some(input.key),
            upload_id: Some(input.upload_id),
            parts: Some(parts),
            is_truncated,
            next_part_number_marker,
            ..ListPartsOutput::default()
        }))
    }

    /// Completes one upload after the other, as S3 evaluates conditions.
    async fn complete(
        &self,
        request: S3Request<CompleteMultipartUploadInput>,
    ) -> S3Result<S3Response<CompleteMultipartUploadOutput>> {
        let mut uploads = self.uploads.lock().await;
        let CompleteMultipartUploadInput { bucket, key, upload_id, .. } = &request.input;
        let (bucket, place) = (bucket.clone(), (key.clone(), upload_id.clone()));
        let Some(upload) = uploads.get(&place).cloned() else {
            return Err(s3_error!(NoSuchUpload));
        };
        let mut upload = upload.lock().await;
        let listed = request.input.multipart_upload.iter().flat_map(|upload| &upload.parts);
        for part in listed.flatten() {
            let number = part.part_number.unwrap_or_default();
            let is_stored =
                upload.parts.get(&number).is_some_and(|stored| stored.e_tag == part.e_tag);
            if !is_stored {
                return Err(s3_error!(InvalidPart));
            }
        }
        let response = self.files.complete_multipart_upload(request).await?;
        self.forget_checksums(&bucket, &place.0);
        upload.has_ended = true;
        uploads.remove(&place);
        Ok(response)
    }

    async fn abort(
        &self,
        request: S3Request<AbortMultipartUploadInput>,
    ) -> S3Result<S3Response<AbortMultipartUploadOutput>> {
        let place = (request.input.key.clone(), request.input.upload_id.clone());
        let mut uploads = self.uploads.lock().await;
        if uploads.remove(&place).is_none() {
            return Err(s3_error!(NoSuchUpload));
        }
        self.files.abort_multipart_upload(request).await
    }

    async fn list(
        &self,
        input: ListMultipartUploadsInput,
    ) -> S3Result<S3Response<ListMultipartUploadsOutput>> {
        let prefix = input.prefix.unwrap_or_default();
        let marker = (
            input.key_marker.unwrap_or_default(),
            // Without an id, a page begins after all uploads of the key.
            input.upload_id_marker.unwrap_or_else(|| "\u{10ffff}".to_owned()),
        );
        let mut listed = Vec::new();
        for ((key, id), upload) in self.uploads.lock().await.iter() {
            if key.starts_with(&prefix)
                && (marker.0.is_empty() || (key, id) > (&marker.0, &marker.1))
            {
                listed.push(MultipartUpload {
                    key: Some(key.clone()),
                    upload_id: Some(id.clone()),
                    initiated: Some(upload.lock().await.initiated.into()),
                    ..MultipartUpload::default()
                });
            }
        }
        let is_truncated = Some(listed.len() > PAGE);
        listed.truncate(PAGE);
        let last = listed.last().cloned().unwrap_or_default();
        Ok(S3Response::new(ListMultipartUploadsOutput {
            bucket: Some(input.bucket),
            uploads: Some(listed),
            is_truncated,
            next_key_marker: last.key,
            next_upload_id_marker: last.upload_id,
            ..ListMultipartUploadsOutput::default()
        }))
    }
}
