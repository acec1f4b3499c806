//! A grid that was run.

use serde::{Deserialize, Serialize};

use super::figures::Figures;
use super::question::{Cell, Question};
use crate::machine::Machine;

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
    /// Cells at a time, each on one thread.
    pub workers: usize,
    /// The version of this workspace.
    pub version: String,
    /// The machine.
    pub machine: Machine,
    /// How the learning rate, or whatever else was tuned, was chosen for each arm.
    pub sweeps: Vec<Sweep>,
    /// Seconds of all trainings that were done, with their evaluations; those of the sweeps too.
    pub seconds: f64,
    /// What they say.
    pub figures: Figures,
    /// The cells.
    pub cells: Vec<Cell>,
}
