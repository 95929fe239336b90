//! AWS Signature Version 4 for signed links and signed forms ("Authenticating Requests: Using Query
//! Parameters" and "Using POST").

use std::collections::BTreeMap;

use hmac_sha256::HMAC;
use object_store::aws::AwsCredential;
use percent_encoding::utf8_percent_encode;
use sha2::{Digest, Sha256};
use storage_core::internal::hex;
use url::Url;

use crate::endpoint::QUERY;
use crate::signing::SigningWindow;

/// The name of the algorithm, in links and in forms.
pub(crate) const ALGORITHM: &str = "AWS4-HMAC-SHA256";

/// The scope of a signing key ("Calculating a Signature").
pub(crate) struct CredentialScope {
    date: String,
    region: String,
    /// The beginning of the window: `20130524T000000Z`.
    pub(crate) time: String,
    /// `20130524/us-east-1/s3/aws4_request`.
    pub(crate) text: String,
}

impl CredentialScope {
    pub(crate) fn new(window: SigningWindow, region: &str) -> Self {
        let date = window.from.format("%Y%m%d").to_string();
        Self {
            time: window.from.format("%Y%m%dT%H%M%SZ").to_string(),
            text: format!("{date}/{region}/s3/aws4_request"),
            region: region.to_owned(),
            date,
        }
    }

    /// Returns the signature of a text, in hexadecimal digits.
    pub(crate) fn sign(&self, credential: &AwsCredential, text: &str) -> String {
        let secret = format!("AWS4{}", credential.secret_key);
        let parts = [self.date.as_str(), &self.region, "s3", "aws4_request", text];
        let sign = |key: Vec<u8>, part: &&str| HMAC::mac(part.as_bytes(), key).to_vec();
        hex(&parts.iter().fold(secret.into_bytes(), sign))
    }
}

/// What a signed link allows.
pub(crate) struct Presign<'a> {
    pub(crate) method: &'a str,
    pub(crate) url: Url,
    /// Further parameters of the query, without those of the signature.
    pub(crate) query: Vec<(&'a str, &'a str)>,
    /// The headers that the request must contain, with names in lower case. `host` is added.
    pub(crate) headers: &'a [(String, String)],
}

impl Presign<'_> {
    /// Returns the URL with the signature in its query.
    pub(crate) fn sign(
        &self,
        window: SigningWindow,
        region: &str,
        credential: &AwsCredential,
    ) -> Url {
        let scope = CredentialScope::new(window, region);
        let headers = self.canonical_headers();
        let names = headers.keys().copied().collect::<Vec<_>>().join(";");
        let credential_text = format!("{}/{}", credential.key_id, scope.text);
        let lifetime = window.lifetime.as_secs().to_string();
        let mut parameters = self.query.clone();
        parameters.extend([
            ("X-Amz-Algorithm", ALGORITHM),
            ("X-Amz-Credential", &credential_text),
            ("X-Amz-Date", &scope.time),
            ("X-Amz-Expires", &lifetime),
            ("X-Amz-SignedHeaders", &names),
        ]);
        if let Some(token) = credential.token.as_deref().filter(|token| !token.is_empty()) {
            parameters.push(("X-Amz-Security-Token", token));
        }
        let query = canonical_query(&parameters);

        let headers: String =
            headers.iter().map(|(name, value)| format!("{name}:{value}\n")).collect();
        let request = format!(
            "{}\n{}\n{query}\n{headers}\n{names}\nUNSIGNED-PAYLOAD",
            self.method,
            self.url.path(),
        );
        let text = format!(
            "{ALGORITHM}\n{}\n{}\n{}",
            scope.time,
            scope.text,
            hex(&Sha256::digest(request)),
        );
        let signature = scope.sign(credential, &text);
        let mut url = self.url.clone();
        url.set_query(Some(&format!("{query}&X-Amz-Signature={signature}")));
        url
    }

    /// Returns the headers by name, each value trimmed and with single spaces.
    fn canonical_headers(&self) -> BTreeMap<&str, String> {
        let host = self.url.host_str().unwrap_or_default();
        // A client sends the port only if it is not the default port of the scheme.
        let host = match self.url.port() {
            Some(port) => format!("{host}:{port}"),
            None => host.to_owned(),
        };
        let single_spaces = |value: &str| value.split_whitespace().collect::<Vec<_>>().join(" ");
        self.headers
            .iter()
            .map(|(name, value)| (name.as_str(), single_spaces(value)))
            .chain([("host", host)])
            .collect()
    }
}

