//! What our own gradients are checked on: arrays from files, or random ones.

use super::arrays::parameters;
use super::twin::Row;
use super::{Arguments, Layer, Mode};
use crate::arrays::{Doubles, doubles};
use crate::failure::Failure;
use std::path::PathBuf;

/// More values are not checked: twin and kernels run some hundred times over them.
pub const MOST: usize = 1 << 20;
/// Of each gradient so many values at most are differentiated one by one; where there are more, those are drawn. Each costs
/// passes over the whole array, so of large ones there are fewer, down to an eighth.
pub const SAMPLE: usize = 64;
const SAMPLED_PASSES: usize = 1 << 23;
/// Where an activation bends: so near to it no value carries a gradient, for differences would step over it.
const KINK: f64 = 0.02;
/// The sizes of numbers that are checked.
const RANGE: [f64; 2] = [1e-30, 1e30];
/// The slope of the leaky rectifier, and the batch's weight in mixed statistics.
pub const SLOPE: f64 = 0.1;
pub const SHARE: f64 = 0.3;

/// Arrays in C order.
#[derive(Debug, Clone)]
pub struct Setup {
    pub layer: Layer,
    pub shape: Vec<usize>,
    pub channel_axis: usize,
    pub x: Vec<f64>,
    pub dy: Vec<f64>,
    pub gamma: Vec<f64>,
    pub beta: Vec<f64>,
    pub epsilon: f64,
    pub running_mean: Vec<f64>,
    pub running_variance: Vec<f64>,
    pub weights: Vec<f64>,
    pub residual: Vec<f64>,
    /// Groups of group norm.
    pub groups: usize,
    /// Samples of a ghost batch.
    pub ghost: usize,
    /// Channels that are whitened together.
    pub together: usize,
    /// f' of each value; 0 where it is masked.
    pub slopes: Vec<f64>,
    /// Where the activation bends, or nearly: no derivative is asked for there.
    pub kinks: Vec<bool>,
    pub random: Random,
    /// What is normalised together.
    pub rows: Vec<Row>,
}

/// A seeded generator (SplitMix64, Steele et al. 2014).
#[derive(Debug, Clone)]
pub struct Random(u64);

