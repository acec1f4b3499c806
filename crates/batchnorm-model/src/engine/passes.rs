//! Batches of data on their way through the stages of a graph.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::ops::Range;
use std::sync::{LazyLock, Mutex, PoisonError};
use std::thread;

use batchnorm::{Axes, BatchMoments, Config, Moments, Normalizer, View};
use thiserror::Error;

use super::array::{Array, Numbers};
use super::run::{Engine, EngineError};
use super::stages::Stages;
use super::written::Written;
use crate::excerpt::{beginning_of, excerpt};
use crate::statistics::Statistics;

/// Where data come from.
pub trait Source: Sync {
    /// Number of samples.
    fn len(&self) -> usize;

    /// Tells whether there is none.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The values of the model's inputs for some samples.
    ///
    /// # Errors
    /// Data that cannot be read, or do not fit the model.
    fn read(&self, places: Range<usize>) -> Result<Vec<(String, Array)>, String>;
}

/// What went wrong on the way.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum PassError {
    /// The engine.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The data.
    #[error("{0}")]
    Data(String),
    /// The files of values between two stages.
    #[error("values between two layers could not be kept in a file of the folder for temporary ones: {0}")]
    Kept(#[from] io::Error),
    /// A value that has no axis of samples.
    #[error(
        "{value}: expected a first axis of {samples} samples or a multiple of it, got shape {}; statistics of single samples cannot be told apart",
        beginning_of(shape)
    )]
    Samples {
        /// The value.
        value: String,
        /// Samples in the batch.
        samples: usize,
        /// Its shape.
        shape: Vec<usize>,
    },
    /// Another number of channels.
    #[error("{layer}: its statistics have {expected} channels, and its input has {got}")]
    Length {
        /// The norm.
        layer: String,
        /// Its channels.
        expected: usize,
        /// The input's.
        got: usize,
    },
    /// What is no array of channels.
    #[error("{value}: expected floating-point numbers [N, C, ...] for a batch norm, got shape {}", beginning_of(shape))]
    Channels {
        /// The value.
        value: String,
        /// Its shape.
        shape: Vec<usize>,
    },
}

/// Statistics as a run is given them.
#[derive(Debug, Clone, PartialEq)]
pub struct Given {
    mean: Array,
    variance: Array,
}

impl Given {
    /// Those of a norm, as f32.
    pub fn of(statistics: &Statistics) -> Given {
        let array =
            |numbers: &[f64]| Array::floats(vec![numbers.len()], numbers.iter().map(|&number| number as f32).collect());
        Given { mean: array(&statistics.mean), variance: array(&statistics.variance) }
    }
}

/// A batch somewhere on its way: the values that are needed to go on, and the statistics that are its own.
#[derive(Debug, Clone, Default)]
pub struct State {
    samples: usize,
    values: HashMap<String, Array>,
    own: HashMap<usize, Given>,
    /// What was measured for those, sample by sample.
    seen: HashMap<usize, Vec<BatchMoments>>,
}

impl State {
    /// A value that is there.
    pub fn value(&self, name: &str) -> Option<&Array> {
        self.values.get(name)
    }

    /// The moments of each of its samples at the input of a norm.
    ///
    /// # Errors
    /// A value that is not there, or has no axis of samples.
    pub fn moments(&mut self, written: &Written, norm: usize) -> Result<Vec<BatchMoments>, PassError> {
        let input = &written.norms[norm].input;
        match (self.seen.remove(&norm), self.values.get(input)) {
            (Some(seen), _) => Ok(seen),
            (None, Some(array)) => of_samples(input, array, self.samples),
            (None, None) => Err(EngineError::Name { engine: "", name: input.clone() }.into()),
        }
    }

    /// Bytes of its values.
    pub fn bytes(&self) -> usize {
        self.values.values().map(Array::bytes).sum()
    }
}

/// A model with its stages, an engine and data.
pub struct Passes<'p> {
    /// What runs the model.
    pub engine: &'p dyn Engine,
    /// The model.
    pub written: &'p Written,
    /// Its stages.
    pub stages: Stages,
    /// The data.
    pub source: &'p dyn Source,
    /// Norms that are normalised by each batch itself, by their places.
    pub by_batch: Vec<usize>,
}

