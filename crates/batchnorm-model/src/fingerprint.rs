//! Which preprocessing a model was trained with: its first batch norms remember it.
//!
//! The running statistics of the first norms are those of the training's pictures. So pictures that are prepared as those were have
//! statistics near them, and pictures that are prepared otherwise (another order of colours, another scale) have not. The distance is that
//! of two normal distributions, `KL(measured || running) = (v / r + (m - n)^2 / r - 1 - ln(v / r)) / 2` with m, v the measured mean and
//! variance and n, r the running ones (each variance with epsilon), in the median of a norm's channels. Data from another source move it
//! too: it is a hint.
//!
//! Many trainings lay black borders around small pictures and cut at a random place, and their norms remember the borders. So each
//! preparation is tried with them too, and the nearer one counts.

use std::ops::Range;

use batchnorm::{BatchMoments, Population};
use serde::{Deserialize, Serialize};

use crate::cut::Cut;
use crate::engine::{
    Array, Engine, Given, Numbers, PassError, Passes, Source, Stages, Written, in_parallel, of_samples, statistics_of,
};
use crate::recipe::{Colours, Layout, Recipe};
use crate::samples::put;

/// Norms that are looked at.
const NORMS: usize = 3;
/// Samples that are looked at, and that run together. (Of 64 the means alone vary so much that a neighbour of the truth came first.)
const SAMPLES: usize = 512;
const TOGETHER: usize = 16;
/// Batches after which preparations are left out that are so many times as far away as the nearest.
const FIRST: usize = 4;
const FAR: f64 = 10.0;
/// Norms that are asked whether they remember black borders, how many times nearer samples must be with them to be taken for a
/// training's, and how many norms must say so.
const ASKED: usize = 6;
const CLEARLY: f64 = 4.0;
const VOTES: usize = 2;
/// The name of the data as they are prepared.
const OWN: &str = "these data";
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
    /// It fits better with black borders, such as random cuts in a training leave.
    pub borders: bool,
}

impl Fit {
    /// The distances in one number, their geometric mean.
    pub fn distance(&self) -> f64 {
        let sum: f64 = self.distances.iter().map(|distance| distance.max(f64::MIN_POSITIVE).ln()).sum();
        (sum / self.distances.len() as f64).exp()
    }
}

/// The usual preprocessings of pictures: two orders of colours (one of grey ones), six scales. The picture's size stays what the recipe says.
fn candidates(recipe: &Recipe) -> Vec<(String, Recipe)> {
    let scales: [(&str, f64, Vec<f64>, Vec<f64>); 6] = [
        ("0..255", 1.0, vec![], vec![]),
        ("0..1", 1.0 / 255.0, vec![], vec![]),
        ("-1..1", 1.0 / 255.0, vec![0.5], vec![0.5]),
        ("ImageNet's mean and deviation", 1.0 / 255.0, IMAGENET[0].to_vec(), IMAGENET[1].to_vec()),
        ("0..255 less a mean", 1.0, CAFFE.to_vec(), vec![]),
        ("(v - 127) / 128", 1.0, vec![127.0], vec![128.0]),
    ];
    let mut all = Vec::new();
    let orders: &[(Colours, &str)] = match recipe.colours {
        Colours::Grey => &[(Colours::Grey, "grey")],
        Colours::Rgb | Colours::Bgr => &[(Colours::Rgb, "RGB"), (Colours::Bgr, "BGR")],
    };
    for &(colours, word) in orders {
        for (name, scale, mean, sd) in &scales {
            // (Numbers of red, green and blue stay theirs in another order; grey pictures take the middle one.)
            let ordered = |numbers: &[f64]| match (colours, numbers) {
                (Colours::Bgr, _) => numbers.iter().rev().copied().collect(),
                (Colours::Grey, [_, green, _]) => vec![*green],
                _ => numbers.to_vec(),
            };
            let other = Recipe { scale: *scale, mean: ordered(mean), sd: ordered(sd), colours, ..recipe.clone() };
            all.push((format!("{word} {name}"), other));
        }
    }
    all
}

