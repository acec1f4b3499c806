//! A training, step by step, that is saved on the way.

use std::time::{Duration, Instant};

use batchnorm_lab::averaging::{Average, AverageError, recalibrate};
use batchnorm_lab::data::{Data, DataError, Set};
use batchnorm_lab::diagnosis;
use batchnorm_lab::model::{BesideAverage, Description, Model, ModelError, Tested, Watch};
use batchnorm_lab::network::Network;
use batchnorm_lab::plan::Plan;
use batchnorm_lab::training::{Score, Training, score};

use super::file::Store;
use super::report::Report;
use super::scores::{Averaged, Evaluated};
use crate::failure::Failure;
use crate::terminal::Stop;

/// Time between saves on the way (or a step, if that takes longer): as much is lost in a crash.
const SAVE_EVERY: Duration = Duration::from_secs(1);
/// Saves may take one part in so many of the time.
const SAVES_SHARE: u32 = 20;

pub struct Run {
    data: Data,
    plan: Plan,
    training: Training,
    /// Steps that the network has taken.
    done: usize,
    /// Steps that the network in the file has taken, once this run has written it.
    saved: Option<usize>,
    test: Option<Tested>,
    watch: Option<Watch>,
    /// The network that the file has, where that is not the last step's, and its step: the one with the lowest loss on the validation set, where
    /// one is watched, or that of averaged weights.
    kept: Option<(usize, Network)>,
    /// The average of the weights, where one is asked for.
    average: Option<Average>,
    /// The scores beside the average's at the last evaluation.
    beside: Option<BesideAverage>,
}

/// The reason why a network cannot be evaluated.
enum Unscored {
    Data(DataError),
    /// Statistics of averaged weights that are not finite.
    Diverged,
}

impl From<DataError> for Unscored {
    fn from(error: DataError) -> Unscored {
        Unscored::Data(error)
    }
}

impl Run {
    /// A training from its start: that of the seed, or another network.
    pub fn new(data: Data, plan: Plan, start: Option<Network>) -> Run {
        let training = plan.training(start.unwrap_or_else(|| plan.start(&data.summary)), 0);
        let average = plan.averaging.map(|averaging| Average::new(averaging, training.network()));
        let (saved, test, watch, kept, beside) = (None, None, None, None, None);
        Run { data, plan, training, done: 0, saved, test, watch, kept, average, beside }
    }

    /// A training that goes on from what a file holds.
    pub fn resumed(data: Data, plan: Plan, training: Training, there: Description, kept: Network) -> Run {
        let Description { steps_done: done, test, watch, beside, .. } = there;
        let average = plan.averaging.map(|averaging| Average::new(averaging, &kept));
        // (Of an average, the file's statistics are those of the last evaluation, if it was of this step.)
        let at = watch.map(|watch| watch.best_step).or(test.map(|test| test.step).filter(|_| average.is_some()));
        let kept = at.map(|step| (step, kept));
        Run { data, plan, training, done, saved: None, test, watch, kept, average, beside }
    }

    pub fn data(&self) -> &Data {
        &self.data
    }

    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    pub fn done(&self) -> usize {
        self.done
    }

    pub fn seconds(&self) -> f64 {
        self.training.seconds()
    }

    /// Tells whether it is the training that `train` does unless it is told otherwise: evaluated whenever it is saved.
    pub fn is_plain(&self) -> bool {
        self.plan.evaluate_every.is_none()
    }

    /// All steps are taken, or the loss on the validation set has not got better for long.
    pub fn is_over(&self) -> bool {
        self.done >= self.plan.steps || self.has_given_up()
    }

    pub fn has_given_up(&self) -> bool {
        self.watch.zip(self.plan.patience).is_some_and(|(watch, patience)| watch.waited >= patience)
    }

    /// The description of a training that is over, or was before.
    pub fn finished(&self) -> Description {
        let (data, plan) = (self.data.summary.clone(), self.plan.clone());
        let (test, watch, beside) = (self.test, self.watch, self.beside);
        Description { data, plan, steps_done: self.done, test, watch, beside }
    }

