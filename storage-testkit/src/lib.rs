//! The conformance suite that every anystorage driver runs, and a driver that fails on purpose.
