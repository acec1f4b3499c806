//! The network that a training starts from, and what of it stays.

use std::path::Path;

use batchnorm_lab::data::{Data, DataSummary};
use batchnorm_lab::hash::Fnv;
use batchnorm_lab::model::{Description, Model};
use batchnorm_lab::network::{Affine, Freeze, Recipe, Statistics};
use batchnorm_lab::plan::Plan;
use batchnorm_lab::transfer::{Head, Transfer};

use crate::failure::Failure;
use crate::flags::expected;
use crate::model_file::{self, Unreadable};
use crate::train::options::{Arguments, OutputLayer, Parameters, RunningStatistics};

/// The model in a file.
pub fn read(path: &Path) -> Result<Model, Failure> {
    model_file::read(path, None).map_err(|Unreadable { reason, .. }| {
        Failure::input(format!(
            "--from: {}: no network to start from: {reason}; name a file of `batchnorm train`",
            path.display()
        ))
    })
}

/// What is known of a network that a training starts from.
pub struct Source<'s> {
    pub network: &'s Recipe,
    data: &'s DataSummary,
    fingerprint: String,
}

impl<'s> Source<'s> {
    pub fn of_model(model: &'s Model) -> Source<'s> {
        let Description { plan, data, .. } = &model.description;
        Source { network: &plan.network, data, fingerprint: format!("{:016x}", model.network.fingerprint()) }
    }

    /// What a plan comes to, which is known by the plan and its data.
    pub fn of_plan(plan: &'s Plan, data: &'s DataSummary) -> Source<'s> {
        let settings = serde_json::json!({ "plan": plan, "data": data });
        Source { network: &plan.network, data, fingerprint: Fnv::of_text(&settings.to_string()) }
    }

    /// Data are standardised as those were that the network has learnt from: that is a part of it.
    pub fn give_scale(&self, data: &mut Data) -> Result<(), Failure> {
        let (there, here) = (self.data.input, data.summary.input);
        if there.channels != here.channels {
            let what = format!("examples of {} channels, as the network of --from has them", there.channels);
            return Err(expected("--data", what, format!("{here}, of {}", here.channels)));
        }
        data.summary.scale = self.data.scale.clone();
        Ok(())
    }

    /// What the training takes from the network.
    pub fn transfer(&self, arguments: &Arguments, data: &DataSummary) -> Result<Transfer, Failure> {
        let (there, here) = (&self.data.classes, &data.classes);
        let head = match arguments.head {
            None | Some(OutputLayer::New) => Head::New,
            Some(OutputLayer::Kept) if there.len() != here.len() => {
                let what = format!("new, for the network has {} classes and the data have {}", there.len(), here.len());
                return Err(expected("--head", what, "kept"));
            }
            Some(OutputLayer::Kept) => Head::Kept,
        };
        let layers: Vec<String> =
            arguments.freeze.iter().flat_map(|all| all.split(',')).map(|one| one.trim().to_owned()).collect();
        let stays = !layers.is_empty();
        let statistics = match arguments.statistics {
            Some(RunningStatistics::Frozen) => Statistics::Frozen,
            Some(RunningStatistics::Adapting) => Statistics::Adapting,
            None if stays && self.network.needs_batches() => Statistics::Frozen,
            None => Statistics::Adapting,
        };
        let affine = match arguments.affine {
            Some(Parameters::Frozen) => Affine::Frozen,
            Some(Parameters::Trained) => Affine::Trained,
            None if stays => Affine::Frozen,
            None => Affine::Trained,
        };
        Ok(Transfer { from: self.fingerprint.clone(), head, freeze: Freeze { layers, statistics, affine } })
    }
}
