//! What the benchmarks share: data of a case, and the right answers in `f64` from the readable twin.

use batchnorm::{Axes, Element, reference::compact};

/// Added to the variance.
pub const EPSILON: f64 = 1e-5;

/// One tensor order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// Channels before the plane.
    Nchw,
    /// Channels last.
    Nhwc,
}

/// The arrays of a case: (samples, channels, plane), dense in one order.
pub struct Data<T> {
    /// In the order's own sequence of axes.
    pub shape: [usize; 3],
    /// Which axis holds the channels.
    pub axes: Axes<'static>,
    /// Input, upstream gradient and residual.
    pub x: Vec<T>,
    pub dy: Vec<T>,
    pub residual: Vec<T>,
    /// One value a channel.
    pub gamma: Vec<f32>,
    pub beta: Vec<f32>,
    channels: usize,
    order: Order,
}

/// What follows the normalisation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fusion {
    Nothing,
    Relu,
    AddRelu,
}

/// The right answers, in the order of the arrays.
pub struct Answers {
    pub y: Vec<f64>,
    pub dx: Vec<f64>,
    pub dresidual: Vec<f64>,
    pub dgamma: Vec<f64>,
    pub dbeta: Vec<f64>,
}

impl<T: Element> Data<T> {
    /// The same values in every run.
    pub fn new(samples: usize, channels: usize, plane: usize, order: Order) -> Data<T> {
        let mut state = 1u64;
        let mut random = move || {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            (state >> 40) as f64 / (1u64 << 24) as f64 - 0.5
        };
        let len = samples * channels * plane;
        let (shape, axes) = match order {
            Order::Nchw => ([samples, channels, plane], Axes::NCHW),
            Order::Nhwc => ([samples, plane, channels], Axes::NHWC),
        };
        let mut array = |spread: f64, mean: f64| (0..len).map(|_| T::from_f64(random() * spread + mean)).collect();
        let (x, dy, residual) = (array(6.0, 1.5), array(2.0, 0.0), array(2.0, 0.0));
        let gamma = (0..channels).map(|channel| 0.5 + channel as f32 / channels as f32).collect();
        let beta = (0..channels).map(|channel| channel as f32 / channels as f32 - 0.5).collect();
        Data { shape, axes, x, dy, residual, gamma, beta, channels, order }
    }

    /// Bytes of one array.
    pub fn bytes(&self) -> u64 {
        size_of_val(&self.x[..]) as u64
    }

    /// Places of a channel's values.
    fn places(&self, channel: usize) -> impl Iterator<Item = usize> + use<T> {
        let (channels, order) = (self.channels, self.order);
        let plane = self.shape[if order == Order::Nchw { 2 } else { 1 }];
        let samples = self.shape[0];
        (0..samples * plane).map(move |index| match order {
            Order::Nchw => (index / plane * channels + channel) * plane + index % plane,
            Order::Nhwc => index * channels + channel,
        })
    }

    /// By the closed form in plain loops. `y` of the residual's mask is the exact one.
    pub fn answers(&self, fusion: Fusion) -> Answers {
        let zeros = vec![0.0; self.x.len()];
        let mut all = Answers { y: zeros.clone(), dx: zeros.clone(), dresidual: zeros, dgamma: vec![], dbeta: vec![] };
        for channel in 0..self.channels {
            let places: Vec<usize> = self.places(channel).collect();
            let of = |array: &[T]| places.iter().map(|&place| array[place].to_f64()).collect::<Vec<_>>();
            let (x, mut dy, residual) = (of(&self.x), of(&self.dy), of(&self.residual));
            let (gamma, beta) = (f64::from(self.gamma[channel]), f64::from(self.beta[channel]));
            let mut y = compact::forward(&x, gamma, beta, EPSILON).y;
            if fusion == Fusion::AddRelu {
                y.iter_mut().zip(&residual).for_each(|(y, residual)| *y += residual);
            }
            if fusion != Fusion::Nothing {
                dy.iter_mut().zip(&y).for_each(|(dy, &y)| *dy = if y > 0.0 { *dy } else { 0.0 });
                y.iter_mut().for_each(|y| *y = y.max(0.0));
            }
            let gradients = compact::backward(&x, gamma, EPSILON, &dy);
            all.dgamma.push(gradients.dgamma);
            all.dbeta.push(gradients.dbeta);
            for (index, &place) in places.iter().enumerate() {
                (all.y[place], all.dx[place], all.dresidual[place]) = (y[index], gradients.dx[index], dy[index]);
            }
        }
        all
    }
}

impl<T: Element> Data<T> {
    /// The outputs where mean and variance are constants.
    pub fn evaluated(&self, fusion: Fusion, mean: f64, variance: f64) -> Vec<f64> {
        let mut all = vec![0.0; self.x.len()];
        for channel in 0..self.channels {
            let places: Vec<usize> = self.places(channel).collect();
            let x: Vec<f64> = places.iter().map(|&place| self.x[place].to_f64()).collect();
            let (gamma, beta) = (f64::from(self.gamma[channel]), f64::from(self.beta[channel]));
            for (y, place) in compact::forward_eval(&x, gamma, beta, mean, variance, EPSILON).into_iter().zip(places) {
                let y = if fusion == Fusion::AddRelu { y + self.residual[place].to_f64() } else { y };
                all[place] = if fusion == Fusion::Nothing { y } else { y.max(0.0) };
            }
        }
        all
    }
}

/// Half a unit in the last place of a type, relative, and a little: how far one rounding may be off.
pub fn one_rounding<T: Element>() -> f64 {
    // The spacing above 1, found by halving.
    let mut spacing = 1.0;
    while T::from_f64(1.0 + spacing / 2.0).to_f64() != 1.0 {
        spacing /= 2.0;
    }
    // In f64 the twin itself is off by some, for it sums plainly.
    if spacing < 1e-12 { 1e-12 } else { spacing * 0.51 }
}

/// Ends the program where an answer is further from the right one than `bound`, relative to the greatest.
pub fn agree<T: batchnorm::Number>(what: &str, found: &[T], right: &[f64], bound: f64) {
    assert_eq!(found.len(), right.len(), "{what}");
    let greatest = right.iter().fold(0.0f64, |greatest, value| greatest.max(value.abs()));
    for (index, (found, right)) in found.iter().zip(right).enumerate() {
        let error = (found.to_f64() - right).abs();
        assert!(error <= bound * greatest, "{what}[{index}]: {found:?} for {right}, off by {error:e}");
    }
}
