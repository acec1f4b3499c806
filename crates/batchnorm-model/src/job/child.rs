//! The child: reads a piece of work, does it, and says what comes of it.

use std::io::{BufReader, Read, Write};
use std::ops::ControlFlow;

use super::work::{Job, Message, perform};
use crate::recalibrate::Event;

/// Reads a piece of work, limits the memory of this process, does the work, and writes what happens and what came out. When the caller goes
/// away there is nobody to work for, and this ends.
///
/// # Errors
/// Input that is no piece of work; threads that cannot be had; output that cannot be written.
pub fn serve(input: impl Read, mut output: impl Write + Send) -> Result<(), String> {
    let job: Job =
        ciborium::from_reader(BufReader::new(input)).map_err(|error| format!("no piece of work: {error}"))?;
    // (Where the system has no such limit, the work is done without.)
    let _ = rlimit::setrlimit(rlimit::Resource::AS, job.memory, job.memory);
    let pool = rayon::ThreadPoolBuilder::new().num_threads(job.threads).build();
    let pool = pool.map_err(|error| {
        format!("{} threads in {} bytes of memory: {error}; ask for fewer, or for more memory", job.threads, job.memory)
    })?;
    let output = &mut output;
    let message = pool.install(|| {
        let mut tell = |event: &Event| match say(output, &Message::Event(event.clone())) {
            Ok(()) => ControlFlow::Continue(()),
            Err(_) => ControlFlow::Break(()),
        };
        match perform(&job, &mut tell) {
            Ok(answer) => Message::Answer(Box::new(answer)),
            Err(refusal) => Message::Refused(refusal),
        }
    });
    say(output, &message)
}

fn say(output: &mut impl Write, message: &Message) -> Result<(), String> {
    let mut bytes = Vec::new();
    ciborium::into_writer(message, &mut bytes).map_err(|error| error.to_string())?;
    output.write_all(&bytes).and_then(|()| output.flush()).map_err(|error| error.to_string())
}
