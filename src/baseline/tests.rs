//! The baselines against scikit-learn's numbers and on the SMS Spam split.

use std::path::Path;

use serde::Deserialize;

use super::linear::{Linear, LinearLoss};
use super::ngrams::Scored;
use super::platt::Platt;
use super::tfidf::{Features, SparseRow, Tfidf};
use super::{Majority, NgramKind, Ngrams};
use crate::metrics::classification::argmax;
use crate::metrics::{Scores, Threshold};

#[path = "../../tests/skipped.rs"]
mod skipped;

/// Written by `scripts/make_metric_vectors.py`.
#[derive(Deserialize)]
struct BaselineVector {
    train: Vec<(String, u32)>,
    unseen: Vec<String>,
    features: usize,
    similarity: Vec<Vec<f64>>,
    fits: Vec<FitVector>,
    words: WordVector,
    platt: PlattVector,
}

#[derive(Deserialize)]
struct WordVector {
    features: usize,
    similarity: Vec<Vec<f64>>,
}

#[derive(Deserialize)]
struct PlattVector {
    scores: Vec<f64>,
    positives: Vec<bool>,
    probabilities: Vec<f64>,
}

#[derive(Deserialize)]
struct FitVector {
    c: f64,
    binary: Vec<f64>,
    svm: Vec<f64>,
    three_labels: Vec<Vec<f64>>,
}

fn vector() -> BaselineVector {
    let text = include_str!("../../tests/fixtures/metric_vectors.json");
    let mut all: serde_json::Value = serde_json::from_str(text).unwrap();
    serde_json::from_value(all["baseline"].take()).unwrap()
}

fn rows(features: Features, vector: &BaselineVector) -> (Vec<SparseRow>, Vec<SparseRow>, usize) {
    let texts: Vec<&String> = vector.train.iter().map(|(text, _)| text).collect();
    let tfidf = Tfidf::fit(features, &texts);
    (tfidf.rows(&texts), tfidf.rows(&vector.unseen), tfidf.num_features())
}

fn dot(a: &SparseRow, b: &SparseRow) -> f64 {
    let of_b = |id| b.iter().find(|(other, _)| *other == id).map_or(0.0, |&(_, value)| f64::from(value));
    a.iter().map(|&(id, value)| f64::from(value) * of_b(id)).sum()
}

#[test]
fn tfidf_equals_scikit_learn() {
    let vector = vector();
    let cases = [
        (Features::Chars, vector.features, &vector.similarity),
        (Features::Words, vector.words.features, &vector.words.similarity),
    ];
    for (kind, expected_features, similarity) in cases {
        let (train, unseen, features) = rows(kind, &vector);
        assert_eq!(features, expected_features, "{kind:?}");
        for (row, expected) in unseen.iter().zip(similarity) {
            for (column, expected) in train.iter().zip(expected) {
                // Dot products of unit rows, whose values are f32.
                assert!((dot(row, column) - expected).abs() < 1e-6, "{kind:?}");
            }
        }
    }
}

fn fitted(loss: LinearLoss, label: u32, c: f64, vector: &BaselineVector) -> Scored {
    let (train, _, features) = rows(Features::Chars, vector);
    let positives: Vec<bool> = vector.train.iter().map(|(_, own)| *own == label).collect();
    let mut model = Linear::new(loss, features, train.len());
    model.fit(&train, &positives, c);
    Scored { model, platt: Platt::IDENTITY }
}

#[test]
fn linear_classifiers_equal_scikit_learn() {
    let vector = vector();
    let (_, unseen, _) = rows(Features::Chars, &vector);
    for fit in &vector.fits {
        let models: Vec<Scored> =
            (0..3).map(|label| fitted(LinearLoss::Logistic, label, fit.c, &vector)).collect();
        let three = super::ngrams::probabilities(&models, &unseen);
        let binary = super::ngrams::probabilities(&models[1..2], &unseen);
        let svm = fitted(LinearLoss::SquaredHinge, 1, fit.c, &vector).model.scores(&unseen);
        for row in 0..unseen.len() {
            assert!((binary[row][1] - fit.binary[row]).abs() < 5e-4, "C {}: {binary:?}", fit.c);
            assert!((svm[row] - fit.svm[row]).abs() < 5e-4, "C {}: {svm:?}", fit.c);
            for (ours, expected) in three[row].iter().zip(&fit.three_labels[row]) {
                assert!((ours - expected).abs() < 5e-4, "C {}: {three:?}", fit.c);
            }
        }
    }
}

#[test]
fn platts_sigmoid_is_the_most_likely_one() {
    let vector = vector().platt;
    let platt = Platt::fit(&vector.scores, &vector.positives);
    for (score, expected) in vector.scores.iter().zip(&vector.probabilities) {
        // SciPy minimises the same function, to about this many digits.
        assert!((platt.probability(*score) - expected).abs() < 1e-5, "{platt:?}");
    }
}

