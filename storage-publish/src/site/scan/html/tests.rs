//! Tests of the references of HTML pages.

use super::super::tests::{found as found_in, found_with};
use super::super::{Language, Scan, read};

fn found(text: &str) -> Vec<String> {
    found_in(Language::Html, text.as_bytes())
}

#[test]
fn elements_and_their_attributes_are_found() {
    let text = r#"<!DOCTYPE html><link rel=stylesheet href=a.css><script src='b.js'></script>
        <img src="c.png" srcset="d.png 1x, e.png 2x"><video poster=f.jpg src=g.mp4></video>
        <object data="h.svg"></object><embed src=i.pdf><input type=image src=j.png>
        <link rel="preload" as=image imagesrcset="k.png 1x" href="l.png"><track src=m.vtt>
        <link rel="shortcut icon" href="n.ico"><body background="o.gif">"#;
    let expected = "a.css b.js c.png d.png e.png f.jpg g.mp4 h.svg i.pdf j.png k.png l.png m.vtt \
        n.ico o.gif";
    let expected = expected.split_whitespace().map(|url| format!("Asset {url}"));
    assert_eq!(found(text), expected.collect::<Vec<_>>());
}

#[test]
fn links_to_pages_are_no_assets() {
    let text = r#"<a href="a.html">x</a><link rel=canonical href="/b"><iframe src=c.html></iframe>
        <area href=d><link rel="alternate" href="feed.xml">"#;
    let expected = ["Link a.html", "Link /b", "Link c.html", "Link d", "Link feed.xml"];
    assert_eq!(found(text), expected);
}

#[test]
fn tags_in_upper_case_and_without_quotes_are_read() {
    let text =
        "<IMG SRC=a.png><Img Src = b.png/><img src='c.png'class=x><IMG\r\nSRC\r\n=\r\nd.png>";
    assert_eq!(found(text), ["Asset a.png", "Asset b.png/", "Asset c.png", "Asset d.png"]);
}

#[test]
fn character_references_are_resolved() {
    let text = "<img src='a&amp;b.png?x=1&y=2'><img src=c&#46;png><img src='d&#x2e;png'>\r\n\
                <img src='e\r\n.png'>";
    let expected = ["Asset a&b.png?x=1&y=2", "Asset c.png", "Asset d.png", "Asset e\n.png"];
    let names = Default::default();
    let mut scan = Scan::new(&names);
    read(Language::Html, text.as_bytes(), &mut scan);
    let found = scan.references.iter().map(|found| format!("{:?} {}", found.role, found.url.text));
    assert_eq!(found.collect::<Vec<_>>(), expected);
    assert!(scan.references.iter().all(|found| found.url.offset(0).is_some()));
}

#[test]
fn an_unusual_character_reference_leaves_the_place_unknown() {
    let names = Default::default();
    let mut scan = Scan::new(&names);
    read(Language::Html, b"<img src='&eacute;.png'>", &mut scan);
    assert_eq!(scan.references[0].url.text, "é.png");
    assert_eq!(scan.references[0].url.offset(0), None);
}

#[test]
fn comments_and_texts_have_no_references() {
    let text =
        "<!-- <img src=a.png> --><textarea><img src=b.png></textarea><title><img src=c></title>
        <![CDATA[<img src=d.png>]]><p>src=e.png<xmp><img src=f.png></xmp><! img src=g.png>
        <script type='text/template'><img src=h.png></script></img src=i.png>";
    // HTML has no CDATA: it is a comment up to the first `>`.
    assert!(found(text).is_empty());
}

#[test]
fn style_sheets_are_read_in_elements_and_attributes() {
    let text = "<style>a{b:url(a.png)}/* </x> url(z.png) */</style>\
        <p style='b:url(&quot;b.png&quot;)'><p style=\"c:url('c.png')\"><STYLE>@import 'd.css'";
    assert_eq!(found(text), ["Asset a.png", "Asset b.png", "Asset c.png", "Asset d.css"]);
}

#[test]
fn scripts_in_the_page_are_read() {
    let text = r#"<script type="module">import "./a.js"; x = "</p><img src=z.png>"</script>
        <script>import('./b.js'); if (a<b) c = "<!-- <script> </script>"; import('./c.js')</script>
        <script type="text/javascript"><!--
        import('./d.js')
        //--></script><script src="e.js">import './f.js'</script>"#;
    // `<!-- <script>` begins a part in which `</script>` does not end the script.
    let expected = ["Asset ./a.js", "Asset ./b.js", "Asset ./c.js", "Asset ./d.js", "Asset e.js"];
    assert_eq!(found(text), expected);
}

