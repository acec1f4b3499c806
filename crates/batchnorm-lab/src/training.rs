//! The training loop: the cross-entropy of batches, and a network that follows its gradient, one step at a time.

use std::time::{Duration, Instant};

use burn::module::Module;
use burn::nn::loss::{CrossEntropyLoss, CrossEntropyLossConfig};
use burn::optim::GradientsParams;
use burn::tensor::{Device, Int, Tensor, TensorData};
use chacha20::ChaCha8Rng;
use rand::seq::SliceRandom;
use serde::{Deserialize, Serialize};

use crate::data::{DataError, DataSummary, Examples, Set};
use crate::network::{Forward, Network};
use crate::optimizer::{Optimizer, Settings};
use crate::random::{Purpose, generator};

/// How examples come together in batches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Order {
    /// Mixed: independent of each other, as nearly as a finite set allows.
    #[default]
    Shuffled,
    /// Sorted by class: each batch has examples of one class, but for those at the borders between classes, and the batches come mixed.
    ByClass,
}

impl Order {
    pub(crate) fn is_shuffled(&self) -> bool {
        *self == Order::Shuffled
    }
}

/// The order in which batches come: in every pass over the examples a new shuffle, in full batches; the examples left
/// over at a pass's end wait for the next shuffle.
#[derive(Debug)]
pub struct Batches {
    generator: ChaCha8Rng,
    order: Vec<usize>,
    next: usize,
    size: usize,
    /// The class of each example, where batches are sorted by it.
    sorted_by: Option<Vec<u8>>,
}

impl Batches {
    /// Batches of `size` out of `examples` examples, by a seed.
    ///
    /// # Panics
    /// Unless `1 <= size <= examples`.
    pub fn new(examples: usize, size: usize, seed: u64) -> Batches {
        assert!((1..=examples).contains(&size), "a batch of {size} out of {examples} examples");
        // Starts at the end of a pass, so that the first batch shuffles.
        Batches {
            generator: generator(seed, Purpose::Order),
            order: (0..examples).collect(),
            next: examples,
            size,
            sorted_by: None,
        }
    }

    /// Batches of `size` out of the examples that have these classes, in an order, by a seed.
    ///
    /// # Panics
    /// Unless `1 <= size <= classes.len()`.
    pub fn in_order(order: Order, classes: &[u8], size: usize, seed: u64) -> Batches {
        let sorted_by = (order == Order::ByClass).then(|| classes.to_vec());
        Batches { sorted_by, ..Batches::new(classes.len(), size, seed) }
    }

    /// The places of the next batch's examples.
    pub fn draw(&mut self) -> &[usize] {
        if self.next + self.size > self.order.len() {
            self.order.shuffle(&mut self.generator);
            self.next = 0;
            if let Some(classes) = &self.sorted_by {
                self.order.sort_by_key(|&at| classes[at]);
                // The batches of this pass, mixed again; what is left over by them comes last, and waits.
                let mut batches: Vec<&[usize]> = self.order.chunks_exact(self.size).collect();
                let rest = &self.order[batches.len() * self.size..];
                batches.shuffle(&mut self.generator);
                self.order = batches.into_iter().flatten().chain(rest).copied().collect();
            }
        }
        self.next += self.size;
        &self.order[self.next - self.size..self.next]
    }

    /// Draws the batches of the first `steps` steps, which a network has taken already, so that the next one is the one behind them.
    pub fn skip(&mut self, steps: usize) {
        for _ in 0..steps {
            self.draw();
        }
    }
}

/// The loss and accuracy of a network on examples that it is not trained on.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Score {
    /// Mean cross-entropy, in nats.
    pub loss: f64,
    /// Share of examples whose greatest score is at their class; NaN scores count as wrong.
    pub accuracy: f64,
}

/// A pass over examples in evaluation.
#[derive(Debug)]
pub struct Evaluation {
    /// Its loss and accuracy.
    pub score: Score,
    /// All scores (logits), example after example.
    pub scores: Vec<f32>,
    /// The inputs of the last hidden layer's activations, `[examples, units]`.
    pub inputs: Option<Tensor<2>>,
}

