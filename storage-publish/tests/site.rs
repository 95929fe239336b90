//! Tests of `Site::build` on directories with files that refer to each other.

#![allow(clippy::unwrap_used, reason = "a test that meets an unforeseen error has failed")]

use std::error::Error as _;
use std::fs;
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest, Sha256, Sha384};
use storage_core::{ErrorKind, Result};
use storage_publish::{Asset, Content, Naming, Problems, Site, SiteOptions};

fn directory(files: &[(&str, &str)]) -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    for (path, text) in files {
        write(directory.path(), path, text.as_bytes());
    }
    directory
}

fn write(directory: &Path, path: &str, bytes: &[u8]) {
    let location = directory.join(path);
    fs::create_dir_all(location.parent().unwrap()).unwrap();
    fs::write(location, bytes).unwrap();
}

async fn try_build(files: &[(&str, &str)], options: SiteOptions) -> Result<Site> {
    let directory = directory(files);
    Site::build(directory.path(), options).await
}

fn sha256(bytes: impl AsRef<[u8]>) -> String {
    format!("sha256-{}", STANDARD.encode(Sha256::digest(bytes)))
}

fn sha384(bytes: impl AsRef<[u8]>) -> String {
    format!("sha384-{}", STANDARD.encode(Sha384::digest(bytes)))
}

/// A site whose directory still exists.
struct Built {
    site: Site,
    _directory: tempfile::TempDir,
}

async fn build(files: &[(&str, &str)]) -> Built {
    build_with(files, SiteOptions::default()).await
}

async fn build_with(files: &[(&str, &str)], options: SiteOptions) -> Built {
    let directory = directory(files);
    let site = Site::build(directory.path(), options).await.unwrap();
    Built { site, _directory: directory }
}

impl Built {
    fn asset(&self, path: &str) -> &Asset {
        self.site.assets.iter().find(|asset| asset.path == path).unwrap()
    }

    fn name(&self, path: &str) -> &str {
        &self.asset(path).name
    }

    /// The last segment of the name.
    fn file_name(&self, path: &str) -> &str {
        self.name(path).rsplit('/').next().unwrap()
    }

    fn bytes(&self, path: &str) -> Vec<u8> {
        match &self.asset(path).content {
            Content::File(location) => fs::read(location).unwrap(),
            Content::Rewritten(bytes) => bytes.to_vec(),
            Content::Spooled(file) => fs::read(file.path()).unwrap(),
            _ => unreachable!("there is no other content"),
        }
    }

    fn text(&self, path: &str) -> String {
        String::from_utf8(self.bytes(path)).unwrap()
    }

    fn order(&self) -> Vec<&str> {
        self.site.assets.iter().map(|asset| asset.path.as_str()).collect()
    }
}

async fn problems(files: &[(&str, &str)]) -> Vec<String> {
    let error = try_build(files, SiteOptions::default()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    let problems = error.source().unwrap().downcast_ref::<Problems>().unwrap();
    problems.all().iter().map(ToString::to_string).collect()
}

#[tokio::test]
async fn names_have_a_hash_of_the_final_bytes_and_references_follow() {
    let built = build(&[
        ("index.html", "<link rel=stylesheet href=css/app.min.css><img src='/img/a%20b.png?x#y'>"),
        ("css/app.min.css", "a{background:url(../img/a%20b.png)}"),
        ("img/a b.png", "png"),
    ])
    .await;
    for path in ["css/app.min.css", "img/a b.png"] {
        let asset = built.asset(path);
        let bytes = built.bytes(path);
        assert_eq!(asset.sha256, <[u8; 32]>::from(Sha256::digest(&bytes)));
        assert_eq!(asset.size, bytes.len() as u64);
        let digits: String = asset.sha256[..8].iter().map(|byte| format!("{byte:02x}")).collect();
        let (stem, extension) = path.rsplit_once('.').unwrap();
        assert_eq!(asset.name, format!("{stem}.{digits}.{extension}"));
        assert_eq!(asset.naming, Naming::Hashed);
    }
    let image = built.file_name("img/a b.png").replace(' ', "%20");
    assert_eq!(built.text("css/app.min.css"), format!("a{{background:url(../img/{image})}}"));
    let css = built.name("css/app.min.css");
    let expected = format!("<link rel=stylesheet href={css}><img src='/img/{image}?x#y'>");
    assert_eq!(built.text("index.html"), expected);
    assert_eq!(built.name("index.html"), "index.html");
    assert_eq!(built.order(), ["img/a b.png", "css/app.min.css", "index.html"]);
}

#[tokio::test]
async fn a_changed_leaf_changes_the_names_of_all_that_refer_to_it() {
    let files = |image: &'static str| {
        [
            ("a.js", "import './b.js'"),
            ("b.js", "new URL('c.css', import.meta.url)"),
            ("c.css", "a{b:url(d.png)}"),
            ("d.png", image),
            ("e.js", "import './f.js'"),
            ("f.js", ""),
        ]
    };
    let (first, second) = (build(&files("1")).await, build(&files("2")).await);
    for path in ["a.js", "b.js", "c.css", "d.png"] {
        assert_ne!(first.name(path), second.name(path), "{path}");
    }
    for path in ["e.js", "f.js"] {
        assert_eq!(first.name(path), second.name(path), "{path}");
    }
}

