//! The IETF draft and plain uploads with curl, against a server on loopback.

use std::io::Write as _;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::{Command, Stdio};

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use storage_core::Storage;
use storage_fs::Fs;
use storage_serve::uploads::Uploads;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tower_service::Service as _;

use crate::client::{service, stored};

/// A server that ends with its connections when it is dropped.
struct Server {
    address: SocketAddr,
    accepting: JoinHandle<()>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

impl Server {
    async fn start(uploads: Uploads) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let accepting = tokio::spawn(async move {
            let mut connections = tokio::task::JoinSet::new();
            while let Ok((socket, _)) = listener.accept().await {
                let uploads = uploads.clone();
                let service = service_fn(move |request| uploads.clone().call(request));
                let mut builder = http1::Builder::new();
                builder.timer(TokioTimer::new());
                connections.spawn(builder.serve_connection(TokioIo::new(socket), service));
            }
        });
        Self { address, accepting }
    }
}

fn has_curl() -> bool {
    let found = Command::new("curl").arg("--version").stdout(Stdio::null()).status();
    let is_there = found.is_ok_and(|status| status.success());
    if !is_there {
        // The real standard error, which the capture of test output does not hide.
        let _ = writeln!(std::io::stderr(), "SKIPPED: draft_curl.rs: curl is not installed");
    }
    is_there
}

/// Runs a script of a user in a directory with the file `file`, and returns its output.
async fn run(directory: &Path, server: &Server, script: &str) -> String {
    let prelude = "set -eu\ncurl() { command curl -q -sS --noproxy '*' --max-time 60 \"$@\"; }\n";
    let mut command = Command::new("sh");
    command.arg("-c").arg(format!("{prelude}{script}")).current_dir(directory);
    command.env("SITE", format!("http://{}", server.address));
    let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    String::from_utf8(output.stdout).unwrap()
}

struct Stage {
    directory: TempDir,
    storage: Storage,
    server: Server,
    file: Vec<u8>,
}

async fn stage() -> Option<Stage> {
    if !has_curl() {
        return None;
    }
    let directory = TempDir::new().unwrap();
    let fs = Fs::builder(directory.path().join("storage")).create_root(true);
    let storage = Storage::new(fs.build().unwrap());
    let file: Vec<u8> = (0..3_000_000_u32).map(|n| (n % 251) as u8).collect();
    std::fs::write(directory.path().join("file"), &file).unwrap();
    let server = Server::start(service(&storage).part_size(1 << 20)).await;
    Some(Stage { directory, storage, server, file })
}

#[tokio::test(flavor = "multi_thread")]
async fn curl_uploads_in_steps_and_continues_after_a_cut() {
    let Some(Stage { directory, storage, server, file }) = stage().await else { return };
    let script = r#"
        field() { tr -d '\r' | sed -n "s/^$1: //ip"; }
        partial='Content-Type: application/partial-upload'

        # An empty creation contains the URL, because there is no interim response.
        url=$SITE$(curl -i -X POST -H 'Upload-Complete: ?0' -H 'Upload-Length: 3000000' \
            "$SITE/uploads" | field location)

        head -c 1100000 file > first
        curl -f -X PATCH -H "$partial" -H 'Upload-Complete: ?0' -H 'Upload-Offset: 0' \
            --data-binary @first "$url"

        # The connection is cut in the middle of a request with all the rest: a write into the pipe
        # ends once curl has read most of it, and curl cannot end before the pipe is closed.
        tail -c +1100001 file > rest
        mkfifo pipe
        env curl -q -sS --noproxy '*' -X PATCH -H "$partial" -H 'Upload-Complete: ?1' \
            -H 'Upload-Offset: 1100000' -T - "$url" < pipe > response &
        exec 3> pipe
        head -c 900000 rest >&3
        kill -KILL $!
        wait $! || echo cut
        exec 3>&-

        # The next request stops the older one, if its end was not noticed.
        offset=$(curl -I "$url" | field upload-offset)
        test "$offset" -ge 1100000
        tail -c +$((offset + 1)) file > rest
        curl -f -i -X PATCH -H "$partial" -H 'Upload-Complete: ?1' -H "Upload-Offset: $offset" \
            --data-binary @rest "$url" | field upload-complete
        curl -I "$url" | field upload-complete
    "#;
    let output = run(directory.path(), &server, script).await;
    assert_eq!(output.lines().collect::<Vec<_>>(), ["cut", "?1", "?1"]);
    assert!(stored(&storage).await == file);
}

#[tokio::test(flavor = "multi_thread")]
async fn curl_uploads_a_whole_file_with_and_without_the_headers() {
    let Some(Stage { directory, storage, server, file }) = stage().await else { return };
    let script = r#"
        status() { curl -o /dev/null -w '%{http_code}\n' "$@" "$SITE/uploads"; }
        status -T file
        status -X POST -H 'Content-Type: video/mp4' --data-binary @file
        # As URLSession sends it, in both directions of its versions.
        status -T file -H 'Upload-Complete: ?1' -H 'Upload-Draft-Interop-Version: 6'
        status -T file -H 'Upload-Incomplete: ?0' -H 'Upload-Draft-Interop-Version: 3'
        # Without a length.
        status -T - -H 'Upload-Complete: ?1' < file
        digest=$(openssl dgst -sha256 -binary file | openssl base64 -A || true)
        test -z "$digest" || status -T file -H "Repr-Digest: sha-256=:$digest:"
    "#;
    let output = run(directory.path(), &server, script).await;
    let statuses: Vec<_> = output.lines().collect();
    assert!(statuses.len() >= 5 && statuses.iter().all(|status| *status == "201"), "{output}");
    assert!(stored(&storage).await == file);
}

#[tokio::test(flavor = "multi_thread")]
async fn curl_gets_the_offset_and_a_problem_for_a_wrong_one() {
    let Some(Stage { directory, server, .. }) = stage().await else { return };
    let script = r#"
        field() { tr -d '\r' | sed -n "s/^$1: //ip"; }
        url=$SITE$(curl -i -X POST -H 'Upload-Complete: ?0' --data-binary abc \
            -H 'Content-Type: application/octet-stream' "$SITE/uploads" | field location)
        curl -i -X PATCH -H 'Content-Type: application/partial-upload' \
            -H 'Upload-Complete: ?1' -H 'Upload-Offset: 0' --data-binary abc "$url" > response
        field upload-offset < response
        grep -c '"expected-offset":3' response
        curl -X DELETE -o /dev/null -w '%{http_code}\n' "$url"
        curl -I -o /dev/null -w '%{http_code}\n' "$url"
    "#;
    let output = run(directory.path(), &server, script).await;
    assert_eq!(output.lines().collect::<Vec<_>>(), ["3", "1", "204", "410"]);
}
