//! Distributions, running sums and the Jacobian, as the page begins. `page/pictures.js` draws them again with other numbers.

use super::numbers::Numbers;
use std::fmt::Write;

/// Levels of colour on either side of 0.
const LEVELS: f64 = 8.0;
/// Columns in which the dots of a distribution are stacked.
const BINS: f64 = 48.0;
/// Height of a distribution, up from the line the lowest dots lie on.
const STACK: f64 = 64.0;
/// Half the height of a running sum.
const HALF: f64 = 56.0;

/// A node's values as dots over a line, with their mean and deviation; from `low` to `high`.
pub fn strip(numbers: &Numbers, node: &str, [low, high]: [f64; 2], label: &str) -> String {
    let values = values(numbers, node);
    let share = |value: f64| 100.0 * (value - low) / (high - low);
    let mut bins = vec![0usize; BINS as usize + 1];
    let bin = |value: f64| ((share(value) / 100.0 * BINS).floor().clamp(0.0, BINS)) as usize;
    values.iter().for_each(|&value| bins[bin(value)] += 1);
    let step = (STACK / bins.iter().copied().max().unwrap_or(1).max(1) as f64).min(9.0);
    bins.fill(0);
    let mut dots = String::new();
    for (i, &value) in values.iter().enumerate() {
        let below = bins[bin(value)] as f64;
        bins[bin(value)] += 1;
        let chosen = if i == 0 { " chosen" } else { "" };
        let y = STACK + 8.0 - step * (below + 0.5);
        let _ = write!(
            dots,
            "<circle class=\"dot{chosen}\" data-i=\"{i}\" cx=\"{:.3}%\" cy=\"{y:.2}\" r=\"4.5\"/>",
            share(value)
        );
    }
    let statistics = super::numbers::Statistics::of(values);
    let (mean, deviation) = (share(statistics.mean), 100.0 * statistics.deviation / (high - low));
    format!(
        "<svg class=\"strip\" data-strip=\"{node}\" data-low=\"{low:?}\" data-high=\"{high:?}\" width=\"100%\" height=\"84\" \
         role=\"img\" aria-label=\"{label}\">\
         <rect class=\"band\" x=\"{:.3}%\" y=\"4\" width=\"{:.3}%\" height=\"{}\"/>\
         <line class=\"axis\" x1=\"0\" x2=\"100%\" y1=\"{base}\" y2=\"{base}\"/>\
         <line class=\"mean\" x1=\"{mean:.3}%\" x2=\"{mean:.3}%\" y1=\"4\" y2=\"{base}\"/>{dots}</svg>\n",
        mean - deviation,
        2.0 * deviation,
        STACK + 4.0,
        base = STACK + 8.0,
    )
}

/// The ends of a line on which all of some nodes' values have room, and 0 where it is asked for.
pub fn range(numbers: &Numbers, nodes: &[&str], with_zero: bool) -> [f64; 2] {
    let all = nodes.iter().flat_map(|node| values(numbers, node).iter().copied()).chain(with_zero.then_some(0.0));
    let (low, high) =
        all.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| (low.min(value), high.max(value)));
    // Values that are all alike have room too, of their own size.
    let spread = if high > low { high - low } else { low.abs().max(1.0) };
    [low - 0.15 * spread, high + 0.15 * spread]
}

fn values<'n>(numbers: &'n Numbers, node: &str) -> &'n [f64] {
    let place = numbers.explanation.graph.find(node).unwrap_or_default();
    &numbers.explanation.nodes[place].values
}

/// Terms one after the other, each from where the sum stood to where it stands with it.
pub fn running_sum(terms: &[f64], name: &str, label: &str) -> String {
    let (mut sum, mut sums) = (0.0, vec![0.0]);
    for term in terms {
        sum += term;
        sums.push(sum);
    }
    let scale = sums.iter().fold(0.0f64, |scale, sum| scale.max(sum.abs()));
    let y = |sum: f64| HALF + 4.0 - if scale > 0.0 { HALF * sum / scale } else { 0.0 };
    let width = 100.0 / terms.len() as f64;
    let mut bars = String::new();
    for (i, pair) in sums.windows(2).enumerate() {
        let (top, bottom) = (y(pair[0].max(pair[1])), y(pair[0].min(pair[1])));
        let way = if pair[1] < pair[0] { "down" } else { "up" };
        let _ = write!(
            bars,
            "<rect class=\"{way}\" data-i=\"{i}\" x=\"{:.3}%\" width=\"{:.3}%\" y=\"{top:.2}\" height=\"{:.2}\"/>",
            width * (i as f64 + 0.1),
            width * 0.8,
            (bottom - top).max(1.0)
        );
    }
    format!(
        "<svg class=\"sum\" data-sum=\"{name}\" width=\"100%\" height=\"{}\" role=\"img\" aria-label=\"{label}\">\
         <line class=\"axis\" x1=\"0\" x2=\"100%\" y1=\"{base}\" y2=\"{base}\"/>{bars}</svg>\n",
        2.0 * HALF + 8.0,
        base = HALF + 4.0,
    )
}

/// The Jacobian in squares, coloured by level; squares of one level are one path.
///
/// The strongest colour is the largest entry beside the diagonal, for of many values the diagonal is so much larger that
/// nothing else would be seen; where there is nothing beside it, the largest on it.
pub fn heat_map(jacobian: &[f64], count: usize) -> String {
    let largest = |on_diagonal: bool| {
        let entries = jacobian.iter().enumerate();
        let own = entries.filter(|(place, _)| (place / count == place % count) == on_diagonal);
        own.fold(0.0f64, |scale, (_, value)| scale.max(value.abs()))
    };
    let beside = largest(false);
    let scale = if beside > 0.0 { beside } else { largest(true) };
    let mut levels = vec![String::new(); 2 * LEVELS as usize + 1];
    for (place, &value) in jacobian.iter().enumerate() {
        let share = if scale > 0.0 { value / scale } else { 0.0 };
        // Away from 0: what is not 0 has a colour.
        let level = (LEVELS * share).abs().ceil().min(LEVELS).copysign(share);
        let path = &mut levels[(level + LEVELS) as usize];
        let _ = write!(path, "M{} {}h1v1h-1z", place % count, place / count);
    }
    let mut paths = String::new();
    for (level, path) in levels.iter().enumerate() {
        let level = level as i32 - LEVELS as i32;
        let sign = if level < 0 { "minus" } else { "plus" };
        let opacity = f64::from(level.abs()) / LEVELS;
        let _ =
            write!(paths, "<path class=\"{sign}\" data-level=\"{level}\" fill-opacity=\"{opacity}\" d=\"{path}\"/>");
    }
    format!(
        "<svg class=\"heat\" id=\"heat\" viewBox=\"-0.05 -0.05 {side} {side}\" role=\"img\" aria-labelledby=\"heat-label\">\
         <rect class=\"ground\" width=\"{count}\" height=\"{count}\"/>{paths}\
         <rect class=\"cursor\" id=\"cursor\" width=\"1\" height=\"1\"/></svg>\n",
        side = count as f64 + 0.1
    )
}
