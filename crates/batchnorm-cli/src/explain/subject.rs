//! The subject of an explanation: one feature of an array, or one row, with its parameters and upstream gradient.

use super::options::{Arguments, Mode};
use super::selection::{MOST_OF_ONE, Selection, unit};
use crate::arrays::{Doubles, Files};
use crate::failure::Failure;
use crate::layer_name::LayerName;
use crate::text;
use std::path::{Path, PathBuf};

/// Values of the largest array that is read: 128 MiB of them.
const MOST_VALUES: usize = 1 << 24;
/// Values that a feature or row may have for a page: its Jacobian is the square of that.
const MOST_ON_PAGE: usize = 128;
/// The upstream gradient where none is given: neither constant nor along the normalised input, in which case dx would be 0.
const PATTERN: [f64; 4] = [1.0, -0.5, 0.25, 0.5];
/// Mean 5 and deviation 2.
const EXAMPLE: [f64; 8] = [2.0, 7.0, 4.0, 5.0, 9.0, 4.0, 5.0, 4.0];

/// The numbers, and their sources.
pub struct Subject {
    pub layer: LayerName,
    /// Mean and variance, where they are constants.
    pub running: Option<[f64; 2]>,
    /// The file, or none for the example.
    pub input: Option<PathBuf>,
    /// The file of dy, or none for the pattern.
    pub gradient: Option<PathBuf>,
    pub shape: Vec<usize>,
    pub channel_axis: usize,
    pub groups: Option<usize>,
    /// Neighbouring values of a row that are of one channel.
    pub positions: usize,
    /// The number of the channel or row.
    pub number: usize,
    /// Number of channels or rows.
    pub total: usize,
    /// The channel's name in a table.
    pub name: Option<String>,
    /// Each value's index in the array.
    pub places: Vec<Vec<usize>>,
    pub x: Vec<f64>,
    pub dy: Vec<f64>,
    /// One for all, or one of each value.
    pub gamma: Vec<f64>,
    pub beta: Vec<f64>,
    /// The number of each value's gamma and beta: values of one channel share theirs.
    pub parameters: Vec<usize>,
    pub epsilon: f64,
}

impl Subject {
    pub fn new(arguments: &Arguments) -> Result<Subject, Failure> {
        let Arguments { input, gradient, weights, layer, epsilon, .. } = arguments;
        let files = Files::new(arguments.header, arguments.inputs());
        let named = input.as_ref().map_or(String::from("the example"), |path| path.display().to_string());
        let x = match input {
            Some(path) => {
                // The shape decides whether it can be explained, before any number is read.
                let fits = |shape: &[usize]| Selection::new(&named, shape, arguments).map(drop);
                files.doubles(path, MOST_VALUES, fits)?
            }
            None => example(*layer),
        };
        let selection = Selection::new(&named, &x.shape, arguments)?;
        let places = match weights {
            None => selection.places(),
            Some(path) => {
                let of_each = files.weight_of_each(path, MOST_VALUES, &x.shape, selection.channel_axis)?;
                counting(&selection, &of_each, path, arguments.mode)?
            }
        };
        let values = values_at(&x, &selection, &places, &named)?;
        let dy = match gradient {
            None => PATTERN.iter().copied().cycle().take(places.len()).collect(),
            Some(path) => {
                let fits = |shape: &[usize]| {
                    let message =
                        || format!("{}: expected the input's shape {:?}, got {shape:?}", path.display(), x.shape);
                    if shape == x.shape { Ok(()) } else { Err(Failure::input(message())) }
                };
                let dy = files.doubles(path, MOST_VALUES, fits)?;
                values_at(&dy, &selection, &places, &path.display().to_string())?
            }
        };
        let parameters: Vec<usize> =
            places.iter().enumerate().map(|(i, place)| selection.parameter(place, i)).collect();
        let (parameter_shape, each) = selection.parameters();
        let from = |least: f64, flag: &str, given: &Option<PathBuf>, absent: f64| match given {
            Some(given) => files.vector_or_numbers(flag, given, least, parameter_shape, each),
            None => Ok(vec![absent; parameter_shape.iter().product()]),
        };
        let vector = |flag: &str, given: &Option<PathBuf>, absent: f64| from(f64::MIN, flag, given, absent);
        let of_values = |vector: Vec<f64>| match layer {
            LayerName::Batch => vec![vector[selection.number]],
            _ => parameters.iter().map(|&parameter| vector[parameter]).collect(),
        };
        let (gamma, beta) = if input.is_some() { (1.0, 0.0) } else { (1.5, 0.5) };
        let gamma = of_values(vector("--gamma", &arguments.gamma, gamma)?);
        let beta = of_values(vector("--beta", &arguments.beta, beta)?);
        let running = match arguments.mode {
            Mode::Train => None,
            Mode::Eval => {
                let mean = vector("--running-mean", &arguments.running_mean, 0.0)?[selection.number];
                let variance = from(0.0, "--running-var", &arguments.running_var, 1.0)?[selection.number];
                Some([mean, variance])
            }
        };
        Ok(Subject {
            layer: *layer,
            running,
            input: input.clone(),
            gradient: gradient.clone(),
            channel_axis: selection.channel_axis,
            groups: arguments.groups.map(usize::from),
            positions: selection.positions(),
            number: selection.number,
            total: selection.total,
            name: match layer {
                LayerName::Batch => x.names.and_then(|names| names.get(selection.number).cloned()),
                _ => None,
            },
            shape: x.shape,
            places,
            x: values,
            dy,
            gamma,
            beta,
            parameters,
            epsilon: *epsilon,
        })
    }

