//! Jobs: `sync --job` and `transfer`.

use std::process::Stdio;

use crate::support::Sandbox;

fn filled(objects: usize) -> Sandbox {
    let sandbox = Sandbox::new();
    for number in 0..objects {
        sandbox.write(&format!("media/{}/{number}", number % 3), number.to_string());
    }
    sandbox
}

#[test]
fn a_sync_with_a_job_begins_a_new_pass_after_it_has_ended() {
    let sandbox = filled(20);
    let sync = ["sync", "-q", "--job", "./state", "--json", "media:", "backup:copy"];
    let first = sandbox.run(&sync).done();
    assert!(first.contains("\"new\":20"), "{first}");
    sandbox.write("media/later", "x");
    let second = sandbox.run(&sync).done();
    assert!(second.contains("\"new\":1,") && second.contains("\"same\":20"), "{second}");
    assert!(sandbox.run(&["transfer", "status", "--job", "./state"]).done().contains("pass 2"));
    sandbox.run(&["check", "-q", "--download", "media:", "backup:copy"]).done();
}

#[test]
fn workers_share_a_job_and_each_prints_the_sums_of_the_whole() {
    let sandbox = filled(50);
    let planned = ["transfer", "plan", "--job", "./state", "media:", "backup:"];
    assert_eq!(sandbox.run(&planned).done(), "./state/: 1 shards\n");
    let work = |index: &str| {
        let arguments =
            ["transfer", "work", "--job", "./state", "--index", index, "--of", "2", "--json"];
        sandbox.command(&arguments).stdout(Stdio::piped()).spawn().unwrap()
    };
    for worker in [work("0"), work("1")] {
        let output = worker.wait_with_output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success() && text.contains("\"source_objects\":50"), "{text}");
    }
    assert_eq!(sandbox.run(&["transfer", "failed", "--job", "./state"]).done(), "");
}

#[test]
fn other_options_or_a_place_that_overlaps_with_a_side_are_wrong_usage() {
    let sandbox = filled(3);
    sandbox.run(&["sync", "-q", "--job", "./state", "media:", "backup:"]).done();
    let other = sandbox.run(&["sync", "--job", "./state", "--delete", "media:", "backup:"]);
    assert_eq!(other.code, Some(2));
    assert!(other.err.contains("other options here (delete)"), "{}", other.err);
    let inside = sandbox.run(&["sync", "--job", "media:state", "media:", "backup:"]);
    assert_eq!(inside.code, Some(2));
    assert!(inside.err.contains("cannot be below"), "{}", inside.err);
    for sides in [["media:", "./state/shards"], ["./state/shards", "backup:"]] {
        let around = sandbox.run(&["sync", "--delete", "--job", "./state", sides[0], sides[1]]);
        assert_eq!(around.code, Some(2));
        assert!(around.err.contains("cannot contain"), "{}", around.err);
    }
    let missing = sandbox.run(&["transfer", "work", "--job", "./nothing"]);
    assert_eq!(missing.code, Some(2));
    assert!(missing.err.contains("transfer plan"), "{}", missing.err);
}

#[test]
fn the_state_of_a_job_has_a_local_path_as_an_absolute_one_and_other_names_as_typed() {
    let sandbox = filled(3);
    sandbox.run(&["transfer", "plan", "--job", "./state", "./media", "backup:in"]).done();
    let status = sandbox.run(&["transfer", "status", "--json", "--job", "./state"]).done();
    let status: serde_json::Value = serde_json::from_str(&status).unwrap();
    let source = std::path::Path::new(status["source"].as_str().unwrap());
    assert!(source.is_absolute() && source.ends_with("media"), "{status}");
    assert_eq!(status["target"], "backup:in/");
}

