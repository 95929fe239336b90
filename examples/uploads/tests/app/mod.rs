//! The application in a separate process, and a client.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use reqwest::header::CONTENT_TYPE;
use reqwest::redirect::Policy;
use reqwest::{Client, Response};
use tempfile::TempDir;

const BOUNDARY: &str = "----a-boundary";
const MULTIPART: &str = "multipart/form-data; boundary=----a-boundary";

pub(crate) struct App {
    process: Child,
    client: Client,
    pub(crate) url: String,
    directory: TempDir,
}

impl Drop for App {
    fn drop(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}

/// A file in the list of the page.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct ListedFile {
    pub(crate) name: String,
    pub(crate) link: String,
    pub(crate) size: String,
    pub(crate) kind: String,
    pub(crate) delete: String,
}

impl App {
    pub(crate) fn on_disk() -> Self {
        Self::start("[storages.default]\ndriver = 'fs'\nroot = 'ROOT'\n")
    }

    pub(crate) fn in_memory() -> Self {
        Self::start("[storages.default]\ndriver = 'memory'\n")
    }

    /// Uses a mirror at an address where no server listens.
    pub(crate) fn behind_a_dead_mirror() -> Self {
        Self::start(
            "[storages.default]\ndriver = 'http-cache'\nmirror = 'http://127.0.0.1:1/'\norigin = 'media'\n\n\
             [storages.media]\ndriver = 'fs'\nroot = 'ROOT'\n",
        )
    }

    /// Starts the application. `ROOT` in the configuration is a temporary directory.
    pub(crate) fn start(configuration: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path().join("root");
        let file = directory.path().join("storages.toml");
        std::fs::write(&file, configuration.replace("ROOT", root.to_str().unwrap())).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_uploads"));
        for (name, _) in
            std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("STORAGE_"))
        {
            command.env_remove(name);
        }
        command.env("STORAGE_CONFIG", file).env("LISTEN", "127.0.0.1:0").stdout(Stdio::piped());
        let mut process = command.spawn().unwrap();
        let mut stdout = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut stdout).unwrap();
        let url = stdout.split_whitespace().find(|word| word.starts_with("http://")).unwrap();
        let url = url.trim_end_matches("/,").to_owned();
        let client = Client::builder().redirect(Policy::none()).no_proxy().build().unwrap();
        Self { process, client, url, directory }
    }

    /// Returns all files below the root of the storage.
    pub(crate) fn files_on_disk(&self) -> Vec<PathBuf> {
        let mut found = Vec::new();
        files_below(&self.directory.path().join("root"), &mut found);
        found
    }

    pub(crate) async fn get(&self, path: &str) -> Response {
        self.client.get(format!("{}{path}", self.url)).send().await.unwrap()
    }

    pub(crate) async fn post(
        &self,
        path: &str,
        content_type: &str,
        body: impl Into<Vec<u8>>,
    ) -> Response {
        let request =
            self.client.post(format!("{}{path}", self.url)).header(CONTENT_TYPE, content_type);
        request.body(body.into()).send().await.unwrap()
    }

    pub(crate) async fn post_form(&self, body: impl Into<Vec<u8>>) -> Response {
        self.post("/", MULTIPART, body).await
    }

    pub(crate) async fn upload(&self, files: &[(&str, &[u8])]) -> Response {
        self.post_form(form(files)).await
    }

    /// Returns the files in the list of the page.
    pub(crate) async fn listed(&self) -> Vec<ListedFile> {
        let page = self.get("/").await;
        assert_eq!(page.status(), 200);
        let page = page.text().await.unwrap();
        page.lines().filter(|line| line.starts_with("<tr><td>")).map(ListedFile::from_row).collect()
    }
}

impl ListedFile {
    fn from_row(row: &str) -> Self {
        let between = |start: &str, end: &str| {
            let rest = row.split_once(start).unwrap().1;
            rest.split_once(end).unwrap().0.to_owned()
        };
        let cells: Vec<_> = row.split("<td>").collect();
        Self {
            name: between("\">", "</a>"),
            link: between("href=\"", "\"").replace("&amp;", "&"),
            size: cells[2].to_owned(),
            kind: cells[3].to_owned(),
            delete: between("action=\"", "\""),
        }
    }
}

/// Returns the body of a form with these files, as a browser sends it.
pub(crate) fn form(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut body = Vec::new();
    for (name, bytes) in files {
        let head = format!(
            "--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"files\"; filename=\"{name}\"\r\n\
             Content-Type: image/png\r\n\r\n"
        );
        body.extend_from_slice(head.as_bytes());
        body.extend_from_slice(bytes);
        body.extend_from_slice(b"\r\n");
    }
    body.extend_from_slice(format!("--{BOUNDARY}--\r\n").as_bytes());
    body
}

fn files_below(directory: &Path, found: &mut Vec<PathBuf>) {
    let Ok(entries) = std::fs::read_dir(directory) else { return };
    for entry in entries.map(Result::unwrap) {
        if entry.file_type().unwrap().is_dir() {
            files_below(&entry.path(), found);
        } else {
            found.push(entry.path());
        }
    }
}
