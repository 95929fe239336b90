//! `url` returns a link of the requested kind, or fails with `Unsupported`.

use std::collections::HashSet;
use std::time::{Duration, SystemTime};

use storage_core::{ErrorKind, Key, Link, LinkVerifier, Url, UrlMethod};

use crate::case::Checked;
use crate::kit::{Kit, refused};

const QUARTER: Duration = Duration::from_secs(900);

/// Keys with characters that have a meaning in URLs.
const ODD: &[&str] =
    &["a b", "a%20b", "a+b", "a?b=c", "a#b", "a&b", "d/é", "d/☺/x", "a\\b", "..a", "100%"];

pub(crate) async fn each_kind_of_link_is_returned_or_unsupported(kit: &Kit) -> Checked {
    let can = kit.storage.info().capabilities;
    let url = || kit.storage.url("a/b.png");
    let links = [
        ("public, GET", can.public_url, url().await),
        ("public, HEAD", can.public_url, url().method(UrlMethod::Head).await),
        ("signed, GET", can.signed_get, url().expires_in(QUARTER).await),
        ("signed, HEAD", can.signed_get, url().method(UrlMethod::Head).expires_in(QUARTER).await),
    ];
    for (kind, supported, link) in links {
        match link {
            Ok(_) => assert!(supported, "{kind}: a link, although it is not a capability"),
            refusal if !supported => drop(refused(refusal, ErrorKind::Unsupported)),
            Err(error) => panic!("{kind}: {error}"),
        }
    }
    for (method, supported) in
        [(UrlMethod::Put, can.signed_put), (UrlMethod::Post, can.signed_post)]
    {
        match url().method(method).expires_in(QUARTER).await {
            Ok(_) => assert!(supported, "{method:?}: a link, although it is not a capability"),
            // A read-only layer forbids uploads.
            Err(error) if !supported && !can.write => {
                assert!(
                    matches!(error.kind(), ErrorKind::Unsupported | ErrorKind::PermissionDenied),
                    "{error}"
                );
            }
            refusal if !supported => drop(refused(refusal, ErrorKind::Unsupported)),
            Err(error) => panic!("{method:?}: {error}"),
        }
    }
    Ok(())
}

pub(crate) async fn a_public_link_does_not_expire_and_contains_the_key(kit: &Kit) -> Checked {
    let link = kit.storage.url("a/b.png").await?;
    assert_eq!(link.expires_at, None);
    assert_eq!(link.method, UrlMethod::Get);
    let url = opened(&link);
    assert!(url.path().ends_with("/a/b.png"), "{link}");
    assert!(url.password().is_none() && url.username().is_empty(), "a credential is in the link");
    assert_eq!(kit.storage.url("a/b.png").await?, link, "public links are stable");
    Ok(())
}

pub(crate) async fn public_links_encode_unusual_keys(kit: &Kit) -> Checked {
    let mut seen = HashSet::new();
    for key in ODD {
        let link = kit.storage.url(*key).await?;
        names_key(&link, key);
        assert!(seen.insert(link.to_string()), "two keys have the link {link}");
    }
    Ok(())
}

pub(crate) async fn signed_links_encode_unusual_keys(kit: &Kit) -> Checked {
    let mut seen = HashSet::new();
    for key in ODD {
        let link = kit.storage.url(*key).expires_in(QUARTER).await?;
        names_key(&link, key);
        assert!(seen.insert(opened(&link).path().to_owned()), "two keys have the path of {link:?}");
    }
    Ok(())
}

/// Returns the URL that a browser opens from a page. A relative link needs the page.
fn opened(link: &Link) -> Url {
    let page = Url::parse("http://page.example/").expect("a valid URL");
    page.join(link.as_str()).unwrap_or_else(|error| panic!("{link:?} is not a URL: {error}"))
}