#[test]
fn a_cancelled_job_ends_its_workers_until_it_is_resumed() {
    let sandbox = filled(5);
    sandbox.run(&["transfer", "plan", "--job", "./state", "media:", "backup:"]).done();
    sandbox.run(&["transfer", "cancel", "--job", "./state"]).done();
    let cancelled = sandbox.run(&["transfer", "work", "--json", "--job", "./state"]);
    assert_eq!(cancelled.code, Some(1));
    assert!(cancelled.err.contains("transfer resume"), "{}", cancelled.err);
    let json = String::from_utf8(cancelled.out).unwrap();
    assert!(json.contains("\"ended\":\"cancelled\"") && json.contains("\"exit\":1,"), "{json}");
    sandbox.run(&["transfer", "resume", "--job", "./state"]).done();
    sandbox.run(&["transfer", "work", "-q", "--job", "./state"]).done();
    sandbox.run(&["check", "-q", "media:", "backup:", "--checksum"]).done();
}

#[test]
fn a_worker_names_the_command_that_opens_failed_shards_again() {
    let sandbox = filled(5);
    sandbox.run(&["transfer", "plan", "--job", "./state", "media:", "backup:"]).done();
    sandbox.put("backup:0/0/x", "in the way");
    let work = ["transfer", "work", "--job", "./state"];
    let failed = sandbox.run(&work);
    assert_eq!(failed.code, Some(1), "{}", failed.err);
    let advice = "anystorage transfer resume --job ./state/ opens these shards again";
    assert!(failed.err.contains(advice) && !failed.err.contains("run again"), "{}", failed.err);
    sandbox.run(&["rm", "backup:0/0/x"]).done();
    sandbox.run(&["transfer", "resume", "--job", "./state/"]).done();
    assert_eq!(sandbox.run(&work).code, Some(0));
    let again = sandbox.run(&["sync", "--job", "./state", "media:", "backup:"]);
    assert_eq!(again.code, Some(0), "{}", again.err);
}

#[test]
fn a_worker_of_a_plan_that_is_not_complete_is_to_run_again() {
    let sandbox = filled(5);
    let planned = ["transfer", "plan", "--job", "./state", "media:", "backup:"];
    sandbox.run(&planned).done();
    let job = sandbox.path("state/job.json");
    let text = std::fs::read_to_string(&job).unwrap();
    assert!(text.contains("\"copying\""), "{text}");
    std::fs::write(&job, text.replace("\"copying\"", "\"planning\"")).unwrap();
    let early = sandbox.run(&["transfer", "work", "--job", "./state"]);
    assert_eq!(early.code, Some(75), "{}", early.err);
}

#[cfg(target_os = "linux")]
#[test]
fn a_sync_that_was_killed_goes_on_without_waiting_for_its_lease() {
    let sandbox = filled(50);
    let sync = ["sync", "-q", "--job", "./state", "--lease", "1h", "media:", "backup:"];
    let slowly = [&sync[..], &["--requests", "1"]].concat();
    let mut killed = sandbox.command(&slowly).stdout(Stdio::null()).spawn().unwrap();
    let is_claimed = || {
        let text = std::fs::read_to_string(sandbox.path("state/shards/00000.json"));
        text.is_ok_and(|text| text.contains("\"owner\""))
    };
    while !is_claimed() {
        assert!(killed.try_wait().unwrap().is_none(), "it ended before it was killed");
        std::thread::yield_now();
    }
    killed.kill().unwrap();
    killed.wait().unwrap();
    sandbox.run(&sync).done();
    sandbox.run(&["check", "-q", "--download", "media:", "backup:"]).done();
}

#[test]
fn a_key_that_failed_is_listed_and_copied_after_resume() {
    let sandbox = filled(6);
    // A directory where the object has to be.
    sandbox.write("backup/0/3/blocks", "x");
    let sync = ["sync", "-q", "--job", "./state", "media:", "backup:"];
    let failed = sandbox.run(&sync);
    assert_eq!(failed.code, Some(1), "{}", failed.err);
    let listed = sandbox.run(&["transfer", "failed", "--job", "./state"]).done();
    assert!(listed.contains("\"key\":\"0/3\"") && listed.lines().count() == 1, "{listed}");
    std::fs::remove_dir_all(sandbox.path("backup/0/3")).unwrap();
    sandbox.run(&sync).done();
    assert_eq!(sandbox.cat("backup:0/3"), "3");
}

