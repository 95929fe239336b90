//! The local file system driver of anystorage: atomic, durable, confined to its root.
