//! What the order of the rows by score says: ROC, precision-recall, and the threshold of best F1.
//!
//! Rows of equal score form one step: no threshold can part them. Checked against scikit-learn in `tests.rs`.

use super::classification::BinaryCounts;

/// The rows of one class against the rest, best score first: sorted once, then read under any row weights.
pub struct Ranking {
    rows: Vec<RankedRow>,
}

struct RankedRow {
    row: usize,
    score: f64,
    positive: bool,
    last_of_tie: bool,
}

/// Counts among the rows whose score is at least `score`.
struct Step {
    score: f64,
    tp: u64,
    fp: u64,
}

/// One threshold of the ROC curve: rows at or above it are predicted positive.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RocPoint {
    /// Lowest score predicted positive; infinite at the start, where none is.
    pub threshold: f64,
    /// Share of negative rows predicted positive.
    pub false_positive_rate: f64,
    /// Share of positive rows predicted positive.
    pub true_positive_rate: f64,
}

/// One threshold of the precision-recall curve: rows at or above it are predicted positive.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PrPoint {
    /// Lowest score predicted positive.
    pub threshold: f64,
    /// Share of positive rows predicted positive.
    pub recall: f64,
    /// Share of rows predicted positive that are.
    pub precision: f64,
}

/// The threshold of best F1 and that F1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BestThreshold {
    /// Call a row positive when its probability is at least this.
    pub threshold: f64,
    /// F1 of the positive class there.
    pub f1: f64,
}

impl Ranking {
    /// Sorts the rows by falling score. Both slices are by row, of equal length; scores are finite.
    pub fn new(positives: &[bool], scores: &[f64]) -> Self {
        assert_eq!(positives.len(), scores.len(), "one score per row");
        let mut order: Vec<usize> = (0..scores.len()).collect();
        order.sort_by(|&a, &b| scores[b].total_cmp(&scores[a]));
        let ranked = order.iter().enumerate().map(|(rank, &row)| RankedRow {
            row,
            score: scores[row],
            positive: positives[row],
            last_of_tie: order.get(rank + 1).is_none_or(|&next| scores[next] != scores[row]),
        });
        Self { rows: ranked.collect() }
    }

    /// Chance that a positive row scores above a negative one, a tie counting half: area under the ROC curve.
    ///
    /// `weights` says how often each row counts. None when positive or negative rows are lacking.
    pub fn roc_auc(&self, weights: &[u32]) -> Option<f64> {
        let (positives, negatives) = self.totals(weights)?;
        let (mut twice_area, mut tp, mut fp) = (0, 0, 0);
        for step in self.steps(weights) {
            twice_area += (step.fp - fp) * (step.tp + tp);
            (tp, fp) = (step.tp, step.fp);
        }
        Some(twice_area as f64 / (2.0 * positives as f64 * negatives as f64))
    }

    /// Average precision: the mean over positive rows of the precision at their score.
    ///
    /// sum over steps of (recall - recall before) * precision; no interpolation, which would flatter.
    /// `weights` says how often each row counts. None when positive or negative rows are lacking.
    pub fn pr_auc(&self, weights: &[u32]) -> Option<f64> {
        let (positives, _) = self.totals(weights)?;
        let (mut sum, mut tp) = (0.0, 0);
        for step in self.steps(weights).filter(|step| step.tp > 0) {
            sum += (step.tp - tp) as f64 * step.tp as f64 / (step.tp + step.fp) as f64;
            tp = step.tp;
        }
        Some(sum / positives as f64)
    }

    /// Cumulative counts at the end of each tie, from the best score down.
    fn steps<'a>(&'a self, weights: &'a [u32]) -> impl Iterator<Item = Step> + 'a {
        let (mut tp, mut fp) = (0, 0);
        self.rows.iter().filter_map(move |ranked| {
            let times = u64::from(weights[ranked.row]);
            if ranked.positive {
                tp += times
            } else {
                fp += times
            }
            ranked.last_of_tie.then_some(Step { score: ranked.score, tp, fp })
        })
    }

    /// Positive and negative rows; None when either is lacking.
    fn totals(&self, weights: &[u32]) -> Option<(u64, u64)> {
        let (mut positives, mut negatives) = (0, 0);
        for ranked in &self.rows {
            let times = u64::from(weights[ranked.row]);
            if ranked.positive { positives += times } else { negatives += times }
        }
        (positives > 0 && negatives > 0).then_some((positives, negatives))
    }
}

/// Area under the ROC curve of the rows, each counted once; see [`Ranking::roc_auc`].
pub fn roc_auc(positives: &[bool], scores: &[f64]) -> Option<f64> {
    Ranking::new(positives, scores).roc_auc(&vec![1; scores.len()])
}