#[test]
fn a_symlink_of_the_source_is_a_failure_and_a_job_with_deletions_is_refused() {
    let sandbox = filled(3);
    std::os::unix::fs::symlink("nowhere", sandbox.path("media/link")).unwrap();
    let plain = sandbox.run(&["sync", "-q", "--job", "./state", "./media", "backup:"]);
    assert_eq!(plain.code, Some(1), "{}", plain.err);
    assert!(plain.err.contains("link") && sandbox.cat("backup:0/0") == "0", "{}", plain.err);
    let deleting = ["sync", "--job", "./other", "--delete", "--skip-links", "./media", "backup:"];
    let refused = sandbox.run(&deleting);
    assert_eq!(refused.code, Some(2));
    assert!(refused.err.contains("--exclude"), "{}", refused.err);
}

#[test]
fn a_symlink_of_the_source_is_recorded_in_the_file_of_failures_and_not_in_the_job() {
    let sandbox = filled(3);
    std::os::unix::fs::symlink("nowhere", sandbox.path("media/link")).unwrap();
    let sync = ["sync", "--job", "./state", "--failed", "failed.jsonl", "./media", "backup:"];
    assert_eq!(sandbox.run(&sync).code, Some(1));
    let recorded = sandbox.read("failed.jsonl");
    assert!(recorded.contains("\"key\":\"link\"") && recorded.lines().count() == 1, "{recorded}");
    assert_eq!(sandbox.run(&["transfer", "failed", "--job", "./state"]).done(), "");
}

#[test]
fn a_symlink_of_the_source_is_refused_by_a_plan_unless_it_is_left_out() {
    let sandbox = filled(3);
    std::os::unix::fs::symlink("nowhere", sandbox.path("media/link")).unwrap();
    let plan = |options: &[&str]| {
        let plan = ["transfer", "plan", "--job", "./state"];
        sandbox.run(&[&plan[..], options, &["media:", "backup:"]].concat())
    };
    for (options, advice) in
        [(&[][..], "--skip-links"), (&["--delete", "--skip-links"], "--exclude")]
    {
        let err = plan(options).failed(2);
        assert!(err.contains("media:link: a symlink") && err.contains(advice), "{err}");
    }
    plan(&["--skip-links"]).done();
    sandbox.run(&["transfer", "work", "-q", "--job", "./state"]).done();
}

#[test]
fn a_secret_in_an_argument_of_a_job_is_refused_and_not_shown() {
    let sandbox = filled(1);
    let secret = "CANARY-6f1e-0123456789abcdef0123";
    let urls = [
        format!("s3://ada:{secret}@bucket/x"),
        format!("s3://bucket/x?secret_access_key={secret}"),
        format!(
            "file://{}?public_url=https://a/&signing_key={secret}",
            sandbox.path("x").display()
        ),
    ];
    for url in &urls {
        for arguments in [
            ["sync", "--job", url, "media:", "backup:"],
            ["sync", "--job", "./state", "media:", url],
            ["sync", "--job", "./state", url, "backup:"],
        ] {
            let err = sandbox.run(&arguments).failed(2);
            assert!(!err.contains("CANARY"), "{err}");
            let plan = [&["transfer", "plan"], &arguments[1..]].concat();
            let err = sandbox.run(&plan).failed(2);
            assert!(!err.contains("CANARY"), "{err}");
        }
        assert!(!sandbox.run(&["transfer", "work", "--job", url]).failed(2).contains("CANARY"));
    }
    assert!(!sandbox.exists("state") && !sandbox.exists("x"));
}

#[test]
fn a_plan_has_1_to_10000_shards() {
    let sandbox = filled(1);
    for shards in ["0", "10001"] {
        let plan = ["transfer", "plan", "--job", "./state", "--shards", shards];
        let err = sandbox.run(&[&plan[..], &["media:", "backup:"]].concat()).failed(2);
        assert!(err.contains("choose 1 to 10000"), "{err}");
    }
    assert!(!sandbox.exists("state"));
}

#[test]
fn the_state_of_a_job_in_memory_is_refused() {
    let sandbox = Sandbox::new();
    sandbox.put("media:a", "1");
    let err = sandbox.run(&["transfer", "plan", "--job", "memory:", "media:", "backup:"]).failed(2);
    assert!(err.contains("must outlive this process"), "{err}");
}
