//! Grids as data: what a preset's file says, what flags say, and the one changed by the other.

use batchnorm_lab::grid::{Before, Published};
use batchnorm_lab::look::Look;
use serde::Deserialize;

use super::words::Words;
use crate::failure::Failure;

macro_rules! presets {
    ($($name:literal),* $(,)?) => {
        /// The presets: each a file of this crate, in the order in which `--all` runs them.
        pub const PRESETS: &[(&str, &str)] = &[$(($name, include_str!(concat!("../../presets/", $name, ".toml")))),*];
    };
}

presets![
    "ioffe",
    "learning-rate",
    "batch-size",
    "stale-average",
    "placement",
    "shift",
    "initialisation",
    "batch-statistics",
    "regularisation",
    "dropout",
    "weight-decay",
    "correlated-batches",
    "transfer",
    "depth",
    "cifar",
    "fold",
];

/// A preset: a question, and the grid that answers it.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Preset {
    /// The question.
    pub question: String,
    /// The numbers of the claims in docs/claims.md that it is about.
    pub claims: Vec<usize>,
    /// The grid in full.
    pub full: Form,
    /// What is otherwise in the quick form.
    pub quick: Form,
    /// Figures that were published on arms of the full form.
    #[serde(default)]
    pub published: Vec<Published>,
    /// What was said before in other settings.
    #[serde(default)]
    pub before: Vec<Before>,
}

/// What others have published on a grid's question.
#[derive(Debug, Clone, Default)]
pub struct Literature {
    pub claims: Vec<usize>,
    pub published: Vec<Published>,
    pub before: Vec<Before>,
}

impl Preset {
    /// What others have published; figures only where the grid is the one that they are of.
    pub fn literature(&self, same_settings: bool) -> Literature {
        let published = if same_settings { self.published.clone() } else { Vec::new() };
        Literature { claims: self.claims.clone(), published, before: self.before.clone() }
    }
}

/// A grid, or what changes one: whatever is empty changes nothing.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Form {
    /// Arms with names of their own.
    pub arms: Vec<Named>,
    /// Settings that vary, each with its values, such as `norm=none,batch`: each value goes with each of the others, and with each named arm.
    pub vary: Vec<String>,
    /// A number of seeds, or a list.
    pub seeds: Option<String>,
    /// An accuracy to reach.
    pub target: Option<String>,
    /// The settings along which arms are compared.
    pub beside: Vec<String>,
    /// The setting that charts have across.
    pub over: Option<String>,
    /// A setting that is chosen for each arm first, unless the arm says it; empty for none after all.
    pub tune: Option<String>,
    /// What is read off the networks.
    pub read: Vec<Look>,
    /// Flags of `train` that all arms have.
    pub flags: Words,
    /// Flags of `train` of the training that all arms start from, if they do.
    pub source: Words,
}

/// An arm with a name of its own.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Named {
    /// Its name.
    pub name: String,
    /// Its flags of `train`.
    #[serde(default)]
    pub flags: Words,
    /// The names of the arms that it is compared with, which may be none; the first one where they are not said.
    pub against: Option<Vec<String>>,
}

impl Form {
    /// Tells whether it changes no setting of another grid. (More seeds, or another look, do not.)
    pub fn changes_nothing(&self) -> bool {
        self.arms.is_empty() && self.vary.is_empty() && self.tune.is_none() && self.flags.is_empty()
    }

    /// This grid, changed by what another one says.
    pub fn changed_by(self, change: Form) -> Form {
        let mut vary = self.vary;
        for one in change.vary {
            let setting = |vary: &str| super::words::setting(vary).to_owned();
            match vary.iter_mut().find(|known| setting(known) == setting(&one)) {
                Some(known) => *known = one,
                None => vary.push(one),
            }
        }
        Form {
            arms: if change.arms.is_empty() { self.arms } else { change.arms },
            vary,
            seeds: change.seeds.or(self.seeds),
            target: change.target.or(self.target),
            beside: if change.beside.is_empty() { self.beside } else { change.beside },
            over: change.over.or(self.over),
            tune: change.tune.or(self.tune).filter(|tune| !tune.is_empty()),
            read: if change.read.is_empty() { self.read } else { change.read },
            flags: self.flags.changed_by(&change.flags),
            source: self.source.changed_by(&change.source),
        }
    }
}

/// The preset of a name.
pub fn preset(name: &str) -> Result<Preset, Failure> {
    let (_, text) = PRESETS.iter().find(|(known, _)| *known == name).expect("clap knows the names");
    toml::from_str(text).map_err(|error| Failure::input(format!("preset {name}: {error}")))
}

/// The question of a preset, for help texts.
pub fn question(name: &str) -> String {
    preset(name).map_or(String::new(), |preset| preset.question)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_flags_say_replaces_what_a_preset_says() {
        let form = Form {
            vary: vec![String::from("norm=none,batch"), String::from("learning-rate=0.1,1")],
            seeds: Some(String::from("3")),
            flags: ["--epochs=3", "--unscaled"].into_iter().collect(),
            ..Form::default()
        };
        let change = Form {
            vary: vec![String::from("lr=0.5,5"), String::from("batch-size=2,4")],
            flags: ["--epochs=1"].into_iter().collect(),
            ..Form::default()
        };
        let changed = form.changed_by(change);
        assert_eq!(changed.vary, ["norm=none,batch", "lr=0.5,5", "batch-size=2,4"]);
        assert_eq!(changed.seeds.as_deref(), Some("3"));
        assert_eq!(changed.flags.to_vec(), ["--unscaled", "--epochs=1"]);
    }
}
