//! The stages of a graph: what can be computed before the statistics of some norms are known, and what must be kept to go on from there.

use std::collections::{HashMap, HashSet};

use super::written::Written;

/// A graph in stages, each of which ends at the inputs of norms that do not feed each other.
///
/// Stage 0 computes the inputs of the norms that no other norm feeds, stage 1 those of the norms that only these feed, and so on; the last
/// one the model's outputs. What a stage leaves is all that the following ones need: so nothing is computed twice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stages {
    /// For each stage but the last, the places (in [`Written::norms`]) of the norms whose inputs it computes.
    pub norms: Vec<Vec<usize>>,
    /// For each stage, the values that are there at its end and that later ones need; at the end of the last one the outputs.
    pub left: Vec<Vec<String>>,
}

impl Stages {
    /// The stages of a model, at whose norms of these places each ends.
    pub fn of(written: &Written, measured: &[usize]) -> Stages {
        let measured: HashSet<usize> = measured.iter().copied().collect();
        // A value's stage; none of what constants make, which is there in any run.
        let mut stages: HashMap<&str, usize> = written.inputs.iter().map(|input| (input.name.as_str(), 0)).collect();
        let mut of_norms: Vec<Vec<usize>> = Vec::new();
        let mut inputs: HashMap<usize, usize> = HashMap::new();
        for step in &written.nodes {
            let before = step.takes.iter().filter_map(|name| stages.get(name.as_str())).max().copied();
            let norm = step.norm.filter(|norm| measured.contains(norm));
            let stage = match norm {
                // (A norm of constants waits for its statistics all the same.)
                Some(norm) => {
                    let stage = before.unwrap_or(0);
                    of_norms.resize_with(of_norms.len().max(stage + 1), Vec::new);
                    of_norms[stage].push(norm);
                    inputs.insert(norm, stage);
                    Some(stage + 1)
                }
                None => before,
            };
            if let Some(stage) = stage {
                stages.extend(step.makes.iter().map(|name| (name.as_str(), stage)));
            }
        }
        let count = of_norms.len();
        let needed = needed(written, &measured);
        let mut left: Vec<Vec<String>> = vec![Vec::new(); count];
        let mut seen: Vec<HashSet<String>> = vec![HashSet::new(); count];
        let mut keep = |name: &str, from: usize, to: usize| {
            for stage in from..to.min(count) {
                if seen[stage].insert(name.to_owned()) {
                    left[stage].push(name.to_owned());
                }
            }
        };
        for (step, _) in written.nodes.iter().zip(&needed).filter(|(_, needed)| **needed) {
            let measured = step.norm.filter(|norm| measured.contains(norm));
            let own = step.makes.iter().filter_map(|name| stages.get(name.as_str())).max().copied().unwrap_or(0);
            for name in &step.takes {
                let from = match (stages.get(name.as_str()), measured) {
                    (Some(&from), _) => from,
                    // The input of a norm of constants is wanted, and what else constants make is not kept.
                    (None, Some(norm)) if *name == written.norms[norm].input => 0,
                    (None, _) => continue,
                };
                keep(name, from, own);
            }
        }
        for name in &written.outputs {
            if let Some(&from) = stages.get(name.as_str()) {
                keep(name, from, count);
            }
        }
        left.push(written.outputs.clone());
        Stages { norms: of_norms, left }
    }

    /// How many there are, the last one to the outputs included.
    pub fn count(&self) -> usize {
        self.left.len()
    }
}

/// Which nodes lead to an output, or to a norm that is measured.
fn needed(written: &Written, measured: &HashSet<usize>) -> Vec<bool> {
    let mut wanted: HashSet<&str> = written.outputs.iter().map(String::as_str).collect();
    let mut needed = vec![false; written.nodes.len()];
    for (at, step) in written.nodes.iter().enumerate().rev() {
        let is_measured = step.norm.is_some_and(|norm| measured.contains(&norm));
        if is_measured || step.makes.iter().any(|name| wanted.contains(name.as_str())) {
            needed[at] = true;
            wanted.extend(step.takes.iter().map(String::as_str));
        }
    }
    needed
}
