//! Textbook examples: what texts on batch norm compute by hand, check their code with, or say about it.

use crate::case::{Case, Estimator, Level::*};
use crate::draft::case;

pub fn cases() -> Vec<Case> {
    let anchors = [
        case("by-hand-two-values", Easy, "1 and 3 in a channel, eps 0", "y is -1 and 1, and can be told by heart")
            .f64()
            .shape(&[2, 2])
            .epsilon(0.0)
            .x(|i| [1.0, -4.0, 3.0, 4.0][i])
            .plain()
            .equal(&["y", "mean", "variance"]),
        case("by-hand-three-values", Easy, "1, 2, 3 and 10, 20, 60 in f64", "the example of our own documentation")
            .f64()
            .shape(&[3, 2])
            .x(|i| [1.0, 10.0, 2.0, 20.0, 3.0, 60.0][i])
            .plain(),
        case(
            "cs231n-4x5",
            Easy,
            "5 randn + 12 of shape (4, 5), f64",
            "the gradient check of Stanford's CS231n, assignment 2",
        )
        .f64()
        .shape(&[4, 5])
        .normal(12.0, 5.0),
        case("cs231n-4x5-f32", Easy, "5 randn + 12 of shape (4, 5), f32", "the same in the type that networks use")
            .shape(&[4, 5])
            .normal(12.0, 5.0),
        case(
            "cs231n-forward-200x3",
            Easy,
            "200 values of three features, gamma 1, 2, 3 and beta 11, 12, 13",
            "CS231n: means of y must be beta, its deviations gamma",
        )
        .f64()
        .shape(&[200, 3])
        .normal_by_channel(&[(-1.0, 3.0), (0.5, 9.0), (4.0, 0.7)])
        .gammas(&[1.0, 2.0, 3.0])
        .betas(&[11.0, 12.0, 13.0]),
        case("cs231n-spatial-2x3x4x5", Easy, "4 randn + 10 of shape (2, 3, 4, 5), f64", "CS231n's spatial batch norm")
            .f64()
            .shape(&[2, 3, 4, 5])
            .normal(10.0, 4.0),
        case("cs231n-spatial-f32", Easy, "4 randn + 10 of shape (2, 3, 4, 5), f32", "the same in f32")
            .shape(&[2, 3, 4, 5])
            .normal(10.0, 4.0),
        case("mlp-60x20", Easy, "60 samples of 20 normal features", "the layer of a small network on digits")
            .shape(&[60, 20])
            .normal(0.0, 1.0)
            .gamma_beta(1.0, 0.0),
        case("conv-8x4x6x6", Easy, "8 pictures of 4 channels", "the layer behind a small convolution")
            .shape(&[8, 4, 6, 6])
            .normal(0.0, 1.0)
            .gamma_beta(1.0, 0.0),
        case(
            "pixels-0-to-255",
            Easy,
            "whole numbers from 0 to 255",
            "pictures that nobody scaled before the first layer",
        )
        .shape(&[5, 3, 6, 6])
        .normal(0.0, 1.0)
        .but(|i, _, _| ((i * i * 7 + i * 13) % 256) as f64),
        case("relu-half-zeros", Easy, "normal values cut off at 0", "what a layer behind a ReLU gets: half of it is 0")
            .shape(&[16, 3, 3, 3])
            .normal(0.0, 1.0)
            .but(|_, _, x| x.max(0.0)),
        case(
            "one-hot-features",
            Easy,
            "each feature is 1 in one sample and 0 in the others",
            "rare features have small variances",
        )
        .shape(&[32, 4])
        .x(|i| f64::from(u8::from(i / 4 % 8 == i % 4 && i < 32))),
        case("ramp", Easy, "0, 1, 2 .. in order", "the first array everybody tries")
            .shape(&[4, 3, 2, 5])
            .x(|i| i as f64),
        case("no-parameters", Easy, "neither gamma nor beta", "y is the normalised input itself")
            .shape(&[10, 4])
            .normal(2.0, 3.0)
            .plain(),
        case("scale-only", Easy, "gamma without beta", "a bias of its own may follow the layer")
            .shape(&[10, 4])
            .normal(2.0, 3.0)
            .plain()
            .gammas(&[1.0, 0.5, -2.0, 3.0]),
        case("shift-only", Easy, "beta without gamma", "a linear layer that follows has a scale of its own")
            .shape(&[10, 4])
            .normal(2.0, 3.0)
            .plain()
            .betas(&[0.0, 1.0, -2.0, 30.0]),
    ];
    anchors.map(|draft| draft.done()).into_iter().chain(undone()).chain(chains()).collect()
}

/// gamma = sqrt(variance + eps), beta = mean: the layer gives back what it gets.
fn undone() -> Vec<Case> {
    let draft = |name, wide: bool, what: &str, mean: f64, deviation: f64| {
        let why = "gamma = sqrt(variance + eps) and beta = mean undo the layer (gamma = deviation does not)";
        let draft = case(name, Hard, what, why);
        let draft = if wide { draft.f64() } else { draft };
        draft.shape(&[12, 2, 3, 3]).normal(mean, deviation)
    };
    let finish = |draft: crate::draft::Draft| {
        let x = draft.peek("x");
        let moments = [0, 1].map(|c| {
            let own: Vec<f64> =
                x.iter().enumerate().filter(|(i, _)| draft.channel_of(*i) == c).map(|(_, x)| *x).collect();
            batchnorm::Moments::of(&own)
        });
        let gamma = moments.map(|own| (own.population_variance() + 1e-5).sqrt());
        let beta = moments.map(|own| own.mean());
        draft.gammas(&gamma).betas(&beta).done()
    };
    vec![
        finish(draft("undone", true, "f64 of mean 3 and deviation 2", 3.0, 2.0)),
        finish(draft("undone-small-deviation", false, "f32 of deviation .01, where eps counts", 1.0, 0.01)),
    ]
}

fn chains() -> Vec<Case> {
    let draft = |name, variance, what: &str, why: &str| {
        case(name, Hard, what, why).f64().epsilon(0.0).shape(&[64, 2]).normal(1.0, 2.0).chain(20, variance).done()
    };
    vec![
        draft(
            "chain-of-20-sample",
            Estimator::Sample,
            "20 layers in a chain, running variances by n - 1",
            "evaluation shrinks by (63/64)^10 = 0.854 against training (pytorch issue 100048)",
        ),
        draft(
            "chain-of-20-population",
            Estimator::Population,
            "20 layers in a chain, running variances by n",
            "with the population variance evaluation gives what training gave",
        ),
    ]
}
