//! Running statistics as a part of a module.

use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};

use burn::module::{
    Content, Devices, Module, ModuleDisplay, ModuleDisplayDefault, ModuleMapper, ModuleVisitor, Param, ParamId,
};
use burn::tensor::{Device, Tensor, TensorData};

/// A vector that a forward pass may update though it has only `&self`, such as running statistics.
///
/// Unlike Burn's `RunningState`, a read gives the last value written, and a clone has a value of its own. Visitors,
/// mappers and records see one tensor, by the name of the field. It never requires a gradient.
pub struct RunningTensor {
    id: ParamId,
    value: Mutex<Tensor<1>>,
}

impl RunningTensor {
    /// A vector with a first value and a new identity.
    pub fn new(value: Tensor<1>) -> Self {
        Self::with_id(ParamId::new(), value)
    }

    /// A vector with a first value and the identity of a parameter in a record.
    pub fn with_id(id: ParamId, value: Tensor<1>) -> Self {
        RunningTensor { id, value: Mutex::new(value.set_require_grad(false)) }
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

    /// Locks the value: whoever updates two vectors locks both, so that no reader sees one old and one new.
    pub(crate) fn lock(&self) -> MutexGuard<'_, Tensor<1>> {
        // A tensor is replaced as a whole: a panic elsewhere leaves the old one or the new one.
        self.value.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn into_value(self) -> Tensor<1> {
        self.value.into_inner().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The values of a vector.
pub(crate) fn values(vector: &Tensor<1>) -> Vec<f64> {
    vector.to_data().iter::<f64>().collect()
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
        let id = self.id;
        let (id, value, _) = mapper.map_float(Param::initialized(id, self.into_value())).consume();
        // A mapper that unfreezes everything must not make a statistic trainable.
        Self::with_id(id, value)
    }

    fn to_device(self, device: &Device) -> Self {
        Self::with_id(self.id, self.into_value().to_device(device))
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
        Self::with_id(self.id, self.into_value().autodiff())
    }
}

impl ModuleDisplayDefault for RunningTensor {
    fn content(&self, content: Content) -> Option<Content> {
        content.add_formatted(&String::from("RunningTensor")).optional()
    }
}

impl ModuleDisplay for RunningTensor {}
