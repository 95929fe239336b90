//! All commands on a bucket of a server in the test process.

use std::collections::BTreeMap;
use std::io::Write;
use std::process::{Command, Stdio};

use rustix::process::Signal;
use storage_testkit::http::{Peer, Response};

use crate::inventory::{MANIFEST, write_inventory};
use crate::server::{ACCESS_KEY_ID, Bucket, SECRET_ACCESS_KEY, Server};
use crate::support::{Run, Sandbox, run, signal, wait_until};

/// A sandbox with a bucket, as the storage `bucket` of its configuration and as a URL.
pub(crate) struct S3 {
    pub(crate) sandbox: Sandbox,
    bucket: Bucket,
}

impl S3 {
    pub(crate) fn new() -> Self {
        let (sandbox, bucket) = (Sandbox::new(), Server::get().bucket());
        let config = format!(
            "[storages.bucket]\ndriver = 's3'\nbucket = '{}'\nendpoint = '{}'\nregion = 'us-east-1'\nquirks = 'minio'\n\
             allow_http = true\naccess_key_id = '{ACCESS_KEY_ID}'\nsecret_access_key = '${{THE_SECRET}}'\n\
             [storages.media]\ndriver = 'fs'\nroot = 'media'",
            bucket.name(),
            Server::get().endpoint()
        );
        sandbox.write("storages.toml", config);
        Self { sandbox, bucket }
    }

    /// Lets several processes write the bucket on conditions.
    pub(crate) fn shared(self) -> Self {
        self.bucket.take_turns();
        self
    }

    /// Returns the URL of a key, with the options in its query.
    fn url(&self, key: &str) -> String {
        let endpoint = Server::get().endpoint();
        format!(
            "s3://{}/{key}?endpoint={endpoint}&allow_http=true&quirks=minio&region=us-east-1",
            self.bucket.name()
        )
    }

    /// Returns the command with credentials in an otherwise empty environment.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = self.sandbox.command(arguments);
        command.env("HOME", self.sandbox.path("")).env("THE_SECRET", SECRET_ACCESS_KEY);
        command
            .env("AWS_ACCESS_KEY_ID", ACCESS_KEY_ID)
            .env("AWS_SECRET_ACCESS_KEY", SECRET_ACCESS_KEY);
        command
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Run {
        run(&mut self.command(arguments))
    }

    fn feed(&self, arguments: &[&str], input: &[u8]) -> Run {
        let mut child = self.command(arguments).stdin(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(input).unwrap();
        Run::from(child.wait_with_output().unwrap())
    }

    fn put(&self, location: &str, text: &str) {
        self.feed(&["put", "-", location], text.as_bytes()).done();
    }

    pub(crate) fn requests(&self) -> BTreeMap<&'static str, usize> {
        self.bucket.requests().take()
    }
}

#[test]
fn all_commands_work_on_a_bucket() {
    let s3 = S3::new();
    s3.sandbox.write("style.css", "body {}");
    s3.run(&[
        "put",
        "--cache-control",
        "no-store",
        "--meta",
        "author=Löveläce",
        "style.css",
        "bucket:css/",
    ])
    .done();
    s3.put("bucket:a b/ü?.txt", "0123456789");
    assert_eq!(s3.run(&["ls", "bucket:"]).done(), "a b/\ncss/\n");
    assert_eq!(s3.run(&["ls", "-r", "bucket:"]).done(), "a b/ü?.txt\ncss/style.css\n");
    assert!(s3.run(&["ls", "-l", "bucket:css/"]).done().contains("             7  20"));
    let shown = s3.run(&["stat", "bucket:css/style.css"]).done();
    for line in [
        "size: 7",
        "content_type: text/css; charset=utf-8",
        "cache_control: no-store",
        "user_metadata.author: Löveläce",
    ] {
        assert!(shown.lines().any(|shown| shown == line), "{line} is missing in {shown}");
    }
    assert_eq!(s3.run(&["exists", "bucket:css/style.css"]).silent(), 0);
    assert_eq!(s3.run(&["exists", "bucket:css/nothing.css"]).silent(), 1);
    assert_eq!(s3.run(&["cat", "--range", "8-", "bucket:a b/ü?.txt"]).done(), "89");
    s3.run(&["get", "bucket:a b/ü?.txt", "copy.txt"]).done();
    assert_eq!(s3.sandbox.read("copy.txt"), "0123456789");
    s3.run(&["cp", "bucket:css/style.css", "media:"]).done();
    s3.run(&["mv", "media:style.css", "bucket:new/"]).done();
    let shown = s3.run(&["stat", "bucket:new/style.css"]).done();
    assert!(
        shown.contains("cache_control: no-store")
            && shown.contains("user_metadata.author: Löveläce"),
        "{shown}"
    );
    assert_eq!(
        s3.run(&["rm", "bucket:new/style.css", "bucket:css/style.css", "bucket:nothing"]).silent(),
        0
    );
    assert_eq!(s3.run(&["ls", "-r", "bucket:"]).done(), "a b/ü?.txt\n");
}

