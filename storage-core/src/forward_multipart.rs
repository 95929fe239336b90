//! [`forward_multipart!`](crate::forward_multipart): the multipart verbs that a layer passes on
//! unchanged.

/// Implements verbs of [`Multipart`](crate::Multipart) that a layer passes on unchanged to its
/// inner driver, as [`forward!`](crate::forward) does for those of [`Driver`](crate::Driver).
///
/// Write it inside the `impl Multipart` of the layer, with the field that holds the inner driver
/// and the list of verbs. A verb that is neither written out nor listed does not compile.
///
/// ```
/// use std::sync::Arc;
/// use storage_core::{
///     Driver, Key, Metadata, Multipart, MultipartOptions, Result, UploadId, async_trait, forward,
///     forward_multipart,
/// };
/// # use storage_core::{Memory, Storage};
///
/// /// Stores every upload with one cache rule.
/// #[derive(Debug)]
/// struct Cached {
///     inner: Arc<dyn Driver>,
/// }
///
/// #[async_trait]
/// impl Multipart for Cached {
///     async fn begin(&self, key: &Key, options: &MultipartOptions) -> Result<UploadId> {
///         let mut options = options.clone();
///         options.metadata = options.metadata.cache_control("public, max-age=60");
///         self.inner.multipart()?.begin(key, &options).await
///     }
///
///     forward_multipart! {
///         to self.inner: limits, put_part, parts, complete, abort, uploads, part_url
///     }
/// }
///
/// #[async_trait]
/// impl Driver for Cached {
///     fn multipart(&self) -> Result<&dyn Multipart> {
///         self.inner.multipart().map(|_| self as &dyn Multipart)
///     }
///
///     forward! {
///         to self.inner: info, innermost, save, open, stat, exists, delete, delete_many,
///         delete_folder_marker, list, copy, rename, url, link_verifier
///     }
/// }
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<()> {
/// # let storage = Memory::storage().layer(|inner| Cached { inner });
/// # let upload = storage.multipart("a").await?;
/// # upload.put_part(1, "hello").await?;
/// # let meta = upload.complete().await?;
/// # assert_eq!(meta.metadata.cache_control.as_deref(), Some("public, max-age=60"));
/// # Ok(()) }
/// ```
#[macro_export]
macro_rules! forward_multipart {
    (to $self:ident $(. $field:tt)+ : $($verb:ident),+ $(,)?) => {
        $crate::forward_multipart! { @each $self ($self $(. $field)+) $($verb)+ }
    };
    (@each $self:ident $inner:tt $($verb:ident)+) => {
        $($crate::forward_multipart_verb! { $verb $self $inner })+
    };
}

/// One verb of [`forward_multipart!`](crate::forward_multipart), in the form that `async_trait`
/// would give it: see [`forward_verb!`](crate::forward_verb).
#[doc(hidden)]
#[macro_export]
macro_rules! forward_multipart_verb {
    (limits $self:ident ($($inner:tt)+)) => {
        fn limits(&$self) -> $crate::MultipartLimits {
            match $crate::Driver::multipart(&$($inner)+) {
                ::std::result::Result::Ok(multipart) => multipart.limits(),
                ::std::result::Result::Err(_) => $crate::MultipartLimits::none(),
            }
        }
    };
    (parts $self:ident ($($inner:tt)+)) => {
        fn parts(&$self, key: &$crate::Key, id: &$crate::UploadId) -> $crate::PartStream {
            $crate::internal::stream_or_error(
                $crate::Driver::multipart(&$($inner)+).map(|multipart| multipart.parts(key, id)),
            )
        }
    };
    (uploads $self:ident ($($inner:tt)+)) => {
        fn uploads(&$self, prefix: &$crate::Prefix) -> $crate::UploadStream {
            $crate::internal::stream_or_error(
                $crate::Driver::multipart(&$($inner)+).map(|multipart| multipart.uploads(prefix)),
            )
        }
    };
    (begin $self:ident $inner:tt) => {
        $crate::forward_multipart_verb! {
            @async $self $inner
            begin('b key: &'b $crate::Key, 'c options: &'c $crate::MultipartOptions)
                -> $crate::UploadId
        }
    };
    (put_part $self:ident $inner:tt) => {
        $crate::forward_multipart_verb! {
            @async $self $inner
            put_part(
                'b key: &'b $crate::Key, 'c id: &'c $crate::UploadId,
                'static number: u32, 'static payload: $crate::Payload
            ) -> $crate::Part
        }
    };
    (complete $self:ident $inner:tt) => {
        $crate::forward_multipart_verb! {
            @async $self $inner
            complete(
                'b key: &'b $crate::Key, 'c id: &'c $crate::UploadId,
                'd options: &'d $crate::CompleteOptions
            ) -> $crate::ObjectMeta
        }
    };
    (abort $self:ident $inner:tt) => {
        $crate::forward_multipart_verb! {
            @async $self $inner abort('b key: &'b $crate::Key, 'c id: &'c $crate::UploadId) -> ()
        }
    };
    (part_url $self:ident $inner:tt) => {
        $crate::forward_multipart_verb! {
            @async $self $inner
            part_url(
                'b key: &'b $crate::Key, 'c id: &'c $crate::UploadId, 'static number: u32,
                'd options: &'d $crate::PartUrlOptions
            ) -> $crate::Link
        }
    };
    (
        @async $self:ident ($($inner:tt)+)
        $verb:ident($($life:lifetime $argument:ident: $type:ty),+) -> $output:ty
    ) => {
        $crate::forward_multipart_verb! {
            @lifetimes $self ($($inner)+) $verb ($($argument: $type),+) -> $output,
            [$($life)+] []
        }
    };
    // Collects the lifetimes of the references.
    (@lifetimes $self:ident $inner:tt $verb:ident $arguments:tt -> $output:ty,
        ['static $($rest:lifetime)*] [$($life:lifetime)*]) => {
        $crate::forward_multipart_verb! {
            @lifetimes $self $inner $verb $arguments -> $output, [$($rest)*] [$($life)*]
        }
    };
    (@lifetimes $self:ident $inner:tt $verb:ident $arguments:tt -> $output:ty,
        [$next:lifetime $($rest:lifetime)*] [$($life:lifetime)*]) => {
        $crate::forward_multipart_verb! {
            @lifetimes $self $inner $verb $arguments -> $output, [$($rest)*] [$($life)* $next]
        }
    };
    (@lifetimes $self:ident ($($inner:tt)+) $verb:ident ($($argument:ident: $type:ty),+)
        -> $output:ty, [] [$($life:lifetime)*]) => {
        fn $verb<'a, $($life,)* 'future>(
            &'a $self,
            $($argument: $type),+
        ) -> ::std::pin::Pin<
            ::std::boxed::Box<
                dyn ::std::future::Future<Output = $crate::Result<$output>>
                    + ::std::marker::Send
                    + 'future,
            >,
        >
        where
            'a: 'future,
            $($life: 'future,)*
            Self: 'future,
        {
            match $crate::Driver::multipart(&$($inner)+) {
                ::std::result::Result::Ok(multipart) => multipart.$verb($($argument),+),
                ::std::result::Result::Err(error) => {
                    ::std::boxed::Box::pin(::std::future::ready(::std::result::Result::Err(error)))
                }
            }
        }
    };
    ($other:ident $self:ident $inner:tt) => {
        ::std::compile_error!(::std::concat!(
            "`", ::std::stringify!($other),
            "` is not a verb of `Multipart` that can be forwarded"
        ));
    };
}
