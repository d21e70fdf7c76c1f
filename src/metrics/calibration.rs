//! Whether probabilities can be believed: reliability, calibration error, and a temperature that mends them.
//!
//! Checked against scikit-learn and SciPy in `tests.rs`.

use serde::{Deserialize, Serialize};

use super::classification::argmax;
use super::stats;

/// Bins of the calibration error. Source: Guo et al. 2017, "On calibration of modern neural networks".
const ERROR_BINS: usize = 15;
/// Bins of the reliability plot, as scikit-learn's `calibration_curve` takes more of than its default of 5.
const RELIABILITY_BINS: usize = 10;
/// The temperature is sought between e^-4 and e^4; probabilities that need more are of no use.
const MAX_LOG_TEMPERATURE: f64 = 4.0;
/// Least probability that takes part in a logarithm.
const SMALLEST: f64 = 1e-300;

/// Rows whose probability of the positive label lies in one tenth of 0..1.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct ReliabilityBin {
    /// Rows in it.
    pub rows: usize,
    /// Mean probability.
    pub predicted: f64,
    /// Share that has the positive label.
    pub observed: f64,
}

/// How far probabilities can be believed, as they are and after the temperature.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Calibration {
    /// Fitted on validation; above 1 the model was too sure.
    pub temperature: f64,
    /// Expected calibration error on test: mean distance of confidence and accuracy, 0 to 1.
    pub ece: f64,
    /// The same after the temperature.
    pub ece_tempered: f64,
    /// Cross-entropy on test, nats per row.
    pub loss: f64,
    /// The same after the temperature.
    pub loss_tempered: f64,
    /// Of the positive label on test.
    pub reliability: Vec<ReliabilityBin>,
    /// The same after the temperature.
    pub reliability_tempered: Vec<ReliabilityBin>,
}

/// Labels (N) and probabilities (N, num_labels) of some rows.
pub type Answered<'a> = (&'a [u32], &'a [Vec<f64>]);

impl Calibration {
    /// Fits the temperature on validation and measures on test.
    pub fn measure(validation: Answered<'_>, test: Answered<'_>, positive: usize) -> Self {
        let temperature = fit_temperature(validation);
        let (labels, probabilities) = test;
        let tempered: Vec<Vec<f64>> =
            probabilities.iter().map(|row| self::tempered(row, temperature)).collect();
        Self {
            temperature,
            ece: calibration_error(test),
            ece_tempered: calibration_error((labels, &tempered)),
            loss: loss(test, 1.0),
            loss_tempered: loss(test, temperature),
            reliability: reliability(test, positive),
            reliability_tempered: reliability((labels, &tempered), positive),
        }
    }
}

/// Mean over rows of the distance between confidence in the answer and the share of right answers, both taken
/// in bins of equal width.
pub fn calibration_error((labels, probabilities): Answered<'_>) -> f64 {
    let mut bins = [(0.0, 0.0); ERROR_BINS];
    for (&label, row) in labels.iter().zip(probabilities) {
        let answer = argmax(row);
        let confidence = row[answer as usize];
        let (sure, right) = &mut bins[bin_of(confidence, ERROR_BINS)];
        *sure += confidence;
        *right += f64::from(u8::from(answer == label));
    }
    bins.iter().map(|(sure, right): &(f64, f64)| (sure - right).abs()).sum::<f64>() / labels.len() as f64
}

/// Bins that hold rows, by rising probability of `positive`.
pub fn reliability((labels, probabilities): Answered<'_>, positive: usize) -> Vec<ReliabilityBin> {
    let mut bins = [ReliabilityBin { rows: 0, predicted: 0.0, observed: 0.0 }; RELIABILITY_BINS];
    for (&label, row) in labels.iter().zip(probabilities) {
        let bin = &mut bins[bin_of(row[positive], RELIABILITY_BINS)];
        bin.rows += 1;
        bin.predicted += row[positive];
        bin.observed += f64::from(u8::from(label as usize == positive));
    }
    let mean = |bin: ReliabilityBin| {
        let rows = bin.rows as f64;
        ReliabilityBin { predicted: bin.predicted / rows, observed: bin.observed / rows, ..bin }
    };
    bins.into_iter().filter(|bin| bin.rows > 0).map(mean).collect()
}

/// The temperature of least cross-entropy: logits are divided by it. The loss is convex in its inverse, so the
/// golden section finds it.
///
/// Source: Guo et al. 2017, "On calibration of modern neural networks".
pub fn fit_temperature(answered: Answered<'_>) -> f64 {
    let golden = (5.0_f64.sqrt() - 1.0) / 2.0;
    let loss = |log_temperature: f64| loss(answered, log_temperature.exp());
    let (mut low, mut high) = (-MAX_LOG_TEMPERATURE, MAX_LOG_TEMPERATURE);
    let (mut a, mut b) = (high - golden * (high - low), low + golden * (high - low));
    let (mut loss_a, mut loss_b) = (loss(a), loss(b));
    while high - low > 1e-7 {
        if loss_a < loss_b {
            (high, b, loss_b) = (b, a, loss_a);
            a = high - golden * (high - low);
            loss_a = loss(a);
        } else {
            (low, a, loss_a) = (a, b, loss_b);
            b = low + golden * (high - low);
            loss_b = loss(b);
        }
    }
    ((low + high) / 2.0).exp()
}

/// The probabilities that logits divided by `temperature` give.
pub fn tempered(probabilities: &[f64], temperature: f64) -> Vec<f64> {
    let logits: Vec<f64> = probabilities.iter().map(|p| p.max(SMALLEST).ln() / temperature).collect();
    let highest = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let weights: Vec<f64> = logits.iter().map(|logit| (logit - highest).exp()).collect();
    let total: f64 = weights.iter().sum();
    weights.iter().map(|weight| weight / total).collect()
}

fn loss((labels, probabilities): Answered<'_>, temperature: f64) -> f64 {
    let row =
        |(&label, row): (&u32, &Vec<f64>)| -tempered(row, temperature)[label as usize].max(f64::EPSILON).ln();
    stats::mean(labels.iter().zip(probabilities).map(row))
}

fn bin_of(value: f64, bins: usize) -> usize {
    ((value * bins as f64) as usize).min(bins - 1)
}
