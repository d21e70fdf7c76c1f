//! L2-regularised linear classifiers of one label against the rest, by dual coordinate descent.
//!
//! minimise |w|^2 / 2 + C sum_i loss(y_i w.x_i), y = 1 or -1, with a constant 1 appended to each row as bias
//! (penalised as any weight, as in LIBLINEAR). The loss of margin m is ln(1 + exp(-m)) or max(0, 1 - m)^2. One
//! pass touches each non-zero twice and needs no transposed copy, and a solution at a small C is a start for a
//! larger one.
//! Source: Hsieh et al. 2008, "A dual coordinate descent method for large-scale linear SVM", ICML; Yu, Huang
//! and Lin 2011, "Dual coordinate descent methods for logistic regression and maximum entropy models", Machine
//! Learning 85; its one-variable problem is solved in the log-odds of the dual variable here, which keeps it
//! inside its bounds.

use rand::seq::SliceRandom;

use super::tfidf::SparseRow;
use crate::rng;

/// Stop when no row is further than this from its condition: its share of its bound from its error probability
/// (logistic, probabilities are then right to about four decimals), or its margin from its own (hinge).
const TOLERANCE: f64 = 1e-4;
/// Passes over the rows at most; SMS Spam takes 10 to 23 with the logistic loss.
const MAX_PASSES: u64 = 200;
/// Newton steps for one variable at most; three or four are usual.
const MAX_NEWTON_STEPS: usize = 50;

/// What a margin costs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinearLoss {
    /// ln(1 + exp(-m)): logistic regression.
    Logistic,
    /// max(0, 1 - m)^2: a support vector machine.
    SquaredHinge,
}

/// Weights of one label, and the dual variables they are the sum of.
#[derive(Clone)]
pub struct Linear {
    loss: LinearLoss,
    weights: Vec<f64>,
    bias: f64,
    duals: Vec<f64>,
}

impl Linear {
    /// All weights zero: score zero for every row.
    pub fn new(loss: LinearLoss, num_features: usize, num_rows: usize) -> Self {
        Self { loss, weights: vec![0.0; num_features], bias: 0.0, duals: vec![0.0; num_rows] }
    }

    /// A fitted one with these weights, to be asked alone.
    pub fn of(weights: Vec<f64>, bias: f64) -> Self {
        Self { loss: LinearLoss::SquaredHinge, weights, bias, duals: Vec::new() }
    }

    /// Weight of each column.
    pub fn weights(&self) -> &[f64] {
        &self.weights
    }

    /// What every row has.
    pub fn bias(&self) -> f64 {
        self.bias
    }

    /// Goes on from the current weights to the optimum at `c`, which must not be below that of earlier fits.
    pub fn fit(&mut self, rows: &[SparseRow], positives: &[bool], c: f64) {
        let curvatures: Vec<f64> = rows.iter().map(|row| 1.0 + squared_length(row)).collect();
        let mut order: Vec<usize> = (0..rows.len()).collect();
        for pass in 0..MAX_PASSES {
            // The optimum is one point whatever the order, so the seed need not be the user's.
            order.shuffle(&mut rng::stream(0, "baseline/linear", &[pass]));
            let mut worst: f64 = 0.0;
            for &i in &order {
                let sign = if positives[i] { 1.0 } else { -1.0 };
                let margin = sign * self.score(&rows[i]);
                let (dual, violation) = match self.loss {
                    LinearLoss::Logistic => logistic_dual(self.duals[i], margin, curvatures[i], c),
                    LinearLoss::SquaredHinge => hinge_dual(self.duals[i], margin, curvatures[i], c),
                };
                worst = worst.max(violation);
                self.add(&rows[i], sign * (dual - self.duals[i]));
                self.duals[i] = dual;
            }
            if worst < TOLERANCE {
                break;
            }
        }
    }

    /// w.x and the bias: the log-odds of the label with the logistic loss.
    pub fn score(&self, row: &SparseRow) -> f64 {
        row.iter().fold(self.bias, |sum, &(id, value)| sum + self.weights[id as usize] * f64::from(value))
    }

