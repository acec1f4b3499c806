//! The training loop: plain stochastic gradient descent on the cross-entropy, one step at a time.

use std::time::{Duration, Instant};

use burn::module::Module;
use burn::nn::loss::{CrossEntropyLoss, CrossEntropyLossConfig};
use burn::optim::{GradientsParams, ModuleOptimizer, SgdConfig};
use burn::tensor::{Device, Int, Tensor, TensorData};
use chacha20::ChaCha8Rng;
use rand::seq::SliceRandom;

use crate::digits::{Images, PIXELS};
use crate::network::{Forward, Network};
use crate::random::{Purpose, generator};

/// The order in which batches come: in every pass over the images a new shuffle, in full batches; the images left
/// over at a pass's end wait for the next shuffle.
#[derive(Debug)]
pub struct Batches {
    generator: ChaCha8Rng,
    order: Vec<usize>,
    next: usize,
    size: usize,
}

impl Batches {
    /// Batches of `size` out of `images` images, by a seed.
    ///
    /// # Panics
    /// Unless `1 <= size <= images`.
    pub fn new(images: usize, size: usize, seed: u64) -> Batches {
        assert!((1..=images).contains(&size), "a batch of {size} out of {images} images");
        // Starts at the end of a pass, so that the first batch shuffles.
        Batches { generator: generator(seed, Purpose::Order), order: (0..images).collect(), next: images, size }
    }

    /// The places of the next batch's images.
    pub fn draw(&mut self) -> &[usize] {
        if self.next + self.size > self.order.len() {
            self.order.shuffle(&mut self.generator);
            self.next = 0;
        }
        self.next += self.size;
        &self.order[self.next - self.size..self.next]
    }
}

/// The loss and accuracy of a network on images that it is not trained on.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Score {
    /// Mean cross-entropy, in nats.
    pub loss: f64,
    /// Share of images whose greatest score is at their class; NaN scores count as wrong.
    pub accuracy: f64,
}

/// A pass over images in evaluation.
#[derive(Debug)]
pub struct Evaluation {
    /// Its loss and accuracy.
    pub score: Score,
    /// All scores (logits), image after image.
    pub scores: Vec<f32>,
    /// The inputs of the last hidden layer's sigmoids, `[images, units]`.
    pub inputs: Option<Tensor<2>>,
}

/// A network in training.
pub struct Training<'d> {
    network: Network,
    optimizer: ModuleOptimizer,
    criterion: CrossEntropyLoss,
    batches: Batches,
    images: &'d Images,
    device: Device,
    learning_rate: f64,
    time: Duration,
}

impl<'d> Training<'d> {
    /// The training of a start network on an autodiff device.
    ///
    /// # Panics
    /// As [`Batches::new`].
    pub fn new(
        network: Network,
        images: &'d Images,
        batch_size: usize,
        learning_rate: f64,
        seed: u64,
        device: &Device,
    ) -> Self {
        Training {
            network,
            optimizer: SgdConfig::new().init(),
            criterion: CrossEntropyLossConfig::new().init(device),
            batches: Batches::new(images.len(), batch_size, seed),
            images,
            device: device.clone(),
            learning_rate,
            time: Duration::ZERO,
        }
    }

    /// Skips the batches of the first `steps` steps, which the network has taken already, so that the training goes on
    /// with the batch that follows them.
    pub fn skip(&mut self, steps: usize) {
        for _ in 0..steps {
            self.batches.draw();
        }
    }

    /// One step: the next batch forward, backward, weights -= learning rate * gradient. The batch's loss before the
    /// step, in nats; where it is not finite the step is not taken.
    pub fn step(&mut self) -> f64 {
        let start = Instant::now();
        let batch = self.images.select(self.batches.draw());
        let (pixels, classes) = tensors(&batch, &self.device);
        let loss = self.criterion.forward(self.network.forward_train(pixels), classes);
        let value = f64::from(loss.clone().into_scalar::<f32>());
        if value.is_finite() {
            let gradients = GradientsParams::from_grads(loss.backward(), &self.network);
            self.network = self.optimizer.step(self.learning_rate, self.network.clone(), gradients);
        }
        self.time += start.elapsed();
        value
    }

    /// Seconds spent in [`step`](Self::step) so far: batches drawn, both passes, update. Evaluation is not in it.
    pub fn seconds(&self) -> f64 {
        self.time.as_secs_f64()
    }

    /// Evaluates the network on images, by its running statistics.
    pub fn evaluate(&self, images: &Images) -> Evaluation {
        let network = self.network.valid();
        let device = self.device.clone().without_autodiff();
        let (pixels, classes) = tensors(images, &device);
        let Forward { scores, inputs } = network.forward_eval(pixels);
        let loss = f64::from(
            CrossEntropyLossConfig::new().init(&device).forward(scores.clone(), classes).into_scalar::<f32>(),
        );
        let scores: Vec<f32> = scores.into_data().iter::<f32>().collect();
        let per_image = scores.chunks_exact(scores.len() / images.len());
        let right = per_image.zip(&images.classes).filter(|(scores, class)| best(scores) == Some(usize::from(**class)));
        let accuracy = right.count() as f64 / images.len() as f64;
        Evaluation { score: Score { loss, accuracy }, scores, inputs }
    }

    /// The Frobenius norm of the loss's gradient in the weights of each layer, from the pixels to the classes, on
    /// these images as one training batch.
    ///
    /// It is taken on a copy, running statistics included: the training itself does not change.
    pub fn gradient_norms(&self, images: &Images) -> Vec<f64> {
        // (A mere clone would give its batches to the network.)
        let network = self.network.clone().train();
        let (pixels, classes) = tensors(images, &self.device);
        let gradients = self.criterion.forward(network.forward_train(pixels), classes).backward();
        let norm = |weights: Tensor<2>| {
            let gradient = weights.grad(&gradients).expect("every layer is part of the loss").into_data();
            gradient.iter::<f64>().map(|value| value * value).sum::<f64>().sqrt()
        };
        network.weights().map(norm).collect()
    }

    /// The network as it is now.
    pub fn network(&self) -> &Network {
        &self.network
    }
}

fn tensors(images: &Images, device: &Device) -> (Tensor<2>, Tensor<1, Int>) {
    let pixels = TensorData::new(images.pixels.clone(), [images.len(), PIXELS]);
    let classes: Vec<i64> = images.classes.iter().map(|&class| i64::from(class)).collect();
    let classes = TensorData::new(classes, [images.len()]);
    (Tensor::from_data(pixels, device), Tensor::from_data(classes, device))
}

/// The place of the greatest score; `None` if one of them is NaN.
pub(crate) fn best(scores: &[f32]) -> Option<usize> {
    if scores.iter().any(|score| score.is_nan()) {
        return None;
    }
    (0..scores.len()).max_by(|&a, &b| scores[a].total_cmp(&scores[b]))
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
