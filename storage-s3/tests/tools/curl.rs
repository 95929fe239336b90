//! curl, the most widespread HTTP client.

use std::path::Path;
use std::process::Command;
use std::sync::OnceLock;

use storage_core::{Checksum, ChecksumAlgorithm, Link, UrlMethod};
use tempfile::TempDir;

use super::run;

/// The response of a server.
#[derive(Debug)]
pub(crate) struct CurlResponse {
    pub(crate) status: u16,
    headers: String,
    pub(crate) body: Vec<u8>,
}

impl CurlResponse {
    /// Returns a header's value by its name in lower case.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let lines = self.headers.lines().filter_map(|line| line.split_once(':'));
        lines
            .into_iter()
            .find(|(other, _)| other.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.trim())
    }

    /// Returns S3's error code, or an empty text if there is none.
    pub(crate) fn code(&self) -> String {
        let body = String::from_utf8_lossy(&self.body);
        let code = body.split_once("<Code>").and_then(|(_, rest)| rest.split_once("</Code>"));
        code.map(|(code, _)| code.to_owned()).unwrap_or_default()
    }
}

/// Returns whether curl is installed. Otherwise prints that tests are skipped.
pub(crate) fn is_installed() -> bool {
    static IS_INSTALLED: OnceLock<bool> = OnceLock::new();
    *IS_INSTALLED.get_or_init(|| {
        let is_installed = Command::new("curl")
            .arg("--version")
            .output()
            .is_ok_and(|output| output.status.success());
        if !is_installed {
            crate::common::skip("links, by curl", "it is not installed");
        }
        is_installed
    })
}

/// Runs curl.
pub(crate) fn curl<A: AsRef<str>>(arguments: &[A]) -> CurlResponse {
    let directory = TempDir::new().unwrap();
    let (headers, body) = (directory.path().join("headers"), directory.path().join("body"));
    // Ignores the user's configuration, and allows only loopback addresses.
    let mut command = Command::new("curl");
    command.args([
        "-q",
        "--silent",
        "--show-error",
        "--noproxy",
        "*",
        "--max-time",
        "60",
        "--write-out",
        "%{http_code}",
    ]);
    command.arg("--dump-header").arg(&headers).arg("--output").arg(&body);
    let status = run(command.args(arguments.iter().map(AsRef::as_ref)));
    // The last head, after any `100 Continue`.
    let headers =
        String::from_utf8_lossy(&std::fs::read(headers).unwrap_or_default()).replace("\r\n", "\n");
    let headers = headers.trim_end().rsplit("\n\n").next().unwrap_or_default().to_owned();
    CurlResponse {
        status: String::from_utf8(status).unwrap().parse().unwrap(),
        headers,
        body: std::fs::read(body).unwrap_or_default(),
    }
}

/// Sends a request that the driver does not have, signed by curl. Returns the status.
pub(crate) fn signed(user: &str, method: &str, url: &str, body: &str) -> u16 {
    let digest = Checksum::of(ChecksumAlgorithm::Sha256, body.as_bytes()).to_hex();
    let digest = format!("x-amz-content-sha256: {digest}");
    let mut arguments = vec!["--aws-sigv4", "aws:amz:us-east-1:s3", "--user", user];
    arguments.extend(["--request", method, "--header", &digest, url]);
    if !body.is_empty() {
        arguments.extend(["--data-binary", body]);
    }
    curl(&arguments).status
}

/// Follows a link for GET or HEAD.
pub(crate) fn follow(link: &Link) -> CurlResponse {
    match link.method {
        UrlMethod::Head => curl(&["--head", link.as_str()]),
        _ => curl(&[link.as_str()]),
    }
}

/// Uploads a file by a link for PUT, with its headers and others.
pub(crate) fn put(link: &Link, file: &Path, headers: &[&str]) -> CurlResponse {
    let mut arguments = vec![
        "--upload-file".to_owned(),
        file.to_str().unwrap().to_owned(),
        link.as_str().to_owned(),
    ];
    for header in
        link.headers.iter().map(|(name, value)| format!("{name}: {value}")).chain(owned(headers))
    {
        arguments.extend(["--header".to_owned(), header]);
    }
    curl(&arguments)
}

/// Uploads a file by a form, with the fields of a link for POST. `file` follows `file=@` in curl's
/// option `--form`.
pub(crate) fn post(link: &Link, file: &str) -> CurlResponse {
    let mut arguments = Vec::new();
    for (name, value) in &link.fields {
        arguments.extend(["--form-string".to_owned(), format!("{name}={value}")]);
    }
    arguments.extend(["--form".to_owned(), format!("file=@{file}"), link.as_str().to_owned()]);
    curl(&arguments)
}

fn owned<'a>(texts: &'a [&'a str]) -> impl Iterator<Item = String> + 'a {
    texts.iter().map(|&text| text.to_owned())
}