const CHAR_LOGISTIC: NgramKind = NgramKind { features: Features::Chars, loss: LinearLoss::Logistic };
const CHAR_SVM: NgramKind = NgramKind { features: Features::Chars, loss: LinearLoss::SquaredHinge };
const WORD_LOGISTIC: NgramKind = NgramKind { features: Features::Words, loss: LinearLoss::Logistic };

#[test]
fn three_labels_are_learnt_and_fitting_twice_gives_the_same_bits() {
    let vector = vector();
    for kind in [CHAR_LOGISTIC, CHAR_SVM, WORD_LOGISTIC] {
        let fit = || Ngrams::fit(kind, &vector.train, &vector.train, 3, None).unwrap();
        let probabilities = fit().probabilities(&vector.unseen);
        assert_eq!(probabilities, fit().probabilities(&vector.unseen), "{kind:?}");
        assert!(probabilities.iter().all(|row| (row.iter().sum::<f64>() - 1.0).abs() < 1e-12));
        assert_eq!(argmax(&probabilities[1]), 1, "claim your prize now: {kind:?} {probabilities:?}");
    }
}

#[test]
fn the_nearest_text_shares_most_of_what_is_rare() {
    let texts = ["are you free for lunch", "win a prize now", "see you at home"];
    let found = super::nearest(&texts, &["a prize for you", "lunch?", "zzz"]);
    assert_eq!(
        found.iter().map(|found| found.map(|found| found.0)).collect::<Vec<_>>(),
        [Some(1), Some(0), None]
    );
    let (_, cosine) = super::nearest(&texts, &["Win a  PRIZE now"])[0].unwrap();
    assert!((cosine - 1.0).abs() < 1e-6, "{cosine}");
}

#[test]
fn rows_that_cannot_be_learnt_from_are_refused() {
    let row = [("a text".to_owned(), 1)];
    for (train, validation, num_labels, positive) in
        [(&row[..0], &row[..], 2, 1), (&row, &row[..0], 2, 1), (&row, &row, 1, 0), (&row, &row, 2, 2)]
    {
        assert!(Ngrams::fit(CHAR_LOGISTIC, train, validation, num_labels, Some(positive)).is_err());
    }
    assert!(Ngrams::fit(CHAR_LOGISTIC, &row, &[("b".to_owned(), 2)], 2, Some(1)).is_err());
}

#[test]
fn majority_answers_with_the_shares() {
    let majority = Majority::fit(&[0, 0, 0, 1], 3);
    assert_eq!(majority.probabilities(2), vec![vec![0.75, 0.25, 0.0]; 2]);
}

fn read_tsv(path: &Path) -> Vec<(String, u32)> {
    let text = std::fs::read_to_string(path).unwrap();
    let rows = text.lines().filter_map(|line| line.split_once('\t'));
    rows.map(|(label, text)| (text.to_owned(), u32::from(label == "spam"))).collect()
}

fn test_f1(folder: &Path, kind: NgramKind, train: &str) -> f64 {
    let [train, validation, test] =
        [train, "validation.tsv", "test.tsv"].map(|name| read_tsv(&folder.join(name)));
    let model = Ngrams::fit(kind, &train, &validation, 2, Some(1)).unwrap();
    let names = ["ham".to_owned(), "spam".to_owned()];
    let score = |rows: &[(String, u32)], threshold| {
        let (texts, labels): (Vec<&String>, Vec<u32>) =
            rows.iter().map(|(text, label)| (text, *label)).unzip();
        Scores::compute(&labels, &model.probabilities(&texts), &names, 1, threshold, Some(0)).unwrap()
    };
    let chosen = score(&validation, Threshold::BestF1).threshold.unwrap();
    let scores = score(&test, Threshold::Fixed(chosen));
    println!(
        "{} rows: C {}, threshold {chosen:.3}, F1 {:.4} {:?}, PR-AUC {:.4?}, loss {:.4}",
        train.len(),
        model.c(),
        scores.f1,
        scores.ci["f1"].ci95,
        scores.pr_auc,
        scores.loss
    );
    scores.f1
}

#[test]
fn sms_spam_reaches_the_figures_of_the_classical_models() {
    let Some(folder) = skipped::sms_spam() else { return };
    // Measured with scikit-learn, default threshold, all labels: char SVM 0.964, word logistic 0.939.
    for (kind, all_labels, few_labels) in
        [(CHAR_SVM, 0.95, 0.86), (CHAR_LOGISTIC, 0.93, 0.84), (WORD_LOGISTIC, 0.92, 0.70)]
    {
        assert!(test_f1(&folder, kind, "train.tsv") > all_labels, "{kind:?}");
        let few: f64 =
            (0..5).map(|subset| test_f1(&folder, kind, &format!("budgets/train_100_{subset}.tsv"))).sum();
        println!("{kind:?} {}", few / 5.0);
        assert!(few / 5.0 > few_labels, "{kind:?}");
    }
}
