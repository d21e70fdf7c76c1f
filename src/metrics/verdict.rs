//! Says in plain words whether a classifier is fit for use, and what is wrong if not.
//!
//! The task's metrics decide; the loss history only adds findings, since a falling loss proves nothing about
//! the task and a flat one may start from a good model.

use serde::{Deserialize, Serialize};

use super::scores::Scores;

/// Good means accuracy above this. Source: the metrics guide in docs/statistics.md.
const GOOD_ACCURACY: f64 = 0.85;
/// Good means precision and recall above this. Source: the metrics guide in docs/statistics.md.
const GOOD_PRECISION_RECALL: f64 = 0.80;
/// Bad means precision or recall below this. Source: the metrics guide in docs/statistics.md.
const BAD_PRECISION_RECALL: f64 = 0.50;
/// Share of the majority answer's errors that a model must remove to count as above it. The guide asks for
/// better than chance without a number; on a balanced task this is an accuracy of 0.55.
const ERRORS_REMOVED: f64 = 0.10;
/// "Near chance" in the guide: Matthews correlation is 0 at chance, 1 when perfect.
const CHANCE_MCC: f64 = 0.10;
/// "Near chance" in the guide: ROC-AUC is 0.5 at chance, 1 when perfect.
const CHANCE_ROC_AUC: f64 = 0.55;
/// Relative change of a loss that is more than its usual jitter between evaluations. "Falling", "flat" and
/// "rising" are the guide's words, the number is ours.
const LOSS_CHANGE: f64 = 0.02;

/// Nats per row below which a loss has nowhere to fall.
const LEAST_FALL: f64 = 0.01;
/// Evaluations from which a fall at the end is more than the beginning of a run.
const LEAST_EVALUATIONS: usize = 4;

/// The judgement of one run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Verdict {
    /// Good by every task metric of the guide.
    pub fit: bool,
    /// Full sentences with the numbers and what to do.
    pub findings: Vec<String>,
}

/// Losses at each evaluation of the training, oldest first; nats per row.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct History {
    /// On the training rows.
    pub train_loss: Vec<f64>,
    /// On the validation rows.
    pub val_loss: Vec<f64>,
}

impl Verdict {
    /// Judges the scores on the test rows, and how training went where its history is known.
    ///
    /// Source of the rules: the metrics guide in docs/statistics.md.
    pub fn judge(test: &Scores, history: Option<&History>) -> Self {
        let mut findings: Vec<String> = match no_positives(test) {
            Some(finding) => vec![finding],
            None => {
                let rules = [accuracy_paradox, near_chance, weak_precision, weak_recall, weak_accuracy];
                rules.iter().filter_map(|rule| rule(test)).collect()
            }
        };
        let fit = findings.is_empty();
        if fit {
            findings.push(good(test));
            findings.extend(not_established(test));
        }
        findings.extend(weak_labels(test));
        findings.extend(labels_without_rows(test));
        if let Some(history) = history {
            findings.extend(overfitting(history));
            findings.extend(not_learning(history));
            findings.extend(stopped_early(history));
        }
        Self { fit, findings }
    }
}

fn good(test: &Scores) -> String {
    format!(
        "Good by the metrics guide: accuracy {} (always predicting the majority class gives {}), {} {}, {} {}, \
         F1 {}, Matthews correlation {:.2}.",
        percent(test.accuracy),
        percent(test.majority_accuracy),
        name(test, "precision"),
        percent(test.precision),
        name(test, "recall"),
        percent(test.recall),
        percent(test.f1),
        test.mcc
    )
}

/// Scores that are good here but whose interval reaches below the bar: another test set might say otherwise.
fn not_established(test: &Scores) -> Option<String> {
    let bars = [
        ("accuracy", GOOD_ACCURACY),
        ("precision", GOOD_PRECISION_RECALL),
        ("recall", GOOD_PRECISION_RECALL),
    ];
    let below = bars.iter().filter_map(|(score, bar)| {
        let [low, high] = test.ci.get(*score)?.ci95;
        (low < *bar).then(|| {
            let (name, bar) = (name(test, score), percent(*bar));
            format!("{name} [{}, {}] against a bar of {bar}", percent(low), percent(high))
        })
    });
    let below: Vec<String> = below.collect();
    (!below.is_empty()).then(|| {
        let what = below.join("; ");
        format!(
            "Not established with this many test rows: {what}. More test rows would narrow the intervals."
        )
    })
}

fn no_positives(test: &Scores) -> Option<String> {
    let positives = test.counts.tp + test.counts.r#fn;
    (is_binary(test) && positives == 0).then(|| {
        "The test rows hold no example of the positive label, so recall cannot be judged; add labelled \
         positive rows to the test set."
            .to_owned()
    })
}

