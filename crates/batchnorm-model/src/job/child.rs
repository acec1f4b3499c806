//! The child: reads a piece of work, does it, and says what comes of it.

use std::io::{self, BufReader, Read, Write};
use std::ops::ControlFlow;
use std::{process, thread};

use super::work::{Job, Message, Refusal, RefusalKind, Resume, perform};
use crate::recalibrate::Event;

/// Reads a piece of work, limits the memory of this process, does the work, and writes what happens and what came out. When the caller goes
/// away, and with it the other end of the input, there is nobody to work for, and this process ends.
///
/// # Errors
/// Input that is no piece of work; threads that cannot be had; output that cannot be written.
pub fn serve(input: impl Read + Send + 'static, mut output: impl Write + Send) -> Result<(), String> {
    let mut input = BufReader::new(input);
    let job: Job = ciborium::from_reader(&mut input).map_err(|error| format!("no piece of work: {error}"))?;
    // (A model may have a loop without end, in which nothing is written that could fail.)
    let watch = move || {
        let _ = io::copy(&mut input, &mut io::sink());
        process::exit(1)
    };
    thread::Builder::new().spawn(watch).map_err(|error| format!("a thread: {error}"))?;
    // (Where the system has no such limit, the work is done without.)
    let _ = rlimit::setrlimit(rlimit::Resource::AS, job.memory, job.memory);
    let pool = match rayon::ThreadPoolBuilder::new().num_threads(job.threads).build() {
        Ok(pool) => pool,
        Err(error) => {
            let text = format!(
                "{} threads in {} bytes of memory: {error}; give more by --max-memory",
                job.threads, job.memory
            );
            return say(&mut output, &Message::Refused(Refusal { kind: RefusalKind::Asked, text }));
        }
    };
    let output = &mut output;
    let message = pool.install(|| {
        let mut tell = |event: Event<Resume>| match say(output, &Message::Event(event)) {
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
