//! What is asked of a grid: its arms and seeds, and what others have published on it.

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};

use crate::machine::Machine;
use crate::trial::Trial;

/// An arm of a grid.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Arm {
    /// Its name: the settings that vary, with their values.
    pub name: String,
    /// These, in order.
    pub at: Vec<(String, String)>,
    /// The names of the arms that it is measured against.
    pub against: Vec<String>,
}

impl Arm {
    /// The value of a setting that varies.
    pub fn value(&self, setting: &str) -> Option<&str> {
        self.at.iter().find(|(of, _)| of == setting).map(|(_, value)| value.as_str())
    }

    /// Its name without some of its settings.
    pub fn without(&self, settings: &[Option<&str>]) -> String {
        name(self.at.iter().filter(|(setting, _)| !settings.contains(&Some(setting.as_str()))))
    }
}

/// The setting of arms that have names of their own.
pub const NAMED: &str = "arm";

/// The name of an arm at these settings.
pub fn name<'a>(at: impl Iterator<Item = &'a (String, String)>) -> String {
    let words = at.map(|(setting, value)| if setting == NAMED { value.clone() } else { format!("{setting} {value}") });
    words.collect::<Vec<_>>().join(", ")
}

/// A cell of a grid: an arm and a seed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Cell {
    /// The arm's name.
    pub arm: String,
    /// The seed.
    pub seed: u64,
    /// What its training came to.
    pub trial: Trial,
    /// What made it.
    pub made: Made,
}

/// What made a cell.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Made {
    /// The version of the program.
    pub version: String,
    /// The machine.
    pub machine: Machine,
    /// Trainings at a time.
    pub workers: usize,
}

/// What is asked of a grid.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Question {
    /// Its name: the preset's, or that of a grid of one's own.
    pub title: String,
    /// The question in words, if it has some.
    pub text: Option<String>,
    /// The numbers of the claims in docs/claims.md that it is about.
    pub claims: Vec<usize>,
    /// The arms, in order.
    pub arms: Vec<Arm>,
    /// The seeds of each.
    pub seeds: Vec<u64>,
    /// An accuracy to reach.
    pub target: Option<f64>,
    /// The smallest difference of two accuracies: one over the examples of the test set.
    pub resolution: f64,
    /// The settings along which arms are compared; without one, with the first arm.
    pub beside: Vec<String>,
    /// The setting that a chart has across, and over which what reaches the target is listed.
    pub over: Option<String>,
    /// Figures that others have published on it.
    pub published: Vec<Published>,
    /// What others have said on it in other settings.
    pub before: Vec<Before>,
}

impl Question {
    /// The first of the settings along which arms are compared: its values share a chart.
    pub fn along(&self) -> Option<&str> {
        self.beside.first().map(String::as_str)
    }

    /// Arms by what they have in common besides some settings, in order.
    pub(crate) fn grouped(&self, but: &[Option<&str>]) -> IndexMap<String, Vec<&Arm>> {
        let mut groups: IndexMap<String, Vec<&Arm>> = IndexMap::new();
        for arm in &self.arms {
            groups.entry(arm.without(but)).or_default().push(arm);
        }
        groups
    }

    /// The arms that share a chart, by what else they have in common; all of them where no setting is compared along.
    pub(crate) fn sharing_a_chart(&self) -> IndexMap<String, Vec<&Arm>> {
        match self.along() {
            Some(along) => self.grouped(&[Some(along)]),
            None => IndexMap::from([(String::new(), self.arms.iter().collect())]),
        }
    }
}

/// A figure that was published on an arm of the same settings.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Published {
    /// The arm's name.
    pub arm: String,
    /// The reading; the accuracy by running statistics where none is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub what: Option<String>,
    /// Steps that the network had taken; the end where none is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step: Option<usize>,
    /// The figure, a share.
    pub value: f64,
    /// Who published it.
    pub source: String,
    /// What is known of the difference from what is found here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

/// What was said before in other settings, which a grid neither confirms nor refutes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Before {
    /// What was found.
    pub text: String,
    /// Who did.
    pub source: String,
}
