//! The process that runs a model: this program, started by itself with a command that is not for people.

use std::ops::ControlFlow;
use std::path::Path;
use std::process::Command;

use batchnorm_model::job::{self, Answer, ChildError, Job, RefusalKind, Resume, Task};
use batchnorm_model::recalibrate::Event;
use batchnorm_model::samples::Data;

use crate::engine::Engine;
use crate::failure::{Failure, tell};
use crate::terminal::{Stop, progress_bar};
use crate::unfinished::Unfinished;

/// The name of that command.
pub const RUN_MODEL: &str = "run-model";

/// Bytes of so many GiB, as an option gives them.
pub fn bytes(option: &str, gib: f64) -> Result<u64, Failure> {
    match gib > 0.0 && gib < 1e6 {
        true => Ok((gib * (1u64 << 30) as f64) as u64),
        false => Err(Failure::usage(format!("{option}: expected a number of GiB above 0, got {gib}"))),
    }
}

/// Has a piece of work done by a process of this program, and what is finished of it kept.
pub fn in_child(
    job: &Job,
    stop: &Stop,
    unfinished: Option<&Unfinished>,
    on_event: &mut dyn FnMut(&Event<Resume>),
) -> Result<Answer, Failure> {
    let program = std::env::current_exe().map_err(Failure::output)?;
    let mut command = Command::new(program);
    command.arg(RUN_MODEL);
    // This program's allocator reserves room a GiB at a time, which would all count as memory: there 64 MiB (in KiB).
    command.env("MIMALLOC_ARENA_RESERVE", "65536");
    let mut own = None;
    let answer = job::run(&mut command, job, &mut |event| {
        on_event(&event);
        if let (Event::State(resume), Some(unfinished)) = (event, unfinished) {
            own = unfinished.write(*resume).err();
        }
        if own.is_some() || stop.asked() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    if let Some(failure) = own {
        return Err(failure);
    }
    answer.map_err(|error| match error {
        error if stop.asked() || matches!(error, ChildError::Stopped) => {
            let then = match unfinished.is_some_and(Unfinished::exists) {
                false => "nothing is written",
                true => "the same command goes on from what is finished",
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

/// The same with what is announced said, and a bar; from where it was interrupted, if it was.
pub fn with_progress(mut job: Job, stop: &Stop, unfinished: Option<&Unfinished>) -> Result<Answer, Failure> {
    if let Some(unfinished) = unfinished {
        job.resumed = unfinished.read();
        if job.resumed.is_some() {
            tell(format_args!("goes on from {}", unfinished.path().display()));
        }
    }
    let bar = progress_bar(1000);
    let answer = in_child(&job, stop, unfinished, &mut |event| match event {
        Event::Announced { seconds, layers, passes } => bar.suspend(|| {
            tell(format_args!(
                "{layers} batch norms, {passes} passes over the data's way through the model: about {}",
                time(*seconds)
            ));
        }),
        Event::Ranking { seconds, layers } => {
            bar.suspend(|| tell(format_args!("{layers} of them one by one: about {}", time(*seconds))));
        }
        Event::Done(share) => bar.set_position((share * 1000.0) as u64),
        Event::State(_) => {}
    });
    bar.finish_and_clear();
    answer
}

fn time(seconds: f64) -> String {
    match seconds {
        ..1.0 => String::from("a second"),
        ..120.0 => format!("{seconds:.0} s"),
        _ => format!("{:.0} min", seconds / 60.0),
    }
}

/// What running a model may take.
#[derive(clap::Args)]
pub struct Resources {
    #[command(flatten)]
    engine: Engine,
    /// Samples that run together. Layer by layer it changes no bit of what is measured.
    #[arg(long, value_name = "N", default_value_t = 8)]
    pub batch: usize,
    /// Threads. [default: as many as there are processors]
    #[arg(long, value_name = "N")]
    threads: Option<usize>,
    /// Memory of the process that runs the model, in GiB.
    #[arg(long, value_name = "GIB", default_value_t = 4.0)]
    max_memory: f64,
    /// Room for values between two layers in temporary files, in GiB; what finds none is computed again.
    #[arg(long, value_name = "GIB", default_value_t = 8.0)]
    cache: f64,
}

impl Resources {
    pub fn check(&self) -> Result<(), Failure> {
        self.memory()?;
        self.files()?;
        if self.batch == 0 || self.threads == Some(0) {
            return Err(Failure::usage("--batch, --threads: expected 1 or more, got 0"));
        }
        Ok(())
    }

    /// A piece of work on a model with these data.
    pub fn job(&self, model: &Path, data: &Data, task: Task) -> Result<Job, Failure> {
        Ok(Job {
            model: model.to_owned(),
            data: Some(data.clone()),
            engine: self.engine.choice(),
            threads: self.threads.unwrap_or_else(processors),
            memory: self.memory()?,
            task,
            resumed: None,
        })
    }

    fn memory(&self) -> Result<u64, Failure> {
        bytes("--max-memory", self.max_memory)
    }

    /// Bytes of values in files.
    pub fn files(&self) -> Result<u64, Failure> {
        if self.cache == 0.0 { Ok(0) } else { bytes("--cache", self.cache) }
    }
}

/// How many processors there are.
pub fn processors() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// Of an answer to something else than was asked.
pub fn other_answer() -> Failure {
    Failure::output("the process that runs the model gave another answer than was asked for")
}

/// The child's side of it.
pub fn serve() -> Result<(), Failure> {
    job::serve(std::io::stdin(), std::io::stdout()).map_err(Failure::input)
}
