//! Conversion of running statistics from one convention to another, with notes on what changed.

use crate::convention::names::{Convention, DARKNET_EPSILON};
use crate::options::averaging::{Averaging, Estimator, UpdateWeight};
use crate::options::config::Config;
use crate::options::error::ConfigError;
use crate::statistics::running::RunningStatistics;
use std::fmt;

/// A conversion of running statistics between conventions, and what is known of the training they come from.
///
/// Means go over as they are. A running variance by the other estimator is multiplied by (n - 1) / n to the population
/// variance, by n / (n - 1) to the sample variance, n being the values a channel in a batch. It holds what k updates
/// have left of its start value 1, `share = old weight ^ k`, and that knows no estimator; with k known it is exact:
///
/// ```text
/// converted = (variance - share) * factor + share
/// ```
///
/// What is not known is not guessed: without n the variance stays as it is, and a [`Note`] says so. A count of batches that
/// the statistics contradict is not used, and a note says that.
///
/// Haiku's averages are without a share of their start, others' have one: they go over as they are, so that the layer evaluates
/// as it did, and a note says so.
///
/// Darknet divides by sqrt(variance) + e, e = 1e-6. From Darknet that becomes variance + 2 e sqrt(variance) with eps e^2 inside
/// the root, to Darknet (sqrt(variance + eps) - e)^2: the same divisor, exactly. (What is converted to Darknet is for its file: a layer
/// here divides by the root of [`Converted::variance`] + 1e-12, which is less by up to 1e-6.)
///
/// ```
/// use batchnorm::{BatchNorm, Conversion, Convention};
/// // BatchNorm2d of PyTorch, trained by 2000 batches of 8 x 16 x 16 values a channel.
/// let conversion = Conversion::new(Convention::PyTorch, Convention::Keras).values(8 * 16 * 16);
/// let converted = conversion.statistics(&[0.5, -1.0], &[2.0, 0.25], Some(2000))?;
/// for note in &converted.notes {
///     println!("{note}");
/// }
/// assert_eq!(converted.variance[0], 2.0 * 2047.0 / 2048.0);
/// assert_eq!(converted.batches, None); // Keras keeps no count
/// assert_eq!(converted.config.epsilon, 1e-5); // as it was trained: Keras' default is 1e-3
///
/// let mut layer = converted.config.clone().build()?;
/// layer.set_running(converted.running()?)?;
/// # Ok::<(), batchnorm::ConfigError>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Conversion {
    from: Convention,
    to: Convention,
    values: Option<u64>,
    updates: Option<u64>,
    averaging: Averaging,
    epsilon: f64,
}

/// The results of a conversion.
#[derive(Debug, Clone, PartialEq)]
pub struct Converted {
    /// Running mean of each channel.
    pub mean: Vec<f64>,
    /// Running variance of each channel by the target's estimator, unless a note says that it could not be converted.
    pub variance: Vec<f64>,
    /// The target's count of batches, if it keeps one.
    pub batches: Option<u64>,
    /// The target's options, with the eps and the update weights of the training.
    pub config: Config,
    /// Notes on what differs between the two and what was done about it; what does not differ has no note.
    pub notes: Vec<Note>,
}

/// A point in which two conventions differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Difference {
    /// The names of the numbers.
    Names,
    /// The variance that the running variance estimates.
    Estimator,
    /// What is left of the averages' start values, of which one has none.
    Start,
    /// The value whose weight `momentum` is, or its default.
    Momentum,
    /// The default of eps.
    Epsilon,
    /// The count of batches, which some keep.
    Batches,
}

/// One difference, explained in one sentence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    /// The point in which the conventions differ.
    pub difference: Difference,
    /// The sentence: what was done about it, or is left to do.
    pub sentence: String,
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(&self.sentence)
    }
}

impl Conversion {
    /// A conversion from one convention to another, for a layer that was trained with the defaults of the first.
    pub fn new(from: Convention, to: Convention) -> Conversion {
        let averaging = from.config().averaging;
        Conversion { from, to, values: None, updates: None, averaging, epsilon: from.default_epsilon() }
    }

