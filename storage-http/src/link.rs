//! `url`: a public link below `public_url`, which defaults to `base_url`.

use storage_core::{Error, Key, Link, Result, UrlOptions};

use crate::shared::Shared;

pub(crate) fn url(http: &Shared, key: &Key, options: &UrlOptions) -> Result<Link> {
    if options.expires_in.is_some() {
        return Err(Error::unsupported(
            "the http driver cannot sign links: request a public link, without expires_in",
        ));
    }
    let mut link = http.public_url.link(key);
    link.method = options.method;
    Ok(link)
}
