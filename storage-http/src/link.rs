//! `url`: where everybody finds an object, which is where the driver finds it unless `public_url`
//! says otherwise.

use storage_core::{Error, Key, Link, Result, UrlOptions};

use crate::shared::Shared;

pub(crate) fn url(http: &Shared, key: &Key, options: &UrlOptions) -> Result<Link> {
    if options.expires_in.is_some() {
        return Err(Error::unsupported(
            "the http driver signs no links, since it has no key for them: ask for a public one (no expires_in)",
        ));
    }
    let mut link = http.public_url.link(key);
    link.method = options.method;
    Ok(link)
}
