//! The plan of a single training.

use serde::{Deserialize, Serialize};

use crate::averaging::Averaging;
use crate::data::{Augmentation, Data, DataError, DataSummary, Examples};
use crate::network::{Architecture, Freeze, HEAD, Layer, Network, NormKind, Recipe};
use crate::optimizer::{Rule, Settings, WeightDecay};
use crate::random::{Purpose, generator};
use crate::schedule::{Course, Schedule};
use crate::setting::{self, Difference, SettingError};
use crate::training::{Batches, Order, Training};
use crate::transfer::{Head, Transfer};

/// Outputs of a layer in a step: a gigabyte.
const MOST_TOGETHER: usize = 1 << 28;

/// All settings that, with the data, decide the trained network, to the bit on one machine.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    /// The network.
    pub network: Recipe,
    /// Seed of the start weights, of the order of the batches, of what is dropped and how pictures are changed.
    pub seed: u64,
    /// Steps in all.
    pub steps: usize,
    /// Examples a step.
    pub batch_size: usize,
    /// How they come together.
    #[serde(default, skip_serializing_if = "Order::is_shuffled")]
    pub order: Order,
    /// The full learning rate.
    pub learning_rate: f64,
    /// Its course over the steps.
    pub schedule: Schedule,
    /// The rule by which weights follow their gradients.
    pub optimizer: Rule,
    /// L2.
    pub weight_decay: WeightDecay,
    /// The greatest norm of all gradients together.
    pub clip: Option<f64>,
    /// Changes to pictures.
    pub augmentation: Augmentation,
    /// Steps between two evaluations; none to evaluate at each save alone.
    pub evaluate_every: Option<usize>,
    /// Evaluations without a better loss after which the training ends; the best network is kept.
    pub patience: Option<usize>,
    /// Where its weights come from, if not from the seed, and what of them stays.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub transfer: Option<Transfer>,
    /// The average of its weights that is kept beside them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub averaging: Option<Averaging>,
}

impl Plan {
    /// A plan that works on the digits: 600 steps at 0.5 with batch norm, 3,000 at 3 without, each in batches of 60.
    ///
    /// The rates are those at which each network was soonest at 95 % in the sweep behind
    /// [`Settings`](crate::comparison::Settings); the steps are about twice to ten times what it took.
    pub fn of(batch_norm: bool) -> Plan {
        let (steps, learning_rate) = if batch_norm { (600, 0.5) } else { (3000, 3.0) };
        Plan::plain(Architecture::default().recipe(batch_norm), 1, steps, 60, learning_rate)
    }

    /// Plain gradient descent at one rate.
    pub(crate) fn plain(network: Recipe, seed: u64, steps: usize, batch_size: usize, learning_rate: f64) -> Plan {
        Plan {
            network,
            seed,
            steps,
            batch_size,
            order: Order::default(),
            learning_rate,
            schedule: Schedule::CONSTANT,
            optimizer: Rule::PLAIN,
            weight_decay: WeightDecay::default(),
            clip: None,
            augmentation: Augmentation::default(),
            evaluate_every: None,
            patience: None,
            transfer: None,
            averaging: None,
        }
    }

    /// A plan for a network on any data: gradient descent with Nesterov's momentum of 0.9, the rate (0.1; 0.02 without a norm) rising for a
    /// twentieth of the steps and falling along a cosine, L2 of 1e-4 on weights (as He et al. 2016), evaluated after each of `epochs` passes. Batches
    /// are of 64 unless it is said.
    pub fn usual(network: Recipe, data: &DataSummary, epochs: usize, batch_size: Option<usize>) -> Plan {
        let batch_size = batch_size.unwrap_or_else(|| data.train.min(64));
        let epoch = epoch(data.train, batch_size);
        let steps = epoch.saturating_mul(epochs);
        let learning_rate = if network.norm_name() == "none" { 0.02 } else { 0.1 };
        Plan {
            schedule: Schedule { course: Course::Cosine, warm_up: Course::Cosine.usual_warm_up(steps) },
            optimizer: Rule::Sgd { momentum: 0.9, nesterov: true },
            weight_decay: WeightDecay { penalty: 1e-4, of_norms: false },
            evaluate_every: Some(epoch),
            ..Plan::plain(network, 1, steps, batch_size, learning_rate)
        }
    }

    /// Steps of a pass over so many examples.
    pub fn epoch(&self, examples: usize) -> usize {
        epoch(examples, self.batch_size)
    }

