//! A chain of layers as in a convolutional network, for what a training step keeps in memory.
//!
//! In front of each batch norm stands a depthwise 1x1 convolution without bias, h -> w h, whose backward pass needs its
//! input again, as any convolution's does. So between two layers the ordinary form keeps the batch norm's input and its
//! output, the invertible form the output alone.

use batchnorm::{Activation, Axes, BatchNorm, Config, Invertible, Saved, View, ViewMut};

#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Form {
    /// The input kept, dx in an array of its own.
    Ordinary,
    /// The input kept, dx over dy.
    BackwardInPlace,
    /// The output kept, y over x and dx over dy.
    Invertible,
}

pub const FORMS: [Form; 3] = [Form::Ordinary, Form::BackwardInPlace, Form::Invertible];

pub struct Stack {
    layers: Vec<BatchNorm>,
    /// Of each convolution, one for each channel.
    weights: Vec<Vec<f32>>,
    shape: [usize; 4],
}

/// What a layer's forward pass leaves, beside its output.
enum Left {
    Input(Vec<f32>, Box<Saved>),
    Nothing(Box<Invertible<f32>>),
}

impl Stack {
    /// `depth` layers on arrays of a shape, NCHW.
    pub fn new(depth: usize, shape: [usize; 4]) -> Stack {
        let channels = shape[1];
        let layer = || {
            let config = Config::pytorch().activation(Activation::LeakyRelu(0.01)).channels(channels);
            let mut layer = config.build().expect("a right configuration");
            let gamma: Vec<f64> = (0..channels).map(|c| if c % 2 == 0 { 1.0 } else { -0.5 }).collect();
            layer.set_gamma(&gamma).expect("as many as channels");
            layer.set_beta(&vec![0.1; channels]).expect("as many as channels");
            layer
        };
        let weights = (0..depth).map(|l| (0..channels).map(|c| 0.5 + (l + c) as f32 / 16.0).collect()).collect();
        Stack { layers: (0..depth).map(|_| layer()).collect(), weights, shape }
    }

    fn view<'v>(&self, data: &'v [f32]) -> View<'v, f32> {
        View::new(data, &self.shape, Axes::NCHW).expect("an array of the shape")
    }

    fn view_mut<'v>(&self, data: &'v mut [f32]) -> ViewMut<'v, f32> {
        ViewMut::new(data, &self.shape, Axes::NCHW).expect("an array of the shape")
    }

    /// One step's forward and backward pass with half the squared output as the loss; all gradients of parameters.
    pub fn step(&self, input: &[f32], form: Form) -> Vec<f64> {
        // The input of each convolution: the output of the layer below it, and the network's input.
        let mut outputs: Vec<Vec<f32>> = Vec::new();
        let mut left = Vec::new();
        for (layer, weights) in self.layers.iter().zip(&self.weights) {
            let mut x = outputs.last().map_or(input, |below| &below[..]).to_vec();
            self.scale(&mut x, weights);
            let mut layer = layer.clone();
            if form == Form::Invertible {
                let (saved, _) = layer.train_invertible(&mut self.view_mut(&mut x)).expect("a right call");
                left.push(Left::Nothing(Box::new(saved)));
                outputs.push(x);
            } else {
                let mut y = vec![0.0; x.len()];
                let (saved, _) = layer.train_into(&self.view(&x), &mut self.view_mut(&mut y)).expect("a right call");
                left.push(Left::Input(x, Box::new(saved)));
                outputs.push(y);
            }
        }
        // The gradient of the loss is the output itself, which the ordinary form does not need again.
        let mut gradient = match form {
            Form::Invertible => outputs.last().expect("a layer").clone(),
            _ => outputs.pop().expect("a layer"),
        };
        let mut all = Vec::new();
        for (layer, weights) in self.layers.iter().zip(&self.weights).rev() {
            let parameters = match left.pop().expect("as many as layers") {
                Left::Nothing(saved) => {
                    let y = outputs.pop().expect("as many as layers");
                    layer.backward_invertible(&self.view(&y), &mut self.view_mut(&mut gradient), &saved)
                }
                Left::Input(x, saved) if form == Form::BackwardInPlace => {
                    layer.backward_in_place(&self.view(&x), &mut self.view_mut(&mut gradient), &saved)
                }
                Left::Input(x, saved) => {
                    let mut dx = vec![0.0; x.len()];
                    let (x, dy) = (self.view(&x), self.view(&gradient));
                    let parameters = layer.backward_into(&x, &dy, &saved, &mut self.view_mut(&mut dx));
                    gradient = dx;
                    parameters
                }
            }
            .expect("a right call");
            all.extend(parameters.dgamma.into_iter().chain(parameters.dbeta));
            let below = outputs.last().map_or(input, |below| &below[..]);
            all.extend(self.weight_gradients(below, &gradient));
            self.scale(&mut gradient, weights);
            if form != Form::Invertible {
                outputs.pop();
            }
        }
        all
    }

    /// A convolution in place, or the gradient of its input.
    fn scale(&self, values: &mut [f32], weights: &[f32]) {
        let plane = self.shape[2] * self.shape[3];
        for (i, run) in values.chunks_exact_mut(plane).enumerate() {
            run.iter_mut().for_each(|value| *value *= weights[i % weights.len()]);
        }
    }

    fn weight_gradients(&self, input: &[f32], gradient: &[f32]) -> Vec<f64> {
        let (channels, plane) = (self.shape[1], self.shape[2] * self.shape[3]);
        let mut sums = vec![0.0; channels];
        for (i, (x, dy)) in input.chunks_exact(plane).zip(gradient.chunks_exact(plane)).enumerate() {
            sums[i % channels] += x.iter().zip(dy).map(|(x, dy)| f64::from(x * dy)).sum::<f64>();
        }
        sums
    }
}