/// A network in training.
pub struct Training {
    network: Network,
    optimizer: Optimizer,
    criterion: CrossEntropyLoss,
    device: Device,
    seed: u64,
    step: usize,
    time: Duration,
}

impl Training {
    /// The training of a network on the device of this crate's trainings, that has taken `done` steps. The seed is that of what is dropped.
    pub fn new(network: Network, settings: Settings, seed: u64, done: usize) -> Training {
        let device = Training::device();
        let criterion = CrossEntropyLossConfig::new().init(&device);
        let optimizer = Optimizer::new(settings);
        Training { network, optimizer, criterion, device, seed, step: done, time: Duration::ZERO }
    }

    /// The device of this crate's trainings.
    pub fn device() -> Device {
        Device::default().autodiff()
    }

    /// One step: a batch forward, backward, weights along the gradient. The batch's loss before the step, in nats; where it is not finite
    /// the step is not taken.
    pub fn step(&mut self, batch: &Examples, rate: f64) -> f64 {
        let start = Instant::now();
        let (values, classes) = tensors(batch, &self.device);
        let mut dropout = generator(self.seed, Purpose::Dropout(self.step));
        let loss = self.criterion.forward(self.network.forward_train(values, &mut dropout), classes);
        let value = f64::from(loss.clone().into_scalar::<f32>());
        if value.is_finite() {
            let gradients = GradientsParams::from_grads(loss.backward(), &self.network);
            self.network = self.optimizer.step(rate, self.network.clone(), gradients);
            self.step += 1;
        }
        self.time += start.elapsed();
        value
    }

    /// Seconds spent in [`step`](Self::step) so far: both passes and the update. Evaluation is not in it.
    pub fn seconds(&self) -> f64 {
        self.time.as_secs_f64()
    }

    /// Evaluates the network on examples, by its running statistics.
    pub fn evaluate(&self, examples: &Examples) -> Evaluation {
        evaluate(&self.network.valid(), examples)
    }

    /// The Frobenius norm of the loss's gradient in the weights of each layer, from the input to the classes, on
    /// these examples as one training batch.
    ///
    /// It is taken on a copy, running statistics included: the training itself does not change.
    pub fn gradient_norms(&self, examples: &Examples) -> Vec<f64> {
        let network = self.network.apart();
        let (values, classes) = tensors(examples, &self.device);
        let scores = network.forward_train(values, &mut generator(self.seed, Purpose::Dropout(self.step)));
        network.gradient_norms(&self.criterion.forward(scores, classes).backward())
    }

    /// The input of the network for examples.
    pub fn input(&self, examples: &Examples) -> Tensor<2> {
        input(examples, &self.device)
    }

    /// The network as it is now.
    pub fn network(&self) -> &Network {
        &self.network
    }

    /// The optimiser as it is now.
    pub fn optimizer(&self) -> &Optimizer {
        &self.optimizer
    }

    /// The optimiser, to take up what another one kept.
    pub fn optimizer_mut(&mut self) -> &mut Optimizer {
        &mut self.optimizer
    }
}

/// The score of a network on a set of its data, by its running statistics.
///
/// # Errors
/// A set that cannot be read.
pub fn score(network: &Network, data: &DataSummary, set: &Set) -> Result<Score, DataError> {
    let network = network.valid();
    let (mut loss, mut right) = (0.0, 0.0);
    for portion in set.portions(network.portion()) {
        let mut portion = portion?;
        data.prepare(&mut portion);
        let score = evaluate(&network, &portion).score;
        loss += score.loss * (portion.len() as f64 / set.len() as f64);
        right += (score.accuracy * portion.len() as f64).round();
    }
    Ok(Score { loss, accuracy: right / set.len() as f64 })
}

