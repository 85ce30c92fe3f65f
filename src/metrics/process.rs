//! Numbers of the process that every dashboard expects, from /proc/self.

use prometheus::{IntGauge, Registry};

/// `process_*`, as far as Linux gives them without a crate.
pub(super) struct Process {
    memory: IntGauge,
    descriptors: IntGauge,
}

impl Process {
    pub(super) fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let own = |name: &str, help: &str| -> Result<IntGauge, prometheus::Error> {
            let metric = IntGauge::new(name, help)?;
            registry.register(Box::new(metric.clone()))?;
            Ok(metric)
        };
        Ok(Self {
            memory: own("process_resident_memory_bytes", "Resident memory")?,
            descriptors: own("process_open_fds", "Open file descriptors")?,
        })
    }

    /// Reads them anew; what cannot be read keeps its value.
    pub(super) fn sample(&self) {
        if let Some(bytes) = resident_bytes() {
            self.memory.set(bytes);
        }
        if let Ok(entries) = std::fs::read_dir("/proc/self/fd") {
            self.descriptors.set(i64::try_from(entries.count()).unwrap_or(i64::MAX));
        }
    }
}

/// `VmRSS` of /proc/self/status.
fn resident_bytes() -> Option<i64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: i64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kib.checked_mul(1024)
}
