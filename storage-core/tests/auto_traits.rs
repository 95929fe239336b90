//! The types that can be sent to and shared between threads (API guideline C-SEND-SYNC). The
//! compiler checks this.

use storage_core::{
    DeleteMany, Entries, Error, Key, Link, Memory, Object, ObjectMeta, ObjectStream, Payload,
    Prefix, Registry, Save, Storage,
};

fn is_send<T: Send>() {}
fn is_send_and_sync<T: Send + Sync>() {}

#[test]
fn handles_errors_and_values_can_be_shared() {
    is_send_and_sync::<Storage>();
    is_send_and_sync::<Error>();
    is_send_and_sync::<Key>();
    is_send_and_sync::<Prefix>();
    is_send_and_sync::<ObjectMeta>();
    is_send_and_sync::<Link>();
    is_send_and_sync::<Registry>();
    is_send_and_sync::<Memory>();
}

#[test]
fn bodies_and_requests_can_be_sent() {
    is_send::<Payload>();
    is_send::<Object>();
    is_send::<ObjectStream>();
    is_send::<Entries>();
    is_send::<DeleteMany>();
    is_send::<Save>();
}
