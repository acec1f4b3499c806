//! The network that a training starts from, and what of it stays.

use std::path::Path;

use batchnorm_lab::data::{Data, DataSummary};
use batchnorm_lab::model::Model;
use batchnorm_lab::network::{Affine, Freeze, Statistics};
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

/// Data are standardised as those were that the network has learnt from: that is a part of it.
pub fn take_up_scale(source: &Model, data: &mut Data) -> Result<(), Failure> {
    let (there, here) = (source.description.data.input, data.summary.input);
    if there.channels != here.channels {
        let what = format!("examples of {} channels, as the network of --from has them", there.channels);
        return Err(expected("--data", what, format!("{here}, of {}", here.channels)));
    }
    data.summary.scale = source.description.data.scale.clone();
    Ok(())
}

/// What the training takes from the network.
pub fn transfer(arguments: &Arguments, source: &Model, data: &DataSummary) -> Result<Transfer, Failure> {
    let (there, here) = (&source.description.data.classes, &data.classes);
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
        None if stays && source.description.plan.network.needs_batches() => Statistics::Frozen,
        None => Statistics::Adapting,
    };
    let affine = match arguments.affine {
        Some(Parameters::Frozen) => Affine::Frozen,
        Some(Parameters::Trained) => Affine::Trained,
        None if stays => Affine::Frozen,
        None => Affine::Trained,
    };
    let from = format!("{:016x}", source.network.fingerprint());
    Ok(Transfer { from, head, freeze: Freeze { layers, statistics, affine } })
}