    /// An error where there are more values than a page takes.
    pub fn expect_few_for_page(&self) -> Result<(), Failure> {
        let (what, got) = (unit(self.layer), self.x.len());
        if got <= MOST_ON_PAGE {
            return Ok(());
        }
        Err(Failure::input(format!(
            "--html: expected at most {MOST_ON_PAGE} values a {what} for a page, got {got}; save a part of the array, or take \
             the table, --json or --dot, which take {MOST_OF_ONE}"
        )))
    }

    /// Whether all values are alike, so that by default the layer declares another gradient than the formula's.
    pub fn is_constant(&self) -> bool {
        let alike = self.x.iter().all(|value| *value == self.x[0]);
        self.running.is_none() && alike && (self.layer != LayerName::Rms || self.x[0] == 0.0)
    }

    /// The name of this norm.
    pub fn layer_words(&self) -> &'static str {
        match (self.layer, self.running) {
            (LayerName::Batch, None) => "Batch norm",
            (LayerName::Batch, Some(_)) => "Batch norm in evaluation",
            (LayerName::Norm, _) => "Layer norm",
            (LayerName::Group, _) => "Group norm",
            (LayerName::Instance, _) => "Instance norm",
            (LayerName::Rms, _) => "RMS norm",
        }
    }

    /// A sentence on what this norm does.
    pub fn about(&self) -> &'static str {
        match (self.layer, self.running) {
            (LayerName::Batch, None) => "Batch norm normalises each feature over the samples of a batch.",
            (LayerName::Batch, Some(_)) => {
                "In evaluation batch norm normalises each feature by a mean and a variance that were estimated in training: \
                 constants, whatever the batch."
            }
            (LayerName::Norm, _) => {
                "Layer norm normalises each sample over all of its values. It does not look at the batch."
            }
            (LayerName::Group, _) => {
                "Group norm normalises each sample over the values of a group of channels. It does not look at the batch."
            }
            (LayerName::Instance, _) => {
                "Instance norm normalises each channel of each sample over its positions. It does not look at the batch."
            }
            (LayerName::Rms, _) => {
                "RMS norm divides each sample by the root of the mean of its squares. It takes off no mean and does not look at \
                 the batch."
            }
        }
    }

    /// The channel or row, such as `channel 2 (height) of x.npy`; on one line whatever the names hold.
    pub fn words(&self) -> String {
        let source = self.input.as_ref().map_or(String::from("the built-in example"), |path| text::path(path));
        let name =
            self.name.as_ref().filter(|name| !name.is_empty()).map_or(String::new(), |name| format!(" ({name})"));
        let what = match (self.layer, self.groups) {
            (LayerName::Batch, _) => format!("channel {}{name}", self.number),
            (LayerName::Group, Some(groups)) => {
                format!("row {} (group {} of sample {})", self.number, self.number % groups, self.number / groups)
            }
            _ => format!("row {}", self.number),
        };
        text::one_line(&format!("{what} of {source}"))
    }

    /// The source of the upstream gradient.
    pub fn gradient_words(&self) -> String {
        match &self.gradient {
            Some(path) => text::one_line(&text::path(path)),
            None => String::from("none given: 1, -0.5, 0.25, 0.5, over and over"),
        }
    }
}

/// The places of the values that count by a mask.
fn counting(selection: &Selection, weights: &[f64], path: &Path, mode: Mode) -> Result<Vec<Vec<usize>>, Failure> {
    let (file, channel) = (path.display(), selection.number);
    let weight = |place: &Vec<usize>| weights[selection.offset(place)];
    let all = selection.places();
    if let Some(place) = all.iter().find(|place| ![0.0, 1.0].contains(&weight(place))) {
        return Err(Failure::input(format!(
            "{file}: expected a mask, 0 and 1 or false and true, got the weight {} at {place:?}; the steps are shown of values that \
             count once (apply and gradcheck take any weights)",
            weight(place)
        )));
    }
    let counting: Vec<Vec<usize>> = all.into_iter().filter(|place| weight(place) == 1.0).collect();
    let least = if mode == Mode::Eval { 1 } else { 2 };
    if counting.len() < least {
        return Err(Failure::refused(format!(
            "{file}: expected at least {least} {} of channel {channel} that count, got {}; mask less, or take another --channel",
            if least == 1 { "value" } else { "values" },
            counting.len()
        )));
    }
    Ok(counting)
}

/// The example as the norm takes it.
fn example(layer: LayerName) -> Doubles {
    let shape = match layer {
        LayerName::Batch => vec![8, 1],
        LayerName::Norm | LayerName::Rms => vec![1, 8],
        LayerName::Group => vec![1, 4, 2],
        LayerName::Instance => vec![1, 1, 8],
    };
    Doubles { shape, values: EXAMPLE.to_vec(), names: None }
}

/// The values of an array at some places, which must be finite.
fn values_at(array: &Doubles, selection: &Selection, places: &[Vec<usize>], named: &str) -> Result<Vec<f64>, Failure> {
    let value = |place: &Vec<usize>| {
        let value = array.values[selection.offset(place)];
        if value.is_finite() {
            return Ok(value);
        }
        Err(Failure::refused(format!(
            "{named}: expected finite values, got {value} at {place:?}; find its source, or take another feature or row"
        )))
    };
    places.iter().map(value).collect()
}
