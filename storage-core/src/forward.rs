//! [`forward!`](crate::forward): the verbs that a layer passes on unchanged.

/// Implements verbs of [`Driver`](crate::Driver) that a layer passes on unchanged to its inner
/// driver.
///
/// Write it inside the `impl Driver` of the layer, with the field that holds the inner driver and
/// the list of verbs. The list is explicit, so a verb that is neither written out nor listed does
/// not compile. A new verb of `Driver` therefore fails to compile in every layer until its author
/// decides what the layer does with it. A layer that refuses writes would otherwise pass a new
/// write on.
///
/// A forwarded verb returns the future of the inner driver and allocates none of its own.
///
/// ```
/// use std::sync::Arc;
/// use storage_core::{Driver, Error, ErrorKind, Key, Result, async_trait, forward};
/// # use storage_core::{Memory, Storage};
///
/// /// Refuses to delete.
/// #[derive(Debug)]
/// struct NoDelete {
///     inner: Arc<dyn Driver>,
/// }
///
/// #[async_trait]
/// impl Driver for NoDelete {
///     async fn delete(&self, _key: &Key) -> Result<()> {
///         Err(Error::new(ErrorKind::PermissionDenied, "this storage deletes nothing"))
///     }
///
///     async fn delete_many(&self, keys: &[Key]) -> Vec<Result<()>> {
///         storage_core::delete_one_by_one(self, keys).await
///     }
///
///     forward! {
///         to self.inner: info, innermost, save, open, stat, exists, delete_folder_marker, list,
///         copy, rename, url, link_verifier, multipart
///     }
/// }
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<()> {
/// # let storage = Memory::storage().layer(|inner| NoDelete { inner });
/// # storage.save("a", "hello").await?;
/// # assert!(storage.delete("a").await.is_err());
/// # assert_eq!(storage.open("a").await?.text().await?, "hello");
/// # Ok(()) }
/// ```
///
/// A verb that is missing from the list (here `exists`) does not compile:
///
/// ```compile_fail,E0046
/// # use std::sync::Arc;
/// # use storage_core::{Driver, async_trait, forward};
/// #[derive(Debug)]
/// struct Layer(Arc<dyn Driver>);
///
/// #[async_trait]
/// impl Driver for Layer {
///     forward! {
///         to self.0: info, innermost, save, open, stat, delete, delete_many,
///         delete_folder_marker, list, copy, rename, url, link_verifier, multipart
///     }
/// }
/// ```
///
/// Nor does a name that is no verb:
///
/// ```compile_fail
/// # use std::sync::Arc;
/// # use storage_core::{Driver, async_trait, forward};
/// # #[derive(Debug)]
/// # struct Layer(Arc<dyn Driver>);
/// #[async_trait]
/// impl Driver for Layer {
///     forward! {
///         to self.0: info, innermost, save, open, stat, exists, delete, delete_many,
///         delete_folder_marker, list, copy, rename, url, link_verifier, multipart, upload
///     }
/// }
/// ```
#[macro_export]
macro_rules! forward {
    (to $self:ident $(. $field:tt)+ : $($verb:ident),+ $(,)?) => {
        $crate::forward! { @each $self ($self $(. $field)+) $($verb)+ }
    };
    (to ** $self:ident : $($verb:ident),+ $(,)?) => {
        $crate::forward! { @each $self (**$self) $($verb)+ }
    };
    (@each $self:ident $inner:tt $($verb:ident)+) => {
        $($crate::forward_verb! { $verb $self $inner })+
    };
}

/// One verb of [`forward!`](crate::forward). `async_trait` runs before this macro is expanded, so
/// asynchronous verbs are written in the form that it would give them.
#[doc(hidden)]
#[macro_export]
macro_rules! forward_verb {
    (info $self:ident ($($inner:tt)+)) => {
        fn info(&$self) -> $crate::DriverInfo {
            $crate::Driver::info(&$($inner)+)
        }
    };
    (innermost $self:ident ($($inner:tt)+)) => {
        fn innermost(&$self) -> $crate::Result<$crate::DriverRef<'_>> {
            $crate::Driver::innermost(&$($inner)+)
        }
    };
    (link_verifier $self:ident ($($inner:tt)+)) => {
        fn link_verifier(&$self) -> $crate::Result<$crate::LinkVerifier> {
            $crate::Driver::link_verifier(&$($inner)+)
        }
    };
    (multipart $self:ident ($($inner:tt)+)) => {
        fn multipart(&$self) -> $crate::Result<&dyn $crate::Multipart> {
            $crate::Driver::multipart(&$($inner)+)
        }
    };
    (list $self:ident ($($inner:tt)+)) => {
        fn list(
            &$self,
            prefix: &$crate::Prefix,
            options: &$crate::ListOptions,
        ) -> $crate::EntryStream {
            $crate::Driver::list(&$($inner)+, prefix, options)
        }
    };
    (save $self:ident $inner:tt) => {
        $crate::forward_verb! {
            @async $self $inner save('b key: $crate::Key, payload: $crate::Payload, 'c options: $crate::SaveOptions)
                -> $crate::Result<$crate::ObjectMeta>
        }
    };
    (open $self:ident $inner:tt) => {
        $crate::forward_verb! {
            @async $self $inner open('b key: $crate::Key, 'c options: $crate::OpenOptions)
                -> $crate::Result<$crate::Object>
        }
    };
    (stat $self:ident $inner:tt) => {
        $crate::forward_verb! {
            @async $self $inner stat('b key: $crate::Key) -> $crate::Result<$crate::ObjectMeta>
        }
    };
    (exists $self:ident $inner:tt) => {
        $crate::forward_verb! {
            @async $self $inner exists('b key: $crate::Key) -> $crate::Result<bool>
        }
    };
    (delete $self:ident $inner:tt) => {
        $crate::forward_verb! {
            @async $self $inner delete('b key: $crate::Key) -> $crate::Result<()>
        }
    };
    (delete_many $self:ident $inner:tt) => {
        $crate::forward_verb! {
            @async $self $inner delete_many('b keys: [$crate::Key])
                -> ::std::vec::Vec<$crate::Result<()>>
        }
    };
    (delete_folder_marker $self:ident $inner:tt) => {
        $crate::forward_verb! {
            @async $self $inner delete_folder_marker('b marker: $crate::Prefix)
                -> $crate::Result<()>
        }
    };
    (copy $self:ident $inner:tt) => {
        $crate::forward_verb! {
            @async $self $inner copy('b from: $crate::Key, 'c to: $crate::Key, 'd options: $crate::CopyOptions)
                -> $crate::Result<()>
        }
    };
    (rename $self:ident $inner:tt) => {
        $crate::forward_verb! {
            @async $self $inner rename('b from: $crate::Key, 'c to: $crate::Key, 'd options: $crate::RenameOptions)
                -> $crate::Result<()>
        }
    };
    (url $self:ident $inner:tt) => {
        $crate::forward_verb! {
            @async $self $inner url('b key: $crate::Key, 'c options: $crate::UrlOptions)
                -> $crate::Result<$crate::Link>
        }
    };
    (
        @async $self:ident ($($inner:tt)+)
        $verb:ident($($($life:lifetime)? $argument:ident: $type:ty),+) -> $output:ty
    ) => {
        fn $verb<'a, $($($life,)?)+ 'future>(
            &'a $self,
            $($argument: $(&$life)? $type),+
        ) -> ::std::pin::Pin<
            ::std::boxed::Box<
                dyn ::std::future::Future<Output = $output> + ::std::marker::Send + 'future,
            >,
        >
        where
            'a: 'future,
            $($($life: 'future,)?)+
            Self: 'future,
        {
            $crate::Driver::$verb(&$($inner)+, $($argument),+)
        }
    };
    ($other:ident $self:ident $inner:tt) => {
        ::std::compile_error!(::std::concat!(
            "`", ::std::stringify!($other), "` is not a verb of `Driver` that can be forwarded"
        ));
    };
}
