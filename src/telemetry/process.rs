//! Metrics of the process itself, in the names that every Prometheus client library has for them.

use metrics_process::Collector;

/// Reads them anew when asked to.
#[derive(Debug, Clone, Default)]
pub(crate) struct Process(Collector);

impl Process {
    /// Says what they are, and reads them for the first time.
    #[must_use]
    pub(crate) fn new() -> Self {
        let process = Self::default();
        process.0.describe();
        process.read();
        process
    }

    /// Processor time, memory, open files, start time: a few reads of `/proc/self`.
    pub(crate) fn read(&self) {
        self.0.collect();
    }
}
