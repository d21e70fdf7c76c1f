//! Do two classifiers differ? Statistics on predictions that any program made: `cargo run --example compare -- FILE`
//! reads lines of `model,seed,label,probability`, the same test rows in the same order for two models and each seed,
//! with the probability of label 1. Without a file it compares predictions that it makes up.

use std::collections::BTreeMap;

use train::metrics::paired::{McNemar, SeedScores};
use train::metrics::scores::Rows;
use train::{Error, Result};
use train::{Style, Table};

/// True labels and the probability of each label, by row.
type Answers = (Vec<u32>, Vec<Vec<f64>>);

fn main() -> Result<()> {
    let models = parse(&match std::env::args().nth(1) {
        Some(path) => {
            std::fs::read_to_string(&path).map_err(|cause| Error::reading(path.as_ref(), &cause))?
        }
        None => made_up(),
    })?;
    let [(first, a), (second, b)] = &models.iter().collect::<Vec<_>>()[..] else {
        return Err(Error::data(format!("{} models; need two", models.len())));
    };
    if a.len() != b.len() || a.iter().chain(b.iter()).any(|run| run.0 != a[0].0) {
        return Err(Error::data("both models need the same seeds, and all runs the same rows"));
    }
    let (a, b) = (rows(a), rows(b));
    // One seed of the resampling for both: that is what pairs them, row by row and seed by seed.
    let (scores_a, scores_b) = (SeedScores::resample(&a, 1), SeedScores::resample(&b, 1));

    let columns = ["score", "difference", "95 %", "p", "better seeds"];
    let mut table = Table::new("Paired differences", 1, &columns);
    for score in ["f1", "accuracy", "pr_auc"] {
        let Some(found) = scores_a.difference(&scores_b, score, 0.02) else { continue };
        let ([low, high], wins, p) = (found.ci95, found.sign_test.wins, found.p_value);
        let (difference, interval) =
            (format!("{:+.3}", found.difference), format!("{low:+.3} to {high:+.3}"));
        table.row([score.into(), difference, interval, format!("{p:.3}"), format!("{wins} of {}", a.len())]);
        if score == "f1" {
            let better = if found.difference > 0.0 { first } else { second };
            let shown = if p < 0.05 { "is shown to be" } else { "is not shown to be" };
            println!("By F1 {better} {shown} better.");
        }
    }
    print!("{first} minus {second}:\n{}", table.text(Style::Terminal));
    for (run, (a, b)) in a.iter().zip(&b).enumerate() {
        let found = McNemar::of(a, b);
        let (only_a, only_b, p) = (found.only_first, found.only_second, found.p_value);
        println!("run {run}: {only_a} rows right in {first} alone, {only_b} in {second} alone, p = {p:.3}");
    }
    Ok(())
}

fn rows(runs: &[Answers]) -> Vec<Rows<'_>> {
    runs.iter().map(|(labels, probabilities)| Rows::new(labels, probabilities, 2, 1, Some(0.5))).collect()
}

fn parse(text: &str) -> Result<BTreeMap<String, Vec<Answers>>> {
    let mut runs: BTreeMap<(String, u64), Answers> = BTreeMap::new();
    let mut lines = csv::ReaderBuilder::new().has_headers(false).from_reader(text.as_bytes());
    for line in lines.deserialize::<(String, u64, u32, f64)>() {
        let (model, seed, label, p) = line.map_err(Error::data)?;
        let run = runs.entry((model, seed)).or_default();
        run.0.push(label);
        run.1.push(vec![1.0 - p, p]);
    }
    let mut models: BTreeMap<String, Vec<Answers>> = BTreeMap::new();
    runs.into_iter().for_each(|((model, _), run)| models.entry(model).or_default().push(run));
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
