//! The engine `onnxruntime`: a library that the user names, loaded when it is asked for.
//!
//! It gives the declared outputs of a model and takes its declared inputs. So for what is given and what is wanted there is a part of the
//! model with just these, in a session of its own; the last ones are kept.

use std::borrow::Cow;
use std::collections::HashMap;
use std::error::Error;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ort::LoadDynamicError;
use ort::environment::Environment;
use ort::logging::LogLevel;
use ort::session::builder::GraphOptimizationLevel;
use ort::session::{NoSelectedOutputs, RunOptions, Session, SessionInputValue};
use ort::value::TensorElementType;

use super::array::Array;
use super::elements::{self, default_of};
use super::run::{Engine, EngineError, Optimiser};
use super::subgraph::{Part, Whole};
use super::written::Written;
use crate::excerpt::{beginning, excerpt};

const NAME: &str = "onnxruntime";
/// Sessions that nothing runs in just now are kept, for each thread so many, which have so many times the bytes of the whole model
/// together. (In one pass each batch goes through a session for each layer.)
const KEPT: usize = 200;
const KEPT_SIZE: usize = 4;

/// A model in `onnxruntime`. Each run has one thread; several can run at a time, each in a session of its own.
pub struct OnnxRuntime {
    whole: Whole,
    library: Library,
    optimiser: Optimiser,
    /// Those that it is loaded for, of rayon's pool.
    threads: usize,
    /// Types that values came out with, by which they go in again.
    types: Mutex<HashMap<String, TensorElementType>>,
    /// Those that ran last are at the end.
    idle: Mutex<Vec<Ready>>,
}

/// What a session is for: the given values with their types, in the order of their names, and the wanted ones.
#[derive(Debug, PartialEq, Eq)]
struct Purpose {
    given: Vec<(String, TensorElementType)>,
    wanted: Vec<String>,
}

/// A session, with the given values that it takes by their places in its purpose.
struct Ready {
    purpose: Purpose,
    takes: Vec<usize>,
    size: usize,
    session: Session,
}

/// The library. A process can have one alone, and has it to its end.
#[derive(Clone)]
struct Library {
    path: PathBuf,
    name: Arc<str>,
    environment: Environment,
    options: Arc<RunOptions<NoSelectedOutputs>>,
}

static LIBRARY: Mutex<Option<Library>> = Mutex::new(None);

impl OnnxRuntime {
    /// Takes a model that was written for engines, to be run by the library in a file.
    ///
    /// # Errors
    /// A file that is not there, is no such library, or is too old.
    pub fn load(written: &Written, library: &Path, optimiser: Optimiser) -> Result<OnnxRuntime, EngineError> {
        let library = Library::load(library)?;
        let whole = Whole::of(written).map_err(|error| EngineError::Load { engine: NAME, why: error.to_string() })?;
        Ok(OnnxRuntime {
            whole,
            library,
            optimiser,
            threads: rayon::current_num_threads(),
            types: Mutex::new(HashMap::new()),
            idle: Mutex::new(Vec::new()),
        })
    }

    /// The type by which a value goes in: its declared one, the one that it came out with, or else the usual one of such numbers.
    fn type_of(&self, name: &str, array: &Array) -> TensorElementType {
        let declared = self.whole.declared(name).and_then(elements::of_number);
        declared.or_else(|| lock(&self.types).get(name).copied()).unwrap_or_else(|| default_of(&array.numbers))
    }

    /// A session for a purpose: an idle one or a new one.
    fn ready(&self, purpose: Purpose) -> Result<Ready, EngineError> {
        let mut idle = lock(&self.idle);
        if let Some(at) = idle.iter().rposition(|ready| ready.purpose == purpose) {
            return Ok(idle.remove(at));
        }
        drop(idle);
        let given: Vec<(&str, i32)> =
            purpose.given.iter().map(|(name, element)| (name.as_str(), elements::number_of(*element))).collect();
        let wanted: Vec<&str> = purpose.wanted.iter().map(String::as_str).collect();
        let Part { bytes, takes } = self.whole.part(&given, &wanted);
        let session = self.session(&bytes).map_err(|error| EngineError::Load { engine: NAME, why: said(error) })?;
        Ok(Ready { purpose, takes, size: bytes.len(), session })
    }

    fn session(&self, model: &[u8]) -> ort::Result<Session> {
        let level = match self.optimiser {
            Optimiser::Off => GraphOptimizationLevel::Disable,
            Optimiser::On => GraphOptimizationLevel::All,
        };
        let builder = Session::builder(&self.library.environment)?.with_optimization_level(level)?;
        let builder = builder.with_intra_threads(1)?.with_parallel_execution(false)?;
        let mut builder = builder.with_deterministic_compute(true)?.with_log_level(LogLevel::Fatal)?;
        builder.commit_from_memory(model)
    }

    /// Keeps a session, and no more than there is room for.
    fn keep(&self, ready: Ready) {
        let mut idle = lock(&self.idle);
        idle.push(ready);
        let mut size: usize = idle.iter().map(|ready| ready.size).sum();
        while idle.len() > KEPT * self.threads || idle.len() > 1 && size > KEPT_SIZE * self.threads * self.whole.size()
        {
            size -= idle.remove(0).size;
        }
    }