/// High accuracy that the label shares explain, or that hides a positive label found badly.
fn accuracy_paradox(test: &Scores) -> Option<String> {
    let weak = test.precision.min(test.recall) < BAD_PRECISION_RECALL;
    if test.accuracy <= GOOD_ACCURACY || (above_majority(test) && !weak) {
        return None;
    }
    Some(format!(
        "Accuracy paradox: accuracy {} looks good, but always predicting the majority class gives {}, and {} is \
         {} with {} {}. Not fit for use: judge by precision, recall and Matthews correlation ({:.2}), and \
         train with more rows of the rare label.",
        percent(test.accuracy),
        percent(test.majority_accuracy),
        name(test, "recall"),
        percent(test.recall),
        name(test, "precision"),
        percent(test.precision),
        test.mcc
    ))
}

fn near_chance(test: &Scores) -> Option<String> {
    let ordered = test.roc_auc.map(|auc| auc >= CHANCE_ROC_AUC);
    if test.mcc >= CHANCE_MCC && ordered != Some(false) {
        return None;
    }
    let auc = test.roc_auc.map_or("undefined".to_owned(), |auc| format!("{auc:.2}"));
    let place = if test.mcc < -CHANCE_MCC { "Worse than chance" } else { "Near chance" };
    let advice = if is_binary(test) && ordered == Some(true) {
        "the probabilities do order the rows, so it is the threshold that does not fit: let it be chosen on validation \
         rows of both labels that are like these, by a rule of [decision]"
    } else {
        "check that the labels match the texts, then train longer, with another learning rate or on more rows"
    };
    Some(format!(
        "{place}: Matthews correlation {:.2} (chance 0) and ROC-AUC {auc} (chance 0.5); {advice}.",
        test.mcc
    ))
}

fn weak_precision(test: &Scores) -> Option<String> {
    let advice = if is_binary(test) {
        "raise the threshold or add rows like the false alarms to the training set"
    } else {
        "add rows like the wrongly predicted ones to the training set"
    };
    weak(&name(test, "precision"), test.precision, advice)
}

fn weak_recall(test: &Scores) -> Option<String> {
    let advice = if is_binary(test) {
        "lower the threshold or add rows like the missed ones to the training set"
    } else {
        "add rows of the labels missed most to the training set"
    };
    weak(&name(test, "recall"), test.recall, advice)
}

fn weak(name: &str, value: f64, advice: &str) -> Option<String> {
    let judgement = if value < BAD_PRECISION_RECALL {
        format!("bad (below {})", percent(BAD_PRECISION_RECALL))
    } else if value <= GOOD_PRECISION_RECALL {
        format!("not good (good is above {})", percent(GOOD_PRECISION_RECALL))
    } else {
        return None;
    };
    Some(format!("At {} the {name} is {judgement}; {advice}.", percent(value)))
}

fn weak_accuracy(test: &Scores) -> Option<String> {
    if test.accuracy > GOOD_ACCURACY {
        return None;
    }
    let against = if above_majority(test) { "though above" } else { "and no better than" };
    Some(format!(
        "The accuracy of {} is not above {}, {against} the {} of always predicting the majority class; train \
         longer, use more labelled rows or a larger model.",
        percent(test.accuracy),
        percent(GOOD_ACCURACY),
        percent(test.majority_accuracy)
    ))
}

/// Labels that an average over many labels hides.
fn weak_labels(test: &Scores) -> Option<String> {
    let is_weak = |precision: f64, recall: f64| precision.min(recall) < BAD_PRECISION_RECALL;
    let weak: Vec<String> = test
        .per_class
        .iter()
        .filter(|class| class.support > 0 && is_weak(class.precision, class.recall))
        .map(|class| {
            format!(
                "{} (precision {}, recall {})",
                class.label,
                percent(class.precision),
                percent(class.recall)
            )
        })
        .collect();
    (!is_binary(test) && !weak.is_empty()).then(|| {
        format!(
            "Labels with precision or recall below {}: {}; add training rows for them.",
            percent(BAD_PRECISION_RECALL),
            weak.join(", ")
        )
    })
}

/// Labels that nothing is said about.
fn labels_without_rows(test: &Scores) -> Option<String> {
    let without = test.per_class.iter().filter(|class| class.support == 0);
    let without: Vec<&str> = without.map(|class| class.label.as_str()).collect();
    (!is_binary(test) && !without.is_empty()).then(|| {
        let labels = without.join(", ");
        format!(
            "The test rows hold no row labelled {labels}: the scores say nothing about it; add such rows."
        )
    })
}