#[test]
fn a_url_and_a_name_reach_the_same_object() {
    let s3 = S3::new();
    s3.put(&s3.url("dir/a%20b.txt"), "here");
    assert_eq!(s3.run(&["cat", "bucket:dir/a b.txt"]).done(), "here");
    assert_eq!(s3.run(&["cat", &s3.url("dir/a%20b.txt")]).done(), "here");
    for directory in ["", "dir", "dir/"] {
        assert_eq!(s3.run(&["ls", "-r", &s3.url(directory)]).done(), "dir/a b.txt\n");
    }
    let error = s3.run(&["cat", &s3.url("dir/nothing")]).failed(1);
    let place = format!("anystorage: s3://{}/dir/nothing: ", s3.bucket.name());
    assert!(error.starts_with(&place) && error.contains("NotFound, open on s3"), "{error}");
    assert!(s3.run(&["cat", &s3.url("dir//a")]).failed(2).contains("InvalidKey"));
}

#[test]
fn cp_within_a_bucket_uses_copy_object() {
    let s3 = S3::new();
    s3.put("bucket:a/1", "one");
    s3.requests();
    s3.run(&["cp", "bucket:a/1", "bucket:b/2"]).done();
    s3.run(&["cp", &s3.url("a/1"), &s3.url("c/")]).done();
    let requests = s3.requests();
    assert_eq!(
        (requests.get("CopyObject"), requests.get("GetObject"), requests.get("PutObject")),
        (Some(&2), None, None)
    );
    assert_eq!(s3.run(&["ls", "-r", "bucket:"]).done(), "a/1\nb/2\nc/1\n");
    for (from, to) in [("bucket:a/1", s3.url("a/1")), (&s3.url("a/1"), "bucket:a/".to_owned())] {
        assert!(s3.run(&["mv", from, &to]).failed(1).contains("the same object"), "{from} {to}");
    }
    assert_eq!(s3.run(&["cat", "bucket:a/1"]).done(), "one");
}

#[test]
fn a_move_between_two_addresses_of_a_bucket_keeps_the_object() {
    let s3 = S3::new();
    let config = s3.sandbox.read("storages.toml");
    let again =
        config.replace("[storages.bucket]", "[storages.again]").replace("127.0.0.1", "localhost");
    let again = again.split("[storages.media]").next().unwrap();
    s3.sandbox.write("storages.toml", format!("{config}\n{again}"));
    s3.put("bucket:a", "kept");
    for (from, to) in [("bucket:a", "again:a"), ("again:a", "bucket:a")] {
        let error = s3.run(&["mv", from, to]).failed(1);
        assert!(error.contains("may be the same object; nothing was changed"), "{error}");
        assert_eq!(s3.run(&["cat", "bucket:a"]).done(), "kept");
    }
    // A different object is replaced, even if it is as new as the source.
    s3.put("media:a", "another one");
    s3.run(&["mv", "bucket:a", "media:a"]).done();
    assert_eq!(s3.run(&["cat", "media:a"]).done(), "kept");
    assert_eq!(s3.run(&["exists", "bucket:a"]).silent(), 1);
}