impl Passes<'_> {
    /// A batch before the first stage.
    ///
    /// # Errors
    /// What the data say.
    pub fn start(&self, places: Range<usize>) -> Result<State, PassError> {
        let samples = places.len();
        let values = self.source.read(places).map_err(PassError::Data)?;
        Ok(State { samples, values: values.into_iter().collect(), ..State::default() })
    }

    /// Some values of a batch, with all norms' statistics.
    ///
    /// # Errors
    /// What the data and the engine say.
    pub fn values(&self, places: Range<usize>, statistics: &[Given], wanted: &[&str]) -> Result<Vec<Array>, PassError> {
        self.values_of(&self.source.read(places).map_err(PassError::Data)?, statistics, wanted)
    }

    /// The same of given inputs.
    ///
    /// # Errors
    /// What the engine says.
    pub fn values_of(
        &self,
        values: &[(String, Array)],
        statistics: &[Given],
        wanted: &[&str],
    ) -> Result<Vec<Array>, PassError> {
        // (An input that is wanted itself is there already; and nothing is asked for twice.)
        let read = |name: &str| values.iter().find(|(known, _)| known == name).map(|(_, array)| array);
        let mut asked: Vec<&str> = wanted.iter().copied().filter(|name| read(name).is_none()).collect();
        asked.sort_unstable();
        asked.dedup();
        let found = self.engine.run(given(self.written, borrowed(values), statistics), &asked)?;
        let of = |name: &&str| read(name).or_else(|| Some(&found[asked.binary_search(name).ok()?])).cloned();
        Ok(wanted.iter().filter_map(of).collect())
    }

    /// Takes a batch to the end of a stage, from the end of the one before it or from any earlier one, with all norms' statistics.
    ///
    /// # Errors
    /// What the engine says.
    pub fn go(&self, state: State, stage: usize, statistics: &[Given]) -> Result<State, PassError> {
        let left = &self.stages.left[stage];
        let wanted: Vec<&str> =
            left.iter().map(String::as_str).filter(|name| !state.values.contains_key(*name)).collect();
        let all = statistics.iter().enumerate().map(|(place, given)| state.own.get(&place).unwrap_or(given));
        // (What nothing needs any more is the engine's: a norm then normalises in place.)
        let (kept, spent): (HashMap<_, _>, HashMap<_, _>) =
            state.values.into_iter().partition(|(name, _)| left.contains(name));
        let (names, spent): (Vec<String>, Vec<Array>) = spent.into_iter().unzip();
        let spent = names.iter().zip(spent.into_iter().map(Cow::Owned));
        let values = kept.iter().map(|(name, array)| (name, Cow::Borrowed(array))).chain(spent);
        let given = given(self.written, values, all);
        let values = match wanted.is_empty() {
            true => Vec::new(),
            false => self.engine.run(given, &wanted)?,
        };
        let mut new: HashMap<String, Array> = wanted.iter().map(|&name| name.to_owned()).zip(values).collect();
        new.extend(kept);
        let (mut own, mut seen) = (state.own, HashMap::new());
        let by_batch = self.stages.norms.get(stage).into_iter().flatten().filter(|norm| self.by_batch.contains(norm));
        for &place in by_batch {
            let norm = &self.written.norms[place];
            if let Some(array) = new.get(&norm.input) {
                let (moments, samples) = of_batch(&norm.input, array, state.samples)?;
                own.insert(place, Given::of(&statistics_of(moments.channels())));
                seen.extend(samples.map(|samples| (place, samples)));
            }
        }
        Ok(State { samples: state.samples, values: new, own, seen })
    }

    /// The model's outputs from the end of a stage on, with all norms' statistics; the batch stays where it is.
    ///
    /// # Errors
    /// What the engine says.
    pub fn finish(&self, state: &State, statistics: &[Given]) -> Result<State, PassError> {
        let outputs = self.written.outputs.iter().map(String::as_str);
        let (there, wanted): (Vec<&str>, Vec<&str>) = outputs.partition(|name| state.values.contains_key(*name));
        let kept = state.values.iter().map(|(name, array)| (name, Cow::Borrowed(array)));
        let mut values: HashMap<String, Array> =
            there.into_iter().map(|name| (name.to_owned(), state.values[name].clone())).collect();
        if !wanted.is_empty() {
            let found = self.engine.run(given(self.written, kept, statistics), &wanted)?;
            values.extend(wanted.iter().map(|&name| name.to_owned()).zip(found));
        }
        Ok(State { samples: state.samples, values, ..State::default() })
    }

    /// Takes a batch from the start to the end of a stage, stopping where its own statistics have to be measured.
    ///
    /// # Errors
    /// What the data and the engine say.
    pub fn go_from_start(&self, places: Range<usize>, stage: usize, statistics: &[Given]) -> Result<State, PassError> {
        let mut state = self.start(places)?;
        for before in 0..stage {
            if self.stages.norms[before].iter().any(|norm| self.by_batch.contains(norm)) {
                state = self.go(state, before, statistics)?;
            }
        }
        self.go(state, stage, statistics)
    }
}

