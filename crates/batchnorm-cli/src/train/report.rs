//! What a training says while it runs: a bar, a line for each evaluation, warnings, and a log for machines.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::time::Instant;

use batchnorm_io::atomic::{remove_abandoned, write_file};
use batchnorm_lab::data::Data;
use batchnorm_lab::diagnosis::{self, NormState, Warning};
use batchnorm_lab::plan::Plan;
use batchnorm_lab::training::Score;
use batchnorm_lab::words::percent;
use indicatif::ProgressBar;
use serde_json::{Value, json};

use super::board::Board;
use super::options::Arguments;
use super::scores::{Averaged, Evaluated};
use crate::failure::{Failure, tell};
use crate::terminal::progress_bar;
use crate::text;

/// Number of steps whose mean loss is shown in a training of so few.
const SHOWN_STEPS: usize = 5;
/// Steps of a line of the log.
const LOGGED_STEPS: usize = 50;

pub struct Report {
    bar: ProgressBar,
    log: Option<Log>,
    board: Option<Board>,
    /// Losses since they were last shown, and since the last line of the log.
    shown: Vec<f64>,
    logged: Vec<f64>,
    /// Mean loss since the last evaluation.
    since: (f64, usize),
    examples: usize,
    epoch: usize,
    steps: usize,
    plain: bool,
    begun: Instant,
    /// Examples of this run, and the seconds that steps have taken.
    taken: usize,
    seconds: f64,
    /// Warnings that were given, by layer and kind.
    warned: BTreeSet<String>,
    /// The learning rate of the last step.
    rate: Option<f64>,
}

impl Report {
    /// A report of a training that has taken so many steps; the log loses what a run beyond them had written.
    pub fn new(arguments: &Arguments, done: usize) -> Result<Report, Failure> {
        let log = arguments.log.as_deref().map(|path| Log::open(path, done)).transpose()?;
        let board = arguments.tensorboard.as_deref().map(|folder| Board::open(folder, done)).transpose()?;
        Ok(Report {
            board,
            bar: ProgressBar::hidden(),
            log,
            shown: Vec::new(),
            logged: Vec::new(),
            since: (0.0, 0),
            examples: 0,
            epoch: 1,
            steps: 0,
            plain: true,
            begun: Instant::now(),
            taken: 0,
            seconds: 0.0,
            warned: BTreeSet::new(),
            rate: None,
        })
    }

    pub fn begin(&mut self, data: &Data, plan: &Plan, done: usize) -> Result<(), Failure> {
        self.bar = progress_bar(plan.steps as u64);
        // The time left is judged by the steps from here on.
        self.bar.set_position(done as u64);
        self.bar.reset_eta();
        self.examples = data.train.len();
        self.epoch = (data.train.len() / plan.batch_size).max(1);
        self.steps = plan.steps;
        self.plain = plan.evaluate_every.is_none();
        self.begun = Instant::now();
        let warning = diagnosis::before(plan, &data.summary);
        self.warn(done, warning.into_iter().collect())
    }

    /// A step with its loss and rate, of so many examples; `seconds` have gone into steps so far.
    pub fn step(&mut self, done: usize, loss: f64, rate: f64, examples: usize, seconds: f64) -> Result<(), Failure> {
        self.rate = Some(rate);
        self.taken += examples;
        self.seconds = seconds;
        self.shown.push(loss);
        self.logged.push(loss);
        self.since = (self.since.0 + loss, self.since.1 + 1);
        self.bar.set_position(done as u64);
        if self.shown.len() == SHOWN_STEPS {
            let loss = mean(&self.shown);
            self.bar.set_message(match self.plain {
                true => format!("loss {loss:.4}"),
                false => format!("epoch {}  loss {loss:.4}  {:.0} examples/s", self.epoch_of(done), self.speed()),
            });
            self.shown.clear();
        }
        if done.is_multiple_of(LOGGED_STEPS) {
            let line = json!({
                "step": done,
                "epoch": done as f64 / self.epoch as f64,
                "loss": mean(&self.logged),
                "learning_rate": rate,
                "examples_per_second": self.speed(),
            });
            let speed = self.speed();
            if let Some(board) = &mut self.board {
                board.steps(done, mean(&self.logged), rate, speed)?;
            }
            self.logged.clear();
            self.write(&line)?;
        }
        Ok(())
    }

