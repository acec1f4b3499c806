//! The machine on which a comparison ran: seconds mean nothing without it.

use serde::{Deserialize, Serialize};

/// A machine: its processor and its system.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Machine {
    /// Its model, as the system names it; `unknown` where it does not.
    pub processor: String,
    /// Hardware threads this process may use.
    pub cores: usize,
    /// Architecture and operating system, such as `x86_64 linux`.
    pub platform: String,
}

impl Machine {
    /// The machine this runs on.
    pub fn here() -> Machine {
        Machine {
            processor: processor().unwrap_or_else(|| String::from("unknown")),
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            platform: format!("{} {}", std::env::consts::ARCH, std::env::consts::OS),
        }
    }
}

/// The model by Linux's `/proc/cpuinfo`; other systems have no file for it.
fn processor() -> Option<String> {
    let text = std::fs::read_to_string("/proc/cpuinfo").ok()?;
    let line = text.lines().find(|line| line.starts_with("model name"))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}
