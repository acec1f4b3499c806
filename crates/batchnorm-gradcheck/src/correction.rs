//! What batch renormalisation multiplies xhat by and adds to it: constants to the gradient, though they come from x.

/// Those of all channels.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Corrections {
    pub of_channels: Vec<Correction>,
    /// Whether some r is not 1, and some d not 0.
    pub differ: [bool; 2],
    /// Whether some r and some d is between its limits.
    pub some_move: [bool; 2],
}

impl Corrections {
    pub fn new(of_channels: Vec<Correction>) -> Corrections {
        let any = |is: &dyn Fn(&Correction) -> bool| of_channels.iter().any(is);
        let differ = [any(&|one| one.r != 1.0), any(&|one| one.d != 0.0)];
        let some_move = [0, 1].map(|which| any(&|one| one.moves[which]));
        Corrections { of_channels, differ, some_move }
    }
}

/// r and d of a channel, and what they come from.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Correction {
    pub r: f64,
    pub d: f64,
    /// Mean and variance that they correct towards.
    pub running: [f64; 2],
    /// r_max and d_max.
    pub limits: [f64; 2],
    /// The batch's deviation over the running one, before the limits.
    pub ratio: f64,
    /// The batch's mean less the running one, in running deviations, before the limits.
    pub distance: f64,
    /// Whether r and d are between their limits, and so would move with x.
    pub moves: [bool; 2],
}

impl Correction {
    /// By the statistics of a channel's values, of which sqrt(variance + eps) is the deviation.
    pub fn new([mean, deviation]: [f64; 2], running: [f64; 2], epsilon: f64, limits: [f64; 2]) -> Correction {
        let [r_max, d_max] = limits;
        let of_running = (running[1] + epsilon).sqrt();
        // 0 of 0 needs no correction.
        let part = |value: f64, none: f64| if value == 0.0 && of_running == 0.0 { none } else { value / of_running };
        let (ratio, distance) = (part(deviation, 1.0), part(mean - running[0], 0.0));
        let (r, d) = (ratio.clamp(1.0 / r_max, r_max), distance.clamp(-d_max, d_max));
        Correction { r, d, running, limits, ratio, distance, moves: [r == ratio, d == distance] }
    }

    /// The error of d, where the mean errs by this much: none where d is at its limit however the mean errs.
    pub fn error_of_d(&self, of_mean: f64, epsilon: f64) -> f64 {
        let error = of_mean / (self.running[1] + epsilon).sqrt();
        let at_limit = self.distance.abs() - self.limits[1];
        if self.distance.is_infinite() || at_limit > 2.0 * error { 0.0 } else { error }
    }
}
