//! Tests of the manual `docs/s3.md`: its code compiles, its configurations are valid, and its
//! tables of options, services and costs match the driver.

#![cfg(feature = "s3")]
#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anystorage::s3::{S3, copy_between};
use anystorage::{
    CopyOptions, Environment, ErrorKind, Key, Loader, OpenOptions, Result, Storage, UrlMethod,
};
use futures_util::TryStreamExt;

/// Marks the child process of a test.
const INSIDE: &str = "ANYSTORAGE_TEST_INSIDE";

fn read(path: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap()
}

/// Returns the code blocks of the manual in a language.
fn blocks(language: &str) -> Vec<String> {
    let manual = read("../docs/s3.md");
    let fence = format!("\n```{language}\n");
    let after = manual.split(&fence).skip(1);
    let blocks: Vec<_> = after.map(|rest| rest.split("\n```").next().unwrap().to_owned()).collect();
    assert!(!blocks.is_empty(), "the manual has no {language}");
    blocks
}

/// Returns the rows of the table that begins with this row, without comment slashes.
fn table(text: &str, header: &str) -> Vec<String> {
    let lines = text.lines().map(|line| line.trim_start_matches("//!").trim());
    let rows = lines.skip_while(|line| !line.starts_with(header)).skip(2);
    rows.take_while(|line| line.starts_with('|')).map(str::to_owned).collect()
}

/// Returns what a message lists between two texts, as in `known options: a, b, and`.
fn listed(message: &str, before: &str, after: &str) -> Vec<String> {
    let list = message.split(before).nth(1).unwrap().split(after).next().unwrap();
    list.split(", ").map(str::to_owned).collect()
}

fn refusal(line: &str) -> String {
    let text = format!("[storages.default]\ndriver = 's3'\nbucket = 'media'\n{line}");
    Loader::new().toml_str(&text).unwrap().open("default").unwrap_err().message().to_owned()
}

#[allow(dead_code, reason = "code of the manual, which sends no request here")]
async fn clean_up(bucket: &Storage) -> Result<u64> {
    bucket.abort_stale("media/", Duration::from_secs(2 * 24 * 60 * 60)).await
}

#[allow(dead_code, reason = "code of the manual, which sends no request here")]
async fn draft(storage: &Storage, report: Vec<u8>) -> Result<()> {
    let s3 = storage.driver_as::<S3>()?;
    let drafts = Storage::new(s3.with_tags([("state", "draft")])?);
    drafts.save(s3.key("reports/june.pdf")?, report).await?;
    s3.set_tags(&s3.key("reports/june.pdf")?, [("state", "final")]).await
}

#[allow(dead_code, reason = "code of the manual, which sends no request here")]
async fn back_up(media: &Storage, backup: &Storage, name: &str) -> Result<()> {
    let key = Key::new(name)?;
    if let Some(copying) = copy_between(media, &key, backup, &key, CopyOptions::new()) {
        match copying.await {
            Err(error)
                if !error.took_effect()
                    && matches!(
                        error.kind(),
                        ErrorKind::Unsupported
                            | ErrorKind::PermissionDenied
                            | ErrorKind::InvalidConfig
                    ) => {}
            copied => return copied,
        }
    }
    media.copy_to(name, backup, name).await.map(|_| ())
}

#[allow(dead_code, reason = "code of the manual, which sends no request here")]
async fn restore(storage: &Storage, name: &str) -> Result<()> {
    let s3 = storage.driver_as::<S3>()?;
    let key = s3.key(name)?;
    let mut versions = s3.versions(&s3.prefix(name)?);
    while let Some(version) = versions.try_next().await? {
        if version.key == key && !version.is_delete_marker {
            let newest = s3.open_version(&key, &version.id, &OpenOptions::new()).await?;
            storage.save(name, newest).await?;
            break;
        }
    }
    Ok(())
}

