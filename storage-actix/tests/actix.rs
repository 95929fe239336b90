//! Handlers of actix-web: in the process, and with a server where the connection matters.

#![allow(clippy::unwrap_used, reason = "a test that meets an unforeseen error has failed")]

use std::time::Duration;

use actix_web::body::MessageBody;
use actix_web::dev::{Service, ServiceResponse};
use actix_web::http::Method;
use actix_web::http::header::HeaderMap;
use actix_web::test::{TestRequest, call_service, init_service, read_body};
use actix_web::{App, Error, HttpRequest, HttpResponse, HttpServer, web};
use bytes::Bytes;
use storage_actix::{
    FormLimit, OpenObject, Respond, RespondWith, Result, Serve, UploadForm, scope, uploads_scope,
};
use storage_core::layers::PublicUrl;
use storage_core::signed_url::SigningKey;
use storage_core::{ErrorKind, Memory, Operation, Storage, UrlMethod};
use storage_fs::Fs;
use storage_serve::uploads::{Grant, UploadRequest, Uploads};
use storage_testkit::faults::Faults;
use storage_testkit::leftovers::Leftovers;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};

const MAX_FILE: u64 = 1 << 20;
/// Disables the time limit in which actix-web must receive a request, which a busy machine exceeds.
const NO_LIMIT: Duration = Duration::ZERO;

async fn upload(storage: web::Data<Storage>, mut form: UploadForm) -> Result<HttpResponse> {
    while let Some(file) = form.next_file().await? {
        let key = file.file_name().to_owned();
        storage.save(key, file.max_size(MAX_FILE)).await?;
    }
    Ok(HttpResponse::Created().finish())
}

async fn download(
    storage: web::Data<Storage>,
    key: web::Path<String>,
    request: HttpRequest,
) -> Result<HttpResponse> {
    storage.respond(key.into_inner(), &request).await
}

async fn opened(
    storage: web::Data<Storage>,
    key: web::Path<String>,
    request: HttpRequest,
) -> Result<HttpResponse> {
    Ok(storage.open(key.into_inner()).await?.respond(&request))
}

async fn object(storage: web::Data<Storage>, key: web::Path<String>) -> Result<OpenObject> {
    Ok(storage.open(key.into_inner()).await?.into())
}

fn routes(storage: Storage) -> impl FnOnce(&mut web::ServiceConfig) {
    move |config| {
        let limited = web::resource("/limited").app_data(FormLimit::new(3 << 20));
        config
            .app_data(web::Data::new(storage))
            .service(limited.route(web::post().to(upload)))
            .route("/default", web::post().to(upload))
            .route("/download/{key:.*}", web::to(download))
            .route("/opened/{key:.*}", web::to(opened))
            .route("/object/{key:.*}", web::to(object));
    }
}

macro_rules! app {
    ($storage:expr) => {
        init_service(App::new().configure(routes($storage))).await
    };
}

fn form(name: &str, content: &[u8]) -> Bytes {
    let head = format!("--x\r\ncontent-disposition: form-data; name=f; filename={name}\r\n\r\n");
    [head.as_bytes(), content, b"\r\n--x--\r\n"].concat().into()
}

fn post_form(path: &str, form: Bytes) -> TestRequest {
    let content_type = ("content-type", "multipart/form-data; boundary=x");
    TestRequest::post().uri(path).insert_header(content_type).set_payload(form)
}

/// Sends a request that was made with `to_request`.
async fn send<S, R, B>(app: &S, request: R) -> (u16, HeaderMap, Bytes)
where
    S: Service<R, Response = ServiceResponse<B>, Error = Error>,
    B: MessageBody,
{
    let response = call_service(app, request).await;
    let (status, headers) = (response.status().as_u16(), response.headers().clone());
    (status, headers, read_body(response).await)
}

fn get(path: &str, range: &str) -> TestRequest {
    TestRequest::get().uri(path).insert_header(("range", range))
}

/// Returns a storage on a disk, and its directory.
fn on_disk() -> (tempfile::TempDir, Storage) {
    let directory = tempfile::tempdir().unwrap();
    let storage = Storage::new(Fs::builder(directory.path()).build().unwrap());
    (directory, storage)
}

#[actix_web::test]
async fn a_file_of_a_form_is_saved_unchanged() {
    let (_directory, storage) = on_disk();
    let app = app!(storage.clone());
    let content = vec![7; 1 << 20];
    let request = post_form("/limited", form("a.bin", &content)).to_request();
    assert_eq!(send(&app, request).await.0, 201);
    assert_eq!(storage.read("a.bin").await.unwrap(), content);
}

