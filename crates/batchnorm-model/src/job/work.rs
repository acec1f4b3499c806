//! What a child is asked to do, and what it says.

use std::path::PathBuf;

use batchnorm::UpdateWeight;
use serde::{Deserialize, Serialize};

use super::inputs::{Inputs, RandomInputs};
use crate::compare::{self, Comparison, Loaded};
use crate::cut::Cut;
use crate::engine::{EngineChoice, EngineError, Optimiser, PassError, Written, WrittenError};
use crate::file::{FileError, ModelFile};
use crate::fingerprint::{self, Fit};
use crate::gap::{self, Asked, Gap};
use crate::onnx::Model;
use crate::os_path;
use crate::recalibrate::{self, Event, Outcome, RecalibrateError, Request, Tell};
use crate::samples::{Data, Samples, SamplesError};

/// A piece of work.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Job {
    /// The model.
    #[serde(with = "os_path")]
    pub model: PathBuf,
    /// The data, if there are some.
    pub data: Option<Data>,
    /// What runs the model.
    pub engine: EngineChoice,
    /// Threads.
    pub threads: usize,
    /// Bytes of memory that the child may have.
    pub memory: u64,
    /// What is to be done.
    pub task: Task,
    /// From where it goes on.
    pub resumed: Option<Resume>,
}

/// From where work goes on that was interrupted.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Resume {
    /// A recalibration.
    Recalibrate(recalibrate::Progress),
    /// The layers that make a difference.
    Gap(Box<gap::Progress>),
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Task {
    /// Statistics are measured anew.
    Recalibrate {
        /// The norms, by the places of their nodes in the graph.
        layers: Vec<usize>,
        /// In one pass, by batches.
        one_pass: bool,
        /// On samples cut at random, as a training did.
        cut: bool,
        /// Samples in a batch.
        batch: usize,
        /// Mix new and old ones.
        blend: Option<Blend>,
        /// Bytes of values between layers in files.
        files: u64,
    },
    /// The usual preprocessings are tried.
    Fingerprint,
    /// It is found which layer's statistics make a difference.
    Gap {
        /// The norms, by the places of their nodes in the graph.
        layers: Vec<usize>,
        /// How many are looked at one by one; all, if none is said.
        top: Option<usize>,
        /// Quantiles are taken.
        quantiles: bool,
        /// Samples in a batch.
        batch: usize,
        /// Bytes of values between layers in files.
        files: u64,
    },
    /// The folded model is compared with the original.
    Fold {
        /// Norms that no layer takes become a multiplication and an addition.
        to_mul_and_add: bool,
    },
}

/// Weights of a mix.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub enum Blend {
    /// The weight of the new statistics.
    New(f64),
    /// The weight of the old ones.
    Old(f64),
}

impl Blend {
    /// As the library has it.
    ///
    /// # Errors
    /// A weight that is not between 0 and 1.
    pub fn weight(self) -> Result<UpdateWeight, String> {
        match self {
            Blend::New(weight) => UpdateWeight::of_new(weight),
            Blend::Old(weight) => UpdateWeight::of_old(weight),
        }
        .map_err(|error| error.to_string())
    }
}

/// What a child says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Message {
    /// Something happened on the way.
    Event(Event<Resume>),
    /// It is done.
    Answer(Box<Answer>),
    /// It cannot be done.
    Refused(Refusal),
}

/// What came out.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Answer {
    /// Of a recalibration.
    Recalibrated(Box<Outcome>),
    /// How well the usual preprocessings fit; the user's own is the first one. None where the model's statistics say nothing.
    Fits(Option<Vec<Fit>>),
    /// Which layer's statistics make a difference.
    Gap(Box<Gap>),
    /// How far the folded model is from the original.
    Compared(Comparison),
}

/// Why something cannot be done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// Whose doing it is.
    pub kind: RefusalKind,
    /// A sentence.
    pub text: String,
}

/// Whose doing it is that something cannot be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum RefusalKind {
    /// The model's.
    Model,
    /// The data's.
    Data,
    /// The engine's.
    Engine,
    /// What is asked for cannot be had of right input.
    Asked,
}

impl Refusal {
    fn new(kind: RefusalKind, text: impl ToString) -> Refusal {
        Refusal { kind, text: text.to_string() }
    }
}

