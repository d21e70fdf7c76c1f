//! Our scores against those of scikit-learn, SciPy, statsmodels and sacreBLEU, stored by `scripts/make_metric_vectors.py`.

use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::calibration::{calibration_error, fit_temperature, reliability, tempered};
use super::classification::{ClassScores, ConfusionMatrix, argmax};
use super::curves::{best_f1_threshold, pr_curve, precision_at, roc_curve, true_positive_rate_at};
use super::paired::{McNemar, SeedScores, exact_binomial, holm};
use super::scores::Rows;
use super::{Bleu, Scores, Threshold, bleu};

/// The vectors are stored with twelve decimals; BLEU is on a scale of 100.
const TOLERANCE: f64 = 1e-10;

#[derive(Deserialize)]
struct ClassificationVector {
    name: String,
    labels: Vec<u32>,
    probabilities: Vec<Vec<f64>>,
    loss: f64,
    accuracy: f64,
    per_class: Vec<[f64; 4]>,
    #[serde(rename = "macro")]
    macro_average: [f64; 3],
    weighted: [f64; 3],
    micro: [f64; 3],
    mcc: f64,
    balanced_accuracy: f64,
    confusion: Vec<Vec<u64>>,
    roc_auc: Option<f64>,
    pr_auc: Option<f64>,
    best_f1: f64,
}

#[derive(Deserialize)]
struct TokenVector {
    line: String,
    tokens: Vec<String>,
}

#[derive(Deserialize)]
struct BleuVector {
    name: String,
    hypotheses: Vec<String>,
    references: Vec<String>,
    #[serde(flatten)]
    expected: Bleu,
}

#[derive(Deserialize)]
struct StatisticsVector {
    exact: Vec<(u64, u64, f64)>,
    holm: Vec<(Vec<f64>, Vec<f64>)>,
}

#[derive(Deserialize)]
struct PairedVector {
    labels: Vec<u32>,
    first: Vec<Vec<Vec<f64>>>,
    second: Vec<Vec<Vec<f64>>>,
    difference: f64,
    rows_std_error: f64,
    seeds_std_error: f64,
    mcnemar: Vec<f64>,
}

#[derive(Deserialize)]
struct CalibrationVector {
    labels: Vec<u32>,
    probabilities: Vec<Vec<f64>>,
    predicted: Vec<f64>,
    observed: Vec<f64>,
    ece: f64,
    temperature: f64,
    loss: f64,
}

fn vectors<T: DeserializeOwned>(key: &str) -> T {
    let text = include_str!("../../tests/fixtures/metric_vectors.json");
    let mut all: serde_json::Value = serde_json::from_str(text).unwrap();
    serde_json::from_value(all[key].take()).unwrap()
}

fn names(vector: &ClassificationVector) -> Vec<String> {
    (0..vector.per_class.len()).map(|label| format!("label{label}")).collect()
}

#[track_caller]
fn assert_close(ours: &[f64], expected: &[f64], what: &str) {
    assert_eq!(ours.len(), expected.len(), "{what}");
    for (a, b) in ours.iter().zip(expected) {
        assert!((a - b).abs() <= TOLERANCE, "{what}: {ours:?} is not {expected:?}");
    }
}

fn triple(scores: ClassScores) -> [f64; 3] {
    [scores.precision, scores.recall, scores.f1]
}

#[test]
fn scores_equal_scikit_learn() {
    for vector in vectors::<Vec<ClassificationVector>>("classification") {
        let what = &vector.name;
        let names = names(&vector);
        let scores =
            Scores::compute(&vector.labels, &vector.probabilities, &names, 1, Threshold::Fixed(0.5), Some(0))
                .unwrap();
        let headline = [scores.loss, scores.accuracy, scores.mcc, scores.balanced_accuracy];
        assert_close(&headline, &[vector.loss, vector.accuracy, vector.mcc, vector.balanced_accuracy], what);
        assert_eq!(scores.confusion, vector.confusion, "{what}");
        for (ours, expected) in scores.per_class.iter().zip(&vector.per_class) {
            assert_close(&[ours.precision, ours.recall, ours.f1, ours.support as f64], expected, what);
        }
        assert_close(
            &[scores.macro_f1, scores.weighted_f1],
            &[vector.macro_average[2], vector.weighted[2]],
            what,
        );
        let headline =
            if names.len() == 2 { vector.per_class[1][..3].to_vec() } else { vector.macro_average.to_vec() };
        assert_close(&[scores.precision, scores.recall, scores.f1], &headline, what);
        assert_eq!(scores.roc_auc.is_some(), vector.roc_auc.is_some(), "{what}");
        assert_eq!(scores.pr_auc.is_some(), vector.pr_auc.is_some(), "{what}");
        assert_close(
            &[scores.roc_auc.unwrap_or(0.0), scores.pr_auc.unwrap_or(0.0)],
            &[vector.roc_auc.unwrap_or(0.0), vector.pr_auc.unwrap_or(0.0)],
            what,
        );
    }
}

