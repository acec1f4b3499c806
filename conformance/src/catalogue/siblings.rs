//! Layer, group, instance and RMS norms: the same formula over other groupings, with weights, and with a rectifier behind it.

use crate::case::{Case, Level::*, Norm, Refusal};
use crate::draft::{Draft, case};
use crate::kinds::Role::{Channel, Sample, Space};

pub fn cases() -> Vec<Case> {
    let layer = |draft: Draft| draft.norm(Norm::Layer { axes: 1 }).axes(&[4, 5, 16], &[Sample, Space, Channel]);
    let rms = |draft: Draft| draft.norm(Norm::Rms { axes: 1 }).axes(&[4, 5, 16], &[Sample, Space, Channel]);
    let group = |draft: Draft| draft.norm(Norm::Group { groups: 3 }).shape(&[3, 6, 4, 4]);
    let instance = |draft: Draft| draft.norm(Norm::Instance).shape(&[3, 4, 5, 5]);
    let drafts = [
        case("layer", Easy, "layer norm over the last axis", "transformers").with(layer).normal(0.5, 2.0),
        case("layer-f64", Easy, "layer norm in f64", "to the last digit").f64().with(layer).normal(0.5, 2.0),
        case("layer-two-axes", Easy, "layer norm over the last two axes", "gamma and beta of each element of these")
            .norm(Norm::Layer { axes: 2 })
            .axes(&[4, 5, 6], &[Sample, Channel, Space])
            .normal(0.5, 2.0),
        case("layer-mean-1e4", Cruel, "rows of mean 1e4", "digits are lost as in batch norm")
            .with(layer)
            .normal(1e4, 1.0),
        case("layer-constant-row", Hard, "one row all 100.1", "y = beta")
            .with(layer)
            .normal(0.5, 2.0)
            .but(|i, _, x| if (16..32).contains(&i) { 100.1 } else { x }),
        case("layer-nan-row", Hard, "NaN in one row", "the other rows are right")
            .with(layer)
            .normal(0.5, 2.0)
            .but(|i, _, x| if i == 40 { f64::NAN } else { x }),
        case("layer-deviation-1e30", Cruel, "rows of deviation 1e30", "squares are infinite in f32")
            .with(layer)
            .normal(0.0, 1e30),
        case("layer-f16", Hard, "layer norm in f16", "rounded once").f16().with(layer).normal(0.5, 2.0),
        case("layer-257", Easy, "rows of 257", "a rest behind every vector")
            .norm(Norm::Layer { axes: 1 })
            .axes(&[3, 257], &[Sample, Channel])
            .normal(0.5, 2.0),
        case("layer-one-value", Hard, "rows of one value", "it is its own mean: y = beta, or a refusal")
            .norm(Norm::Layer { axes: 1 })
            .axes(&[3, 1], &[Sample, Channel])
            .normal(0.5, 2.0)
            .refusal(Refusal::Allowed),
        case("rms", Easy, "RMS norm", "layer norm without the mean").with(rms).normal(0.5, 2.0),
        case("rms-f64", Easy, "RMS norm in f64", "to the last digit").f64().with(rms).normal(0.5, 2.0),
        case("rms-1e30", Cruel, "RMS norm of values of 1e30", "squares are infinite in f32")
            .with(rms)
            .normal(0.0, 1e30),
        case("rms-zero-row", Hard, "RMS norm of a row of zeros", "y = beta")
            .with(rms)
            .normal(0.5, 2.0)
            .but(|i, _, x| if (16..32).contains(&i) { 0.0 } else { x }),
        case("group", Easy, "group norm, 3 groups of 2 channels", "for batches too small for batch norm")
            .with(group)
            .normal(0.5, 2.0),
        case("group-f64", Easy, "group norm in f64", "to the last digit").f64().with(group).normal(0.5, 2.0),
        case("group-mean-1e4", Cruel, "groups of mean 1e4", "digits are lost as in batch norm")
            .with(group)
            .normal(1e4, 1.0),
        case("group-channels-apart", Hard, "channels of a group at 0 and 100", "the group's mean is no channel's")
            .with(group)
            .normal_by_channel(&[(0.0, 1.0), (100.0, 1.0), (0.0, 1.0), (0.0, 9.0), (5.0, 1.0), (-5.0, 1.0)]),
        case(
            "group-of-all",
            Easy,
            "group norm with one group",
            "layer norm over a sample, but with gammas of channels",
        )
        .with(group)
        .norm(Norm::Group { groups: 1 })
        .normal(0.5, 2.0),
        case("group-nan", Hard, "NaN in one group of one sample", "all other groups are right")
            .with(group)
            .normal(0.5, 2.0)
            .but(|i, _, x| if i == 100 { f64::NAN } else { x }),
        case("group-one-position", Easy, "group norm of (N, C)", "no space at all")
            .norm(Norm::Group { groups: 2 })
            .shape(&[5, 8])
            .normal(0.5, 2.0),
        case("instance", Easy, "instance norm", "style transfer").with(instance).normal(0.5, 2.0).plain(),
        case("instance-affine", Easy, "instance norm with gamma and beta", "of each channel")
            .with(instance)
            .normal(0.5, 2.0),
        case("instance-mean-1e4", Cruel, "planes of mean 1e4", "digits are lost as in batch norm")
            .with(instance)
            .normal(1e4, 1.0),
        case("instance-constant-plane", Hard, "one plane all 100.1", "y = beta")
            .with(instance)
            .normal(0.5, 2.0)
            .but(|i, _, x| if (25..50).contains(&i) { 100.1 } else { x }),
    ];
    drafts.into_iter().chain(grouped_rms()).chain(rectified()).chain(weighted()).map(Draft::done).collect()
}

