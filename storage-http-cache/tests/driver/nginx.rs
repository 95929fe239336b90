//! nginx of Debian as the mirror: as a file server beside origin, and as a cache in front of it.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use bytes::Bytes;
use futures_util::TryStreamExt;
use storage_core::Storage;
use storage_fs::Fs;
use storage_http_cache::{HttpCache, Verify};
use storage_testkit::servers::Running;
use tempfile::TempDir;
use url::Url;

/// A timeout that no test reaches. The defaults are shorter, and a busy machine may exceed them.
const GENEROUS: Duration = Duration::from_secs(60);

/// nginx with a file server at one port and a cache in front of it at another.
struct Nginx {
    running: Running,
    files: SocketAddr,
    cache: SocketAddr,
    directory: TempDir,
}

impl Nginx {
    /// Starts nginx. Returns `None` and prints a line if it is not installed.
    fn start() -> Option<Self> {
        let program = ["/usr/sbin/nginx", "/usr/bin/nginx", "/usr/local/sbin/nginx"].map(Path::new);
        let Some(program) = program.into_iter().find(|program| program.exists()) else {
            // Standard error, which the test harness shows for passing tests too.
            let _ =
                writeln!(std::io::stderr(), "SKIPPED: nginx as the mirror: nginx is not installed");
            return None;
        };
        let directory = tempfile::Builder::new().prefix("storage-http-cache-").tempdir().unwrap();
        let root = directory.path().join("root");
        fs::create_dir(&root).unwrap();
        let running = Running::start(|ports| {
            let path = directory.path().join("nginx.conf");
            fs::write(&path, configuration(directory.path(), ports)).unwrap();
            let mut command = Command::new(program);
            command.arg("-p").arg(directory.path()).arg("-c").arg(path).args(["-e", "log"]);
            command
        });
        let (files, cache) = (running.address(0), running.address(1));
        Some(Self { running, files, cache, directory })
    }

    fn root(&self) -> PathBuf {
        self.directory.path().join("root")
    }

    fn origin(&self) -> Storage {
        Storage::new(Fs::builder(self.root()).durable(false).build().unwrap())
    }

    fn tier(&self, mirror: SocketAddr) -> HttpCache {
        let url: Url = format!("http://{mirror}/").parse().unwrap();
        let builder = HttpCache::builder(vec![url], self.origin()).verify(Verify::Head);
        builder.header_timeout(GENEROUS).idle_timeout(GENEROUS).build().unwrap()
    }

    /// Returns the cache status of the last response for a key.
    fn cache_status(&self, key: &str) -> String {
        let mut socket = TcpStream::connect(self.cache).unwrap();
        write!(socket, "HEAD /{key} HTTP/1.0\r\n\r\n").unwrap();
        let mut response = String::new();
        socket.read_to_string(&mut response).unwrap();
        let line = response.lines().find_map(|line| line.strip_prefix("X-Cache: "));
        line.unwrap_or_default().to_owned()
    }
}

fn configuration(directory: &Path, [files, cache]: [u16; 2]) -> String {
    let at = |name: &str| directory.join(name).display().to_string();
    format!(
        "daemon off; master_process off; worker_processes 1; pid {pid}; error_log {log};
         events {{ worker_connections 64; }}
         http {{
             access_log off; client_body_temp_path {t1}; proxy_temp_path {t2}; fastcgi_temp_path {t3};
             uwsgi_temp_path {t4}; scgi_temp_path {t5};
             proxy_cache_path {kept} levels=1:2 keys_zone=kept:1m;
             server {{ listen 127.0.0.1:{files}; root {root}; }}
             server {{
                 listen 127.0.0.1:{cache};
                 location / {{
                     proxy_pass http://127.0.0.1:{files}; proxy_cache kept; proxy_cache_valid 200 1h;
                     add_header X-Cache $upstream_cache_status;
                 }}
                 location /slow/ {{ root {root}; limit_rate 64k; }}
             }}
         }}",
        pid = at("pid"),
        log = at("log"),
        t1 = at("t1"),
        t2 = at("t2"),
        t3 = at("t3"),
        t4 = at("t4"),
        t5 = at("t5"),
        kept = at("kept"),
        root = at("root"),
    )
}

