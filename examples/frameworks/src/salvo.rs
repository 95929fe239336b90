//! salvo 1.

use anystorage::serve::form::UploadForm;
use anystorage::serve::{ResponseBody, Serve, error_response_of_call, respond};
use anystorage::{Error, Storage, keys};
use http::StatusCode;
use http_body_util::{BodyExt, Limited};
use salvo::http::{ReqBody, ResBody};
use salvo::prelude::{Request, Response, Router, Scribe, TowerServiceCompat, handler};
use salvo::routing::{Filter, filters};

struct Upload(Storage);

#[handler]
impl Upload {
    async fn handle(&self, request: &mut Request) -> Result<StatusCode, StorageError> {
        let content_type = request.header::<String>("content-type").unwrap_or_default();
        let body = Limited::new(request.take_body(), 50 << 20).into_data_stream();
        let mut form = UploadForm::new(&content_type, body)?;
        while let Some(file) = form.next_file().await? {
            let key = keys::unique("photos", file.file_name())?;
            self.0.save(key, file.max_size(10 << 20)).await?;
        }
        Ok(StatusCode::CREATED)
    }
}

struct Download(Storage);

#[handler]
impl Download {
    async fn handle(
        &self,
        request: &mut Request,
        response: &mut Response,
    ) -> Result<(), StorageError> {
        // Check here that the user may read it.
        let key = format!("photos/{}", request.param::<String>("name").unwrap_or_default());
        let found = respond(&self.0, key, request.method(), request.headers()).await?;
        send(found, response);
        Ok(())
    }
}

fn send(found: http::Response<ResponseBody>, response: &mut Response) {
    response.merge_hyper(found.map(ResBody::stream));
}

/// An error of a storage as a response.
struct StorageError(Error);

impl From<Error> for StorageError {
    fn from(error: Error) -> Self {
        Self(error)
    }
}

impl Scribe for StorageError {
    fn render(self, response: &mut Response) {
        send(error_response_of_call(&self.0), response);
    }
}

pub fn app(storage: Storage) -> anystorage::Result<Router> {
    let (upload, download) = (Upload(storage.clone()), Download(storage.clone()));
    let (photos, photo) = (Router::with_path("photos"), Router::with_path("photos/{name}"));
    let mut router = Router::new()
        .push(photos.post(upload))
        .push(photo.filter(filters::get().or(filters::head())).goal(download));
    // Signed links: storage.url(key).expires_in(..). With S3, they lead to S3.
    if let Some(serve) = Serve::for_own_links(&storage)? {
        let path = format!("{}/{{**key}}", serve.mount_path());
        let serve = serve.strip_mount_path();
        let serve = TowerServiceCompat::<ReqBody, _, _, _>::compat(serve);
        router = router.push(Router::with_path(path).goal(serve));
    }
    Ok(router)
}