fn grouped_rms() -> [Draft; 5] {
    let group = |draft: Draft| draft.norm(Norm::GroupRms { groups: 3 }).shape(&[2, 6, 2, 2]);
    [
        case("group-rms", Easy, "RMS norm of 3 groups of 2 channels", "Mamba-2: a group for each device")
            .with(group)
            .normal(0.5, 2.0),
        case("group-rms-f64", Easy, "grouped RMS norm in f64", "to the last digit").f64().with(group).normal(0.5, 2.0),
        case("group-rms-mean-100", Hard, "groups of mean 100", "the mean stays: y is about gamma")
            .with(group)
            .normal(100.0, 1.0),
        case("group-rms-1e30", Cruel, "grouped RMS norm of values of 1e30", "squares are infinite in f32")
            .with(group)
            .normal(0.0, 1e30),
        case("group-rms-zero-group", Hard, "one group of zeros", "y = beta")
            .with(group)
            .normal(0.5, 2.0)
            .but(|i, _, x| if (8..16).contains(&i) { 0.0 } else { x }),
    ]
}

fn rectified() -> [Draft; 5] {
    let rows = |draft: Draft| draft.axes(&[2, 4, 7], &[Sample, Space, Channel]);
    let planes = |draft: Draft| draft.shape(&[2, 6, 2, 2]);
    [
        case("layer-relu", Easy, "a rectifier behind layer norm", "no gradient where y is cut off")
            .norm(Norm::Layer { axes: 1 })
            .with(rows)
            .normal(0.5, 2.0)
            .relu(),
        case("rms-relu-f64", Easy, "a rectifier behind RMS norm, f64", "to the last digit")
            .f64()
            .norm(Norm::Rms { axes: 1 })
            .with(rows)
            .normal(0.0, 2.0)
            .relu(),
        case("group-relu", Easy, "a rectifier behind group norm", "as group norm stands in networks")
            .norm(Norm::Group { groups: 3 })
            .with(planes)
            .normal(0.5, 2.0)
            .relu(),
        case("group-rms-relu", Easy, "a rectifier behind grouped RMS norm", "no gradient where y is cut off")
            .norm(Norm::GroupRms { groups: 3 })
            .with(planes)
            .normal(0.5, 2.0)
            .relu(),
        case("instance-relu-mean-1e4", Cruel, "a rectifier behind planes of mean 1e4", "a lost mean opens all of them")
            .norm(Norm::Instance)
            .with(planes)
            .normal(1e4, 1.0)
            .relu(),
    ]
}

fn weighted() -> [Draft; 6] {
    let padding = |i: usize, length: usize, x: f64| if i % 10 < length { x } else { f64::NAN };
    // Sequences of 10, 7 and 2 steps.
    let lengths = [10, 7, 2];
    let steps: Vec<f64> = (0..30).map(|i| f64::from(u8::from(i % 10 < lengths[i / 10]))).collect();
    let whole = |count: usize| (0..count).map(|i| ((i * 5) % 7 % 4) as f64).collect::<Vec<f64>>();
    [
        case("instance-lengths", Hard, "sequences of 10, 7 and 2 steps, NaN behind them", "each by its own steps")
            .norm(Norm::Instance)
            .shape(&[3, 2, 10])
            .normal(0.5, 2.0)
            .but(move |i, _, x| padding(i, lengths[i / 20], x))
            .weights(&[3, 1, 10], &steps),
        case("layer-padded-tokens", Hard, "tokens that are padding, of NaN", "they have no y and no gradient")
            .norm(Norm::Layer { axes: 1 })
            .axes(&[3, 10, 3], &[Sample, Space, Channel])
            .normal(0.5, 2.0)
            .but(move |i, _, x| padding(i / 3, lengths[i / 30], x))
            .weights(&[3, 10, 1], &steps),
        case("group-weights-f64", Hard, "weights 0 to 3 at mean 100, f64", "as if values were there as often")
            .f64()
            .norm(Norm::Group { groups: 2 })
            .shape(&[3, 4, 5])
            .normal(100.0, 1.0)
            .weights(&[3, 4, 5], &whole(60)),
        case("rms-features", Hard, "features of which some are missing", "each token by those that it has")
            .norm(Norm::Rms { axes: 1 })
            .axes(&[2, 5, 9], &[Sample, Space, Channel])
            .normal(0.5, 2.0)
            .weights(&[2, 5, 9], &(0..90).map(|i| f64::from(u8::from(i * 7 % 11 > 3))).collect::<Vec<f64>>()),
        case("group-rms-weights", Hard, "weights 0 to 3 in grouped RMS norm", "as if values were there as often")
            .norm(Norm::GroupRms { groups: 2 })
            .shape(&[3, 4, 5])
            .normal(0.5, 2.0)
            .weights(&[3, 4, 5], &whole(60)),
        case("instance-lengths-relu", Hard, "the same behind a rectifier, at mean 100", "padding stays 0")
            .norm(Norm::Instance)
            .shape(&[3, 2, 10])
            .normal(100.0, 1.0)
            .weights(&[3, 1, 10], &steps)
            .relu(),
    ]
}
