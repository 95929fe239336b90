//! `publish` to a bucket: its requests, and its end by a signal.

use std::collections::BTreeMap;
use std::io::Read;

use rustix::process::Signal;
use storage_testkit::http::{Peer, Request, Response};

use crate::publish::{json, sandbox, write_site};
use crate::s3::S3;
use crate::support::{signal, wait_until};

/// A bucket and a site.
fn bucket(tables: &str) -> S3 {
    let s3 = S3::new();
    write_site(&s3.sandbox, "red");
    configure(&s3, tables);
    s3
}

fn configure(s3: &S3, tables: &str) {
    let config = s3.sandbox.read("storages.toml");
    let storages = config.split("\n[publish").next().unwrap().split("\n[[publish").next().unwrap();
    s3.sandbox.write("storages.toml", format!("{storages}\n{tables}\n"));
}

fn publish(s3: &S3) -> serde_json::Value {
    json(s3.run(&["publish", "--json", "dist", "bucket:www"]))
}

#[test]
fn a_publish_to_a_bucket_can_be_rolled_back() {
    let s3 = bucket("");
    let first = publish(&s3);
    assert_eq!((&first["uploaded"], &first["pages"]), (&4.into(), &2.into()));
    let red = s3.run(&["cat", "bucket:www/index.html"]).done();
    write_site(&s3.sandbox, "blue");
    publish(&s3);
    s3.requests();
    s3.run(&["rollback", "bucket:www"]).done();
    let requests = s3.requests();
    assert_eq!(requests.get("CopyObject"), Some(&2), "{requests:?}");
    assert_eq!(s3.run(&["cat", "bucket:www/index.html"]).done(), red);
}

#[test]
fn a_publish_without_changes_reads_the_pointer_and_one_manifest_and_lists_once() {
    let s3 = bucket("[publish]\nencodings = ['gzip']");
    publish(&s3);
    s3.requests();
    assert_eq!(publish(&s3)["new"], false);
    assert_eq!(s3.requests(), BTreeMap::from([("GetObject", 2), ("ListObjectsV2", 1)]));
}

#[test]
fn a_changed_file_costs_requests_for_itself_alone() {
    let s3 = bucket("");
    publish(&s3);
    s3.sandbox.write("dist/new.txt", "new");
    s3.requests();
    let published = publish(&s3);
    assert_eq!((&published["uploaded"], &published["unchanged"]), (&1.into(), &4.into()));
    let requests = s3.requests();
    // The claim, the file, the manifest, the beginning and the end of the pages.
    assert_eq!(requests.get("PutObject"), Some(&5), "{requests:?}");
    assert_eq!(
        (requests.get("CopyObject"), requests.get("HeadObject")),
        (None, None),
        "{requests:?}"
    );
}

#[test]
fn a_changed_rule_replaces_headers_by_copies_and_uploads_no_file() {
    let s3 = bucket("[publish]\nencodings = ['gzip']");
    s3.sandbox.write("dist/css/app.css", "a{color:red}".repeat(100));
    publish(&s3);
    let names = s3.run(&["ls", "-r", "bucket:www/css/"]).done();
    configure(
        &s3,
        "[publish]\nencodings = ['gzip']\n[[publish.rules]]\nmatch = '*.css'\n\
         cache_control = 'max-age=60'\n[[publish.rules]]\nmatch = 'robots.txt'\nexpires = '1h'",
    );
    let plan = json(s3.run(&["publish", "-n", "--json", "dist", "bucket:www"]));
    assert_eq!(plan["headers"].as_array().unwrap().len(), 3, "{plan}");
    s3.requests();
    let published = publish(&s3);
    assert_eq!((&published["uploaded"], &published["headers"]), (&0.into(), &3.into()));
    let requests = s3.requests();
    // The style, its sibling, the stored copy of robots.txt, and robots.txt itself.
    assert_eq!(requests.get("CopyObject"), Some(&4), "{requests:?}");
    // The claim, the manifest, the beginning and the end of the pages.
    assert_eq!(requests.get("PutObject"), Some(&4), "{requests:?}");
    assert_eq!(s3.run(&["ls", "-r", "bucket:www/css/"]).done(), names);
    for name in names.lines() {
        let stat = s3.run(&["stat", &format!("bucket:{name}")]).done();
        assert!(stat.contains("cache_control: max-age=60\n"), "{stat}");
        assert_eq!(stat.contains("content_encoding: gzip"), name.ends_with(".gz"), "{stat}");
    }
    assert!(s3.run(&["stat", "bucket:www/robots.txt"]).done().contains("expires: "));
}

