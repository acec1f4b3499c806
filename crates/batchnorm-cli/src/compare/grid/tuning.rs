//! The choice of a setting for each arm, by trainings that know nothing of the test set. Where the best of the values is the least or the greatest,
//! the sweep goes on in that direction.

use batchnorm_lab::grid::{Cell, Sweep};

use super::arms::Varied;
use super::asked::{Asked, DataSets, Grid};
use super::runner::Runner;
use crate::failure::Failure;

/// Values beyond those that were asked for, for one arm.
const MOST_MORE: usize = 4;

/// The searches of all arms.
pub struct Tuning {
    varied: Varied,
    searches: Vec<Search>,
    /// The trainings that are next: each with the place of its search, and its value.
    next: Vec<(usize, String, Asked)>,
}

impl Tuning {
    /// What the grid asks to be chosen, with the first trainings of it; none where it asks for nothing.
    pub fn of(grid: &Grid, open: &mut DataSets) -> Result<Option<Tuning>, Failure> {
        let Some((varied, arms)) = grid.tuned()? else { return Ok(None) };
        let searches = arms.iter().map(|arm| Search::new(arm, &varied)).collect();
        let mut tuning = Tuning { varied, searches, next: Vec::new() };
        tuning.plan(grid, open)?;
        Ok(Some(tuning))
    }

    fn plan(&mut self, grid: &Grid, open: &mut DataSets) -> Result<(), Failure> {
        self.next.clear();
        for (number, search) in self.searches.iter_mut().enumerate() {
            for value in search.next() {
                let cell = grid.tuning(open, &search.arm, &self.varied, &value)?;
                self.next.push((number, value, cell));
            }
        }
        Ok(())
    }

    /// Does the trainings, round by round, until the best values are known.
    pub fn choose(
        mut self,
        grid: &Grid,
        open: &mut DataSets,
        runner: &Runner,
    ) -> Result<(Vec<Cell>, Vec<Sweep>), Failure> {
        let mut cells = Vec::new();
        while !self.next.is_empty() {
            let asked: Vec<&Asked> = self.next.iter().map(|(_, _, asked)| asked).collect();
            let done = runner.done(&asked, runner.there(&asked)?, open)?;
            for (number, value, asked) in &self.next {
                let cell = &done[&asked.key];
                self.searches[*number].judge(value, cell.trial.accuracy);
                cells.push(cell.clone());
            }
            self.plan(grid, open)?;
        }
        Ok((cells, self.searches.into_iter().map(|search| search.sweep(&self.varied)).collect()))
    }
}

/// The sweep of one arm so far.
struct Search {
    arm: String,
    /// Each value with its accuracy, in order; none where it is not known yet.
    tried: Vec<(String, Option<Judged>)>,
    more: usize,
}

/// What came of a value: the accuracy, or none where the training diverged.
type Judged = Option<f64>;

impl Search {
    fn new(arm: &str, varied: &Varied) -> Search {
        Search {
            arm: arm.to_owned(),
            tried: varied.values.iter().map(|value| (value.clone(), None)).collect(),
            more: 0,
        }
    }

    /// The values that are to be tried next; none once the best is known.
    fn next(&mut self) -> Vec<String> {
        let open: Vec<String> =
            self.tried.iter().filter(|(_, judged)| judged.is_none()).map(|(value, _)| value.clone()).collect();
        if !open.is_empty() || self.more == MOST_MORE {
            return open;
        }
        let Some((at, value)) = self.beyond() else { return Vec::new() };
        self.tried.insert(at, (value.clone(), None));
        self.more += 1;
        vec![value]
    }

    fn judge(&mut self, value: &str, accuracy: Judged) {
        if let Some((_, judged)) = self.tried.iter_mut().find(|(known, _)| known == value) {
            *judged = Some(accuracy);
        }
    }

    /// The place of the best; of equal ones, the first.
    fn best(&self) -> usize {
        let accuracy = |at: usize| self.tried[at].1.flatten().unwrap_or(-1.0);
        (0..self.tried.len()).rev().max_by(|&one, &other| accuracy(one).total_cmp(&accuracy(other))).unwrap_or(0)
    }

    /// The value beyond the best, and its place, if the best is at an end of numbers that rise.
    fn beyond(&self) -> Option<(usize, String)> {
        let numbers: Vec<f64> = self.tried.iter().map(|(value, _)| value.parse().ok()).collect::<Option<_>>()?;
        let rise = numbers.len() > 1 && numbers[0] > 0.0 && numbers.is_sorted_by(|one, other| one < other);
        let (best, last) = (self.best(), numbers.len() - 1);
        let beyond = |edge: f64, inner: f64| rounded(edge * edge / inner);
        match best {
            _ if !rise => None,
            0 => Some((0, beyond(numbers[0], numbers[1]))),
            at if at == last => Some((last + 1, beyond(numbers[last], numbers[last - 1]))),
            _ => None,
        }
    }

    /// The sweep as it ended.
    fn sweep(self, varied: &Varied) -> Sweep {
        let chosen = self.tried[self.best()].0.clone();
        let at_an_end = self.beyond().is_some();
        let accuracies = self.tried.into_iter().map(|(value, judged)| (value, judged.flatten())).collect();
        Sweep { arm: self.arm, setting: varied.setting.clone(), accuracies, chosen, at_an_end }
    }
}

/// A number to two digits, as one writes it.
fn rounded(number: f64) -> String {
    let two: f64 = format!("{number:.1e}").parse().expect("it is a number");
    two.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The values that are tried, and the one that is chosen, where accuracy falls with the distance from a number, as a factor.
    fn searched(values: &str, best: f64) -> (Vec<String>, String) {
        let varied = Varied::parse("--tune", values).unwrap_or_else(|failure| panic!("{failure}"));
        let mut search = Search::new("arm", &varied);
        loop {
            let next = search.next();
            if next.is_empty() {
                let sweep = search.sweep(&varied);
                return (sweep.accuracies.into_iter().map(|(value, _)| value).collect(), sweep.chosen);
            }
            for value in next {
                let off = (value.parse::<f64>().unwrap() / best).ln().abs();
                search.judge(&value, (off < 10.0).then_some(1.0 / (1.0 + off)));
            }
        }
    }

    #[test]
    fn a_sweep_goes_on_where_its_best_is_at_an_end() {
        let (values, chosen) = searched("lr=0.01,0.03,0.1", 0.03);
        assert_eq!((values.len(), chosen.as_str()), (3, "0.03"));
        let (values, chosen) = searched("lr=0.01,0.03,0.1", 0.3);
        assert_eq!((values.last().unwrap().as_str(), chosen.as_str()), ("1.1", "0.33"));
        let (values, chosen) = searched("lr=0.01,0.1,1", 0.0008);
        assert_eq!(
            (values[..2].to_vec(), chosen.as_str()),
            (vec![String::from("0.0001"), String::from("0.001")], "0.001")
        );
        // It ends in any case.
        assert_eq!(searched("lr=0.01,0.1", 1e9).0.len(), 6);
        // What is no row of numbers is as it was asked for.
        let varied = Varied::parse("--tune", "norm=none,batch").unwrap_or_else(|failure| panic!("{failure}"));
        let mut search = Search::new("arm", &varied);
        assert_eq!(search.next(), ["none", "batch"]);
        search.judge("none", Some(0.5));
        search.judge("batch", None);
        assert!(search.next().is_empty());
        assert_eq!(search.sweep(&varied).chosen, "none");
    }
}
