//! The pages of a website: which object a path has, and its best form.

use http::header::HeaderMap;
use http::request::Parts;
use http::{Method, Response};
use storage_core::Key;
use storage_serve::internal::{
    HeaderOverrides, accepted_form, directory_redirect, method_not_allowed, missing_headers,
    path_of, responses, set_missing, vary_by_encoding,
};
use storage_serve::website::{Expected, Found, Page, Paths};
use storage_serve::{ResponseBody, error_response};

use super::delivery::ObjectRequest;
use super::record::Outcome;
use super::records::PendingRecord;
use super::responses::not_found;
use super::site::Site;

impl Site {
    /// Responds to a request for a path of a website.
    pub(super) async fn page(
        &self,
        paths: &dyn Paths,
        head: &Parts,
        record: &mut PendingRecord,
    ) -> Response<ResponseBody> {
        if head.method != Method::GET && head.method != Method::HEAD {
            return method_not_allowed("GET, HEAD");
        }
        let path = path_of(head);
        let response = match paths.find(&path).await {
            Ok(Found::Page(page)) => {
                let (response, outcome) = self.send(&page, &head.method, &head.headers).await;
                record.set_object(recorded_key(&path, &page), outcome);
                response
            }
            Ok(Found::Missing(Some(page))) => {
                let headers = missing_headers(&head.headers);
                let (mut response, outcome) = self.send(&page, &head.method, &headers).await;
                set_missing(&mut response);
                record.set_object(page.key, outcome);
                response
            }
            Ok(Found::Directory) => directory_redirect(head).unwrap_or_else(|_| not_found()),
            Ok(_) => not_found(),
            Err(error) => error_response(&head.method, &error),
        };
        responses::finish(&head.method, response)
    }

    /// Sends the best form of an object that the client accepts. If origin does not have that form,
    /// or has another object in its place, sends the object itself.
    async fn send(
        &self,
        page: &Page,
        method: &Method,
        headers: &HeaderMap,
    ) -> (Response<ResponseBody>, Outcome) {
        let mut sent = None;
        if let Some(form) = accepted_form(page, headers) {
            let response = self.form(&form.key, form.expected.clone(), method, headers).await;
            sent = Some(response).filter(|(_, outcome)| *outcome != Outcome::Missing);
        }
        let (mut response, outcome) = match sent {
            Some(sent) => sent,
            None => self.form(&page.key, None, method, headers).await,
        };
        if !page.encoded.is_empty() {
            vary_by_encoding(response.headers_mut());
        }
        (response, outcome)
    }

    async fn form(
        &self,
        key: &Key,
        expected: Option<Expected>,
        method: &Method,
        headers: &HeaderMap,
    ) -> (Response<ResponseBody>, Outcome) {
        let request = ObjectRequest {
            method,
            headers,
            key,
            expected,
            overrides: HeaderOverrides::default(),
            link_ends: None,
            has_token: false,
        };
        self.delivery.respond(request).await
    }
}

/// Returns the key under which a page is counted: its path, which is the same in every release.
fn recorded_key(path: &str, page: &Page) -> Key {
    let is_directory = path.is_empty() || path.ends_with('/');
    let name = if is_directory { format!("{path}index.html") } else { path.to_owned() };
    Key::new(name).unwrap_or_else(|_| page.key.clone())
}
