//! Signed forms for uploads from a browser ("Browser-Based Uploads Using POST").

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use object_store::aws::AwsCredential;
use serde_json::{Value, json};
use storage_core::{Error, Key, Link, Result, UrlMethod, UrlOptions, content_type};
use url::Url;

use crate::shared::Shared;
use crate::signature::{ALGORITHM, CredentialScope};
use crate::signing::SigningWindow;

/// The text that the service replaces with the file's name.
const FILE_NAME_VARIABLE: &str = "${filename}";
/// The content type of an upload without one.
const DEFAULT_TYPE: &str = "application/octet-stream";

/// Signs a form for an upload to the key, or to any name below it.
pub(crate) fn signed_form(
    s3: &Shared,
    key: &Key,
    options: &UrlOptions,
    window: SigningWindow,
    credential: &AwsCredential,
) -> Result<Link> {
    check_supported(s3, key)?;
    let scope = CredentialScope::new(window, s3.client.region());
    let mut form = Form::default();
    form.require("bucket", s3.client.bucket().name(), false);
    form.require_key(key, options.any_name);
    form.require_content_type(key, options);
    if let Some(range) = &options.content_length_range {
        form.conditions.push(json!(["content-length-range", range.start(), range.end()]));
    }
    for (name, value) in &s3.object_headers {
        // This header has another name in a form.
        let name = if name == "x-amz-acl" { "acl" } else { name.as_str() };
        form.require(name, value.to_str().unwrap_or_default(), true);
    }
    form.require_credential(&scope, credential);
    form.check_variable()?;
    let until = storage_core::format_time(window.until);
    let policy = json!({ "expiration": until, "conditions": form.conditions });
    let policy = BASE64.encode(policy.to_string());
    let signature = scope.sign(credential, &policy);
    form.fields.extend([("policy".to_owned(), policy), ("x-amz-signature".to_owned(), signature)]);

    let url = Url::parse(&s3.signing_bucket.url("", &[]))
        .map_err(|cause| Error::unexpected("the bucket has no valid URL", cause))?;
    let mut link = Link::signed(url, UrlMethod::Post, window.until);
    link.fields = form.fields;
    Ok(link)
}

fn check_supported(s3: &Shared, key: &Key) -> Result<()> {
    if s3.tags.is_some() {
        return Err(Error::unsupported(
            "forms of a driver with tags are not supported: create a link for PUT",
        ));
    }
    if !s3.features.forms {
        return Err(Error::unsupported(
            "this service does not support upload forms: create a link for PUT",
        ));
    }
    if key.as_str().contains(FILE_NAME_VARIABLE) {
        return Err(contains_file_name("the key"));
    }
    Ok(())
}

/// Returns the error for a text that contains the variable. S3 replaces it in every field, so that
/// the object would get another name or the upload would be refused.
fn contains_file_name(what: &str) -> Error {
    Error::unsupported(format!(
        "{what} contains the text {FILE_NAME_VARIABLE}, which the service replaces with the file's name in a form: create a link for PUT"
    ))
}

/// The fields of a form and the conditions of its policy.
#[derive(Default)]
struct Form {
    fields: Vec<(String, String)>,
    conditions: Vec<Value>,
}

impl Form {
    fn require(&mut self, name: &str, value: &str, is_field: bool) {
        let mut condition = serde_json::Map::new();
        condition.insert(name.to_owned(), Value::from(value));
        self.conditions.push(condition.into());
        if is_field {
            self.fields.push((name.to_owned(), value.to_owned()));
        }
    }

    fn require_prefix(&mut self, name: &str, prefix: &str) {
        self.conditions.push(json!(["starts-with", format!("${name}"), prefix]));
    }

    fn require_key(&mut self, key: &Key, any_name: bool) {
        if any_name {
            self.require_prefix("key", &format!("{key}/"));
            self.fields.push(("key".to_owned(), format!("{key}/{FILE_NAME_VARIABLE}")));
        } else {
            self.require("key", key.as_str(), true);
        }
    }

    fn require_content_type(&mut self, key: &Key, options: &UrlOptions) {
        match (options.content_type_prefix(), &options.content_type) {
            // The page adds a field with the exact type.
            (Some(prefix), _) => self.require_prefix("Content-Type", prefix),
            (None, Some(exact)) => self.require("Content-Type", exact, true),
            // A condition on a missing field does not hold, so the form contains a field for pages
            // that add none.
            (None, None) => {
                self.require_prefix("Content-Type", "");
                let guess = match options.any_name {
                    true => DEFAULT_TYPE.to_owned(),
                    false => content_type::of_key(key),
                };
                self.fields.push(("Content-Type".to_owned(), guess));
            }
        }
    }

    fn require_credential(&mut self, scope: &CredentialScope, credential: &AwsCredential) {
        self.require("x-amz-algorithm", ALGORITHM, true);
        let id = format!("{}/{}", credential.key_id, scope.text);
        self.require("x-amz-credential", &id, true);
        self.require("x-amz-date", &scope.time, true);
        if let Some(token) = &credential.token {
            self.require("x-amz-security-token", token, true);
        }
    }