    /// Checks that the plan can be followed on the data.
    ///
    /// # Errors
    /// The first setting that is out of range.
    pub fn check(&self, data: &DataSummary) -> Result<(), SettingError> {
        setting::check_steps("steps", self.steps)?;
        setting::check_learning_rate(self.learning_rate)?;
        self.network.check(data.input, data.classes.len())?;
        setting::check_batch_size(self.batch_size, data.train, !self.by_batch(data).is_empty())?;
        let widest = self.network.widest(data.input, data.classes.len());
        if self.batch_size.saturating_mul(widest) > MOST_TOGETHER {
            let expected = format!("at most {} for a layer of {widest} outputs", MOST_TOGETHER / widest);
            return Err(SettingError::new("batch_size", &expected, self.batch_size));
        }
        if let Some(ghost) = self.network.ghost
            && self.by_batch(data).iter().any(|layer| layer.output.plane() == 1)
            && self.batch_size % ghost == 1
        {
            let expected = format!("a size that leaves no ghost batch of one example (batches of {})", self.batch_size);
            return Err(SettingError::new("ghost", &expected, ghost));
        }
        self.schedule.check(self.steps)?;
        self.optimizer.check()?;
        let error = |setting, expected: &str, got: String| Err(SettingError::new(setting, expected, got));
        if !(self.weight_decay.penalty >= 0.0 && self.weight_decay.penalty <= 1e6) {
            return error("weight_decay", "a number in 0..=1e6", self.weight_decay.penalty.to_string());
        }
        if let Some(clip) = self.clip
            && !(clip > 0.0 && clip.is_finite())
        {
            return error("clip", "a finite number above 0", clip.to_string());
        }
        if !self.augmentation.is_none() && !data.input.is_picture() {
            return error("augment", "none, for the examples are no pictures", String::from("changes to pictures"));
        }
        let most = data.input.rows.min(data.input.columns) / 2;
        if self.augmentation.crop.max(self.augmentation.shift) > most {
            let got = self.augmentation.crop.max(self.augmentation.shift).to_string();
            return error("augment", &format!("crop and shift of at most half a picture, {most}"), got);
        }
        if let Some(every) = self.evaluate_every {
            setting::check_steps("evaluate_every", every)?;
        }
        if let Some(transfer) = &self.transfer {
            let outline = self.network.outline(data.input, data.classes.len());
            transfer.freeze.check(&self.network, &outline)?;
            if transfer.head == Head::New && transfer.freeze.keeps(&format!("{HEAD}.weight")) {
                let expected = format!("patterns without {HEAD}, which is new (--head kept keeps it)");
                return error("freeze", &expected, transfer.freeze.layers.join(","));
            }
        }
        if let Some(averaging) = self.averaging {
            averaging.check(self.steps)?;
            if self.network.norm == NormKind::Decorrelated {
                return error(
                    "average",
                    "none of a network with decorrelated batch norm, whose statistics nothing here computes again",
                    String::from("one"),
                );
            }
            if self.patience.is_some() {
                return error(
                    "patience",
                    "none with an average of the weights, which is the network that is kept",
                    String::from("both"),
                );
            }
        }
        if let Some(patience) = self.patience {
            setting::check_steps("patience", patience)?;
            if data.validation == 0 {
                return error(
                    "patience",
                    "a --validation share to watch, for a test set that decides is none",
                    String::from("0"),
                );
            }
            if self.evaluate_every.is_none() {
                return error("patience", "evaluations on the way (--evaluate-every)", String::from("none"));
            }
        }
        Ok(())
    }

    /// What stays as it is, of a network that starts from another one's weights.
    pub fn freeze(&self) -> Option<&Freeze> {
        self.transfer.as_ref().map(|transfer| &transfer.freeze)
    }

    /// The norms that go by the batch in training.
    pub fn by_batch(&self, data: &DataSummary) -> Vec<Layer> {
        if !self.network.needs_batches() {
            return Vec::new();
        }
        let frozen = |layer: &Layer| self.freeze().is_some_and(|freeze| freeze.keeps_statistics(&layer.path));
        let outline = self.network.outline(data.input, data.classes.len());
        outline.into_iter().filter(|layer| layer.is_norm() && !frozen(layer)).collect()
    }

    /// Tells whether all that is in a module of the network stays as it is in training.
    pub fn is_frozen(&self, data: &DataSummary, module: &str) -> bool {
        let outline = || self.network.outline(data.input, data.classes.len());
        self.freeze().is_some_and(|freeze| freeze.keeps_module(&self.network, &outline(), module))
    }

    /// The network it starts with, on the device of this crate's trainings; that of a [`transfer`](Self::transfer) needs the
    /// [source](Self::start_from).
    ///
    /// # Panics
    /// If [`check`](Self::check) objects.
    pub fn start(&self, data: &DataSummary) -> Network {
        self.network.start(data.input, data.classes.len(), self.seed, &Training::device())
    }

