//! Storages that refer to each other.

use std::fmt::Write as _;

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
        assert_eq!(
            storages.get(name).unwrap().open("a").await.unwrap().text().await.unwrap(),
            "one"
        );
    }
}

#[tokio::test]
async fn a_storage_refers_to_an_inline_table() {
    let text = "[storages.default]\ndriver='alias'\n[storages.default.origin]\ndriver='probe'\nroot='x'\nprefix='deep'";
    assert_eq!(read(text).open("default").unwrap().info().location, "memory:/deep");
    let inline = "[storages.default]\ndriver='alias'\norigin={driver='probe', rot='x'}";
    assert!(refusal(inline).starts_with("[storages.default]: unknown option rot of driver probe"));
    let number = "[storages.default]\ndriver='alias'\norigin=3";
    assert!(refusal(number).contains("expected the name of a storage, or a table"));
}

#[test]
fn a_reference_to_a_missing_storage_lists_the_known_names() {
    assert_eq!(
        refusal(
            "[storages.default]\ndriver='alias'\norigin='medai'\n[storages.media]\ndriver='probe'\nroot='x'"
        ),
        r#"[storages.default]: no storage is called "medai"; known storages: default, media"#
    );
}

#[test]
fn a_cycle_of_references_is_an_error_that_contains_the_cycle() {
    let error = refusal(
        "[storages.default]\ndriver='alias'\norigin='b'\n[storages.b]\ndriver='alias'\norigin='c'\n\
         [storages.c]\ndriver='alias'\norigin={driver='alias', origin='b'}",
    );
    assert!(error.ends_with("storages refer to each other in a cycle: b -> c -> b"), "{error}");
    let error = refusal("[storages.default]\ndriver='alias'\norigin='default'");
    assert!(error.ends_with("in a cycle: default -> default"), "{error}");
}

/// Storages `s0000`, `s0001`, ... that refer to the next one, and the last to a probe.
fn chain(count: usize) -> String {
    let mut text = String::new();
    for number in 1..count {
        writeln!(text, "[storages.s{:04}]\ndriver='alias'\norigin='s{number:04}'", number - 1)
            .unwrap();
    }
    text + &format!("[storages.s{:04}]\ndriver='probe'\nroot='x'\n", count - 1)
}

#[test]
fn a_long_chain_of_references_is_refused_without_a_stack_overflow() {
    read(&chain(16)).open_all().unwrap();
    for count in [17, 3000] {
        let definitions = read(&chain(count));
        // From the first storage, and with the referenced ones already built.
        for error in [definitions.open("s0000").unwrap_err(), definitions.open_all().unwrap_err()] {
            let error = refused(error);
            assert!(
                error.contains("more than 16 storages refer to each other in a row"),
                "{error}"
            );
        }
    }
    // In reverse order, each storage is built before the one that refers to it.
    let mut text = "[storages.s0000]\ndriver='probe'\nroot='x'\n".to_owned();
    for number in 1..17 {
        writeln!(text, "[storages.s{number:04}]\ndriver='alias'\norigin='s{:04}'", number - 1)
            .unwrap();
    }
    assert!(refused(read(&text).open_all().unwrap_err()).contains("more than 16 storages"));
    let mut inline = "{driver='probe', root='x'}".to_owned();
    for _ in 0..20 {
        inline = format!("{{driver='alias', origin={inline}}}");
    }
    let error = refusal(&format!("[storages.default]\ndriver='alias'\norigin={inline}"));
    assert!(error.contains("more than 16 storages"), "{error}");
}

#[test]
fn the_error_of_a_referenced_storage_contains_the_references() {
    let error = refusal(
        "[storages.default]\ndriver='alias'\norigin='media'\n[storages.media]\ndriver='probe'",
    );
    assert_eq!(
        error,
        "[storages.default]: [storages.media]: option root of driver probe is missing"
    );
}

#[test]
fn a_reference_to_an_invalid_storage_contains_the_reason() {
    let definitions = read(
        "[storages.default]\ndriver='alias'\norigin='media'\n[storages.media]\ndriver='probe'\nroot='${GONE}'",
    );
    let error = refused(definitions.open("default").unwrap_err());
    assert!(
        error.contains(r#"no storage is called "media""#) && error.contains("GONE is not set"),
        "{error}"
    );
}