/// The first norms that see the data and have running statistics; none where these are at their start.
fn first_norms(written: &Written, most: usize) -> Vec<usize> {
    let computed = written.computed();
    let sees = |value: &str| computed.contains(value);
    let norms = written.norms.iter().enumerate().filter(|(_, norm)| !norm.training && sees(&norm.input));
    let told = norms.take(most).filter(|(_, norm)| {
        let pairs = norm.statistics.mean.iter().zip(&norm.statistics.variance);
        let at_start = pairs.clone().all(|(mean, variance)| (*mean, *variance) == (0.0, 1.0));
        !at_start && pairs.clone().all(|(mean, variance)| mean.is_finite() && variance.is_finite() && *variance >= 0.0)
    });
    told.map(|(place, _)| place).collect()
}

/// Tells whether a model's first norms have statistics by which data can be judged.
pub fn can_tell(written: &Written) -> bool {
    !first_norms(written, NORMS).is_empty()
}

/// Values of 0 to 255 as they come, red, green and blue in this order: what [`fits`] prepares pictures from.
pub fn levels(recipe: &Recipe) -> Recipe {
    let colours = if recipe.colours == Colours::Grey { Colours::Grey } else { Colours::Rgb };
    Recipe { scale: 1.0, mean: Vec::new(), sd: Vec::new(), colours, ..recipe.clone() }
}

/// How well data fit as they are, by the first norms.
///
/// # Errors
/// What the engine and the data say.
pub fn fit(engine: &dyn Engine, written: &Written, source: &dyn Source) -> Result<Fit, PassError> {
    let cut = Cut::of_arrays(source).map_err(PassError::Data)?;
    let variants: Vec<Variant> = std::iter::once(None).chain(cut.map(Some)).map(Variant::own).collect();
    let nearest = nearest(&Look::at(engine, written, source).fits(&variants)?);
    Ok(nearest.unwrap_or(Fit { name: String::from(OWN), distances: Vec::new(), borders: false }))
}

/// How well pictures fit: prepared as the recipe says, then by the usual preprocessings. The source has their [`levels`].
///
/// # Errors
/// What the engine and the data say.
pub fn fits(
    engine: &dyn Engine,
    written: &Written,
    source: &dyn Source,
    recipe: &Recipe,
) -> Result<Vec<Fit>, PassError> {
    let own = (String::from(OWN), recipe.clone());
    let variants = std::iter::once(own).chain(candidates(recipe)).flat_map(|(name, recipe)| {
        let change = || Change { layout: recipe.layout, order: recipe.colours.order(), values: recipe.values() };
        [None, Some(Cut::of(&recipe))].map(|cut| Variant { name: name.clone(), change: Some(change()), cut })
    });
    let all = Look::at(engine, written, source).fits(&variants.collect::<Vec<_>>())?;
    // (Each with borders stands behind itself without.)
    Ok(all.chunks(2).filter_map(nearest).collect())
}

fn nearest(fits: &[Fit]) -> Option<Fit> {
    fits.iter().min_by(|one, other| one.distance().total_cmp(&other.distance())).cloned()
}

/// Whether the first norms clearly remember samples with the black borders of a random cut: at least two of six do, and none remembers
/// samples without. Each is given what the one before it *should* say, so that one whose statistics are wrong, which has nothing to say,
/// does not hide it in those behind it.
///
/// # Errors
/// What the engine and the data say.
pub fn remembers(engine: &dyn Engine, written: &Written, source: &dyn Source, cut: &Cut) -> Result<bool, PassError> {
    let norms = first_norms(written, ASKED);
    let distances = |cut: Option<&Cut>| -> Result<Vec<f64>, PassError> {
        let variant = Variant::own(cut.cloned());
        let mut look = Look::at(engine, written, source);
        let mut seen = Vec::new();
        for &place in &norms {
            look.norms = vec![place];
            let population = look.at_all(std::slice::from_ref(&variant))?.swap_remove(0).swap_remove(0);
            look.statistics[place] = Given::of(&statistics_of(&population.channels()));
            seen.push(population);
        }
        Ok(Fit::of(written, &norms, &seen, &variant).distances)
    };
    if norms.is_empty() {
        return Ok(false);
    }
    let (cut, plain) = (distances(Some(cut))?, distances(None)?);
    let both = || cut.iter().zip(&plain);
    let votes = both().filter(|(cut, plain)| CLEARLY * **cut < **plain).count();
    Ok(votes >= VOTES.min(norms.len()) && !both().any(|(cut, plain)| CLEARLY * plain < *cut))
}

