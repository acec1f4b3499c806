//! Layer, group, instance and RMS norm: the same formula over other groupings.

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
    drafts.map(|draft| draft.done()).into()
}