async fn upload_form(storage: &Storage, user: &str) -> Result<String> {
    // A picture of at most 5 MB, with any name, in the directory of the user.
    let form = storage.url(format!("uploads/{user}")).method(UrlMethod::Post).any_name();
    let form = form
        .expires_in(Duration::from_secs(600))
        .content_type("image/*")
        .content_length_range(1..=5_000_000);
    let form = form.await?;
    Ok(serde_json::json!({ "url": form.as_str(), "fields": form.fields }).to_string())
}

#[test]
fn the_code_of_the_manual_is_that_of_this_file() {
    let here = read("tests/manual.rs");
    for block in blocks("rust") {
        assert!(here.contains(&block), "this is nowhere:\n{block}");
    }
}

#[tokio::test]
async fn the_form_of_the_manual_has_the_fields_of_its_page() {
    let config = "[storages.default]\ndriver = 's3'\nbucket = 'media'\nregion = 'eu-west-1'\naccess_key_id = 'AKTEST'\n\
                  endpoint = 'https://s3.example.com'\nsecret_access_key = 'CANARY-6f1e'";
    let storage = Loader::new().toml_str(config).unwrap().open("default").unwrap();
    let form: serde_json::Value =
        serde_json::from_str(&upload_form(&storage, "ada").await.unwrap()).unwrap();
    assert_eq!(form["url"], "https://s3.example.com/media/");
    let fields: Vec<(String, String)> = serde_json::from_value(form["fields"].clone()).unwrap();
    let names: Vec<_> = fields.iter().map(|(name, _)| name.as_str()).collect();
    assert!(
        names.contains(&"key") && names.contains(&"policy") && names.contains(&"x-amz-signature"),
        "{names:?}"
    );
    // The page adds the file.
    assert!(!names.contains(&"Content-Type"), "{names:?}");
}

#[test]
fn the_documents_of_the_manual_are_json() {
    for block in blocks("json") {
        serde_json::from_str::<serde_json::Value>(&block).expect(&block);
    }
}

/// Runs in a child process without the variables of the user.
#[test]
fn the_configurations_of_the_manual_are_valid() {
    if std::env::var_os(INSIDE).is_none() {
        let mut inside = Command::new(std::env::current_exe().unwrap());
        inside
            .args(["--exact", "the_configurations_of_the_manual_are_valid"])
            .env_clear()
            .env(INSIDE, "1");
        let output = inside.env("HOME", "/nonexistent").output().unwrap();
        let error = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success() && error.contains("1 passed"), "{error}");
        return;
    }
    let mut found = 0;
    for block in blocks("toml").iter().filter(|block| block.contains("[storages.")) {
        let variables = block.split("${").skip(1).map(|rest| rest.split('}').next().unwrap());
        let environment =
            variables.fold(Environment::empty(), |known, name| known.with(name, "a-value"));
        let storages =
            Loader::new().with_environment(environment).toml_str(block).unwrap().open_all();
        found += storages.expect(block).names().count();
    }
    assert!(found >= 9, "{found}");
}

#[test]
fn the_manual_lists_every_option() {
    let rows = table(&read("../docs/s3.md"), "| option | type | default |").join("\n");
    let known = listed(&refusal("unknown = 1"), "known options: ", ", and for every driver");
    assert!(known.len() > 15, "{known:?}");
    for option in known {
        assert!(rows.contains(&format!("`{option}`")), "the manual does not contain {option}");
    }
}

#[test]
fn the_manual_lists_every_service() {
    let rows = table(&read("../docs/s3.md"), "| | `quirks` |").join("\n");
    let known = listed(&refusal("quirks = 'unknown'"), "known values: ", "\n");
    assert!(known.len() > 8, "{known:?}");
    for profile in known.iter().filter(|profile| *profile != "auto") {
        assert!(rows.contains(&format!("`{profile}`")), "the manual does not contain {profile}");
    }
}

#[test]
fn the_manual_lists_the_costs_of_the_driver() {
    let costs = table(&read("../docs/s3.md"), "| verb | requests |");
    assert!(!costs.is_empty());
    assert_eq!(costs, table(&read("../storage-s3/src/lib.rs"), "| verb | requests |"));
}
