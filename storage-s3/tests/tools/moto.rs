//! moto, which starts and stops with this process.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};

use tempfile::TempDir;

/// Starts the server, waits until this process ends, and stops it. Ignores signals that are meant
/// for the tests.
const KEEPER: &str = r#"
"$1" up "$2/moto"
echo
trap '' INT TERM HUP
cat >/dev/null
"$1" down "$2/moto"
rm -rf "$2"
"#;

/// A server that exists as long as this value and its process.
pub(crate) struct Moto {
    _keeper: Child,
    _until_this_is_closed: ChildStdin,
}

impl Moto {
    /// Starts a server and returns the variables that name it.
    pub(crate) fn start(tools: &Path) -> (Self, BTreeMap<String, String>) {
        let directory = tempfile::Builder::new().prefix("anystorage-moto-").tempdir().unwrap();
        let mut keeper = Command::new("bash")
            .args(["-euc", KEEPER, "keeper", concat!(env!("CARGO_MANIFEST_DIR"), "/servers/moto")])
            // The keeper deletes it, because a `static` of a test program is never dropped.
            .arg(TempDir::keep(directory))
            .env("STORAGE_S3_TEST_TOOLS", tools)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut variables = BTreeMap::new();
        for line in BufReader::new(keeper.stdout.take().unwrap()).lines() {
            let line = line.unwrap();
            let Some((name, value)) =
                line.strip_prefix("export ").and_then(|line| line.split_once('='))
            else {
                break;
            };
            variables.insert(name.to_owned(), value.to_owned());
        }
        assert!(!variables.is_empty(), "moto did not start");
        let stdin = keeper.stdin.take().unwrap();
        (Self { _keeper: keeper, _until_this_is_closed: stdin }, variables)
    }
}
