//! References of web application manifests and of import maps.

use serde_json::value::RawValue;

use super::found::{Integrity, Role, Scan};
use super::json::{Document, scan_mentions};

/// How deep the parts of a manifest are: a translation, a shortcut or a tab in it, and what that
/// contains.
const MAX_DEPTH: usize = 4;

/// Finds the references of a web application manifest.
///
/// Icons and screenshots are files. `start_url` and the like are pages. A document without any of
/// them is the manifest of something else: its strings are mentions. The members are those of the
/// W3C's Web Application Manifest and of its registry of extensions.
pub(crate) fn scan(bytes: &[u8], scan: &mut Scan<'_>) {
    let (document, root) = match Document::parse(bytes) {
        Ok(parsed) => parsed,
        Err(problem) => return scan.problems.push(problem),
    };
    Manifest { document, scan }.members(root, MAX_DEPTH);
    if scan.references.is_empty() {
        scan_mentions(bytes, scan);
    }
}

struct Manifest<'a, 'b, 'c> {
    document: Document<'a>,
    scan: &'b mut Scan<'c>,
}

impl<'a> Manifest<'a, '_, '_> {
    /// Reads the members of the manifest, of its parts, and of its translations.
    fn members(&mut self, value: &'a RawValue, depth: usize) {
        let Some(depth) = depth.checked_sub(1) else { return };
        self.images(value);
        self.links(value, &["start_url", "url", "action"]);
        for item in self.items(value, "widgets") {
            // A server may compute both.
            self.links(item, &["ms_ac_template", "data"]);
            self.members(item, depth);
        }
        for member in ["shortcuts", "file_handlers", "protocol_handlers"] {
            self.items(value, member).into_iter().for_each(|item| self.members(item, depth));
        }
        for member in ["share_target", "tab_strip", "home_tab"] {
            let part = self.document.get(value, member);
            part.into_iter().for_each(|part| self.members(part, depth));
        }
        if let Some(translations) = self.document.get(value, "translations") {
            let translations = self.document.entries(translations);
            translations.into_iter().for_each(|(_, part)| self.members(part, depth));
        }
        if let Some(worker) = self.document.get(value, "serviceworker") {
            self.links(worker, &["url"]);
            // The file of a service worker keeps its name.
            let source = self.document.get(worker, "src");
            let source = source.and_then(|value| self.document.string(value));
            source.iter().for_each(|source| self.scan.mention(source));
        }
    }

