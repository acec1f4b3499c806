//! What of a network stays as it is in training.

use serde::{Deserialize, Serialize};

use super::outline::Layer;
use super::path::is_of_norm;
use super::recipe::{NormKind, Recipe};
use crate::setting::SettingError;

/// The pattern that means all layers but the output's.
pub const BODY: &str = "body";
/// The path of the last layer.
pub const HEAD: &str = "output";

/// The running statistics of norms in training.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Statistics {
    /// They normalise, and stay as they are: the layer is a fixed scale and shift.
    Frozen,
    /// The batch normalises, and they follow it.
    Adapting,
}

/// The gammas and betas of norms in training.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Affine {
    /// They stay as they are.
    Frozen,
    /// They follow their gradients.
    Trained,
}

/// What stays as it is in training.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Freeze {
    /// Patterns of the layers whose weights and biases stay: [`BODY`], or a layer's path, in which `*` stands for any text. A pattern means
    /// what is inside the layer too.
    pub layers: Vec<String>,
    /// The running statistics of norms: of those in frozen layers, or, if no layer is frozen, of all.
    pub statistics: Statistics,
    /// Their gammas and betas.
    pub affine: Affine,
}

impl Freeze {
    /// Nothing stays.
    pub const NOTHING: Freeze =
        Freeze { layers: Vec::new(), statistics: Statistics::Adapting, affine: Affine::Trained };

    /// Tells whether the pattern of some frozen layer means this layer.
    fn means(&self, layer: &str) -> bool {
        self.layers.iter().any(|pattern| means(pattern, layer))
    }

    /// Tells whether the norm at a path goes by these switches.
    fn means_norm(&self, layer: &str) -> bool {
        self.layers.is_empty() || self.means(layer)
    }

    /// Tells whether the running statistics of the norm at a path stay as they are.
    pub fn keeps_statistics(&self, layer: &str) -> bool {
        self.statistics == Statistics::Frozen && self.means_norm(layer)
    }

    /// Tells whether the parameter at a path stays as it is: all of a layer do, or none.
    pub fn keeps(&self, path: &str) -> bool {
        let layer = path.rsplit_once('.').map_or(path, |(layer, _)| layer);
        match is_of_norm(path) {
            true => self.keeps_affine(layer),
            false => self.means(layer),
        }
    }

    fn keeps_affine(&self, layer: &str) -> bool {
        self.affine == Affine::Frozen && self.means_norm(layer)
    }

    /// Tells whether all of a layer of the outline stays.
    fn keeps_all_of(&self, recipe: &Recipe, layer: &Layer) -> bool {
        match layer.is_norm() {
            true => self.keeps_affine(&layer.path) && (!recipe.needs_batches() || self.keeps_statistics(&layer.path)),
            false => self.means(&layer.path),
        }
    }

    /// Tells whether all that is in a module of the network stays, so that it gives for ever what it gives.
    pub fn keeps_module(&self, recipe: &Recipe, outline: &[Layer], module: &str) -> bool {
        let inside = |layer: &&Layer| means(module, &layer.path);
        outline.iter().filter(inside).all(|layer| self.keeps_all_of(recipe, layer))
    }

    /// What becomes of a layer of a network in training, in words; none for what has no tensors.
    pub fn of_layer(&self, recipe: &Recipe, layer: &Layer) -> Option<String> {
        if layer.path.is_empty() {
            return None;
        }
        let stays = |stays: bool, else_: &'static str| if stays { "frozen" } else { else_ };
        if !layer.is_norm() {
            let what = if layer.has_bias() { "weights, bias" } else { "weights" };
            return Some(format!("{what} {}", stays(self.means(&layer.path), "trained")));
        }
        let what = if recipe.norm == NormKind::Rms { "gamma" } else { "gamma, beta" };
        let affine = format!("{what} {}", stays(self.keeps_affine(&layer.path), "trained"));
        Some(match recipe.needs_batches() {
            true => format!("{affine}; statistics {}", stays(self.keeps_statistics(&layer.path), "adapting")),
            false => affine,
        })
    }

