//! [`Fake`]: an S3 service in memory, which lacks the features that a test names.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use http::{HeaderMap, Method};
use storage_core::{Checksum, ChecksumAlgorithm, Storage};
use storage_s3::{Quirks, S3, S3Builder};

use crate::fault_proxy::{CannedResponse, Proxy, RecordedRequest};

/// A feature that the service ignores or implements differently.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lack {
    /// Conditions of a PUT.
    PutConditions,
    /// Conditions of concurrent PUTs.
    PutRaces,
    /// ETags with quotes in conditions.
    QuotedEtags,
    /// Conditions of a completion.
    CompleteConditions,
    /// Conditions of a copy.
    CopyConditions,
    /// Conditions on the source of a copy.
    SourceConditions,
    /// `x-amz-checksum-` headers.
    Checksums,
    /// Bulk deletes.
    BulkDelete,
    /// S3's name of the condition on the source of a copy. The service has Ceph's name.
    SourceConditionName,
    /// Copies of ranges.
    PartCopy,
    /// Underscores in names of metadata.
    Underscores,
    /// `x-amz-server-side-encryption`.
    Sse,
    /// `x-amz-storage-class`.
    StorageClass,
    /// `x-amz-tagging` of saves.
    Tags,
    /// All PUTs.
    Saves,
}

/// The service and its proxy.
pub(crate) struct Fake {
    pub(crate) proxy: Proxy,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    objects: BTreeMap<String, Object>,
    uploads: BTreeMap<String, Object>,
    versions: usize,
    /// How many PUTs of each key found no object.
    creations: BTreeMap<String, usize>,
}

/// An object, or an upload of one.
#[derive(Clone, Default)]
struct Object {
    etag: String,
    headers: HeaderMap,
    body: Bytes,
}

impl Fake {
    pub(crate) fn without(lacks: &[Lack]) -> Self {
        let state = Arc::<Mutex<State>>::default();
        let (serving, lacks) = (Arc::clone(&state), lacks.to_vec());
        Self {
            proxy: Proxy::scripted(move |request| {
                response(&mut serving.lock().unwrap(), request, &lacks)
            }),
            state,
        }
    }

    pub(crate) fn builder(&self, quirks: Quirks) -> S3Builder {
        self.builder_of("bucket", quirks)
    }

    /// Returns a builder for a bucket. The keys of all buckets but `bucket` begin with its name.
    pub(crate) fn builder_of(&self, bucket: &str, quirks: Quirks) -> S3Builder {
        let builder =
            S3Builder::new(bucket).quirks(quirks).endpoint(self.proxy.endpoint()).allow_http(true);
        builder
            .region("us-east-1")
            .access_key_id("AKIDOFTHETESTS")
            .secret_access_key("of the tests")
    }

    pub(crate) fn driver(&self, quirks: Quirks) -> S3 {
        self.builder(quirks).build().unwrap()
    }