/// Uploads an object with a header that the command never sends, through a signed link.
fn put_raw(s3: &S3, location: &str, header: &str) {
    use std::io::Read;
    let link = s3.run(&["url", "--method", "PUT", "--expires", "1h", location]).done();
    let (address, path) = link.trim_end().strip_prefix("http://").unwrap().split_once('/').unwrap();
    let mut stream = std::net::TcpStream::connect(address).unwrap();
    let request = format!(
        "PUT /{path} HTTP/1.1\r\nHost: {address}\r\n{header}\r\nContent-Length: 1\r\nConnection: close\r\n\r\nx"
    );
    stream.write_all(request.as_bytes()).unwrap();
    let mut response = String::new();
    stream.read_to_string(&mut response).unwrap();
    assert!(response.starts_with("HTTP/1.1 200"), "{response}");
}

#[test]
fn cp_r_handles_invalid_metadata_as_the_option_sets() {
    let s3 = S3::new();
    s3.put("bucket:a/1", "1");
    put_raw(&s3, "bucket:a/2", "Content-Type: jpg");
    let run = s3.run(&["cp", "-r", "bucket:a", "media:x"]);
    assert_eq!(run.code, Some(1));
    assert!(
        run.err.contains("bucket:a/2 -> media:x/2: ")
            && run.err.contains("--metadata drop-invalid"),
        "{}",
        run.err
    );
    let run = s3.run(&["cp", "-r", "--metadata", "drop-invalid", "bucket:a", "media:x"]);
    assert_eq!(run.code, Some(0), "{}", run.err);
    assert!(
        run.err.starts_with("anystorage: a/2: dropped from the metadata: content_type: "),
        "{}",
        run.err
    );
    assert_eq!(run.err.lines().count(), 1, "{}", run.err);
    assert_eq!(s3.run(&["cat", "media:x/2"]).done(), "x");
    // S3 keeps invalid metadata in a copy within the bucket, unless an option changes it.
    s3.run(&["cp", "bucket:a/2", "bucket:same"]).done();
    assert!(s3.run(&["stat", "bucket:same"]).done().contains("content_type: jpg\n"));
    s3.run(&["cp", "--content-type", "image/jpeg", "bucket:a/2", "bucket:other"]).done();
    assert!(s3.run(&["stat", "bucket:other"]).done().contains("content_type: image/jpeg\n"));
}

#[test]
fn cp_r_copies_a_directory_to_a_bucket_and_back() {
    let s3 = S3::new();
    for name in ["a.txt", "b/c.txt", "b/d/e.txt"] {
        s3.sandbox.write(&format!("local/{name}"), name);
    }
    s3.run(&["cp", "-r", "./local", &s3.url("site")]).done();
    assert_eq!(
        s3.run(&["ls", "-r", "bucket:"]).done(),
        "site/a.txt\nsite/b/c.txt\nsite/b/d/e.txt\n"
    );
    s3.run(&["cp", "-r", "bucket:site/b", "./back"]).done();
    assert_eq!(s3.sandbox.read("back/d/e.txt"), "b/d/e.txt");
    assert!(
        s3.run(&["cp", "-r", "bucket:site", &s3.url("site/again")])
            .failed(1)
            .contains("inside the other")
    );
}

/// Consoles show an empty folder with a marker, an empty object `photos/`.
#[test]
fn rm_r_deletes_a_folder_marker_and_rm_does_not() {
    let marker = "<Contents><Key>photos/</Key><LastModified>2026-01-01T00:00:00.000Z</LastModified>\
                  <ETag>&quot;d41d8cd98f00b204e9800998ecf8427e&quot;</ETag><Size>0</Size></Contents>";
    let listing = format!("<ListBucketResult>{marker}</ListBucketResult>");
    let (sandbox, fake) = (
        Sandbox::new(),
        Peer::start(move |request| match &*request.method {
            "GET" => Response::ok(listing.clone()),
            "HEAD" if !request.target.ends_with("photos/") => Response::new("404 Not Found"),
            _ => Response::new("200 OK"),
        }),
    );
    let config = format!(
        "[storages.bucket]\ndriver = 's3'\nbucket = 'b'\nendpoint = 'http://{}'\nquirks = 'minio'\nallow_http = true\n\
         anonymous = true\n",
        fake.address()
    );
    sandbox.write("storages.toml", config);
    let error = sandbox.run(&["rm", "bucket:photos"]).failed(1);
    assert!(error.contains("it is a directory: anystorage rm -r bucket:photos/ "), "{error}");
    assert_eq!(fake.count("DELETE"), 0, "{:?}", fake.requests());
    assert_eq!(sandbox.run(&["rm", "-r", "bucket:photos"]).silent(), 0);
    assert!(fake.count("DELETE") > 0, "{:?}", fake.requests());
}

