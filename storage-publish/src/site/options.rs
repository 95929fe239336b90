//! [`SiteOptions`]: how a directory becomes a site.

/// How a directory becomes a [`Site`](crate::Site).
///
/// Patterns have the syntax of `.gitignore` and are compared with paths relative to the directory.
/// Of several patterns that match, the last one decides, and one that begins with `!` reverses the
/// decision.
///
/// ```
/// let mut options = storage_publish::SiteOptions::default();
/// options.exclude.push("*.psd".to_owned());
/// options.keep_names.push("/downloads/".to_owned());
/// options.ignore_references.push("/legacy/*.eot".to_owned());
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct SiteOptions {
    /// The path of the site's root on its host: `/blog`. References that begin with `/` and not
    /// with this path leave the site, and stay as they are. Defaults to `/`.
    pub base_path: String,
    /// Files and directories that are not published. A pattern with `!` also publishes a name that
    /// begins with a dot. Defaults to none.
    pub exclude: Vec<String>,
    /// Whether names that begin with a dot are published. `.well-known` always is. Defaults to
    /// `false`.
    pub include_hidden: bool,
    /// Whether symbolic links are followed, also those that leave the directory. If not, a link is
    /// an error, so that none is missed or published by mistake. Defaults to `false`.
    pub follow_symlinks: bool,
    /// Files that keep their names, in addition to those of [`Naming::Fixed`](crate::Naming). With
    /// `!`, files that do not. Defaults to none.
    pub keep_names: Vec<String>,
    /// Whether a file keeps its name if a text mentions it in a place that is no known reference,
    /// such as a string of a script, a `data-` attribute, a feed, a play list or an absolute URL.
    /// Such a text is not rewritten, so that it would name no file. Source maps, files that are not
    /// UTF-8 and data above [`max_text_bytes`](Self::max_text_bytes) are not searched. Defaults to
    /// `true`.
    pub keep_mentioned: bool,
    /// Files whose names a bundler has hashed, in addition to those that the default rules
    /// recognise. With `!`, files that the rules recognise by mistake. Defaults to none.
    pub bundled_names: Vec<String>,
    /// Whether the default rules for names of bundlers apply. See
    /// [`Naming::Bundled`](crate::Naming::Bundled). Defaults to `true`.
    pub bundler_rules: bool,
    /// Files that are published as they are. The files to which they refer keep their names,
    /// unless the file is larger than `max_text_bytes`. What is wrong in them is not reported.
    /// Defaults to none.
    pub verbatim: Vec<String>,
    /// Paths that references may name although no file has them, or although an `integrity` does
    /// not fit the file. A path is relative to the directory, without `?query` and `#fragment`.
    /// Defaults to none.
    pub ignore_references: Vec<String>,
    /// The largest size of a file whose references are read, in bytes. A larger one is an error,
    /// unless `verbatim` names it. Larger data in JSON or XML, and other texts that are larger, are
    /// published without a search for names in them. Defaults to 32 MiB.
    pub max_text_bytes: u64,
    /// The number of bytes of rewritten files that stay in memory. More are written to a temporary
    /// directory. Defaults to 32 MiB.
    pub memory_bytes: u64,
}

impl Default for SiteOptions {
    fn default() -> Self {
        const MIB: u64 = 1024 * 1024;
        Self {
            base_path: "/".to_owned(),
            exclude: Vec::new(),
            include_hidden: false,
            follow_symlinks: false,
            keep_names: Vec::new(),
            keep_mentioned: true,
            bundled_names: Vec::new(),
            bundler_rules: true,
            verbatim: Vec::new(),
            ignore_references: Vec::new(),
            max_text_bytes: 32 * MIB,
            memory_bytes: 32 * MIB,
        }
    }
}
