//! curl as a client.

use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, SystemTime};

use storage_core::{Link, Storage, UrlMethod};
use storage_fs::Fs;
use storage_serve::Serve;
use tempfile::TempDir;

use crate::common::server::{Server, listener};
use crate::common::{bytes, gzip, signing_key, skip};

/// The output of curl.
#[derive(Debug)]
struct CurlOutput {
    /// The status of the response; 0 without a response.
    status: u16,
    /// The exit code of curl.
    exit: i32,
    body: Vec<u8>,
}

fn is_there() -> bool {
    static IS_THERE: OnceLock<bool> = OnceLock::new();
    *IS_THERE.get_or_init(|| {
        let found = Command::new("curl").arg("--version").stdout(Stdio::null()).status();
        let is_there = found.is_ok_and(|status| status.success());
        if !is_there {
            skip("storage-http/tests/serve/curl.rs", "curl is not installed");
        }
        is_there
    })
}

/// Runs curl on its own thread, and reads the file `output`.
async fn curl(output: &Path, arguments: &[&str]) -> CurlOutput {
    let mut command = Command::new("curl");
    // Ignore the user's configuration, and connect only to loopback.
    command.args([
        "-q",
        "--silent",
        "--noproxy",
        "*",
        "--max-time",
        "60",
        "--write-out",
        "%{http_code}",
    ]);
    command.arg("--output").arg(output).args(arguments);
    let ran = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    CurlOutput {
        status: String::from_utf8(ran.stdout).unwrap().parse().unwrap(),
        exit: ran.status.code().unwrap(),
        body: std::fs::read(output).unwrap_or_default(),
    }
}

/// A served storage on disk, whose links lead to the server.
struct Stage {
    directory: TempDir,
    storage: Storage,
    server: Server,
}

impl Stage {
    async fn new(set: impl FnOnce(Serve) -> Serve) -> Option<Self> {
        if !is_there() {
            return None;
        }
        let directory = TempDir::new().unwrap();
        let (listener, base) = listener().await;
        let fs = Fs::builder(directory.path().join("root"))
            .public_url(base.parse().unwrap())
            .signing_key(signing_key());
        let storage = Storage::new(fs.build().unwrap());
        let server = Server::on(listener, set(Serve::new(storage.clone())));
        Some(Self { directory, storage, server })
    }

    async fn public() -> Option<Self> {
        Self::new(|serve| serve).await
    }

    async fn signed() -> Option<Self> {
        Self::new(|serve| serve.signing_key(signing_key())).await
    }

    fn file(&self, name: &str) -> std::path::PathBuf {
        self.directory.path().join(name)
    }

    async fn curl(&self, arguments: &[&str]) -> CurlOutput {
        curl(&self.file("output"), arguments).await
    }

    async fn link(&self, key: &str, method: UrlMethod) -> Link {
        self.storage.url(key).method(method).expires_in(Duration::from_secs(60)).await.unwrap()
    }
}

#[tokio::test]
async fn curl_downloads_a_file_and_a_range_of_it() {
    let Some(stage) = Stage::public().await else { return };
    let content = bytes(3_000_000);
    stage.storage.save("a b.bin", content.clone()).await.unwrap();
    let url = stage.server.url("/a%20b.bin");
    let whole = stage.curl(&[&url]).await;
    assert_eq!((whole.status, whole.exit), (200, 0));
    assert!(whole.body == content);
    let part = stage.curl(&["--range", "1000000-1999999", &url]).await;
    assert_eq!((part.status, part.exit), (206, 0));
    assert!(part.body == content[1_000_000..2_000_000]);
    let last = stage.curl(&["--range", "-5", &url]).await;
    assert_eq!(last.body, content[content.len() - 5..]);
}

#[tokio::test]
async fn curl_resumes_a_download() {
    let Some(stage) = Stage::public().await else { return };
    let content = bytes(2_000_000);
    stage.storage.save("a.bin", content.clone()).await.unwrap();
    std::fs::write(stage.file("output"), &content[..700_000]).unwrap();
    let output = stage.curl(&["-C", "-", &stage.server.url("/a.bin")]).await;
    assert_eq!((output.status, output.exit), (206, 0));
    assert!(output.body == content);
    // The file is complete.
    let output = stage.curl(&["-C", "-", &stage.server.url("/a.bin")]).await;
    assert_eq!(output.status, 416);
    assert!(output.body == content);
}

#[tokio::test]
async fn curl_receives_decoded_content_with_and_without_compressed() {
    let Some(stage) = Stage::public().await else { return };
    let content = bytes(500_000);
    stage.storage.save("a.bin", gzip(&content).await).content_encoding("gzip").await.unwrap();
    let url = stage.server.url("/a.bin");
    for arguments in
        [&["--compressed", &url][..], &[&url], &["--header", "accept-encoding: identity", &url]]
    {
        let output = stage.curl(arguments).await;
        assert_eq!((output.status, output.exit), (200, 0), "{arguments:?}");
        assert!(output.body == content, "{arguments:?}");
    }
    let output = stage.curl(&["--header", "accept-encoding: gzip", &url]).await;
    assert_eq!(output.body[..2], [0x1f, 0x8b]);
}

