//! `url`: where a browser gets an object, or takes one.

use storage_core::{Capabilities, Error, ErrorKind, Key, Link, Result, UrlMethod, UrlOptions};

use crate::cache::Shared;
use crate::mirror::Mirror;

/// What the mirror's links may be like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LinkPolicy {
    /// Whether everybody may read the mirror, also what origin shows by signed links alone.
    pub(crate) public: bool,
    /// Whether the mirror answers links that are signed for it, and no others.
    pub(crate) signs: bool,
    /// What origin can do.
    pub(crate) origin: Capabilities,
}

/// A link to a mirror.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Plain,
    Signed,
}

impl LinkPolicy {
    /// What the driver can do: what origin can, and the mirror.
    pub(crate) fn capabilities(self) -> Capabilities {
        let mut capabilities = self.origin;
        capabilities.public_url |= self.public;
        capabilities.signed_get |= self.signs;
        capabilities
    }

    /// The form of the mirror's link in place of the one that is asked for; `None` if no mirror's
    /// link can take its place.
    fn form(self, options: &UrlOptions) -> Option<Form> {
        let chooses_headers = options.response_content_disposition.is_some()
            || options.response_content_type.is_some();
        match (options.method, options.expires_in) {
            (UrlMethod::Get | UrlMethod::Head, None) => {
                // What is public at origin is no secret at the mirror.
                let is_public = self.public || self.origin.public_url;
                (is_public && !self.signs).then_some(Form::Plain)
            }
            (UrlMethod::Get | UrlMethod::Head, Some(_)) if self.signs => Some(Form::Signed),
            (UrlMethod::Get | UrlMethod::Head, Some(_)) => {
                let may_be_plain = self.public && self.origin.signed_get && !chooses_headers;
                may_be_plain.then_some(Form::Plain)
            }
            _ => None,
        }
    }

    /// Whether any link leads to a mirror.
    pub(crate) fn leads_to_mirrors(self) -> bool {
        self.public || self.signs || self.origin.public_url
    }

    /// Adds to an error of origin, which cannot make a link, how the mirror's could take its place.
    fn explained(self, options: &UrlOptions, error: Error) -> Error {
        let is_download = matches!(options.method, UrlMethod::Get | UrlMethod::Head);
        if error.kind() != ErrorKind::Unsupported || !is_download {
            return error;
        }
        let way_out = match (self.signs, options.expires_in) {
            (true, None) => "the mirror has a signing_key: ask for a link that expires",
            (true, Some(_)) => return error,
            (false, _) => {
                "no link leads to the mirror either: set `public = true` for it if everybody may read the mirror, or \
                 `signing_key` on both sides"
            }
        };
        Error::unsupported(format!("{}; {way_out}", error.message())).with_source(error)
    }

    /// Whether origin cannot make the link, so that the mirror's is better than none.
    fn is_mirrors_alone(self, options: &UrlOptions) -> bool {
        match options.expires_in {
            None => !self.origin.public_url,
            Some(_) => !self.origin.signed_get,
        }
    }
}

pub(crate) async fn url(cache: &Shared, key: &Key, options: &UrlOptions) -> Result<Link> {
    let Some(form) = cache.links.form(options) else {
        return cache
            .origin
            .url(key, options)
            .await
            .map_err(|error| cache.links.explained(options, error));
    };
    if !cache.known.skips_mirror(key) {
        for mirror in cache.mirrors_for(key) {
            // One that cannot be signed so, since it is to work for too long, origin may sign.
            if mirror.is_good_for_links(key).await
                && let Ok(link) = at_mirror(mirror, key, options, form)
            {
                return Ok(link);
            }
        }
    }
    let first = cache.mirrors_for(key).next();
    match (cache.origin.url(key, options).await, first) {
        (Err(error), Some(mirror))
            if error.kind() == ErrorKind::Unsupported && cache.links.is_mirrors_alone(options) =>
        {
            at_mirror(mirror, key, options, form)
        }
        (link, _) => link,
    }
}