    /// Sets the number of values a channel in every batch of the training: the batch size, times height and width
    /// behind a convolution.
    #[must_use]
    pub fn values(self, values: u64) -> Conversion {
        Conversion { values: Some(values), ..self }
    }

    /// Sets the number of updates that the statistics have had, where no count of batches tells.
    #[must_use]
    pub fn updates(self, updates: u64) -> Conversion {
        Conversion { updates: Some(updates), ..self }
    }

    /// Sets how the running statistics followed the batches, if not by the default ([`Convention::update_weight`]).
    #[must_use]
    pub fn averaging(self, averaging: impl Into<Averaging>) -> Conversion {
        Conversion { averaging: averaging.into(), ..self }
    }

    /// Sets the eps of the training, if it was not the default; of Darknet what it adds to the deviation.
    #[must_use]
    pub fn epsilon(self, epsilon: f64) -> Conversion {
        Conversion { epsilon, ..self }
    }

    /// Converts running statistics, one value for each channel; `batches` is the count that came with them
    /// (`num_batches_tracked`), `None` if there was none. It is taken for the number of updates, if that was not
    /// [given](Self::updates); unless the statistics contradict it: 0 beside statistics that are not at their start, or so
    /// few batches that more of the variance's start value would be left than it has.
    ///
    /// # Errors
    /// No channel, different lengths, NaN or infinity, a negative variance; fewer than 2 values a channel where the
    /// estimators differ; a variance below what the given number of updates leaves of its start value, which no
    /// training has; an eps that is not finite or negative.
    pub fn statistics(
        &self,
        running_mean: &[f64],
        running_variance: &[f64],
        batches: Option<u64>,
    ) -> Result<Converted, ConfigError> {
        // The same checks as where statistics are installed in a layer.
        let (mean, variance) = {
            let checked = RunningStatistics::from_parts(running_mean, running_variance, 0)?;
            (checked.mean().to_vec(), checked.variance().to_vec())
        };
        if !(self.epsilon.is_finite() && self.epsilon >= 0.0) {
            return Err(ConfigError::Epsilon { got: self.epsilon });
        }
        let config =
            self.to.config().epsilon(self.inner_epsilon()).averaging(self.new_averaging()).channels(mean.len());
        config.check()?;
        let contradiction = batches.and_then(|batches| self.contradiction(&mean, &variance, batches));
        let batches = if contradiction.is_none() { batches } else { None };
        let start = self.from.start_variance();
        let moved = mean.iter().zip(&variance).any(|(&mean, &variance)| mean != 0.0 || variance != start);
        let updates = self.updates.or(batches);
        let mut notes = Vec::new();
        let mut note = |difference, sentence: Option<String>| {
            notes.extend(sentence.map(|sentence| Note { difference, sentence }));
        };
        note(Difference::Names, self.names());
        let (variance, sentence) = self.variance(variance, updates)?;
        note(Difference::Estimator, sentence);
        note(Difference::Start, self.start(updates));
        note(Difference::Momentum, self.momentum());
        let (variance, sentence) = self.eps(variance);
        note(Difference::Epsilon, sentence);
        let (batches, sentence) = match contradiction {
            contradiction if batches.is_none() && self.to == Convention::Haiku => {
                let (count, made) = self.counter(moved);
                let said = contradiction.into_iter().chain([made]).collect::<Vec<String>>().join(" ");
                (Some(count), Some(said))
            }
            Some(sentence) => (self.updates.filter(|_| self.to.keys().batches.is_some()), Some(sentence)),
            None => self.batches(batches),
        };
        note(Difference::Batches, sentence);
        Ok(Converted { mean, variance, batches, config, notes })
    }

    /// The note on names that differ.
    fn names(&self) -> Option<String> {
        let names = |convention: Convention| {
            let keys = convention.keys();
            [keys.gamma, keys.beta, keys.running_mean, keys.running_variance]
        };
        let (old_names, new_names) = (names(self.from), names(self.to));
        let differing = || old_names.iter().zip(new_names).filter(|(old, new)| *old != new);
        let list = differing().map(|(old, new)| format!("{old} is {new}")).collect::<Vec<_>>().join(", ");
        (differing().count() > 0).then(|| format!("Names: {}'s {list} in {}.", self.from, self.to))
    }

