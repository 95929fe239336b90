//! A mirror server in this process for the storage `mirrored`.

use std::path::Path;
use std::thread;

use anystorage::Loader;
use anystorage::mirror::Server;

use crate::error::Result;

/// Starts a mirror of the files in a directory, on a loopback address. Returns its URL. It runs
/// until the program ends.
pub(crate) fn start(cache: &Path, origin: &Path, token: &str) -> Result<String> {
    let setup = Loader::new().mirror_str(&format!(
        "listen = \"127.0.0.1:0\"\ncache_dir = {cache:?}\nmax_size = \"100MiB\"\n\
         admin_token = \"{token}\"\nworkers = 1\n\
         [origin]\ndriver = \"fs\"\nroot = {origin:?}\n",
    ))?;
    let server = Server::bind(setup.config, setup.origin)?;
    let url = format!("http://{}/", server.local_addr());
    thread::spawn(move || server.run());
    Ok(url)
}