#[tokio::test]
async fn a_cycle_is_hashed_as_one() {
    let files = |text: &'static str| {
        [
            ("a.js", "import './b.js'; import './leaf.js'"),
            ("b.js", "import './c.js'; export const x = 1"),
            ("c.js", text),
            ("leaf.js", "1"),
            ("user.js", "import './a.js'"),
        ]
    };
    let first = build(&files("import './a.js'; 1")).await;
    let again = build(&files("import './a.js'; 1")).await;
    let changed = build(&files("import './a.js'; 2")).await;
    for path in ["a.js", "b.js", "c.js", "user.js"] {
        assert_eq!(first.name(path), again.name(path));
        assert_ne!(first.name(path), changed.name(path), "{path}");
        assert_eq!(first.asset(path).sha256, <[u8; 32]>::from(Sha256::digest(first.bytes(path))));
    }
    assert_eq!(first.name("leaf.js"), changed.name("leaf.js"));
    assert_eq!(first.text("c.js"), format!("import './{}'; 1", first.name("a.js")));
    let a = format!("import './{}'; import './{}'", first.name("b.js"), first.name("leaf.js"));
    assert_eq!(first.text("a.js"), a);
    let order = first.order();
    assert_eq!((order[0], order[4]), ("leaf.js", "user.js"));
}

#[tokio::test]
async fn a_changed_leaf_changes_a_cycle() {
    let files = |leaf: &'static str| {
        [("a.js", "import './b.js'; import './c.js'"), ("b.js", "import './a.js'"), ("c.js", leaf)]
    };
    let (first, second) = (build(&files("1")).await, build(&files("2")).await);
    assert_ne!(first.name("a.js"), second.name("a.js"));
    assert_ne!(first.name("b.js"), second.name("b.js"));
}

#[tokio::test]
async fn a_file_that_refers_to_itself_has_a_stable_name() {
    let files = [("sprite.svg", "<svg><use href='sprite.svg#a'/></svg>")];
    let (first, second) = (build(&files).await, build(&files).await);
    assert_eq!(first.name("sprite.svg"), second.name("sprite.svg"));
    let expected = format!("<svg><use href='{}#a'/></svg>", first.name("sprite.svg"));
    assert_eq!(first.text("sprite.svg"), expected);
}

#[tokio::test]
async fn references_that_name_no_file_are_errors_with_their_places() {
    let found = problems(&[
        ("b.css", "/* x */\r\na{b:url(é.png)}\n@import 'c.css';"),
        ("a.html", "<a href=missing.html>x</a><img src=x.png>\n<script src=/y.js></script>"),
        ("d.webmanifest", "{"),
    ])
    .await;
    assert_eq!(
        found[..4],
        [
            "a.html:1:36: `x.png` names no file of the site",
            "a.html:2:13: `/y.js` names no file of the site",
            "b.css:2:9: `é.png` names no file of the site",
            "b.css:3:10: `c.css` names no file of the site",
        ]
    );
    assert!(found[4].starts_with("d.webmanifest:1:"), "{found:?}");
}

#[tokio::test]
async fn missing_files_may_be_ignored_and_files_may_be_left_alone() {
    let files = [("a.css", "a{b:url(x/y.png)}"), ("b.css", "a{b:url(z.png)}")];
    let mut options = SiteOptions::default();
    options.ignore_references = vec!["/x/".to_owned()];
    options.verbatim = vec!["b.css".to_owned()];
    let built = build_with(&files, options).await;
    assert_eq!(built.text("a.css"), files[0].1);
    assert_eq!(built.text("b.css"), files[1].1);
}