    /// The sentence that says so, if a count of batches cannot belong to these statistics.
    fn contradiction(&self, mean: &[f64], variance: &[f64], batches: u64) -> Option<String> {
        let start = self.from.start_variance();
        let moved = |channel: usize| mean[channel] != 0.0 || variance[channel] != start;
        let name = self.from.keys().batches.unwrap_or("the count of batches");
        if batches == 0 {
            // PyTorch makes it up for files without one.
            let channel = (0..mean.len()).find(|&channel| moved(channel))?;
            let (mean, variance) = (mean[channel], variance[channel]);
            return Some(format!(
                "Count: {name}, 0, cannot belong to these statistics, which have left their start (channel {channel} has mean {mean:?} and variance {variance:?}); it was not used."
            ));
        }
        let share = self.share_of_start(batches);
        let channel = variance.iter().position(|&variance| is_below(variance, share))?;
        let (got, weight) = (
            variance[channel],
            self.averaging.update_weight().map_or("1 / count".into(), |weight| shown(weight.new_value())),
        );
        Some(format!(
            "Count: {name}, {batches}, cannot belong to these statistics, for {batches} updates by {weight} leave {share:.2e} of the start value 1 in a running variance, and channel {channel} has {got:?}; it was not used (if the update weight was another, give it by `Conversion::averaging`)."
        ))
    }

    /// The variance by the target's estimator, as far as it can be converted, and the note on it.
    fn variance(&self, variance: Vec<f64>, updates: Option<u64>) -> Result<(Vec<f64>, Option<String>), ConfigError> {
        let (from, to) = (self.from.estimator(), self.to.estimator());
        if from == to {
            return Ok((variance, None));
        }
        let name = |estimator| if estimator == Estimator::Sample { "sample" } else { "population" };
        let differs =
            format!("Variance: {} stores the {}, {} the {} variance", self.from, name(from), self.to, name(to));
        let fraction = |n: &str| {
            if to == Estimator::Sample { format!("{n} / ({n} - 1)") } else { format!("({n} - 1) / {n}") }
        };
        let Some(n) = self.values else {
            let sentence = format!(
                "{differs}; it was left as it is, for the number n of values a channel in a batch, which makes the factor {}, is not known.",
                fraction("n")
            );
            return Ok((variance, Some(sentence)));
        };
        let factor = from.factor_to(to, n)?;
        let factor_text = fraction(&n.to_string());
        // The start value 1, of which so much is left in the variance, knows no estimator: the factor is for the rest.
        let (share, done) = match updates {
            Some(k) => {
                let done = match self.share_of_start(k) {
                    0.0 => format!("it was multiplied by {factor_text}; nothing of its start value 1 is left in it"),
                    share => format!(
                        "what {k} updates left of its start value 1, {share:.1e}, was taken out, the rest multiplied by {factor_text}, and it was put back"
                    ),
                };
                (self.share_of_start(k), done)
            }
            None => (
                0.0,
                format!(
                    "it was multiplied by {factor_text}, with what is left in it of its start value 1, for the number of updates is not known"
                ),
            ),
        };
        for (channel, &got) in variance.iter().enumerate() {
            if is_below(got, share) {
                let updates = updates.unwrap_or(0);
                return Err(ConfigError::BelowStart { argument: "running_variance", channel, got, share, updates });
            }
        }
        let converted = variance.iter().map(|variance| ((variance - share) * factor + share).max(0.0));
        Ok((converted.collect(), Some(format!("{differs}; {done}."))))
    }

    /// How the target's averages follow the batches: by the training's weights, and without a share of the start where that is the
    /// target's way.
    fn new_averaging(&self) -> Averaging {
        match (self.to, self.averaging) {
            (_, Averaging::Cumulative) => Averaging::Cumulative,
            (Convention::Haiku, Averaging::Exponential(weight) | Averaging::Debiased(weight)) => {
                Averaging::Debiased(weight)
            }
            // What was without a share of its start has none later on either.
            (_, Averaging::Exponential(weight) | Averaging::Debiased(weight)) => Averaging::Exponential(weight),
        }
    }