#[test]
fn averages_equal_scikit_learn() {
    for vector in vectors::<Vec<ClassificationVector>>("classification") {
        let predict = |row: &Vec<f64>| if row.len() == 2 { u32::from(row[1] >= 0.5) } else { argmax(row) };
        let predictions: Vec<u32> = vector.probabilities.iter().map(predict).collect();
        let matrix =
            ConfusionMatrix::from_predictions(&vector.labels, &predictions, vector.per_class.len()).unwrap();
        assert_close(&triple(matrix.macro_average()), &vector.macro_average, &vector.name);
        assert_close(&triple(matrix.weighted_average()), &vector.weighted, &vector.name);
        assert_close(&triple(matrix.micro_average()), &vector.micro, &vector.name);
    }
}

#[test]
fn the_best_threshold_reaches_the_best_f1_of_scikit_learn() {
    for vector in vectors::<Vec<ClassificationVector>>("classification") {
        let positives: Vec<bool> = vector.labels.iter().map(|&label| label == 1).collect();
        let of_positive: Vec<f64> = vector.probabilities.iter().map(|row| row[1]).collect();
        let best = best_f1_threshold(&positives, &of_positive);
        assert_close(&[best.f1], &[vector.best_f1], &vector.name);
        if vector.per_class.len() == 2 {
            let names = names(&vector);
            let scores =
                Scores::compute(&vector.labels, &vector.probabilities, &names, 1, Threshold::BestF1, Some(0))
                    .unwrap();
            assert_eq!(scores.threshold, Some(best.threshold), "{}", vector.name);
            assert_close(&[scores.f1], &[vector.best_f1], &vector.name);
        }
    }
}

#[test]
fn stored_scores_have_the_contracted_keys_and_come_back() {
    for vector in vectors::<Vec<ClassificationVector>>("classification") {
        let names = names(&vector);
        let scores =
            Scores::compute(&vector.labels, &vector.probabilities, &names, 0, Threshold::Fixed(0.5), Some(3))
                .unwrap();
        let text = serde_json::to_string(&scores).unwrap();
        let json: serde_json::Value = serde_json::from_str(&text).unwrap();
        let keys: Vec<&str> = json.as_object().unwrap().keys().map(String::as_str).collect();
        let contracted = "loss accuracy precision recall f1 mcc balanced_accuracy roc_auc pr_auc tp fp fn tn \
                          threshold majority_accuracy macro_f1 weighted_f1 per_class confusion ci";
        assert_eq!(keys.join(" "), contracted);
        assert_eq!(json["roc_auc"].is_null(), vector.roc_auc.is_none(), "{}", vector.name);
        assert!(json["loss"].is_f64(), "{}", vector.name);
        let back: Scores = serde_json::from_str(&text).unwrap();
        // serde_json may read a float one unit in the last place off.
        assert_close(&[back.loss, back.f1, back.mcc], &[scores.loss, scores.f1, scores.mcc], "read back");
        assert_eq!((back.counts, back.confusion), (scores.counts, scores.confusion));
    }
}

#[test]
fn intervals_hold_the_value_and_depend_on_the_seed_alone() {
    let vector = &vectors::<Vec<ClassificationVector>>("classification")[0];
    let names = names(vector);
    let compute = |seed| {
        Scores::compute(&vector.labels, &vector.probabilities, &names, 1, Threshold::Fixed(0.5), seed)
            .unwrap()
    };
    let scores = compute(Some(1));
    assert_eq!(scores.ci.len(), 10);
    assert_eq!(scores.ci["f1"].value, scores.f1);
    for (name, estimate) in &scores.ci {
        let [low, high] = estimate.ci95;
        assert!(low < estimate.value && estimate.value < high, "{name}: {estimate:?}");
    }
    assert_eq!(scores, compute(Some(1)));
    assert_ne!(scores.ci, compute(Some(2)).ci);
}

#[test]
fn rows_that_cannot_be_scored_are_refused() {
    let names = ["ham".to_owned(), "spam".to_owned()];
    let refused = |labels: &[u32], probabilities: &[Vec<f64>], positive| {
        Scores::compute(labels, probabilities, &names, positive, Threshold::BestF1, Some(0))
            .unwrap_err()
            .to_string()
    };
    let row = vec![0.5, 0.5];
    assert!(refused(&[], &[], 1).contains("at least one"));
    assert!(refused(&[0, 1], std::slice::from_ref(&row), 1).contains("2 labels and 1 rows"));
    assert!(refused(&[2], std::slice::from_ref(&row), 1).contains("label 2"));
    assert!(refused(&[0], &[row], 2).contains("label 2 as the positive one"));
    assert!(refused(&[0], &[vec![1.0]], 1).contains("1 probabilities"));
    assert!(refused(&[0], &[vec![f64::NAN, 1.0]], 1).contains("NaN is not a probability"));
    assert!(refused(&[0], &[vec![-1.5, 2.5]], 1).contains("softmax"));
}

