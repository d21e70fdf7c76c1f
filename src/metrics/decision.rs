//! When to predict a row as positive: the threshold of best F1, of a wanted precision or recall, or of least cost.
//!
//! A threshold is chosen on validation rows and then stands; test rows never see the choice.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::classification::BinaryCounts;
use super::curves::{Cut, cuts};
use crate::error::{Error, Result};
use crate::ranges;

/// Wanted precision or recall where the config names none.
const USUAL_WISH: f64 = 0.95;

/// `[decision]` of finetune; zeros and `max_f1` are the rule of best F1.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct DecisionConfig {
    /// Least precision; the best recall with it is taken. 0 leaves it out.
    #[schemars(range(min = 0, max = 1))]
    pub min_precision: f64,
    /// Least recall; the best precision with it is taken. 0 leaves it out.
    #[schemars(range(min = 0, max = 1))]
    pub min_recall: f64,
    /// What a false alarm costs, in any unit. With `cost_fn` the cheapest threshold is taken. 0 leaves it out.
    #[schemars(range(min = 0))]
    pub cost_fp: f64,
    /// What a missed positive row costs, in the same unit.
    #[schemars(range(min = 0))]
    pub cost_fn: f64,
}

/// How a threshold is chosen.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Rule {
    /// Highest F1.
    MaxF1,
    /// Highest recall at this precision or more.
    MinPrecision(f64),
    /// Highest precision at this recall or more.
    MinRecall(f64),
    /// Least `cost_fp` per false alarm and `cost_fn` per missed row.
    Cost(f64, f64),
}

/// A rule, the threshold it gave on validation, and what that threshold does there and on test.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct OperatingPoint {
    /// In words.
    pub rule: String,
    /// Whether it is the one the run answers by.
    pub chosen: bool,
    /// Whether validation has a threshold that meets the rule; if not, the nearest is given.
    pub met: bool,
    /// Rows are predicted positive at this probability or above.
    pub threshold: f64,
    /// On validation.
    pub validation: PointScores,
    /// On test.
    pub test: PointScores,
}

/// Scores at one threshold.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct PointScores {
    /// tp / (tp + fp).
    pub precision: f64,
    /// tp / (tp + fn).
    pub recall: f64,
    /// Harmonic mean of both.
    pub f1: f64,
    /// tp, fp, fn, tn.
    #[serde(flatten)]
    pub counts: BinaryCounts,
}

/// Whether each row is positive, and its probability.
pub type Scored<'a> = (&'a [bool], &'a [f64]);

impl DecisionConfig {
    /// Errors: two rules at once, or a value outside its range, by key (2).
    pub fn check(&self) -> Result<()> {
        ranges::check("decision", self)?;
        if (self.cost_fp > 0.0) != (self.cost_fn > 0.0) {
            let why = "decision.cost_fp and decision.cost_fn go together";
            return Err(Error::usage(format!("{why}; set both above 0, or neither")));
        }
        let rules = [self.min_precision, self.min_recall, self.cost_fp].iter().filter(|v| **v > 0.0).count();
        if rules > 1 {
            let why = "decision names more than one rule";
            return Err(Error::usage(format!("{why}; set one of min_precision, min_recall or both costs")));
        }
        Ok(())
    }

    /// The one rule it names.
    pub fn rule(&self) -> Rule {
        if self.min_precision > 0.0 {
            Rule::MinPrecision(self.min_precision)
        } else if self.min_recall > 0.0 {
            Rule::MinRecall(self.min_recall)
        } else if self.cost_fp > 0.0 {
            Rule::Cost(self.cost_fp, self.cost_fn)
        } else {
            Rule::MaxF1
        }
    }
}

impl Rule {
    /// The threshold on these rows, and whether it meets the rule. Of equals the one nearest 0.5; where no
    /// threshold meets the rule, the one that comes nearest.
    pub fn choose(self, (positives, probabilities): Scored<'_>) -> (f64, bool) {
        let better = |a: &Cut, b: &Cut| {
            let distance = |cut: &Cut| -(cut.threshold - 0.5).abs();
            self.rank(&a.counts)
                .partial_cmp(&self.rank(&b.counts))
                .unwrap_or(std::cmp::Ordering::Equal)
                .then(distance(a).total_cmp(&distance(b)))
        };
        let cuts = cuts(positives, probabilities);
        match cuts.iter().max_by(|a, b| better(a, b)) {
            Some(best) if positives.contains(&true) => (best.threshold, self.met(&best.counts)),
            // Without a positive row there is nothing to choose by.
            _ => (0.5, false),
        }
    }