    /// The description of the network in the file: it is evaluated now unless that is done.
    fn description(&mut self) -> Result<Description, Unscored> {
        let steps = self.watch.map_or(self.done, |watch| watch.best_step);
        let known = self.test.is_some_and(|test| test.step == steps);
        if !known && (self.is_plain() || self.is_over()) {
            if self.average.is_some() {
                self.evaluate()?;
                return Ok(self.finished());
            }
            let kept = self.kept.as_ref().map_or(self.training.network(), |(_, network)| network);
            let score = score(kept, &self.data.summary, &self.data.test)?;
            self.test = Some(Tested::new(steps, score));
        }
        Ok(self.finished())
    }

    /// The scores of the averaged weights as they are now, with their own statistics and with those of the training; the network with its
    /// own is kept.
    fn averaged(&mut self) -> Result<Option<Averaged>, Unscored> {
        let Some(average) = self.average.as_ref().filter(|average| average.has_begun(self.done)) else {
            return Ok(None);
        };
        let network = average.network(self.training.network());
        let score = |network| score(network, &self.data.summary, &self.data.test);
        let by_training = score(&network)?;
        let recalibrated = recalibrate(&network, &self.data, self.plan.freeze()).map_err(|error| match error {
            AverageError::Data(error) => Unscored::Data(error),
            AverageError::Recalibration(_) => Unscored::Diverged,
        })?;
        let own = if recalibrated { score(&network)? } else { by_training };
        self.kept = Some((self.done, network));
        Ok(Some(Averaged { score: own, by_training: recalibrated.then_some(by_training) }))
    }

    fn score(&self, set: &Set) -> Result<Score, DataError> {
        score(self.training.network(), &self.data.summary, set)
    }

    /// Takes the missing steps, and saves on the way (by itself about each second), on Ctrl-C and at the end.
    pub fn train(&mut self, store: &Store, save_every: Option<Duration>, mut report: Report) -> Result<(), Failure> {
        let stop = Stop::on_ctrl_c()?;
        report.begin(&self.data, &self.plan, self.done)?;
        let mut batches = self.plan.batches(&self.data);
        batches.skip(self.done);
        let (mut saved, mut pause) = (Instant::now(), save_every.unwrap_or(SAVE_EVERY));
        while !self.is_over() {
            let batch = match self.plan.batch(&self.data, batches.draw(), self.done) {
                Ok(batch) => batch,
                Err(error) => return Err(self.cut_off(store, error, true)),
            };
            let rate = self.plan.rate(self.done);
            let loss = self.training.step(&batch, rate);
            if !loss.is_finite() {
                let layer = diagnosis::not_finite(&self.training, &batch);
                return Err(self.diverged(self.done + 1, store, layer.map(|layer| format!("first in layer {layer}"))));
            }
            self.done += 1;
            if let Some(average) = &mut self.average {
                average.take_in(self.training.network(), self.done);
            }
            report.step(self.done, loss, rate, batch.len(), self.seconds())?;
            let due = |every: usize| self.done.is_multiple_of(every) || self.done == self.plan.steps;
            // (Who watches a training that is not evaluated on the way sees its end.)
            let at_end = || report.is_watched() && self.done == self.plan.steps;
            if self.plan.evaluate_every.map_or_else(at_end, due) {
                let evaluated = match self.evaluate() {
                    Ok(evaluated) => evaluated,
                    // The file has no step whose evaluation is missing: it decides what is kept, and when to end.
                    Err(Unscored::Data(error)) => return Err(self.cut_off(store, error, false)),
                    Err(Unscored::Diverged) => return Err(self.diverged_in_average(store)),
                };
                let shown = diagnosis::during(&self.training, &self.plan, &self.data.summary, &batch);
                report.evaluated(&evaluated, &shown.norms)?;
                report.warn(self.done, shown.warnings)?;
            }
            if stop.asked() && !self.is_over() {
                report.end();
                self.save(store)?;
                return Err(Failure::Interrupted(format!(
                    "interrupted; {} of {} steps are in {}, the same command (without --restart) goes on from there",
                    self.done,
                    self.plan.steps,
                    store.path().display()
                )));
            }
            if saved.elapsed() >= pause {
                let start = Instant::now();
                self.save(store)?;
                pause = save_every.unwrap_or(SAVE_EVERY.max(SAVES_SHARE * start.elapsed()));
                saved = Instant::now();
            }
        }
        report.end();
        if self.saved == Some(self.done) { Ok(()) } else { self.save(store) }
    }

