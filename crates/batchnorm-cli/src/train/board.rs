//! What a training writes for TensorBoard.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use batchnorm_io::events::Events;
use batchnorm_lab::diagnosis::NormState;

use super::scores::{Averaged, Evaluated};
use crate::failure::Failure;

pub struct Board(Events);

impl Board {
    /// A new event file that goes on behind a step.
    pub fn open(folder: &Path, done: usize) -> Result<Board, Failure> {
        let events = Events::create(folder, done as u64);
        events.map(Board).map_err(|error| Failure::output(format!("--tensorboard: {}: {error}", folder.display())))
    }

    /// The mean loss of the last steps, the rate of the last one, and the speed so far.
    pub fn steps(&mut self, step: usize, loss: f64, rate: f64, speed: f64) -> Result<(), Failure> {
        self.write(|events| {
            let step = step as u64;
            events.scalar(step, "training/loss", loss)?;
            events.scalar(step, "training/learning rate", rate)?;
            events.scalar(step, "training/examples a second", speed)
        })
    }

    pub fn evaluated(&mut self, evaluated: &Evaluated, norms: &BTreeMap<String, NormState>) -> Result<(), Failure> {
        let Evaluated { step, test, validation, averaged } = evaluated;
        let step = *step as u64;
        let averaged_by_training = averaged.and_then(|averaged| averaged.by_training);
        let scores = [
            ("test", Some(*test)),
            ("validation", *validation),
            ("averaged weights", averaged.map(|Averaged { score, .. }| score)),
            ("averaged weights, training's statistics", averaged_by_training),
        ];
        self.write(|events| {
            for (name, score) in scores.iter().filter_map(|(name, score)| Some((name, (*score)?))) {
                events.scalar(step, &format!("accuracy/{name}"), score.accuracy)?;
                events.scalar(step, &format!("loss/{name}"), score.loss)?;
            }
            norms.iter().try_for_each(|(path, norm)| of_norm(events, step, path, norm))
        })
    }

    fn write(&mut self, of: impl FnOnce(&mut Events) -> io::Result<()>) -> Result<(), Failure> {
        of(&mut self.0).map_err(|error| Failure::output(format!("--tensorboard: {}: {error}", self.0.path().display())))
    }
}

fn of_norm(events: &mut Events, step: u64, path: &str, norm: &NormState) -> io::Result<()> {
    for (name, values) in [("gamma", &norm.gamma), ("beta", &norm.beta)] {
        events.histogram(step, &format!("{path}/{name}"), values.iter().copied().map(f64::from))?;
    }
    let Some(running) = &norm.running else { return Ok(()) };
    events.histogram(step, &format!("{path}/running mean"), running.mean.iter().copied())?;
    events.histogram(step, &format!("{path}/running variance"), running.variance.iter().copied())?;
    if let Some(off) = running.mean_off {
        events.scalar(step, &format!("running mean off (in batch deviations)/{path}"), off)?;
    }
    if let Some(ratio) = running.variance_ratio {
        events.scalar(step, &format!("running variance over batch variance/{path}"), ratio)?;
    }
    Ok(())
}
