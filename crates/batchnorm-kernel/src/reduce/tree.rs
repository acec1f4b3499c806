//! The order in which leaves are joined, whatever they hold.

/// Results of two neighbouring sets of values, joined; the left one comes first in the logical order.
pub trait Merge: Copy + Send {
    /// This, then `right`.
    fn merge(self, right: Self) -> Self;
}

/// Leaves of a block of channels, merged as they come, as a binary counter carries: one part for each set bit of
/// `leaves`, each part with one value for each channel of the block.
pub(crate) struct Tree<V> {
    parts: Vec<Vec<V>>,
    /// Vectors to use again.
    spare: Vec<Vec<V>>,
    leaves: usize,
}

impl<V: Merge> Tree<V> {
    pub fn new() -> Self {
        Tree { parts: Vec::new(), spare: Vec::new(), leaves: 0 }
    }

    /// An empty vector for the next leaf.
    pub fn leaf(&mut self) -> Vec<V> {
        let mut leaf = self.spare.pop().unwrap_or_default();
        leaf.clear();
        leaf
    }

    /// The next leaf in logical order.
    pub fn push(&mut self, leaf: Vec<V>) {
        let mut value = leaf;
        for _ in 0..self.leaves.trailing_ones() {
            let left = self.parts.pop().expect("one part for each bit");
            self.join(left, &mut value);
        }
        self.parts.push(value);
        self.leaves += 1;
    }

    /// Merges what is left over from the right, and empties the tree. `None` without leaves.
    pub fn finish(&mut self) -> Option<Vec<V>> {
        self.leaves = 0;
        let mut value = self.parts.pop()?;
        while let Some(left) = self.parts.pop() {
            self.join(left, &mut value);
        }
        Some(value)
    }

    fn join(&mut self, left: Vec<V>, right: &mut [V]) {
        left.iter().zip(right).for_each(|(left, right)| *right = left.merge(*right));
        self.spare.push(left);
    }
}

/// Neighbours joined pairwise, halves onto each other; of at least one.
pub fn joined_pairwise<V: Copy>(values: &[V], join: &impl Fn(V, V) -> V) -> V {
    match *values {
        [one] => one,
        _ => {
            let (left, right) = values.split_at(values.len() / 2);
            join(joined_pairwise(left, join), joined_pairwise(right, join))
        }
    }
}

/// A sum by halves, so that its error hardly grows with the number of summands.
pub fn pairwise_sum(len: usize, term: &dyn Fn(usize) -> f64) -> f64 {
    fn between(start: usize, len: usize, term: &dyn Fn(usize) -> f64) -> f64 {
        if len <= 32 {
            return (start..start + len).map(term).fold(0.0, |sum, term| sum + term);
        }
        let half = len / 2;
        between(start, half, term) + between(start + half, len - half, term)
    }
    between(0, len, term)
}
