//! How Burn goes through the layers with running statistics: what `derive(Module)` would write, but that clones know
//! their origin, that a layer which is mapped goes on as a model of its own, and that walks through a model find the layer.

use std::fmt;
use std::sync::Arc;

use batchnorm::Config;
use burn::module::{Content, Devices, Module, ModuleDisplay, ModuleDisplayDefault, ModuleMapper, ModuleVisitor};
use burn::tensor::Device;

use crate::held::Held;
use crate::ledger::Ledger;
use crate::module::BatchNorm;
use crate::walk;
use crate::whitening::{Decorrelated, WhiteningRule};

macro_rules! stateful_module {
    ($layer:ident, $rule:ty, running: [$($running:ident),*], plain: [$($plain:ident),*], ledger: $ledger:ident, $to:expr, $from:expr, found: $found:expr) => {
        impl $layer {
            pub(crate) fn ledger(&self) -> &Arc<Ledger<$rule>> {
                $to(&self.$ledger)
            }

            /// The layer's parameters and options, with running statistics of their own.
            fn with_ledger(&self, ledger: Arc<Ledger<$rule>>) -> $layer {
                $layer {
                    gamma: self.gamma.clone(),
                    beta: self.beta.clone(),
                    training: self.training.clone(),
                    name: self.name.clone(),
                    $($running: self.$running.clone(),)*
                    $($plain: self.$plain.clone(),)*
                    $ledger: $from(ledger),
                }
            }
        }

        impl Clone for $layer {
            fn clone(&self) -> Self {
                self.with_ledger(self.ledger().of_clone(self.cells()))
            }
        }

        impl Module for $layer {
            fn visit<V: ModuleVisitor>(&self, visitor: &mut V) {
                const CONTAINER: &str = concat!("Struct:", stringify!($layer));
                if let Some(path) = walk::met(0) {
                    self.name.found_at(&path);
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
            }

            fn map<M: ModuleMapper>(self, mapper: &mut M) -> Self {
                const CONTAINER: &str = concat!("Struct:", stringify!($layer));
                let mut layer = match walk::replaced(self) {
                    Ok(replaced) => return replaced,
                    Err(layer) => layer,
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
                layer
            }

            fn to_device(self, device: &Device) -> Self {
                $layer {
                    gamma: self.gamma.to_device(device),
                    beta: self.beta.to_device(device),
                    $($running: self.$running.to_device(device),)*
                    ..self
                }
            }

            fn fork(self, device: &Device) -> Self {
                $layer {
                    gamma: self.gamma.fork(device),
                    beta: self.beta.fork(device),
                    $($running: self.$running.fork(device),)*
                    ..self
                }
            }

            fn collect_devices(&self, devices: Devices) -> Devices {
                let devices = self.beta.collect_devices(self.gamma.collect_devices(devices));
                $(let devices = self.$running.collect_devices(devices);)*
                devices
            }

            fn valid(&self) -> Self {
                // A clone that is put to use after it was trained is a model of its own.
                if self.ledger().in_debt() {
                    self.ledger().go_on(self.cells());
                }
                $layer {
                    gamma: self.gamma.valid(),
                    beta: self.beta.valid(),
                    training: self.training.valid(),
                    $($running: self.$running.valid(),)*
                    ..self.with_ledger(self.ledger().of_copy())
                }
            }

            fn train(self) -> Self {
                self.ledger().go_on(self.cells());
                $layer {
                    gamma: self.gamma.train(),
                    beta: self.beta.train(),
                    training: self.training.train(),
                    $($running: self.$running.train(),)*
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
    plain: [momentum, epsilon, running_variance, pinned, policies, ghost, participant, threads],
    ledger: held, Held::ledger, Held::of,
    found: BatchNorm::alias
);

stateful_module!(
    Decorrelated,
    WhiteningRule,
    running: [running_mean, running_covariance],
    plain: [group, momentum, epsilon, estimator, threads],
    ledger: ledger, std::convert::identity, std::convert::identity,
    found: |_: &Decorrelated| ()
);

impl BatchNorm {
    /// The same layer, not a clone: what is held, committed or installed through one of them is so in both.
    pub(crate) fn alias(&self) -> BatchNorm {
        BatchNorm {
            running_mean: self.running_mean.alias(),
            running_var: self.running_var.alias(),
            name: self.name.handle(),
            ..self.with_ledger(self.ledger().clone())
        }
    }
}