/// What a run is given: values by their names, and the statistics of all norms, in their order.
pub fn given<'g>(
    written: &'g Written,
    values: impl IntoIterator<Item = (&'g String, Cow<'g, Array>)>,
    statistics: impl IntoIterator<Item = &'g Given>,
) -> Vec<(&'g str, Cow<'g, Array>)> {
    let values = values.into_iter().map(|(name, array)| (name.as_str(), array));
    let statistics = written.norms.iter().zip(statistics);
    let statistics = statistics
        .flat_map(|(norm, given)| [(norm.mean.as_str(), &given.mean), (norm.variance.as_str(), &given.variance)]);
    values.chain(statistics.map(|(name, array)| (name, Cow::Borrowed(array)))).collect()
}

/// Values as a run is given them that stay the caller's.
pub fn borrowed(values: &[(String, Array)]) -> impl Iterator<Item = (&String, Cow<'_, Array>)> {
    values.iter().map(|(name, array)| (name, Cow::Borrowed(array)))
}

/// The population's statistics, of the moments of channels.
pub fn statistics_of(channels: &[Moments]) -> Statistics {
    Statistics {
        mean: channels.iter().map(|channel| channel.mean()).collect(),
        variance: channels.iter().map(|channel| channel.population_variance()).collect(),
    }
}

/// The moments of a whole batch, and of each of its samples where these can be told apart.
///
/// # Errors
/// What is no array of channels.
fn of_batch(
    value: &str,
    array: &Array,
    samples: usize,
) -> Result<(BatchMoments, Option<Vec<BatchMoments>>), PassError> {
    let seen = of_samples(value, array, samples).ok();
    let together = |seen: &Vec<BatchMoments>| {
        let (first, others) = seen.split_first()?;
        others.iter().try_fold(first.clone(), |all, other| all.merge(other).ok())
    };
    let whole = match seen.as_ref().and_then(together) {
        Some(whole) => whole,
        None => moments(value, array, array.shape.first().copied().unwrap_or(0), 0)?,
    };
    Ok((whole, seen))
}

/// The moments of each of a batch's samples: so they do not depend on which samples stand in a batch together.
///
/// # Errors
/// A first axis that is no multiple of the number of samples.
pub fn of_samples(value: &str, array: &Array, samples: usize) -> Result<Vec<BatchMoments>, PassError> {
    let first = array.shape.first().copied().unwrap_or(0);
    if samples == 0 || first == 0 || !first.is_multiple_of(samples) {
        return Err(PassError::Samples { value: excerpt(value), samples, shape: array.shape.clone() });
    }
    (0..samples).map(|sample| moments(value, array, first / samples, sample)).collect()
}

/// The moments of the part of so many rows of the first axis.
fn moments(value: &str, array: &Array, rows: usize, part: usize) -> Result<BatchMoments, PassError> {
    let wrong = || PassError::Channels { value: excerpt(value), shape: array.shape.clone() };
    let Numbers::F32(numbers) = &array.numbers else { return Err(wrong()) };
    // (An operator of one axis has one channel.)
    let mut shape = if array.shape.len() == 1 { vec![rows, 1] } else { array.shape.clone() };
    *shape.first_mut().ok_or_else(wrong)? = rows;
    let length: usize = shape.iter().product();
    let numbers = numbers.get(part * length..(part + 1) * length).ok_or_else(wrong)?;
    let view = View::new(numbers, &shape, Axes::NCHW).map_err(|_| wrong())?;
    // (What the library says of single values, without its preparations for many.)
    let single = |&number: &f32| Moments::from_statistics(1, 1.0, f64::from(number), 0.0);
    match numbers.len() == view.channels() {
        true => Ok(numbers.iter().filter_map(single).collect::<Vec<_>>().into()),
        false => Ok(NORMALIZER.moments(&view)),
    }
}

static NORMALIZER: LazyLock<Normalizer> =
    LazyLock::new(|| Config::pytorch().normalizer().expect("the options of PyTorch are right"));

/// Batches between two stages, in memory while there is room, then in files, then nowhere: those start anew.
pub struct Keeper {
    batches: Vec<Kept>,
    memory: usize,
    files: u64,
}

enum Kept {
    No,
    Memory(State),
    File(File, Vec<(String, Vec<usize>, char)>, State, u64),
}

impl Keeper {
    /// Room for so many batches, of so many bytes in memory and in files.
    pub fn new(batches: usize, memory: usize, files: u64) -> Keeper {
        Keeper { batches: (0..batches).map(|_| Kept::No).collect(), memory, files }
    }