/// A pass in evaluation of a network that is not in training.
fn evaluate(network: &Network, examples: &Examples) -> Evaluation {
    let device = Device::default();
    let (values, classes) = tensors(examples, &device);
    let Forward { scores, inputs } = network.forward_eval(values);
    let loss = CrossEntropyLossConfig::new().init(&device).forward(scores.clone(), classes).into_scalar::<f32>();
    let scores: Vec<f32> = scores.into_data().iter::<f32>().collect();
    let accuracy = right(&scores, scores.len() / examples.len(), &examples.classes) as f64 / examples.len() as f64;
    Evaluation { score: Score { loss: f64::from(loss), accuracy }, scores, inputs }
}

/// Examples whose greatest score is at their class, by the scores of all of them, so many of each.
pub(crate) fn right(scores: &[f32], of_each: usize, classes: &[u8]) -> usize {
    let per_example = scores.chunks_exact(of_each.max(1));
    per_example.zip(classes).filter(|(scores, class)| best(scores) == Some(usize::from(**class))).count()
}

/// Values of examples as the input of a network on a device.
pub(crate) fn input(examples: &Examples, device: &Device) -> Tensor<2> {
    Tensor::from_data(TensorData::new(examples.values.clone(), [examples.len(), examples.width()]), device)
}

fn tensors(examples: &Examples, device: &Device) -> (Tensor<2>, Tensor<1, Int>) {
    let classes: Vec<i64> = examples.classes.iter().map(|&class| i64::from(class)).collect();
    let classes = TensorData::new(classes, [examples.len()]);
    (input(examples, device), Tensor::from_data(classes, device))
}

/// The place of the greatest score; `None` if one of them is NaN.
pub(crate) fn best(scores: &[f32]) -> Option<usize> {
    if scores.iter().any(|score| score.is_nan()) {
        return None;
    }
    (0..scores.len()).max_by(|&a, &b| scores[a].total_cmp(&scores[b]))
}

/// What the scores of one example say: the class of the greatest, and the probability of each class (softmax) in thousandths, each rounded;
/// none if one of the scores is NaN.
pub fn answer(scores: &[f32]) -> Option<(usize, Vec<u16>)> {
    let class = best(scores)?;
    let weights: Vec<f64> = scores.iter().map(|score| f64::from(score - scores[class]).exp()).collect();
    let sum: f64 = weights.iter().sum();
    Some((class, weights.iter().map(|weight| (1000.0 * weight / sum).round() as u16).collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pass_shows_no_image_twice_and_every_pass_is_shuffled_anew() {
        let mut batches = Batches::new(10, 3, 1);
        let mut pass = || (0..3).flat_map(|_| batches.draw().to_vec()).collect::<Vec<_>>();
        let (first, second) = (pass(), pass());
        assert_ne!(first, second);
        for mut pass in [first, second] {
            pass.sort_unstable();
            pass.dedup();
            assert_eq!(pass.len(), 9);
        }
    }

    #[test]
    fn batches_by_class_have_one_and_come_mixed_and_a_pass_still_shows_nothing_twice() {
        // 40 examples of each of three classes, and one more of the last.
        let classes: Vec<u8> = (0..121).map(|at| (at / 40).min(2) as u8).collect();
        let mut batches = Batches::in_order(Order::ByClass, &classes, 10, 1);
        let mut seen = Vec::new();
        let mut of_batches = Vec::new();
        for _ in 0..12 {
            let batch = batches.draw();
            assert!(batch.iter().all(|&at| classes[at] == classes[batch[0]]), "{batch:?}");
            of_batches.push(classes[batch[0]]);
            seen.extend_from_slice(batch);
        }
        assert!(!of_batches.is_sorted());
        seen.sort_unstable();
        seen.dedup();
        assert_eq!(seen.len(), 120);
    }

    #[test]
    fn one_batch_may_be_everything() {
        let mut batches = Batches::new(4, 4, 1);
        for _ in 0..3 {
            let mut places = batches.draw().to_vec();
            places.sort_unstable();
            assert_eq!(places, [0, 1, 2, 3]);
        }
    }

    #[test]
    fn a_score_that_is_not_a_number_is_never_right() {
        assert_eq!(best(&[0.0, 3.0, 2.0]), Some(1));
        assert_eq!(best(&[0.0, f32::NAN, 2.0]), None);
    }
}