impl Random {
    fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub fn uniform(&mut self) -> f64 {
        (self.bits() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// Standard normal (Box and Muller 1958).
    pub fn normal(&mut self) -> f64 {
        let radius = (-2.0 * (1.0 - self.uniform()).ln()).sqrt();
        radius * (std::f64::consts::TAU * self.uniform()).cos()
    }

    pub fn normals(&mut self, len: usize) -> Vec<f64> {
        (0..len).map(|_| self.normal()).collect()
    }

    /// Some of the numbers below `len`, each once, in order; all of them where there are no more than `most`.
    pub fn some(&mut self, len: usize, most: usize) -> Vec<usize> {
        if len <= most {
            return (0..len).collect();
        }
        let mut drawn: Vec<usize> = Vec::new();
        while drawn.len() < most {
            let one = (self.bits() % len as u64) as usize;
            if !drawn.contains(&one) {
                drawn.push(one);
            }
        }
        drawn.sort_unstable();
        drawn
    }
}

/// The layers to check, in the order of `--help`; and those that are left out, with the reason.
pub fn layers(arguments: &Arguments) -> (Vec<Layer>, Vec<(Layer, String)>) {
    use Layer::*;
    let only = match (arguments.layer, arguments.mode, &arguments.weights) {
        (Some(Batch) | None, Mode::Eval, _) => Some(Evaluation),
        (Some(layer), _, _) => Some(layer),
        (None, _, Some(_)) => Some(Weighted),
        (None, _, None) => None,
    };
    if let Some(layer) = only {
        return (vec![layer], Vec::new());
    }
    let all = [
        Batch, Evaluation, Mixed, Relu, LeakyRelu, Residual, Weighted, Ghost, Invertible, Norm, Group, Instance, Rms,
        Whitening,
    ];
    let of_channels = arguments.gamma.is_some() || arguments.beta.is_some();
    let (out, checked): (Vec<Layer>, Vec<Layer>) =
        all.into_iter().partition(|layer| of_channels && matches!(layer, Norm | Rms));
    let why = |layer: &Layer| format!("it has a gamma and beta for each element: give --layer {}", layer.name());
    (checked, out.into_iter().map(|layer| (layer, why(&layer))).collect())
}

/// x and dy from files, or random.
pub struct Arrays {
    pub shape: Vec<usize>,
    x: Option<Vec<f64>>,
    dy: Option<Vec<f64>>,
}

pub fn arrays(arguments: &Arguments) -> Result<Arrays, Failure> {
    let Some(input) = &arguments.input else {
        return Ok(Arrays { shape: shape(&arguments.shape)?, x: None, dy: None });
    };
    let Doubles { shape, values: x, .. } = doubles(input, MOST, |_| Ok(()))?;
    let of_the_input = |path: &PathBuf| {
        let fits = |got: &[usize]| match got == shape {
            true => Ok(()),
            false => {
                Err(Failure::input(format!("{}: expected the input's shape {shape:?}, got {got:?}", path.display())))
            }
        };
        doubles(path, MOST, fits).map(|array| array.values)
    };
    let gradient = arguments.gradient.as_ref().map(|path| Ok((path, of_the_input(path)?))).transpose()?;
    for (path, values) in [(input, &x)].into_iter().chain(gradient.as_ref().map(|(path, dy)| (*path, dy))) {
        if let Some(at) = values.iter().position(|value| !value.is_finite()) {
            let got = values[at];
            return Err(Failure::refused(format!(
                "{}: expected finite values, got {got} (value {at} in C order); derivatives there are no numbers",
                path.display()
            )));
        }
    }
    Ok(Arrays { shape, x: Some(x), dy: gradient.map(|(_, dy)| dy) })
}

/// `--shape` as numbers.
fn shape(text: &str) -> Result<Vec<usize>, Failure> {
    let expected = "--shape: expected samples, channels and maybe axes of space, such as 4,6,5";
    let lengths: Option<Vec<usize>> = text.split(',').map(|word| word.trim().parse().ok()).collect();
    let lengths = lengths.filter(|lengths| (2..=8).contains(&lengths.len()) && !lengths.contains(&0));
    let lengths = lengths.ok_or_else(|| Failure::usage(format!("{expected}, got `{text}`")))?;
    let values = lengths.iter().try_fold(1usize, |product, &length| product.checked_mul(length));
    match values.filter(|&values| values <= MOST) {
        Some(_) => Ok(lengths),
        None => Err(Failure::usage(format!("{expected}, of at most {MOST} values, got `{text}`"))),
    }
}

impl Setup {
    pub fn new(arguments: &Arguments, arrays: &Arrays, layer: Layer) -> Result<Setup, Failure> {
        let mut random = Random(arguments.seed ^ (layer as u64 + 1).wrapping_mul(0x2545_f491_4f6c_dd1d));
        let (shape, rank) = (arrays.shape.clone(), arrays.shape.len());
        let axis = arguments.channel_axis;
        let expected = rank as isize;
        let named = arguments.input.as_ref().map_or(String::from("--shape"), |path| path.display().to_string());
        if rank < 2 || !(-expected..expected).contains(&axis) {
            return Err(Failure::input(format!(
                "{named}: expected at least 2 axes, and --channel-axis to be one of them, got --channel-axis {axis} for shape \
                 {shape:?}"
            )));
        }
        let channel_axis = if axis < 0 { (expected + axis) as usize } else { axis as usize };
        let (len, channels) = (shape.iter().product::<usize>(), shape[channel_axis]);
        let few = |shape: &[usize], got: usize, what: &str| {
            Err(Failure::refused(format!(
                "{named}: expected at least 2 values {what}, got {got} (shape {shape:?}); take a larger array"
            )))
        };
        if len / channels.max(1) < 2 || len == 0 {
            return few(&shape, len / channels.max(1), "a channel");
        }
        let by_shape = matches!(layer, Layer::Norm | Layer::Rms);
        let parameter_shape = if by_shape { shape[1..].to_vec() } else { vec![channels] };
        let drawn = arrays.x.is_none();
        let x = arrays.x.clone().unwrap_or_else(|| random.normals(len).iter().map(|x| 1.0 + 1.5 * x).collect());
        let dy = arrays.dy.clone().unwrap_or_else(|| random.normals(len).iter().map(|dy| 0.2 + dy).collect());
        let mut vector = |path: &Option<PathBuf>, shape: &[usize], given: f64, drawn: &dyn Fn(f64) -> f64| match path {
            Some(path) => {
                let values = parameters(path, shape)?;
                match values.iter().position(|value| !value.is_finite()) {
                    None => Ok(values),
                    Some(at) => Err(Failure::refused(format!(
                        "{}: expected finite values, got {} (value {at})",
                        path.display(),
                        values[at]
                    ))),
                }
            }
            None => Ok((0..shape.iter().product())
                .map(|_| if given.is_nan() { drawn(random.uniform()) } else { given })
                .collect()),
        };
        let unless_drawn = |value: f64| if drawn { f64::NAN } else { value };
        let gamma = vector(&arguments.gamma, &parameter_shape, unless_drawn(1.0), &|u| {
            if u < 0.3 { -0.5 - u } else { 0.4 + u }
        })?;
        let beta = vector(&arguments.beta, &parameter_shape, unless_drawn(0.0), &|u| u - 0.4)?;
        let running_mean = vector(&arguments.running_mean, &[channels], f64::NAN, &|u| 2.0 * u)?;
        let running_variance = vector(&arguments.running_var, &[channels], f64::NAN, &|u| 0.5 + 2.0 * u)?;
        if let Some(at) = running_variance.iter().position(|&variance| variance < 0.0) {
            let got = running_variance[at];
            return Err(Failure::input(format!("--running-var: expected variances >= 0, got {got} in channel {at}")));
        }
        let weights = match &arguments.weights {
            Some(path) => repeated(path, &shape)?,
            None => (0..len).map(|at| [1.0, 2.0, 0.0, 1.5][at % 4]).collect(),
        };
        let residual = random.normals(len);
        let samples = shape[usize::from(channel_axis == 0)];
        let groups = match (arguments.groups.get(), layer) {
            // The largest divisor below the channels, so that groups are seen.
            (1, Layer::Group) => (1..channels).rev().find(|groups| channels.is_multiple_of(*groups)).unwrap_or(1),
            (groups, Layer::Group) if !channels.is_multiple_of(groups) => {
                return Err(Failure::usage(format!("--groups {groups}: expected a divisor of {channels} channels")));
            }
            (groups, _) => groups,
        };
        let mut setup = Setup {
            layer,
            slopes: vec![1.0; len],
            kinks: vec![false; len],
            channel_axis,
            x,
            dy,
            gamma,
            beta,
            epsilon: arguments.epsilon,
            running_mean,
            running_variance,
            weights,
            residual,
            groups,
            ghost: samples.div_ceil(2),
            together: (1..=channels.min(4)).rev().find(|&group| channels.is_multiple_of(group)).unwrap_or(1),
            random,
            shape,
            rows: Vec::new(),
        };
        setup.rows = setup.arranged();
        let counting = |row: &Row| row.values.iter().filter(|&&at| setup.counts(at)).count();
        if let Some(got) = setup.rows.iter().map(counting).find(|&got| got < 2) {
            return few(&setup.shape, got, "that are normalised together");
        }
        setup.check_range()?;
        setup.bend();
        Ok(setup)
    }

    /// Twins take no care of overflow, nor do steps of differences of numbers of another size.
    fn check_range(&self) -> Result<(), Failure> {
        let range = || format!("0, or within {:e} .. {:e} in size", RANGE[0], RANGE[1]);
        let fits = |value: f64| value == 0.0 || (RANGE[0]..=RANGE[1]).contains(&value.abs());
        let all = [
            ("--epsilon", std::slice::from_ref(&self.epsilon)),
            ("--input", &self.x[..]),
            ("--gradient", &self.dy),
            ("--gamma", &self.gamma),
            ("--beta", &self.beta),
            ("--running-mean", &self.running_mean),
            ("--running-var", &self.running_variance),
        ];
        for (flag, values) in all {
            if let Some(got) = values.iter().find(|&&value| !fits(value)) {
                return Err(Failure::refused(format!(
                    "{flag}: expected numbers of which derivatives can be taken, {}, got {got:e}; scale them",
                    range()
                )));
            }
        }
        let alike = |row: &Row| {
            let mut counting = row.values.iter().filter(|&&at| self.counts(at)).map(|&at| self.x[at]);
            let first = counting.next().unwrap_or(0.0);
            counting.all(|x| x == first) && (self.layer != Layer::Rms || first == 0.0)
        };
        let by_constants = matches!(self.layer, Layer::Evaluation | Layer::Mixed);
        let no_spread = |row: &Row| match by_constants {
            true => self.running_variance[row.channel] == 0.0,
            false => alike(row),
        };
        match self.rows.iter().position(|row| self.epsilon == 0.0 && no_spread(row)) {
            Some(row) => Err(Failure::refused(format!(
                "--epsilon 0: expected a variance above 0, got 0 in row {row} of what is normalised together, where the formula is \
                 0 of 0; give an eps above 0"
            ))),
            None => Ok(()),
        }
    }

    /// Sets the slopes of the activation; no value near its kink carries a gradient.
    fn bend(&mut self) {
        if self.layer == Layer::Weighted {
            self.slopes = self.weights.iter().map(|&weight| f64::from(u8::from(weight > 0.0))).collect();
            return;
        }
        let negative = match self.layer {
            Layer::Relu | Layer::Residual => 0.0,
            Layer::LeakyRelu | Layer::Invertible => SLOPE,
            _ => return,
        };
        let z = self.forward(&self.x, &self.gamma, &self.beta);
        for (at, z) in z.into_iter().enumerate() {
            self.slopes[at] = if z > 0.0 { 1.0 } else { negative };
            if z.abs() < KINK {
                (self.dy[at], self.kinks[at]) = (0.0, true);
            }
        }
    }

    /// How many values of each gradient are differentiated one by one.
    pub fn differentiated(&self) -> usize {
        (SAMPLED_PASSES / self.x.len()).clamp(SAMPLE / 8, SAMPLE)
    }

    /// Whether an activation follows.
    pub fn bends(&self) -> bool {
        matches!(self.layer, Layer::Relu | Layer::Residual | Layer::LeakyRelu | Layer::Invertible)
    }

    /// Whether a value counts.
    pub fn counts(&self, at: usize) -> bool {
        self.layer != Layer::Weighted || self.weights[at] > 0.0
    }
}

/// Weights repeated to the input's shape.
fn repeated(path: &std::path::Path, shape: &[usize]) -> Result<Vec<f64>, Failure> {
    let Doubles { shape: own, values, .. } = doubles(path, MOST, |_| Ok(()))?;
    let fits = own.len() == shape.len() && own.iter().zip(shape).all(|(&own, &length)| own == length || own == 1);
    if !fits {
        return Err(Failure::input(format!(
            "{}: expected the input's shape {shape:?} with lengths of 1 where weights are repeated, got {own:?}",
            path.display()
        )));
    }
    if let Some(at) = values.iter().position(|weight| !(0.0..f64::INFINITY).contains(weight)) {
        let got = values[at];
        return Err(Failure::input(format!("{}: expected weights >= 0, got {got} (value {at})", path.display())));
    }
    let place = |mut at: usize| {
        let (mut place, mut stride) = (0, 1);
        for (&length, &own) in shape.iter().zip(&own).rev() {
            place += if own == 1 { 0 } else { at % length * stride };
            stride *= own;
            at /= length;
        }
        place
    };
    Ok((0..shape.iter().product()).map(|at| values[place(at)]).collect())
}
