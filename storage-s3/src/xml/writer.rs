//! [`Writer`]: writes the document of a request.

use bytes::Bytes;
use quick_xml::escape::partial_escape;

/// A document in progress.
#[derive(Debug, Default)]
pub(crate) struct Writer(String);

impl Writer {
    /// Returns a document with this root.
    pub(crate) fn document(root: &str, write: impl FnOnce(&mut Self)) -> Bytes {
        let mut writer = Self::default();
        writer.element(root, write);
        Bytes::from(writer.0)
    }

    /// Writes an element with what a function writes.
    pub(crate) fn element(&mut self, name: &str, write: impl FnOnce(&mut Self)) {
        self.tag("<", name);
        write(self);
        self.tag("</", name);
    }

    /// Writes an element with a text.
    pub(crate) fn text(&mut self, name: &str, text: &str) {
        self.tag("<", name);
        self.0.push_str(&partial_escape(text));
        self.tag("</", name);
    }

    fn tag(&mut self, begin: &str, name: &str) {
        self.0.push_str(begin);
        self.0.push_str(name);
        self.0.push('>');
    }
}