#[test]
fn rm_deletes_many_objects_with_one_request() {
    let s3 = S3::new();
    let locations: Vec<_> = (0..20).map(|number| format!("bucket:{number}")).collect();
    for location in &locations {
        s3.put(location, "x");
    }
    s3.requests();
    let arguments: Vec<_> =
        ["rm"].into_iter().chain(locations.iter().map(String::as_str)).collect();
    assert_eq!(s3.run(&arguments).silent(), 0);
    assert_eq!(s3.requests(), BTreeMap::from([("DeleteObjects", 1)]));
    assert_eq!(s3.run(&["ls", "-r", "bucket:"]).done(), "");
}

#[test]
fn put_uploads_a_large_object_in_parts() {
    let s3 = S3::new();
    let bytes: Vec<u8> = (0..=255).cycle().take(20 << 20).collect();
    s3.feed(&["put", "-", "bucket:large"], &bytes).done();
    let requests = s3.requests();
    assert_eq!(requests.get("UploadPart"), Some(&3), "{requests:?}");
    let run = s3.run(&["cat", "bucket:large"]);
    assert!(run.code == Some(0) && run.out == bytes);
}

#[test]
fn an_interrupted_put_leaves_no_upload() {
    let s3 = S3::new();
    let mut child =
        s3.command(&["put", "-", "bucket:large"]).stdin(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    // Two parts and the beginning of a third one.
    stdin.write_all(&vec![b'x'; 17 << 20]).unwrap();
    let mut seen = BTreeMap::<_, usize>::new();
    wait_until(|| {
        s3.requests()
            .into_iter()
            .for_each(|(operation, times)| *seen.entry(operation).or_default() += times);
        seen.get("UploadPart") == Some(&2)
    });
    signal(&child, Signal::INT);
    assert_eq!(child.wait().unwrap().code(), Some(130));
    let after = s3.requests();
    assert!(after.contains_key("AbortMultipartUpload"), "{after:?}");
    assert!(!after.contains_key("CompleteMultipartUpload"), "{after:?}");
    assert_eq!(s3.run(&["ls", "bucket:"]).done(), "");
}

#[test]
fn url_prints_signed_links() {
    let s3 = S3::new();
    s3.requests();
    let link = s3.run(&["url", "--expires", "15m", "bucket:a b.png"]).done();
    let place = format!(
        "{}{}/a%20b.png?X-Amz-Algorithm=AWS4-HMAC-SHA256&",
        Server::get().endpoint(),
        s3.bucket.name()
    );
    assert!(
        link.starts_with(&place)
            && link.contains("X-Amz-Expires=900&")
            && link.lines().count() == 1,
        "{link}"
    );
    let stable = || s3.run(&["url", "--expires", "1h", "--stable-for", "5d", "bucket:a"]).done();
    assert_eq!(stable(), stable());

    let put = s3.run(&[
        "url",
        "--expires",
        "1h",
        "--method",
        "PUT",
        "--content-type",
        "image/png",
        "--content-length",
        "5",
        "bucket:a",
    ]);
    assert_eq!(put.code, Some(0));
    let headers = "anystorage: send this header with the request: content-length: 5\n\
                   anystorage: send this header with the request: content-type: image/png\n";
    assert_eq!(put.err, headers);
    assert!(s3.requests().is_empty(), "a link costs no request");
    assert!(s3.run(&["url", "bucket:a"]).failed(1).contains("public_url"));
}

#[test]
fn url_prints_a_form() {
    let s3 = S3::new();
    let arguments = [
        "url",
        "--expires",
        "1h",
        "--method",
        "post",
        "--content-length",
        "1-5000000",
        "--content-type",
        "image/*",
    ];
    let form = s3.run(&[&arguments[..], &["bucket:uploads/"]].concat()).done();
    let lines: Vec<_> = form.lines().collect();
    assert_eq!(lines[0], format!("{}{}/", Server::get().endpoint(), s3.bucket.name()));
    assert_eq!(lines[1], "key=uploads/${filename}");
    for field in ["x-amz-algorithm=AWS4-HMAC-SHA256", "policy=", "x-amz-signature="] {
        assert!(lines.iter().any(|line| line.starts_with(field)), "{field} is missing in {form}");
    }

    let json = s3.run(&[&arguments[..], &["--json", "bucket:uploads/ada.png"]].concat()).done();
    let form: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!((json.lines().count(), &form["method"]), (1, &"POST".into()));
    assert_eq!(form["fields"][0], serde_json::json!(["key", "uploads/ada.png"]));
    assert!(form["expires_at"].as_str().unwrap().ends_with('Z'));
    assert!(!json.contains(SECRET_ACCESS_KEY));
}

#[test]
fn an_impossible_link_is_a_usage_error() {
    let s3 = S3::new();
    for wrong in [
        &["--method", "POST"][..],
        &["--stable-for", "1h"],
        &["--expires", "1h", "--method", "POST", "--content-length", "9-3"],
        &["--expires", "1h", "--method", "PUT", "--content-length", "1-5"],
        &["--expires", "1h", "--method", "PUT", "--content-type", "image/*"],
        &["--expires", "1h", "--content-type", "image/png"],
        &["--expires", "8d"],
        &["--expires", "1h", "--stable-for", "7d"],
    ] {
        let run = s3.run(&[&["url"], wrong, &["bucket:a"]].concat());
        assert_eq!(run.code, Some(2), "{wrong:?}: {}", run.err);
    }
    let directory = s3.run(&["url", "--expires", "1h", "bucket:a/"]).failed(2);
    assert!(directory.contains("bucket:a/") && directory.contains("InvalidKey"), "{directory}");
}

#[test]
fn errors_about_credentials_or_buckets_contain_no_secret() {
    let s3 = S3::new();
    let canary = "CANARY-6f1e-0123456789abcdef";
    let mut wrong = s3.command(&["ls", "bucket:"]);
    let error = run(wrong.env("THE_SECRET", canary)).failed(1);
    assert!(error.contains("Unauthenticated") && error.contains("secret_access_key"), "{error}");
    assert!(!error.contains(canary), "{error}");

    let nowhere = s3.url("a").replace(s3.bucket.name(), "no-such-bucket");
    assert!(s3.run(&["cat", &nowhere]).failed(2).contains("NoSuchBucket"));

    let mut without = s3.command(&["cat", &s3.url("a")]);
    without
        .env_remove("AWS_ACCESS_KEY_ID")
        .env_remove("AWS_SECRET_ACCESS_KEY")
        .env("AWS_EC2_METADATA_DISABLED", "true");
    let error = run(&mut without).failed(1);
    assert!(error.contains("no credentials") && error.contains("AWS_ACCESS_KEY_ID"), "{error}");

    let error = s3.run(&["cat", "s3://media?secret_access_key=CANARY-6f1e"]).failed(2);
    assert!(
        error.contains("set secrets in the environment") && !error.contains("CANARY"),
        "{error}"
    );
}

#[test]
fn sync_and_check_handle_two_directories_of_a_bucket() {
    let s3 = S3::new();
    for key in ["a", "b"] {
        s3.feed(&["put", "-", &format!("bucket:from/{key}")], key.as_bytes()).done();
    }
    let run = s3.run(&["sync", "bucket:from", "bucket:to"]);
    assert!(run.code == Some(0) && run.err.contains("2 copied (2 new, "), "{run:?}");
    let run = s3.run(&["sync", "bucket:from", "bucket:to"]);
    assert!(run.code == Some(0) && run.err.contains("0 copied, 2 same ("), "{run:?}");
    s3.run(&["check", "-q", "--checksum", "bucket:from", "bucket:to"]).done();
    s3.feed(&["put", "-", "bucket:to/b"], b"x").done();
    s3.feed(&["put", "-", "bucket:to/c"], b"x").done();
    let options = ["sync", "--delete", "--compare", "checksum", "--backup", "old"];
    let run = s3.run(&[&options[..], &["bucket:from", "bucket:to"]].concat());
    assert!(run.code == Some(0) && run.err.contains("1 changed, 1 B), 1 deleted"), "{run:?}");
    assert_eq!(s3.run(&["ls", "-r", "bucket:to/"]).done(), "to/a\nto/b\nto/old/b\nto/old/c\n");
}

#[test]
fn a_job_contains_no_secret_and_no_address_and_refuses_a_url_with_options() {
    let s3 = S3::new();
    s3.sandbox.write("media/a", "a");
    let plan = ["transfer", "plan", "--job", "./state"];
    let error = s3.run(&[&plan[..], &["media:", &s3.url("x")]].concat()).failed(2);
    assert!(error.contains("name the storage in the configuration"), "{error}");
    let error = s3.run(&["sync", "--job", "./state", &s3.url("x"), "media:"]).failed(2);
    assert!(error.contains("name the storage in the configuration"), "{error}");
    assert!(!s3.sandbox.exists("state"));

    s3.run(&[&plan[..], &["media:", "bucket:x"]].concat()).done();
    // The worker's arguments name the job alone.
    let work = ["transfer", "work", "-vv", "--job", "./state"];
    let mut denied = s3.command(&work);
    let failed = run(denied.env("THE_SECRET", "CANARY-6f1e-0123456789abcdef"));
    assert_eq!(failed.code, Some(1), "{}", failed.err);
    let done = s3.run(&[&work[..], &["--json"]].concat());
    assert_eq!(done.code, Some(0), "{}", done.err);
    let status = s3.run(&["transfer", "status", "--json", "--job", "./state"]).done();
    let endpoint = Server::get().endpoint();
    let mut texts = vec![failed.err, done.err, String::from_utf8(done.out).unwrap(), status];
    for text in &texts {
        assert!(!text.contains("CANARY") && !text.contains(SECRET_ACCESS_KEY), "{text}");
    }
    texts = s3.sandbox.files("state");
    assert!(texts.len() >= 2, "{texts:?}");
    for text in texts {
        for hidden in ["CANARY", SECRET_ACCESS_KEY, ACCESS_KEY_ID, endpoint.as_str()] {
            assert!(!text.contains(hidden), "{hidden}: {text}");
        }
    }
}

#[test]
fn a_first_copy_by_an_inventory_sends_no_listing_of_the_source_and_honours_its_prefix() {
    let s3 = S3::new();
    let config = s3.sandbox.read("storages.toml");
    let site = config.split("[storages.media]").next().unwrap().replace("bucket]", "site]");
    let lists = "[storages.lists]\ndriver = 'fs'\nroot = 'lists'\n";
    let site = format!("{site}prefix = 'site'\nread_only = true\n{lists}");
    s3.sandbox.write("storages.toml", format!("{site}{config}"));
    for key in ["site/img/a", "site/img/b", "site/c", "img/d"] {
        s3.put(&format!("bucket:{key}"), key);
    }
    let listed = [("site/img/a", 10), ("site/img/gone", 1), ("site/c", 6), ("img/d", 5)];
    let sync = ["sync", "--inventory", MANIFEST, "site:img", "media:"];
    write_inventory(&s3.sandbox, s3.bucket.name(), &listed);
    s3.requests();
    let run = s3.run(&sync);
    assert!(run.code == Some(0) && run.err.contains("1 copied (1 new, "), "{}", run.err);
    assert!(run.err.contains("1 deleted from the source since"), "{}", run.err);
    let requests = s3.requests();
    assert_eq!(requests, BTreeMap::from([("GetObject", 2)]));
    assert_eq!(s3.run(&["ls", "-r", "media:"]).done(), "a\n");
    write_inventory(&s3.sandbox, "another", &listed);
    assert!(s3.run(&sync).failed(2).contains("of the bucket \"another\""));
}