    /// Scores on the test set and, where there is one, on the validation set, which decides what network is kept.
    fn evaluate(&mut self) -> Result<Evaluated, Unscored> {
        let test = self.score(&self.data.test)?;
        let validation = self.data.validation.as_ref().map(|set| self.score(set)).transpose()?;
        let averaged = self.averaged()?;
        self.beside = averaged.map(|Averaged { by_training, .. }| BesideAverage {
            last_accuracy: test.accuracy,
            training_statistics_accuracy: by_training.map(|score| score.accuracy),
        });
        // (Not at the end, if that is between: a training of more steps would not see it.)
        if let Some(Score { loss, .. }) = validation
            && self.plan.patience.is_some()
            && self.plan.evaluate_every.is_some_and(|every| self.done.is_multiple_of(every))
        {
            let watch = match self.watch {
                Some(watch) if watch.best_loss <= loss || !loss.is_finite() => {
                    Some(Watch { waited: watch.waited + 1, ..watch })
                }
                // (No network is kept for a loss that is none.)
                None if !loss.is_finite() => None,
                _ => {
                    self.kept = Some((self.done, self.training.network().apart()));
                    Some(Watch { best_step: self.done, best_loss: loss, waited: 0 })
                }
            };
            self.watch = watch;
        }
        if self.watch.is_none_or(|watch| watch.best_step == self.done) {
            self.test = Some(Tested::new(self.done, averaged.map_or(test, |averaged| averaged.score)));
        }
        Ok(Evaluated { step: self.done, test, validation, averaged })
    }

    fn model(&mut self) -> Result<Model, Unscored> {
        let description = self.description()?;
        let model = Model::new(description, &self.training);
        let kept = match (&self.average, &self.kept) {
            // Between two evaluations, with the statistics of the training.
            (Some(average), kept) if kept.as_ref().is_none_or(|(step, _)| *step != self.done) => {
                Some(average.network(&model.network))
            }
            (_, kept) => kept.as_ref().map(|(_, network)| network.clone()),
        };
        Ok(match kept {
            Some(kept) => Model { last: Some(model.network), network: kept, ..model },
            None => model,
        })
    }

    fn save(&mut self, store: &Store) -> Result<(), Failure> {
        let model = match self.model() {
            Ok(model) => model,
            Err(Unscored::Data(error)) => return Err(unreadable(&error)),
            Err(Unscored::Diverged) => return Err(self.diverged_in_average(store)),
        };
        match model.to_bytes() {
            Ok(bytes) => {
                store.save(&bytes)?;
                self.saved = Some(self.done);
                Ok(())
            }
            // The only way to a network that is no file: a step that overflowed.
            Err(ModelError::Tensor { name, .. }) => Err(self.diverged(self.done, store, Some(format!("in {name}")))),
            Err(error) => Err(Failure::output(error)),
        }
    }

    /// The data cannot be read any more: what was learnt is saved first, if it may be.
    fn cut_off(&mut self, store: &Store, error: DataError, saves: bool) -> Failure {
        let saved = if saves { self.save(store) } else { Ok(()) };
        let path = store.path().display();
        let kept = match (saved, self.saved) {
            (Err(failure), _) => failure.to_string(),
            (Ok(()), Some(done)) => format!("{done} of {} steps are in {path}", self.plan.steps),
            (Ok(()), None) => format!("{path} is as it was"),
        };
        Failure::input(format!("--data: {error}; {kept}; the same command goes on from there once the data are back"))
    }

    fn diverged_in_average(&self, store: &Store) -> Failure {
        self.diverged(self.done, store, Some(String::from("in the statistics of averaged weights")))
    }

    fn diverged(&self, step: usize, store: &Store, place: Option<String>) -> Failure {
        let kept = self.saved.map_or(String::from("is as it was"), |steps| format!("holds step {steps}"));
        let place = place.map_or(String::new(), |place| format!(" ({place})"));
        Failure::refused(format!(
            "the training diverged: at step {step} the loss or a weight is not finite{place}; {} {kept}; \
             try a lower --learning-rate (it was {}) with --restart or another --output",
            store.path().display(),
            self.plan.learning_rate
        ))
    }
}

fn unreadable(error: &DataError) -> Failure {
    Failure::input(format!("--data: {error}"))
}