impl From<FileError> for Refusal {
    fn from(error: FileError) -> Refusal {
        Refusal::new(RefusalKind::Model, error)
    }
}

impl From<WrittenError> for Refusal {
    fn from(error: WrittenError) -> Refusal {
        Refusal::new(RefusalKind::Engine, error)
    }
}

impl From<SamplesError> for Refusal {
    fn from(error: SamplesError) -> Refusal {
        Refusal::new(RefusalKind::Data, error)
    }
}

impl From<EngineError> for Refusal {
    fn from(error: EngineError) -> Refusal {
        Refusal::new(RefusalKind::Engine, error)
    }
}

impl From<PassError> for Refusal {
    fn from(error: PassError) -> Refusal {
        let kind = match &error {
            PassError::Data(_) => RefusalKind::Data,
            PassError::Engine(_) => RefusalKind::Engine,
            _ => RefusalKind::Asked,
        };
        Refusal::new(kind, error)
    }
}

impl From<RecalibrateError> for Refusal {
    fn from(error: RecalibrateError) -> Refusal {
        match error {
            RecalibrateError::Pass(error) => error.into(),
            RecalibrateError::Empty | RecalibrateError::Labels(_) => Refusal::new(RefusalKind::Data, error),
            _ => Refusal::new(RefusalKind::Asked, error),
        }
    }
}

