//! Storages that refer to each other.

use super::support::{read, refusal, refused};

#[tokio::test]
async fn a_storage_refers_to_another_by_name() {
    let storages = read(
        "[storages.default]\ndriver='alias'\norigin='media'\n[storages.media]\ndriver='probe'\nroot='x'\n\
         [storages.third]\ndriver='alias'\norigin='media'",
    )
    .open_all()
    .unwrap();
    storages.get("media").unwrap().save("a", "one").await.unwrap();
    for name in ["default", "third"] {
        assert_eq!(storages.get(name).unwrap().open("a").await.unwrap().text().await.unwrap(), "one");
    }
}

#[tokio::test]
async fn a_storage_refers_to_an_inline_table() {
    let text = "[storages.default]\ndriver='alias'\n[storages.default.origin]\ndriver='probe'\nroot='x'\nprefix='deep'";
    assert_eq!(read(text).open("default").unwrap().info().location, "memory:/deep");
    let inline = "[storages.default]\ndriver='alias'\norigin={driver='probe', rot='x'}";
    assert!(refusal(inline).starts_with("[storages.default]: unknown option rot of driver probe"));
    let number = "[storages.default]\ndriver='alias'\norigin=3";
    assert!(refusal(number).contains("by its name or given as a table"));
}

#[test]
fn a_reference_to_nothing_lists_the_known_names() {
    assert_eq!(
        refusal("[storages.default]\ndriver='alias'\norigin='medai'\n[storages.media]\ndriver='probe'\nroot='x'"),
        r#"[storages.default]: no storage is called "medai"; known are default, media"#
    );
}

#[test]
fn a_circle_is_refused_and_shown() {
    let said = refusal(
        "[storages.default]\ndriver='alias'\norigin='b'\n[storages.b]\ndriver='alias'\norigin='c'\n\
         [storages.c]\ndriver='alias'\norigin={driver='alias', origin='b'}",
    );
    assert!(said.ends_with("storages refer to each other in a circle: b -> c -> b"), "{said}");
    let said = refusal("[storages.default]\ndriver='alias'\norigin='default'");
    assert!(said.ends_with("in a circle: default -> default"), "{said}");
}

#[test]
fn the_error_of_a_storage_that_is_referred_to_shows_the_way_there() {
    let said = refusal("[storages.default]\ndriver='alias'\norigin='media'\n[storages.media]\ndriver='probe'");
    assert_eq!(said, "[storages.default]: [storages.media]: option root of driver probe is missing");
}

#[test]
fn a_reference_to_a_storage_that_cannot_be_read_says_why() {
    let definitions =
        read("[storages.default]\ndriver='alias'\norigin='media'\n[storages.media]\ndriver='probe'\nroot='${GONE}'");
    let said = refused(definitions.open("default").unwrap_err());
    assert!(said.contains(r#"no storage is called "media""#) && said.contains("GONE is not set"), "{said}");
}
