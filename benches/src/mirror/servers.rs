//! The servers to measure, each a process on the first core: the mirror, and nginx with
//! `proxy_cache`.

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use clap::Args;
use storage_core::Storage;
use storage_http::Http;
use storage_mirror::Server;

use crate::peers::Result;

/// How long a server may take to start.
const START_TIMEOUT: Duration = Duration::from_secs(10);

/// The arguments of the mirror process.
#[derive(Args)]
pub struct ServerArguments {
    #[arg(long)]
    port: u16,
    #[arg(long)]
    origin: String,
    #[arg(long)]
    cache_dir: PathBuf,
}

impl ServerArguments {
    pub fn run(&self) -> Result<()> {
        let config = serde_json::json!({
            "listen": format!("127.0.0.1:{}", self.port),
            "cache_dir": self.cache_dir,
            "max_size": "40GiB",
            "max_object_size": "4GiB",
            "workers": 1,
        });
        let origin = Http::builder(self.origin.parse()?).build()?;
        Ok(Server::bind(serde_json::from_value(config)?, Storage::new(origin))?.run()?)
    }
}

/// A running server, which is stopped on drop.
pub struct Process {
    pub name: &'static str,
    pub port: u16,
    child: Child,
    /// The process that handles requests. The worker of nginx is a child of the started process.
    pub pid: u32,
}

impl Process {
    /// Starts the mirror of an origin.
    pub fn ours(dir: &Path, origin: &str) -> Result<Self> {
        let port = free_port()?;
        let cache = empty_dir(dir, "ours")?;
        let mut command =
            on_first_core(std::env::current_exe()?.to_str().ok_or("a path that is not UTF-8")?);
        command
            .arg("mirror-server")
            .args(["--port", &port.to_string(), "--origin", origin])
            .arg("--cache-dir")
            .arg(cache);
        let child = command.spawn()?;
        let pid = child.id();
        wait_for_port(port)?;
        Ok(Self { name: "anystorage mirror", port, child, pid })
    }

    /// Starts nginx with `proxy_cache` for the same origin.
    pub fn nginx(dir: &Path, origin: &str) -> Result<Self> {
        let dir = empty_dir(dir, "nginx")?;
        let locations = format!(
            "location / {{ proxy_pass {origin}; proxy_http_version 1.1; \
             proxy_set_header Connection \"\"; proxy_cache bench; proxy_cache_lock on; \
             proxy_cache_lock_timeout 60s; proxy_cache_lock_age 60s; proxy_cache_valid 200 1h; }}"
        );
        let cache = format!(
            "proxy_cache_path {}/cache keys_zone=bench:10m max_size=40g use_temp_path=off;",
            dir.display()
        );
        start_nginx(&dir, "nginx proxy_cache", &cache, &locations)
    }

    /// Starts nginx as the origin, serving a directory.
    pub fn files(dir: &Path, root: &Path) -> Result<Self> {
        let dir = empty_dir(dir, "origin")?;
        start_nginx(
            &dir,
            "nginx",
            "",
            &format!(
                "location / {{ root {}; add_header Cache-Control max-age=3600; }}",
                root.display()
            ),
        )
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Returns the processor time so far.
    pub fn processor(&self) -> Result<Duration> {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.pid))?;
        // The name in parentheses may contain spaces. `utime` and `stime` are in hundredths of a
        // second.
        let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
        Ok(Duration::from_millis(
            fields.skip(11).take(2).filter_map(|field| field.parse::<u64>().ok()).sum::<u64>() * 10,
        ))
    }

    /// Returns the peak memory in MiB.
    pub fn peak_memory(&self) -> Result<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).ok_or("no VmHWM")?;
        Ok(line.trim().trim_end_matches(" kB").parse::<u64>()? / 1024)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // The master of nginx stops its worker only on SIGTERM.
        let _ = Command::new("kill").arg(self.child.id().to_string()).status();
        let _ = self.child.wait();
    }
}

fn start_nginx(dir: &Path, name: &'static str, http: &str, locations: &str) -> Result<Process> {
    let port = free_port()?;
    let shown = dir.display();
    let text = format!(
        "worker_processes 1; daemon off; pid {shown}/pid; error_log {shown}/error.log;\n\
         events {{ worker_connections 4096; }}\n\
         http {{ access_log off; sendfile on; tcp_nodelay on; tcp_nopush off;\n\
         keepalive_requests 1000000000; client_body_temp_path {shown}/body;\n\
         proxy_temp_path {shown}/proxy; fastcgi_temp_path {shown}/f;\n\
         uwsgi_temp_path {shown}/u; scgi_temp_path {shown}/s;\n{http}\n\
         server {{ listen 127.0.0.1:{port}; {locations} }} }}\n"
    );
    let config = dir.join("nginx.conf");
    fs::write(&config, text)?;
    let child = on_first_core("nginx")
        .arg("-c")
        .arg(&config)
        .args(["-e", &format!("{shown}/error.log")])
        .spawn()?;
    wait_for_port(port)?;
    let children = fs::read_to_string(format!("/proc/{0}/task/{0}/children", child.id()))?;
    let pid = children.split_whitespace().next().ok_or("nginx has no worker")?.parse()?;
    Ok(Process { name, port, child, pid })
}

/// Runs a program on the first core. The clients run on the second one.
fn on_first_core(program: &str) -> Command {
    let mut command = Command::new("taskset");
    command.args(["-c", "0", program]).stdin(Stdio::null()).stdout(Stdio::null());
    command
}

fn empty_dir(dir: &Path, name: &str) -> Result<PathBuf> {
    let dir = dir.join(name);
    if dir.exists() {
        fs::remove_dir_all(&dir)?;
    }
    fs::create_dir_all(&dir)?;
    // If root starts nginx, its worker runs as another user.
    let open = std::os::unix::fs::PermissionsExt::from_mode(0o777);
    fs::set_permissions(&dir, open)?;
    Ok(dir)
}

fn free_port() -> Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

fn wait_for_port(port: u16) -> Result<()> {
    let end = Instant::now() + START_TIMEOUT;
    while TcpStream::connect(("127.0.0.1", port)).is_err() {
        if Instant::now() > end {
            return Err(format!("no server listens at port {port}").into());
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}
