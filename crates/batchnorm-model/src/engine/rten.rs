//! The engine `rten`.

use std::borrow::Cow;
use std::cell::RefCell;
use std::sync::{Arc, Mutex, PoisonError};

use rten::{Model, ModelOptions, NodeId, RunErrorKind, RunOptions, ThreadPool, Value, ValueOrView, ValueView};
use rten_tensor::Tensor;
use rten_tensor::prelude::*;

use super::array::{Array, Numbers};
use super::run::{Engine, EngineError, Optimiser};
use crate::excerpt::{beginning, excerpt};

const NAME: &str = "rten";
/// With the version that Cargo.toml asks for.
const NAME_AND_VERSION: &str = "rten 0.27";

/// A model in `rten`. Each run has one thread of its own, so that its bits do not depend on how many there are.
pub struct Rten {
    model: Model,
}

/// Threads that nothing runs in just now, as pools of one.
static IDLE: Mutex<Vec<Arc<ThreadPool>>> = Mutex::new(Vec::new());

thread_local! {
    /// The pool whose thread this is.
    static HERE: RefCell<Option<Arc<ThreadPool>>> = const { RefCell::new(None) };
}

/// Does something in an idle thread, or in this one if it is such a one.
fn in_one_thread<R: Send>(work: impl FnOnce(&Arc<ThreadPool>) -> R + Send) -> R {
    if let Some(pool) = HERE.with_borrow(Clone::clone) {
        return work(&pool);
    }
    let idle = || IDLE.lock().unwrap_or_else(PoisonError::into_inner);
    let pool = idle().pop();
    let pool = pool.unwrap_or_else(|| Arc::new(ThreadPool::with_num_threads(1)));
    let result = pool.run(|| {
        HERE.set(Some(Arc::clone(&pool)));
        let result = work(&pool);
        HERE.take();
        result
    });
    idle().push(pool);
    result
}

impl Rten {
    /// Loads a model that was written for engines.
    ///
    /// # Errors
    /// An operator that it does not have, or not in that version; attributes that it does not take.
    pub fn load(bytes: Vec<u8>, optimiser: Optimiser) -> Result<Rten, EngineError> {
        let mut options = ModelOptions::with_all_ops();
        options.enable_optimization(optimiser == Optimiser::On);
        let model = options.load(bytes).map_err(|error| EngineError::Load { engine: NAME, why: beginning(error) })?;
        Ok(Rten { model })
    }

    fn id(&self, name: &str) -> Result<NodeId, EngineError> {
        self.model.find_node(name).ok_or_else(|| EngineError::Name { engine: NAME, name: excerpt(name) })
    }
}

impl Engine for Rten {
    fn name(&self) -> &str {
        NAME_AND_VERSION
    }

    fn run(&self, given: Vec<(&str, Cow<'_, Array>)>, wanted: &[&str]) -> Result<Vec<Array>, EngineError> {
        let failed = |why: String| EngineError::Run { engine: NAME, why };
        let wanted: Vec<NodeId> = wanted.iter().map(|name| self.id(name)).collect::<Result<_, _>>()?;
        let mut values: Vec<(NodeId, ValueOrView)> = Vec::with_capacity(given.len());
        for (name, array) in given {
            let id = self.id(name)?;
            values.push((
                id,
                match array {
                    Cow::Borrowed(array) => view(array).map_err(failed)?.into(),
                    // (Where nobody else needs it, some operators compute in place.)
                    Cow::Owned(array) => owned(array).map_err(failed)?.into(),
                },
            ));
        }
        let result = in_one_thread(|pool| {
            let options = RunOptions::default().with_thread_pool(Some(Arc::clone(pool)));
            self.model.run(values, &wanted, Some(options))
        });
        let values = result.map_err(|error| {
            let is_lacking = error.kind() == RunErrorKind::OperatorError;
            let why = beginning(error);
            match is_lacking && why.contains("unsupported") {
                true => EngineError::Lacks { engine: NAME, why },
                false => failed(why),
            }
        })?;
        values.into_iter().map(|value| array(value).map_err(failed)).collect()
    }

    /// (Each run would wake another thread, and wait for it.)
    fn within(&self, work: &mut (dyn FnMut() + Send)) {
        in_one_thread(|_| work());
    }
}

fn view(array: &Array) -> Result<ValueView<'_>, String> {
    macro_rules! view {
        ($numbers:expr) => {
            ValueView::from_shape(&array.shape, $numbers).map_err(|error| error.to_string())
        };
    }
    match &array.numbers {
        Numbers::F32(numbers) => view!(numbers),
        Numbers::I32(numbers) => view!(numbers),
        Numbers::I8(numbers) => view!(numbers),
        Numbers::U8(numbers) => view!(numbers),
    }
}

fn owned(array: Array) -> Result<Value, String> {
    macro_rules! value {
        ($numbers:expr) => {
            Tensor::try_from_data(array.shape.as_slice(), $numbers).map(Value::from).map_err(|error| error.to_string())
        };
    }
    match array.numbers {
        Numbers::F32(numbers) => value!(numbers),
        Numbers::I32(numbers) => value!(numbers),
        Numbers::I8(numbers) => value!(numbers),
        Numbers::U8(numbers) => value!(numbers),
    }
}

fn array(value: Value) -> Result<Array, String> {
    Ok(match value {
        Value::FloatTensor(tensor) => {
            Array { shape: tensor.shape().to_vec(), numbers: Numbers::F32(tensor.into_data()) }
        }
        Value::Int32Tensor(tensor) => {
            Array { shape: tensor.shape().to_vec(), numbers: Numbers::I32(tensor.into_data()) }
        }
        Value::Int8Tensor(tensor) => Array { shape: tensor.shape().to_vec(), numbers: Numbers::I8(tensor.into_data()) },
        Value::UInt8Tensor(tensor) => {
            Array { shape: tensor.shape().to_vec(), numbers: Numbers::U8(tensor.into_data()) }
        }
        _ => return Err(String::from("a value is a list of tensors, which is not handled")),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_the_one_that_is_built() {
        let (name, version) = NAME_AND_VERSION.split_once(' ').unwrap();
        assert!(include_str!("../../Cargo.toml").contains(&format!("{name} = {{ version = \"={version}.")));
    }
}
