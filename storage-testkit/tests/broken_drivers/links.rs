//! Links with flaws.

use std::sync::Mutex;
use std::time::Duration;

use storage_core::signed_url::SigningKey;
use storage_core::{
    Capabilities, Driver, Error, ErrorKind, Key, Link, LinkVerifier, Result, UrlMethod, UrlOptions,
    async_trait,
};

use crate::flaw::{Flaw, Sound, caught};

/// A flaw of `url`.
macro_rules! flawed_url {
    ($flaw:ident, |$inner:ident, $key:ident, $options:ident| $body:expr) => {
        #[derive(Default)]
        struct $flaw;

        #[async_trait]
        impl Flaw for $flaw {
            async fn url(&self, $inner: &Sound, $key: &Key, $options: &UrlOptions) -> Result<Link> {
                $body
            }
        }
    };
}

flawed_url!(IgnoresExpiry, |inner, key, _options| inner.link(key, &UrlOptions::default()));

#[test]
fn a_signed_link_that_is_public_is_caught() {
    caught::<IgnoresExpiry>(&[
        "url::an_expiry_is_never_ignored",
        "url::a_signed_link_is_never_a_public_link",
        "url::a_signed_link_states_when_it_expires",
        "url::signed_links_with_different_options_differ",
        "url::debug_output_hides_the_signature",
    ]);
}

flawed_url!(FallsBackToPublic, |inner, key, options| match options.method {
    UrlMethod::Head if options.expires_in.is_some() => inner.link(key, &UrlOptions::default()),
    _ => inner.link(key, options),
});

#[test]
fn a_link_that_falls_back_to_a_public_one_is_caught() {
    caught::<FallsBackToPublic>(&["url::an_expiry_is_never_ignored"]);
}

flawed_url!(AlwaysTheLongest, |inner, key, options| {
    let mut options = options.clone();
    options.expires_in = options.expires_in.map(|_| Duration::from_secs(7 * 86_400));
    inner.link(key, &options)
});

#[test]
fn a_link_that_works_too_long_is_caught() {
    caught::<AlwaysTheLongest>(&[
        "url::a_signed_link_states_when_it_expires",
        "url::signed_links_with_different_options_differ",
    ]);
}

flawed_url!(DropsResponseHeaders, |inner, key, options| {
    let mut options = options.clone();
    options.response_content_type = None;
    options.response_content_disposition = None;
    inner.link(key, &options)
});

#[test]
fn response_headers_that_are_dropped_are_caught() {
    caught::<DropsResponseHeaders>(&["url::signed_links_with_different_options_differ"]);
}

flawed_url!(UploadsAnything, |inner, key, options| {
    let mut options = options.clone();
    options.content_type = None;
    options.content_length = None;
    inner.link(key, &options)
});

#[test]
fn upload_conditions_that_are_dropped_are_caught() {
    caught::<UploadsAnything>(&["url::an_upload_link_is_bound_to_its_options"]);
}

flawed_url!(OneLinkForAll, |inner, key, options| {
    let mut get = UrlOptions::default();
    get.expires_in = options.expires_in;
    let mut link = inner.link(key, &get)?;
    link.method = options.method;
    Ok(link)
});

#[test]
fn a_download_link_for_uploading_is_caught() {
    caught::<OneLinkForAll>(&["url::an_upload_link_is_bound_to_its_options"]);
}

flawed_url!(DoesNotEncode, |inner, key, options| {
    let link = inner.link(key, options)?;
    let query = link.query().map(|query| format!("?{query}")).unwrap_or_default();
    // Like a driver that writes the key into a text and parses the text.
    let url = format!("{}{key}{query}", Sound::base()).parse();
    Ok(link.with_url(url.map_err(|error| Error::unexpected("no URL", error))?))
});

#[test]
fn links_that_are_not_encoded_are_caught() {
    caught::<DoesNotEncode>(&[
        "url::public_links_encode_unusual_keys",
        "url::signed_links_encode_unusual_keys",
    ]);
}

flawed_url!(LooksForTheObject, |inner, key, options| {
    inner.memory.stat(key).await?;
    inner.link(key, options)
});

#[test]
fn a_link_that_needs_the_object_is_caught() {
    caught::<LooksForTheObject>(&["url::a_link_to_a_missing_object_is_returned"]);
}

flawed_url!(PublicLinksExpire, |inner, key, options| {
    let mut link = inner.link(key, options)?;
    link.expires_at = Some(std::time::SystemTime::now());
    Ok(link)
});

#[test]
fn a_public_link_that_expires_is_caught() {
    caught::<PublicLinksExpire>(&["url::a_public_link_does_not_expire_and_contains_the_key"]);
}

flawed_url!(CannotSign, |inner, key, options| match options.expires_in {
    Some(_) => Err(Error::unsupported("no signing key is set")),
    None => inner.link(key, options),
});

#[test]
fn a_capability_for_links_that_are_unsupported_is_caught() {
    caught::<CannotSign>(&["url::each_kind_of_link_is_returned_or_unsupported"]);
}

