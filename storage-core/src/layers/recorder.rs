//! [`Recorder`]: the metrics of one driver. Records nothing without the feature `metrics`.

pub(super) use implementation::{Counter, Recorder};

#[cfg(feature = "metrics")]
mod implementation {
    use std::borrow::Cow;
    use std::sync::Arc;
    use std::time::Duration;

    pub(in crate::layers) use metrics::Counter;
    use metrics::{SharedString, Unit};

    use crate::error::Operation;

    const OPERATIONS: &str = "storage_operations_total";
    const SECONDS: &str = "storage_operation_seconds";
    const BYTES: &str = "storage_bytes_total";

    /// Records the operations of one driver.
    #[derive(Debug, Clone)]
    pub(in crate::layers) struct Recorder(SharedString);

    impl Recorder {
        pub(in crate::layers) fn new(driver: Cow<'static, str>) -> Self {
            Self(match driver {
                Cow::Borrowed(name) => SharedString::const_str(name),
                Cow::Owned(name) => SharedString::from_shared(Arc::from(name)),
            })
        }

        pub(in crate::layers) fn name(&self) -> &str {
            &self.0
        }

        pub(in crate::layers) fn describe() {
            metrics::describe_counter!(
                OPERATIONS,
                Unit::Count,
                "Operations on storages, by their result."
            );
            metrics::describe_histogram!(
                SECONDS,
                Unit::Seconds,
                "How long operations on storages took."
            );
            metrics::describe_counter!(
                BYTES,
                Unit::Bytes,
                "Bytes saved to (in) and read from (out) storages."
            );
        }

        pub(in crate::layers) fn bytes(&self, direction: &'static str) -> Counter {
            metrics::counter!(BYTES, "driver" => self.0.clone(), "direction" => direction)
        }

        pub(in crate::layers) fn record(
            &self,
            operation: Operation,
            result: &'static str,
            elapsed: Duration,
        ) {
            let (driver, operation) = (&self.0, operation.as_str());
            let labels =
                [("driver", driver.clone()), ("operation", SharedString::const_str(operation))];
            metrics::histogram!(SECONDS, &labels).record(elapsed);
            let labels = [
                ("driver", driver.clone()),
                ("operation", SharedString::const_str(operation)),
                ("result", SharedString::const_str(result)),
            ];
            metrics::counter!(OPERATIONS, &labels).increment(1);
        }
    }
}

#[cfg(not(feature = "metrics"))]
mod implementation {
    use std::borrow::Cow;
    use std::time::Duration;

    use crate::error::Operation;

    /// Keeps the name of the driver for the log.
    #[derive(Debug, Clone)]
    pub(in crate::layers) struct Recorder(Cow<'static, str>);

    /// Counts nothing.
    #[derive(Debug, Clone)]
    pub(in crate::layers) struct Counter;

    impl Recorder {
        pub(in crate::layers) fn new(driver: Cow<'static, str>) -> Self {
            Self(driver)
        }

        pub(in crate::layers) fn name(&self) -> &str {
            &self.0
        }

        pub(in crate::layers) fn describe() {}

        #[allow(clippy::unused_self, reason = "the form that records needs it")]
        pub(in crate::layers) fn bytes(&self, _direction: &'static str) -> Counter {
            Counter
        }

        #[allow(clippy::unused_self, reason = "the form that records needs it")]
        pub(in crate::layers) fn record(
            &self,
            _operation: Operation,
            _result: &'static str,
            _elapsed: Duration,
        ) {
        }
    }

    impl Counter {
        #[allow(clippy::unused_self, reason = "the form that records needs it")]
        pub(in crate::layers) fn increment(&self, _bytes: u64) {}
    }
}