    fn run_in(
        &self,
        ready: &mut Ready,
        values: Vec<(&str, Cow<'_, Array>)>,
    ) -> Result<Vec<(Array, TensorElementType)>, String> {
        let mut inputs: Vec<(&str, SessionInputValue)> = Vec::with_capacity(ready.takes.len());
        let mut values: Vec<Option<(&str, Cow<'_, Array>)>> = values.into_iter().map(Some).collect();
        // (Of borrowed numbers of the type in question nothing is copied.)
        for &at in &ready.takes {
            let Some((name, array)) = values[at].take() else { continue };
            let (_, element) = ready.purpose.given[at];
            inputs.push((name, elements::value_of(array, element)?));
        }
        let outputs = ready.session.run_with_options(inputs, &*self.library.options).map_err(said)?;
        let wanted = ready.purpose.wanted.iter();
        let array = |name: &String| {
            let value = outputs.get(name).ok_or_else(|| format!("no value {} came out", excerpt(name)))?;
            elements::array_of(value).map_err(|why| format!("{}: {why}", excerpt(name)))
        };
        wanted.map(array).collect()
    }
}

impl Engine for OnnxRuntime {
    fn name(&self) -> &str {
        &self.library.name
    }

    fn run(&self, mut given: Vec<(&str, Cow<'_, Array>)>, wanted: &[&str]) -> Result<Vec<Array>, EngineError> {
        if let Some(name) = wanted.iter().chain(given.iter().map(|(name, _)| name)).find(|name| !self.whole.knows(name))
        {
            return Err(EngineError::Name { engine: NAME, name: excerpt(name) });
        }
        given.sort_unstable_by_key(|(name, _)| *name);
        let purpose = Purpose {
            given: given.iter().map(|(name, array)| ((*name).to_owned(), self.type_of(name, array))).collect(),
            wanted: wanted.iter().map(|&name| name.to_owned()).collect(),
        };
        let mut ready = self.ready(purpose)?;
        let values = self.run_in(&mut ready, given).map_err(|why| EngineError::Run { engine: NAME, why })?;
        let mut types = lock(&self.types);
        for (name, (array, element)) in ready.purpose.wanted.iter().zip(&values) {
            if *element != default_of(&array.numbers) && types.get(name) != Some(element) {
                types.insert(name.clone(), *element);
            }
        }
        drop(types);
        self.keep(ready);
        Ok(values.into_iter().map(|(array, _)| array).collect())
    }
}

impl Library {
    fn load(path: &Path) -> Result<Library, EngineError> {
        let failed = |why: String| EngineError::Library { path: path.to_owned(), why };
        // (The crate would look for another path beside the program first.)
        let path = path.canonicalize().map_err(|error| failed(error.to_string()))?;
        let mut library = lock(&LIBRARY);
        if let Some(library) = &*library {
            return match library.path == path {
                true => Ok(library.clone()),
                false => Err(failed(format!("this process has {} already, and can have one", library.path.display()))),
            };
        }
        let builder = ort::init_from(&path).map_err(|error| failed(why_not(error)))?;
        let silent = Arc::new(|_: LogLevel, _: &str, _: &str, _: &str, _: &str| {});
        let environment = builder.with_name("batchnorm").with_telemetry(false).with_logger(silent).build();
        let environment = environment.map_err(|error| failed(said(error)))?;
        environment.set_log_level(LogLevel::Fatal);
        let options = options().map_err(|error| failed(said(error)))?.into();
        let name = format!("{NAME} {}", version(&path, ort::info())).into();
        Ok(library.insert(Library { path, name, environment, options }).clone())
    }
}

/// How sessions run: they give back the memory of their values, which each would keep for its next run otherwise.
fn options() -> ort::Result<RunOptions<NoSelectedOutputs>> {
    let mut options = RunOptions::new()?;
    options.set("memory.enable_memory_arena_shrinkage", "cpu:0")?;
    Ok(options)
}

/// The version of a library, which its file is named by; else the commit that it was built from, which it says itself.
fn version(path: &Path, built: &str) -> String {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let is_of_version = |letter: char| letter.is_ascii_digit() || letter == '.';
    let mut pieces = name.split(|letter| !is_of_version(letter)).map(|piece| piece.trim_matches('.'));
    let of_name = pieces.rfind(|piece| piece.contains('.')).map(str::to_owned);
    let commit = || built.split("git-commit-id=").nth(1)?.split(',').next().map(|commit| format!("at commit {commit}"));
    of_name.or_else(commit).unwrap_or_else(|| String::from("of unknown version"))
}

/// What the library says, and what can be done where memory is what was missing.
fn said(error: ort::Error) -> String {
    let said = error.to_string();
    let lacks_memory = said.contains("bad_alloc") || said.contains("Failed to allocate memory");
    let mend = if lacks_memory { "; give more memory by --max-memory, or smaller batches by --batch" } else { "" };
    format!("{}{mend}", beginning(said))
}

/// Why the library cannot be loaded. (Of what the system says the crate gives the beginning alone.)
fn why_not(error: LoadDynamicError) -> String {
    match &error {
        LoadDynamicError::Dlopen { error: system, .. } => match system.source() {
            Some(source) => beginning(format_args!("{system}: {source}")),
            None => beginning(system),
        },
        _ => beginning(error),
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_library_is_named_by_its_version_or_its_commit() {
        let built = "ORT Build Info: git-branch=HEAD, git-commit-id=fab30a4, build type=Release";
        let of = |name: &str| version(Path::new(name), built);
        assert_eq!(of("/lib/libonnxruntime.so.1.32.0"), "1.32.0");
        assert_eq!(of("/lib/libonnxruntime.1.20.1.dylib"), "1.20.1");
        assert_eq!(of("/lib/libonnxruntime.so"), "at commit fab30a4");
        assert_eq!(version(Path::new("x"), ""), "of unknown version");
    }
}