fn body(len: usize) -> Bytes {
    (0..len as u64).map(|at| (at.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 37) as u8).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn nginx_as_a_file_server_serves_reads_and_ranges() {
    let Some(nginx) = Nginx::start() else { return };
    let cache = nginx.tier(nginx.files);
    let storage = Storage::new(cache.clone());
    let bytes = body(300_000);
    nginx.origin().save("a b/100%.bin", bytes.clone()).await.unwrap();
    assert_eq!(storage.open("a b/100%.bin").await.unwrap().bytes().await.unwrap(), bytes);
    let part = storage.open("a b/100%.bin").range(1000..).await.unwrap();
    assert_eq!(part.bytes().await.unwrap(), bytes.slice(1000..));
    let status = cache.status();
    assert_eq!((status.mirrors[0].hits, status.from_origin), (2, 0), "{status:?}");
    assert!(storage.open("missing").await.is_err());
    // A directory is not an object.
    assert!(storage.open("a b").await.is_err());
    let status = cache.status();
    assert_eq!((status.mirrors[0].misses, status.mirrors[0].failures), (2, 0), "{status:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn nginx_as_a_cache_serves_reads_until_the_size_changes() {
    let Some(nginx) = Nginx::start() else { return };
    let cache = nginx.tier(nginx.cache);
    let storage = Storage::new(cache.clone());
    nginx.origin().save("a.bin", body(200_000)).await.unwrap();
    for _ in 0..2 {
        assert_eq!(storage.open("a.bin").await.unwrap().bytes().await.unwrap(), body(200_000));
    }
    assert_eq!(nginx.cache_status("a.bin"), "HIT");
    assert_eq!(cache.status().mirrors[0].hits, 2);
    // The cache gets no purge. The memo detects the old version.
    nginx.origin().save("a.bin", body(100)).await.unwrap();
    storage.stat("a.bin").await.unwrap();
    assert_eq!(storage.open("a.bin").await.unwrap().bytes().await.unwrap(), body(100));
    assert_eq!(nginx.cache_status("a.bin"), "HIT", "the cache still has the old object");
    assert_eq!(cache.status().mirrors[0].stale, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_continues_at_origin_if_nginx_is_killed() {
    let Some(mut nginx) = Nginx::start() else { return };
    let cache = nginx.tier(nginx.cache);
    let storage = Storage::new(cache.clone());
    let bytes = body(4_000_000);
    nginx.origin().save("slow/a.bin", bytes.clone()).await.unwrap();
    let mut chunks = storage.open("slow/a.bin").await.unwrap().into_stream();
    let mut read = chunks.try_next().await.unwrap().unwrap().to_vec();
    nginx.running.kill();
    while let Some(chunk) = chunks.try_next().await.unwrap() {
        read.extend_from_slice(&chunk);
    }
    assert!(read == bytes, "the bytes differ");
    let status = cache.status();
    assert_eq!(
        status.mirrors[0].resumed_bodies, 1,
        "the body did not break off in the middle: {status:?}"
    );
    assert!(status.bytes_from_origin > 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn links_lead_to_nginx_if_it_has_the_file() {
    let Some(nginx) = Nginx::start() else { return };
    let public = "https://media.example.com/";
    let origin = Fs::builder(nginx.root())
        .durable(false)
        .public_url(public.parse().unwrap())
        .build()
        .unwrap();
    let mirror: Url = format!("http://{}/", nginx.files).parse().unwrap();
    let builder = HttpCache::builder(vec![mirror.clone()], Storage::new(origin));
    let cache = builder.verify(Verify::Head).header_timeout(GENEROUS);
    let storage = Storage::new(cache.build().unwrap());
    nginx.origin().save("a b.bin", "x").await.unwrap();
    assert_eq!(storage.url("a b.bin").await.unwrap().as_str(), format!("{mirror}a%20b.bin"));
    assert_eq!(storage.url("missing").await.unwrap().as_str(), format!("{public}missing"));
}
