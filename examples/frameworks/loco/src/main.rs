//! An application with avatars: it checks each uploaded picture, scales it to two sizes, and saves
//! the three objects and a row that refers to them.
//!
//! ```console
//! $ cd examples/frameworks/loco
//! $ export AVATARS_DIR=/tmp/avatars LINK_SECRET=$(openssl rand -hex 32)
//! $ cargo run -- start
//! $ curl -F picture=@ada.jpg http://127.0.0.1:5150/users/1/avatar
//! $ curl http://127.0.0.1:5150/users/1/avatar
//! ```
//!
//! In development, loco reads `config/development.yaml`, which selects the storage of `app.toml`,
//! on a disk. With `LOCO_ENV=production`, the storage is that of `production.toml`, in S3. Every
//! client may change every avatar: a real application adds a login.

use avatars_loco::App;

#[tokio::main]
async fn main() -> loco_rs::Result<()> {
    loco_rs::cli::main::<App>().await
}
