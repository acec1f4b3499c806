//! The terminal and threads, shared by commands: stdout, a progress bar, Ctrl-C.

use std::io::{self, Write};

use crate::failure::Failure;
#[cfg(any(feature = "train", feature = "model"))]
pub use long::{Stop, progress_bar};

/// Sets the number of threads for everything that follows.
pub fn use_threads(threads: usize) -> Result<(), Failure> {
    rayon::ThreadPoolBuilder::new()
        .num_threads(threads)
        .build_global()
        .map_err(|error| Failure::usage(format!("--threads {threads}: {error}; ask for fewer")))
}

/// Writes to stdout. A reader that closes the pipe early is no error.
pub fn put(text: &str) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(Failure::output(format!("stdout: {error}"))),
        _ => Ok(()),
    }
}

#[cfg(any(feature = "train", feature = "model"))]
mod long {
    use std::process;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};

    use indicatif::{ProgressBar, ProgressStyle};

    use crate::failure::Failure;

    /// A bar on stderr, hidden where that is no terminal.
    pub fn progress_bar(steps: u64) -> ProgressBar {
        let style = ProgressStyle::with_template("{bar:30} {percent:>3} %  {eta:>4} left  {msg}");
        ProgressBar::new(steps).with_style(style.expect("the template is right"))
    }

    /// The user's wish to stop, by Ctrl-C.
    pub struct Stop(Arc<AtomicBool>);

    impl Stop {
        /// The first Ctrl-C asks for a stop, the second one does not wait for it.
        pub fn on_ctrl_c() -> Result<Stop, Failure> {
            let stop = Arc::new(AtomicBool::new(false));
            let asked = Arc::clone(&stop);
            ctrlc::set_handler(move || {
                if asked.swap(true, Ordering::Relaxed) {
                    process::exit(130);
                }
            })
            .map_err(|error| Failure::output(format!("Ctrl-C cannot be handled here: {error}")))?;
            Ok(Stop(stop))
        }

        pub fn asked(&self) -> bool {
            self.0.load(Ordering::Relaxed)
        }
    }
}
