//! Running statistics as a part of a module.

use std::fmt;
use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Mutex, MutexGuard};

use batchnorm::{ConfigError, RunningStatistics};
use burn::module::{
    Content, Devices, Module, ModuleDisplay, ModuleDisplayDefault, ModuleMapper, ModuleVisitor, Param, ParamId,
};
use burn::tensor::{DType, Device, Tensor, TensorData};

use crate::lineage::locked;

/// A vector that a forward pass may update though it has only `&self`, such as running statistics.
///
/// Unlike Burn's `RunningState`, a read gives the last value written, and a clone has a value of its own. Visitors,
/// mappers and records see one tensor, by the name of the field. It never requires a gradient.
pub struct RunningTensor {
    id: ParamId,
    cell: Cell,
}

/// Where a value stands: its layer's ledger knows it too.
#[derive(Clone)]
pub(crate) struct Cell(Arc<Mutex<Versioned>>);

struct Versioned {
    value: Tensor<1>,
    /// Counts the times that the value was written.
    version: u64,
}

/// A value while nobody else reads or writes it.
pub(crate) struct Locked<'c>(MutexGuard<'c, Versioned>);

impl Cell {
    /// Locks the value: whoever updates two vectors locks both, so that no reader sees one old and one new.
    pub fn lock(&self) -> Locked<'_> {
        Locked(locked(&self.0))
    }

    /// Whether it is the same place.
    pub fn is(&self, other: &Cell) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    fn change(&self, change: impl FnOnce(Tensor<1>) -> Tensor<1>) {
        let mut value = self.lock();
        *value = change(value.clone());
    }
}

impl fmt::Debug for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.lock().fmt(f)
    }
}

impl Locked<'_> {
    /// A number that is another one once the value has been written.
    pub fn version(&self) -> u64 {
        self.0.version
    }
}

impl Deref for Locked<'_> {
    type Target = Tensor<1>;

    fn deref(&self) -> &Tensor<1> {
        &self.0.value
    }
}

impl DerefMut for Locked<'_> {
    fn deref_mut(&mut self) -> &mut Tensor<1> {
        self.0.version += 1;
        &mut self.0.value
    }
}

impl RunningTensor {
    /// A vector with a first value and a new identity.
    pub fn new(value: Tensor<1>) -> Self {
        Self::with_id(ParamId::new(), value)
    }

    /// A vector with a first value and the identity of a parameter in a record.
    pub fn with_id(id: ParamId, value: Tensor<1>) -> Self {
        RunningTensor {
            id,
            cell: Cell(Arc::new(Mutex::new(Versioned { value: value.set_require_grad(false), version: 0 }))),
        }
    }

    /// The identity by which records and parameter groups know it.
    pub fn id(&self) -> ParamId {
        self.id
    }

    /// The value, as last written.
    pub fn value(&self) -> Tensor<1> {
        self.lock().clone()
    }

    /// [`value`](Self::value) under another name, so that code written for Burn's `RunningState` compiles. (Here no
    /// update is ever pending.)
    pub fn value_sync(&self) -> Tensor<1> {
        self.value()
    }

    /// A vector from a parameter of a record.
    pub fn from_record(record: Param<Tensor<1>>) -> Self {
        Self::with_id(record.id, record.val())
    }

    /// Writes a value at once.
    pub fn update(&self, value: Tensor<1>) {
        *self.lock() = value.set_require_grad(false);
    }

    /// Locks the value.
    pub(crate) fn lock(&self) -> Locked<'_> {
        self.cell.lock()
    }

    pub(crate) fn cell(&self) -> Cell {
        self.cell.clone()
    }

    /// The same vector, not a copy.
    pub(crate) fn alias(&self) -> RunningTensor {
        RunningTensor { id: self.id, cell: self.cell() }
    }
}

/// A tensor of numbers: of a quantised one those that its integers stand for.
pub(crate) fn dequantized<const D: usize>(tensor: Tensor<D>) -> Tensor<D> {
    match tensor.dtype() {
        DType::QFloat(_) => tensor.dequantize(),
        _ => tensor,
    }
}

/// The values of a vector.
pub(crate) fn values(vector: &Tensor<1>) -> Vec<f64> {
    let data = dequantized(vector.clone()).into_data();
    match data.as_slice::<f32>() {
        // (Conversion of any type by `iter` takes many times as long.)
        Ok(values) => values.iter().copied().map(f64::from).collect(),
        Err(_) => data.iter::<f64>().collect(),
    }
}

/// Running statistics out of the numbers of a layer's vectors; the updates of each channel where the layer counts them.
pub(crate) fn statistics(
    mean: &[f64],
    variance: &[f64],
    updates: Option<&[f64]>,
) -> Result<RunningStatistics, ConfigError> {
    let Some(updates) = updates else { return RunningStatistics::from_parts(mean, variance, 0) };
    // (What is negative or no number counts as 0.)
    let updates: Vec<u64> = updates.iter().map(|&updates| updates as u64).collect();
    let batches = updates.iter().copied().max().unwrap_or(0);
    RunningStatistics::from_parts(mean, variance, batches)?.with_updates(&updates)
}

/// Running statistics out of a layer's vectors, wherever they stand.
pub(crate) fn statistics_in(cells: &[Cell]) -> Result<RunningStatistics, ConfigError> {
    let vectors: Vec<_> = cells.iter().map(Cell::lock).collect();
    let vectors: Vec<Vec<f64>> = vectors.iter().map(|vector| values(vector)).collect();
    statistics(&vectors[0], &vectors[1], vectors.get(2).map(Vec::as_slice))
}

/// Whether a value can be stored.
pub(crate) fn fits_f32(value: f64) -> bool {
    (value as f32).is_finite()
}

/// A vector of values.
pub(crate) fn vector(values: Vec<f32>, device: &Device) -> Tensor<1> {
    let shape = [values.len()];
    Tensor::from_data(TensorData::new(values, shape), device)
}

impl Clone for RunningTensor {
    fn clone(&self) -> Self {
        Self::with_id(self.id, self.value())
    }
}

impl fmt::Debug for RunningTensor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RunningTensor").field("id", &self.id).field("value", &*self.lock()).finish()
    }
}

impl fmt::Display for RunningTensor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RunningTensor(id={})", self.id)
    }
}

impl Module for RunningTensor {
    fn visit<V: ModuleVisitor>(&self, visitor: &mut V) {
        visitor.visit_float(&Param::initialized(self.id, self.value()));
    }

    fn map<M: ModuleMapper>(self, mapper: &mut M) -> Self {
        let (id, value, _) = mapper.map_float(Param::initialized(self.id, self.value())).consume();
        // A mapper that unfreezes everything must not make a statistic trainable.
        self.update(value);
        RunningTensor { id, ..self }
    }

    fn to_device(self, device: &Device) -> Self {
        self.cell.change(|value| value.to_device(device));
        self
    }

    fn fork(self, device: &Device) -> Self {
        self.to_device(device)
    }

    fn collect_devices(&self, mut devices: Devices) -> Devices {
        let device = self.lock().device();
        if !devices.contains(&device) {
            devices.push(device);
        }
        devices
    }

    fn materialize(self) -> Self {
        self
    }

    fn valid(&self) -> Self {
        Self::with_id(self.id, self.value().without_autodiff())
    }

    fn train(self) -> Self {
        self.cell.change(Tensor::autodiff);
        self
    }
}

impl ModuleDisplayDefault for RunningTensor {
    fn content(&self, content: Content) -> Option<Content> {
        content.add_formatted(&String::from("RunningTensor")).optional()
    }
}

impl ModuleDisplay for RunningTensor {}