    /// The network it starts with, from another one's weights; its new output layer, if it gets one, is that of [`start`](Self::start).
    ///
    /// # Errors
    /// A source whose tensors have other shapes than those of this plan's network on these data.
    ///
    /// # Panics
    /// If [`check`](Self::check) objects.
    pub fn start_from(&self, data: &DataSummary, source: Network) -> Result<Network, SettingError> {
        let new_head = self.transfer.as_ref().is_none_or(|transfer| transfer.head == Head::New);
        let network = source.for_new_data(self.start(data), new_head)?;
        Ok(network.averaging_by(self.network.weight_of_new))
    }

    /// The network with all weights 0: room for those of a file.
    ///
    /// # Panics
    /// If [`check`](Self::check) objects.
    pub(crate) fn blank(&self, data: &DataSummary) -> Network {
        self.network.blank(data.input, data.classes.len(), &Training::device())
    }

    /// The training of a network, of [`start`](Self::start) or from a file, that has taken `done` steps of this plan; what stays is frozen.
    pub fn training(&self, network: Network, done: usize) -> Training {
        let network = match self.freeze() {
            Some(freeze) => network.frozen(freeze),
            None => network,
        };
        let settings = Settings { rule: self.optimizer, decay: self.weight_decay, clip: self.clip };
        Training::new(network, settings, self.seed, done)
    }

    /// The batches of the training set, from the first on.
    pub fn batches(&self, data: &Data) -> Batches {
        Batches::in_order(self.order, data.train.classes(), self.batch_size, self.seed)
    }

    /// A batch of the training set as the network gets it in a step, from 0 on: changed at random, and standardised.
    ///
    /// # Errors
    /// Data that cannot be read any more.
    pub fn batch(&self, data: &Data, places: &[usize], step: usize) -> Result<Examples, DataError> {
        let mut batch = data.train.read(places)?;
        if !self.augmentation.is_none() {
            let mut generator = generator(self.seed, Purpose::Augmentation(step));
            self.augmentation.apply(&mut batch, data.summary.input, &mut generator);
        }
        data.summary.prepare(&mut batch);
        Ok(batch)
    }

    /// The learning rate of a step, from 0 on.
    pub fn rate(&self, step: usize) -> f64 {
        self.schedule.rate(self.learning_rate, step, self.steps)
    }

    /// The settings in which another training differs from this one. The number of steps is among them only where the rate depends on it:
    /// else a training of more steps goes the same way further.
    pub fn differences(&self, now: &Plan) -> Vec<Difference> {
        let is_batch_or_none = |plan: &Plan| ["batch norm", "none"].contains(&plan.network.norm_name());
        let norm = |plan: &Plan| match is_batch_or_none(self) && is_batch_or_none(now) {
            true => ("batch norm", if plan.network.needs_batches() { "yes" } else { "no" }.to_owned()),
            false => ("norm", plan.network.norm_name().to_owned()),
        };
        let settings = |plan: &Plan| {
            let Plan { network, seed, steps, batch_size, learning_rate, schedule, optimizer, .. } = plan;
            let Recipe { hidden, start, epsilon, weight_of_new, .. } = network;
            let widths = hidden.iter().map(usize::to_string).collect::<Vec<_>>().join(",");
            let rest = Recipe {
                hidden: vec![],
                start: None,
                epsilon: 0.0,
                weight_of_new: 0.0,
                norm: self.network.norm,
                ..network.clone()
            };
            let steps = if schedule.depends_on_steps() { steps.to_string() } else { String::new() };
            vec![
                norm(plan),
                ("hidden layers", widths),
                ("start weights", words(start)),
                ("epsilon", epsilon.to_string()),
                ("weight of the new value", weight_of_new.to_string()),
                ("rest of the network", words(&rest)),
                ("seed", seed.to_string()),
                ("steps of the schedule", steps),
                ("batch size", batch_size.to_string()),
                ("order of the examples", words(&plan.order)),
                ("learning rate", learning_rate.to_string()),
                ("schedule", words(schedule)),
                ("optimizer", words(optimizer)),
                ("weight decay", words(&plan.weight_decay)),
                ("clipping", words(&plan.clip)),
                ("augmentation", words(&plan.augmentation)),
                ("evaluation interval", words(&plan.evaluate_every)),
                ("patience", words(&plan.patience)),
                ("network it starts from, and what is frozen", words(&plan.transfer)),
                ("average of weights", words(&plan.averaging)),
            ]
        };
        let pairs = settings(self).into_iter().zip(settings(now));
        pairs.filter(|(old, new)| old != new).map(|((name, old), (_, new))| (name, old, new)).collect()
    }
}

/// Full batches of a pass over examples; a pass is a step or more.
fn epoch(examples: usize, batch_size: usize) -> usize {
    examples.checked_div(batch_size).unwrap_or(0).max(1)
}

/// A setting as a file has it.
fn words(setting: &impl Serialize) -> String {
    serde_json::to_string(setting).expect("settings are numbers and names").replace('"', "")
}
