//! A layer's numbers, as they stand in the file, and with its norms in them.

use super::affine::Affine;
use super::error::FoldError;
use super::linear::Linear;
use super::proof::{Proof, prove};
use super::unit::Unit;
use crate::numbers::{Numbers, Precision};

/// A layer as it stands in the file, and the norms that go into it.
pub(super) struct Layer<'f> {
    /// Its operator and name.
    pub title: String,
    pub linear: Linear,
    pub weights: Numbers<'f>,
    /// What is added to each output; zeros where the layer adds nothing.
    pub added: Vec<f64>,
    /// What is added stands in the file divided by this.
    pub beta: f64,
    pub bias: Option<Bias>,
    pub before: Option<Affine>,
    /// From the nearest on.
    pub behind: Vec<Affine>,
}

/// Where what is added stands: the input of a node, and the axes that it has there.
pub(super) struct Bias {
    pub node: usize,
    pub input: usize,
    pub axes: usize,
}

/// A layer with norms in it.
pub(super) struct Taken {
    pub linear: Linear,
    pub bias: Option<Bias>,
    pub stored: Stored,
}

/// A layer's new numbers as bytes of the file, with the proof that they do what layer and norms did.
pub(super) struct Stored {
    pub precision: Precision,
    pub weights: Vec<u8>,
    /// What is added.
    pub added: Vec<u8>,
    /// Something other than 0 is added.
    pub adds: bool,
    pub proof: Proof,
}

impl Layer<'_> {
    /// The layer with its norms in it.
    pub fn take_in(self) -> Result<Taken, FoldError> {
        let Layer { title, linear, weights, added, beta, bias, before, behind } = self;
        let unit = Unit { linear, weights: weights.to_vec(), bias: added, before, behind };
        let stored = Stored::of(&unit, weights.precision(), beta, || title.clone())?;
        Ok(Taken { linear: unit.linear, bias, stored })
    }
}

impl Stored {
    /// A unit's new numbers, of which what is added is divided by `beta`.
    pub fn of(unit: &Unit, precision: Precision, beta: f64, title: impl Fn() -> String) -> Result<Stored, FoldError> {
        // (To the end, for that is eight at once.)
        let are_finite = |numbers: &[f64]| numbers.iter().fold(true, |all, number| all & number.is_finite());
        if !(are_finite(&unit.weights) && are_finite(&unit.bias)) {
            return Err(FoldError::Layer { layer: title(), why: "it has numbers that are not finite".into() });
        }
        let exact = unit.exact();
        let weights = precision.bytes_of(exact.weights.iter().copied());
        let kept: Vec<f64> = exact.bias.iter().map(|bias| bias / beta).collect();
        let added = precision.bytes_of(kept.iter().copied());
        let bias: Vec<f64> = (0..kept.len()).map(|at| precision.number(&added, at) * beta).collect();
        if !(precision.are_finite(&weights) && are_finite(&bias)) {
            return Err(FoldError::Overflow { layer: title(), precision });
        }
        let proof = prove(unit, &exact, precision, |at| precision.number(&weights, at), &bias);
        if !proof.holds {
            return Err(FoldError::Proof { layer: title(), error: proof.largest_error, bound: proof.bound });
        }
        let adds = kept.iter().any(|bias| *bias != 0.0);
        Ok(Stored { precision, weights, added, adds, proof })
    }
}
