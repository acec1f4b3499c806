//! `batchnorm train`: one network on the digits, into one file.

mod file;
mod options;
mod request;

use std::time::{Duration, Instant};

use batchnorm_lab::digits::{CLASSES, Digits};
use batchnorm_lab::model::{Description, Model, ModelError};
use batchnorm_lab::plan::Plan;
use batchnorm_lab::training::Training;
use batchnorm_lab::words::percent;
use serde_json::json;

use crate::failure::{Failure, tell};
use crate::terminal::{Stop, progress_bar, put, use_threads};
use crate::{model_file, text};
use file::Store;
pub use options::Arguments;

/// Time between saves on the way (or a step, if that takes longer): as much is lost in a crash.
const SAVE_EVERY: Duration = Duration::from_secs(1);
/// Number of steps whose mean loss is shown.
const SHOWN_STEPS: usize = 5;

/// Trains what is missing and prints how the network does.
///
/// # Errors
/// Bad arguments; a file of something else or of another training; a file that cannot be written; a loss that is not
/// finite; Ctrl-C.
pub fn run(arguments: Arguments) -> Result<(), Failure> {
    let (plan, threads) = request::plan(&arguments)?;
    let store = Store::new(&arguments.output);
    let description = model_file::description(arguments.description.as_deref())?;
    let is_described = description.is_some();
    let earlier = if arguments.restart { None } else { store.load(description)? };
    if is_described && earlier.is_none() {
        return Err(Failure::usage(format!(
            "--description: expected a training in --output {} to go on from, found none; leave it out",
            arguments.output.display()
        )));
    }
    if let Some(earlier) = &earlier {
        store.expect_same(&earlier.description, &plan)?;
    }
    use_threads(threads)?;
    let digits = Digits::embedded();
    let planned = earlier.as_ref().map(|earlier| earlier.description.plan.steps);
    let (network, done) = match earlier {
        Some(Model { description, network }) => (network, description.steps_done),
        None => (plan.start(), 0),
    };
    let mut run =
        Run { training: plan.training(network, done, &digits.train), plan, done, saved: None, digits: &digits };
    if planned == Some(run.done) && run.done == run.plan.steps {
        tell(format_args!(
            "{} has all {} steps already and stays as it is; --steps trains it further, --restart anew.",
            arguments.output.display(),
            run.done
        ));
    } else {
        run.train(&store)?;
    }
    summary(&arguments, &run)
}

struct Run<'d> {
    plan: Plan,
    /// Steps that the network has taken.
    done: usize,
    /// Steps that the network in the file has taken, once this run has written it.
    saved: Option<usize>,
    training: Training<'d>,
    digits: &'d Digits,
}

impl Run<'_> {
    fn description(&self) -> Description {
        Description::new(self.plan.clone(), self.done, self.training.evaluate(&self.digits.test).score)
    }

    fn model(&self) -> Model {
        Model { description: self.description(), network: self.training.network().clone() }
    }

    /// Takes the missing steps, and saves on the way, on Ctrl-C and at the end.
    fn train(&mut self, store: &Store) -> Result<(), Failure> {
        let stop = Stop::on_ctrl_c()?;
        // Before the long run. Nothing is replaced yet: what is there is worth more than a network just begun.
        store.expect_writable()?;
        let bar = progress_bar(self.plan.steps as u64);
        // The time left is judged by the steps from here on.
        bar.set_position(self.done as u64);
        bar.reset_eta();
        let mut saved = Instant::now();
        let mut losses = Vec::new();
        while self.done < self.plan.steps {
            let loss = self.training.step();
            if !loss.is_finite() {
                bar.finish_and_clear();
                return Err(self.diverged(self.done + 1, store));
            }
            self.done += 1;
            losses.push(loss);
            if stop.asked() && self.done < self.plan.steps {
                bar.finish_and_clear();
                self.save(store)?;
                return Err(Failure::Interrupted(format!(
                    "interrupted; {} of {} steps are in {}, the same command (without --restart) goes on from there",
                    self.done,
                    self.plan.steps,
                    store.path().display()
                )));
            }
            bar.set_position(self.done as u64);
            if losses.len() == SHOWN_STEPS {
                bar.set_message(format!("loss {:.4}", losses.iter().sum::<f64>() / losses.len() as f64));
                losses.clear();
            }
            if saved.elapsed() >= SAVE_EVERY {
                self.save(store)?;
                saved = Instant::now();
            }
        }
        bar.finish_and_clear();
        self.save(store)
    }

    fn save(&mut self, store: &Store) -> Result<(), Failure> {
        match self.model().to_bytes() {
            Ok(bytes) => {
                store.save(&bytes)?;
                self.saved = Some(self.done);
                Ok(())
            }
            // The only way to a network that is no file: a step that overflowed.
            Err(ModelError::Tensor { .. }) => Err(self.diverged(self.done, store)),
            Err(error) => Err(Failure::output(error)),
        }
    }

    fn diverged(&self, step: usize, store: &Store) -> Failure {
        let kept = self.saved.map_or(String::from("is as it was"), |steps| format!("holds step {steps}"));
        Failure::refused(format!(
            "the training diverged: at step {step} the loss or a weight is not finite; {} {kept}; \
             try a lower --learning-rate (it was {}) with --restart or another --output",
            store.path().display(),
            self.plan.learning_rate
        ))
    }
}

fn summary(arguments: &Arguments, run: &Run) -> Result<(), Failure> {
    let Description { plan, steps_done, test_accuracy, test_loss, .. } = run.description();
    let seconds = run.training.seconds();
    let chance = (CLASSES as f64).ln();
    if test_loss.is_none_or(|loss| loss > chance) {
        tell(format_args!(
            "batchnorm: warning: the network is worse than chance: its test loss is not below {chance:.4} nats; train \
             it for more --steps, or try another --learning-rate (it was {}) with --restart",
            plan.learning_rate
        ));
    }
    if arguments.json {
        let summary = json!({
            "file": text::path(&arguments.output),
            "plan": plan,
            "steps_done": steps_done,
            "test_accuracy": test_accuracy,
            "test_loss": test_loss,
            "seconds": seconds,
        });
        return put(&format!("{summary:#}\n"));
    }
    put(&format!(
        "network        64-{}-10, {} batch norm\n\
         steps          {steps_done} of {} images at rate {}, seed {} ({seconds:.1} s of training now)\n\
         test accuracy  {} of 360 digits not trained on\n\
         test loss      {} nats\n\
         file           {}\n\
         try it         batchnorm predict --model {} --digits test\n",
        plan.architecture.hidden.iter().map(|units| format!("{units}-")).collect::<String>().trim_end_matches('-'),
        if plan.batch_norm { "with" } else { "without" },
        plan.batch_size,
        plan.learning_rate,
        plan.seed,
        percent(test_accuracy),
        test_loss.map_or(String::from("not finite"), |loss| format!("{loss:.4}")),
        text::one_line(&text::path(&arguments.output)),
        text::word(&arguments.output),
    ))
}