    pub(crate) fn storage(&self, quirks: Quirks) -> Storage {
        Storage::new(self.driver(quirks))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// Returns the keys of all objects, and the number of uploads.
    pub(crate) fn left(&self) -> (Vec<String>, usize) {
        let state = self.state();
        (state.objects.keys().cloned().collect(), state.uploads.len())
    }

    /// Sets a header of a stored object.
    pub(crate) fn set_header(&self, key: &str, name: &'static str, value: &'static str) {
        self.state().objects.get_mut(key).unwrap().headers.insert(name, value.parse().unwrap());
    }
}

fn response(state: &mut State, request: &RecordedRequest, lacks: &[Lack]) -> CannedResponse {
    let lacks = |lack| lacks.contains(&lack);
    let key = key_of(request.uri().path());
    let query: BTreeMap<_, _> =
        url::form_urlencoded::parse(request.uri().query().unwrap_or_default().as_bytes())
            .into_owned()
            .collect();
    let source =
        request.headers().get("x-amz-copy-source").map(|source| key_of(source.to_str().unwrap()));
    if query.contains_key("tagging") {
        return tagging(state, &key, request);
    }
    match (request.method(), query.get("uploadId"), source) {
        (&Method::PUT, _, _) if lacks(Lack::Saves) => CannedResponse::error(403, "AccessDenied"),
        (&Method::PUT, Some(_), Some(_)) if lacks(Lack::PartCopy) => {
            CannedResponse::error(501, "NotImplemented")
        }
        (&Method::PUT, Some(id), source) => {
            let body = source.map_or_else(
                || request.body().clone(),
                |source| state.objects[&source].body.clone(),
            );
            let upload = state.uploads.get_mut(id).unwrap();
            upload.body = [&upload.body[..], &body[..]].concat().into();
            let part = "<CopyPartResult><ETag>\"part\"</ETag></CopyPartResult>";
            CannedResponse::new(200, part).header("etag", "\"part\"")
        }
        (&Method::PUT, None, Some(source)) => {
            if !lacks(Lack::CopyConditions) && !holds(state, &key, request, false) {
                return CannedResponse::error(412, "PreconditionFailed");
            }
            let Some(mut copy) = state.objects.get(&source).cloned() else {
                return CannedResponse::error(404, "NoSuchKey");
            };
            let name = match lacks(Lack::SourceConditionName) {
                true => "x-amz-copy-if-match",
                false => "x-amz-copy-source-if-match",
            };
            let wanted = request.headers().get(name);
            if !lacks(Lack::SourceConditions)
                && wanted.is_some_and(|wanted| wanted.as_bytes() != copy.etag.as_bytes())
            {
                return CannedResponse::error(412, "PreconditionFailed");
            }
            if request
                .headers()
                .get("x-amz-metadata-directive")
                .is_some_and(|directive| directive == "REPLACE")
            {
                copy.headers = stored(request, &lacks);
            }
            let confirmed = confirmed(&copy);
            let etag = put(state, key, copy);
            confirmed(CannedResponse::new(
                200,
                format!("<CopyObjectResult><ETag>{etag}</ETag></CopyObjectResult>"),
            ))
        }
        (&Method::PUT, None, None) => save(state, key, request, &lacks),
        (&Method::POST, _, _) if query.contains_key("delete") => {
            if lacks(Lack::BulkDelete) {
                return CannedResponse::error(501, "NotImplemented");
            }
            let body = String::from_utf8(request.body().to_vec()).unwrap();
            for named in body.split("<Key>").skip(1) {
                state.objects.remove(named.split("</Key>").next().unwrap());
            }
            CannedResponse::new(200, "<DeleteResult/>")
        }
        (&Method::POST, Some(id), _) => {
            if !lacks(Lack::CompleteConditions) && !holds(state, &key, request, false) {
                return CannedResponse::error(412, "PreconditionFailed");
            }
            let Some(object) = state.uploads.remove(id) else {
                return CannedResponse::error(404, "NoSuchUpload");
            };
            let etag = put(state, key, object);
            let name = "CompleteMultipartUploadResult";
            CannedResponse::new(200, format!("<{name}><ETag>{etag}</ETag></{name}>"))
        }
        (&Method::POST, None, _) => {
            let upload = Object { headers: stored(request, &lacks), ..Object::default() };
            let confirmed = confirmed(&upload);
            state.versions += 1;
            let id = format!("upload-{}", state.versions);
            state.uploads.insert(id.clone(), upload);
            let name = "InitiateMultipartUploadResult";
            confirmed(CannedResponse::new(
                200,
                format!("<{name}><UploadId>{id}</UploadId></{name}>"),
            ))
        }
        (&Method::DELETE, Some(id), _) => {
            state.uploads.remove(id);
            CannedResponse::new(204, "")
        }
        (&Method::DELETE, None, _) => {
            state.objects.remove(&key);
            CannedResponse::new(204, "")
        }
        _ if query.contains_key("list-type") => list(state, &query),
        _ => {
            let Some(object) = state.objects.get(&key) else {
                return CannedResponse::error(404, "NoSuchKey");
            };
            let mut response =
                CannedResponse::new(200, object.body.clone()).header("etag", &object.etag);
            response.headers.extend(object.headers.clone());
            response
        }
    }
}

/// Returns the key of an object, with the name of its bucket unless that is `bucket`.
fn key_of(path: &str) -> String {
    let path = percent_encoding::percent_decode_str(path).decode_utf8().unwrap();
    path.strip_prefix("/bucket/").or(path.strip_prefix('/')).unwrap_or_default().to_owned()
}

/// Keeps the tags of an object as the header that a save sends.
fn tagging(state: &mut State, key: &str, request: &RecordedRequest) -> CannedResponse {
    const TAGGING: &str = "x-amz-tagging";
    let Some(object) = state.objects.get_mut(key) else {
        return CannedResponse::error(404, "NoSuchKey");
    };
    match *request.method() {
        Method::GET => {
            let header = object.headers.get(TAGGING).map_or(&b""[..], |tags| tags.as_bytes());
            let tags: String = url::form_urlencoded::parse(header)
                .map(|(name, value)| {
                    let value = value.replace('&', "&amp;");
                    format!("<Tag><Key>{name}</Key><Value>{value}</Value></Tag>")
                })
                .collect();
            CannedResponse::new(200, format!("<Tagging><TagSet>{tags}</TagSet></Tagging>"))
        }
        Method::PUT => {
            let digest = Checksum::of(ChecksumAlgorithm::Md5, request.body());
            let sent = request.headers().get("content-md5").map(|md5| md5.to_str().unwrap());
            if sent != Some(&BASE64.encode(digest.value())) {
                return CannedResponse::error(400, "InvalidRequest");
            }
            let body = String::from_utf8(request.body().to_vec()).unwrap();
            // An empty value is written as `<Value/>`.
            let between = |text: &str, name: &str| {
                let rest = text.split_once(&format!("<{name}>"));
                rest.map_or("", |(_, rest)| rest.split('<').next().unwrap()).to_owned()
            };
            let tags =
                body.split("<Tag>").skip(1).map(|tag| (between(tag, "Key"), between(tag, "Value")));
            let header =
                url::form_urlencoded::Serializer::new(String::new()).extend_pairs(tags).finish();
            object.headers.insert(TAGGING, header.parse().unwrap());
            CannedResponse::new(200, "")
        }
        _ => {
            object.headers.remove(TAGGING);
            CannedResponse::new(204, "")
        }
    }
}

fn list(state: &State, query: &BTreeMap<String, String>) -> CannedResponse {
    let prefix = query.get("prefix").cloned().unwrap_or_default();
    let mut contents = String::new();
    for (key, object) in state.objects.iter().filter(|(key, _)| key.starts_with(&prefix)) {
        let class = object
            .headers
            .get("x-listed-class")
            .map_or("STANDARD", |class| class.to_str().unwrap());
        let size = object.body.len();
        contents += &format!(
            "<Contents><Key>{key}</Key><Size>{size}</Size><StorageClass>{class}</StorageClass></Contents>"
        );
    }
    CannedResponse::new(200, format!("<ListBucketResult>{contents}</ListBucketResult>"))
}

fn save(
    state: &mut State,
    key: String,
    request: &RecordedRequest,
    lacks: &dyn Fn(Lack) -> bool,
) -> CannedResponse {
    let header =
        |name: &str| request.headers().get(name).map(|value| value.to_str().unwrap().to_owned());
    let is = |algorithm, value: &str| {
        BASE64.encode(Checksum::of(algorithm, request.body()).value()) == value
    };
    let crc = header("x-amz-checksum-crc64nvme");
    if !lacks(Lack::Checksums) && crc.is_some_and(|crc| !is(ChecksumAlgorithm::Crc64Nvme, &crc)) {
        return CannedResponse::error(400, "BadDigest");
    }
    if header("content-md5").is_some_and(|md5| !is(ChecksumAlgorithm::Md5, &md5)) {
        return CannedResponse::error(400, "BadDigest");
    }
    let signed = header("x-amz-content-sha256").filter(|digest| digest.len() == 64);
    if signed.is_some_and(|digest| {
        digest != Checksum::of(ChecksumAlgorithm::Sha256, request.body()).to_hex()
    }) {
        return CannedResponse::error(400, "XAmzContentSHA256Mismatch");
    }
    let is_creation = request.headers().contains_key("if-none-match");
    let racers = state.creations.entry(key.clone()).or_default();
    *racers += usize::from(is_creation);
    // The second of several writers succeeds too.
    let wins_wrongly = lacks(Lack::PutRaces) && key.ends_with("race") && *racers == 2;
    let is_heeded = !lacks(Lack::PutConditions) && !wins_wrongly;
    if is_heeded && !holds(state, &key, request, lacks(Lack::QuotedEtags)) {
        return CannedResponse::error(412, "PreconditionFailed");
    }
    let object = Object {
        headers: stored(request, lacks),
        body: request.body().clone(),
        etag: String::new(),
    };
    let confirmed = confirmed(&object);
    let etag = put(state, key, object);
    confirmed(CannedResponse::new(200, "").header("etag", &etag))
}

fn put(state: &mut State, key: String, object: Object) -> String {
    state.versions += 1;
    let etag = format!("\"{:032x}\"", 0xabc_0000 + state.versions);
    state.objects.insert(key, Object { etag: etag.clone(), ..object });
    etag
}

/// Whether the conditions of a request hold. `bare` makes ETags with quotes differ.
fn holds(state: &State, key: &str, request: &RecordedRequest, bare: bool) -> bool {
    let there = state.objects.get(key);
    if request.headers().contains_key("if-none-match") {
        return there.is_none();
    }
    let Some(wanted) = request.headers().get("if-match").map(|wanted| wanted.to_str().unwrap())
    else {
        return true;
    };
    let wanted = if bare { wanted } else { wanted.trim_matches('"') };
    there.is_some_and(|object| object.etag.trim_matches('"') == wanted)
}

/// Returns the headers of a request that are stored.
fn stored(request: &RecordedRequest, lacks: &dyn Fn(Lack) -> bool) -> HeaderMap {
    let mut kept = HeaderMap::new();
    for (name, value) in request.headers() {
        let name = name.as_str();
        let is_kept = name.starts_with("x-amz-meta-")
            || matches!(name, "content-type" | "x-amz-website-redirect-location")
            || (name == "x-amz-tagging" && !lacks(Lack::Tags))
            || (name.starts_with("x-amz-server-side-encryption") && !lacks(Lack::Sse))
            || (name == "x-amz-storage-class" && !lacks(Lack::StorageClass));
        if is_kept {
            let name =
                if lacks(Lack::Underscores) { name.replace('_', "-") } else { name.to_owned() };
            kept.insert(http::HeaderName::try_from(name).unwrap(), value.clone());
        }
    }
    kept
}

/// Adds the confirmation of the encryption to a response.
fn confirmed(object: &Object) -> impl FnOnce(CannedResponse) -> CannedResponse + use<> {
    let headers = object.headers.clone();
    move |mut response| {
        for (name, value) in &headers {
            if name.as_str().starts_with("x-amz-server-side-encryption") {
                response.headers.insert(name.clone(), value.clone());
            }
        }
        response
    }
}