#[test]
fn import_maps_are_read_with_their_integrity() {
    let text = r#"<script type="importmap">{"imports": {"a": "./a.js"},
        "integrity": {"./a.js": "sha384-x"}}</script>"#;
    let names = Default::default();
    let mut scan = Scan::new(&names);
    read(Language::Html, text.as_bytes(), &mut scan);
    assert_eq!(scan.references[0].url.text, "./a.js");
    let place = scan.integrity[0].value.offset(0).unwrap();
    assert_eq!(&text[place..place + 8], "sha384-x");
}

#[test]
fn the_integrity_of_an_element_is_found() {
    let text = "<script src=a.js integrity='sha256-x sha512-y'></script>\
        <link integrity=sha384-z rel=stylesheet href=b.css>";
    let names = Default::default();
    let mut scan = Scan::new(&names);
    read(Language::Html, text.as_bytes(), &mut scan);
    let found = scan.integrity.iter().map(|found| (&*found.url.text, &*found.value.text));
    assert_eq!(found.collect::<Vec<_>>(), [("a.js", "sha256-x sha512-y"), ("b.css", "sha384-z")]);
}

#[test]
fn the_first_base_counts() {
    let names = Default::default();
    let mut scan = Scan::new(&names);
    read(Language::Html, b"<base target=x><base href='/a/'><base href='/b/'>", &mut scan);
    assert_eq!(scan.base.as_deref(), Some("/a/"));
}

#[test]
fn an_element_without_content_ends_in_xml_and_not_in_html() {
    let text = b"<script src='a.js'/><img src='b.png'/><script>import './c.js'</script>";
    assert_eq!(found_in(Language::Xhtml, text), ["Asset a.js", "Asset b.png", "Asset ./c.js"]);
    assert_eq!(found_in(Language::Html, text), ["Asset a.js"]);
}

#[test]
fn vector_images_in_a_page_are_read() {
    let text = "<svg><title/><style>a{b:url(a.png)}</style><use xlink:href='b.svg#c'/>
        <rect fill='url(#d)'/><foreignObject><title><img src=x.png></title><img src=e.png>
        </foreignObject><image href=f.png /></svg><a href=g.html><title><img src=h.png></title>";
    let expected = ["Asset a.png", "Asset b.svg#c", "Asset #d", "Asset e.png", "Asset f.png"];
    assert_eq!(found(text), expected.into_iter().chain(["Link g.html"]).collect::<Vec<_>>());
}

#[test]
fn other_attributes_and_data_have_mentions() {
    let text = r#"<img data-src="a.png" data-srcset="b.png 1x, c.png 2x"><p title="x.png">
        <meta http-equiv=refresh content="5; url=d.html"><script type="application/ld+json">
        {"image": "https://example.com/e.png"}</script><meta property=og:image content=f.png>"#;
    let names = ["a.png", "b.png", "c.png", "d.html", "e.png", "f.png"];
    let expected = ["a.png", "b.png", "c.png", "d.html", "https://example.com/e.png"];
    let mut expected = expected.map(|url| format!("Mention {url}")).to_vec();
    expected.push("Link f.png".to_owned());
    assert_eq!(found_with(Language::Html, text.as_bytes(), &names), expected);
}

#[test]
fn scripts_of_another_type_have_mentions() {
    let text = "<script type=text/template><img src=\"x/a.png\"></script>
        <script type=text/x-config>image = b.png</script>";
    let found = found_with(Language::Html, text.as_bytes(), &["a.png", "b.png"]);
    assert_eq!(found, ["Mention x/a.png", "Mention b.png"]);
}

#[test]
fn many_attributes_take_linear_time() {
    let names: String = (0..200_000).map(|index| format!(" a{index}=x")).collect();
    assert_eq!(found(&format!("<img{names} src=a.png>")), ["Asset a.png"]);
}

#[test]
fn the_first_of_two_equal_attributes_counts() {
    assert_eq!(found("<img src=a.png src=b.png>"), ["Asset a.png"]);
}

#[test]
fn unusual_bytes_do_not_move_the_places() {
    let text =
        b"\xef\xbb\xbf<p title='\xff\r\n\r\0'>\xc3\xa9\xff\r<img alt=\"\xe2\x82\" src=a.png>\0\r\n\
        <img alt='\0' src=\"b.png\"><img src='\xff.png'>";
    let expected = ["Asset a.png", "Asset b.png", "Asset \u{fffd}.png"];
    assert_eq!(found_in(Language::Html, text), expected);
}

#[test]
fn what_has_no_end_ends_with_the_page() {
    for text in ["<img src=a.png", "<img src='a.png", "<!-- <img src=a.png", "<", "<img src", "</"]
    {
        assert!(found(text).is_empty(), "{text}");
    }
}

#[test]
fn a_huge_line_and_many_tags_are_read() {
    let text = format!("<p>{}<img src=a.png>{}", "x".repeat(2_000_000), "<svg>".repeat(100_000));
    assert_eq!(found(&text), ["Asset a.png"]);
}