#[test]
fn tokens_equal_sacrebleu() {
    for vector in vectors::<Vec<TokenVector>>("tokens_13a") {
        assert_eq!(bleu::tokenize_13a(&vector.line), vector.tokens, "{:?}", vector.line);
    }
}

#[test]
fn bleu_equals_sacrebleu() {
    for vector in vectors::<Vec<BleuVector>>("bleu") {
        let (ours, expected) =
            (Bleu::corpus(&vector.hypotheses, &vector.references).unwrap(), &vector.expected);
        let what = &vector.name;
        assert_close(&[ours.score, ours.brevity_penalty], &[expected.score, expected.brevity_penalty], what);
        assert_close(&ours.precisions, &expected.precisions, what);
        assert_eq!(
            (ours.hypothesis_len, ours.reference_len),
            (expected.hypothesis_len, expected.reference_len)
        );
        assert_eq!(ours.signature, expected.signature);
    }
}

#[test]
fn exact_tests_and_holms_correction_equal_statsmodels() {
    let vector: StatisticsVector = vectors("statistics");
    for (a, b, expected) in vector.exact {
        assert_close(&[exact_binomial(a, b), exact_binomial(b, a)], &[expected; 2], &format!("{a} {b}"));
    }
    for (p_values, expected) in vector.holm {
        assert_close(&holm(&p_values), &expected, "Holm");
    }
}

#[test]
fn paired_differences_equal_scipy() {
    let vector: PairedVector = vectors("paired");
    let rows = |runs: &[Vec<Vec<f64>>]| -> Vec<Rows<'_>> {
        runs.iter().map(|run| Rows::new(&vector.labels, run, 2, 1, Some(0.5))).collect()
    };
    let (first, second) = (rows(&vector.first), rows(&vector.second));
    let [a, b] = [&first, &second].map(|runs| SeedScores::resample(runs, 4));
    let found = a.difference(&b, "accuracy", 0.02).unwrap();
    assert_close(&[found.difference], &[vector.difference], "difference");
    assert_close(&[found.seeds_std_error], &[vector.seeds_std_error], "over seeds");
    // Two thousand resamples give a standard error to about 1.6 %: sqrt(1 / (2 * 2000)).
    let ratio = found.rows_std_error / vector.rows_std_error;
    assert!((ratio - 1.0).abs() < 0.06, "{found:?}");
    let p_values: Vec<f64> = first.iter().zip(&second).map(|(a, b)| McNemar::of(a, b).p_value).collect();
    assert_close(&p_values, &vector.mcnemar, "McNemar");
}

#[test]
fn calibration_equals_scikit_learn_and_scipy() {
    let vector: CalibrationVector = vectors("calibration");
    let answered = (&vector.labels[..], &vector.probabilities[..]);
    let bins = reliability(answered, 1);
    let (predicted, observed): (Vec<f64>, Vec<f64>) =
        bins.iter().map(|bin| (bin.predicted, bin.observed)).unzip();
    assert_close(&predicted, &vector.predicted, "predicted");
    assert_close(&observed, &vector.observed, "observed");
    assert_close(&[calibration_error(answered)], &[vector.ece], "calibration error");
    let temperature = fit_temperature(answered);
    // At a minimum an error of 1e-5 in the place is one of 1e-10 in the value.
    assert!((temperature - vector.temperature).abs() < 1e-5, "{temperature}");
    let mended: Vec<Vec<f64>> = vector.probabilities.iter().map(|row| tempered(row, temperature)).collect();
    let names = ["ham".to_owned(), "spam".to_owned()];
    let scores = Scores::compute(&vector.labels, &mended, &names, 1, Threshold::Fixed(0.5), None).unwrap();
    assert!((scores.loss - vector.loss).abs() < 1e-9, "{} is not {}", scores.loss, vector.loss);
}

#[test]
fn mean_curves_read_a_step_function_and_straight_lines() {
    // Ranked: positive, negative, positive, negative.
    let (positives, scores) = ([true, false, true, false], [0.9, 0.8, 0.7, 0.6]);
    let (pr, roc) = (pr_curve(&positives, &scores), roc_curve(&positives, &scores));
    assert_eq!(
        [0.0, 0.5, 0.6, 1.0].map(|recall| precision_at(&pr, recall)),
        [1.0, 1.0, 2.0 / 3.0, 2.0 / 3.0]
    );
    assert_eq!([0.0, 0.25, 0.5, 1.0].map(|x| true_positive_rate_at(&roc, x)), [0.5, 0.5, 1.0, 1.0]);
    // All tied: the straight line of guessing.
    let tied = roc_curve(&positives, &[0.5; 4]);
    assert_eq!(true_positive_rate_at(&tied, 0.3), 0.3);
}
