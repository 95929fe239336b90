//! `uploads list` and `uploads abort`.

use crate::s3::S3;
use crate::serving::{Server, status};
use crate::support::Sandbox;

/// Begins uploads with the server and stops it. Each has a key that begins with its name.
fn begin(sandbox: &Sandbox, location: &str, names: &[&str]) {
    let server = Server::start(sandbox, &["--uploads", location]);
    for name in names {
        let headers = format!(
            "Tus-Resumable: 1.0.0\r\nUpload-Length: 9\r\nUpload-Metadata: filename {name}\r\n"
        );
        let response = server.request("POST /uploads", &headers, "");
        assert_eq!(status(&response), 201, "{response}");
    }
}

/// `a.txt` and `b.txt`.
const NAMES: [&str; 2] = ["YS50eHQ=", "Yi50eHQ="];

#[test]
fn unfinished_uploads_are_listed_by_prefix() {
    let sandbox = Sandbox::new();
    begin(&sandbox, "media:in", &NAMES);
    let listed = sandbox.run(&["uploads", "list", "media:"]).done();
    assert_eq!(listed.lines().count(), 2, "{listed}");
    assert!(listed.lines().next().unwrap().contains("Z  in/a-"), "{listed}");
    for arguments in
        [["media:in/b", ""], ["media:", "in/b"], ["media:in/", "b"], ["./media", "in/b"]]
    {
        let arguments: Vec<_> =
            ["uploads", "list", "--json"].into_iter().chain(arguments).collect();
        let listed = sandbox.run(&arguments).done();
        let upload: serde_json::Value = serde_json::from_str(&listed).unwrap();
        assert!(upload["key"].as_str().unwrap().starts_with("in/b-"), "{listed}");
        assert!(upload["begun"].as_str().unwrap().starts_with("20"), "{listed}");
        assert!(!upload["id"].is_null(), "{listed}");
    }
    assert_eq!(sandbox.run(&["uploads", "list", "media:", "none"]).done(), "");
}

#[test]
fn only_old_uploads_are_aborted() {
    let sandbox = Sandbox::new();
    begin(&sandbox, "media:", &NAMES);
    let list = || sandbox.run(&["uploads", "list", "media:"]).done();
    assert_eq!(sandbox.run(&["uploads", "abort", "media:"]).done(), "");
    assert_eq!(list().lines().count(), 2);
    let shown =
        sandbox.run(&["uploads", "abort", "-n", "--older-than", "0s", "media:", "a"]).done();
    assert!(shown.starts_with("media:a-") && shown.lines().count() == 1, "{shown}");
    assert_eq!(list().lines().count(), 2);
    assert_eq!(sandbox.run(&["uploads", "abort", "--older-than", "0s", "media:", "a"]).done(), "");
    let listed = list();
    assert!(listed.lines().count() == 1 && listed.contains("  b-"), "{listed}");
}

#[test]
fn an_upload_that_cannot_be_aborted_is_reported() {
    let sandbox = Sandbox::new();
    begin(&sandbox, "media:", &NAMES);
    let run = sandbox.run(&["uploads", "abort", "--older-than", "0s", "frozen:"]);
    assert_eq!(run.code, Some(1), "{}", run.err);
    assert!(run.err.contains("read-only"), "{}", run.err);
    assert_eq!(sandbox.run(&["uploads", "list", "media:"]).done().lines().count(), 2);
}

#[test]
fn wrong_arguments_of_uploads_are_usage_errors() {
    let sandbox = Sandbox::new();
    sandbox.put("media:a", "x");
    // A number alone would mean seconds.
    for age in ["soon", "7", "0"] {
        let error = sandbox.run(&["uploads", "abort", "--older-than", age, "media:"]).failed(2);
        assert!(error.contains("7d"), "{age}: {error}");
    }
    sandbox.run(&["uploads", "list", "nonesuch:"]).failed(2);
    sandbox.run(&["uploads", "list", "media:", "../a"]).failed(2);
    let error = sandbox.run(&["uploads", "list", "http://127.0.0.1:1/"]).failed(1);
    assert!(error.contains("Unsupported"), "{error}");
}

#[test]
fn the_uploads_of_a_bucket_are_listed_and_aborted() {
    let s3 = S3::new();
    let arguments = ["serve", "--listen", "127.0.0.1:0", "--uploads", "bucket:in"];
    let server = Server::spawn(&mut s3.command(&arguments));
    for _ in 0..2 {
        let headers = "Tus-Resumable: 1.0.0\r\nUpload-Length: 9\r\n";
        assert_eq!(status(&server.request("POST /uploads", headers, "")), 201);
    }
    drop(server);
    let listed = s3.run(&["uploads", "list", "bucket:"]).done();
    assert!(listed.lines().count() == 2 && listed.contains("Z  in/file-"), "{listed}");
    s3.run(&["uploads", "abort", "--older-than", "1h", "bucket:"]).done();
    assert_eq!(s3.run(&["uploads", "list", "bucket:"]).done(), listed);
    s3.run(&["uploads", "abort", "--older-than", "0s", "bucket:"]).done();
    assert_eq!(s3.run(&["uploads", "list", "bucket:"]).done(), "");
}