/// Validation loss clearly above its best while training loss went on falling.
fn overfitting(history: &History) -> Option<String> {
    let (best, &lowest) = history.val_loss.iter().enumerate().min_by(|a, b| a.1.total_cmp(b.1))?;
    let (&last, &train_last) = (history.val_loss.last()?, history.train_loss.last()?);
    let &train_best = history.train_loss.get(best)?;
    (last > lowest * (1.0 + LOSS_CHANGE) && train_last < train_best).then(|| {
        format!(
            "Overfitting: validation loss rose from its best {lowest:.3} (evaluation {} of {}) to {last:.3} \
             while training loss fell from {train_best:.3} to {train_last:.3}; keep the best checkpoint, stop \
             earlier, or use more rows, dropout or weight decay.",
            best + 1,
            history.val_loss.len()
        )
    })
}

fn not_learning(history: &History) -> Option<String> {
    let (&first, &last) = (history.train_loss.first()?, history.train_loss.last()?);
    let trend = if last > first * (1.0 + LOSS_CHANGE) {
        "rising"
    } else if history.train_loss.len() > 1 && last > first * (1.0 - LOSS_CHANGE) {
        "flat"
    } else {
        return None;
    };
    let advice = if trend == "rising" {
        "lower the learning rate"
    } else {
        "raise the learning rate, shorten its warm-up or train longer"
    };
    Some(format!("Training loss is {trend}, from {first:.3} to {last:.3}: {advice}, and check the labels."))
}

/// Validation loss that still fell clearly between the last two evaluations.
fn stopped_early(history: &History) -> Option<String> {
    let [.., before, last] = history.val_loss[..] else { return None };
    let lowest = history.val_loss.iter().copied().fold(f64::INFINITY, f64::min);
    (history.val_loss.len() >= LEAST_EVALUATIONS && last == lowest && before - last > (before * LOSS_CHANGE).max(LEAST_FALL)).then(|| {
        format!(
            "Stopped too early: validation loss still fell at the last evaluation, from {before:.3} to {last:.3}; train \
             longer (train.max_epochs or train.max_steps)."
        )
    })
}

fn above_majority(test: &Scores) -> bool {
    let removable = 1.0 - test.majority_accuracy;
    test.accuracy - test.majority_accuracy > ERRORS_REMOVED * removable
}

/// Scores has a threshold for two labels only.
fn is_binary(test: &Scores) -> bool {
    test.threshold.is_some()
}

/// With more than two labels precision and recall are means over labels.
fn name(test: &Scores, score: &str) -> String {
    if is_binary(test) { score.to_owned() } else { format!("mean {score} of the labels") }
}

fn percent(share: f64) -> String {
    format!("{:.1} %", share * 100.0)
}

#[cfg(test)]
mod tests {
    use super::super::scores::Threshold;
    use super::*;

    /// Scores with these counts: called rows get probability 0.9, the others 0.1.
    fn scores(tp: usize, fp: usize, missed: usize, tn: usize) -> Scores {
        let groups = [(1, 0.9, tp), (0, 0.9, fp), (1, 0.1, missed), (0, 0.1, tn)];
        let (mut labels, mut probabilities) = (Vec::new(), Vec::new());
        for (label, positive, rows) in groups {
            labels.extend(std::iter::repeat_n(label, rows));
            probabilities.extend(std::iter::repeat_n(vec![1.0 - positive, positive], rows));
        }
        let names = ["ham".to_owned(), "spam".to_owned()];
        Scores::compute(&labels, &probabilities, &names, 1, Threshold::Fixed(0.5), Some(0)).unwrap()
    }

    fn findings(test: &Scores) -> String {
        let verdict = Verdict::judge(test, None);
        assert!(!verdict.fit);
        verdict.findings.join(" ")
    }

    #[test]
    fn the_guides_example_is_good() {
        let test = scores(90, 15, 10, 85);
        let verdict = Verdict::judge(&test, None);
        assert!(verdict.fit);
        assert_eq!(
            verdict.findings[0],
            "Good by the metrics guide: accuracy 87.5 % (always predicting the majority class gives 50.0 %), \
             precision 85.7 %, recall 90.0 %, F1 87.8 %, Matthews correlation 0.75."
        );
        // 90 of 105 rows: the interval of the precision reaches below 80 %, that of the recall does not.
        assert!(verdict.findings[1].starts_with("Not established"), "{:?}", verdict.findings);
        assert!(verdict.findings[1].contains("precision [7") && !verdict.findings[1].contains("recall"));
        assert_eq!(verdict.findings.len(), 2);
        assert_eq!(Verdict::judge(&scores(900, 50, 50, 900), None).findings.len(), 1);
    }

    #[test]
    fn high_accuracy_with_low_recall_is_the_accuracy_paradox() {
        // 98 % accuracy, 12 % recall.
        let found = findings(&scores(3, 0, 22, 1075));
        assert!(found.contains("Accuracy paradox: accuracy 98.0 %") && found.contains("12.0 %"), "{found}");
        assert!(found.contains("At 12.0 % the recall is bad (below 50.0 %)"), "{found}");
    }

