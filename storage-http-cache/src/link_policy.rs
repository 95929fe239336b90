//! [`LinkPolicy`]: which links may lead to a mirror, and in which form.

use storage_core::{Capabilities, Error, ErrorKind, UrlMethod, UrlOptions};

/// Decides which links may lead to a mirror.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LinkPolicy {
    /// Whether the mirror may be read without a signature, including objects for which origin makes
    /// only signed links.
    pub(crate) public: bool,
    /// Whether the mirror has a signing key, so that it accepts only signed links.
    pub(crate) signs: bool,
    /// The capabilities of origin.
    pub(crate) origin: Capabilities,
}

/// The form of a link to a mirror.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LinkForm {
    Plain,
    Signed,
}

impl LinkPolicy {
    /// Returns the capabilities of the driver: those of origin, and links of the mirror.
    pub(crate) fn capabilities(self) -> Capabilities {
        let mut capabilities = self.origin;
        capabilities.public_url |= self.public;
        capabilities.signed_get |= self.signs;
        capabilities
    }

    /// Returns the form in which a link to a mirror can replace the requested link, or `None` if
    /// none can.
    pub(crate) fn form(self, options: &UrlOptions) -> Option<LinkForm> {
        let chooses_headers = options.response_content_disposition.is_some()
            || options.response_content_type.is_some();
        match (options.method, options.expires_in) {
            (UrlMethod::Get | UrlMethod::Head, None) => {
                // If an object is public at origin, a link to it at the mirror may be public too.
                let is_public = self.public || self.origin.public_url;
                (is_public && !self.signs).then_some(LinkForm::Plain)
            }
            (UrlMethod::Get | UrlMethod::Head, Some(_)) if self.signs => Some(LinkForm::Signed),
            (UrlMethod::Get | UrlMethod::Head, Some(_)) => {
                let may_be_plain = self.public && self.origin.signed_get && !chooses_headers;
                may_be_plain.then_some(LinkForm::Plain)
            }
            _ => None,
        }
    }

    /// Returns whether a link to a mirror can replace a signed link of origin.
    pub(crate) fn replaces_signed_links(self) -> bool {
        self.signs || (self.public && self.origin.signed_get)
    }

    /// Returns whether any link leads to a mirror.
    pub(crate) fn leads_to_mirrors(self) -> bool {
        self.public || self.signs || self.origin.public_url
    }

    /// Adds the option that would permit a link to the mirror to an `Unsupported` error of origin.
    pub(crate) fn with_advice(self, options: &UrlOptions, error: Error) -> Error {
        let is_download = matches!(options.method, UrlMethod::Get | UrlMethod::Head);
        if error.kind() != ErrorKind::Unsupported || !is_download {
            return error;
        }
        let advice = match (self.signs, options.expires_in) {
            (true, None) => "the mirror has a signing_key: request a link that expires",
            (true, Some(_)) => return error,
            (false, _) => {
                "links to the mirror are not permitted either: set `public = true` if everyone may \
                 read the mirror, or the same `signing_key` for the mirror and this driver"
            }
        };
        Error::unsupported(format!("{}; {advice}", error.message())).with_source(error)
    }

    /// Returns whether only a mirror can make the link, because origin lacks the capability.
    pub(crate) fn needs_mirror(self, options: &UrlOptions) -> bool {
        match options.expires_in {
            None => !self.origin.public_url,
            Some(_) => !self.origin.signed_get,
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
        use LinkForm::{Plain, Signed};
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
                assert_eq!(policy.replaces_signed_links(), signed.is_some(), "{policy:?}");
            }
        }
    }

    #[test]
    fn an_error_of_an_origin_without_links_names_the_options_for_links_to_the_mirror() {
        let with_advice = |policy: LinkPolicy, options: &UrlOptions, error: Error| {
            policy.with_advice(options, error).message().to_owned()
        };
        let refused = || Error::unsupported("set public_url");
        for signed in [false, true] {
            let message = with_advice(
                policy(false, false, false, false),
                &options(UrlMethod::Get, signed),
                refused(),
            );
            assert!(
                message.contains("set public_url") && message.contains("public = true"),
                "{message}"
            );
        }
        let message = with_advice(
            policy(false, true, false, true),
            &options(UrlMethod::Get, false),
            refused(),
        );
        assert!(message.contains("expires"), "{message}");
        let upload = with_advice(
            policy(false, false, false, false),
            &options(UrlMethod::Put, true),
            refused(),
        );
        assert_eq!(upload, "set public_url");
        let failed = Error::new(ErrorKind::Timeout, "no response");
        let failed = with_advice(
            policy(false, false, false, false),
            &options(UrlMethod::Get, false),
            failed,
        );
        assert_eq!(failed, "no response");
    }

    #[test]
    fn links_for_uploads_lead_to_origin() {
        for (public, signs) in [(true, false), (false, true)] {
            for method in [UrlMethod::Put, UrlMethod::Post] {
                assert_eq!(policy(public, signs, true, true).form(&options(method, true)), None);
            }
        }
    }

    #[test]
    fn a_link_that_chooses_headers_is_never_plain() {
        let mut options = options(UrlMethod::Get, true);
        options.response_content_type = Some("text/plain".to_owned());
        assert_eq!(policy(true, false, true, true).form(&options), None);
        assert_eq!(policy(false, true, true, true).form(&options), Some(LinkForm::Signed));
    }

    #[test]
    fn the_mirror_adds_capabilities_to_those_of_origin() {
        let can = |policy: LinkPolicy| {
            (policy.capabilities().public_url, policy.capabilities().signed_get)
        };
        assert_eq!(can(policy(false, false, false, false)), (false, false));
        assert_eq!(can(policy(true, false, false, false)), (true, false));
        assert_eq!(can(policy(false, true, false, false)), (false, true));
        assert_eq!(can(policy(false, false, true, true)), (true, true));
    }
}