/// Average precision of the rows, each counted once; see [`Ranking::pr_auc`].
pub fn pr_auc(positives: &[bool], scores: &[f64]) -> Option<f64> {
    Ranking::new(positives, scores).pr_auc(&vec![1; scores.len()])
}

/// The ROC curve from (0, 0) to (1, 1), one point per distinct score; empty when a class is lacking.
pub fn roc_curve(positives: &[bool], scores: &[f64]) -> Vec<RocPoint> {
    let (ranking, once) = (Ranking::new(positives, scores), vec![1; scores.len()]);
    let Some((positives, negatives)) = ranking.totals(&once) else { return Vec::new() };
    let start = Step { score: f64::INFINITY, tp: 0, fp: 0 };
    let point = |step: Step| RocPoint {
        threshold: step.score,
        false_positive_rate: step.fp as f64 / negatives as f64,
        true_positive_rate: step.tp as f64 / positives as f64,
    };
    std::iter::once(start).chain(ranking.steps(&once)).map(point).collect()
}

/// The precision-recall curve by rising recall, one point per distinct score; empty when a class is lacking.
pub fn pr_curve(positives: &[bool], scores: &[f64]) -> Vec<PrPoint> {
    let (ranking, once) = (Ranking::new(positives, scores), vec![1; scores.len()]);
    let Some((positives, _)) = ranking.totals(&once) else { return Vec::new() };
    let point = |step: Step| PrPoint {
        threshold: step.score,
        recall: step.tp as f64 / positives as f64,
        precision: step.tp as f64 / (step.tp + step.fp) as f64,
    };
    ranking.steps(&once).map(point).collect()
}

/// Precision at the first threshold, from above, that finds this share of the positive rows: the step function
/// whose area is the average precision.
pub fn precision_at(curve: &[PrPoint], recall: f64) -> f64 {
    let reached = curve.iter().find(|point| point.recall >= recall - 1e-12);
    reached.or(curve.last()).map_or(f64::NAN, |point| point.precision)
}

/// True positive rate at a false positive rate, on the straight lines between the points of a ROC curve.
///
/// Source of averaging curves so: Fawcett 2006, "An introduction to ROC analysis", vertical averaging.
pub fn true_positive_rate_at(curve: &[RocPoint], false_positive_rate: f64) -> f64 {
    let after = curve.partition_point(|point| point.false_positive_rate <= false_positive_rate);
    let (Some(low), high) = (after.checked_sub(1).map(|at| curve[at]), curve.get(after)) else {
        return f64::NAN;
    };
    let Some(high) = high else { return low.true_positive_rate };
    let width = high.false_positive_rate - low.false_positive_rate;
    let share = (false_positive_rate - low.false_positive_rate) / width;
    low.true_positive_rate + share * (high.true_positive_rate - low.true_positive_rate)
}

/// A threshold and what predicting rows at or above it positive counts.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Cut {
    /// Call a row positive when its probability is at least this.
    pub threshold: f64,
    /// Against the true labels.
    pub counts: BinaryCounts,
}

