//! A sigmoid that turns the scores of a support vector machine into probabilities.

use super::linear::sigmoid;

/// Newton steps at most; fewer than ten are usual.
const MAX_STEPS: usize = 100;
/// Keeps the two-by-two system solvable where scores do not separate the labels at all.
const RIDGE: f64 = 1e-12;

/// P(positive) = sigmoid(slope * score + offset).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Platt {
    slope: f64,
    offset: f64,
}

impl Platt {
    /// For scores that are log-odds already.
    pub const IDENTITY: Self = Self { slope: 1.0, offset: 0.0 };

    /// With this slope and offset.
    pub fn of([slope, offset]: [f64; 2]) -> Self {
        Self { slope, offset }
    }

    /// Slope and offset.
    pub fn numbers(&self) -> [f64; 2] {
        [self.slope, self.offset]
    }

    /// The most likely sigmoid, each label believed a little less than surely: one row more of either kind.
    ///
    /// Source: Platt 1999, "Probabilistic outputs for support vector machines"; targets and damped Newton steps
    /// of Lin, Lin and Weng 2007, "A note on Platt's probabilistic outputs for support vector machines".
    pub fn fit(scores: &[f64], positives: &[bool]) -> Self {
        let count = positives.iter().filter(|positive| **positive).count() as f64;
        let (high, low) = ((count + 1.0) / (count + 2.0), 1.0 / (positives.len() as f64 - count + 2.0));
        let targets: Vec<f64> = positives.iter().map(|&positive| if positive { high } else { low }).collect();
        let mut at =
            Self { slope: 0.0, offset: ((count + 1.0) / (positives.len() as f64 - count + 1.0)).ln() };
        let mut loss = at.loss(scores, &targets);
        for _ in 0..MAX_STEPS {
            let (mut g, mut h) = ([0.0; 2], [RIDGE, RIDGE, 0.0]);
            for (&score, target) in scores.iter().zip(&targets) {
                let p = at.probability(score);
                let (error, curvature) = (p - target, p * (1.0 - p));
                g = [g[0] + error * score, g[1] + error];
                h = [h[0] + curvature * score * score, h[1] + curvature, h[2] + curvature * score];
            }
            if g[0].abs().max(g[1].abs()) < 1e-9 {
                break;
            }
            let determinant = h[0] * h[1] - h[2] * h[2];
            let step = [(h[1] * g[0] - h[2] * g[1]) / determinant, (h[0] * g[1] - h[2] * g[0]) / determinant];
            let mut length = 1.0;
            let lower = loop {
                let next = Self { slope: at.slope - length * step[0], offset: at.offset - length * step[1] };
                let next_loss = next.loss(scores, &targets);
                if next_loss < loss {
                    break Some((next, next_loss));
                }
                length /= 2.0;
                if length < 1e-10 {
                    break None;
                }
            };
            let Some((next, next_loss)) = lower else { break };
            (at, loss) = (next, next_loss);
        }
        at
    }

    /// Probability of the positive label.
    pub fn probability(&self, score: f64) -> f64 {
        sigmoid(self.slope * score + self.offset)
    }

    /// Cross-entropy against soft targets, written so that no exponential overflows.
    fn loss(&self, scores: &[f64], targets: &[f64]) -> f64 {
        let row = |(&score, target): (&f64, &f64)| {
            let z = self.slope * score + self.offset;
            z.max(0.0) - z * target + (-z.abs()).exp().ln_1p()
        };
        scores.iter().zip(targets).map(row).sum()
    }
}
