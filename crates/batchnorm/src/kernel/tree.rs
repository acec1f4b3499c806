//! The order in which leaves are joined, whatever they hold.

/// Results of two neighbouring sets of values, joined; the left one comes first in the logical order.
pub(crate) trait Merge: Copy + Send {
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

    /// What is left over is merged from the right. `None` without leaves; the tree is as new.
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