#[tokio::test]
async fn curl_downloads_only_a_newer_file() {
    let Some(stage) = Stage::public().await else { return };
    stage.storage.save("a.txt", "hello").await.unwrap();
    let url = stage.server.url("/a.txt");
    let tomorrow = httpdate::fmt_http_date(SystemTime::now() + Duration::from_secs(86_400));
    let yesterday = httpdate::fmt_http_date(SystemTime::now() - Duration::from_secs(86_400));
    assert_eq!(stage.curl(&["-z", &tomorrow, &url]).await.status, 304);
    assert_eq!(stage.curl(&["-z", &yesterday, &url]).await.status, 200);
    assert_eq!(stage.curl(&["-z", &format!("-{yesterday}"), &url]).await.status, 412);
}

#[tokio::test]
async fn curl_compares_a_saved_etag() {
    let Some(stage) = Stage::public().await else { return };
    stage.storage.save("a.txt", "hello").await.unwrap();
    let (url, etags) = (stage.server.url("/a.txt"), stage.file("etags"));
    let etags = etags.to_str().unwrap();
    assert_eq!(stage.curl(&["--etag-save", etags, &url]).await.status, 200);
    assert_eq!(stage.curl(&["--etag-compare", etags, &url]).await.status, 304);
    stage.storage.save("a.txt", "other").await.unwrap();
    assert_eq!(stage.curl(&["--etag-compare", etags, &url]).await.status, 200);
}

#[tokio::test]
async fn curl_requests_only_the_head() {
    let Some(stage) = Stage::public().await else { return };
    stage.storage.save("a.bin", bytes(1_000)).await.unwrap();
    let output = stage.curl(&["--head", &stage.server.url("/a.bin")]).await;
    assert_eq!((output.status, output.exit), (200, 0));
    assert!(String::from_utf8(output.body).unwrap().contains("content-length: 1000\r\n"));
}

#[tokio::test]
async fn a_link_of_the_fs_driver_downloads() {
    let Some(stage) = Stage::signed().await else { return };
    let key = "a dir/b+c %2F&é?#'*!()[]~.txt";
    stage.storage.save(key, "hello").await.unwrap();
    let link = stage.link(key, UrlMethod::Get).await;
    let output = stage.curl(&["--globoff", link.as_str()]).await;
    assert_eq!((output.status, &output.body[..]), (200, &b"hello"[..]));
    let public = stage.storage.url(key).await.unwrap();
    assert_eq!(stage.curl(&["--globoff", public.as_str()]).await.status, 403);
}

#[tokio::test]
async fn a_link_of_the_fs_driver_uploads() {
    let Some(stage) = Stage::signed().await else { return };
    let content = bytes(2_000_000);
    let file = stage.file("from the user.bin");
    std::fs::write(&file, &content).unwrap();
    let file = file.to_str().unwrap();
    let link = stage.link("dir/a.bin", UrlMethod::Put).await;
    let output = stage.curl(&["-T", file, link.as_str()]).await;
    assert_eq!((output.status, output.exit), (201, 0));
    assert!(stage.storage.open("dir/a.bin").await.unwrap().bytes().await.unwrap() == content);

    // From standard input, so that curl sends chunks without a length.
    let chunked = ["--header", "transfer-encoding: chunked", "-T", file];
    let link = stage.link("dir/b.bin", UrlMethod::Put).await;
    assert_eq!(stage.curl(&[&chunked[..], &[link.as_str()]].concat()).await.status, 201);
    assert!(stage.storage.open("dir/b.bin").await.unwrap().bytes().await.unwrap() == content);

    let download = stage.link("dir/c.bin", UrlMethod::Get).await;
    assert_eq!(stage.curl(&["-T", file, download.as_str()]).await.status, 403);
    assert!(!stage.storage.exists("dir/c.bin").await.unwrap());
}

#[tokio::test]
async fn a_link_of_the_fs_driver_accepts_only_the_upload_that_it_binds() {
    let Some(stage) = Stage::signed().await else { return };
    let (small, large) = (stage.file("small"), stage.file("large"));
    std::fs::write(&small, "hello").unwrap();
    std::fs::write(&large, "hello, hello").unwrap();
    let (small, large) = (small.to_str().unwrap(), large.to_str().unwrap());
    let link = stage.storage.url("a").method(UrlMethod::Put).expires_in(Duration::from_secs(60));
    let link = link.content_type("text/x-hello").content_length(5).await.unwrap();
    let typed = ["--header", "content-type: text/x-hello"];
    let chunked = ["--header", "transfer-encoding: chunked"];
    for (refused, status) in [
        (vec!["-T", small], 403),
        ([&typed[..], &["-T", large]].concat(), 403),
        ([&typed[..], &chunked, &["-T", large]].concat(), 422),
    ] {
        assert_eq!(
            stage.curl(&[&refused[..], &[link.as_str()]].concat()).await.status,
            status,
            "{refused:?}"
        );
        assert!(!stage.storage.exists("a").await.unwrap());
    }
    assert_eq!(stage.curl(&[&typed[..], &["-T", small, link.as_str()]].concat()).await.status, 201);
    assert_eq!(stage.storage.stat("a").await.unwrap().content_type(), Some("text/x-hello"));
}
