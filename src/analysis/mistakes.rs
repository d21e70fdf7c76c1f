//! The most confident wrong answers of a classifier.

use crate::baseline::nearest;
use crate::metrics::predict_label;
use crate::results::{Mistake, Predictions};

/// Texts of some rows with their labels.
#[derive(Clone, Copy)]
pub struct LabelledTexts<'a> {
    /// By row.
    pub texts: &'a [&'a str],
    /// By row.
    pub labels: &'a [u32],
}

/// The `count` wrong answers of highest probability, surest first, each with the training text nearest to it.
///
/// `test` answers the rows with these `texts`; the label `positive` is predicted at `threshold` or above, without one
/// the likeliest label is.
pub fn mistakes(
    count: usize,
    test: &Predictions,
    (positive, threshold): (usize, Option<f64>),
    texts: &[&str],
    train: LabelledTexts<'_>,
) -> Vec<Mistake> {
    let wrong = test.probabilities.iter().enumerate().filter_map(|(row, probabilities)| {
        let predicted = predict_label(probabilities, positive, threshold);
        (predicted != test.labels[row] as usize).then_some((row, predicted, probabilities[predicted]))
    });
    let mut wrong: Vec<(usize, usize, f64)> = wrong.collect();
    wrong.sort_by(|a, b| b.2.total_cmp(&a.2));
    wrong.truncate(count);
    if wrong.is_empty() {
        return Vec::new();
    }
    let asked: Vec<&str> = wrong.iter().map(|(row, ..)| texts[*row]).collect();
    let name = |label: usize| test.label_names[label].clone();
    let mistake =
        |((row, predicted, probability), near): ((usize, usize, f64), Option<(usize, f64)>)| Mistake {
            id: row,
            label: name(test.labels[row] as usize),
            predicted: name(predicted),
            probability,
            text: texts[row].into(),
            nearest_text: near.map(|(at, _)| train.texts[at].into()),
            nearest_label: near.map(|(at, _)| name(train.labels[at] as usize)),
            nearest_similarity: near.map_or(0.0, |(_, cosine)| cosine),
        };
    wrong.into_iter().zip(nearest(train.texts, &asked)).map(mistake).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_surest_wrong_answer_comes_first_with_its_nearest_training_text() {
        let test = Predictions {
            label_names: vec!["ham".into(), "spam".into()],
            labels: vec![0, 1, 1],
            probabilities: vec![vec![0.4, 0.6], vec![0.1, 0.9], vec![0.9, 0.1]],
            text_sha256: vec![String::new(); 3],
        };
        let train = LabelledTexts { texts: &["win a prize", "see you at home"], labels: &[1, 0] };
        let texts = ["lunch at home?", "a prize", "claim the prize"];
        let found = mistakes(5, &test, (1, Some(0.5)), &texts, train);
        let ids: Vec<usize> = found.iter().map(|mistake| mistake.id).collect();
        assert_eq!(ids, [2, 0]);
        assert_eq!((found[0].label.as_str(), found[0].predicted.as_str()), ("spam", "ham"));
        assert_eq!(found[0].nearest_text.as_deref(), Some("win a prize"));
        assert_eq!(mistakes(1, &test, (1, Some(0.5)), &texts, train).len(), 1);
    }
}
