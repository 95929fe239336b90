//! Functions for templates of minijinja. Feature `minijinja`.
//!
//! ```
//! use minijinja::Environment;
//! use storage_publish::Assets;
//! use storage_publish::templates::minijinja::add_functions;
//!
//! # let directory = tempfile::tempdir()?;
//! # std::fs::write(directory.path().join("site.css"), "")?;
//! let assets = Assets::development(directory.path());
//! let mut environment = Environment::new();
//! add_functions(&mut environment, &assets);
//! let page = environment.render_str("<a href=\"{{ asset_url('site.css') }}\">", ())?;
//! assert_eq!(page, "<a href=\"/site.css\">");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use ::minijinja::{Environment, Error, ErrorKind, Value};

use super::FUNCTIONS;
use crate::release::Assets;

/// Adds the functions `asset_url`, `asset_integrity` and `asset_preload`, each with the path of a
/// file as its argument. They use the release that the assets have loaded when a template renders.
pub fn add_functions(environment: &mut Environment<'_>, assets: &Assets) {
    for (name, function) in FUNCTIONS {
        let assets = assets.clone();
        environment.add_function(name, move |path: String| -> Result<Value, Error> {
            let html = function(&assets, &path).map_err(failure)?;
            Ok(Value::from_safe_string(html))
        });
    }
}

fn failure(error: storage_core::Error) -> Error {
    Error::new(ErrorKind::InvalidOperation, error.message().to_owned()).with_source(error)
}
