//! A norm whose batch is made of constants, computed once: standardised weights.

use crate::excerpt::excerpt;
use crate::numbers::{Numbers, Precision};
use crate::onnx::{Constants, Elsewhere, Graph, Length, Shapes, User, Uses};

/// Nodes that shape a constant anew, at most, on either side of the norm.
const LONGEST: usize = 8;

/// What is known of a graph around a norm.
#[derive(Clone, Copy)]
pub(super) struct Around<'a, 'f> {
    pub graph: &'a Graph<'f>,
    pub constants: &'a Constants<'a, 'f>,
    pub uses: &'a Uses<'f>,
    pub shapes: &'a Shapes<'a, 'f>,
    pub elsewhere: &'a Elsewhere<'a>,
}

/// A constant that only nodes which shape it anew stand behind.
pub(super) struct Shaped<'f> {
    pub numbers: Numbers<'f>,
    pub shape: Vec<usize>,
    /// Those nodes, the last one first.
    pub nodes: Vec<usize>,
}

impl<'f> Around<'_, 'f> {
    /// The constant that a value is, in the shape that it has there, of so many numbers at most.
    ///
    /// # Errors
    /// A value that something else computes, or of another shape than it has numbers for, in words.
    pub fn shaped(&self, value: &str, most: usize) -> Result<Shaped<'f>, String> {
        let (mut value, mut nodes) = (value, Vec::new());
        while !self.constants.has(value) {
            let place = self.uses.maker(value).ok_or_else(|| format!("{} is no constant", excerpt(value)))?;
            let node = &self.graph.nodes[place];
            if !node.is_one_of(&["Reshape", "Identity"]) || nodes.len() == LONGEST {
                return Err(format!("its input comes from {}, and only Reshape is followed here", node.title()));
            }
            nodes.push(place);
            value = node.input(0).unwrap_or_default();
        }
        let numbers = self.constants.numbers(value, most, self.elsewhere).map_err(|error| error.to_string())?;
        let shape = self.constants.shape(value).ok_or("its input has more axes than a layer")?;
        let mut shape: Vec<usize> = shape.into_iter().map(|length| usize::try_from(length).unwrap_or(0)).collect();
        for &place in nodes.iter().rev() {
            shape = self
                .shape_behind(place, &shape)
                .ok_or_else(|| format!("the shape that {} gives is not known", self.graph.nodes[place].title()))?;
        }
        match shape.iter().product::<usize>() == numbers.len() {
            true => Ok(Shaped { numbers, shape, nodes }),
            false => Err(String::from("its input has another number of values than its shape")),
        }
    }

    /// The shape behind a Reshape or Identity.
    fn shape_behind(&self, place: usize, shape: &[usize]) -> Option<Vec<usize>> {
        let node = &self.graph.nodes[place];
        if node.is("Identity") {
            return Some(shape.to_vec());
        }
        let lengths = self.shapes.reshaped(node)?;
        let count: usize = shape.iter().product();
        let known = |(at, length): (usize, &Length)| match length {
            Length::Copied => shape.get(at).copied(),
            Length::Fixed(length) => usize::try_from(*length).ok(),
            Length::Inferred => Some(1),
        };
        let mut made: Vec<usize> = lengths.iter().enumerate().map(known).collect::<Option<_>>()?;
        let product = made.iter().try_fold(1usize, |product, &length| product.checked_mul(length))?;
        let mut inferred = (0..made.len()).filter(|&at| lengths[at] == Length::Inferred);
        if let Some(at) = inferred.next() {
            made[at] = count.checked_div(product)?;
        }
        (inferred.next().is_none() && made.iter().try_fold(1usize, |all, &one| all.checked_mul(one))? == count)
            .then_some(made)
    }

    /// Whether a node is all that takes a value.
    pub fn takes_alone(&self, node: usize, value: &str) -> bool {
        matches!(self.uses.users(value), [User::Node { node: user, .. }] if *user as usize == node)
    }

    /// The nodes behind a value that only shape it anew, each of which alone takes what the one before gives, and the shape behind the last.
    pub fn shaped_onward(&self, value: &'f str, shape: Vec<usize>) -> (Vec<usize>, &'f str, Vec<usize>) {
        let (mut value, mut shape, mut nodes) = (value, shape, Vec::new());
        while let [User::Node { node, input: 0 }] = self.uses.users(value)
            && nodes.len() < LONGEST
        {
            let (place, node) = (*node as usize, &self.graph.nodes[*node as usize]);
            let Some(output) = node.output(0).filter(|_| node.is("Reshape")) else { break };
            let Some(next) = self.shape_behind(place, &shape) else { break };
            nodes.push(place);
            (value, shape) = (output, next);
        }
        (nodes, value, shape)
    }
}

/// What a norm in training mode makes of a batch (N, C, ...): by the mean and the population variance of each channel, in f64.
pub(super) fn normalised(batch: &[f64], shape: &[usize], gamma: &[f64], beta: &[f64], epsilon: f64) -> Vec<f64> {
    let channels = shape[1];
    let behind: usize = shape[2..].iter().product();
    let mut y = vec![0.0; batch.len()];
    for channel in 0..channels {
        let rows = || (0..shape[0]).map(|example| (example * channels + channel) * behind);
        let of_channel = || rows().flat_map(|start| &batch[start..start + behind]);
        let count = (shape[0] * behind) as f64;
        let mean = of_channel().sum::<f64>() / count;
        let variance = of_channel().map(|value| (value - mean) * (value - mean)).sum::<f64>() / count;
        let scale = gamma[channel] / (variance + epsilon).sqrt();
        for start in rows() {
            for at in start..start + behind {
                y[at] = (batch[at] - mean) * scale + beta[channel];
            }
        }
    }
    y
}

/// Values as they are kept, if they are finite so.
pub(super) fn kept_as(precision: Precision, values: Vec<f64>) -> Result<Vec<u8>, String> {
    let bytes = precision.bytes_of(values.into_iter());
    if precision.are_finite(&bytes) { Ok(bytes) } else { Err(format!("the result is not finite as {precision}")) }
}
