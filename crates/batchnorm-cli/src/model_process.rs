//! The process that runs a model: this program, started by itself with a command that is not for people.

use std::ops::ControlFlow;
use std::process::Command;

use batchnorm_model::job::{self, Answer, ChildError, Job, RefusalKind, Task};
use batchnorm_model::recalibrate::Event;

use crate::failure::Failure;
use crate::terminal::Stop;

/// The name of that command.
pub const RUN_MODEL: &str = "run-model";

/// Bytes of so many GiB, as an option gives them.
pub fn bytes(option: &str, gib: f64) -> Result<u64, Failure> {
    match gib > 0.0 && gib < 1e6 {
        true => Ok((gib * (1u64 << 30) as f64) as u64),
        false => Err(Failure::usage(format!("{option}: expected a number of GiB above 0, got {gib}"))),
    }
}

/// Has a piece of work done by a process of this program.
pub fn in_child(
    job: &Job,
    stop: &Stop,
    on_event: &mut dyn FnMut(&Event) -> Result<(), Failure>,
) -> Result<Answer, Failure> {
    let program = std::env::current_exe().map_err(Failure::output)?;
    let mut command = Command::new(program);
    command.arg(RUN_MODEL);
    // This program's allocator reserves room a GiB at a time, which would all count as memory: there 64 MiB (in KiB).
    command.env("MIMALLOC_ARENA_RESERVE", "65536");
    let mut own = None;
    let answer = job::run(&mut command, job, &mut |event| {
        if let Err(failure) = on_event(event) {
            own = Some(failure);
        }
        if own.is_some() || stop.asked() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    if let Some(failure) = own {
        return Err(failure);
    }
    answer.map_err(|error| match error {
        error if stop.asked() || matches!(error, ChildError::Stopped) => {
            let then = match job.task {
                Task::Fold { .. } => "nothing is written",
                _ => "the same command goes on from what is finished",
            };
            Failure::Interrupted(format!("interrupted; {then}"))
        }
        ChildError::Refused(refusal) => {
            let message = format!("{}: {}", job.model.display(), refusal.text);
            match refusal.kind {
                RefusalKind::Model | RefusalKind::Data => Failure::Input(message),
                RefusalKind::Engine | RefusalKind::Asked => Failure::Refused(message),
            }
        }
        error @ (ChildError::Memory { .. } | ChildError::Died { .. }) => {
            Failure::Refused(format!("{}: {error}", job.model.display()))
        }
        error => Failure::output(error),
    })
}

/// The child's side of it.
pub fn serve() -> Result<(), Failure> {
    job::serve(std::io::stdin(), std::io::stdout()).map_err(Failure::input)
}