/// A preparation that is tried.
struct Variant {
    name: String,
    change: Option<Change>,
    cut: Option<Cut>,
}

impl Variant {
    /// What the source gives.
    fn own(cut: Option<Cut>) -> Variant {
        Variant { name: String::from(OWN), change: None, cut }
    }

    /// What becomes of an input, whose first sample has this place.
    fn of(&self, array: &Array, first: usize) -> Array {
        let changed = self.change.as_ref().map_or_else(|| array.clone(), |change| change.apply(array));
        match &self.cut {
            Some(cut) => cut.apply(changed, first),
            None => changed,
        }
    }
}

/// What is made of levels.
struct Change {
    layout: Layout,
    /// For each channel of the input that of the levels.
    order: &'static [usize],
    /// For each channel what its levels become.
    values: Vec<[f32; 256]>,
}

impl Change {
    /// The levels of pictures as an input.
    fn apply(&self, levels: &Array) -> Array {
        let (Numbers::F32(numbers), &[samples, ..]) = (&levels.numbers, &levels.shape[..]) else {
            return levels.clone();
        };
        let (channels, each) = (self.order.len(), numbers.len() / samples.max(1));
        let axes = if self.layout == Layout::Nchw { [2, 3] } else { [1, 2] };
        let [rows, columns] = axes.map(|axis| levels.shape[axis]);
        let mut values = Vec::with_capacity(numbers.len());
        for picture in numbers.chunks_exact(each) {
            let level = |row: usize, column: usize, channel: usize| {
                let pixel = row * columns + column;
                let at = match self.layout {
                    Layout::Nchw => channel * rows * columns + pixel,
                    Layout::Nhwc => pixel * channels + channel,
                };
                picture[at] as usize
            };
            let value = |row, column, channel: usize| self.values[channel][level(row, column, self.order[channel])];
            put(self.layout, [rows, columns, channels], value, &mut values);
        }
        Array::floats(levels.shape.clone(), values)
    }
}

/// For each preparation and norm the moments of each sample.
type Seen = Vec<Vec<Vec<BatchMoments>>>;

/// A model whose norms are looked at, with all norms' statistics as a run is given them.
struct Look<'l> {
    passes: Passes<'l>,
    norms: Vec<usize>,
    statistics: Vec<Given>,
}

