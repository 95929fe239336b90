//! `url`: a link of the kind that was asked for, or `Unsupported`.

use std::collections::HashSet;
use std::time::{Duration, SystemTime};

use storage_core::{ErrorKind, Link, UrlMethod};

use crate::case::Checked;
use crate::kit::{Kit, refused};

const QUARTER: Duration = Duration::from_secs(900);

/// Keys whose characters mean something in a URL.
const ODD: &[&str] = &["a b", "a%20b", "a+b", "a?b=c", "a#b", "a&b", "d/é", "d/☺/x", "a\\b", "..a", "100%"];

pub(crate) async fn each_kind_of_link_is_made_or_unsupported(kit: &Kit) -> Checked {
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
            Ok(_) => assert!(supported, "{kind}: made, though the capabilities deny it"),
            refusal if !supported => drop(refused(refusal, ErrorKind::Unsupported)),
            Err(error) => panic!("{kind}: {error}"),
        }
    }
    match url().method(UrlMethod::Put).expires_in(QUARTER).await {
        Ok(_) => assert!(can.signed_put, "PUT: made, though the capabilities deny it"),
        // Reading only is a matter of permission.
        Err(error) if !can.signed_put && !can.write => {
            assert!(matches!(error.kind(), ErrorKind::Unsupported | ErrorKind::PermissionDenied), "{error}");
        }
        refusal if !can.signed_put => drop(refused(refusal, ErrorKind::Unsupported)),
        Err(error) => panic!("PUT: {error}"),
    }
    Ok(())
}

pub(crate) async fn a_public_link_is_for_ever_and_names_the_key(kit: &Kit) -> Checked {
    let link = kit.storage.url("a/b.png").await?;
    assert_eq!(link.expires_at, None);
    assert_eq!(link.method, UrlMethod::Get);
    assert!(link.url.path().ends_with("/a/b.png"), "{link}");
    assert!(link.url.password().is_none() && link.url.username().is_empty(), "a credential is in the link");
    assert_eq!(kit.storage.url("a/b.png").await?.url, link.url, "public links are stable");
    Ok(())
}

pub(crate) async fn public_links_encode_odd_keys(kit: &Kit) -> Checked {
    let mut seen = HashSet::new();
    for key in ODD {
        let link = kit.storage.url(*key).await?;
        names_key(&link, key);
        assert!(seen.insert(link.url.clone()), "two keys have the link {link}");
    }
    Ok(())
}

pub(crate) async fn signed_links_encode_odd_keys(kit: &Kit) -> Checked {
    let mut seen = HashSet::new();
    for key in ODD {
        let link = kit.storage.url(*key).expires_in(QUARTER).await?;
        names_key(&link, key);
        assert!(seen.insert(link.url.path().to_owned()), "two keys have the path of {link:?}");
    }
    Ok(())
}

/// The path, decoded, ends in the key: nothing of it became a query, a fragment or another segment.
fn names_key(link: &Link, key: &str) {
    let path = percent_decoded(link.url.path());
    assert!(path.ends_with(&format!("/{key}")), "{key:?} has the link {link:?}");
    assert_eq!(link.url.fragment(), None, "{link:?}");
}

fn percent_decoded(path: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = path.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        let code = (first == b'%').then(|| after.get(..2)).flatten().and_then(|hex| std::str::from_utf8(hex).ok());
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

pub(crate) async fn a_link_is_made_without_looking_for_the_object(kit: &Kit) -> Checked {
    kit.storage.url("never/saved.png").await?;
    Ok(())
}

pub(crate) async fn a_signed_link_says_when_it_ends(kit: &Kit) -> Checked {
    for time in [Duration::from_secs(1), QUARTER, Duration::from_secs(86_400)] {
        let before = SystemTime::now();
        let link = kit.storage.url("a/b.png").expires_in(time).await?;
        let ends = link.expires_at.unwrap_or_else(|| panic!("a signed link without an end: {link:?}"));
        // Whole seconds, and the clock of whoever signs.
        let slack = Duration::from_secs(5);
        assert!(ends + slack >= before + time, "it ends too early: {ends:?}");
        assert!(ends <= SystemTime::now() + time + slack, "it ends too late: {ends:?}");
    }
    Ok(())
}

pub(crate) async fn a_signed_link_is_never_a_public_one(kit: &Kit) -> Checked {
    let signed = kit.storage.url("a/b.png").expires_in(QUARTER).await?;
    assert!(signed.expires_at.is_some());
    assert!(signed.url.query().is_some(), "there is no signature in {}", signed.url);
    if kit.storage.info().capabilities.public_url {
        assert_ne!(kit.storage.url("a/b.png").await?.url, signed.url);
    }
    Ok(())
}

/// Also where links cannot be signed but public ones are made: the expiry must not be lost.
pub(crate) async fn an_expiry_is_never_ignored(kit: &Kit) -> Checked {
    for method in [UrlMethod::Get, UrlMethod::Head, UrlMethod::Put] {
        if let Ok(link) = kit.storage.url("a/b.png").method(method).expires_in(QUARTER).await {
            assert!(link.expires_at.is_some(), "{method:?} got a link for ever: {link:?}");
            assert_eq!(link.method, method);
        }
    }
    Ok(())
}

pub(crate) async fn what_is_signed_makes_a_difference(kit: &Kit) -> Checked {
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
    let different: HashSet<_> = links.iter().map(|link| (link.url.as_str(), link.method.as_str())).collect();
    assert_eq!(different.len(), links.len(), "an option was dropped: {different:?}");
    Ok(())
}

pub(crate) async fn an_upload_link_is_bound_to_what_was_asked(kit: &Kit) -> Checked {
    let url = || kit.storage.url("a/b.png").method(UrlMethod::Put).expires_in(QUARTER);
    let links = [
        url().await?,
        url().content_type("image/png").await?,
        url().content_type("text/css").await?,
        url().content_length(5).await?,
        url().content_length(6).await?,
    ];
    let different: HashSet<_> = links.iter().map(|link| (link.url.as_str(), &link.headers)).collect();
    assert_eq!(different.len(), links.len(), "a condition was dropped: {links:?}");
    assert!(links.iter().all(|link| link.method == UrlMethod::Put && link.expires_at.is_some()), "{links:?}");
    if kit.storage.info().capabilities.signed_get {
        let download = kit.storage.url("a/b.png").expires_in(QUARTER).await?;
        assert_ne!(download.url, links[0].url, "a link for downloading is no link for uploading");
    }
    Ok(())
}

/// What ends up in logs is the `Debug` form.
pub(crate) async fn the_signature_does_not_show_in_debug_output(kit: &Kit) -> Checked {
    let link = kit.storage.url("a/b.png").expires_in(QUARTER).await?;
    let query = link.url.query().unwrap_or_default().to_owned();
    assert!(!query.is_empty() && !format!("{link:?}").contains(&query), "{link:?}");
    Ok(())
}