    /// Fails if a field contains the variable, except that of the key, which was checked before.
    fn check_variable(&self) -> Result<()> {
        let mut others = self.fields.iter().filter(|(name, _)| name != "key");
        match others.find(|(_, value)| value.contains(FILE_NAME_VARIABLE)) {
            Some((name, _)) => Err(contains_file_name(&format!("the field {name}"))),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use chrono::{DateTime, Utc};

    use super::*;

    /// The example of the documentation ("Example: Browser-Based Upload using HTTP POST").
    #[test]
    fn the_signature_equals_that_of_the_documentation() {
        let credential = AwsCredential {
            key_id: "AKIAIOSFODNN7EXAMPLE".to_owned(),
            secret_key: "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY".to_owned(),
            token: None,
        };
        let from = "2015-12-29T00:00:00Z".parse::<DateTime<Utc>>().unwrap();
        let lifetime = Duration::from_secs(60);
        let window = SigningWindow { from, lifetime, until: SystemTime::from(from) + lifetime };
        let policy = "eyAiZXhwaXJhdGlvbiI6ICIyMDE1LTEyLTMwVDEyOjAwOjAwLjAwMFoiLA0KICAiY29uZGl0aW9ucyI6IFsNCiAgICB7ImJ1Y2tldCI6ICJzaWd2NGV4YW1wbGVidWNrZXQifSwNCiAgICBbInN0YXJ0cy13aXRoIiwgIiRrZXkiLCAidXNlci91c2VyMS8iXSwNCiAgICB7ImFjbCI6ICJwdWJsaWMtcmVhZCJ9LA0KICAgIHsic3VjY2Vzc19hY3Rpb25fcmVkaXJlY3QiOiAiaHR0cDovL3NpZ3Y0ZXhhbXBsZWJ1Y2tldC5zMy5hbWF6b25hd3MuY29tL3N1Y2Nlc3NmdWxfdXBsb2FkLmh0bWwifSwNCiAgICBbInN0YXJ0cy13aXRoIiwgIiRDb250ZW50LVR5cGUiLCAiaW1hZ2UvIl0sDQogICAgeyJ4LWFtei1tZXRhLXV1aWQiOiAiMTQzNjUxMjM2NTEyNzQifSwNCiAgICB7IngtYW16LXNlcnZlci1zaWRlLWVuY3J5cHRpb24iOiAiQUVTMjU2In0sDQogICAgWyJzdGFydHMtd2l0aCIsICIkeC1hbXotbWV0YS10YWciLCAiIl0sDQoNCiAgICB7IngtYW16LWNyZWRlbnRpYWwiOiAiQUtJQUlPU0ZPRE5ON0VYQU1QTEUvMjAxNTEyMjkvdXMtZWFzdC0xL3MzL2F3czRfcmVxdWVzdCJ9LA0KICAgIHsieC1hbXotYWxnb3JpdGhtIjogIkFXUzQtSE1BQy1TSEEyNTYifSwNCiAgICB7IngtYW16LWRhdGUiOiAiMjAxNTEyMjlUMDAwMDAwWiIgfQ0KICBdDQp9";
        assert_eq!(
            CredentialScope::new(window, "us-east-1").sign(&credential, policy),
            "8afdbf4008c03f22c2cd3cdb72e4afbb1f6a588f3255ac628749a66d7f09699e"
        );
    }

    fn form_of(
        key: &str,
        set_up: impl FnOnce(&mut UrlOptions),
        builder: crate::S3Builder,
    ) -> Result<Link> {
        let s3 = builder
            .region("us-east-1")
            .access_key_id("AKIA")
            .secret_access_key("secret")
            .build()
            .unwrap();
        let mut options = UrlOptions::default();
        set_up(&mut options);
        let from = "2026-01-01T00:00:00Z".parse::<DateTime<Utc>>().unwrap();
        let lifetime = Duration::from_secs(60);
        let window = SigningWindow { from, lifetime, until: SystemTime::from(from) + lifetime };
        let credential = AwsCredential {
            key_id: "AKIA".to_owned(),
            secret_key: "secret".to_owned(),
            token: None,
        };
        signed_form(s3.shared(), &Key::new(key).unwrap(), &options, window, &credential)
    }

    /// "Form fields" of "Browser-Based Uploads Using POST": a service replaces the text in every
    /// field.
    #[test]
    fn a_form_field_with_the_file_name_variable_is_refused() {
        let bucket = || crate::S3Builder::new("media");
        for (key, any_name) in
            [("a/${filename}", false), ("${filename}", false), ("a${filename}b", true)]
        {
            let error = form_of(key, |options| options.any_name = any_name, bucket()).unwrap_err();
            assert_eq!(error.kind(), storage_core::ErrorKind::Unsupported, "{key}: {error}");
            assert!(
                error.message().contains("${filename}") && error.message().contains("PUT"),
                "{error}"
            );
        }
        let content_type =
            |options: &mut UrlOptions| options.content_type = Some("text/${filename}".to_owned());
        let error = form_of("a", content_type, bucket()).unwrap_err();
        assert!(error.message().contains("Content-Type"), "{error}");
        assert!(form_of("a", |_| {}, bucket().storage_class("X${filename}")).is_err());
        for key in ["a/$filename", "a/${file}", "{filename}"] {
            assert!(form_of(key, |_| {}, bucket()).is_ok(), "{key}");
        }
        let form = form_of("dir", |options| options.any_name = true, bucket()).unwrap();
        assert_eq!(form.fields[0], ("key".to_owned(), "dir/${filename}".to_owned()));
    }
}
