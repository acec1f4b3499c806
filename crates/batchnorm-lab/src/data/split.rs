//! Parts of a set that are drawn once, by a seed.

use rand::seq::SliceRandom;

use super::set::Set;
use crate::random::{Purpose, generator};

/// Splits a share off a set: what is left, and the part. Of each class the part has the share, rounded, of its examples, but leaves one.
/// Both keep the set's order. The same seed splits the same set in the same way.
pub fn split_off(set: &Set, share: f64, seed: u64) -> (Set, Set) {
    let mut generator = generator(seed, Purpose::Split);
    let mut in_part = vec![false; set.len()];
    for class in 0..=u8::MAX {
        let mut places: Vec<usize> = (0..set.len()).filter(|&at| set.classes()[at] == class).collect();
        places.shuffle(&mut generator);
        let count = ((share * places.len() as f64).round() as usize).min(places.len().saturating_sub(1));
        for &at in &places[..count] {
            in_part[at] = true;
        }
    }
    let (part, rest): (Vec<usize>, Vec<usize>) = (0..set.len()).partition(|&at| in_part[at]);
    (set.part(&rest), set.part(&part))
}

/// A part of a set of so many examples, of all classes in proportion as nearly as it goes; the set itself if it has no more.
pub fn subset(set: &Set, examples: usize, seed: u64) -> Set {
    let mut places: Vec<usize> = (0..set.len()).collect();
    if examples >= set.len() {
        return set.part(&places);
    }
    places.shuffle(&mut generator(seed, Purpose::Subset));
    // Classes take turns: the n-th example of each comes before the (n + 1)-th of any, weighed by the size of the class.
    let sizes = count(set);
    let mut seen = [0usize; 256];
    let mut order: Vec<(f64, usize)> = places
        .into_iter()
        .map(|at| {
            let class = usize::from(set.classes()[at]);
            seen[class] += 1;
            ((seen[class] as f64 - 0.5) / sizes[class] as f64, at)
        })
        .collect();
    order.sort_by(|(a, _), (b, _)| a.total_cmp(b));
    let mut places: Vec<usize> = order[..examples].iter().map(|&(_, at)| at).collect();
    places.sort_unstable();
    set.part(&places)
}

/// The number of examples of each class.
pub fn count(set: &Set) -> [usize; 256] {
    let mut counts = [0; 256];
    for &class in set.classes() {
        counts[usize::from(class)] += 1;
    }
    counts
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::{Examples, Shape};

    fn set() -> Set {
        let classes: Vec<u8> = (0..100).map(|at| if at % 10 == 0 { 7 } else { (at % 3) as u8 }).collect();
        let values = (0..100).map(|at| at as f32).collect();
        Set::in_memory(Shape::features(1), Examples { values, classes })
    }

    #[test]
    fn a_split_is_stratified_loses_nothing_and_is_the_same_each_time() {
        let set = set();
        let (rest, part) = split_off(&set, 0.2, 5);
        assert_eq!((rest.len(), part.len()), (80, 20));
        assert_eq!((count(&part)[7], count(&rest)[7]), (2, 8));
        let mut all = [rest, part].map(|set| set.read(&(0..set.len()).collect::<Vec<_>>()).unwrap().values).concat();
        assert_eq!(split_off(&set, 0.2, 5).1.read(&[0, 1]).unwrap().values, all[80..82]);
        assert_ne!(split_off(&set, 0.2, 6).1.classes(), split_off(&set, 0.2, 5).1.classes());
        all.sort_by(f32::total_cmp);
        assert_eq!(all, (0..100).map(|at| at as f32).collect::<Vec<_>>());
    }

    #[test]
    fn a_subset_has_all_classes_in_proportion() {
        let part = subset(&set(), 20, 1);
        assert_eq!(part.len(), 20);
        assert_eq!((count(&part)[7], count(&part)[0]), (2, 6));
        assert_eq!(subset(&set(), 1000, 1).len(), 100);
    }
}