    /// Takes a batch out.
    ///
    /// # Errors
    /// What the system says of a file.
    pub fn take(&mut self, batch: usize) -> io::Result<Option<State>> {
        match std::mem::replace(&mut self.batches[batch], Kept::No) {
            Kept::No => Ok(None),
            Kept::Memory(state) => {
                self.memory += state.bytes();
                Ok(Some(state))
            }
            Kept::File(mut file, values, rest, bytes) => {
                self.files += bytes;
                file.seek(SeekFrom::Start(0))?;
                let values = values.into_iter().map(|(name, shape, kind)| Ok((name, read(&mut file, shape, kind)?)));
                Ok(Some(State { values: values.collect::<io::Result<_>>()?, ..rest }))
            }
        }
    }

    /// Keeps a batch, if there is room for it.
    ///
    /// # Errors
    /// What the system says of a file.
    pub fn put(&mut self, batch: usize, mut state: State) -> io::Result<()> {
        let bytes = state.bytes();
        self.batches[batch] = if let Some(left) = self.memory.checked_sub(bytes) {
            self.memory = left;
            Kept::Memory(state)
        } else if let Some(left) = self.files.checked_sub(bytes as u64) {
            self.files = left;
            let mut file = tempfile::tempfile()?;
            let values: io::Result<Vec<_>> = std::mem::take(&mut state.values)
                .into_iter()
                .map(|(name, array)| {
                    let kind = write(&mut file, &array)?;
                    Ok((name, array.shape, kind))
                })
                .collect();
            Kept::File(file, values?, state, bytes as u64)
        } else {
            Kept::No
        };
        Ok(())
    }
}

fn write(file: &mut File, array: &Array) -> io::Result<char> {
    // (Read by the same process: in the machine's own order.)
    let (bytes, kind): (Vec<u8>, char) = match &array.numbers {
        Numbers::F32(numbers) => (numbers.iter().flat_map(|number| number.to_ne_bytes()).collect(), 'f'),
        Numbers::I32(numbers) => (numbers.iter().flat_map(|number| number.to_ne_bytes()).collect(), 'i'),
        Numbers::I8(numbers) => (numbers.iter().map(|&number| number as u8).collect(), 'b'),
        Numbers::U8(numbers) => (numbers.clone(), 'u'),
    };
    file.write_all(&bytes)?;
    Ok(kind)
}

fn read(file: &mut File, shape: Vec<usize>, kind: char) -> io::Result<Array> {
    let count: usize = shape.iter().product();
    let mut bytes = vec![0; count * if matches!(kind, 'f' | 'i') { 4 } else { 1 }];
    file.read_exact(&mut bytes)?;
    let fours = || bytes.as_chunks::<4>().0.iter();
    let numbers = match kind {
        'f' => Numbers::F32(fours().map(|bytes| f32::from_ne_bytes(*bytes)).collect()),
        'i' => Numbers::I32(fours().map(|bytes| i32::from_ne_bytes(*bytes)).collect()),
        'b' => Numbers::I8(bytes.iter().map(|&byte| byte as i8).collect()),
        _ => Numbers::U8(bytes),
    };
    Ok(Array { shape, numbers })
}

/// So many samples in batches of a size, the last one of what is left.
pub fn in_batches(samples: usize, size: usize) -> Vec<Range<usize>> {
    (0..samples).step_by(size).map(|first| first..(first + size).min(samples)).collect()
}

/// Works on each of some things with an engine, on as many threads as rayon's current pool has; the results are in the order of the things.
///
/// # Errors
/// The first error in that order.
pub fn in_parallel<T: Send, R: Send>(
    engine: &dyn Engine,
    things: Vec<T>,
    work: impl Fn(T) -> Result<R, PassError> + Sync,
) -> Result<Vec<R>, PassError> {
    let threads = rayon::current_num_threads().min(things.len());
    let mut results: Vec<Option<Result<R, PassError>>> = things.iter().map(|_| None).collect();
    let things = Mutex::new(things.into_iter().zip(&mut results));
    let next = || things.lock().unwrap_or_else(PoisonError::into_inner).next();
    let each = || {
        while let Some((thing, result)) = next() {
            *result = Some(work(thing));
        }
    };
    // (Threads of a pool that wait for an engine's own threads would take time from these.)
    thread::scope(|scope| {
        for _ in 1..threads {
            scope.spawn(|| engine.within(&mut || each()));
        }
        engine.within(&mut || each());
    });
    results.into_iter().flatten().collect()
}