    pub fn evaluated(&mut self, evaluated: &Evaluated, norms: &BTreeMap<String, NormState>) -> Result<(), Failure> {
        let Evaluated { step, test, validation, averaged } = evaluated;
        let speed = self.speed();
        if let Some(board) = &mut self.board {
            // The steps that are too few for a line of their own yet.
            if let (false, Some(rate)) = (self.logged.is_empty(), self.rate) {
                board.steps(*step, mean(&self.logged), rate, speed)?;
            }
            board.evaluated(evaluated, norms)?;
        }
        let loss = self.since.0 / self.since.1.max(1) as f64;
        self.since = (0.0, 0);
        let left =
            (self.steps - step) as f64 * self.begun.elapsed().as_secs_f64() * self.batch() / self.taken.max(1) as f64;
        let watched = validation.map_or(String::new(), |score| {
            format!(", validation loss {:.4} ({})", score.loss, percent(score.accuracy))
        });
        self.say(&format!(
            "step {step} (epoch {} of {}): loss {loss:.4}{watched}, test accuracy {}{}, {:.0} examples/s{}",
            self.epoch_of(*step),
            self.steps.div_ceil(self.epoch),
            percent(test.accuracy),
            averaged.map_or(String::new(), |averaged| format!(", {averaged}")),
            self.speed(),
            if left > 0.0 { format!(", {} left", time(left)) } else { String::new() },
        ));
        let score = |score: &Score| json!({ "loss": finite(score.loss), "accuracy": score.accuracy });
        let mut line = json!({
            "step": step,
            "epoch": *step as f64 / self.epoch as f64,
            "training_loss": finite(loss),
            "test": score(test),
            "seconds": self.seconds,
        });
        if let Some(validation) = validation {
            line["validation"] = score(validation);
        }
        if let Some(Averaged { score: own, by_training }) = averaged {
            line["averaged"] = score(own);
            line["averaged_by_training_statistics"] = by_training.as_ref().map_or(Value::Null, score);
        }
        self.write(&line)
    }

    /// Says what was not yet said of a layer.
    pub fn warn(&mut self, step: usize, warnings: Vec<Warning>) -> Result<(), Failure> {
        for warning in warnings {
            let of = match &warning {
                Warning::DeadChannels { layer, .. } => format!("dead {layer}"),
                Warning::StaleAverages { layer, .. } => format!("stale {layer}"),
                Warning::TinyBatches { .. } => String::from("tiny"),
            };
            if self.warned.insert(of) {
                self.say(&format!("batchnorm: warning: {warning}"));
            }
            self.write(&json!({ "step": step, "warning": warning, "text": warning.to_string() }))?;
        }
        Ok(())
    }

    /// Tells whether someone looks at more than what is printed.
    pub fn is_watched(&self) -> bool {
        self.board.is_some()
    }

    pub fn end(&self) {
        self.bar.finish_and_clear();
    }

    fn epoch_of(&self, step: usize) -> usize {
        step.div_ceil(self.epoch)
    }

    fn speed(&self) -> f64 {
        self.taken as f64 / self.seconds
    }

    /// Examples of a step.
    fn batch(&self) -> f64 {
        self.examples as f64 / self.epoch as f64
    }

    /// A line on stderr, above the bar.
    fn say(&self, line: &str) {
        self.bar.suspend(|| tell(line));
    }

    fn write(&mut self, line: &Value) -> Result<(), Failure> {
        self.log.as_mut().map_or(Ok(()), |log| log.write(line))
    }
}

/// A file of JSON, a line each.
struct Log {
    file: File,
    path: PathBuf,
}

impl Log {
    /// Opens a log to go on behind a step: lines of later steps, which will come again, and a line that was cut off are dropped.
    fn open(path: &Path, done: usize) -> Result<Log, Failure> {
        let failed = |error: &dyn std::fmt::Display| Failure::output(format!("--log: {}: {error}", path.display()));
        if path.is_file() {
            remove_abandoned(path);
            let file = File::open(path).map_err(|error| failed(&error))?;
            let step = |line: &str| serde_json::from_str(line).ok().and_then(|line: Value| line["step"].as_u64());
            let mut lines: Vec<String> = BufReader::new(file).lines().map_while(Result::ok).collect();
            if lines.first().is_some_and(|first| step(first).is_none()) {
                return Err(Failure::usage(format!(
                    "--log: expected a log of `train`, or a new file, got {}, which holds something else; name another one",
                    path.display()
                )));
            }
            lines.retain(|line| step(line).is_some_and(|step| done > 0 && step <= done as u64));
            let written = write_file(path, |out| lines.iter().try_for_each(|line| writeln!(out, "{line}")));
            written.map_err(|error| failed(&error))?;
        }
        let file = OpenOptions::new().append(true).create(true).open(path).map_err(|error| failed(&error))?;
        Ok(Log { file, path: path.to_path_buf() })
    }

    fn write(&mut self, line: &Value) -> Result<(), Failure> {
        self.file
            .write_all(format!("{line}\n").as_bytes())
            .map_err(|error| Failure::output(format!("--log: {}: {error}", text::one_line(&text::path(&self.path)))))
    }
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

fn finite(value: f64) -> Option<f64> {
    Some(value).filter(|value| value.is_finite())
}

/// Seconds as `40 s`, `12 min` or `3 h 20 min`.
pub fn time(seconds: f64) -> String {
    match seconds as u64 {
        seconds @ 0..100 => format!("{seconds} s"),
        seconds @ 100..6000 => format!("{} min", seconds.div_ceil(60)),
        seconds => format!("{} h {} min", seconds / 3600, seconds % 3600 / 60),
    }
}
