//! Functions for templates of Tera. Feature `tera`.
//!
//! ```
//! use storage_publish::Assets;
//! use storage_publish::templates::tera::register_functions;
//! use tera::{Context, Tera};
//!
//! # let directory = tempfile::tempdir()?;
//! # std::fs::write(directory.path().join("site.css"), "")?;
//! let assets = Assets::development(directory.path());
//! let mut tera = Tera::default();
//! register_functions(&mut tera, &assets);
//! tera.add_raw_template("page.html", "<a href=\"{{ asset_url(path='site.css') }}\">")?;
//! let page = tera.render("page.html", &Context::new())?;
//! assert_eq!(page, "<a href=\"/site.css\">");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use ::tera::{Error, Kwargs, State, Tera, TeraResult, Value};

use super::FUNCTIONS;
use crate::release::Assets;

/// Registers the functions `asset_url`, `asset_integrity` and `asset_preload`, each with the
/// argument `path`: the path of a file. They use the release that the assets have loaded when a
/// template renders. Call it before templates are added.
pub fn register_functions(tera: &mut Tera, assets: &Assets) {
    for (name, function) in FUNCTIONS {
        let assets = assets.clone();
        let call = move |arguments: Kwargs, _: &State<'_>| -> TeraResult<Value> {
            let path = arguments.must_get::<&str>("path")?;
            let html = function(&assets, path).map_err(failure)?;
            Ok(Value::safe_string(&html))
        };
        tera.register_function(name, call);
    }
}

fn failure(error: storage_core::Error) -> Error {
    Error::chain(error.message().to_owned(), error)
}