fn at_mirror(mirror: &Mirror, key: &Key, options: &UrlOptions, form: Form) -> Result<Link> {
    match form {
        Form::Signed => mirror.client.signed_link(key, options),
        Form::Plain => {
            let mut link = Link::public(mirror.client.public_url(key));
            link.method = options.method;
            Ok(link)
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn options(method: UrlMethod, signed: bool) -> UrlOptions {
        let mut options = UrlOptions::default();
        options.method = method;
        options.expires_in = signed.then(|| Duration::from_secs(60));
        options
    }

    fn policy(public: bool, signs: bool, origin_public: bool, origin_signs: bool) -> LinkPolicy {
        let mut origin = Capabilities::full();
        (origin.public_url, origin.signed_get) = (origin_public, origin_signs);
        LinkPolicy { public, signs, origin }
    }

    #[test]
    fn each_kind_of_link_has_its_form() {
        use Form::{Plain, Signed};
        let [yes, no] = [true, false];
        // public, signing key, origin public, origin signs: unsigned link, signed link.
        let table = [
            ((no, no, no, no), None, None),
            ((no, no, no, yes), None, None),
            ((no, no, yes, no), Some(Plain), None),
            ((no, no, yes, yes), Some(Plain), None),
            ((no, yes, no, no), None, Some(Signed)),
            ((no, yes, no, yes), None, Some(Signed)),
            ((no, yes, yes, yes), None, Some(Signed)),
            ((yes, no, no, no), Some(Plain), None),
            ((yes, no, no, yes), Some(Plain), Some(Plain)),
            ((yes, no, yes, yes), Some(Plain), Some(Plain)),
        ];
        for ((public, signs, origin_public, origin_signs), unsigned, signed) in table {
            let policy = policy(public, signs, origin_public, origin_signs);
            for method in [UrlMethod::Get, UrlMethod::Head] {
                assert_eq!(
                    policy.form(&options(method, false)),
                    unsigned,
                    "unsigned {method:?}, {policy:?}"
                );
                assert_eq!(
                    policy.form(&options(method, true)),
                    signed,
                    "signed {method:?}, {policy:?}"
                );
            }
        }
    }

    #[test]
    fn an_origin_that_makes_no_link_is_explained_by_what_would_lead_to_the_mirror() {
        let explained = |policy: LinkPolicy, options: &UrlOptions, error: Error| {
            policy.explained(options, error).message().to_owned()
        };
        let refused = || Error::unsupported("set public_url");
        for signed in [false, true] {
            let message = explained(
                policy(false, false, false, false),
                &options(UrlMethod::Get, signed),
                refused(),
            );
            assert!(
                message.contains("set public_url") && message.contains("public = true"),
                "{message}"
            );
        }
        let message =
            explained(policy(false, true, false, true), &options(UrlMethod::Get, false), refused());
        assert!(message.contains("expires"), "{message}");
        let upload = explained(
            policy(false, false, false, false),
            &options(UrlMethod::Put, true),
            refused(),
        );
        assert_eq!(upload, "set public_url");
        let failed = Error::new(ErrorKind::Timeout, "no response");
        let failed =
            explained(policy(false, false, false, false), &options(UrlMethod::Get, false), failed);
        assert_eq!(failed, "no response");
    }

    #[test]
    fn uploads_go_to_origin() {
        for (public, signs) in [(true, false), (false, true)] {
            for method in [UrlMethod::Put, UrlMethod::Post] {
                assert_eq!(policy(public, signs, true, true).form(&options(method, true)), None);
            }
        }
    }

    #[test]
    fn a_plain_link_cannot_choose_headers() {
        let mut options = options(UrlMethod::Get, true);
        options.response_content_type = Some("text/plain".to_owned());
        assert_eq!(policy(true, false, true, true).form(&options), None);
        assert_eq!(policy(false, true, true, true).form(&options), Some(Form::Signed));
    }

    #[test]
    fn the_mirror_adds_to_what_origin_can_do() {
        let can = |policy: LinkPolicy| {
            (policy.capabilities().public_url, policy.capabilities().signed_get)
        };
        assert_eq!(can(policy(false, false, false, false)), (false, false));
        assert_eq!(can(policy(true, false, false, false)), (true, false));
        assert_eq!(can(policy(false, true, false, false)), (false, true));
        assert_eq!(can(policy(false, false, true, true)), (true, true));
    }
}
