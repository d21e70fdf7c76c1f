//! The report of a comparison: the answer, three plots, then everything it rests on.

use super::compare_plots::{self as plots, curves};
use super::compare_tables as tables;
use super::curves::{logged, losses};
use super::document::{Block, Document, Head};
use super::runs::{overlaps, settings};
use super::tables::parts;
use crate::analysis::counted;
use crate::results::{Arm, Comparison, Pretrained};

/// Scores, differences, label efficiency and costs, the verdict first.
pub fn compared(run: &Comparison) -> Document {
    let (results, cells) = (&run.results, &run.cells);
    let first = [plots::efficiency(results), plots::differences(results), plots::strip(results)];
    let mut document = Document {
        title: "Pre-trained against from scratch".into(),
        about: about(run),
        head: Head::judged("Is pre-training worth it?", "the pre-trained classifier", &results.verdict),
        plots: first.iter().map(|plot| plot.draw()).collect(),
        sections: Vec::new(),
    };
    let table = |table| vec![Block::Table(table)];
    document.section("scores", "Scores", table(tables::scores(results, &results.scores)));
    document.section("paired", "Pre-trained minus from scratch", table(tables::differences(results)));
    let worth = "How many labels pre-training is worth, by F1";
    document.section("efficiency", worth, table(tables::label_efficiency(results)));
    let of = if results.positive.is_empty() { String::new() } else { format!(" of {}", results.positive) };
    let title = format!("Curves{of} of every seed; thin lines are single seeds");
    document.section("curves", title, vec![Block::Plots(curves(results, cells))]);
    document.section(
        "training",
        "How training went, thresholds and calibration",
        [tables::training(results), tables::operating(results)].map(Block::Table).into(),
    );
    document.section("labels", "Scores by label", table(tables::by_label(results, cells)));
    document.section("mistakes", "Most confident mistakes", table(tables::mistakes(results, cells)));
    document.section("fairness", "What each arm was given", table(tables::costs(results)));
    document.section("pretraining", "Pre-training", pretraining(run));
    if let Some(clean) = &results.clean {
        let title = format!("On the {} test rows without duplicates elsewhere", clean.test_rows);
        document.section("clean", title, table(tables::scores(results, clean)));
    }
    document.section("audit", "Overlaps", results.audit.as_ref().map(overlaps).unwrap_or_default());
    document.section("data", "Data", data(run));
    document.section("runs", "Every run", table(tables::runs(results, cells)));
    document.section("methods", "Methods", vec![Block::List(results.methods.clone())]);
    document.section("config", "Settings", vec![settings(&run.facts)]);
    document
}

/// The line below the title: what, where and when.
fn about(run: &Comparison) -> String {
    let results = &run.results;
    let what = format!(
        "{}{}, {} test rows, {} leads, {:.0} s",
        counted(results.seeds.len(), "seed"),
        if results.folds > 0 { format!(" of {} folds", results.folds) } else { String::new() },
        results.scores.test_rows,
        results.leading_score(),
        results.wall_secs
    );
    let Some(of) = &run.facts.manifest else { return what };
    let commit: String = of.git_commit.chars().take(10).collect();
    let (dir, device, threads, version) = (run.dir.display(), &of.device, of.threads, &of.version);
    format!("{what}; {dir}, device {device}, {threads} threads, train {version} ({commit})")
}

/// What the pre-training reached, and whether that helped.
fn pretraining(run: &Comparison) -> Vec<Block> {
    let mut drawn = Vec::new();
    let mut blocks = Vec::new();
    if let Some(Pretrained { results, log, .. }) = &run.pretrained {
        let bits = results.validation.val_bits_per_byte;
        blocks.push(Block::Text(format!(
            "{bits:.3} bits per byte on held-out text after {} tokens.",
            results.tokens
        )));
        drawn.push(losses(log, results.best_step, "nats per token").draw());
        drawn.push(logged(log, "learning_rate", "Learning rate", 2).draw());
    }
    if run.results.transfer.len() > 1 {
        drawn.push(plots::transfer(&run.results).draw());
    }
    blocks.push(Block::Plots(drawn));
    blocks.push(Block::Table(tables::transfer(&run.results)));
    blocks
}

/// Rows, labels and lengths of each part with the most labels.
fn data(run: &Comparison) -> Vec<Block> {
    let budget = run.results.budgets.last().map(String::as_str).unwrap_or_default();
    let cells = run.cells.finetuned(Arm::Pretrained, budget);
    let Some(first) = cells.first() else { return Vec::new() };
    let cut = 100.0 * first.results.training.truncated_share;
    vec![Block::Table(parts(&first.results.parts)), Block::Note(format!("{cut:.1} % of all texts are cut."))]
}