flawed_url!(FormsForAnything, |inner, key, options| {
    let mut options = options.clone();
    options.content_type = None;
    options.content_length_range = None;
    inner.link(key, &options)
});

#[test]
fn conditions_of_a_form_that_are_dropped_are_caught() {
    caught::<FormsForAnything>(&["url::a_form_is_bound_to_its_options"]);
}

flawed_url!(OneNameAlone, |inner, key, options| {
    let mut options = options.clone();
    options.any_name = false;
    inner.link(key, &options)
});

#[test]
fn a_form_that_ignores_any_name_is_caught() {
    caught::<OneNameAlone>(&["url::a_form_is_bound_to_its_options"]);
}

flawed_url!(FieldsInTheUrl, |inner, key, options| {
    let mut form = inner.link(key, options)?;
    // `Debug` does not hide the path.
    let mut url = form.url()?;
    for (_, value) in &form.fields {
        url =
            url.join(&format!("./{value}/")).map_err(|error| Error::unexpected("no URL", error))?;
    }
    form.fields.iter_mut().for_each(|(_, value)| *value = url.path().to_owned());
    Ok(form.with_url(url))
});

#[test]
fn a_form_whose_debug_output_contains_its_fields_is_caught() {
    caught::<FieldsInTheUrl>(&["url::debug_output_hides_the_fields_of_a_form"]);
}

flawed_url!(NeverStable, |inner, key, options| {
    let mut options = options.clone();
    options.expires_in =
        options.expires_in.map(|time| time + options.stable_for.unwrap_or_default());
    options.stable_for = None;
    inner.link(key, &options)
});

#[test]
fn a_link_that_is_not_stable_is_caught() {
    caught::<NeverStable>(&["url::a_stable_link_stays_the_same"]);
}

// Counts the lifetime from the start of the window, without adding the window.
flawed_url!(ExpiresWithinItsWindow, |inner, key, options| {
    let mut link = inner.link(key, options)?;
    link.expires_at = link.expires_at.map(|end| end - options.stable_for.unwrap_or_default());
    Ok(link)
});

#[test]
fn a_stable_link_that_expires_too_early_is_caught() {
    caught::<ExpiresWithinItsWindow>(&["url::a_stable_link_is_valid_as_long_as_requested"]);
}

/// Keeps links by path, regardless of their options.
#[derive(Default)]
struct RemembersLinks(Mutex<Option<Link>>);

#[async_trait]
impl Flaw for RemembersLinks {
    async fn url(&self, inner: &Sound, key: &Key, options: &UrlOptions) -> Result<Link> {
        let link = inner.link(key, options)?;
        if options.stable_for.is_none() {
            return Ok(link);
        }
        Ok(self.0.lock().unwrap().get_or_insert(link).clone())
    }
}

#[test]
fn a_stable_link_that_is_kept_for_other_keys_is_caught() {
    caught::<RemembersLinks>(&["url::stable_links_with_different_options_differ"]);
}

/// Returns links without the capability.
#[derive(Default)]
struct DeniesLinks;

impl Flaw for DeniesLinks {
    fn capabilities(&self) -> Capabilities {
        Capabilities::full()
    }
}

#[test]
fn links_without_their_capability_are_caught() {
    caught::<DeniesLinks>(&["url::each_kind_of_link_is_returned_or_unsupported"]);
}

/// A flaw of `link_verifier`.
macro_rules! flawed_verifier {
    ($flaw:ident, $body:expr) => {
        #[derive(Default)]
        struct $flaw;

        impl Flaw for $flaw {
            fn link_verifier(&self) -> Result<LinkVerifier> {
                $body
            }
        }
    };
}

const VERIFIER_CASE: &str = "url::the_link_verifier_accepts_the_links_of_the_storage_alone";

fn verifier(key: SigningKey) -> Result<LinkVerifier> {
    Ok(LinkVerifier::new(key).with_base(Sound::base().try_into()?))
}

flawed_verifier!(VerifiesWithAnotherKey, verifier(SigningKey::new("another secret for tests")?));

#[test]
fn a_verifier_with_another_key_is_caught() {
    caught::<VerifiesWithAnotherKey>(&[VERIFIER_CASE]);
}

flawed_verifier!(InventsAPrefix, Ok(verifier(Sound::signer()?)?.with_prefix("in/side/")));

#[test]
fn a_verifier_with_a_prefix_that_links_lack_is_caught() {
    caught::<InventsAPrefix>(&[VERIFIER_CASE]);
}

flawed_verifier!(RefusesUploads, Ok(verifier(Sound::signer()?)?.read_only()));

#[test]
fn a_verifier_that_refuses_the_uploads_of_a_writable_storage_is_caught() {
    caught::<RefusesUploads>(&[VERIFIER_CASE]);
}

flawed_verifier!(FailsWithoutReason, Err(Error::new(ErrorKind::Unexpected, "no verifier")));

#[test]
fn a_missing_verifier_without_a_reason_is_caught() {
    caught::<FailsWithoutReason>(&[VERIFIER_CASE]);
}
