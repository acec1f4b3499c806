//! How Burn goes through the layers with running statistics: what `derive(Module)` would write, but that clones know
//! their origin, that a layer which is mapped goes on as a model of its own, and that walks through a model find the layer.

use std::fmt;
use std::sync::Arc;

use batchnorm::Config;
use burn::module::{Content, Devices, Module, ModuleDisplay, ModuleDisplayDefault, ModuleMapper, ModuleVisitor};
use burn::tensor::{Device, Tensor};

use crate::held::Held;
use crate::ledger::{Ledger, Life};
use crate::module::BatchNorm;
use crate::running::RunningTensor;
use crate::walk;
use crate::whitening::{Decorrelated, WhiteningRule};

macro_rules! stateful_module {
    ($layer:ident, $rule:ty, running: [$($running:ident),*], optional: [$($optional:ident),*], plain: [$($plain:ident),*], life: $life:ident, $to:expr, $from:expr, found: $found:expr) => {
        impl $layer {
            pub(crate) fn ledger(&self) -> &Arc<Ledger<$rule>> {
                $to(&self.$life)
            }

            /// The layer's parameters and options, with another life and running statistics of their own.
            fn with_life(&self, (life, running): (Arc<Life<$rule>>, Vec<Tensor<1>>)) -> $layer {
                // In the order of the layer's cells.
                let mut running = running.into_iter();
                let mut own = |of: &RunningTensor| Some(RunningTensor::with_id(of.id(), running.next()?));
                $layer {
                    gamma: self.gamma.clone(),
                    beta: self.beta.clone(),
                    training: self.training.clone(),
                    name: self.name.clone(),
                    $($running: own(&self.$running).expect("each vector has a cell"),)*
                    $($optional: self.$optional.as_ref().and_then(&mut own),)*
                    $($plain: self.$plain.clone(),)*
                    $life: $from(life),
                }
            }
        }

        impl Clone for $layer {
            fn clone(&self) -> Self {
                self.with_life(self.ledger().cloned(self.cells()))
            }
        }

        impl Module for $layer {
            fn visit<V: ModuleVisitor>(&self, visitor: &mut V) {
                const CONTAINER: &str = concat!("Struct:", stringify!($layer));
                if let Some((path, forgets)) = walk::met(0) {
                    self.name.found_at(&path, forgets);
                    walk::found(path, $found(self));
                }
                macro_rules! visit {
                    ($field:ident) => {
                        visitor.enter_module(stringify!($field), CONTAINER);
                        self.$field.visit(visitor);
                        visitor.exit_module(stringify!($field), CONTAINER);
                    };
                }
                visit!(gamma);
                visit!(beta);
                visit!(training);
                $(visit!($running);)*
                $(if self.$optional.is_some() {
                    visit!($optional);
                })*
            }

            fn map<M: ModuleMapper>(self, mapper: &mut M) -> Self {
                const CONTAINER: &str = concat!("Struct:", stringify!($layer));
                let mut layer = match walk::replacement::<$layer>() {
                    Some(None) => return self,
                    Some(Some(other)) => return other.in_place_of(self),
                    None => self,
                };
                layer.ledger().go_on(layer.cells());
                macro_rules! map {
                    ($field:ident) => {
                        mapper.enter_module(stringify!($field), CONTAINER);
                        layer.$field = Module::map(layer.$field, mapper);
                        mapper.exit_module(stringify!($field), CONTAINER);
                    };
                }
                map!(gamma);
                map!(beta);
                map!(training);
                $(map!($running);)*
                $(if layer.$optional.is_some() {
                    map!($optional);
                })*
                layer
            }

            fn to_device(self, device: &Device) -> Self {
                $layer {
                    gamma: self.gamma.to_device(device),
                    beta: self.beta.to_device(device),
                    $($running: self.$running.to_device(device),)*
                    $($optional: self.$optional.map(|own| own.to_device(device)),)*
                    ..self
                }
            }

            fn fork(self, device: &Device) -> Self {
                $layer {
                    gamma: self.gamma.fork(device),
                    beta: self.beta.fork(device),
                    $($running: self.$running.fork(device),)*
                    $($optional: self.$optional.map(|own| own.fork(device)),)*
                    ..self
                }
            }

            fn collect_devices(&self, devices: Devices) -> Devices {
                let devices = self.beta.collect_devices(self.gamma.collect_devices(devices));
                $(let devices = self.$running.collect_devices(devices);)*
                devices
            }

            fn valid(&self) -> Self {
                let copy = self.with_life(self.ledger().copied(self.cells()));
                $layer {
                    gamma: self.gamma.valid(),
                    beta: self.beta.valid(),
                    training: self.training.valid(),
                    $($running: copy.$running.valid(),)*
                    $($optional: copy.$optional.as_ref().map(Module::valid),)*
                    ..copy
                }
            }

            fn train(self) -> Self {
                self.ledger().go_on(self.cells());
                $layer {
                    gamma: self.gamma.train(),
                    beta: self.beta.train(),
                    training: self.training.train(),
                    $($running: self.$running.train(),)*
                    $($optional: self.$optional.map(Module::train),)*
                    ..self
                }
            }

            fn materialize(self) -> Self {
                $layer { gamma: self.gamma.materialize(), beta: self.beta.materialize(), ..self }
            }
        }

        impl ModuleDisplayDefault for $layer {
            fn content(&self, content: Content) -> Option<Content> {
                self.custom_content(content.set_top_level_type(stringify!($layer)))
            }

            fn num_params(&self) -> usize {
                Module::num_params(self)
            }
        }

        impl fmt::Display for $layer {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.format(Default::default()))
            }
        }
    };
}

stateful_module!(
    BatchNorm,
    Config,
    running: [running_mean, running_var],
    optional: [updates],
    plain: [momentum, averaging, averaged, renormalization, epsilon, running_variance, pinned, policies, ghost, participant, threads],
    life: held, Held::ledger, Held::of,
    found: BatchNorm::handle
);

stateful_module!(
    Decorrelated,
    WhiteningRule,
    running: [running_mean, running_covariance],
    optional: [],
    plain: [group, momentum, epsilon, estimator, threads],
    life: life, Life::<WhiteningRule>::ledger, std::convert::identity,
    found: |_: &Decorrelated| ()
);

impl BatchNorm {
    /// A handle to the layer, not a clone: what is held, committed or installed through it is so in the layer.
    pub(crate) fn handle(&self) -> BatchNorm {
        BatchNorm {
            gamma: self.gamma.clone(),
            beta: self.beta.clone(),
            training: self.training.clone(),
            running_mean: self.running_mean.alias(),
            running_var: self.running_var.alias(),
            updates: self.updates.as_ref().map(RunningTensor::alias),
            name: self.name.handle(),
            participant: self.participant.clone(),
            threads: self.threads.clone(),
            held: self.held.handle(),
            ..*self
        }
    }

    /// This layer, made of a handle to another one, in the place of that.
    fn in_place_of(mut self, layer: BatchNorm) -> BatchNorm {
        self.held.in_place_of(layer.held);
        self
    }
}

impl Decorrelated {
    fn in_place_of(self, _layer: Decorrelated) -> Decorrelated {
        self
    }
}
