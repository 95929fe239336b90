//! aws-sdk-s3. It has no upload of a stream or a file in parts, so this contains the code that its
//! users write for that.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use aws_sdk_s3::Client;
use aws_sdk_s3::config::{
    BehaviorVersion, Config, Credentials, Region, RequestChecksumCalculation,
    ResponseChecksumValidation,
};
use aws_sdk_s3::primitives::{ByteStream, Length};
use aws_sdk_s3::types::{CompletedMultipartUpload, CompletedPart};
use bytes::{Bytes, BytesMut};
use futures_util::TryStreamExt;
use tokio::fs::File;
use tokio::task::JoinSet;

use super::{Chunks, Files, Listed, PART, PARTS, Peer, Server};
use crate::peers::Result;

pub fn peer(server: &Server) -> Arc<dyn Peer> {
    Arc::new(Sdk { client: client(server), bucket: server.bucket.clone() })
}

/// Returns a client with the checksum setting that is recommended for services other than AWS.
pub fn client(server: &Server) -> Client {
    let credentials =
        Credentials::new(&server.access_key_id, &server.secret_access_key, None, None, "benchmark");
    let config = Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .http_client(aws_smithy_http_client::Builder::new().build_http())
        .endpoint_url(&server.endpoint)
        .force_path_style(true)
        .region(Region::new(server.region.clone()))
        .credentials_provider(credentials)
        .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
        .response_checksum_validation(ResponseChecksumValidation::WhenRequired)
        .build();
    Client::from_conf(config)
}

struct Sdk {
    client: Client,
    bucket: String,
}

/// An upload in progress.
struct Upload {
    client: Client,
    bucket: String,
    key: String,
    id: String,
    tasks: JoinSet<Result<CompletedPart>>,
    parts: Vec<CompletedPart>,
    number: i32,
}

impl Upload {
    async fn begin(sdk: &Sdk, key: &str) -> Result<Self> {
        let created =
            sdk.client.create_multipart_upload().bucket(&sdk.bucket).key(key).send().await?;
        Ok(Self {
            client: sdk.client.clone(),
            bucket: sdk.bucket.clone(),
            key: key.to_owned(),
            id: created.upload_id.ok_or("no upload id")?,
            tasks: JoinSet::new(),
            parts: Vec::new(),
            number: 0,
        })
    }

    async fn send(
        &mut self,
        body: impl Future<Output = Result<ByteStream>> + Send + 'static,
    ) -> Result<()> {
        while self.tasks.len() >= PARTS {
            self.collect_one().await?;
        }
        self.number += 1;
        let number = self.number;
        let request =
            self.client.upload_part().bucket(&self.bucket).key(&self.key).upload_id(&self.id);
        self.tasks.spawn(async move {
            let sent = request.part_number(number).body(body.await?).send().await?;
            Ok(CompletedPart::builder().part_number(number).set_e_tag(sent.e_tag).build())
        });
        Ok(())
    }

    async fn collect_one(&mut self) -> Result<()> {
        if let Some(done) = self.tasks.join_next().await {
            self.parts.push(done??);
        }
        Ok(())
    }

    async fn complete(mut self) -> Result<()> {
        while !self.tasks.is_empty() {
            self.collect_one().await?;
        }
        self.parts.sort_by_key(CompletedPart::part_number);
        let parts = CompletedMultipartUpload::builder().set_parts(Some(self.parts)).build();
        let request = self
            .client
            .complete_multipart_upload()
            .bucket(self.bucket)
            .key(self.key)
            .upload_id(self.id);
        request.multipart_upload(parts).send().await?;
        Ok(())
    }
}

async fn part_of(file: PathBuf, offset: u64, len: u64) -> Result<ByteStream> {
    Ok(ByteStream::read_from().path(file).offset(offset).length(Length::Exact(len)).build().await?)
}

#[async_trait]
impl Files for Sdk {
    fn name(&self) -> &'static str {
        "aws-sdk-s3"
    }

    async fn upload(&self, key: &str, file: &Path) -> Result<()> {
        let size = tokio::fs::metadata(file).await?.len();
        let mut upload = Upload::begin(self, key).await?;
        for offset in (0..size).step_by(PART) {
            upload.send(part_of(file.to_owned(), offset, (size - offset).min(PART as u64))).await?;
        }
        upload.complete().await
    }

    async fn download(&self, key: &str, file: &Path) -> Result<()> {
        let object = self.client.get_object().bucket(&self.bucket).key(key).send().await?;
        let mut file = File::create(file).await?;
        tokio::io::copy_buf(&mut object.body.into_async_read(), &mut file).await?;
        Ok(())
    }
}

#[async_trait]
impl Peer for Sdk {
    async fn save(&self, key: &str, bytes: Bytes) -> Result<()> {
        self.client.put_object().bucket(&self.bucket).key(key).body(bytes.into()).send().await?;
        Ok(())
    }

    async fn read_small(&self, key: &str) -> Result<usize> {
        let object = self.client.get_object().bucket(&self.bucket).key(key).send().await?;
        Ok(object.body.collect().await?.into_bytes().len())
    }

    async fn save_stream(&self, key: &str, mut chunks: Chunks) -> Result<()> {
        let mut upload = Upload::begin(self, key).await?;
        let mut part = BytesMut::with_capacity(PART);
        while let Some(mut chunk) = chunks.try_next().await? {
            while !chunk.is_empty() {
                let take = chunk.len().min(PART - part.len());
                part.extend_from_slice(&chunk.split_to(take));
                if part.len() == PART {
                    let full = std::mem::replace(&mut part, BytesMut::with_capacity(PART)).freeze();
                    upload.send(async { Ok(full.into()) }).await?;
                }
            }
        }
        if !part.is_empty() {
            let last = part.freeze();
            upload.send(async { Ok(last.into()) }).await?;
        }
        upload.complete().await
    }

    async fn read(&self, key: &str) -> Result<u64> {
        let mut body = self.client.get_object().bucket(&self.bucket).key(key).send().await?.body;
        let mut len = 0;
        while let Some(chunk) = body.try_next().await? {
            len += chunk.len() as u64;
        }
        Ok(len)
    }

    async fn list(&self, prefix: &str) -> Result<Listed> {
        let mut pages = self
            .client
            .list_objects_v2()
            .bucket(&self.bucket)
            .prefix(prefix)
            .into_paginator()
            .send();
        let mut listed = Listed::default();
        while let Some(page) = pages.try_next().await? {
            listed.add(page.contents().len());
        }
        Ok(listed)
    }
}
