//! Do two classifiers differ? Statistics on predictions that any program made: `cargo run --example compare -- FILE`
//! reads lines of `model,seed,label,probability`, the same test rows in the same order for two models and each seed,
//! with the probability of label 1. Without a file it compares predictions that it makes up.

use std::collections::BTreeMap;

use train::error::{Error, Result};
use train::metrics::paired::{McNemar, SeedScores};
use train::metrics::scores::Rows;
use train::report::{Style, Table};

/// True labels and the probability of each label, by row.
type Answers = (Vec<u32>, Vec<Vec<f64>>);

fn main() -> Result<()> {
    let text = match std::env::args().nth(1) {
        Some(path) => {
            std::fs::read_to_string(&path).map_err(|cause| Error::reading(path.as_ref(), &cause))?
        }
        None => made_up(),
    };
    let models = parse(&text)?;
    let [(first, a), (second, b)] = &models.iter().collect::<Vec<_>>()[..] else {
        return Err(Error::data(format!("{} models; need two", models.len())));
    };
    let (a, b) = (rows(a), rows(b));
    // One seed of the resampling for both: that is what pairs them, row by row and seed by seed.
    let (scores_a, scores_b) = (SeedScores::resample(&a, 1), SeedScores::resample(&b, 1));

    let mut table =
        Table::new("Paired differences", 1, &["score", "difference", "95 %", "p", "better seeds"]);
    for score in ["f1", "accuracy", "pr_auc"] {
        let Some(found) = scores_a.difference(&scores_b, score) else { continue };
        table.row([
            score.to_string(),
            format!("{:+.3}", found.difference),
            format!("{:+.3} to {:+.3}", found.ci95[0], found.ci95[1]),
            format!("{:.3}", found.p_value),
            format!("{} of {}", found.sign_test.wins, found.per_seed.len()),
        ]);
    }
    print!("{first} minus {second}\n{}", table.text(Style::Terminal));
    for (seed, (a, b)) in a.iter().zip(&b).enumerate() {
        let McNemar { only_first, only_second, p_value } = McNemar::of(a, b);
        println!(
            "run {seed}: {only_first} rows right in {first} alone, {only_second} in {second}, p = {p_value:.3}"
        );
    }
    let Some(f1) = scores_a.difference(&scores_b, "f1") else { return Ok(()) };
    let verdict = match (f1.p_value < 0.05, f1.difference > 0.0) {
        (true, true) => format!("{first} is better"),
        (true, false) => format!("{second} is better"),
        (false, _) => format!("no difference is shown; {:?} would be needed", f1.needed(scores_a.rows())),
    };
    println!("By F1 {verdict}.");
    Ok(())
}

fn rows(runs: &BTreeMap<String, Answers>) -> Vec<Rows<'_>> {
    runs.values().map(|(labels, probabilities)| Rows::new(labels, probabilities, 2, 1, Some(0.5))).collect()
}

fn parse(text: &str) -> Result<BTreeMap<String, BTreeMap<String, Answers>>> {
    let mut models: BTreeMap<String, BTreeMap<String, Answers>> = BTreeMap::new();
    for line in text.lines() {
        let wrong = || Error::data(format!("not a prediction: {line}"));
        let [model, seed, label, p] = line.split(',').collect::<Vec<_>>()[..] else { return Err(wrong()) };
        let (label, p) = (label.parse().map_err(|_| wrong())?, p.parse::<f64>().map_err(|_| wrong())?);
        let run = models.entry(model.into()).or_default().entry(seed.into()).or_default();
        run.0.push(label);
        run.1.push(vec![1.0 - p, p]);
    }
    Ok(models)
}

/// Three seeds and 400 rows; the first model is wrong on every 12th row, the second on every 9th.
fn made_up() -> String {
    let line = |(model, wrong, seed, row): (&str, usize, usize, usize)| {
        let (label, flips) = (usize::from(row % 4 == 0), (row + 5 * seed) % wrong == 0);
        let p = 0.5 + if (label == 1) != flips { 0.4 } else { -0.4 };
        format!("{model},{seed},{label},{p}\n")
    };
    let of_model =
        |(model, wrong)| (0..3).flat_map(move |seed| (0..400).map(move |row| (model, wrong, seed, row)));
    [("new", 12), ("old", 9)].into_iter().flat_map(of_model).map(line).collect()
}
