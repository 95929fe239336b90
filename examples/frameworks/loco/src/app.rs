//! The hooks of the application.

use anystorage::serve::uploads::Uploads;
use anystorage::{Storage, Storages};
use async_trait::async_trait;
use avatars::Users;
use axum::Router;
use loco_rs::app::{AppContext, Hooks};
use loco_rs::bgworker::Queue;
use loco_rs::boot::{BootResult, StartMode, create_app};
use loco_rs::config::Config;
use loco_rs::controller::AppRoutes;
use loco_rs::environment::Environment;
use loco_rs::task::Tasks;
use loco_rs::{Error, Result};
use serde::Deserialize;
use storage_axum::Serve;

use crate::controller;
use crate::store_driver::AnyStore;
use crate::uploads::with_uploads;

/// The `settings` of the configuration.
#[derive(Deserialize)]
struct Settings {
    /// The file that defines the storage.
    storages: String,
    /// Signs the URLs of uploads. Without it, there are no resumable uploads.
    upload_secret: Option<String>,
}

/// The application.
pub struct App;

#[async_trait]
impl Hooks for App {
    fn app_name() -> &'static str {
        env!("CARGO_CRATE_NAME")
    }

    async fn boot(
        mode: StartMode,
        environment: &Environment,
        config: Config,
    ) -> Result<BootResult> {
        create_app::<Self>(mode, environment, config).await
    }

    async fn after_context(ctx: AppContext) -> Result<AppContext> {
        let Settings { storages, upload_secret } = ctx.config.settings()?;
        let storage = Storages::from_toml_file(storages).and_then(|all| all.default_storage());
        let storage = storage.map_err(Error::wrap)?;
        let ctx = match upload_secret.filter(|secret| !secret.is_empty()) {
            Some(secret) => with_uploads(ctx, storage.clone(), &secret)?,
            None => ctx,
        };
        with_storage(ctx, &storage, Users::with_ids(1..=3))
    }

    fn routes(_ctx: &AppContext) -> AppRoutes {
        AppRoutes::with_default_routes().add_route(controller::routes())
    }

    async fn after_routes(router: Router, ctx: &AppContext) -> Result<Router> {
        let mut router = router;
        let storage = ctx.shared_store.get::<Storage>().ok_or(Error::InternalServerError)?;
        // With S3, the links lead to S3.
        if let Some(serve) = Serve::for_own_links(&storage).map_err(Error::wrap)? {
            router = router.nest_service(serve.mount_path(), serve.clone());
        }
        if let Some(uploads) = ctx.shared_store.get::<Uploads>() {
            router = router.nest_service(uploads.mount_path(), uploads.clone());
        }
        Ok(router)
    }

    async fn connect_workers(_ctx: &AppContext, _queue: &Queue) -> Result<()> {
        Ok(())
    }

    fn register_tasks(_tasks: &mut Tasks) {}
}

/// Makes the prefix `avatars/` of a storage available to handlers, as `SharedStore(storage)` and as
/// `ctx.storage`.
///
/// # Errors
/// The storage cannot have prefixes.
pub fn with_storage(ctx: AppContext, storage: &Storage, users: Users) -> Result<AppContext> {
    let storage = storage.prefixed("avatars").map_err(Error::wrap)?;
    ctx.shared_store.insert(storage.clone());
    ctx.shared_store.insert(users);
    let of_loco = loco_rs::storage::Storage::single(Box::new(AnyStore(storage)));
    Ok(ctx.into_builder().storage(of_loco.into()).build())
}