#[actix_web::test]
async fn a_file_above_its_limit_is_status_413_and_leaves_nothing() {
    let (directory, storage) = on_disk();
    let leftovers = Leftovers::since_now(directory.path());
    let app = app!(storage);
    let request = post_form("/limited", form("a.bin", &vec![7; (1 << 20) + 1])).to_request();
    let (status, _, text) = send(&app, request).await;
    assert_eq!((status, &*text), (413, &b"The upload is too large.\n"[..]));
    leftovers.assert_none().await;
}

#[actix_web::test]
async fn a_form_above_the_limit_of_forms_is_status_413() {
    let app = app!(Memory::storage());
    for (path, size, status) in
        [("/default", (2 << 20) + 1, 413), ("/limited", (3 << 20) + 1, 413), ("/default", 1, 201)]
    {
        let request = post_form(path, form("a.bin", &vec![7; size])).to_request();
        assert_eq!(send(&app, request).await.0, status, "{path} {size}");
    }
}

#[actix_web::test]
async fn a_request_that_is_not_a_whole_form_is_status_400_and_leaves_nothing() {
    let (directory, storage) = on_disk();
    let leftovers = Leftovers::since_now(directory.path());
    let app = app!(storage);
    let half = form("a.bin", &vec![7; 1 << 19]).slice(..1 << 18);
    assert_eq!(send(&app, post_form("/limited", half).to_request()).await.0, 400);
    let text = TestRequest::post().uri("/limited").insert_header(("content-type", "text/plain"));
    assert_eq!(send(&app, text.set_payload("hello").to_request()).await.0, 400);
    leftovers.assert_none().await;
}

/// Reports that a handler has ended.
struct Ended(UnboundedSender<()>);

impl Drop for Ended {
    fn drop(&mut self) {
        let _ = self.0.send(());
    }
}

#[actix_web::test]
async fn an_upload_whose_client_goes_away_leaves_nothing() {
    let (directory, storage) = on_disk();
    let leftovers = Leftovers::since_now(directory.path());
    let (began, mut beginning) = unbounded_channel();
    let (ended, mut ending) = unbounded_channel();
    let server = {
        let storage = storage.clone();
        let observed = move |storage: web::Data<Storage>, mut form: UploadForm| {
            let (began, ended) = (began.clone(), Ended(ended.clone()));
            async move {
                let file = form.next_file().await?.unwrap();
                began.send(()).unwrap();
                let saved = storage.save("a.bin", file).await;
                drop(ended);
                saved?;
                Ok::<_, storage_actix::StorageError>(HttpResponse::Created().finish())
            }
        };
        HttpServer::new(move || {
            App::new()
                .app_data(web::Data::new(storage.clone()))
                .route("/", web::post().to(observed.clone()))
        })
    };
    let server = server.workers(1).disable_signals().client_request_timeout(NO_LIMIT);
    let server = server.bind("127.0.0.1:0").unwrap();
    let address = server.addrs()[0];
    let server = server.run();
    let handle = server.handle();
    let running = actix_web::rt::spawn(server);

    let mut client = TcpStream::connect(address).await.unwrap();
    let head = "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 1000000\r\n\
                content-type: multipart/form-data; boundary=x\r\n\r\n";
    client.write_all(head.as_bytes()).await.unwrap();
    client.write_all(&form("a.bin", &[7; 100_000])[..90_000]).await.unwrap();
    beginning.recv().await.unwrap();
    drop(client);
    ending.recv().await.unwrap();
    assert!(!storage.exists("a.bin").await.unwrap());
    leftovers.assert_none().await;
    handle.stop(false).await;
    running.await.unwrap().unwrap();
}

#[actix_web::test]
async fn an_error_of_the_storage_has_the_status_of_its_kind_and_no_details() {
    for (operation, path, kind, status) in [
        (Operation::Save, "/limited", ErrorKind::StorageFull, 507),
        (Operation::Save, "/limited", ErrorKind::PermissionDenied, 500),
        (Operation::Open, "/download/a", ErrorKind::Timeout, 504),
        (Operation::Open, "/opened/a", ErrorKind::Conflict, 500),
        (Operation::Open, "/object/a", ErrorKind::NotFound, 404),
    ] {
        let faults = Faults::new();
        let fault = faults.on(operation).fail(kind);
        let app = app!(Memory::storage().layer(|inner| faults.layer(inner)));
        let request = match operation {
            Operation::Save => post_form(path, form("a", b"hello")),
            _ => TestRequest::get().uri(path),
        };
        let (received, _, text) = send(&app, request.to_request()).await;
        assert_eq!((received, fault.fired()), (status, 1), "{operation:?} {kind}");
        let text = String::from_utf8_lossy(&text);
        assert!(!text.contains("memory") && text.ends_with(".\n"), "{text}");
    }
}

