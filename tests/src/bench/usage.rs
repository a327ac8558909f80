//! CPU time and memory of a process, as Linux counts them.

use std::time::Duration;

use anyhow::Context as _;

/// The unit of `/proc/PID/stat`: 10 ms on every architecture that Linux is commonly built for.
const TICK: Duration = Duration::from_millis(10);

/// Of one process.
#[derive(Debug, Clone, Copy)]
pub struct Usage {
    /// User and system, all threads.
    pub cpu: Duration,
    /// Now.
    pub resident_mib: f64,
    /// The most there ever was.
    pub peak_mib: f64,
}

impl Usage {
    /// Fails when it has ended.
    pub fn of(process: u32) -> anyhow::Result<Self> {
        let read =
            |file: &str| std::fs::read_to_string(format!("/proc/{process}/{file}")).with_context(|| format!("process {process} is gone"));
        let (stat, status) = (read("stat")?, read("status")?);
        // The second field is a name in brackets and may hold blanks; user and system time are the 14th and 15th.
        let fields = stat.rsplit_once(')').context("/proc/PID/stat has no name")?.1;
        let ticks = fields.split_whitespace().skip(11).take(2).map(str::parse::<u32>).sum::<Result<u32, _>>()?;
        let mib = |name: &str| -> anyhow::Result<f64> {
            let value =
                status.lines().find_map(|line| line.strip_prefix(name)).with_context(|| format!("no {name} in /proc/PID/status"))?;
            Ok(value.trim().trim_end_matches(" kB").parse::<f64>()? / 1024.0)
        };
        Ok(Self { cpu: TICK * ticks, resident_mib: mib("VmRSS:")?, peak_mib: mib("VmHWM:")? })
    }
}
