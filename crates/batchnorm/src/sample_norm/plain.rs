//! Passes in plain loops: second derivatives, and all passes where values have weights.

use crate::batch_norm::input::PlacedWeights;
use crate::parameters::WideParameters;
use crate::sample_norm::grouping::{RowPlan, all_in_parts};
use crate::sample_norm::normalizer::SampleNormalizer;
use crate::sample_norm::saved::SampleSaved;
use batchnorm_kernel::passes::{PlainArrays, PlainPass, PlainRows, Readable, RowNumbers, pairwise_sum};
use batchnorm_kernel::{Activation, Element, Moments, View, ViewMut};

impl SampleNormalizer {
    /// The forward pass of values with weights, whose moments are known.
    pub(crate) fn weighted_forward<T: Element>(
        &self,
        plan: &RowPlan,
        x: &View<T>,
        weights: &PlacedWeights<T>,
        moments: &[Moments],
        WideParameters { gamma, beta }: &WideParameters,
        y: &mut ViewMut<T>,
    ) {
        let numbers: Vec<RowNumbers> = moments.iter().map(|moments| self.row_numbers(moments)).collect();
        let [gamma, beta] = [gamma, beta].map(|values| plan.elements(values));
        let rows = PlainRows {
            machine: &self.machine,
            numbers: &numbers,
            total_weights: None,
            count: plan.count,
            period: plan.period,
            centred: self.grouping.is_centred(),
            activation: self.activation,
            scaling: [&gamma, &beta],
            of_z: None,
        };
        let (layout, memory) = weights;
        let arrays = [(x.layout(), x.memory()), (layout, memory)];
        let (parts, outs) = all_in_parts(&arrays, y, &plan.arrangement);
        for (part, (arrays, mut out)) in parts.iter().zip(outs).enumerate() {
            T::operations().plain_rows(&rows, PlainPass::Normalize, part, plain_arrays(arrays, 1), &mut out);
        }
    }
}

/// The arrays of a part, of which so many are no weights.
fn plain_arrays<'a, T>(arrays: &'a [Readable<'a, T>], values: usize) -> PlainArrays<'a, T> {
    let (values, weights) = arrays.split_at(values);
    PlainArrays { values, weights: weights.first() }
}

impl SampleSaved {
    /// A pass over some arrays, x first. Of each parameter the sums of dz and of dz xhat, if the pass takes dy; of dz xhat'
    /// alone, if it goes along a direction too.
    pub(crate) fn plain_pass<T: Element>(
        &self,
        pass: PlainPass,
        arrays: &[&View<T>],
        weights: Option<PlacedWeights<T>>,
        out: &mut ViewMut<T>,
    ) -> [Vec<f64>; 2] {
        let plan = &self.plan;
        let [gamma, beta] = [&self.gamma, &self.beta].map(|values| plan.elements(values));
        let of_z = |row: usize, at: usize| self.of_z(row, plan.channel_of(row, at));
        let by_channels = plan.by_channels && weights.is_none() && self.activation != Activation::Identity;
        let rows = PlainRows {
            machine: &self.machine,
            numbers: &self.numbers,
            total_weights: self.total_weights.as_deref(),
            count: plan.count,
            period: plan.period,
            centred: self.centred,
            activation: self.activation,
            scaling: [&gamma, &beta],
            of_z: if by_channels { Some(&of_z) } else { None },
        };
        let weights = weights.as_ref().map(|(layout, memory)| (layout, memory));
        let all: Vec<_> = arrays.iter().map(|array| (array.layout(), array.memory())).chain(weights).collect();
        let (parts, outs) = all_in_parts(&all, out, &plan.arrangement);
        let parts: Vec<_> = parts.iter().map(|part| plain_arrays(part, arrays.len())).collect();
        let mut directions = Vec::with_capacity(plan.rows);
        for (part, (&arrays, mut out)) in parts.iter().zip(outs).enumerate() {
            directions.extend(T::operations().plain_rows(&rows, pass, part, arrays, &mut out));
        }
        let sums = match pass {
            PlainPass::Normalize | PlainPass::Tangent(_) => return Default::default(),
            PlainPass::Gradient => T::operations().plain_parameter_rows(&rows, &parts, None),
            PlainPass::SecondOrder(_) => T::operations().plain_parameter_rows(&rows, &parts, Some(&directions)),
        };
        // A gamma belongs to all positions of its channel.
        let of_channel = |sums: &[f64]| pairwise_sum(sums.len(), &|at| sums[at]);
        sums.map(|sums| sums.chunks(plan.positions).map(of_channel).collect())
    }
}