impl<'l> Look<'l> {
    /// At its first norms, as it is.
    fn at(engine: &'l dyn Engine, written: &'l Written, source: &'l dyn Source) -> Look<'l> {
        Look {
            passes: Passes { engine, written, stages: Stages::of(written, &[]), source, by_batch: Vec::new() },
            norms: first_norms(written, NORMS),
            statistics: written.norms.iter().map(|norm| Given::of(&norm.statistics)).collect(),
        }
    }

    /// For each preparation its distances.
    fn fits(&self, variants: &[Variant]) -> Result<Vec<Fit>, PassError> {
        Ok(self.fits_of(variants, &self.at_all(variants)?))
    }

    /// For each preparation what each norm sees; by many samples at a time, or by as many as the model declares where it takes no others.
    fn at_all(&self, variants: &[Variant]) -> Result<Vec<Vec<Population>>, PassError> {
        self.measured(variants, TOGETHER).or_else(|error| match error {
            PassError::Engine(_) | PassError::Samples { .. } => {
                self.measured(variants, self.passes.written.declared_batch().unwrap_or(1))
            }
            error => Err(error),
        })
    }

    fn measured(&self, variants: &[Variant], together: usize) -> Result<Vec<Vec<Population>>, PassError> {
        let Look { passes, norms, statistics } = self;
        let norm = |place: &usize| &passes.written.norms[*place];
        let wanted: Vec<&str> = norms.iter().map(|place| norm(place).input.as_str()).collect();
        let population = |place: &usize| {
            let channels = norm(place).statistics.mean.len();
            Population::new(channels).map_err(|error| PassError::Data(error.to_string()))
        };
        let populations = || norms.iter().map(population).collect::<Result<Vec<_>, _>>();
        let mut seen = variants.iter().map(|_| populations()).collect::<Result<Vec<_>, _>>()?;
        let mut is_far = vec![false; variants.len()];
        let look = |places: Range<usize>, is_far: &[bool]| -> Result<Seen, PassError> {
            let (first, samples) = (places.start, places.len());
            let values = passes.source.read(places).map_err(PassError::Data)?;
            let of = |variant: &Variant| {
                let prepare = |(name, array): &(String, Array)| (name.clone(), variant.of(array, first));
                let prepared: Vec<(String, Array)> = values.iter().map(prepare).collect();
                let inputs = passes.values_of(&prepared, statistics, &wanted)?;
                inputs.iter().zip(&wanted).map(|(array, name)| of_samples(name, array, samples)).collect()
            };
            let each = variants.iter().zip(is_far);
            each.map(|(variant, is_far)| if *is_far { Ok(Vec::new()) } else { of(variant) }).collect()
        };
        // Samples from all over the data, for files are often sorted; the first batches from all over, too.
        let samples = passes.source.len();
        let count = samples.min(SAMPLES).div_ceil(together);
        let begin = |at: usize| at * samples / count;
        let (first, others): (Vec<usize>, Vec<usize>) =
            (0..count).partition(|at| at.is_multiple_of(count.div_ceil(FIRST)));
        let threads = rayon::current_num_threads();
        for (batches, is_last) in [(first, false), (others, true)] {
            for some in batches.chunks(threads) {
                let places = some.iter().map(|&at| begin(at)..(begin(at) + together).min(begin(at + 1))).collect();
                for moments in in_parallel(passes.engine, places, |places| look(places, &is_far))? {
                    for (populations, moments) in seen.iter_mut().zip(moments) {
                        for ((population, samples), norm) in
                            populations.iter_mut().zip(moments).zip(norms.iter().map(norm))
                        {
                            for sample in &samples {
                                population.observe(sample).map_err(|_| PassError::Length {
                                    layer: norm.name.clone(),
                                    expected: norm.statistics.mean.len(),
                                    got: sample.channels().len(),
                                })?;
                            }
                        }
                    }
                }
            }
            if !is_last {
                let distances: Vec<f64> = self.fits_of(variants, &seen).iter().map(Fit::distance).collect();
                let nearest = distances.iter().copied().fold(f64::INFINITY, f64::min);
                // (The first ones are the user's own.)
                for (is_far, distance) in is_far.iter_mut().zip(&distances).skip(2) {
                    *is_far = *distance > FAR * nearest;
                }
            }
        }
        Ok(seen)
    }

    fn fits_of(&self, variants: &[Variant], seen: &[Vec<Population>]) -> Vec<Fit> {
        variants
            .iter()
            .zip(seen)
            .map(|(variant, seen)| Fit::of(self.passes.written, &self.norms, seen, variant))
            .collect()
    }
}

impl Fit {
    fn of(written: &Written, norms: &[usize], populations: &[Population], variant: &Variant) -> Fit {
        let distance = |(place, population): (&usize, &Population)| {
            let norm = &written.norms[*place];
            let channels = population.channels();
            let of = |(channel, moments): (usize, &batchnorm::Moments)| {
                let [measured, running] = [moments.population_variance(), norm.statistics.variance[channel]]
                    .map(|variance| variance + norm.epsilon);
                let ratio = measured / running;
                let moved = (moments.mean() - norm.statistics.mean[channel]).powi(2) / running;
                (ratio + moved - 1.0 - ratio.ln()) / 2.0
            };
            let mut channels: Vec<f64> = channels.iter().enumerate().map(of).collect();
            channels.sort_by(f64::total_cmp);
            channels[channels.len() / 2]
        };
        Fit {
            name: variant.name.clone(),
            distances: norms.iter().zip(populations).map(distance).collect(),
            borders: variant.cut.is_some(),
        }
    }
}