/// Every way to part the rows by probability, from few predicted positive to all.
///
/// Thresholds lie midway between neighbouring distinct probabilities, so that a new row a hair below the last
/// accepted one is not lost; below the lowest the neighbour is 0.
pub fn cuts(positives: &[bool], probabilities: &[f64]) -> Vec<Cut> {
    let (ranking, once) = (Ranking::new(positives, probabilities), vec![1; probabilities.len()]);
    let all_positives = positives.iter().filter(|&&positive| positive).count() as u64;
    let all_negatives = positives.len() as u64 - all_positives;
    let mut steps = ranking.steps(&once).peekable();
    let mut cuts = Vec::new();
    while let Some(step) = steps.next() {
        let threshold = midway(steps.peek().map_or(0.0, |next| next.score), step.score);
        let (r#fn, tn) = (all_positives - step.tp, all_negatives - step.fp);
        cuts.push(Cut { threshold, counts: BinaryCounts { tp: step.tp, fp: step.fp, r#fn, tn } });
    }
    cuts
}

/// The threshold of maximal F1, of equals the one nearest 0.5; 0.5 when no threshold gives an F1 above 0.
pub fn best_f1_threshold(positives: &[bool], probabilities: &[f64]) -> BestThreshold {
    let mut best = BestThreshold { threshold: 0.5, f1: 0.0 };
    for Cut { threshold, counts } in cuts(positives, probabilities) {
        let f1 = counts.scores().f1;
        let nearer = (threshold - 0.5).abs() < (best.threshold - 0.5).abs();
        if f1 > best.f1 || (f1 == best.f1 && nearer && f1 > 0.0) {
            best = BestThreshold { threshold, f1 };
        }
    }
    best
}

/// A value above `low` and at most `high`, midway where floats allow.
fn midway(low: f64, high: f64) -> f64 {
    let middle = low + (high - low) / 2.0;
    if middle > low { middle } else { high }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn areas_by_hand_with_a_tie() {
        // Pairs (positive, negative): 0.8 beats 0.5 and 0.2; 0.5 ties 0.5 and beats 0.2: (2 + 0.5 + 1) / 4.
        let (positives, scores) = ([true, true, false, false], [0.8, 0.5, 0.5, 0.2]);
        assert_eq!(roc_auc(&positives, &scores), Some(0.875));
        assert_eq!(pr_auc(&positives, &scores), Some(0.5 * 1.0 + 0.5 * (2.0 / 3.0)));
    }

    #[test]
    fn a_lacking_class_leaves_the_areas_undefined() {
        for positives in [[true; 2], [false; 2]] {
            assert_eq!(roc_auc(&positives, &[0.1, 0.9]), None);
            assert_eq!(pr_auc(&positives, &[0.1, 0.9]), None);
            assert!(roc_curve(&positives, &[0.1, 0.9]).is_empty());
        }
    }

    #[test]
    fn a_weight_counts_a_row_that_often() {
        let ranking = Ranking::new(&[true, false, true, false], &[0.9, 0.6, 0.4, 0.1]);
        let repeated = [true, true, false, false, false];
        let scores = [0.9, 0.9, 0.6, 0.1, 0.1];
        assert_eq!(ranking.roc_auc(&[2, 1, 0, 2]), roc_auc(&repeated, &scores));
        assert_eq!(ranking.pr_auc(&[2, 1, 0, 2]), pr_auc(&repeated, &scores));
    }

    #[test]
    fn curves_run_from_corner_to_corner_and_hold_the_area() {
        let (positives, scores) = ([true, false, true, false, true], [0.9, 0.7, 0.7, 0.3, 0.2]);
        let roc = roc_curve(&positives, &scores);
        assert_eq!((roc[0].false_positive_rate, roc[0].true_positive_rate), (0.0, 0.0));
        assert_eq!(roc.last().map(|p| (p.false_positive_rate, p.true_positive_rate)), Some((1.0, 1.0)));
        let trapezoids = roc.windows(2).map(|pair| {
            (pair[1].false_positive_rate - pair[0].false_positive_rate)
                * (pair[1].true_positive_rate + pair[0].true_positive_rate)
                / 2.0
        });
        assert!((trapezoids.sum::<f64>() - roc_auc(&positives, &scores).unwrap()).abs() < 1e-15);
        let pr = pr_curve(&positives, &scores);
        assert_eq!(pr.first().map(|p| (p.threshold, p.precision)), Some((0.9, 1.0)));
        assert_eq!(pr.last().map(|p| (p.recall, p.precision)), Some((1.0, 0.6)));
    }

    #[test]
    fn the_threshold_lies_between_rows() {
        let best = best_f1_threshold(&[true, true, false, false], &[0.9, 0.7, 0.2, 0.1]);
        assert_eq!(best, BestThreshold { threshold: 0.2 + (0.7 - 0.2) / 2.0, f1: 1.0 });
    }

    #[test]
    fn equal_f1_takes_the_threshold_nearest_one_half() {
        // F1 is 2/3 with the first row alone (threshold 0.65) and with the first four (threshold 0.05).
        let best = best_f1_threshold(&[true, false, false, true], &[0.9, 0.4, 0.2, 0.1]);
        assert_eq!(best.f1, 2.0 / 3.0);
        assert!((best.threshold - 0.65).abs() < 1e-12);
        let mirrored = best_f1_threshold(&[true, false, false, true], &[0.99, 0.98, 0.97, 0.6]);
        assert!((mirrored.threshold - 0.3).abs() < 1e-12);
    }

    #[test]
    fn neighbouring_floats_still_part_their_rows() {
        let low = 0.3;
        let high = f64::from_bits(f64::to_bits(low) + 1);
        let best = best_f1_threshold(&[true, false], &[high, low]);
        assert!(low < best.threshold && best.threshold <= high);
    }

    #[test]
    fn without_positives_the_threshold_is_one_half() {
        assert_eq!(best_f1_threshold(&[false; 2], &[0.1, 0.2]), BestThreshold { threshold: 0.5, f1: 0.0 });
    }
}
