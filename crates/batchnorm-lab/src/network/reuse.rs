//! Networks that start from another one's weights, and stay in part as they are.

use batchnorm_burn::{BatchNorm, Switches, map_norms};
use burn::module::{Flag, Module, ModuleMapper, Param};
use burn::tensor::Tensor;

use super::Network;
use super::freeze::{Affine, Freeze, HEAD, means};
use super::norm::Norm;
use super::path::{Path, walk};
use crate::setting::SettingError;

impl Network {
    /// The network that has this one's weights, norms and statistics but, where it is new, the output layer of `fresh`, whose input and
    /// dropout it has too.
    ///
    /// # Errors
    /// Tensors of the two, but for a new output layer, that have different shapes.
    pub fn for_new_data(self, fresh: Network, new_head: bool) -> Result<Network, SettingError> {
        let (expected, got) = (shapes(&fresh), shapes(&self));
        if !expected.iter().map(|(path, _)| path).eq(got.iter().map(|(path, _)| path)) {
            return Err(SettingError::new("network", "the network whose weights are the start", "another one"));
        }
        for ((path, expected), (_, got)) in expected.into_iter().zip(got) {
            if expected != got && !(new_head && means(HEAD, &path)) {
                let own = self.input;
                let expected =
                    format!("examples of {own}, which the network has learnt from and its {path} depends on");
                return Err(SettingError::new("data", &expected, fresh.input));
            }
        }
        let output = if new_head { fresh.output } else { self.output };
        let Network { input, portion, dropout, .. } = fresh;
        Ok(Network { output, input, portion, dropout, ..self })
    }

    /// The network whose norms average with this weight of the new value.
    pub fn averaging_by(mut self, weight_of_new: f64) -> Network {
        let convolutions = self.convolutions.iter_mut().map(|layer| &mut layer.norm);
        let of_blocks = self.blocks.iter_mut().flat_map(|block| {
            let shortcut = block.shortcut.as_mut().map(|layer| &mut layer.norm);
            [&mut block.first.norm, &mut block.second.norm].into_iter().chain(shortcut)
        });
        let hidden = self.hidden.iter_mut().map(|layer| &mut layer.norm);
        for norm in convolutions.chain(of_blocks).chain(hidden).flatten() {
            match norm {
                Norm::Batch(norm) => norm.momentum = weight_of_new,
                Norm::Decorrelated(norm) => norm.momentum = weight_of_new,
                Norm::Sample(_) => {}
            }
        }
        self
    }

    /// The network whose batch norms, in a training pass, go by the whole batch alone: none is frozen, goes by ghost batches, or is corrected
    /// towards its running statistics.
    pub fn by_whole_batches(self) -> Network {
        map_norms(self, |_, norm| BatchNorm { ghost: None, renormalization: None, ..norm.pin(None) })
    }

    /// The network with these parts frozen, whatever training does.
    pub fn frozen(self, freeze: &Freeze) -> Network {
        let network = self.map(&mut Freezing { freeze, path: Path::default() });
        map_norms(network, |path, norm| {
            let stays = Switches { train_parameters: freeze.affine == Affine::Trained, ..Switches::evaluate() };
            norm.pin(freeze.keeps_statistics(path).then_some(stays))
        })
    }
}

/// The path and shape of each tensor.
fn shapes(network: &Network) -> Vec<(String, Vec<usize>)> {
    let mut shapes = Vec::new();
    walk(network, |met| shapes.push((met.path, met.shape)));
    shapes
}

struct Freezing<'f> {
    freeze: &'f Freeze,
    path: Path,
}

impl ModuleMapper for Freezing<'_> {
    fn enter_module(&mut self, name: &str, container: &str) {
        self.path.enter(name, container);
    }

    fn exit_module(&mut self, _name: &str, _container: &str) {
        self.path.leave();
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        if self.freeze.keeps(&self.path.joined()) { param.set_require_grad(false) } else { param }
    }

    /// The flag by which a norm goes by the batch, where it is not pinned: of decorrelated batch norm.
    fn map_flag(&mut self, flag: Param<Flag>) -> Param<Flag> {
        let path = self.path.joined();
        let norm = path.strip_suffix(".training").unwrap_or(&path);
        let trains = !self.freeze.keeps_statistics(norm);
        flag.with_value(trains)
    }
}
