//! Evaluation with what it needs of each channel kept from call to call, as long as nothing of it changes.

use std::sync::{Arc, Mutex};

use batchnorm::{Normalizer, Parameter, Parameters, Prepared, RunningStatistics};
use burn::backend::flex::FlexTensor;

use crate::error::Reason;
use crate::lineage::locked;
use crate::running::{Cell, values};

/// What the last evaluation of a layer prepared.
#[derive(Clone, Default)]
pub(crate) struct LastPrepared(Arc<Mutex<Option<Kept>>>);

struct Kept {
    of: Sources,
    prepared: Arc<Prepared>,
}

/// What something was prepared of. The tensors are kept, so that nobody writes to their memory.
struct Sources {
    parameters: [FlexTensor; 2],
    cells: Vec<Cell>,
    versions: [u64; 2],
    epsilon: f64,
}

impl Sources {
    fn are(&self, parameters: [&FlexTensor; 2], cells: &[Cell], versions: [u64; 2], epsilon: f64) -> bool {
        let same = |one: &FlexTensor, other: &FlexTensor| {
            let memory = |tensor: &FlexTensor| (tensor.bytes().as_ptr(), tensor.layout().clone(), tensor.dtype());
            memory(one) == memory(other)
        };
        self.epsilon.to_bits() == epsilon.to_bits()
            && self.versions == versions
            && self.cells.iter().zip(cells).all(|(one, other)| one.is(other))
            && self.parameters.iter().zip(parameters).all(|(one, other)| same(one, other))
    }
}

impl LastPrepared {
    /// What evaluation needs, by gamma and beta, whose values are in `parameters`, and the running statistics in `cells`.
    pub fn get<P: Parameter>(
        &self,
        normalizer: &Normalizer,
        epsilon: f64,
        tensors: [&FlexTensor; 2],
        parameters: Parameters<P>,
        cells: &[Cell],
    ) -> Result<Arc<Prepared>, Reason> {
        let (mean, variance) = (cells[0].lock(), cells[1].lock());
        let versions = [mean.version(), variance.version()];
        let mut last = locked(&self.0);
        if let Some(Kept { of, prepared }) = &*last
            && of.are(tensors, cells, versions, epsilon)
        {
            return Ok(prepared.clone());
        }
        let running = RunningStatistics::from_parts(&values(&mean), &values(&variance), 0)?;
        let prepared = Arc::new(normalizer.prepare(parameters, &running)?);
        let of = Sources { parameters: tensors.map(FlexTensor::clone), cells: cells.to_vec(), versions, epsilon };
        *last = Some(Kept { of, prepared: prepared.clone() });
        Ok(prepared)
    }
}

impl std::fmt::Debug for LastPrepared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("LastPrepared")
    }
}