/// Returns the parameters in the order of their encoded names.
fn canonical_query(parameters: &[(&str, &str)]) -> String {
    let encode = |text| utf8_percent_encode(text, QUERY).to_string();
    let mut pairs: Vec<_> =
        parameters.iter().map(|(name, value)| (encode(*name), encode(*value))).collect();
    pairs.sort();
    let pairs: Vec<_> = pairs.iter().map(|(name, value)| format!("{name}={value}")).collect();
    pairs.join("&")
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use chrono::DateTime;
    use proptest::prelude::*;

    use super::*;

    fn window(from: i64, lifetime: u64) -> SigningWindow {
        let from = DateTime::from_timestamp(from, 0).unwrap();
        let lifetime = Duration::from_secs(lifetime);
        SigningWindow { from, lifetime, until: SystemTime::from(from) + lifetime }
    }

    fn credential(token: Option<String>) -> AwsCredential {
        AwsCredential {
            key_id: "AKIAIOSFODNN7EXAMPLE".to_owned(),
            secret_key: "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY".to_owned(),
            token,
        }
    }

    /// The example of the documentation ("Authenticating Requests: Using Query Parameters").
    #[test]
    fn the_signature_of_a_link_equals_that_of_the_documentation() {
        let url = Url::parse("https://examplebucket.s3.amazonaws.com/test.txt").unwrap();
        let presign = Presign { method: "GET", url, query: Vec::new(), headers: &[] };
        let url = presign.sign(window(1_369_353_600, 86_400), "us-east-1", &credential(None));
        assert_eq!(
            url.as_str(),
            "https://examplebucket.s3.amazonaws.com/test.txt?X-Amz-Algorithm=AWS4-HMAC-SHA256\
             &X-Amz-Credential=AKIAIOSFODNN7EXAMPLE%2F20130524%2Fus-east-1%2Fs3%2Faws4_request\
             &X-Amz-Date=20130524T000000Z&X-Amz-Expires=86400&X-Amz-SignedHeaders=host\
             &X-Amz-Signature=aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404"
        );
    }

    proptest! {
        /// `rusty-s3` is a second implementation of the same algorithm.
        #[test]
        fn a_signed_link_equals_that_of_another_implementation(
            key in "[a-zA-Z0-9 äß/%+&=?#~._-]{1,40}",
            port in proptest::option::of(1024_u16..),
            disposition in proptest::option::of("[ -~äß]{0,40}"),
            content_type in proptest::option::of("[ -~]{0,30}"),
            token in proptest::option::of("[a-zA-Z0-9/+=]{0,40}"),
            from in 0_i64..4_000_000_000,
            lifetime in 1_u64..604_800,
        ) {
            let port = port.map(|port| format!(":{port}")).unwrap_or_default();
            let mut url = Url::parse(&format!("https://media.example.com{port}/")).unwrap();
            url.set_path(&key);
            let query: Vec<_> = disposition
                .iter()
                .map(|value| ("response-content-disposition", value.as_str()))
                .collect();
            let headers: Vec<_> = content_type
                .iter()
                .flat_map(|value| [("content-type", value.clone()), ("x-amz-acl", value.clone())])
                .map(|(name, value)| (name.to_owned(), value))
                .collect();
            let credential = credential(token);
            let expected = rusty_s3::signing::sign(
                &jiff::Timestamp::from_second(from).unwrap(),
                rusty_s3::Method::Put,
                url.clone(),
                &credential.key_id,
                &credential.secret_key,
                credential.token.as_deref(),
                "eu-west-1",
                lifetime,
                query.iter().copied(),
                headers.iter().map(|(name, value)| (name.as_str(), value.as_str())),
            );
            let presign = Presign { method: "PUT", url, query, headers: &headers };
            let signed = presign.sign(window(from, lifetime), "eu-west-1", &credential);
            prop_assert_eq!(signed, expected);
        }
    }
}