#[tokio::test]
async fn files_to_which_a_verbatim_file_refers_keep_their_names() {
    let files = [
        ("index.html", "<link rel=stylesheet href=/css/app.css><script src=app.js></script>"),
        ("css/app.css", "a{b:url(x.png)}"),
        ("css/x.png", "x"),
        ("app.js", "x"),
        ("vendor/all.css", "a{b:url(../fonts/a.woff2)}"),
        ("fonts/a.woff2", "a"),
        ("vendor/all.js", "import(`./lang/${code}.js`); import('../'+any);"),
        ("vendor/lang/de.js", "x"),
        ("other.js", "x"),
    ];
    for keep_mentioned in [true, false] {
        let mut options = SiteOptions::default();
        options.keep_mentioned = keep_mentioned;
        options.verbatim = vec!["index.html".to_owned(), "/vendor/".to_owned()];
        let built = build_with(&files, options).await;
        for kept in ["css/app.css", "app.js", "fonts/a.woff2", "vendor/lang/de.js"] {
            assert_eq!(built.name(kept), kept);
        }
        for (path, text) in [files[0], files[4], files[6]] {
            assert_eq!(built.text(path), text);
        }
        assert_ne!(built.name("css/x.png"), "css/x.png");
        assert_ne!(built.name("other.js"), "other.js");
        assert!(built.site.warnings.is_empty(), "{:?}", built.site.warnings);
    }
}

#[tokio::test]
async fn a_missing_source_map_is_a_warning() {
    let built = build(&[("a.js", "x\n//# sourceMappingURL=a.js.map")]).await;
    let warnings: Vec<_> = built.site.warnings.iter().map(ToString::to_string).collect();
    assert_eq!(warnings, ["a.js:2:22: `a.js.map` names no file of the site"]);
}

#[tokio::test]
async fn a_changed_source_map_changes_the_name_of_its_file() {
    let files = |map: &'static str| {
        [("a.css", "a{}\n/*# sourceMappingURL=a.css.map */"), ("a.css.map", map)]
    };
    let (first, second) = (build(&files("{}")).await, build(&files("{ }")).await);
    assert_ne!(first.name("a.css"), second.name("a.css"));
    let map = first.name("a.css.map");
    assert!(map.starts_with("a.css.") && map.ends_with(".map"));
    assert!(first.text("a.css").contains(&format!("sourceMappingURL={map} */")));
}

