//! Glob imports of the facade hide no name of the standard library's prelude and no usual crate.

#![allow(clippy::unwrap_used, reason = "a test that meets an unforeseen error has failed")]
#![allow(clippy::wildcard_imports, reason = "they are what is tested")]
#![allow(clippy::single_component_path_imports, reason = "programs import http so")]
#![allow(drop_bounds, reason = "the names are what is tested")]
#![allow(unused_imports, redundant_imports, reason = "programs import http so")]

/// Checks that the names of the standard prelude have their usual meaning where this stands. The
/// types and bounds of each pair differ if a name is hidden, and the module does not compile.
macro_rules! standard_names {
    () => {
        #[allow(clippy::type_complexity, dead_code, reason = "the compiler checks it")]
        mod standard_names {
            use super::*;

            fn types(
                given: Option<Box<dyn Fn(String, Vec<u8>) -> Result<(), String> + Send + Sync>>,
            ) -> ::std::option::Option<
                ::std::boxed::Box<
                    dyn ::std::ops::Fn(
                            ::std::string::String,
                            ::std::vec::Vec<u8>,
                        )
                            -> ::std::result::Result<(), ::std::string::String>
                        + ::std::marker::Send
                        + ::std::marker::Sync,
                >,
            > {
                given
            }

            fn values(text: &str) -> ::std::result::Result<::std::string::String, ()> {
                drop(Some(String::new()).or(None));
                if text.is_empty() { Err(()) } else { Ok(text.to_string()) }
            }

            fn narrow<
                T: Clone + Copy + Default + PartialEq + Eq + PartialOrd + Ord + Sized + Unpin,
                U: AsRef<str> + AsMut<str> + From<u8> + Into<u8> + TryFrom<u16> + TryInto<u16>,
                V: Iterator + DoubleEndedIterator + ExactSizeIterator + Extend<u8>,
                W: IntoIterator + FromIterator<u8> + ToOwned + ToString + Drop,
                X: FnOnce() + FnMut() + Fn() + IntoFuture,
                Y: Future,
            >() {
            }

            fn wide<
                T: ::std::clone::Clone
                    + ::std::marker::Copy
                    + ::std::default::Default
                    + ::std::cmp::Ord
                    + ::std::marker::Unpin,
                U: ::std::convert::AsRef<str>
                    + ::std::convert::AsMut<str>
                    + ::std::convert::From<u8>
                    + ::std::convert::Into<u8>
                    + ::std::convert::TryFrom<u16>
                    + ::std::convert::TryInto<u16>,
                V: ::std::iter::DoubleEndedIterator
                    + ::std::iter::ExactSizeIterator
                    + ::std::iter::Extend<u8>,
                W: ::std::iter::IntoIterator
                    + ::std::iter::FromIterator<u8>
                    + ::std::borrow::ToOwned
                    + ::std::string::ToString
                    + ::std::ops::Drop,
                X: ::std::ops::Fn() + ::std::future::IntoFuture,
                Y: ::std::future::Future,
            >() {
                narrow::<T, U, V, W, X, Y>();
            }
        }
    };
}

mod all {
    use std::task;

    use anystorage::*;
    use http;

    standard_names!();

    #[derive(Debug, Clone, Copy, PartialEq)]
    struct Small(http::StatusCode);

    /// `Result` is an alias that takes the place of the standard one with two parameters.
    fn parsed(text: &str) -> Result<u16, std::num::ParseIntError> {
        text.parse()
    }

    fn poll(_context: &mut task::Context<'_>) -> task::Poll<Option<Vec<String>>> {
        task::Poll::Ready(Some(Vec::new()))
    }

    #[tokio::test]
    async fn everything_of_the_facade_can_be_imported() {
        let storage = Memory::storage();
        storage.save("a", "b").await.unwrap();
        storage.copy("a", "c").await.unwrap();
        let small = Small(http::StatusCode::OK);
        let copy = small;
        assert_eq!(small, copy);
        assert_eq!(parsed("7"), Ok(7));
        let mut context = task::Context::from_waker(task::Waker::noop());
        assert!(poll(&mut context).is_ready());
    }
}

mod prelude {
    use std::error::Error;
    use std::task::Context;

    use anystorage::prelude::*;
    use http;

    standard_names!();

    #[derive(Debug, Clone, Copy, PartialEq)]
    struct Small(http::StatusCode);

    fn parsed(text: &str) -> Result<u16, Box<dyn Error>> {
        Ok(text.parse()?)
    }

    fn is_ready(_context: &mut Context<'_>) -> bool {
        true
    }

    #[tokio::test]
    async fn the_prelude_is_enough_for_an_application() {
        let storage: Storage = anystorage::open("memory:").unwrap();
        let options = SaveOptions::new().metadata(Metadata::new().content_type("text/plain"));
        let saved: ObjectMeta =
            storage.save_with("a/b", Payload::from("text"), options).await.unwrap();
        let key: Key = saved.key;
        let object: Object = storage.open_with(&key, OpenOptions::new().range(1..3)).await.unwrap();
        assert_eq!(object.text().await.unwrap(), "ex");
        let mut entries: Entries = storage.list("a/").entries();
        let Some(Ok(Entry::Object(entry))) = entries.next().await else { panic!("no object") };
        assert_eq!(entry.key, key);
        let error = storage.open("none").await.unwrap_err();
        assert!(error.is_not_found() && error.kind() == ErrorKind::NotFound);
        let small = Small(http::StatusCode::OK);
        assert_eq!(small, Small(http::StatusCode::OK));
        assert_eq!(parsed("7").unwrap(), 7);
        let mut context = Context::from_waker(std::task::Waker::noop());
        assert!(is_ready(&mut context));
    }
}
