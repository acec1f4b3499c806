//! Which preprocessing a model was trained with: its first batch norms remember it.
//!
//! The running statistics of the first norms are those of the training's pictures. So pictures that are prepared as those were have
//! statistics near them, and pictures that are prepared otherwise (another order of colours, another scale) have not. The distance is that
//! of two normal distributions, `KL(measured || running) = (v / r + (m - n)^2 / r - 1 - ln(v / r)) / 2` with m, v the measured mean and
//! variance and n, r the running ones (each variance with epsilon), in the median of a norm's channels. Data from another source move it
//! too: it is a hint.

use batchnorm::Population;
use serde::{Deserialize, Serialize};

use crate::engine::{Engine, Given, PassError, Source, Written, borrowed, given, of_samples};
use crate::recipe::{Colours, Recipe};

/// Norms that are looked at.
const NORMS: usize = 3;
/// Samples that are looked at, and that run together. (Of 64 the means alone vary so much that a neighbour of the truth came first.)
const SAMPLES: usize = 512;
const TOGETHER: usize = 16;
/// The mean and standard deviation of ImageNet's pictures, red, green and blue of 0 to 1.
const IMAGENET: [[f64; 3]; 2] = [[0.485, 0.456, 0.406], [0.229, 0.224, 0.225]];
/// What Caffe's networks subtract, red, green and blue of 0 to 255.
const CAFFE: [f64; 3] = [123.68, 116.779, 103.939];

/// How well a preprocessing fits.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Fit {
    /// Its name.
    pub name: String,
    /// The distance at each of the first norms.
    pub distances: Vec<f64>,
}

impl Fit {
    /// The distances in one number, their geometric mean.
    pub fn distance(&self) -> f64 {
        let sum: f64 = self.distances.iter().map(|distance| distance.max(f64::MIN_POSITIVE).ln()).sum();
        (sum / self.distances.len() as f64).exp()
    }
}

/// The usual preprocessings of pictures: two orders of colours, six scales. The picture's size stays what the recipe says.
pub fn candidates(recipe: &Recipe) -> Vec<(String, Recipe)> {
    let scales: [(&str, f64, Vec<f64>, Vec<f64>); 6] = [
        ("0..255", 1.0, vec![], vec![]),
        ("0..1", 1.0 / 255.0, vec![], vec![]),
        ("-1..1", 1.0 / 255.0, vec![0.5], vec![0.5]),
        ("ImageNet's mean and deviation", 1.0 / 255.0, IMAGENET[0].to_vec(), IMAGENET[1].to_vec()),
        ("0..255 less a mean", 1.0, CAFFE.to_vec(), vec![]),
        ("(v - 127) / 128", 1.0, vec![127.0], vec![128.0]),
    ];
    let mut all = Vec::new();
    for (colours, word) in [(Colours::Rgb, "RGB"), (Colours::Bgr, "BGR")] {
        for (name, scale, mean, sd) in &scales {
            // (Numbers of red, green and blue stay theirs in another order.)
            let ordered = |numbers: &[f64]| match colours {
                Colours::Bgr => numbers.iter().rev().copied().collect(),
                _ => numbers.to_vec(),
            };
            let other = Recipe { scale: *scale, mean: ordered(mean), sd: ordered(sd), colours, ..recipe.clone() };
            all.push((format!("{word} {name}"), other));
        }
    }
    all
}

/// The first norms that see the data and have running statistics; none where these are at their start.
fn first_norms(written: &Written) -> Vec<usize> {
    let computed = written.computed();
    let sees = |value: &str| computed.contains(value);
    let norms = written.norms.iter().enumerate().filter(|(_, norm)| !norm.training && sees(&norm.input));
    let told = norms.take(NORMS).filter(|(_, norm)| {
        let pairs = norm.statistics.mean.iter().zip(&norm.statistics.variance);
        let at_start = pairs.clone().all(|(mean, variance)| (*mean, *variance) == (0.0, 1.0));
        !at_start && pairs.clone().all(|(mean, variance)| mean.is_finite() && variance.is_finite() && *variance >= 0.0)
    });
    told.map(|(place, _)| place).collect()
}

/// Tells whether a model's first norms have statistics by which data can be judged.
pub fn can_tell(written: &Written) -> bool {
    !first_norms(written).is_empty()
}

/// How well data fit, by the first norms.
///
/// # Errors
/// What the engine and the data say.
pub fn fit(engine: &dyn Engine, written: &Written, name: &str, source: &dyn Source) -> Result<Fit, PassError> {
    let norms = first_norms(written);
    let wanted: Vec<&str> = norms.iter().map(|&place| written.norms[place].input.as_str()).collect();
    let statistics: Vec<Given> = written.norms.iter().map(|norm| Given::of(&norm.statistics)).collect();
    let mut populations = Vec::new();
    for &place in &norms {
        let norm = &written.norms[place];
        populations
            .push(Population::new(norm.statistics.mean.len()).map_err(|error| PassError::Data(error.to_string()))?);
    }
    // Samples from all over the data, for files are often sorted.
    let count = source.len().min(SAMPLES);
    let starts: Vec<usize> =
        (0..count.div_ceil(TOGETHER)).map(|at| at * source.len() / count.div_ceil(TOGETHER)).collect();
    for start in starts {
        let places = start..(start + TOGETHER).min(source.len());
        let samples = places.len();
        let values = source.read(places).map_err(PassError::Data)?;
        let inputs = engine.run(given(written, borrowed(&values), &statistics), &wanted)?;
        for ((array, population), &place) in inputs.iter().zip(&mut populations).zip(&norms) {
            let norm = &written.norms[place];
            for moments in of_samples(&norm.input, array, samples)? {
                population.observe(&moments).map_err(|_| PassError::Length {
                    layer: norm.name.clone(),
                    expected: norm.statistics.mean.len(),
                    got: moments.channels().len(),
                })?;
            }
        }
    }
    let distance = |(place, population): (&usize, &Population)| {
        let norm = &written.norms[*place];
        let mut channels: Vec<f64> = population
            .channels()
            .iter()
            .enumerate()
            .map(|(channel, moments)| {
                let [measured, running] = [moments.population_variance(), norm.statistics.variance[channel]]
                    .map(|variance| variance + norm.epsilon);
                let ratio = measured / running;
                let moved = (moments.mean() - norm.statistics.mean[channel]).powi(2) / running;
                (ratio + moved - 1.0 - ratio.ln()) / 2.0
            })
            .collect();
        channels.sort_by(f64::total_cmp);
        channels[channels.len() / 2]
    };
    Ok(Fit { name: name.to_owned(), distances: norms.iter().zip(&populations).map(distance).collect() })
}