    /// The part of a start value that so many updates leave in an average that takes none out.
    fn left_of_start(&self, updates: u64) -> f64 {
        self.averaging.update_weight().map_or(f64::from(u8::from(updates == 0)), |weight| weight.left_of_start(updates))
    }

    /// What so many updates leave of the running variance's start value.
    fn share_of_start(&self, updates: u64) -> f64 {
        match self.averaging {
            Averaging::Debiased(_) if updates > 0 => 0.0,
            _ => self.from.start_variance() * self.left_of_start(updates),
        }
    }

    /// The note on start values, where one of the two takes them out of its averages.
    fn start(&self, updates: Option<u64>) -> Option<String> {
        let [from, to] = [self.from, self.to].map(|convention| convention == Convention::Haiku);
        let share = match updates {
            Some(updates) => format!("{:.1e} of it after {updates} updates", self.left_of_start(updates)),
            None => String::from("of a share that the number of updates would tell"),
        };
        let (with, without) = if to { (self.from, self.to) } else { (self.to, self.from) };
        (from != to).then(|| {
            format!(
                "Start: {with}'s averages hold what is left of their start values, {share}, {without}'s hold none; they were left as \
                 they are, so that the layer evaluates as before."
            )
        })
    }

    /// The note on `momentum`: its meaning, its value and the target's default.
    fn momentum(&self) -> Option<String> {
        let (from, to) = (self.from, self.to);
        let Some(weight) = self.averaging.update_weight() else {
            // Of the frameworks PyTorch alone has a plain mean (momentum=None).
            return (to != Convention::PyTorch).then(|| {
                format!("Momentum: {from}'s plain mean of all batches is unknown to {to}; set {to}'s momentum before training goes on.")
            });
        };
        let weighed = |convention: Convention| if convention.weighs_the_new() { "new" } else { "old" };
        let (old_momentum, new_momentum) = (shown(from.momentum(weight)), shown(to.momentum(weight)));
        // A batch that replaces more than half is hardly meant: a momentum was taken for the other weight.
        if weight.new_value() > 0.5 {
            let share = shown(weight.new_value());
            return Some(format!(
                "Momentum: each batch replaces {share} of the statistics; if {old_momentum} was meant as the weight of the {} value, by another convention than {from}'s, say so by `UpdateWeight::{}({old_momentum})`.",
                if from.weighs_the_new() { "old" } else { "new" },
                if from.weighs_the_new() { "of_old" } else { "of_new" },
            ));
        }
        let default = to.default_weight();
        let compared = if same_weight(weight, default) {
            format!("which is {to}'s default")
        } else {
            format!("to be set, for {to}'s default is {}", shown(to.momentum(default)))
        };
        if weighed(from) != weighed(to) {
            return Some(format!(
                "Momentum: {from}'s {old_momentum} is the weight of the {} value, {to} names that of the {} one: {new_momentum}, {compared}.",
                weighed(from),
                weighed(to)
            ));
        }
        (!same_weight(weight, default)).then(|| {
            format!("Momentum: {old_momentum} in both, as the weight of the {} value; {compared}.", weighed(from))
        })
    }

    /// The eps of the converted layer, inside the root.
    fn inner_epsilon(&self) -> f64 {
        match (self.from, self.to) {
            (Convention::Darknet, _) => self.epsilon * self.epsilon,
            (_, Convention::Darknet) => self.to.config().epsilon,
            _ => self.epsilon,
        }
    }

    /// The variance with which the target divides by the same, and the note on eps, which is kept as trained.
    fn eps(&self, variance: Vec<f64>) -> (Vec<f64>, Option<String>) {
        let (from, to, eps) = (self.from, self.to, self.epsilon);
        let default = to.default_epsilon();
        match (from, to) {
            (Convention::Darknet, Convention::Darknet) => (
                variance,
                (eps != default)
                    .then(|| format!("Epsilon: {eps:?}, where Darknet itself adds {default:?} to the deviation.")),
            ),
            (Convention::Darknet, _) => (
                variance.iter().map(|variance| variance + 2.0 * eps * variance.sqrt()).collect(),
                Some(format!(
                    "Epsilon: Darknet adds {eps:?} to the deviation, outside the root, which is the same as {:?} inside it and variance + {:?} sqrt(variance), which the variance became; the eps is to be set, for {to}'s default is {default:?}.",
                    self.inner_epsilon(),
                    2.0 * eps
                )),
            ),
            (_, Convention::Darknet) => (
                variance.iter().map(|variance| ((variance + eps).sqrt() - DARKNET_EPSILON).max(0.0).powi(2)).collect(),
                Some(format!(
                    "Epsilon: Darknet adds {DARKNET_EPSILON:?} to the deviation, outside the root; so that it divides by the same as with {eps:?} inside, the variance became (sqrt(variance + {eps:?}) - {DARKNET_EPSILON:?})^2."
                )),
            ),
            _ => (
                variance,
                (eps != default).then(|| {
                    format!("Epsilon: kept as trained, {eps:?}; to be set, for {to}'s default is {default:?}.")
                }),
            ),
        }
    }