#[actix_web::test]
async fn objects_are_sent_with_ranges_and_conditions() {
    let (_directory, storage) = on_disk();
    let saved = storage.save("a/b.txt", "hello").await.unwrap();
    let etag = saved.etag.unwrap().to_string();
    let app = app!(storage);
    for path in ["/download/a/b.txt", "/opened/a/b.txt", "/object/a/b.txt"] {
        let (status, headers, body) = send(&app, get(path, "bytes=1-2").to_request()).await;
        assert_eq!((status, &*body), (206, &b"el"[..]));
        assert_eq!(headers.get("content-range").unwrap(), "bytes 1-2/5");
        assert_eq!(send(&app, get(path, "bytes=9-").to_request()).await.0, 416);
        let condition = TestRequest::get().uri(path).insert_header(("if-none-match", &*etag));
        let (status, _, body) = send(&app, condition.to_request()).await;
        assert_eq!((status, body.len()), (304, 0));
    }
}

#[actix_web::test]
async fn a_response_is_private_and_protects_browsers() {
    let storage = Memory::storage();
    storage.save("a.html", "hello").await.unwrap();
    let app = app!(storage);
    for path in ["/download/a.html", "/opened/a.html", "/object/a.html"] {
        let (status, headers, body) = send(&app, TestRequest::get().uri(path).to_request()).await;
        assert_eq!((status, &*body), (200, &b"hello"[..]));
        for (name, value) in [
            ("content-disposition", "attachment"),
            ("cache-control", "private"),
            ("x-content-type-options", "nosniff"),
        ] {
            assert_eq!(headers.get(name).unwrap(), value, "{path}");
        }
    }
}

fn signed() -> Storage {
    let base = "/media/".parse().unwrap();
    let key = SigningKey::new("a secret of many bytes").unwrap();
    Memory::storage().layer(|inner| PublicUrl::new(inner, base).signing_key(key))
}

#[actix_web::test]
async fn a_mounted_service_accepts_the_links_of_its_storage_only() {
    let storage = signed();
    storage.save("a b.txt", "hello").await.unwrap();
    let serve = Serve::for_storage(&storage).unwrap();
    let app = init_service(App::new().service(scope(serve.mount_path(), serve.clone()))).await;

    let minute = Duration::from_secs(60);
    let link = storage.url("a b.txt").expires_in(minute).await.unwrap();
    let (status, _, body) = send(&app, get(link.as_str(), "bytes=1-2").to_request()).await;
    assert_eq!((status, &*body), (206, &b"el"[..]));
    assert_eq!(send(&app, get("/media/a%20b.txt", "").to_request()).await.0, 403);

    let link = storage.url("b.txt").method(UrlMethod::Put).expires_in(minute).await.unwrap();
    let put = TestRequest::put().uri(link.as_str()).insert_header(("content-length", "8"));
    let (status, ..) = send(&app, put.set_payload("uploaded").to_request()).await;
    assert_eq!(status, 201);
    assert_eq!(storage.read_text("b.txt").await.unwrap(), "uploaded");
}

#[actix_web::test]
async fn a_service_is_mounted_at_a_path_with_percent_escapes() {
    for path in ["/f%C3%BCr%20alle", "f%C3%BCr%20alle/", "/a/b", "/"] {
        let storage = Memory::storage();
        storage.save("a b.txt", "hello").await.unwrap();
        let app = init_service(App::new().service(scope(path, Serve::new(storage)))).await;
        let target = format!("/{}/a%20b.txt", path.trim_matches('/')).replace("//", "/");
        let (status, _, body) = send(&app, get(&target, "").to_request()).await;
        assert_eq!((status, &*body), (200, &b"hello"[..]), "{path}");
        assert_eq!(send(&app, get("/other/a%20b.txt", "").to_request()).await.0, 404, "{path}");
    }
}

#[actix_web::test]
async fn a_response_to_head_has_the_length_of_the_object_and_no_body() {
    let storage = Memory::storage();
    storage.save("a.txt", "hello").await.unwrap();
    let serve = Serve::new(storage.clone());
    let server = HttpServer::new(move || {
        App::new().configure(routes(storage.clone())).service(scope("/media", serve.clone()))
    });
    let server = server.workers(1).disable_signals().client_request_timeout(NO_LIMIT);
    let server = server.bind("127.0.0.1:0").unwrap();
    let address = server.addrs()[0];
    let server = server.run();
    let handle = server.handle();
    let running = actix_web::rt::spawn(server);
    for path in ["/media/a.txt", "/download/a.txt", "/opened/a.txt"] {
        let mut client = TcpStream::connect(address).await.unwrap();
        let request =
            format!("{} {path} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n", Method::HEAD);
        client.write_all(request.as_bytes()).await.unwrap();
        let mut response = String::new();
        tokio::io::AsyncReadExt::read_to_string(&mut client, &mut response).await.unwrap();
        let response = response.to_ascii_lowercase();
        assert!(response.starts_with("http/1.1 200"), "{path} {response}");
        assert!(response.contains("\r\ncontent-length: 5\r\n"), "{path} {response}");
        assert!(response.ends_with("\r\n\r\n"), "{path} {response}");
    }
    handle.stop(false).await;
    running.await.unwrap().unwrap();
}

