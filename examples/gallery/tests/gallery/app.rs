//! The application on a port, and a client.

use anystorage::layers::PublicUrl;
use anystorage::signed_url::SigningKey;
use anystorage::{Memory, Storage, fs::Fs};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use gallery::Settings;
use image::RgbImage;
use reqwest::redirect::Policy;
use reqwest::{Client, RequestBuilder, Response};
use tempfile::TempDir;
use tokio::net::TcpListener;

pub(crate) const PASSWORD: &str = "let me in";
pub(crate) const MAX_SIZE: u64 = 10 << 20;
const SECRET: &str = "a secret of many bytes";

pub(crate) struct App {
    pub(crate) storage: Storage,
    client: Client,
    url: String,
    _root: TempDir,
}

/// A picture on the page.
#[derive(Debug, PartialEq)]
pub(crate) struct Shown {
    pub(crate) name: String,
    pub(crate) thumbnail: String,
    pub(crate) original: Option<String>,
    pub(crate) is_own: bool,
}

pub(crate) fn memory() -> Storage {
    let (base, key) = ("/media/".parse().unwrap(), SigningKey::new(SECRET).unwrap());
    Memory::storage().layer(|inner| PublicUrl::new(inner, base).signing_key(key))
}

impl App {
    pub(crate) async fn in_memory() -> Self {
        Self::on(memory()).await
    }

    pub(crate) async fn on(storage: Storage) -> Self {
        Self::start(storage, SECRET, tempfile::tempdir().unwrap()).await
    }

    pub(crate) async fn with_secret(secret: &str) -> Self {
        Self::start(memory(), secret, tempfile::tempdir().unwrap()).await
    }

    pub(crate) async fn on_disk() -> Self {
        let root = tempfile::tempdir().unwrap();
        let (base, key) = ("/media/".parse().unwrap(), SigningKey::new(SECRET).unwrap());
        let fs = Fs::builder(root.path()).public_url(base).signing_key(key).build().unwrap();
        Self::start(Storage::new(fs), SECRET, root).await
    }

    async fn start(storage: Storage, secret: &str, root: TempDir) -> Self {
        let settings = Settings {
            password: PASSWORD.to_owned(),
            secret: secret.to_owned(),
            max_size: MAX_SIZE,
            widget: root.path().join("none"),
        };
        let (router, _) = gallery::router(&storage, &settings).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        let client = Client::builder().redirect(Policy::none()).no_proxy().build().unwrap();
        Self { storage, client, url, _root: root }
    }

    fn absolute(&self, path: &str) -> String {
        if path.starts_with('/') { format!("{}{path}", self.url) } else { path.to_owned() }
    }

    pub(crate) async fn get(&self, path: &str, cookie: &str) -> Response {
        self.client.get(self.absolute(path)).header("cookie", cookie).send().await.unwrap()
    }

    pub(crate) async fn get_range(&self, path: &str, range: &str) -> Response {
        self.client.get(self.absolute(path)).header("range", range).send().await.unwrap()
    }

    pub(crate) async fn post_sign_in(&self, user: &str, password: &str) -> Response {
        self.sign_in_form(user, password).send().await.unwrap()
    }

    /// Signs in by a form of a page whose origin has this relation to the application.
    pub(crate) async fn post_sign_in_from(&self, site: &str) -> Response {
        self.sign_in_form("ada", PASSWORD).header("sec-fetch-site", site).send().await.unwrap()
    }

    fn sign_in_form(&self, user: &str, password: &str) -> RequestBuilder {
        let mut form = url::form_urlencoded::Serializer::new(String::new());
        let body = form.append_pair("user", user).append_pair("password", password).finish();
        self.client.post(self.absolute("/sign-in")).body(body)
    }

    /// Returns the cookie of a session.
    pub(crate) async fn sign_in(&self, user: &str) -> String {
        let response = self.post_sign_in(user, PASSWORD).await;
        assert_eq!(response.status(), 303);
        let cookie = response.headers()["set-cookie"].to_str().unwrap();
        assert!(cookie.contains("HttpOnly") && cookie.contains("SameSite=Lax"), "{cookie}");
        cookie.split(';').next().unwrap().to_owned()
    }

