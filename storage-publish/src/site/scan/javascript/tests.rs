//! Tests of the references of JavaScript.

use super::super::Language;
use super::super::tests::{found as found_in, found_with};

fn found(text: &str) -> Vec<String> {
    found_in(Language::JavaScript, text.as_bytes())
}

#[test]
fn imports_and_exports_are_found() {
    let text = r#"
        import "./a.js"; import b from './b.js'; import {c as d, "x y" as e} from "../c.js";
        import * as f from "/d.js"; import g, {h} from"./e.js"; import {default as i}from'./f.js'
        export * from "./g.js"; export * as j from "./h.js"; export {k, l as m} from "./i.js";
        import n from "./j.json" with { type: "json" };
        import defer * as o from "./k.js"; import from from "./l.js";
    "#;
    let expected = ["./a.js", "./b.js", "../c.js", "/d.js", "./e.js", "./f.js", "./g.js", "./h.js"];
    let rest = ["./i.js", "./j.json", "./k.js", "./l.js"];
    let expected = expected.iter().chain(&rest).map(|url| format!("Asset {url}"));
    assert_eq!(found(text), expected.collect::<Vec<_>>());
}

#[test]
fn bare_specifiers_and_absolute_urls_stay() {
    let text = r##"import "vue"; import x from "@scope/x"; import("lodash"); import "https://x/y.js";
        import "#private"; export * from "react";"##;
    assert!(found(text).is_empty());
}

#[test]
fn exports_of_local_names_are_no_references() {
    let text = r#"export {a, b as default}; export default "./c.js"; export const d = "./e.js";
        export {f}
        from("./g.js"); export function from() { return "./h.js" }"#;
    assert!(found(text).is_empty());
}

#[test]
fn imports_at_run_time_are_found() {
    let text = r#"import("./a.js"); await import ( /* webpackChunkName: "x" */ './b.js' , {with: x});
        import(`./c.js`); import.defer("./d.js"); () => import("./e.js").then(x)"#;
    let expected = ["./a.js", "./b.js", "./c.js", "./d.js", "./e.js"];
    assert_eq!(found(text), expected.map(|url| format!("Asset {url}")));
}

#[test]
fn a_reference_that_a_program_completes_is_a_prefix() {
    let text = r#"import(`./lang/${name}.js`); import("./page/" + id); import(x);
        new URL(`./img/${a}.png`, import.meta.url)"#;
    assert_eq!(found(text), ["Prefix ./lang/", "Prefix ./page/", "Prefix ./img/"]);
}

#[test]
fn a_directory_to_which_a_program_adds_names_is_found() {
    let text = r#"const images = new URL("./img/", import.meta.url); new URL("..", import.meta.url);
        new URL(".x/a.png", import.meta.url)"#;
    assert_eq!(found(text), ["Directory ./img/", "Directory ..", "Asset .x/a.png"]);
}

#[test]
fn urls_relative_to_the_module_are_found() {
    let text = r#"new URL("a.png", import.meta.url).href; new URL('./b.wasm',import.meta.url);
        new Worker(new URL("c.js", import.meta.url), {type: "module"});
        new URL("d.png", document.baseURI); new URL("e.png"); new Url("f.png", import.meta.url);
        new URL("g" + ".png", location.href)"#;
    assert_eq!(found(text), ["Asset a.png", "Asset ./b.wasm", "Asset c.js"]);
}

#[test]
fn workers_from_the_root_and_imported_scripts_are_found() {
    let text = r#"new Worker("/a.js"); new SharedWorker('/b.js', "n"); new Worker("c.js");
        importScripts("d.js", './e.js'); self.importScripts("f.js"); new Worker(x)"#;
    let expected = ["/a.js", "/b.js", "d.js", "./e.js", "f.js"];
    assert_eq!(found(text), expected.map(|url| format!("Asset {url}")));
}