#[tokio::test]
async fn columns_of_a_source_map_move_with_the_names() {
    let built = build(&[
        ("a.js", "import'./b.js';x\n//# sourceMappingURL=a.js.map"),
        // Columns 0 and 15.
        ("a.js.map", r#"{"version":3,"mappings":"AAAA,eAAe"}"#),
        ("b.js", ""),
    ])
    .await;
    // Columns 0 and 32.
    assert_eq!(built.text("a.js.map"), r#"{"version":3,"mappings":"AAAA,gCAAe"}"#);
}

#[tokio::test]
async fn integrity_is_that_of_the_final_bytes() {
    let style = "a{b:url(c.png)}";
    let (style_384, style_256) = (sha384(style), sha256(style));
    let script = sha384("1");
    let page = format!(
        "<link rel=stylesheet href=a.css integrity='{style_384} {style_256}'>\
         <script src=b.js integrity='{script}?x'></script>"
    );
    let built =
        build(&[("index.html", &page), ("a.css", style), ("b.js", "1"), ("c.png", "")]).await;
    let bytes = built.bytes("a.css");
    let text = built.text("index.html");
    assert!(text.contains(&format!("integrity='{} {}'", sha384(&bytes), sha256(&bytes))), "{text}");
    // The bytes of the script are those of the file.
    assert!(text.contains(&format!("{} integrity='{script}?x'", built.name("b.js"))), "{text}");
}

#[tokio::test]
async fn an_integrity_that_does_not_fit_the_file_is_an_error_with_the_right_value() {
    let page = format!(
        "<p>\n<script src=a.js integrity='{} sha384-AAAA'></script>\
         <script type=importmap>{{\"integrity\": {{\"/b.js\": \"sha256-AAAA\"}}}}</script>\
         <script src=c.js integrity='md5-AAAA'></script>",
        sha256("1")
    );
    let files =
        [("index.html", page.as_str()), ("a.js", "1"), ("b.js", "import './a.js'"), ("c.js", "")];
    let error = try_build(&files, SiteOptions::default()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    let problems = error.source().unwrap().to_string();
    let expected = [
        format!(
            "index.html:2:29: `integrity` does not fit the file `a.js`: write `{}`, or name",
            sha384("1")
        ),
        format!(
            "`integrity` does not fit the file `b.js`: write `{}`, or name",
            sha256("import './a.js'")
        ),
    ];
    assert_eq!(problems.lines().count(), 2, "{problems}");
    for expected in expected {
        assert!(problems.contains(&expected), "{problems}");
    }

    let mut ignored = SiteOptions::default();
    ignored.ignore_references = vec!["/*.js".into()];
    assert!(try_build(&files, ignored).await.is_ok());
}

#[tokio::test]
async fn hashes_in_the_policy_of_a_page_change_with_its_scripts_and_styles() {
    let (style, script, file) = ("a{b:url(c.png)}\r\n", "import './d.js'", "import './d.js';");
    let page = |policy: &str, style: &str, script: &str, source: &str, integrity: &str| {
        format!(
            "<meta http-equiv=content-security-policy content=\"{policy}\">\
             <style>{style}</style><script type=module>{script}</script>\
             <script type=module src={source} integrity={integrity}></script><script>1</script>"
        )
    };
    let policy = |style: &str, script: &str, integrity: &str| {
        format!(
            "default-src 'self'; style-src '{}'; script-src '{}' '{}' '{integrity}'",
            sha256(style.replace("\r\n", "\n")),
            sha384(script),
            sha256("1"),
        )
    };
    let old = sha256(file);
    let files = [
        ("index.html", page(&policy(style, script, &old), style, script, "e.js", &old)),
        ("c.png", String::new()),
        ("d.js", String::new()),
        ("e.js", file.to_owned()),
    ];
    let files = files.each_ref().map(|(path, text)| (*path, text.as_str()));
    let built = build(&files).await;
    let style = style.replace("c.png", built.name("c.png"));
    let script = script.replace("d.js", built.name("d.js"));
    let new = sha256(built.bytes("e.js"));
    assert_ne!(old, new);
    let expected = page(&policy(&style, &script, &new), &style, &script, built.name("e.js"), &new);
    assert_eq!(built.text("index.html"), expected);
}

#[tokio::test]
async fn a_hash_in_a_policy_becomes_that_of_each_script_that_had_it() {
    let old = sha256("import './y.js'");
    let script = |path: &str| format!("<script type=module src={path} integrity={old}></script>");
    let page = format!(
        "<meta http-equiv=Content-Security-Policy content=\"script-src '{}' x\">{}{}",
        old.replace("sha256", "SHA256").replace('+', "-").replace('/', "_"),
        script("a/x.js"),
        script("b/x.js")
    );
    let built = build(&[
        ("index.html", &page),
        ("a/x.js", "import './y.js'"),
        ("a/y.js", "1"),
        ("b/x.js", "import './y.js'"),
        ("b/y.js", "2"),
    ])
    .await;
    let mut hashes = ["a/x.js", "b/x.js"].map(|path| sha256(built.bytes(path)));
    hashes.sort();
    let policy = format!("content=\"script-src '{}&#39;&#32;&#39;{}' x\"", hashes[0], hashes[1]);
    let text = built.text("index.html");
    assert!(text.contains(&policy), "{policy} in {text}");
}

#[tokio::test]
async fn an_import_map_leads_to_the_hashed_modules() {
    let script = "import 'lib/x.js'; import '../lib/y.js'; import './z.js'";
    let page = r#"<script type="importmap">{"imports": {"app": "./js/app.js", "lib/": "./lib/"},
        "integrity": {"./js/app.js": "OLD"}}</script>"#;
    let built = build(&[
        ("index.html", &page.replace("OLD", &sha256(script))),
        ("js/app.js", script),
        ("js/z.js", ""),
        ("lib/x.js", ""),
        ("lib/y.js", ""),
    ])
    .await;
    let app = built.name("js/app.js");
    let integrity = sha256(built.bytes("js/app.js"));
    let text = built.text("index.html");
    assert!(text.contains(&format!(r#""app": "./{app}""#)), "{text}");
    assert!(text.contains(&format!(r#""./{app}": "{integrity}""#)), "{text}");
    // Modules below a directory of the map are named at run time.
    assert_eq!(built.name("lib/x.js"), "lib/x.js");
    assert_eq!(built.name("lib/y.js"), "lib/y.js");
}

#[tokio::test]
async fn files_of_bundlers_keep_names_and_bytes() {
    let script = "import './vendor-Dk3_x9Qa.js'; x = ['assets/lazy-Bx3kQ9_z.css']";
    let built = build(&[
        ("assets/index-BPx7kQ9z.js", script),
        ("assets/vendor-Dk3_x9Qa.js", ""),
        ("assets/lazy-Bx3kQ9_z.css", "a{b:url(/bg.png)}"),
        ("bg.png", ""),
        ("other.png", ""),
    ])
    .await;
    assert_eq!(built.text("assets/index-BPx7kQ9z.js"), script);
    assert_eq!(built.asset("assets/lazy-Bx3kQ9_z.css").naming, Naming::Bundled);
    assert_eq!(built.asset("bg.png").naming, Naming::Fixed);
    assert_eq!(built.asset("other.png").naming, Naming::Hashed);
}

#[tokio::test]
async fn files_that_a_program_names_at_run_time_keep_their_names() {
    let files = [
        ("a.js", "img.src = '/vite.svg'; import(`./lang/${x}.js`); fetch('data/a.json')"),
        ("vite.svg", "<svg/>"),
        ("lang/de.js", ""),
        ("data/a.json", "[\"/img/b.png\"]"),
        ("img/b.png", ""),
        ("img/c.png", ""),
        (
            "index.html",
            "<p data-src=img/d.png><meta property=og:image content=https://x/img/e.png>",
        ),
        ("img/d.png", ""),
        ("img/e.png", ""),
    ];
    let built = build(&files).await;
    for path in ["vite.svg", "lang/de.js", "data/a.json", "img/b.png", "img/d.png", "img/e.png"] {
        assert_eq!(built.asset(path).naming, Naming::Fixed, "{path}");
    }
    assert_eq!(built.asset("img/c.png").naming, Naming::Hashed);
    let mut options = SiteOptions::default();
    options.keep_mentioned = false;
    let built = build_with(&files, options).await;
    assert_eq!(built.asset("vite.svg").naming, Naming::Hashed);
    assert_eq!(built.asset("lang/de.js").naming, Naming::Fixed);
}

#[tokio::test]
async fn a_program_may_put_a_directory_before_a_name() {
    let built = build(&[
        ("js/map.js", "f(path + 'marker.png'); new Worker('./w.js'); g('../a/b.png', 'arker.svg')"),
        ("images/marker.png", ""),
        ("images/marker.svg", ""),
        ("pages/w.js", ""),
        ("x/a/b.png", ""),
        ("x/b.png", ""),
    ])
    .await;
    for path in ["images/marker.png", "pages/w.js", "x/a/b.png"] {
        assert_eq!(built.asset(path).naming, Naming::Fixed, "{path}");
    }
    for path in ["images/marker.svg", "x/b.png"] {
        assert_eq!(built.asset(path).naming, Naming::Hashed, "{path}");
    }
}

#[tokio::test]
async fn a_reference_that_cannot_be_rewritten_keeps_the_name_of_its_file() {
    let built = build(&[("index.html", "<img src='a%2Epng'>"), ("a.png", "")]).await;
    assert_eq!(built.name("a.png"), "a.png");
    assert_eq!(built.text("index.html"), "<img src='a%2Epng'>");
}

#[tokio::test]
async fn a_path_of_the_host_and_a_base_are_followed() {
    let files = [
        (
            "docs/a.html",
            "<base href='/blog/img/'><img src=b.png><img src=/blog/img/b.png>\
            <img src=/other/c.png>",
        ),
        ("img/b.png", ""),
    ];
    let mut options = SiteOptions::default();
    options.base_path = "/blog".to_owned();
    let built = build_with(&files, options).await;
    let image = built.file_name("img/b.png");
    let expected = format!(
        "<base href='/blog/img/'><img src={image}><img src=/blog/img/{image}>\
         <img src=/other/c.png>"
    );
    assert_eq!(built.text("docs/a.html"), expected);
}

#[tokio::test]
async fn pages_may_refer_to_each_other_and_are_last() {
    let built = build(&[
        ("a.html", "<a href=b.html>x</a><a href=/>y</a><a href=none/>z</a>"),
        ("b.html", "<a href=a.html><img src=c.png></a>"),
        ("c.png", ""),
        ("z.js", "import './y.js'; location = 'b.html'"),
        ("y.js", "import './z.js'"),
    ])
    .await;
    assert_eq!(built.text("a.html"), "<a href=b.html>x</a><a href=/>y</a><a href=none/>z</a>");
    assert_eq!(built.order(), ["c.png", "y.js", "z.js", "a.html", "b.html"]);
}

#[tokio::test]
async fn bytes_that_are_no_utf_8_are_kept() {
    let directory = directory(&[("b.png", "")]);
    write(directory.path(), "a.css", b"\xef\xbb\xbfa{content:'\xff'}\r\nb{c:url(b.png)}\xfe");
    let site = Site::build(directory.path(), SiteOptions::default()).await.unwrap();
    let built = Built { site, _directory: directory };
    let image = built.name("b.png").as_bytes();
    let start: &[u8] = b"\xef\xbb\xbfa{content:'\xff'}\r\nb{c:url(";
    assert_eq!(built.bytes("a.css"), [start, image, b")}\xfe"].concat());
}

#[tokio::test]
async fn rewritten_files_beyond_the_limit_of_memory_are_in_a_temporary_directory() {
    let mut options = SiteOptions::default();
    options.memory_bytes = 40;
    let files = [("a.css", "a{b:url(c.png)}"), ("b.css", "b{b:url(c.png)}"), ("c.png", "")];
    let built = build_with(&files, options).await;
    let in_memory = |path| matches!(built.asset(path).content, Content::Rewritten(_));
    assert!(in_memory("a.css") && !in_memory("b.css"));
    assert_eq!(built.text("b.css"), format!("b{{b:url({})}}", built.name("c.png")));
    let content = built.asset("b.css").content.clone();
    let location = content.path().unwrap().to_owned();
    drop(built);
    // The file stays as long as anything refers to it.
    assert!(location.exists());
    drop(content);
    assert!(!location.exists());
}

#[tokio::test]
async fn a_text_above_the_limit_is_an_error_that_names_the_options() {
    let mut options = SiteOptions::default();
    options.max_text_bytes = 10;
    let error = try_build(&[("a.css", "a{color:red}")], options.clone()).await.unwrap_err();
    assert_eq!((error.kind(), error.key()), (ErrorKind::TooLarge, Some("a.css")));
    assert!(error.message().contains("max_text_bytes`"), "{error}");
    // Data and images are not limited.
    try_build(&[("a.json", "[1, 2, 3, 4, 5]"), ("b.png", "12345678901")], options).await.unwrap();
}

#[tokio::test]
async fn two_files_with_one_published_name_are_refused() {
    let name = build(&[("a.js", "1")]).await.name("a.js").to_owned();
    let mut options = SiteOptions::default();
    options.keep_names.push(name.clone());
    let error = try_build(&[("a.js", "1"), (&name, "2")], options).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict);
}

#[tokio::test]
async fn the_result_is_the_same_every_time() {
    let path = |index: usize| format!("d{}/f{index}.js", index % 7);
    let text = |index: usize| format!("import '/{}'", path((index * 3 + 1) % 200));
    let files: Vec<_> = (0..200).map(|index| (path(index), text(index))).collect();
    let files: Vec<_> = files.iter().map(|(path, text)| (path.as_str(), text.as_str())).collect();
    let (first, second) = (build(&files).await, build(&files).await);
    let names = |built: &Built| {
        built.site.assets.iter().map(|asset| asset.name.clone()).collect::<Vec<_>>()
    };
    assert_eq!(names(&first), names(&second));
}

#[tokio::test]
async fn an_import_of_any_file_is_a_warning_because_all_files_keep_their_names() {
    let files = [("app.js", "import(`./${name}.js`);"), ("a.css", "a{}"), ("b/c.js", "1")];
    let built = build(&files).await;
    assert_eq!((built.name("a.css"), built.name("b/c.js")), ("a.css", "b/c.js"));
    let [warning] = &*built.site.warnings else { panic!("{:?}", built.site.warnings) };
    assert_eq!((warning.path.as_str(), warning.line), ("app.js", 1));
    assert!(warning.message.contains("all files keep their names"), "{}", warning.message);
}

#[tokio::test]
async fn names_within_other_text_keep_their_files() {
    let built = build(&[
        ("a.js", "e.innerHTML = '<img src=\"img/a.png\">'; f = \"url(/img/b.png) 1x\""),
        ("b.json", r#"{"html": "<img src=\"img\/c.png\">"}"#),
        ("index.html", "<script type=text/template><img src=img/d.png></script>"),
        ("c.xml", "<?xml-stylesheet href='/e.xsl'?><a><![CDATA[<img src='img/f.png'>]]></a>"),
        ("d.m3u8", "#EXTM3U\nmy video.ts\n"),
        ("_redirects", "/old /img/g.png 301\n"),
        ("f.js", "img.src = `${base}/img/h.png`"),
        ("sub/img/h.png", ""),
        ("img/a.png", ""),
        ("img/b.png", ""),
        ("img/c.png", ""),
        ("img/d.png", ""),
        ("e.xsl", ""),
        ("img/f.png", ""),
        ("img/g.png", ""),
        ("img/other.png", ""),
        ("my video.ts", ""),
    ])
    .await;
    let kept = ["a", "b", "c", "d", "f", "g"].map(|name| format!("img/{name}.png"));
    for path in kept.iter().map(String::as_str).chain(["e.xsl", "my video.ts", "sub/img/h.png"]) {
        assert_eq!(built.asset(path).naming, Naming::Fixed, "{path}");
    }
    for path in ["img/other.png", "a.js", "d.m3u8"] {
        assert_eq!(built.asset(path).naming, Naming::Hashed, "{path}");
    }
}

#[tokio::test]
async fn files_of_a_directory_to_which_a_script_adds_names_keep_their_names() {
    let built = build(&[
        ("js/a.js", "const url = name => new URL(name, new URL('../img/', import.meta.url))"),
        ("b.js", "const root = new URL('./', import.meta.url)"),
        ("other/b.js", "const here = new URL('.', import.meta.url)"),
        ("img/a.png", ""),
        ("img/b/c.png", ""),
        ("other/a.png", ""),
    ])
    .await;
    for path in ["img/a.png", "img/b/c.png"] {
        assert_eq!(built.asset(path).naming, Naming::Fixed, "{path}");
    }
    assert_eq!(built.asset("other/a.png").naming, Naming::Hashed);
}

#[tokio::test]
async fn source_maps_and_files_that_are_no_text_mention_nothing() {
    let directory = directory(&[("a.png", ""), ("b.js.map", r#"{"sources":["a.png"]}"#)]);
    write(directory.path(), "c.bin", b"a.png \0");
    write(directory.path(), "d.bin", &[&[b' '; 5000][..], b" a.png \xff"].concat());
    let site = Site::build(directory.path(), SiteOptions::default()).await.unwrap();
    let built = Built { site, _directory: directory };
    assert_eq!(built.asset("a.png").naming, Naming::Hashed);
}

#[tokio::test]
async fn a_reference_that_is_no_utf_8_is_a_problem_and_a_link_is_a_warning() {
    let directory = directory(&[("b.png", "")]);
    write(directory.path(), "a.css", b"a{}\nb{c:url(\xe9.png)}");
    write(directory.path(), "a.html", b"<p title='\xe9'><a href='\xe9.pdf'><a href='?\xe9'>");
    let error = Site::build(directory.path(), SiteOptions::default()).await.unwrap_err();
    let problems = error.source().unwrap().downcast_ref::<Problems>().unwrap().to_string();
    assert_eq!(problems, "a.css:2:9: `\u{fffd}.png` names no file of the site: it is not UTF-8");
    fs::remove_file(directory.path().join("a.css")).unwrap();
    let site = Site::build(directory.path(), SiteOptions::default()).await.unwrap();
    let warnings: Vec<_> = site.warnings.iter().map(ToString::to_string).collect();
    assert_eq!(
        warnings,
        ["a.html:1:23: `\u{fffd}.pdf` names no file of the site: it is not UTF-8"]
    );
}

#[tokio::test]
async fn a_style_that_is_no_utf_8_keeps_the_names_of_its_files() {
    let directory = directory(&[("b.png", "")]);
    let page = b"<p style=\"font-family:'\xe9';background:url(b.png)\">";
    write(directory.path(), "a.html", page);
    let site = Site::build(directory.path(), SiteOptions::default()).await.unwrap();
    let built = Built { site, _directory: directory };
    assert_eq!(built.name("b.png"), "b.png");
    assert_eq!(built.bytes("a.html"), page);
}