    fn tus(&self, request: RequestBuilder) -> RequestBuilder {
        request.header("tus-resumable", "1.0.0")
    }

    pub(crate) async fn begin(&self, cookie: &str, name: &str, kind: &str, size: u64) -> Response {
        let (name, kind) = (STANDARD.encode(name), STANDARD.encode(kind));
        self.tus(self.client.post(self.absolute("/uploads")))
            .header("cookie", cookie)
            .header("upload-length", size)
            .header("upload-metadata", format!("filename {name},filetype {kind}"))
            .send()
            .await
            .unwrap()
    }

    /// Sends bytes at an offset, without a session.
    pub(crate) async fn append(&self, upload: &str, offset: usize, bytes: &[u8]) -> u16 {
        let request = self
            .tus(self.client.patch(self.absolute(upload)))
            .header("upload-offset", offset)
            .header("content-type", "application/offset+octet-stream")
            .body(bytes.to_vec());
        request.send().await.unwrap().status().as_u16()
    }

    pub(crate) async fn head(&self, upload: &str) -> Response {
        self.tus(self.client.head(self.absolute(upload))).send().await.unwrap()
    }

    pub(crate) async fn offset(&self, upload: &str) -> u64 {
        let response = self.head(upload).await;
        assert_eq!(response.status(), 200);
        response.headers()["upload-offset"].to_str().unwrap().parse().unwrap()
    }

    /// Sends what is missing of a file, as clients do after an error.
    pub(crate) async fn finish(&self, upload: &str, bytes: &[u8]) {
        let offset = self.offset(upload).await as usize;
        if offset < bytes.len() {
            assert_eq!(self.append(upload, offset, &bytes[offset..]).await, 204);
        }
    }

    /// Uploads a file in two requests. Returns the status of the last one.
    pub(crate) async fn upload(&self, cookie: &str, name: &str, kind: &str, bytes: &[u8]) -> u16 {
        let begun = self.begin(cookie, name, kind, bytes.len() as u64).await;
        assert_eq!(begun.status(), 201);
        let upload = begun.headers()["location"].to_str().unwrap();
        let (first, rest) = bytes.split_at(bytes.len() / 2);
        assert_eq!(self.append(upload, 0, first).await, 204);
        self.append(upload, first.len(), rest).await
    }

    pub(crate) async fn delete(&self, cookie: &str, key: &str) -> Response {
        let mut url: url::Url = self.url.parse().unwrap();
        // Keeps `..` as text of the last segments.
        let path = format!("/delete{}", key.replace("..", "%2e%2e%2f.."));
        url.set_path(&path);
        self.client.post(url).header("cookie", cookie).send().await.unwrap()
    }

    pub(crate) async fn shown(&self, cookie: &str) -> Vec<Shown> {
        let page = self.get("/", cookie).await;
        assert_eq!(page.status(), 200);
        let page = page.text().await.unwrap();
        page.lines().filter(|line| line.starts_with("<li>")).map(Shown::from_line).collect()
    }

    /// Returns the thumbnail of the only picture.
    pub(crate) async fn thumbnail_of(&self, cookie: &str) -> RgbImage {
        let [shown] = self.shown(cookie).await.try_into().unwrap();
        let thumbnail = self.get(&shown.thumbnail, "").await.bytes().await.unwrap();
        image::load_from_memory(&thumbnail).unwrap().into_rgb8()
    }

    /// Returns how many objects are below a prefix.
    pub(crate) async fn keys(&self, prefix: &str) -> usize {
        self.storage.list(prefix).keys().await.unwrap().len()
    }
}

impl Shown {
    fn from_line(line: &str) -> Self {
        let between = |start: &str, end: &str| {
            let rest = line.split_once(start)?.1;
            Some(rest.split_once(end)?.0.replace("&amp;", "&"))
        };
        Self {
            name: between("<b>", "</b>").unwrap(),
            thumbnail: between("src=\"", "\"").unwrap(),
            original: between("<a href=\"", "\""),
            is_own: line.contains("action=\"/delete/"),
        }
    }
}
