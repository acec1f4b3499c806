//! The network of the comparison, and of the files that format 1 describes.

use serde::{Deserialize, Serialize};

use super::recipe::{ActivationKind, NormKind, Recipe, Start};
use crate::digits::{CLASSES, SHAPE};
use crate::setting::SettingError;

/// Sizes and start of a fully connected sigmoid network for the digits, and the options of its batch norm.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Architecture {
    /// Units of each hidden layer.
    pub hidden: Vec<usize>,
    /// Standard deviation of the start weights; their mean is 0, and biases start at 0.
    pub weight_deviation: f64,
    /// Added to the variance inside the square root.
    pub epsilon: f64,
    /// Weight of the new value in the running statistics.
    pub weight_of_new: f64,
}

impl Default for Architecture {
    /// Three hidden layers of 100, weights N(0, 0.05); epsilon 1e-5 and weight of the new value 0.1, PyTorch's.
    ///
    /// (The Udacity notebook behind the figures quoted for this experiment used 1e-3 and 0.01. With 0.01 the running
    /// statistics trail the batches by some 100 steps; here batch norm is done learning by then.)
    fn default() -> Self {
        Architecture { hidden: vec![100; 3], weight_deviation: 0.05, epsilon: 1e-5, weight_of_new: 0.1 }
    }
}

impl Architecture {
    /// The recipe of the network, with batch norm or none.
    pub fn recipe(&self, batch_norm: bool) -> Recipe {
        let Architecture { hidden, weight_deviation, epsilon, weight_of_new } = self.clone();
        Recipe {
            hidden,
            activation: ActivationKind::Sigmoid,
            norm: if batch_norm { NormKind::Batch } else { NormKind::None },
            start: Some(Start::Gaussian(weight_deviation)),
            epsilon,
            weight_of_new,
            ..Recipe::default()
        }
    }

    /// The architecture of a recipe, and whether it has batch norm; none if the recipe asks for more than an architecture says.
    pub fn of(recipe: &Recipe) -> Option<(Architecture, bool)> {
        let Some(Start::Gaussian(weight_deviation)) = recipe.start else { return None };
        let Recipe { hidden, epsilon, weight_of_new, .. } = recipe.clone();
        let (architecture, norm) =
            (Architecture { hidden, weight_deviation, epsilon, weight_of_new }, recipe.norm == NormKind::Batch);
        (architecture.recipe(norm) == *recipe).then_some((architecture, norm))
    }

    /// Checks that the network can be built.
    ///
    /// # Errors
    /// As [`Recipe::check`].
    pub fn check(&self) -> Result<(), SettingError> {
        self.recipe(true).check(SHAPE, CLASSES)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_recipe_that_says_more_is_no_architecture() {
        let recipe = Architecture::default().recipe(true);
        assert_eq!(Architecture::of(&recipe), Some((Architecture::default(), true)));
        assert_eq!(Architecture::of(&Recipe { dropout: 0.1, ..recipe.clone() }), None);
        assert_eq!(Architecture::of(&Recipe { norm: NormKind::Layer, ..recipe }), None);
    }
}
