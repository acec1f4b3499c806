//! The nodes in plain words: what each is, and why its local derivative is what it is.

use super::explanation::Explanation;
use crate::layer_name::LayerName;

/// The words for a node.
pub struct Words {
    /// Its name for people.
    pub title: &'static str,
    /// A sentence on what it is.
    pub says: &'static str,
    /// The reason for its local derivatives; for a leaf, the use of its gradient.
    pub why: &'static str,
}

/// The words for a node by its name in the graph.
pub fn of(explanation: &Explanation, name: &str) -> Words {
    let constant = explanation.subject.running.is_some();
    let batch = explanation.subject.layer == LayerName::Batch;
    let centred = explanation.loses()[0];
    let (title, says, why) = match name {
        "x" if constant => (
            "input",
            "The values of one feature.",
            "What comes back to x is dx, the gradient that the layer before gets.",
        ),
        "x" => (
            "input",
            "The values that are normalised together.",
            "What comes back to x is dx, the gradient that the layer before gets. x is used in more than one place, so dx is \
             the sum of what comes back from each.",
        ),
        "mean" if constant => (
            "running mean",
            "In evaluation a constant, estimated in training.",
            "It is no function of x, so its gradient goes nowhere: each sample is normalised on its own.",
        ),
        "mean" => (
            "mean",
            "The average of all values: one number.",
            "Each value is one nth of the average, so moving one value by h moves the mean by h/n. Backward, every value gets \
             the same nth share of what comes back to the mean.",
        ),
        "centered" if constant => (
            "centred",
            "Each value less the running mean.",
            "Moving x moves its own deviation as much. The running mean is in every one, with a minus.",
        ),
        "centered" => (
            "centred",
            "How far each value is from the mean. These deviations sum up to 0.",
            "Moving a value moves its own deviation as much: 1. But the mean is in every deviation, with a minus, so what \
             comes back to the mean is summed up over all of them. This is one way in which every value feels every other \
             one, and why the backward pass needs them all.",
        ),
        "squared" => (
            "squared",
            "The square of each: large deviations count more, signs do not matter.",
            "(c + h)\u{b2} = c\u{b2} + 2ch + h\u{b2}, and h\u{b2} is nothing beside h where h is small: the slope is 2c.",
        ),
        "variance" if constant => (
            "running variance",
            "In evaluation a constant, estimated in training.",
            "It is no function of x, so its gradient goes nowhere.",
        ),
        "variance" => (
            "variance",
            "The average of the squares: the population variance, divided by n and not by n \u{2212} 1.",
            "As with the mean: each square is one nth of it.",
        ),
        "mean_square" => (
            "mean square",
            "The average of the squares. RMS norm takes off no mean.",
            "Each square is one nth of the average. Backward, every value gets the same share: this is how each value feels \
             every other one.",
        ),
        "epsilon" => (
            "eps",
            "A small number that keeps the root away from 0 where all values are alike.",
            "Nobody trains it; its gradient says how much the loss would move with it.",
        ),
        "deviation" => (
            "deviation",
            "The standard deviation, a little enlarged by eps inside the root.",
            "d\u{b2} = v + eps. Moving v by h moves d\u{b2} by h, and d\u{b2} moves 2d times as fast as d: the slope is \
             1/(2d). Small variances have steep slopes.",
        ),
        "root_mean_square" => (
            "root mean square",
            "The typical size of a value, a little enlarged by eps inside the root.",
            "d\u{b2} = v + eps. Moving v by h moves d\u{b2} by h, and d\u{b2} moves 2d times as fast as d: the slope is 1/(2d).",
        ),
        "inverse" => (
            "inverse",
            "One over the deviation, so that dividing n values becomes multiplying them.",
            "1/(d + h) \u{2212} 1/d = \u{2212}h / (d (d + h)), which for small h is \u{2212}h/d\u{b2}.",
        ),
        "normalized" if constant => (
            "normalised",
            "Every value in units of the running deviation, about the running mean.",
            "In a product each factor\u{2019}s slope is the other factor. r is a constant here: what comes back to it goes nowhere.",
        ),
        "normalized" if !centred => (
            "normalised",
            "Every value in units of the root mean square.",
            "In a product each factor\u{2019}s slope is the other factor. r is one number that all values share, so what comes back \
             to r is summed up over all of them: so values feel each other.",
        ),
        "normalized" => (
            "normalised",
            "Every value in units of the deviation. The shape of the distribution stays what it was: normalised does not mean \
             Gaussian.",
            "In a product each factor\u{2019}s slope is the other factor. r is one number that all values share, so what comes back \
             to r is summed up over all of them: the other way in which values feel each other.",
        ),
        "gamma" if !batch => (
            "gamma",
            "The learned scale of this element, or of its channel.",
            "dgamma is what an optimiser trains gamma by. Shown is this value\u{2019}s part of it; the layer adds up those of all values \
             and rows that share the gamma.",
        ),
        "gamma" => (
            "gamma",
            "The learned scale, so that the network may have any spread it likes, even the one it had.",
            "dgamma is what an optimiser trains gamma by: the sum of dy times xhat over all values.",
        ),
        "scaled" => (
            "scaled",
            "Each normalised value times gamma.",
            "In a product each factor\u{2019}s slope is the other factor.",
        ),
        "beta" if !batch => (
            "beta",
            "The learned shift of this element, or of its channel.",
            "dbeta is what an optimiser trains beta by. Shown is this value\u{2019}s part of it; the layer adds up those of all values \
             and rows that share the beta.",
        ),
        "beta" if constant => (
            "beta",
            "The learned shift, so that the network may have any mean it likes.",
            "dbeta is the sum of dy over all values.",
        ),
        "beta" => (
            "beta",
            "The learned shift, so that the network may have any mean it likes. A bias in front of the layer would be taken off \
             again with the mean.",
            "dbeta is the sum of dy over all values.",
        ),
        _ => (
            "output",
            "What the next layer gets.",
            "A sum passes on what comes back to it, unchanged, to both of its parts. The walk backward begins here, with dy: \
             how much the loss moves with each y.",
        ),
    };
    Words { title, says, why }
}
