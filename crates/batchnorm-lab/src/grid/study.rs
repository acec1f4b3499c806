//! A grid that was run.

use indexmap::IndexSet;
use serde::{Deserialize, Serialize};

use super::figures::Figures;
use super::question::{Cell, Made, Question};
use crate::plan::Plan;

/// The choice of a setting for an arm, by trainings of their own.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Sweep {
    /// The arm's name.
    pub arm: String,
    /// The setting.
    pub setting: String,
    /// Each value, with the accuracy on examples that were kept out of training; none where it diverged.
    pub accuracies: Vec<(String, Option<f64>)>,
    /// The value with the highest.
    pub chosen: String,
    /// It is the least or the greatest of them, so that one beyond it may be better.
    pub at_an_end: bool,
}

/// A grid that was run, with all that another person needs to run it again.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Study {
    /// What was asked.
    pub question: Question,
    /// The command.
    pub command: String,
    /// The flags of `train` that all cells have.
    pub flags: Vec<String>,
    /// Those of the training that each of them starts from; empty if it starts from none.
    pub source: Vec<String>,
    /// The data in words, each set once.
    pub data: Vec<String>,
    /// The plan of each arm, by its name; of each seed it is the same but for the seed.
    pub plans: Vec<(String, Plan)>,
    /// What differs between arms though nobody asked for it.
    pub unasked: Vec<String>,
    /// How the learning rate, or whatever else was tuned, was chosen for each arm.
    pub sweeps: Vec<Sweep>,
    /// Seconds of one core that all trainings took, with their evaluations and those of the sweeps.
    pub seconds: f64,
    /// Seconds that this is at as many trainings at a time as there were.
    pub elapsed: f64,
    /// What they say.
    pub figures: Figures,
    /// The cells.
    pub cells: Vec<Cell>,
}

impl Study {
    /// What made the cells, each once.
    pub fn makers(&self) -> IndexSet<&Made> {
        self.cells.iter().map(|cell| &cell.made).collect()
    }
}
