//! The service of resumable uploads of `serve --uploads`, and its signing key.

use std::convert::Infallible;
use std::time::Duration;

use anystorage::internal::hex;
use anystorage::serve::Cors;
use anystorage::serve::uploads::{Grant, Uploads};
use anystorage::signed_url::SigningKey;
use anystorage::{Error, ErrorKind, Result, Storage, keys};

/// The object with the signing key that all servers of a storage use.
const KEY_OBJECT: &str = ".uploads/signing-key";
/// The longest signing key in an object, in bytes.
const MAX_KEY_BYTES: u64 = 1024;
/// The memory for bytes that are not stored yet (32 MiB). With 200 uploads at once, the allocator
/// of glibc keeps about four times as much.
const MEMORY_BYTES: u64 = 32 << 20;
const MAINTENANCE_INTERVAL: Duration = Duration::from_secs(60 * 60);

/// Resumable uploads into a storage.
pub(crate) struct UploadServer {
    uploads: Uploads,
    state: Storage,
    /// The secret that is stored beside the state.
    stored_secret: Option<String>,
}

impl UploadServer {
    /// Creates the service. The state of unfinished uploads is in `state`. Without a secret, the
    /// servers of one `state` share a random one, which the first of them stores there.
    ///
    /// # Errors
    /// Fails with `PermissionDenied` if a storage is read-only, with `Unsupported` if it lacks
    /// multipart uploads or conditional saves, and with `InvalidConfig` if the secret is too short.
    pub(crate) async fn new(
        storage: Storage,
        state: Storage,
        secret: Option<String>,
    ) -> Result<Self> {
        check(&storage, &state)?;
        let (secret, stored_secret) = match secret {
            Some(secret) => (secret, None),
            None => {
                let random = hex(&keys::random_bytes::<32>()?);
                let shared = shared_secret(&state, &random).await?;
                (shared.clone(), Some(shared))
            }
        };
        let key = SigningKey::new(secret)?;
        let uploads = Uploads::with_state(storage, state.clone(), key, |_, wanted| async move {
            let name = wanted.file_name.as_deref().unwrap_or("file");
            Ok(Grant::new(keys::unique("", name)?)?)
        })?
        .memory(MEMORY_BYTES);
        Ok(Self { uploads, state, stored_secret })
    }

    /// Lets pages of other origins upload.
    pub(crate) fn with_cors(mut self, cors: Cors) -> Self {
        self.uploads = self.uploads.cors(cors);
        self
    }

    /// Returns the service.
    pub(crate) fn service(&self) -> &Uploads {
        &self.uploads
    }

    /// Removes expired uploads once an hour, and stores the signing key again if it was removed.
    pub(crate) async fn maintain(&self) -> Infallible {
        loop {
            tokio::time::sleep(MAINTENANCE_INTERVAL).await;
            match self.uploads.sweep().await {
                Ok(0) => {}
                Ok(removed) => tracing::info!("removed {removed} expired uploads"),
                Err(error) => tracing::warn!(%error, "expired uploads cannot be removed"),
            }
            if let Some(secret) = &self.stored_secret {
                self.keep_secret(secret).await;
            }
        }
    }

    /// Stores the secret again if it was removed, for example by a rule that deletes old objects. A
    /// server that started without it would sign with another one.
    async fn keep_secret(&self, secret: &str) {
        match shared_secret(&self.state, secret).await {
            Ok(found) if found == secret => {}
            Ok(_) => tracing::warn!("another server signs uploads with another key"),
            Err(error) => tracing::warn!(%error, "the signing key of uploads cannot be read"),
        }
    }
}

/// Fails if the storages cannot receive uploads. Writes nothing.
fn check(storage: &Storage, state: &Storage) -> Result<()> {
    for storage in [storage, state] {
        if !storage.info().capabilities.write {
            return Err(Error::new(
                ErrorKind::PermissionDenied,
                "the storage is read-only, so it cannot receive uploads",
            ));
        }
    }
    storage.multipart_limits()?;
    let capabilities = &state.info().capabilities;
    if !capabilities.create_new || !capabilities.save_if_match {
        return Err(Error::unsupported(
            "the storage has no conditional saves (create_new and if_match), which the state of \
             uploads needs: keep the state in another storage with --uploads-state LOC",
        ));
    }
    Ok(())
}

/// Returns the secret that is stored beside the state, or stores this one if there is none. Of
/// several servers that begin at once, one stores its secret and the others read it.
async fn shared_secret(state: &Storage, proposal: &str) -> Result<String> {
    let save = state.save(KEY_OBJECT, proposal.to_owned()).content_type("text/plain");
    match save.create_new().await {
        Ok(_) => return Ok(proposal.to_owned()),
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
        Err(error) => return Err(error),
    }
    let object = state.open(KEY_OBJECT).await?;
    if object.content_length() > MAX_KEY_BYTES {
        return Err(
            Error::config("the signing key of the uploads is too long").with_key(KEY_OBJECT)
        );
    }
    let secret = String::from_utf8(object.bytes().await?.to_vec());
    secret.map_err(|_| Error::config("the signing key of the uploads is not text"))
}
