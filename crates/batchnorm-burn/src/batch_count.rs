//! `num_batches_tracked`, for files that PyTorch reads.

use std::fmt;

use burn::module::{Devices, Flag, Module, ModuleMapper, ModuleVisitor, Param, ParamId};
use burn::store::{ModuleSnapshot, ModuleStore};
use burn::tensor::{Bool, DType, Device, Int, Shape, Tensor, TensorData};

/// Saves a module as `module.save_into(store)` does, with PyTorch's `num_batches_tracked` (an `int64` scalar) beside
/// the running statistics of every batch norm in it, ours or Burn's.
///
/// `batches` is the number of training batches the layers have seen. It is the
/// caller's because nothing in Burn's layer or ours depends on it: no field, parameter or record has it. In PyTorch it
/// is the weight of a cumulative average (`momentum=None`) and else is only carried along, so a file without it
/// (`save_into`) is read too, by `load_state_dict` with `strict=True`. Loading takes files with it and without it; a
/// store's `get_tensor("norm.num_batches_tracked")` reads it.
///
/// Two limits: all layers get the one count, also those that were frozen for some of the time; and a layer is known by
/// the struct's name `BatchNorm` and the field `running_var`, as Burn's own adapters know it.
///
/// ```
/// use batchnorm_burn::{BatchNormConfig, save_with_batch_count};
/// use burn::store::{BurnToPyTorchAdapter, ModuleStore, SafetensorsStore, bridge};
/// # #[derive(burn::module::Module, Debug)]
/// # struct Model {
/// #     norm: batchnorm_burn::BatchNorm,
/// # }
/// # let model = Model { norm: BatchNormConfig::new(3).init(&Default::default()) };
/// let mut store = SafetensorsStore::from_bytes(None).with_to_adapter(BurnToPyTorchAdapter);
/// save_with_batch_count(&model, &mut store, 1200)?;
///
/// let mut file = SafetensorsStore::from_bytes(Some(store.get_bytes()?));
/// let count = file.get_tensor("norm.num_batches_tracked")?.ok_or("not there")?;
/// assert_eq!(bridge::to_data(count)?.iter::<i64>().next(), Some(1200));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// The store's own errors. A count over `i64::MAX` is written as that.
pub fn save_with_batch_count<M: Module, S: ModuleStore>(
    module: &M,
    store: &mut S,
    batches: u64,
) -> Result<(), S::Error> {
    let batches = i64::try_from(batches).unwrap_or(i64::MAX);
    // A clone shares the tensors.
    Counted { module: module.clone(), batches }.save_into(store)
}

/// A module that shows its visitors a batch count in each batch norm.
#[derive(Clone)]
struct Counted<M> {
    module: M,
    batches: i64,
}

impl<M: Module> fmt::Debug for Counted<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Counted").field("module", &self.module).field("batches", &self.batches).finish()
    }
}

impl<M: Module> Module for Counted<M> {
    fn visit<V: ModuleVisitor>(&self, visitor: &mut V) {
        self.module.visit(&mut Counting { visitor, batches: self.batches });
    }

    fn map<R: ModuleMapper>(self, mapper: &mut R) -> Self {
        Counted { module: self.module.map(mapper), ..self }
    }

    fn collect_devices(&self, devices: Devices) -> Devices {
        self.module.collect_devices(devices)
    }

    fn fork(self, device: &Device) -> Self {
        Counted { module: self.module.fork(device), ..self }
    }

    fn to_device(self, device: &Device) -> Self {
        Counted { module: self.module.to_device(device), ..self }
    }

    fn train(self) -> Self {
        Counted { module: self.module.train(), ..self }
    }

    fn valid(&self) -> Self {
        Counted { module: self.module.valid(), ..*self }
    }

    fn materialize(self) -> Self {
        Counted { module: self.module.materialize(), ..self }
    }
}

/// Passes everything on to a visitor, and a batch count after the running variance of each batch norm.
struct Counting<'v, V> {
    visitor: &'v mut V,
    batches: i64,
}

impl<V: ModuleVisitor> ModuleVisitor for Counting<'_, V> {
    fn enter_module(&mut self, name: &str, container_type: &str) {
        self.visitor.enter_module(name, container_type);
    }

    fn exit_module(&mut self, name: &str, container_type: &str) {
        self.visitor.exit_module(name, container_type);
        // The name by which Burn's adapters know the layer too.
        if (name, container_type) == ("running_var", "Struct:BatchNorm") {
            let count = TensorData::new(vec![self.batches], [1]);
            let count = Tensor::<1, Int>::from_data(count, (&Device::default(), DType::I64));
            // PyTorch's is a scalar, which Burn takes as a shape but not as one to create a tensor by.
            let count: Tensor<0, Int> = count.reshape(Shape::from(Vec::<usize>::new()));
            self.visitor.enter_module("num_batches_tracked", container_type);
            self.visitor.visit_int(&Param::initialized(ParamId::new(), count));
            self.visitor.exit_module("num_batches_tracked", container_type);
        }
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        self.visitor.visit_float(param);
    }

    fn visit_int<const D: usize>(&mut self, param: &Param<Tensor<D, Int>>) {
        self.visitor.visit_int(param);
    }

    fn visit_bool<const D: usize>(&mut self, param: &Param<Tensor<D, Bool>>) {
        self.visitor.visit_bool(param);
    }

    fn visit_flag(&mut self, flag: &Param<Flag>) {
        self.visitor.visit_flag(flag);
    }

    fn visit_float_with_path<const D: usize>(&mut self, path: &[String], id: ParamId, tensor: &Tensor<D>) {
        self.visitor.visit_float_with_path(path, id, tensor);
    }

    fn visit_int_with_path<const D: usize>(&mut self, path: &[String], id: ParamId, tensor: &Tensor<D, Int>) {
        self.visitor.visit_int_with_path(path, id, tensor);
    }

    fn visit_bool_with_path<const D: usize>(&mut self, path: &[String], id: ParamId, tensor: &Tensor<D, Bool>) {
        self.visitor.visit_bool_with_path(path, id, tensor);
    }
}
