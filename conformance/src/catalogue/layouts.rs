//! Layouts: the axis of the channels, and the order of the elements in memory.

use crate::case::{Case, Level::*};
use crate::draft::{Draft, case};
use crate::kinds::Role::{Channel, Sample, Space};

pub fn cases() -> Vec<Case> {
    let usual = |draft: Draft| draft.shape(&[3, 4, 5, 2]).normal(0.5, 2.0);
    let drafts = [
        case("channels-last", Easy, "samples, height, width, channels", "TensorFlow, Keras, Flax")
            .channels_last(&[3, 5, 2, 4])
            .normal_by_channel(&[(0.0, 1.0), (1.0, 2.0), (-3.0, 0.5), (10.0, 4.0)]),
        case("matlab-order", Easy, "rows, columns, channels, batch", "MATLAB's toolboxes")
            .axes(&[5, 2, 4, 3], &[Space, Space, Channel, Sample])
            .normal_by_channel(&[(0.0, 1.0), (1.0, 2.0), (-3.0, 0.5), (10.0, 4.0)]),
        case("channels-first", Easy, "channels, samples, time", "features before samples")
            .axes(&[4, 3, 10], &[Channel, Sample, Space])
            .normal_by_channel(&[(0.0, 1.0), (1.0, 2.0), (-3.0, 0.5), (10.0, 4.0)]),
        case(
            "square",
            Hard,
            "4 samples, 4 channels, 4 x 4 positions",
            "all axes of one length: a wrong axis goes unnoticed by shapes",
        )
        .shape(&[4, 4, 4, 4])
        .normal_by_channel(&[(0.0, 1.0), (1.0, 2.0), (-3.0, 0.5), (10.0, 4.0)]),
        case(
            "strided-channels-last-memory",
            Hard,
            "a shape with channels second, channels last in memory",
            "PyTorch's channels_last",
        )
        .with(usual)
        .strided(&[40, 1, 8, 4]),
        case("strided-transposed", Hard, "height and width change places in memory", "a transposed view")
            .with(usual)
            .strided(&[40, 10, 1, 5]),
        case(
            "strided-every-second",
            Hard,
            "every second element of a buffer, NaN between",
            "x[..., ::2]: what lies between must not be read",
        )
        .with(usual)
        .strided(&[80, 20, 4, 2]),
        case("strided-window", Hard, "a window in a larger picture, NaN around", "x[:, :, 1:6, 1:3] of a padded batch")
            .with(usual)
            .strided(&[4 * 63, 63, 9, 1]),
        case("strided-reversed", Hard, "width from the end, negative stride", "x[..., ::-1]")
            .with(usual)
            .strided(&[40, 10, 2, -1]),
        case("strided-fortran", Hard, "column-major", "Fortran, MATLAB, Julia arrays as they lie")
            .shape(&[6, 5])
            .normal(0.5, 2.0)
            .strided(&[1, 6]),
        case(
            "strided-broadcast",
            Cruel,
            "one plane for all samples, stride 0",
            "expanded, not copied: each value counts as often as it is seen",
        )
        .shape(&[3, 2, 4])
        .x(|i| ((i % 8) * (i % 8)) as f64)
        .strided(&[0, 4, 1]),
        case(
            "same-bits-channels-last",
            Cruel,
            "the same array twice: channels second and last in memory",
            "the layout must not change a bit",
        )
        .with(usual)
        .twin_strided(&[40, 1, 8, 4]),
        case(
            "same-bits-mean-1e3",
            Cruel,
            "the same array twice, at mean 1e3, 2400 values a channel",
            "sums in another order have other bits",
        )
        .with(usual)
        .shape(&[24, 2, 10, 10])
        .normal(1e3, 1.0)
        .twin_strided(&[200, 1, 20, 2]),
        case(
            "same-bits-features",
            Cruel,
            "the same array twice: 33 features in rows and in columns",
            "the same of dense layers",
        )
        .shape(&[40, 33])
        .normal(0.5, 2.0)
        .twin_strided(&[1, 40]),
    ];
    drafts.map(|draft| draft.done()).into()
}