    /// Scores of several rows.
    pub fn scores(&self, rows: &[SparseRow]) -> Vec<f64> {
        rows.iter().map(|row| self.score(row)).collect()
    }

    fn add(&mut self, row: &SparseRow, scale: f64) {
        self.bias += scale;
        for &(id, value) in row {
            self.weights[id as usize] += scale * f64::from(value);
        }
    }
}

/// The dual variable of the squared hinge that is optimal while all others stand still, at 0 or above, and how
/// far the present one is from its condition.
///
/// The gradient margin - 1 + dual / 2c must vanish, or be positive at zero.
fn hinge_dual(dual: f64, margin: f64, curvature: f64, c: f64) -> (f64, f64) {
    let diagonal = 1.0 / (2.0 * c);
    let gradient = margin - 1.0 + diagonal * dual;
    let violation = if dual == 0.0 { gradient.min(0.0) } else { gradient };
    ((dual - gradient / (curvature + diagonal)).max(0.0), violation.abs())
}

/// The same for the logistic loss.
fn logistic_dual(dual: f64, margin: f64, curvature: f64, c: f64) -> (f64, f64) {
    (best_dual(dual, margin, curvature, c), (sigmoid(-margin) - dual / c).abs())
}

/// The dual variable in 0..=c that is optimal while all others stand still.
///
/// With a = c sigmoid(u) the condition is h(u) = u + margin + curvature (a - dual) = 0; h rises with slope at
/// least one, so Newton steps kept inside a shrinking bracket cannot fail.
fn best_dual(dual: f64, margin: f64, curvature: f64, c: f64) -> f64 {
    let (mut low, mut high) = (-margin - curvature * (c - dual), -margin + curvature * dual);
    let mut u = -margin; // the answer when the row is optimal already
    for _ in 0..MAX_NEWTON_STEPS {
        let share = sigmoid(u);
        let excess = u + margin + curvature * (c * share - dual);
        if excess.abs() < 1e-9 {
            break;
        }
        if excess > 0.0 {
            high = u
        } else {
            low = u
        }
        let newton = u - excess / (1.0 + curvature * c * share * (1.0 - share));
        u = if low < newton && newton < high { newton } else { (low + high) / 2.0 };
    }
    c * sigmoid(u)
}

fn squared_length(row: &SparseRow) -> f64 {
    row.iter().map(|&(_, value)| f64::from(value) * f64::from(value)).sum()
}

pub(super) fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_dual_of_one_row_meets_its_condition_from_any_start() {
        for c in [1e-3, 1.0, 1e4] {
            for margin in [-30.0, -0.5, 0.0, 2.0, 40.0] {
                for share in [0.0, 0.3, 1.0] {
                    let dual = best_dual(share * c, margin, 2.0, c);
                    let moved = margin + 2.0 * (dual - share * c);
                    assert!((0.0..=c).contains(&dual));
                    assert!((sigmoid(-moved) - dual / c).abs() < 1e-8, "{c} {margin} {share}");
                }
            }
        }
    }

    #[test]
    fn at_the_optimum_the_gradient_vanishes() {
        let rows: Vec<SparseRow> =
            vec![vec![(0, 1.0)], vec![(0, 0.6), (1, 0.8)], vec![(1, 1.0)], vec![(0, 0.8), (1, 0.6)]];
        let positives = [true, true, false, false];
        let c = 10.0;
        let mut model = Linear::new(LinearLoss::Logistic, 2, rows.len());
        for warm in [1.0, c] {
            model.fit(&rows, &positives, warm);
        }
        // d/dw: w - C sum_i y_i (1 - sigmoid(margin_i)) x_i.
        let mut gradient = model.weights.clone();
        for (row, &positive) in rows.iter().zip(&positives) {
            let residual = f64::from(u8::from(positive)) - sigmoid(model.score(row));
            for &(id, value) in row {
                gradient[id as usize] -= c * residual * f64::from(value);
            }
        }
        let allowed = c * TOLERANCE * rows.len() as f64;
        assert!(gradient.iter().all(|g| g.abs() < allowed), "{gradient:?}");
    }
}