/// S3 keeps the ETag of an object whose headers a copy onto itself replaces.
#[test]
fn headers_that_a_publish_changed_and_then_failed_are_restored_by_the_next() {
    let s3 = bucket("");
    publish(&s3);
    let style = format!("bucket:{}", s3.run(&["ls", "-r", "bucket:www/css/"]).done().trim_end());
    s3.run(&["meta", "set", "--cache-control", "max-age=60", &style]).done();
    let pointer = "bucket:www/.anystorage-publish/current.json";
    let text = s3.run(&["cat", pointer]).done();
    s3.sandbox.write("pointer.json", text.replacen('{', "{\"check_headers\": true,", 1));
    s3.run(&["put", "./pointer.json", pointer]).done();

    assert_eq!(publish(&s3)["uploaded"], 0);
    assert!(s3.run(&["stat", &style]).done().contains("immutable"));
    assert_eq!(publish(&s3)["new"], false);
}

#[test]
fn a_bare_bucket_has_one_encoding_under_the_plain_name_if_a_rule_says_so() {
    let s3 = bucket("[[publish.rules]]\nmatch = '*.{css,html}'\nencoding = 'gzip'");
    s3.sandbox.write("dist/css/app.css", "a{color:red}".repeat(100));
    s3.sandbox.write("dist/index.html", "<link rel=stylesheet href=css/app.css>".repeat(100));
    publish(&s3);
    let names = s3.run(&["ls", "-r", "bucket:www/css/"]).done();
    assert_eq!(names.lines().count(), 1, "{names}");
    for name in [names.trim_end(), "www/index.html"] {
        let location = format!("bucket:{name}");
        let stat = s3.run(&["stat", &location]).done();
        assert!(stat.contains("content_encoding: gzip\n"), "{stat}");
        let body = s3.run(&["cat", &location]).out;
        assert!(body.starts_with(&[0x1f, 0x8b]) && body.len() < 1200, "{name}");
    }
}

/// A bucket that has nothing, stores the pointer, and never responds to an upload of a file.
fn stalling_bucket() -> Peer {
    let missing = "<Error><Code>NoSuchKey</Code></Error>";
    let listing = "<ListBucketResult><IsTruncated>false</IsTruncated></ListBucketResult>";
    Peer::start(move |request: &Request| match &*request.method {
        "GET" if request.target.contains("list-type") => Response::ok(listing),
        "GET" => Response::new("404 Not Found").body(missing),
        _ if request.target.contains("current.json") => {
            let etag = format!("\"{}\"", request.index);
            Response::new("200 OK").header("ETag", etag)
        }
        _ => Response::never().fault(),
    })
}

#[test]
fn an_interrupted_publish_gives_its_claim_back_and_says_to_run_again() {
    for sent in [Signal::INT, Signal::TERM] {
        let (sandbox, fake) = (sandbox(), stalling_bucket());
        let config = format!(
            "[storages.bucket]\ndriver = 's3'\nbucket = 'b'\nendpoint = 'http://{}'\nregion = 'us-east-1'\n\
             quirks = 'minio'\nallow_http = true\nanonymous = true\n",
            fake.address()
        );
        sandbox.write("storages.toml", config);
        let mut child = sandbox.command(&["publish", "dist", "bucket:www"]).spawn().unwrap();
        wait_until(|| fake.fired() > 0);
        signal(&child, sent);
        assert_eq!(child.wait().unwrap().code(), Some(75), "{sent:?}");
        let mut error = String::new();
        child.stderr.take().unwrap().read_to_string(&mut error).unwrap();
        assert!(error.contains("nothing visible was changed: run again"), "{error}");
        let requests = fake.requests();
        let pointers: Vec<_> = requests
            .iter()
            .filter(|request| request.method == "PUT" && request.target.contains("current.json"))
            .map(Request::text)
            .collect();
        assert_eq!(pointers.len(), 2, "{pointers:?}");
        assert!(pointers[0].contains("claim") && !pointers[1].contains("claim"), "{pointers:?}");
        let pages = requests.iter().filter(|request| request.target.ends_with("/index.html"));
        assert!(pages.clone().all(|request| request.target.contains(".anystorage-publish/")));
    }
}