/// Accepts every upload, and keeps it under the name `a.bin`.
fn uploads(storage: Storage) -> Uploads {
    let key = SigningKey::new("a secret of many bytes").unwrap();
    let authorize = |_, _: UploadRequest| async { Ok(Grant::new("a.bin")?) };
    Uploads::new(storage, key, authorize).unwrap()
}

fn tus(request: TestRequest, path: &str) -> TestRequest {
    request.uri(path).insert_header(("tus-resumable", "1.0.0"))
}

fn patch(path: &str, offset: usize, body: &[u8]) -> TestRequest {
    tus(TestRequest::patch(), path)
        .insert_header(("upload-offset", offset.to_string()))
        .insert_header(("content-type", "application/offset+octet-stream"))
        .set_payload(Bytes::copy_from_slice(body))
}

#[actix_web::test]
async fn a_resumable_upload_of_several_requests_becomes_an_object() {
    let (_directory, storage) = on_disk();
    for path in ["/uploads", "/a/f%C3%BCr%20alle", "/"] {
        let uploads = uploads(storage.clone()).mounted_at(path);
        let app = init_service(App::new().service(uploads_scope(&uploads))).await;
        let content = vec![7; (3 << 20) + 1];
        let begin = tus(TestRequest::post(), path)
            .insert_header(("upload-length", content.len().to_string()));
        let (status, headers, _) = send(&app, begin.to_request()).await;
        assert_eq!(status, 201, "{path}");
        let upload = headers.get("location").unwrap().to_str().unwrap().to_owned();
        let (status, ..) = send(&app, patch(&upload, 0, &content[..1000]).to_request()).await;
        assert_eq!(status, 204);
        let head = tus(TestRequest::default().method(Method::HEAD), &upload);
        let (status, headers, _) = send(&app, head.to_request()).await;
        assert_eq!(
            (status, headers.get("upload-offset").unwrap().to_str().unwrap()),
            (200, "1000")
        );
        let (status, ..) = send(&app, patch(&upload, 1000, &content[1000..]).to_request()).await;
        assert_eq!(status, 204);
        assert_eq!(storage.read("a.bin").await.unwrap(), content);
        storage.delete("a.bin").await.unwrap();
    }
}

#[actix_web::test]
async fn an_upload_whose_client_goes_away_keeps_what_arrived() {
    let (_directory, storage) = on_disk();
    let uploads = uploads(storage.clone());
    let service = uploads.clone();
    let server = HttpServer::new(move || App::new().service(uploads_scope(&service)));
    let server = server.workers(1).disable_signals().client_request_timeout(NO_LIMIT);
    let server = server.bind("127.0.0.1:0").unwrap();
    let address = server.addrs()[0];
    let server = server.run();
    let handle = server.handle();
    let running = actix_web::rt::spawn(server);

    let app = init_service(App::new().service(uploads_scope(&uploads))).await;
    let begin = tus(TestRequest::post(), "/uploads").insert_header(("upload-length", "2000"));
    let (_, headers, _) = send(&app, begin.to_request()).await;
    let upload = headers.get("location").unwrap().to_str().unwrap().to_owned();
    let mut client = TcpStream::connect(address).await.unwrap();
    let request = format!(
        "PATCH {upload} HTTP/1.1\r\nhost: a\r\ntus-resumable: 1.0.0\r\nupload-offset: 0\r\n\
         content-type: application/offset+octet-stream\r\ncontent-length: 2000\r\n\r\n"
    );
    client.write_all(request.as_bytes()).await.unwrap();
    client.write_all(&[7; 1000]).await.unwrap();
    client.shutdown().await.unwrap();
    drop(client);

    // A HEAD would end the request before it has read what arrived.
    let is_stored = || async {
        let keys = storage.list(".uploads/").keys().await.unwrap();
        keys.iter().any(|key| key.as_str().contains("/rest-"))
    };
    for _ in 0..6_000 {
        if is_stored().await {
            break;
        }
        actix_web::rt::time::sleep(Duration::from_millis(20)).await;
    }
    let head = tus(TestRequest::default().method(Method::HEAD), &upload);
    let (_, headers, _) = send(&app, head.to_request()).await;
    let offset: u64 = headers.get("upload-offset").unwrap().to_str().unwrap().parse().unwrap();
    assert_eq!(offset, 1000);
    let (status, ..) = send(&app, patch(&upload, 1000, &[7; 1000]).to_request()).await;
    assert_eq!(status, 204);
    assert_eq!(storage.read("a.bin").await.unwrap(), vec![7; 2000]);
    handle.stop(false).await;
    running.await.unwrap().unwrap();
}