/// Asserts that the decoded path ends with the key, and that no part of the key became a query, a
/// fragment or another segment.
fn names_key(link: &Link, key: &str) {
    let url = opened(link);
    let path = percent_decoded(url.path());
    assert!(path.ends_with(&format!("/{key}")), "{key:?} has the link {link:?}");
    assert_eq!(url.fragment(), None, "{link:?}");
}

fn percent_decoded(path: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = path.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        let code = (first == b'%')
            .then(|| after.get(..2))
            .flatten()
            .and_then(|hex| std::str::from_utf8(hex).ok());
        match code.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = &after[2..];
            }
            None => {
                bytes.push(first);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

pub(crate) async fn a_link_to_a_missing_object_is_returned(kit: &Kit) -> Checked {
    kit.storage.url("never/saved.png").await?;
    Ok(())
}

pub(crate) async fn a_signed_link_states_when_it_expires(kit: &Kit) -> Checked {
    for time in [Duration::from_secs(1), QUARTER, Duration::from_secs(86_400)] {
        let before = SystemTime::now();
        let link = kit.storage.url("a/b.png").expires_in(time).await?;
        let ends = link
            .expires_at
            .unwrap_or_else(|| panic!("a signed link that does not expire: {link:?}"));
        // Whole seconds, on the clock of the signer.
        let slack = Duration::from_secs(5);
        assert!(ends + slack >= before + time, "it expires too early: {ends:?}");
        assert!(ends <= SystemTime::now() + time + slack, "it expires too late: {ends:?}");
    }
    Ok(())
}

pub(crate) async fn a_signed_link_is_never_a_public_link(kit: &Kit) -> Checked {
    let signed = kit.storage.url("a/b.png").expires_in(QUARTER).await?;
    assert!(signed.expires_at.is_some());
    assert!(signed.query().is_some(), "there is no signature in {signed}");
    if kit.storage.info().capabilities.public_url {
        assert_ne!(kit.storage.url("a/b.png").await?.as_str(), signed.as_str());
    }
    Ok(())
}

/// Also if the driver only has public links: it must not ignore the expiry.
pub(crate) async fn an_expiry_is_never_ignored(kit: &Kit) -> Checked {
    for method in [UrlMethod::Get, UrlMethod::Head, UrlMethod::Put, UrlMethod::Post] {
        if let Ok(link) = kit.storage.url("a/b.png").method(method).expires_in(QUARTER).await {
            assert!(link.expires_at.is_some(), "{method:?}: a link that does not expire: {link:?}");
            assert_eq!(link.method, method);
        }
    }
    Ok(())
}

pub(crate) async fn signed_links_with_different_options_differ(kit: &Kit) -> Checked {
    let url = |key: &str| kit.storage.url(key).expires_in(QUARTER);
    let links = [
        url("a/b.png").await?,
        url("a/c.png").await?,
        url("a/b.png").method(UrlMethod::Head).await?,
        kit.storage.url("a/b.png").expires_in(2 * QUARTER).await?,
        url("a/b.png").response_content_type("text/plain").await?,
        url("a/b.png").response_content_type("text/css").await?,
        url("a/b.png").response_content_disposition("attachment; filename=\"b c.png\"").await?,
    ];
    let different: HashSet<_> =
        links.iter().map(|link| (link.as_str(), link.method.as_str())).collect();
    assert_eq!(different.len(), links.len(), "an option was dropped: {different:?}");
    Ok(())
}

pub(crate) async fn an_upload_link_is_bound_to_its_options(kit: &Kit) -> Checked {
    let url = || kit.storage.url("a/b.png").method(UrlMethod::Put).expires_in(QUARTER);
    let links = [
        url().await?,
        url().content_type("image/png").await?,
        url().content_type("text/css").await?,
        url().content_length(5).await?,
        url().content_length(6).await?,
    ];
    let different: HashSet<_> = links.iter().map(|link| (link.as_str(), &link.headers)).collect();
    assert_eq!(different.len(), links.len(), "a condition was dropped: {links:?}");
    assert!(
        links.iter().all(|link| link.method == UrlMethod::Put && link.expires_at.is_some()),
        "{links:?}"
    );
    if kit.storage.info().capabilities.signed_get {
        let download = kit.storage.url("a/b.png").expires_in(QUARTER).await?;
        assert_ne!(download.as_str(), links[0].as_str(), "a link for downloading accepts uploads");
    }
    Ok(())
}

pub(crate) async fn a_form_is_bound_to_its_options(kit: &Kit) -> Checked {
    // The links are stable, so they do not differ only because of the time.
    let form = |key: &str| {
        kit.storage.url(key).method(UrlMethod::Post).expires_in(QUARTER).stable_for(WINDOW)
    };
    let before = SystemTime::now();
    let forms = [
        form("a/b.png").await?,
        form("a/c.png").await?,
        form("a/b.png").any_name().await?,
        form("a/b.png").content_type("image/png").await?,
        form("a/b.png").content_type("image/*").await?,
        form("a/b.png").content_length_range(0..=5).await?,
        form("a/b.png").content_length_range(1..=5).await?,
        form("a/b.png").content_length_range(1..=6).await?,
        form("a/b.png").expires_in(2 * QUARTER).await?,
    ];
    let different: HashSet<_> = forms.iter().map(|form| (form.as_str(), &form.fields)).collect();
    assert_eq!(different.len(), forms.len(), "a condition was dropped: {forms:?}");
    for form in &forms {
        assert_eq!(form.method, UrlMethod::Post);
        assert!(!form.fields.is_empty(), "a form without fields is not signed: {form:?}");
        assert!(form.expires_at.is_some_and(|ends| ends > before), "{form:?}");
    }
    Ok(())
}

pub(crate) async fn debug_output_hides_the_fields_of_a_form(kit: &Kit) -> Checked {
    let form = kit.storage.url("a/b.png").method(UrlMethod::Post).expires_in(QUARTER).await?;
    let shown = format!("{form:?}");
    for (name, value) in form.fields.iter().filter(|(_, value)| value.len() > 16) {
        assert!(!shown.contains(value), "the output contains the field {name}");
    }
    if let Some(query) = form.query() {
        assert!(!shown.contains(query), "the output contains the query");
    }
    Ok(())
}

const WINDOW: Duration = Duration::from_secs(3600);

fn window_of(time: SystemTime) -> u64 {
    time.duration_since(SystemTime::UNIX_EPOCH)
        .map_or(0, |since| since.as_secs() / WINDOW.as_secs())
}

/// Waits for the next second, in which links that are not stable differ.
async fn next_second() {
    let second = || {
        SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs())
    };
    let now = second();
    while second() <= now {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

pub(crate) async fn a_stable_link_stays_the_same(kit: &Kit) -> Checked {
    let url = || kit.storage.url("a/b.png").expires_in(QUARTER).stable_for(WINDOW);
    // The window may end between the first two calls, but not again between the next two.
    for _ in 0..2 {
        let before = SystemTime::now();
        let first = url().await?;
        next_second().await;
        let second = url().await?;
        if window_of(before) == window_of(SystemTime::now()) {
            assert_eq!(
                (first.as_str(), first.expires_at),
                (second.as_str(), second.expires_at),
                "it changed within its window"
            );
            return Ok(());
        }
    }
    panic!("no two calls within an hour");
}

pub(crate) async fn a_stable_link_is_valid_as_long_as_requested(kit: &Kit) -> Checked {
    for (time, window) in
        [(QUARTER, WINDOW), (WINDOW, Duration::from_secs(7)), (Duration::from_secs(1), 24 * WINDOW)]
    {
        let before = SystemTime::now();
        let link = kit.storage.url("a/b.png").expires_in(time).stable_for(window).await?;
        let ends = link
            .expires_at
            .unwrap_or_else(|| panic!("a signed link that does not expire: {link:?}"));
        assert!(ends >= before + time, "it expires too early: {ends:?}");
        // The clock of the signer may be slightly ahead.
        let latest = SystemTime::now() + time + window + Duration::from_secs(5);
        assert!(ends <= latest, "it expires too late: {ends:?}");
    }
    Ok(())
}

pub(crate) async fn stable_links_with_different_options_differ(kit: &Kit) -> Checked {
    let url = |key: &str| kit.storage.url(key).expires_in(QUARTER).stable_for(WINDOW);
    let links = [
        url("a/b.png").await?,
        url("a/c.png").await?,
        kit.storage.url("a/b.png").expires_in(2 * QUARTER).stable_for(WINDOW).await?,
        url("a/b.png").response_content_type("text/plain").await?,
    ];
    let different: HashSet<_> = links.iter().map(storage_core::Link::as_str).collect();
    assert_eq!(different.len(), links.len(), "an option was dropped: {different:?}");
    Ok(())
}

/// Logs contain the `Debug` form.
pub(crate) async fn debug_output_hides_the_signature(kit: &Kit) -> Checked {
    let link = kit.storage.url("a/b.png").expires_in(QUARTER).await?;
    let query = link.query().unwrap_or_default().to_owned();
    assert!(!query.is_empty() && !format!("{link:?}").contains(&query), "{link:?}");
    Ok(())
}

/// A storage whose links lead to a server that verifies them in its own way has no verifier.
pub(crate) async fn the_link_verifier_accepts_the_links_of_the_storage_alone(kit: &Kit) -> Checked {
    use UrlMethod::{Get, Head, Put};
    let can = kit.storage.info().capabilities;
    let verifier = match kit.storage.link_verifier() {
        Ok(verifier) => verifier,
        Err(error) => {
            let is_stated =
                matches!(error.kind(), ErrorKind::InvalidConfig | ErrorKind::Unsupported);
            assert!(is_stated, "{error}");
            return Ok(());
        }
    };
    assert!(can.signed_get, "there is a verifier, but no link for it");
    assert_eq!(verifier.accepts_uploads(), can.signed_put);
    let accepts = |method: UrlMethod, linked: &Key, link: &Link| {
        verifier.verify(method, linked, link.query().unwrap_or_default(), SystemTime::now()).is_ok()
    };
    for key in ODD {
        let link = kit.storage.url(*key).expires_in(QUARTER).await?;
        let linked = linked_key(&verifier, &link);
        assert_eq!(verifier.key(&linked)?, *key, "{link:?}");
        assert!(accepts(Get, &linked, &link) && accepts(Head, &linked, &link), "{link:?}");
        assert!(!accepts(Put, &linked, &link), "a link for GET allows PUT: {link:?}");
        let other = Key::new(format!("{linked}x"))?;
        assert!(!accepts(Get, &other, &link), "a link allows another key: {link:?}");
    }
    if can.signed_put {
        let link = kit.storage.url("a/b.png").method(Put).expires_in(QUARTER).await?;
        let linked = linked_key(&verifier, &link);
        assert!(accepts(Put, &linked, &link), "{link:?}");
        assert!(!accepts(Get, &linked, &link), "a link for PUT allows GET: {link:?}");
    }
    Ok(())
}

/// Returns the key in a link, as the server at the base of the links reads it.
fn linked_key(verifier: &LinkVerifier, link: &Link) -> Key {
    let base = verifier.base().expect("the verifier of a storage has a base");
    let url = opened(link);
    let path = url.path().strip_prefix(base.path()).and_then(|path| path.strip_prefix('/'));
    let path = path.unwrap_or_else(|| panic!("{link:?} is not below {base}"));
    Key::new(percent_decoded(path)).unwrap_or_else(|error| panic!("{link:?}: {error}"))
}
