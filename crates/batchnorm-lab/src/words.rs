//! Figures and findings in words: the same in the terminal's table and in the report.

use crate::summary::{ArmSummary, Factor, Spread};

/// A share as a percentage, to a tenth.
pub fn percent(share: f64) -> String {
    format!("{:.1} %", 100.0 * share)
}

/// A factor to two digits: over a few seeds it is not known better.
pub fn short(factor: f64) -> String {
    if factor < 10.0 { format!("{factor:.1}") } else { format!("{factor:.0}") }
}

/// Any number to three significant digits.
pub fn figure(value: f64) -> String {
    let size = value.abs();
    if value == 0.0 {
        return String::from("0");
    }
    if !(1e-4..1e6).contains(&size) {
        return format!("{value:.2e}");
    }
    let decimals = (2 - size.log10().floor() as i32).max(0) as usize;
    format!("{value:.decimals$}")
}

/// `mean (least to greatest)`.
pub fn ranged(spread: Spread, show: impl Fn(f64) -> String) -> String {
    format!("{} ({})", show(spread.mean), range(spread, show))
}

/// `least to greatest`.
pub fn range(spread: Spread, show: impl Fn(f64) -> String) -> String {
    format!("{} to {}", show(spread.least), show(spread.greatest))
}

/// A figure over the runs that reached the target; where not all did, how many.
pub fn reached(arm: &ArmSummary, spread: Option<Spread>, steps: usize, show: impl Fn(f64) -> String) -> String {
    match spread {
        Some(spread) if arm.reached == arm.runs => ranged(spread, show),
        Some(spread) => format!("{}; {} of {} runs", ranged(spread, show), arm.reached, arm.runs),
        None if arm.runs == 0 => String::from("no run yet"),
        None => format!("not within {steps} steps"),
    }
}

/// The accuracy at the end; where runs diverged, how many.
pub fn final_accuracy(arm: &ArmSummary) -> String {
    let accuracy = arm.final_accuracy.map(|spread| ranged(spread, percent));
    match (accuracy, arm.diverged) {
        (Some(accuracy), 0) => accuracy,
        (Some(accuracy), diverged) => format!("{accuracy}; {diverged} of {} diverged", arm.runs),
        (None, 0) => String::from("no run yet"),
        (None, _) => String::from("diverged"),
    }
}

/// A sentence or more on the factor by which an arm was sooner at the target than the first arm: its range, and the
/// seeds that it rests on.
pub fn factor(factor: &Factor, target: f64, steps: usize) -> String {
    let Factor { arm, against, pairs, measured, lower_bounds, .. } = factor;
    let target = percent(target);
    if *pairs == 0 {
        return format!("No seed of \"{arm}\" and \"{against}\" is finished in both: no factor yet.");
    }
    let (Some(by_steps), Some(by_seconds)) = (factor.steps, factor.seconds) else {
        return format!("\"{arm}\" did not reach {target} within {steps} steps: no factor against \"{against}\".");
    };
    let bound = if *lower_bounds > 0 { "at least " } else { "" };
    let over = match measured {
        1 => String::from("one seed, so no range"),
        _ => format!("{} over {measured} seeds", range(by_steps, short)),
    };
    let seconds_over = match measured {
        1 => String::new(),
        _ => format!(" ({})", range(by_seconds, short)),
    };
    let mut text = format!(
        "\"{arm}\" reached {target} in {bound}{} than \"{against}\" ({over}), in {bound}{}{seconds_over}.",
        fewer(by_steps.mean, "steps"),
        fewer(by_seconds.mean, "seconds"),
    );
    if *measured > 1 && by_steps.least <= 1.0 && by_steps.greatest >= 1.0 {
        text += " The range of steps includes 1: no difference is shown.";
    }
    if *lower_bounds > 0 {
        text += &format!(
            " Lower bounds: on {} \"{against}\" did not reach it within {steps} steps, which count instead.",
            seeds(*lower_bounds)
        );
    }
    if measured < pairs {
        text += &format!(" On {} \"{arm}\" did not reach it; they are left out.", seeds(pairs - measured));
    }
    text
}

/// `group: ` in front of what is said of a group; nothing where all are one.
pub fn prefix(group: &str) -> String {
    if group.is_empty() { String::new() } else { format!("{group}: ") }
}

/// A text whose first letter is a capital.
pub fn capitalised(text: &str) -> String {
    let mut characters = text.chars();
    characters.next().map_or(String::new(), |first| first.to_uppercase().chain(characters).collect())
}

/// `1 seed`, `2 seeds`.
pub fn seeds(count: usize) -> String {
    self::count(count, "seed")
}

/// `1 pair`, `2 pairs`.
pub fn count(number: usize, of: &str) -> String {
    format!("{number} {of}{}", if number == 1 { "" } else { "s" })
}

fn fewer(factor: f64, what: &str) -> String {
    if factor >= 1.0 {
        format!("{} times fewer {what}", short(factor))
    } else {
        format!("{} times more {what}", short(1.0 / factor))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_digits() {
        let cases = [
            (0.0, "0"),
            (1.0, "1.00"),
            (-0.012345, "-0.0123"),
            (123.4, "123"),
            (12.34, "12.3"),
            (0.00001, "1.00e-5"),
            (2.5e7, "2.50e7"),
        ];
        for (value, expected) in cases {
            assert_eq!(figure(value), expected);
        }
    }

    #[test]
    fn a_bound_an_open_question_and_a_single_seed_say_so() {
        let spread = |mean, least, greatest| Some(Spread { mean, least, greatest });
        let made = |pairs, measured, lower_bounds, steps, seconds| {
            let factor = Factor {
                arm: String::from("B"),
                against: String::from("A"),
                pairs,
                measured,
                lower_bounds,
                steps,
                seconds,
            };
            super::factor(&factor, 0.95, 100)
        };
        let bound = made(3, 2, 1, spread(12.0, 9.0, 15.0), spread(6.0, 4.0, 8.0));
        for part in ["at least 12 times fewer steps", "9.0 to 15 over 2 seeds", "Lower bounds: on 1 seed", "left out"] {
            assert!(bound.contains(part), "{bound}");
        }
        let open = made(2, 2, 0, spread(1.1, 0.8, 1.5), spread(0.5, 0.4, 0.6));
        assert!(open.contains("no difference is shown") && open.contains("2.0 times more seconds"), "{open}");
        let single = made(1, 1, 0, spread(3.0, 3.0, 3.0), spread(2.0, 2.0, 2.0));
        assert!(single.contains("one seed, so no range") && !single.contains(" to "), "{single}");
        assert!(made(1, 0, 0, None, None).contains("no factor against"));
        assert!(made(0, 0, 0, None, None).contains("no factor yet"));
    }
}