    /// Checks that each pattern means a layer, and that something is left to train.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn check(&self, recipe: &Recipe, outline: &[Layer]) -> Result<(), SettingError> {
        let paths = || outline.iter().filter(|layer| !layer.path.is_empty());
        for pattern in &self.layers {
            if !paths().any(|layer| means(pattern, &layer.path)) {
                let all: Vec<&str> = paths().map(|layer| layer.path.as_str()).collect();
                let expected = format!("{BODY}, or a pattern of some of the layers {}", all.join(", "));
                return Err(SettingError::new("freeze", &expected, pattern));
            }
        }
        let trained = |layer: &Layer| match layer.is_norm() {
            true => !self.keeps_affine(&layer.path),
            false => !self.means(&layer.path),
        };
        if !paths().any(trained) {
            let expected = "patterns that leave something to train";
            return Err(SettingError::new("freeze", expected, self.layers.join(",")));
        }
        if self.affine == Affine::Frozen && self.layers.is_empty() && !paths().any(Layer::is_norm) {
            return Err(SettingError::new("affine", "trained: this network has no norms", "frozen"));
        }
        if self.statistics == Statistics::Frozen && !recipe.needs_batches() {
            let expected = "adapting: the norms of this network have no running statistics";
            return Err(SettingError::new("statistics", expected, "frozen"));
        }
        Ok(())
    }
}

/// Tells whether a pattern means a path, or a module that it is in.
pub(super) fn means(pattern: &str, path: &str) -> bool {
    if pattern == BODY {
        return !means(HEAD, path);
    }
    let ends = path.match_indices('.').map(|(at, _)| at).chain([path.len()]);
    ends.into_iter().any(|end| fits(pattern, &path[..end]))
}

/// Tells whether a text is a pattern with any text for each `*`.
fn fits(pattern: &str, text: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == text,
        Some((start, rest)) => text
            .strip_prefix(start)
            .is_some_and(|text| (0..=text.len()).any(|at| text.is_char_boundary(at) && fits(rest, &text[at..]))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_parameters_of_a_layer_stay_or_none() {
        let freeze = |pattern: &str| Freeze { layers: vec![pattern.to_owned()], ..Freeze::NOTHING };
        for pattern in ["*t", "*.weight", "hidden.0.linear.weight", "*b*"] {
            for layer in ["hidden.0.linear", "output"] {
                let [weight, bias] = ["weight", "bias"].map(|name| freeze(pattern).keeps(&format!("{layer}.{name}")));
                assert_eq!(weight, bias, "{pattern} {layer}");
            }
        }
        assert!(!freeze("*.weight").keeps("output.weight") && freeze("*t").keeps("output.bias"));
    }

    #[test]
    fn patterns_mean_layers_and_what_is_in_them() {
        let yes = [
            ("body", "hidden.0.linear.weight"),
            ("hidden.0", "hidden.0.norm.gamma"),
            ("hidden.0", "hidden.0"),
            ("hidden.*", "hidden.12.linear.weight"),
            ("*.norm", "blocks.0.first.norm"),
            ("blocks.*.first", "blocks.2.first.convolution.weight"),
            ("output", "output.bias"),
            ("*", "output.bias"),
        ];
        let no = [
            ("body", "output.weight"),
            ("hidden.1", "hidden.10.linear.weight"),
            ("hidden", "hid"),
            ("*.norm", "hidden.0.linear.weight"),
            ("linear", "hidden.0.linear.weight"),
            ("", "output"),
        ];
        for (pattern, path) in yes {
            assert!(means(pattern, path), "{pattern} {path}");
        }
        for (pattern, path) in no {
            assert!(!means(pattern, path), "{pattern} {path}");
        }
    }
}
