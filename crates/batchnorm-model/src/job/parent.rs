//! The caller's side: a child is started, told what to do, listened to, and its end explained.

use std::io::{self, BufReader, Read, Write};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;

use thiserror::Error;

use super::work::{Answer, Job, Message, Refusal, Resume, Task};
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
        "the model with these data needs more than {limit} bytes of memory{wanted}; give more by --max-memory{}",
        if *.in_batches { ", or smaller batches by --batch" } else { "" }
    )]
    Memory {
        /// Bytes that it may have.
        limit: u64,
        /// The request that failed, if it said one.
        wanted: String,
        /// Samples run in batches whose size the user chooses.
        in_batches: bool,
    },
    /// It died.
    #[error("the process that ran the model ended early ({how}){said}; {cause}")]
    Died {
        /// By which signal, or with which code.
        how: String,
        /// What it said last.
        said: String,
        /// What that may come from.
        cause: &'static str,
    },
    /// The caller stopped it, or whoever asks all processes to stop.
    #[error("stopped")]
    Stopped,
}

/// Has a piece of work done by a child of a command that calls [`serve`](super::serve) with its stdin and stdout. `tell` is told what
/// happens on the way, and may stop it.
///
/// # Errors
/// A child that cannot be started, refuses, or dies.
pub fn run(command: &mut Command, job: &Job, tell: &mut Tell<Resume>) -> Result<Answer, ChildError> {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).env("RUST_BACKTRACE", "0");
    let mut child = Ended(command.spawn()?);
    let mut bytes = Vec::new();
    ciborium::into_writer(job, &mut bytes).map_err(io::Error::other)?;
    // (A child that is gone already says why below. One that lives ends itself when this end of its input is gone.)
    let mut input = child.0.stdin.take();
    let _ = input.as_mut().map(|input| input.write_all(&bytes));
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
                if tell(event).is_break() {
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
    Err(why(status, &said, job))
}

/// A child that does not outlive the caller's interest in it.
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn why(status: ExitStatus, said: &str, job: &Job) -> ChildError {
    let in_batches = matches!(job.task, Task::Recalibrate { .. } | Task::Gap { .. });
    let memory = |wanted: String| ChildError::Memory { limit: job.memory, wanted, in_batches };
    // What Rust says where memory cannot be had.
    if let Some((_, rest)) = said.split_once("memory allocation of ") {
        let bytes: String = rest.chars().take_while(char::is_ascii_digit).collect();
        return memory(format!(" (it asked for {bytes} at once)"));
    }
    if said.contains("capacity overflow") {
        return memory(String::new());
    }
    // (A terminal sends Ctrl-C to all processes, and the caller may not have looked at its own yet.)
    let cause = match signal(status) {
        Some(INTERRUPT) => return ChildError::Stopped,
        Some(KILL) => {
            "somebody ended it, or the system did, as it does where memory runs out: then give it less by --max-memory"
        }
        _ if said.contains("stack overflow") => "the model's graph is too long or too deep for the engine",
        _ => "the model may be damaged, or made to do that, or the engine has a fault",
    };
    let last = said.lines().map(str::trim).rfind(|line| !line.is_empty() && !line.starts_with("note:"));
    let said = last.map_or_else(String::new, |line| format!(": {}", beginning(line)));
    ChildError::Died { how: status.to_string(), said, cause }
}

/// Numbers of signals.
const INTERRUPT: i32 = 2;
const KILL: i32 = 9;

/// The signal that ended a process, where there are such.
#[cfg(unix)]
fn signal(status: ExitStatus) -> Option<i32> {
    std::os::unix::process::ExitStatusExt::signal(&status)
}

#[cfg(not(unix))]
fn signal(_: ExitStatus) -> Option<i32> {
    None
}