    /// What is compared, the first entry first.
    fn rank(self, counts: &BinaryCounts) -> (f64, f64) {
        let scores = counts.scores();
        match self {
            Rule::MaxF1 => (scores.f1, 0.0),
            Rule::MinPrecision(least) => (scores.precision.min(least), scores.recall),
            Rule::MinRecall(least) => (scores.recall.min(least), scores.precision),
            Rule::Cost(fp, missed) => (-(fp * counts.fp as f64 + missed * counts.r#fn as f64), 0.0),
        }
    }

    fn met(self, counts: &BinaryCounts) -> bool {
        let scores = counts.scores();
        match self {
            Rule::MaxF1 | Rule::Cost(..) => true,
            Rule::MinPrecision(least) => scores.precision >= least,
            Rule::MinRecall(least) => scores.recall >= least,
        }
    }

    fn words(self) -> String {
        match self {
            Rule::MaxF1 => "highest F1".into(),
            Rule::MinPrecision(least) => format!("precision of {least} or more, highest recall"),
            Rule::MinRecall(least) => format!("recall of {least} or more, highest precision"),
            Rule::Cost(fp, missed) => format!("least cost, false alarm {fp}, missed row {missed}"),
        }
    }
}

/// The rule of the config and the usual others, chosen on validation and applied to test: at least three.
pub fn operating_points(
    config: &DecisionConfig,
    validation: Scored<'_>,
    test: Scored<'_>,
) -> Vec<OperatingPoint> {
    let chosen = config.rule();
    let or_usual = |value: f64| if value > 0.0 { value } else { USUAL_WISH };
    let precision = Rule::MinPrecision(or_usual(config.min_precision));
    let mut rules = vec![Rule::MaxF1, precision, Rule::MinRecall(or_usual(config.min_recall))];
    if !rules.contains(&chosen) {
        rules.push(chosen);
    }
    let point = |rule: Rule| {
        let (threshold, met) = rule.choose(validation);
        let scores = |rows: Scored<'_>| PointScores::at(threshold, rows);
        let (validation, test) = (scores(validation), scores(test));
        OperatingPoint { rule: rule.words(), chosen: rule == chosen, met, threshold, validation, test }
    };
    rules.into_iter().map(point).collect()
}

impl PointScores {
    /// Scores of predicting rows at `threshold` or above positive.
    pub fn at(threshold: f64, (positives, probabilities): Scored<'_>) -> Self {
        let mut counts = BinaryCounts::default();
        for (&positive, &probability) in positives.iter().zip(probabilities) {
            let count = match (positive, probability >= threshold) {
                (true, true) => &mut counts.tp,
                (false, true) => &mut counts.fp,
                (true, false) => &mut counts.r#fn,
                (false, false) => &mut counts.tn,
            };
            *count += 1;
        }
        let scores = counts.scores();
        Self { precision: scores.precision, recall: scores.recall, f1: scores.f1, counts }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const POSITIVES: [bool; 6] = [true, true, false, true, false, false];
    const PROBABILITIES: [f64; 6] = [0.9, 0.8, 0.7, 0.6, 0.3, 0.1];

    fn chosen(rule: Rule) -> (PointScores, bool) {
        let rows = (&POSITIVES[..], &PROBABILITIES[..]);
        let (threshold, met) = rule.choose(rows);
        (PointScores::at(threshold, rows), met)
    }

    #[test]
    fn each_rule_takes_its_threshold() {
        let (f1, _) = chosen(Rule::MaxF1);
        assert_eq!((f1.counts.tp, f1.counts.fp), (3, 1));
        let (precise, met) = chosen(Rule::MinPrecision(0.95));
        assert_eq!((precise.counts.tp, precise.counts.fp, met), (2, 0, true));
        let (sensitive, met) = chosen(Rule::MinRecall(0.6));
        assert_eq!((sensitive.counts.tp, sensitive.counts.fp, met), (2, 0, true));
        let (sensitive, _) = chosen(Rule::MinRecall(0.95));
        assert_eq!((sensitive.counts.tp, sensitive.counts.fp), (3, 1));
        let (alarms_are_dear, _) = chosen(Rule::Cost(5.0, 1.0));
        assert_eq!(alarms_are_dear.counts.fp, 0);
        let (misses_are_dear, _) = chosen(Rule::Cost(1.0, 5.0));
        assert_eq!(misses_are_dear.counts.r#fn, 0);
    }

    #[test]
    fn a_wish_that_cannot_be_met_takes_the_nearest_and_says_so() {
        let (positives, probabilities) = ([false, true, true], [0.9, 0.8, 0.7]);
        let (threshold, met) = Rule::MinPrecision(0.9).choose((&positives, &probabilities));
        let scores = PointScores::at(threshold, (&positives, &probabilities));
        assert_eq!((met, scores.counts.tp, scores.counts.fp), (false, 2, 1));
        assert_eq!(Rule::MaxF1.choose((&[false], &[0.2])), (0.5, false));
    }

    #[test]
    fn one_rule_at_a_time() {
        let wrong = [
            DecisionConfig { min_precision: 1.5, ..Default::default() },
            DecisionConfig { cost_fp: 1.0, ..Default::default() },
            DecisionConfig { min_precision: 0.9, min_recall: 0.9, ..Default::default() },
            DecisionConfig { cost_fp: f64::NAN, cost_fn: 1.0, ..Default::default() },
        ];
        assert!(wrong.iter().all(|config| config.check().is_err()));
        let points = operating_points(
            &DecisionConfig { cost_fp: 1.0, cost_fn: 2.0, ..Default::default() },
            (&POSITIVES, &PROBABILITIES),
            (&POSITIVES, &PROBABILITIES),
        );
        assert_eq!(points.len(), 4);
        assert_eq!(points.iter().filter(|point| point.chosen).count(), 1);
    }
}
