//! The files of a grid: one for each cell that is done, and what they say together.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use batchnorm_io::atomic::{FileSet, remove_abandoned, write_file};
use batchnorm_lab::grid::{Cell, Study};
use batchnorm_lab::report;
use serde_json::{Value, json};

use super::asked::Asked;
use crate::failure::Failure;

/// Marks the files of this version of the program.
const FORMAT: &str = "batchnorm-grid 2";
/// The files of the whole grid.
const SUMMARIES: [&str; 5] = ["grid.html", "grid.md", "grid.svg", "grid.json", "grid.csv"];
/// The folder of the cells.
const CELLS: &str = "cells";

pub struct Store {
    folder: PathBuf,
}

impl Store {
    /// The files in a folder, which is made.
    pub fn new(folder: &Path) -> Result<Store, Failure> {
        let cells = folder.join(CELLS);
        fs::create_dir_all(&cells).map_err(|error| Failure::output(format!("{}: {error}", cells.display())))?;
        Ok(Store { folder: folder.to_path_buf() })
    }

    pub fn folder(&self) -> &Path {
        &self.folder
    }

    fn path(&self, key: &str) -> PathBuf {
        self.folder.join(CELLS).join(format!("{key}.json"))
    }

    /// Those of the cells that are done, by key.
    pub fn load(&self, cells: &[&Asked]) -> Result<BTreeMap<String, Cell>, Failure> {
        let mut done = BTreeMap::new();
        for asked in cells {
            let path = self.path(&asked.key);
            remove_abandoned(&path);
            let broken = |reason: &dyn std::fmt::Display| {
                Failure::input(format!("{}: no cell of a grid: {reason}; remove it, or --restart", path.display()))
            };
            let text = match fs::read_to_string(&path) {
                Ok(text) => text,
                Err(error) if error.kind() == ErrorKind::NotFound => continue,
                Err(error) => return Err(broken(&error)),
            };
            let mut value: Value = serde_json::from_str(&text).map_err(|error| broken(&error))?;
            if value["format"] != FORMAT {
                return Err(broken(&format!("expected format \"{FORMAT}\", got {}", value["format"])));
            }
            let cell: Cell = serde_json::from_value(value["cell"].take()).map_err(|error| broken(&error))?;
            done.insert(asked.key.clone(), cell);
        }
        Ok(done)
    }

    pub fn save(&self, asked: &Asked, cell: &Cell) -> Result<(), Failure> {
        let value = json!({ "format": FORMAT, "plan": asked.plan, "cell": cell });
        write_file(&self.path(&asked.key), |out| writeln!(out, "{value}")).map_err(Failure::output)
    }

    /// The names of the files that [`summarize`](Self::summarize) writes.
    pub fn summaries(&self) -> [PathBuf; 5] {
        SUMMARIES.map(|name| self.folder.join(name))
    }

    /// Writes the whole grid as JSON, its cells as a table, and its reports.
    pub fn summarize(&self, study: &Study) -> Result<(), Failure> {
        let [page, short, picture, whole, table] = SUMMARIES;
        let write = || {
            let mut files = FileSet::open(&self.folder)?;
            files.file(page, |out| out.write_all(report::study_html(study).as_bytes()))?;
            files.file(short, |out| out.write_all(report::study_markdown(study).as_bytes()))?;
            files.file(picture, |out| out.write_all(report::study_picture(study).as_bytes()))?;
            files.file(whole, |out| {
                serde_json::to_writer(&mut *out, &json!({ "format": FORMAT, "study": study }))
                    .map_err(io::Error::from)?;
                out.write_all(b"\n")
            })?;
            files.file(table, |out| {
                writeln!(out, "arm,seed,ending,steps,seconds,accuracy,step_of_target,seconds_of_target")?;
                study.cells.iter().try_for_each(|cell| writeln!(out, "{}", row(cell, study.question.target)))
            })?;
            files.commit()
        };
        write().map_err(Failure::output)
    }
}

/// A line of the table; what there is not is empty.
fn row(cell: &Cell, target: Option<f64>) -> String {
    let Cell { arm, seed, trial, .. } = cell;
    let shown = |value: Option<String>| value.unwrap_or_default();
    let reached = target.and_then(|target| trial.reached(target));
    let ending = if trial.accuracy.is_some() { "finished" } else { "diverged" };
    format!(
        "\"{}\",{seed},{ending},{},{},{},{},{}",
        arm.replace('"', "\"\""),
        trial.steps,
        trial.seconds,
        shown(trial.accuracy.map(|accuracy| accuracy.to_string())),
        shown(reached.map(|at| at.step.to_string())),
        shown(reached.map(|at| at.seconds.to_string())),
    )
}
