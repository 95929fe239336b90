//! `url`: creates public links, links with a signature in their query, and signed upload forms.

use object_store::aws::AwsCredential;
use storage_core::{Error, Key, Link, LinkVerifier, Result, UrlMethod, UrlOptions};
use url::Url;

use crate::post_form;
use crate::shared::Shared;
use crate::signature::Presign;
use crate::signing::SigningWindow;
use crate::tag_set::TAGGING;

pub(crate) async fn url(s3: &Shared, key: &Key, options: &UrlOptions) -> Result<Link> {
    if options.expires_in.is_none() {
        return public_link(s3, key, options);
    }
    let window = SigningWindow::new(options)?;
    let credential = s3.client.credential_of_links().await?;
    match options.method {
        UrlMethod::Get | UrlMethod::Head | UrlMethod::Put => {
            signed_link(s3, key, options, window, &credential)
        }
        UrlMethod::Post => post_form::signed_form(s3, key, options, window, &credential),
        other => Err(Error::unsupported(format!(
            "the S3 driver does not support links for {}",
            other.as_str()
        ))),
    }
}

/// Fails, because the service verifies its links itself.
pub(crate) fn verifier() -> Result<LinkVerifier> {
    Err(Error::unsupported(
        "signed links of S3 lead to the service, which verifies them; for links to a server of the \
         application, add layers::PublicUrl with a signing key",
    ))
}

fn public_link(s3: &Shared, key: &Key, options: &UrlOptions) -> Result<Link> {
    let Some(base) = &s3.public_url else {
        return Err(Error::unsupported(
            "public links need the option public_url: set it to the public URL of the bucket, or request a signed link (expires_in)",
        ));
    };
    let mut link = base.link(key);
    link.method = options.method;
    Ok(link)
}

fn signed_link(
    s3: &Shared,
    key: &Key,
    options: &UrlOptions,
    window: SigningWindow,
    credential: &AwsCredential,
) -> Result<Link> {
    let url = Url::parse(&s3.signing_bucket.url(key.as_str(), &[]))
        .map_err(|cause| Error::unexpected("the key makes no valid URL", cause))?;
    let query = [
        ("response-content-disposition", &options.response_content_disposition),
        ("response-content-type", &options.response_content_type),
    ];
    let query = query
        .iter()
        .filter_map(|(name, value)| value.as_deref().map(|value| (*name, value)))
        .collect();
    let headers =
        if options.method == UrlMethod::Put { upload_headers(s3, options) } else { Vec::new() };
    let presign = Presign { method: options.method.as_str(), url, query, headers: &headers };
    let url = presign.sign(window, s3.client.region(), credential);
    let mut link = Link::signed(url, options.method, window.until);
    link.headers = headers;
    Ok(link)
}

/// Returns the headers that an upload must contain: those that the link binds it to, and those of
/// the driver's object options.
fn upload_headers(s3: &Shared, options: &UrlOptions) -> Vec<(String, String)> {
    let tagging = s3.tags.iter().map(|tags| (TAGGING, &tags.header));
    let of_driver =
        s3.object_headers.iter().map(|(name, value)| (name.clone(), value)).chain(tagging);
    let mut headers: Vec<_> = of_driver
        .filter_map(|(name, value)| {
            Some((name.as_str().to_owned(), value.to_str().ok()?.to_owned()))
        })
        .collect();
    headers.extend(
        options.content_type.iter().map(|value| ("content-type".to_owned(), value.clone())),
    );
    headers.extend(
        options.content_length.iter().map(|value| ("content-length".to_owned(), value.to_string())),
    );
    headers.sort();
    headers
}