    #[test]
    fn always_answering_the_majority_is_not_fit() {
        assert!(findings(&scores(0, 0, 5, 95)).contains("Accuracy paradox"));
        // Positive rows are the majority: precision and recall look good by themselves.
        assert!(findings(&scores(95, 5, 0, 0)).contains("Accuracy paradox"));
    }

    #[test]
    fn guessing_is_near_chance() {
        let found = findings(&scores(25, 25, 25, 25));
        assert!(
            found.contains("Near chance: Matthews correlation 0.00 (chance 0) and ROC-AUC 0.50"),
            "{found}"
        );
        assert!(found.contains("no better than the 50.0 %"), "{found}");
        assert!(findings(&scores(5, 45, 45, 5)).contains("Worse than chance"));
    }

    #[test]
    fn a_test_set_without_positives_cannot_show_fitness() {
        let verdict = Verdict::judge(&scores(0, 0, 0, 20), None);
        assert!(!verdict.fit);
        assert_eq!(verdict.findings.len(), 1);
        assert!(verdict.findings[0].contains("no example of the positive label"));
    }

    #[test]
    fn fair_scores_are_not_yet_good() {
        let found = findings(&scores(75, 10, 25, 90));
        assert!(found.contains("At 75.0 % the recall is not good (good is above 80.0 %)"), "{found}");
        assert!(!found.contains("the precision is"), "{found}");
    }

    #[test]
    fn overfitting_is_named_and_does_not_hide_good_scores() {
        let history = History { train_loss: vec![0.6, 0.4, 0.2, 0.1], val_loss: vec![0.6, 0.45, 0.5, 0.6] };
        let verdict = Verdict::judge(&scores(90, 5, 10, 95), Some(&history));
        assert!(verdict.fit);
        assert!(verdict.findings[1].starts_with("Overfitting: validation loss rose from its best 0.450"));
        assert!(verdict.findings[1].contains("(evaluation 2 of 4) to 0.600"));
        let healthy = History { train_loss: vec![0.6, 0.4, 0.2], val_loss: vec![0.6, 0.45, 0.44] };
        assert_eq!(Verdict::judge(&scores(90, 5, 10, 95), Some(&healthy)).findings.len(), 1);
    }

    #[test]
    fn a_falling_loss_does_not_make_bad_scores_fit_and_a_flat_one_is_named() {
        let falling = History { train_loss: vec![0.7, 0.1], val_loss: vec![0.7, 0.1] };
        assert!(!Verdict::judge(&scores(3, 0, 22, 1075), Some(&falling)).fit);
        for (last, word) in [(0.69, "flat"), (0.9, "rising")] {
            let history = History { train_loss: vec![0.69, last], val_loss: vec![0.69, last] };
            let verdict = Verdict::judge(&scores(90, 5, 10, 95), Some(&history));
            assert!(verdict.findings[1].starts_with(&format!("Training loss is {word}")), "{verdict:?}");
        }
    }

    #[test]
    fn a_loss_that_still_falls_at_the_end_says_that_the_run_was_too_short() {
        let said = |val_loss: &[f64]| {
            let history = History { train_loss: val_loss.to_vec(), val_loss: val_loss.to_vec() };
            let verdict = Verdict::judge(&scores(90, 5, 10, 95), Some(&history));
            assert!(verdict.fit);
            verdict.findings.iter().any(|finding| finding.starts_with("Stopped too early"))
        };
        assert!(said(&[0.7, 0.6, 0.5, 0.4]));
        assert!(!said(&[0.7, 0.5, 0.4, 0.396]), "it has settled");
        assert!(!said(&[0.7, 0.3, 0.5, 0.4]), "it was lower before");
        assert!(!said(&[0.7, 0.6]), "too few to tell");
        assert!(!said(&[0.7, 0.1, 0.01, 0.005]), "it is next to nothing");
    }

    #[test]
    fn a_label_hidden_by_the_mean_is_named() {
        let labels: Vec<u32> = (0..90).map(|row| row / 10).chain([9, 9]).collect();
        let called: Vec<u32> = (0..90).map(|row| row / 10).chain([0, 1]).collect();
        let probabilities: Vec<Vec<f64>> =
            called.iter().map(|&label| (0..10).map(|l| f64::from(u8::from(l == label))).collect()).collect();
        let names: Vec<String> = (0..10).map(|label| format!("topic{label}")).collect();
        let test = Scores::compute(&labels, &probabilities, &names, 0, Threshold::BestF1, Some(0)).unwrap();
        let verdict = Verdict::judge(&test, None);
        assert!(verdict.fit, "{verdict:?}");
        assert!(verdict.findings[0].contains("mean recall of the labels 90.0 %"), "{verdict:?}");
        assert!(verdict.findings[1].contains("topic9 (precision 0.0 %, recall 0.0 %)"), "{verdict:?}");
    }
}