/// Does a piece of work, in this process and with rayon's current threads.
///
/// # Errors
/// What cannot be done, in a sentence.
pub(super) fn perform(job: &Job, tell: &mut Tell<Resume>) -> Result<Answer, Refusal> {
    let file = ModelFile::open(&job.model)?;
    let bytes = file.onnx().ok_or_else(|| Refusal::from(FileError::NoGraph(file.kind())))?;
    let model = Model::read(bytes).map_err(FileError::from)?;
    model.check().map_err(FileError::from)?;
    let elsewhere = |name: &str, offset, length| file.elsewhere(name, offset, length);
    let written = Written::of(&model, bytes, &elsewhere)?;
    let samples = job.data.as_ref().map(Data::open).transpose()?;
    let of_data = |text: String| Refusal::new(RefusalKind::Data, text);
    let needed = || of_data(String::from("--data: this needs data"));
    let places = |nodes: &[usize]| -> Vec<usize> {
        nodes.iter().filter_map(|node| written.norms.iter().position(|norm| norm.node == *node)).collect()
    };
    match &job.task {
        Task::Recalibrate { layers, one_pass, cut, batch, blend, files } => {
            let samples = samples.as_ref().ok_or_else(needed)?;
            let inputs = Inputs::of(samples, &written).map_err(of_data)?;
            let asked = |text: String| Refusal::new(RefusalKind::Asked, text);
            let cut = if *cut {
                cut_of(samples, &written, &inputs)?.map_or_else(no_pictures, |cut| Ok(Some(cut)))?
            } else {
                None
            };
            let request = Request {
                layers: places(layers),
                one_pass: *one_pass,
                batch: *batch,
                mix: blend.map(Blend::weight).transpose().map_err(asked)?,
                cut,
                memory: (job.memory / 4) as usize,
                files: *files,
            };
            let engine = job.engine.load(&written, Optimiser::Off)?;
            let resumed = || match &job.resumed {
                Some(Resume::Recalibrate(progress)) => Some(progress.clone()),
                _ => None,
            };
            let mut tell = |event: Event| tell(event.part_of(Resume::Recalibrate));
            let outcome = with_labels(samples, |labels| {
                recalibrate::recalibrate(&*engine, &written, &inputs, labels, &request, resumed(), &mut tell)
            })?;
            Ok(Answer::Recalibrated(Box::new(outcome)))
        }
        Task::Gap { layers, top, quantiles, batch, files } => {
            let samples = samples.as_ref().ok_or_else(needed)?;
            let inputs = Inputs::of(samples, &written).map_err(of_data)?;
            let request = Request {
                layers: places(layers),
                one_pass: false,
                batch: *batch,
                mix: None,
                cut: cut_of(samples, &written, &inputs)?,
                memory: (job.memory / 4) as usize,
                files: *files,
            };
            let asked = Asked { request, top: *top, quantiles: *quantiles };
            let engine = job.engine.load(&written, Optimiser::Off)?;
            let resumed = || match &job.resumed {
                Some(Resume::Gap(progress)) => Some((**progress).clone()),
                _ => None,
            };
            let mut tell =
                |event: Event<gap::Progress>| tell(event.part_of(|progress| Resume::Gap(Box::new(progress))));
            let found = with_labels(samples, |labels| {
                gap::gap(&*engine, &written, &inputs, labels, &asked, resumed(), &mut tell)
            })?;
            Ok(Answer::Gap(Box::new(found)))
        }
        Task::Fingerprint => {
            let samples = samples.as_ref().ok_or_else(needed)?;
            if !fingerprint::can_tell(&written) {
                return Ok(Answer::Fits(None));
            }
            let engine = job.engine.load(&written, Optimiser::Off)?;
            let inputs = Inputs::of(samples, &written).map_err(of_data)?;
            let fits = match samples.recipe() {
                // (Whole numbers are levels already.)
                Some(recipe) if written.inputs.iter().all(|input| !input.is_whole) => {
                    let levels = samples.prepared_by(&fingerprint::levels(recipe))?;
                    let levels = Inputs::of(&levels, &written).map_err(of_data)?;
                    fingerprint::fits(&*engine, &written, &levels, recipe)?
                }
                _ => vec![fingerprint::fit(&*engine, &written, &inputs)?],
            };
            Ok(Answer::Fits(Some(fits)))
        }
        Task::Fold { to_mul_and_add } => {
            let folding = file.fold(*to_mul_and_add)?;
            let folded = file.folded_bytes(&folding)?;
            let model_of_folded = Model::read(&folded).map_err(FileError::from)?;
            let folded = Written::of(&model_of_folded, &folded, &elsewhere)?;
            let moved = Written::moved(&model, bytes, &elsewhere, SEED)?;
            let load = |written: &Written, optimiser| job.engine.load(written, optimiser);
            let [original, changed] = [load(&written, Optimiser::Off)?, load(&folded, Optimiser::Off)?];
            let [optimised, nudged] = [load(&written, Optimiser::On)?, load(&moved, Optimiser::Off)?];
            let loaded = |written, engine| Loaded { written, engine };
            let models = [
                loaded(&written, &*original),
                loaded(&folded, &*changed),
                loaded(&written, &*optimised),
                loaded(&moved, &*nudged),
            ];
            let compare = |source: &dyn crate::engine::Source| {
                compare::compare(&models[0], &models[1], &models[2], &models[3], source, SEED)
            };
            let compared = match &samples {
                Some(samples) => compare(&Inputs::of(samples, &written).map_err(of_data)?)?,
                None => compare(&RandomInputs::of(&written, RANDOM_SAMPLES, SEED).map_err(of_data)?)?,
            };
            Ok(Answer::Compared(compared))
        }
    }
}

/// How a training may have cut these samples, if they are pictures, or arrays that look like some.
fn cut_of(samples: &Samples, written: &Written, inputs: &Inputs) -> Result<Option<Cut>, Refusal> {
    match samples.recipe() {
        _ if written.inputs.iter().any(|input| input.is_whole) => Ok(None),
        Some(recipe) => Ok(Some(Cut::of(recipe))),
        None => Cut::of_arrays(inputs).map_err(|text| Refusal::new(RefusalKind::Data, text)),
    }
}

fn no_pictures() -> Result<Option<Cut>, Refusal> {
    let text = "--cut: expected pictures, or arrays of 1 or 3 channels of floating point, got others";
    Err(Refusal::new(RefusalKind::Asked, text))
}

/// Does something with the samples' labels, or without where these are sub-folders that are no classes of the model.
fn with_labels<'s, T>(
    samples: &'s Samples,
    mut work: impl FnMut(Option<&'s [usize]>) -> Result<T, RecalibrateError>,
) -> Result<T, RecalibrateError> {
    match work(samples.labels()) {
        Err(RecalibrateError::Labels(_)) if samples.classes().is_some() => work(None),
        result => result,
    }
}

/// The seed of what is random here.
const SEED: u64 = 20_261_202;
/// Samples of random data.
const RANDOM_SAMPLES: usize = 8;
