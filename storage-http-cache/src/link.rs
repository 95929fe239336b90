//! `url`: returns a link to a healthy mirror that has the object, or to origin.

use storage_core::{Error, ErrorKind, Key, Link, LinkVerifier, Result, UrlOptions};

use crate::link_policy::LinkForm;
use crate::mirror::Mirror;
use crate::shared::Shared;

pub(crate) async fn url(cache: &Shared, key: &Key, options: &UrlOptions) -> Result<Link> {
    let Some(form) = cache.links.form(options) else {
        let link = cache.origin.url(key, options).await;
        return link.map_err(|error| cache.links.with_advice(options, error));
    };
    if !cache.memo.skips_mirror(key) {
        for mirror in cache.mirrors_for(key) {
            // If the mirror cannot sign the link, for example because it expires too late, origin
            // may be able to.
            if mirror.accepts_links(key).await
                && let Ok(link) = link_to_mirror(mirror, key, options, form)
            {
                return Ok(link);
            }
        }
    }
    let first = cache.mirrors_for(key).next();
    match (cache.origin.url(key, options).await, first) {
        (Err(error), Some(mirror))
            if error.kind() == ErrorKind::Unsupported && cache.links.needs_mirror(options) =>
        {
            link_to_mirror(mirror, key, options, form)
        }
        (link, _) => link,
    }
}

/// Returns the verifier of origin if all signed links lead to origin.
pub(crate) fn verifier(cache: &Shared) -> Result<LinkVerifier> {
    if cache.links.replaces_signed_links() {
        return Err(Error::unsupported(
            "signed links of this storage may lead to its mirror, which verifies them; a server for the \
             links of origin needs the storage of origin",
        ));
    }
    cache.origin.link_verifier()
}

fn link_to_mirror(
    mirror: &Mirror,
    key: &Key,
    options: &UrlOptions,
    form: LinkForm,
) -> Result<Link> {
    match form {
        LinkForm::Signed => mirror.client.signed_link(key, options),
        LinkForm::Plain => {
            let mut link = Link::public(mirror.client.public_url(key));
            link.method = options.method;
            Ok(link)
        }
    }
}