#[test]
fn strings_templates_comments_and_regular_expressions_have_no_references() {
    let text = r#"
        x = 'import "./a.js"'; y = `import("./b.js") ${"export * from './c.js'"}`;
        // import "./d.js"
        /* import("./e.js") */ z = /import "\.\/f.js"/; o.import("./g.js"); ({import: "./h.js"});
        if (a) /import("x)"/.test(b); c = d / e; import.meta.env; a.import
    "#;
    assert!(found(text).is_empty());
}

#[test]
fn a_substitution_of_a_template_has_references() {
    assert_eq!(found("`${await import('./a.js')} import('./b.js')`"), ["Asset ./a.js"]);
}

#[test]
fn source_maps_are_found_in_comments_alone() {
    let text = "a;\n//# sourceMappingURL=a.js.map\r\n//@ sourceMappingURL=b.map\n\
                '//# sourceMappingURL=c.map';/*# sourceMappingURL=d.map */\n\
                //# sourceMappingURL=data:application/json;base64,e30=\n//# sourceMappingURL=";
    let expected = ["a.js.map", "b.map", "d.map", "data:application/json;base64,e30="];
    assert_eq!(found(text), expected.map(|url| format!("SourceMap {url}")));
}

#[test]
fn strings_that_are_names_of_files_are_mentions() {
    let text = r#"f("/vite.svg", 'b/other.js', `assets/a.js`, "vite", "vite.svg?url");
        navigator.serviceWorker.register("/sw.js"); new Worker("worker.js")"#;
    let names = ["vite.svg", "a.js", "sw.js", "worker.js"];
    let expected = ["/vite.svg", "assets/a.js", "vite.svg?url", "/sw.js", "worker.js"];
    let found = found_with(Language::JavaScript, text.as_bytes(), &names);
    assert_eq!(found, expected.map(|url| format!("Mention {url}")));
}

#[test]
fn names_within_strings_and_templates_are_mentions() {
    let text = r#"e.innerHTML = '<img src="img/a.png">'; f = "background:url(img/b.png)";
        g.srcset = "c.png 1x, d.png 2x"; h = `<img src='${base}/e.png'><img src="f.png">`;
        i = "{\"j\":\"k\\/g.png\"}"; l = "\01 h.png""#;
    let names = ["a", "b", "c", "d", "e", "f", "g", "h"].map(|name| format!("{name}.png"));
    let names: Vec<_> = names.iter().map(String::as_str).collect();
    let expected =
        ["img/a.png", "img/b.png", "c.png", "d.png", "/e.png", "f.png", "/g.png", "k/g.png"];
    let found = found_with(Language::JavaScript, text.as_bytes(), &names);
    let expected = expected.iter().chain(&["h.png"]).map(|url| format!("Mention {url}"));
    assert_eq!(found, expected.collect::<Vec<_>>());
}

#[test]
fn names_within_strings_of_data_are_mentions() {
    let text = r#"{"html": "<img src=\"img\/a.png\">", "b": "see b.png"}"#;
    let found = found_with(Language::Json, text.as_bytes(), &["a.png", "b.png"]);
    assert_eq!(found, ["Mention img/a.png", "Mention b.png"]);
}

#[test]
fn unfinished_regular_expressions_take_linear_time() {
    for part in ["/[", "/\\/", "/[/]", "[/x", "=/[a"] {
        found(&part.repeat(500_000));
    }
    let text = "/[".repeat(500_000) + "\nimport './a.js'";
    assert_eq!(found(&text), ["Asset ./a.js"]);
}

#[test]
fn a_regular_expression_after_one_that_does_not_end_is_found() {
    // The first one has no end. The quote within the second one begins no string.
    assert_eq!(found("(/[ (/\"/);import('./a.js')\n"), ["Asset ./a.js"]);
}

#[test]
fn escapes_and_the_byte_order_mark_are_read() {
    let text = "\u{feff}import '.\\x2fa.js';\u{a0}import './\\u{e9}.js'\u{2028}import'./b.js'";
    assert_eq!(found(text), ["Asset ./a.js", "Asset ./é.js", "Asset ./b.js"]);
}

#[test]
fn bytes_that_are_no_utf_8_do_not_disturb_what_follows() {
    let text = b"x='\xff\xfe';import './a\xff.js';import './b.js'";
    let expected = ["Asset ./a\u{fffd}.js", "Asset ./b.js"];
    assert_eq!(found_in(Language::JavaScript, text), expected);
}

#[test]
fn a_huge_line_and_deep_nesting_are_read() {
    let text = format!("{}a={};import './a.js'", "(".repeat(1_000_000), "x+".repeat(1_000_000));
    assert_eq!(found(&text), ["Asset ./a.js"]);
}

#[test]
fn many_unfinished_clauses_take_linear_time() {
    let text = "import {a,".repeat(200_000) + "export {".repeat(200_000).as_str();
    assert!(found(&text).is_empty());
    let text = "new URL(".repeat(200_000);
    assert!(found(&text).is_empty());
}