    fn items(&self, value: &'a RawValue, member: &str) -> Vec<&'a RawValue> {
        let array = self.document.get(value, member);
        array.map(|array| self.document.items(array)).unwrap_or_default()
    }

    fn images(&mut self, value: &'a RawValue) {
        for member in ["icons", "screenshots"] {
            for image in self.items(value, member) {
                let source = self.document.get(image, "src");
                let url = source.and_then(|value| self.document.string(value));
                self.scan.add(url, Role::Asset);
            }
        }
    }

    fn links(&mut self, value: &'a RawValue, members: &[&str]) {
        for member in members {
            let link = self.document.get(value, member);
            let url = link.and_then(|value| self.document.string(value));
            self.scan.add(url, Role::Link);
        }
    }
}

/// Finds the references of an import map: HTML, section 8.1.5.4.
pub(crate) fn scan_import_map(bytes: &[u8], scan: &mut Scan<'_>) {
    let (document, root) = match Document::parse(bytes) {
        Ok(parsed) => parsed,
        Err(problem) => return scan.problems.push(problem),
    };
    if let Some(imports) = document.get(root, "imports") {
        specifiers(document, imports, scan);
    }
    if let Some(scopes) = document.get(root, "scopes") {
        for (scope, imports) in document.entries(scopes) {
            scan.add(Some(scope), Role::Link);
            specifiers(document, imports, scan);
        }
    }
    if let Some(integrity) = document.get(root, "integrity") {
        for (url, value) in document.entries(integrity) {
            if let Some(value) = document.string(value) {
                scan.integrity.push(Integrity { value, url: url.clone() });
            }
            scan.add(Some(url), Role::Link);
        }
    }
}

fn specifiers<'a>(document: Document<'a>, imports: &'a RawValue, scan: &mut Scan<'_>) {
    for (specifier, value) in document.entries(imports) {
        // A specifier may be a URL, which imports name too, and so it changes as they do.
        let is_url = ["/", "./", "../"].iter().any(|start| specifier.text.starts_with(start));
        if is_url && !specifier.text.ends_with('/') {
            scan.add(Some(specifier), Role::Link);
        }
        let url = document.string(value);
        // The specifier of an import is added to such an address when the program runs.
        let is_prefix = url.as_ref().is_some_and(|url| url.text.ends_with('/'));
        scan.add(url, if is_prefix { Role::Prefix } else { Role::Asset });
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{found as found_in, found_with};
    use super::super::{Language, Scan, read};

    #[test]
    fn a_manifest_refers_to_images_and_pages() {
        let text = "\u{feff}{\"name\": \"a.png\", \"start_url\": \"/?x\", \"icons\": [\r\n\
            {\"src\": \"icons\\/a.png\", \"sizes\": \"1x1\"}, {\"src\": 3}, 4],\
            \"screenshots\": [{\"src\": \"b.png\"}], \"shortcuts\": [{\"url\": \"/new\",\
            \"icons\": [{\"src\": \"\\u0063.png\"}]}], \"share_target\": {\"action\": \"s\"}}";
        let found = found_in(Language::WebManifest, text.as_bytes());
        let expected =
            ["Asset icons/a.png", "Asset b.png", "Link /?x", "Asset c.png", "Link /new", "Link s"];
        assert_eq!(found, expected);
    }

    #[test]
    fn a_manifest_refers_to_files_of_widgets_tabs_and_translations() {
        let text = br#"{"widgets": [{"ms_ac_template": "w.json", "data": "/d", "icons": [
            {"src": "w.png"}]}], "tab_strip": {"home_tab": {"icons": [{"src": "t.png"}]}},
            "protocol_handlers": [{"url": "/open?u=%s"}],
            "translations": {"de": {"shortcuts": [{"icons": [{"src": "de.png"}]}]}}}"#;
        let found = found_in(Language::WebManifest, text);
        let links = ["Link w.json", "Link /d", "Link /open?u=%s"];
        let images = ["Asset w.png", "Asset t.png", "Asset de.png"];
        for expected in links.iter().chain(&images) {
            assert!(found.iter().any(|found| found == expected), "{expected}: {found:?}");
        }
        assert_eq!(found.len(), links.len() + images.len());
    }

    #[test]
    fn the_manifest_of_something_else_has_mentions() {
        let documents = [r#"{"a.js": {"file": "b.js"}}"#, r#"{"data": "levels/", "b": "b.js"}"#];
        for text in documents {
            let found = found_with(Language::WebManifest, text.as_bytes(), &["b.js"]);
            assert_eq!(found, ["Mention b.js"], "{text}");
        }
    }

    #[test]
    fn a_manifest_within_manifests_is_read_to_a_bounded_depth() {
        let deep = r#"{"home_tab":"#.repeat(100_000) + "{}" + &"}".repeat(100_000);
        assert!(found_in(Language::WebManifest, deep.as_bytes()).is_empty());
    }

    #[test]
    fn a_manifest_that_is_no_json_is_a_problem_with_its_place() {
        let names = Default::default();
        for (text, place) in [("{\n\"icons\": [}", 12), ("", 0), ("{\"a\": \"\u{1}\"}", 6)] {
            let mut scan = Scan::new(&names);
            read(Language::WebManifest, text.as_bytes(), &mut scan);
            assert_eq!(scan.problems.iter().map(|problem| problem.0).collect::<Vec<_>>(), [place]);
        }
        assert!(found_in(Language::WebManifest, b"[1]").is_empty());
    }

    #[test]
    fn an_import_map_refers_to_modules_and_directories() {
        let text = br#"{"imports": {"app": "./app.js", "lib/": "/lib/", "/a.js": "/b.js",
            "none": null}, "scopes": {"/c/": {"d": "./d.js"}},
            "integrity": {"/app.js": "sha384-x"}}"#;
        let names = Default::default();
        let mut scan = Scan::new(&names);
        super::scan_import_map(text, &mut scan);
        let found = scan.references.iter().map(|found| (found.role, found.url.text.as_str()));
        let found = found.map(|(role, url)| format!("{role:?} {url}")).collect::<Vec<_>>();
        let expected = "Asset ./app.js, Prefix /lib/, Link /a.js, Asset /b.js, Link /c/,\
             Asset ./d.js, Link /app.js";
        assert_eq!(found.join(", "), expected.replace(",Asset", ", Asset"));
        assert_eq!(scan.integrity[0].value.text, "sha384-x");
    }
}
