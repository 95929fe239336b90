//! awscli.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use super::{Bucket, run};

/// Returns a program without the user's environment, except for the path to other programs.
pub(crate) fn client(program: &Path, variables: &BTreeMap<String, String>) -> Command {
    let mut command = Command::new(program);
    command
        .env_clear()
        .envs(
            ["PATH", "TMPDIR"].into_iter().filter_map(|name| Some((name, std::env::var_os(name)?))),
        )
        .envs(variables.iter().filter(|(name, _)| name.starts_with("AWS_")))
        .env("AWS_DEFAULT_REGION", variables.get("AWS_REGION").map_or("", String::as_str))
        .env("AWS_CONFIG_FILE", "/dev/null")
        .env("AWS_SHARED_CREDENTIALS_FILE", "/dev/null")
        .env("AWS_EC2_METADATA_DISABLED", "true")
        // File names are UTF-8 regardless of the locale.
        .env("PYTHONUTF8", "1")
        .env("LC_ALL", "C.UTF-8");
    command
}

impl Bucket {
    /// Runs `aws s3 ...` and returns its output. `{}` in an argument is the bucket: `s3://{}/key`.
    pub(crate) fn s3(&self, arguments: &[&str]) -> String {
        let arguments = arguments.iter().map(|argument| argument.replace("{}", self.name()));
        String::from_utf8(run(self.aws("s3").args(arguments).arg("--no-progress"))).unwrap()
    }

    /// Runs `aws s3api ...` on the bucket and returns its output.
    pub(crate) fn s3api(&self, verb: &str, arguments: &[&str]) -> Value {
        let printed = run(self
            .aws("s3api")
            .args([verb, "--bucket", self.name(), "--output", "json"])
            .args(arguments));
        if printed.is_empty() { Value::Null } else { serde_json::from_slice(&printed).unwrap() }
    }

    fn aws(&self, group: &str) -> Command {
        let mut aws = self.server().client("aws");
        aws.args(["--endpoint-url", self.server().endpoint().as_str(), group]);
        aws
    }
}
