//! Tests of the sources of credentials, on the loopback only and with given variables only.

mod log;
mod order;
mod profiles;
mod refresh;
mod renewal;
#[cfg(feature = "aws-config")]
mod sdk;
mod secrets;
mod server;
mod servers;

use std::ffi::OsString;
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use object_store::ClientOptions;
use object_store::aws::AwsCredential;
use object_store::client::{
    HttpClient, HttpConnector, HttpError, HttpRequest, HttpResponse, HttpService,
};
use storage_core::config::Secret;
use storage_core::{Error, ErrorKind, Result};

use super::search::Found;
use super::{Environment, Sources, find};

/// A home directory with profile files, and variables.
struct Home {
    dir: tempfile::TempDir,
    variables: Vec<(&'static str, OsString)>,
}

impl Home {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join(".aws")).unwrap();
        let variables = vec![("HOME", dir.path().into())];
        Self { dir, variables }
    }

    fn config(self, text: &str) -> Self {
        self.file(".aws/config", text);
        self
    }

    fn credentials(self, text: &str) -> Self {
        self.file(".aws/credentials", text);
        self
    }

    fn variable(mut self, name: &'static str, value: impl Into<OsString>) -> Self {
        self.variables.push((name, value.into()));
        self
    }

    fn variables<const N: usize>(self, all: [(&'static str, &str); N]) -> Self {
        all.into_iter().fold(self, |home, (name, value)| home.variable(name, value))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path(name);
        fs::write(&path, text).unwrap();
        path
    }

    fn env(&self) -> Environment {
        Environment::of(self.variables.clone())
    }

    fn find(&self, sources: &Sources) -> Result<Found> {
        find(sources, &self.env(), Arc::new(NoNetwork))
    }

    fn find_with(&self, http: impl HttpConnector) -> Result<Found> {
        find(&Sources::default(), &self.env(), Arc::new(http))
    }

    fn error(&self, sources: &Sources) -> Error {
        self.find(sources).expect_err("credentials that are not to be found")
    }
}

/// Returns sources with keys among the options.
fn keys(key_id: &str, secret: &str) -> Sources {
    Sources {
        access_key_id: Some(Secret::new(key_id)),
        secret_access_key: Some(Secret::new(secret)),
        ..Sources::default()
    }
}

fn named(profile: &str) -> Sources {
    Sources { profile: Some(profile.to_owned()), ..Sources::default() }
}

async fn credential(found: &Found) -> Result<Arc<AwsCredential>> {
    found.provider.as_ref().expect("a provider").get_credential().await.map_err(super::error)
}

/// Returns key id, secret and token.
async fn triple(found: &Found) -> (String, String, Option<String>) {
    let credential = credential(found).await.unwrap();
    (credential.key_id.clone(), credential.secret_key.clone(), credential.token.clone())
}

async fn error(found: &Found) -> Error {
    match credential(found).await {
        Ok(_) => panic!("the credentials were fetched"),
        Err(error) => error,
    }
}

/// Asserts that the error has this kind and contains all of these texts.
#[track_caller]
fn assert_says(error: &Error, kind: ErrorKind, words: &[&str]) {
    assert_eq!(error.kind(), kind, "{error}");
    for word in words {
        assert!(error.message().contains(word), "{word:?} is not in: {error}");
    }
}

/// A client that fails every request.
#[derive(Debug)]
struct NoNetwork;

impl HttpConnector for NoNetwork {
    fn connect(&self, _: &ClientOptions) -> object_store::Result<HttpClient> {
        Ok(HttpClient::new(Self))
    }
}

#[async_trait]
impl HttpService for NoNetwork {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        panic!("no request is expected, but {} is requested", request.uri());
    }
}
