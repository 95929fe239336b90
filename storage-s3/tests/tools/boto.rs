//! [`Boto`]: boto3's S3 client in a Python process, which runs one method after another
//! (`boto.py`).

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Stdio};

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::{Value, json};

/// The process, which ends when its input is closed.
pub(crate) struct Boto {
    _process: Child,
    requests: ChildStdin,
    responses: BufReader<ChildStdout>,
}

impl Boto {
    pub(crate) fn start(tools: &Path, variables: &BTreeMap<String, String>) -> Self {
        let mut process = super::aws::client(&tools.join("python3"), variables)
            .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/tools/boto.py"))
            .arg(&variables["STORAGE_S3_TEST_ENDPOINT"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let requests = process.stdin.take().unwrap();
        let responses = BufReader::new(process.stdout.take().unwrap());
        Self { _process: process, requests, responses }
    }

    /// Returns the result of the method, or the code of its error.
    pub(crate) fn call(&mut self, method: &str, arguments: &Value) -> Result<Value, String> {
        writeln!(self.requests, "{}", json!([method, arguments])).unwrap();
        let mut line = String::new();
        self.responses.read_line(&mut line).unwrap();
        assert!(!line.is_empty(), "the boto3 process has ended: see its output above");
        let mut response: Value = serde_json::from_str(&line).unwrap();
        match response.get("code") {
            Some(code) => Err(code.as_str().unwrap().to_owned()),
            None => Ok(response["ok"].take()),
        }
    }
}

/// Converts bytes to an argument.
pub(crate) fn body(bytes: &[u8]) -> Value {
    json!({ "base64": BASE64.encode(bytes) })
}

/// Returns the bytes of a response's body.
pub(crate) fn bytes(response: &Value) -> Vec<u8> {
    BASE64.decode(response["Body"]["base64"].as_str().unwrap()).unwrap()
}
