//! Which files keep their names, and the names of the others.

use storage_core::Result;

use super::asset::Naming;
use super::bundled::is_bundled;
use super::options::SiteOptions;
use super::patterns::Patterns;

/// The number of hexadecimal digits of a hash in a name.
pub(crate) const HASH_DIGITS: usize = 16;

/// Files that browsers, robots and servers look for by their names, and pages.
const FIXED: [&str; 38] = [
    // Pages, and what browsers and robots ask for without a reference.
    "*.html",
    "*.htm",
    "*.xhtml",
    "/.well-known/",
    "robots.txt",
    "favicon.ico",
    "/apple-touch-icon*.png",
    "ads.txt",
    "app-ads.txt",
    "humans.txt",
    "security.txt",
    "llms.txt",
    "/llms-full.txt",
    "crossdomain.xml",
    "browserconfig.xml",
    "BingSiteAuth.xml",
    // The browser knows an application by the URL of its manifest, and a service worker by its own.
    "*.webmanifest",
    "manifest.json",
    "sw.js",
    "*-sw.js",
    "*service-worker*.js",
    "*serviceworker*.js",
    "ngsw-worker.js",
    "ngsw.json",
    "OneSignalSDKWorker.js",
    // Readers of feeds keep their URLs.
    "sitemap*.xml",
    "sitemap*.txt",
    "feed*.xml",
    "feed.json",
    "rss*.xml",
    "atom*.xml",
    "/**/index.xml",
    "*.rss",
    "*.atom",
    "opensearch.xml",
    // What hosts of static files read.
    "/CNAME",
    "/_headers",
    "/_redirects",
];

/// The rules by which files keep their names.
#[derive(Debug)]
pub(crate) struct NamingRules {
    fixed: Patterns,
    bundled: Patterns,
    bundler_rules: bool,
}

impl NamingRules {
    pub(crate) fn new(options: &SiteOptions) -> Result<Self> {
        let keep = FIXED.into_iter().chain(options.keep_names.iter().map(String::as_str));
        Ok(Self {
            fixed: Patterns::new("keep_names", keep)?,
            bundled: Patterns::new(
                "bundled_names",
                options.bundled_names.iter().map(String::as_str),
            )?,
            bundler_rules: options.bundler_rules,
        })
    }

    /// Returns how a file is named by its path alone.
    pub(crate) fn naming(&self, path: &str) -> Naming {
        let name = path.rsplit('/').next().unwrap_or(path);
        // `.nojekyll` has no place for a hash.
        if self.fixed.matches(path) || name.starts_with('.') {
            return Naming::Fixed;
        }
        let by_pattern = self.bundled.decides(path, false);
        let by_directory = || self.bundled.matches(path);
        let by_rule = || self.bundler_rules && is_bundled(path);
        match by_pattern {
            Some(true) => Naming::Bundled,
            None if by_directory() || by_rule() => Naming::Bundled,
            _ => Naming::Hashed,
        }
    }
}

/// Returns the end of a name before which its hash stands: `.css` of `app.min.css`.
pub(crate) fn extension(path: &str) -> &str {
    let name = path.rsplit('/').next().unwrap_or(path);
    match name.rfind('.') {
        Some(index) if index > 0 => &name[index..],
        _ => "",
    }
}

/// Returns the path with a hash: `css/app.min.3f9a2c0d51b7e844.css`.
pub(crate) fn hashed_path(path: &str, hash: &str) -> String {
    let extension = extension(path);
    let stem = &path[..path.len() - extension.len()];
    format!("{stem}.{hash}{extension}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_stands_before_the_last_extension() {
        for (path, expected) in [
            ("css/app.min.css", "css/app.min.00.css"),
            ("app.css.map", "app.css.00.map"),
            ("a.b/LICENSE", "a.b/LICENSE.00"),
            ("a.", "a.00."),
        ] {
            assert_eq!(hashed_path(path, "00"), expected);
        }
    }

    #[test]
    fn pages_and_well_known_files_keep_their_names() {
        let rules = NamingRules::new(&SiteOptions::default()).unwrap();
        for path in [
            "a/b.html",
            ".well-known/acme/x.txt",
            "robots.txt",
            "sw.js",
            "firebase-messaging-sw.js",
            "sitemap-1.xml",
            "site.webmanifest",
            "CNAME",
            "index.xml",
            "blog/index.xml",
            ".nojekyll",
        ] {
            assert_eq!(rules.naming(path), Naming::Fixed, "{path}");
        }
        for path in ["a/CNAME", "app.js", "a/well-known/x.txt", "data.json", "icon.svg"] {
            assert_eq!(rules.naming(path), Naming::Hashed, "{path}");
        }
    }

    #[test]
    fn options_add_names_and_remove_them() {
        let options = SiteOptions {
            keep_names: vec!["/downloads/".into(), "!feed*.xml".into()],
            bundled_names: vec!["/dist/".into(), "!/assets/*.png".into()],
            ..SiteOptions::default()
        };
        let rules = NamingRules::new(&options).unwrap();
        assert_eq!(rules.naming("downloads/a.pdf"), Naming::Fixed);
        assert_eq!(rules.naming("feed.xml"), Naming::Hashed);
        assert_eq!(rules.naming("dist/x/a.js"), Naming::Bundled);
        assert_eq!(rules.naming("assets/a-Bx3kQ9_z.js"), Naming::Bundled);
        assert_eq!(rules.naming("assets/a-Bx3kQ9_z.png"), Naming::Hashed);
        let options = SiteOptions { bundler_rules: false, ..options };
        let rules = NamingRules::new(&options).unwrap();
        assert_eq!(rules.naming("assets/a-Bx3kQ9_z.js"), Naming::Hashed);
    }
}
