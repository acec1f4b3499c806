//! The caller's side: a child is started, told what to do, listened to, and its end explained.

use std::io::{self, BufReader, Read, Write};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;

use thiserror::Error;

use super::work::{Answer, Job, Message, Refusal};
use crate::excerpt::beginning;
use crate::recalibrate::Tell;

/// Bytes of what a child says on stderr that are kept.
const LONGEST: u64 = 1 << 16;

/// A child that came to no answer.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ChildError {
    /// It could not be started, or talked to.
    #[error("the process that runs the model cannot be started: {0}")]
    Start(#[from] io::Error),
    /// It says why it cannot be done.
    #[error("{}", .0.text)]
    Refused(Refusal),
    /// It asked for more memory than it may have.
    #[error(
        "the model with these data needs more than {limit} bytes of memory{wanted}; give more by --max-memory, or smaller batches by --batch"
    )]
    Memory {
        /// Bytes that it may have.
        limit: u64,
        /// The request that failed, if it said one.
        wanted: String,
    },
    /// It died.
    #[error("the process that ran the model ended early ({how}){said}; the model may be damaged, or made to do that")]
    Died {
        /// By which signal, or with which code.
        how: String,
        /// What it said last.
        said: String,
    },
    /// The caller stopped it.
    #[error("stopped")]
    Stopped,
}

/// Has a piece of work done by a child of a command that calls [`serve`](super::serve) with its stdin and stdout. `tell` is told what
/// happens on the way, and may stop it.
///
/// # Errors
/// A child that cannot be started, refuses, or dies.
pub fn run(command: &mut Command, job: &Job, tell: &mut Tell) -> Result<Answer, ChildError> {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).env("RUST_BACKTRACE", "0");
    let mut child = Ended(command.spawn()?);
    let mut bytes = Vec::new();
    ciborium::into_writer(job, &mut bytes).map_err(io::Error::other)?;
    // (A child that is gone already says why below.)
    let _ = child.0.stdin.take().map(|mut input| input.write_all(&bytes));
    let errors = child.0.stderr.take();
    let said = thread::spawn(move || {
        let mut said = Vec::new();
        if let Some(mut errors) = errors {
            let _ = errors.by_ref().take(LONGEST).read_to_end(&mut said);
            let _ = io::copy(&mut errors, &mut io::sink());
        }
        String::from_utf8_lossy(&said).into_owned()
    });
    let mut output = BufReader::new(child.0.stdout.take().ok_or_else(|| io::Error::other("no output"))?);
    loop {
        match ciborium::from_reader::<Message, _>(&mut output) {
            Ok(Message::Event(event)) => {
                if tell(&event).is_break() {
                    return Err(ChildError::Stopped);
                }
            }
            Ok(Message::Answer(answer)) => return Ok(*answer),
            Ok(Message::Refused(refusal)) => return Err(ChildError::Refused(refusal)),
            Err(_) => break,
        }
    }
    drop(output);
    let status = child.0.wait()?;
    let said = said.join().unwrap_or_default();
    Err(why(status, &said, job.memory))
}

/// A child that does not outlive the caller's interest in it.
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn why(status: ExitStatus, said: &str, limit: u64) -> ChildError {
    // What Rust says where memory cannot be had.
    if let Some((_, rest)) = said.split_once("memory allocation of ") {
        let bytes: String = rest.chars().take_while(char::is_ascii_digit).collect();
        return ChildError::Memory { limit, wanted: format!(" (it asked for {bytes} at once)") };
    }
    if said.contains("capacity overflow") {
        return ChildError::Memory { limit, wanted: String::new() };
    }
    let last = said.lines().map(str::trim).rfind(|line| !line.is_empty() && !line.starts_with("note:"));
    let said = last.map_or_else(String::new, |line| format!(": {}", beginning(line)));
    ChildError::Died { how: status.to_string(), said }
}