    /// Haiku's count where the file has none, and the note on it: how its averages go on depends on it.
    fn counter(&self, moved: bool) -> (u64, String) {
        let made_of = |count: u64| (count, format!("Count: counter was made of the number of updates, {count}."));
        match (self.updates, self.averaging.update_weight()) {
            (Some(count), _) => made_of(count),
            (None, Some(weight)) if moved => {
                // Powers of two, up to what Haiku's 32 bits have room for beside a long training.
                let gone = |count: &u64| weight.left_of_start(*count) < f64::EPSILON;
                let count = (0..=30).map(|power| 1 << power).find(gone).unwrap_or(1 << 30);
                let sentence = format!(
                    "Count: counter was made up as {count}, after which nothing is left of a start, so that training goes on from these averages; the number of updates is not known."
                );
                (count, sentence)
            }
            _ => {
                (0, String::from("Count: counter was made up as 0: these are statistics that no batch has gone into."))
            }
        }
    }

    /// The count of batches for the target, and the note on it.
    fn batches(&self, batches: Option<u64>) -> (Option<u64>, Option<String>) {
        let kept_by = if self.to.keys().batches.is_some() { self.to } else { self.from };
        let name = kept_by.keys().batches.unwrap_or("the count of batches");
        match (self.to.keys().batches.is_some(), batches) {
            (false, None) => (None, None),
            (false, Some(count)) => {
                (None, Some(format!("Count: {name}, {count}, was dropped: {} keeps none.", self.to)))
            }
            (true, Some(count)) => (Some(count), None),
            // A file from before the framework counted batches, which it reads as it is.
            (true, None) if self.from.keys().batches.is_some() => {
                let sentence = format!("Count: {name} is absent, which is fine: it matters to momentum=None alone.");
                (self.updates, Some(sentence))
            }
            (true, None) => match self.updates {
                Some(count) => {
                    (Some(count), Some(format!("Count: {name} was made of the number of updates, {count}.")))
                }
                None => {
                    let why = format!("for {} keeps none; it matters to momentum=None alone", self.from);
                    (Some(0), Some(format!("Count: {name} was made up as 0, {why}.")))
                }
            },
        }
    }
}

impl Converted {
    /// The converted numbers as running statistics to be installed; with the count of batches, or 0.
    ///
    /// # Errors
    /// As [`RunningStatistics::from_parts`]: none for what a conversion gave.
    pub fn running(&self) -> Result<RunningStatistics, ConfigError> {
        RunningStatistics::from_parts(&self.mean, &self.variance, self.batches.unwrap_or(0))
    }

    /// The note on a difference, if there is one.
    pub fn note(&self, difference: Difference) -> Option<&Note> {
        self.notes.iter().find(|note| note.difference == difference)
    }
}

/// True if a running variance is below what is left in it of its start; one stored in f32 may be so by its rounding.
fn is_below(variance: f64, share: f64) -> bool {
    variance < share * (1.0 - 1e-6)
}

/// True if two weights are the same number but for the rounding of one minus the other.
fn same_weight(one: UpdateWeight, other: UpdateWeight) -> bool {
    (one.new_value() - other.new_value()).abs() < 1e-12
}

/// A weight as text, without the rounding of one minus the other.
fn shown(weight: f64) -> String {
    let rounded = (weight * 1e12).round() / 1e12;
    format!("{rounded:?}")
}
