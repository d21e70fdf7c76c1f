//! The reports of one pre-training or fine-tuning.

use super::confusion;
use super::curves::{LabelCurve, logged, losses, precision_recall, reliability, roc, thresholds};
use super::document::{Block, Document, Head};
use super::tables;
use crate::analysis::audit_words;
use crate::metrics::Scores;
use crate::results::{
    AuditResults, FinetuneResults, Finetuned, InspectResults, Log, Pretrained, RunFacts, TrainingFacts,
};

/// Share of texts cut from which the report says so.
const MUCH_CUT: f64 = 0.01;
/// Colours of plots; more curves than these cannot be told apart.
const COLOURS: usize = 8;

/// Figures, curves and what the model writes.
pub fn pretrained(run: &Pretrained) -> Document {
    let (results, log) = (&run.results, &run.log);
    let mut document = Document {
        title: "Pre-training".into(),
        about: about(&run.dir, &run.facts),
        head: Head {
            lead: format!("{:.3} bits per byte on held-out text", results.validation.val_bits_per_byte),
            findings: vec![
                course(log),
                "Loss says that the language is learnt. Whether that helps a task, only the task's scores can say."
                    .into(),
            ],
            ..Head::default()
        },
        plots: vec![
            losses(log, results.best_step, "nats per token").draw(),
            logged(log, "learning_rate", "Learning rate", 2).draw(),
            logged(log, "grad_norm", "Gradient norm before clipping", 4).draw(),
        ],
        sections: Vec::new(),
    };
    let figures = std::iter::once(Block::Table(tables::pretraining(results))).chain(damaged(log));
    document.section("figures", "Figures", figures.collect());
    let sample = |sample: &crate::results::Sample| {
        let (lead, text) = (sample.prompt.clone(), sample.continuation.clone());
        Block::Verbatim { summary: None, lead, text }
    };
    document.section("samples", "What it writes", run.samples.iter().map(sample).collect());
    document.section("config", "Settings", vec![settings(&run.facts)]);
    document
}

/// What the curves are without.
fn damaged(log: &Log) -> Vec<Block> {
    let words = |lines| format!("{lines} damaged lines of metrics.jsonl are left out of the curves.");
    Some(log.damaged).filter(|lines| *lines > 0).map(words).map(Block::Note).into_iter().collect()
}

/// How the validation loss went.
fn course(log: &Log) -> String {
    let losses: Vec<f64> = log.curve("val_loss").iter().map(|point| point.1).collect();
    let lowest = losses.iter().copied().fold(f64::INFINITY, f64::min);
    match losses[..] {
        [first, .., last] => {
            let end = if last > lowest * 1.02 { "then rose to" } else { "and ended at" };
            format!(
                "Validation loss went from {first:.3} down to {lowest:.3} {end} {last:.3} nats per token."
            )
        }
        _ => "Validation loss was measured once, at the end.".into(),
    }
}

/// Verdict, scores, thresholds, calibration, mistakes and data.
pub fn finetuned(run: &Finetuned) -> Document {
    let (results, test) = (&run.results, &run.results.scores.test);
    let means = match test.threshold {
        Some(_) => format!("of {}", results.positive),
        None => "as means of the labels".into(),
    };
    let lead = format!(
        "F1 {:.3}, precision {:.3}, recall {:.3} {means} on {} test rows.",
        test.f1,
        test.precision,
        test.recall,
        run.predictions.labels.len()
    );
    let counts: Vec<Vec<f64>> =
        test.confusion.iter().map(|row| row.iter().map(|count| *count as f64).collect()).collect();
    let mut document = Document {
        title: format!("Fine-tuning from {}", results.init_from),
        about: about(&run.dir, &run.facts),
        head: Head::judged(lead, "", &results.verdict),
        plots: vec![
            confusion::confusion("Confusion matrix on test", &confusion::names(test), &counts),
            precision_recall(&curves(run), test.threshold.map(|_| test)).draw(),
            losses(&run.log, results.training.best_step, "nats per row").draw(),
        ],
        sections: Vec::new(),
    };
    document.section("scores", "Scores", scores(results));
    document.section("course", "How training went", [training(results), damaged(&run.log)].concat());
    let points = tables::operating(&results.scores.operating_points);
    document.section("points", "Thresholds", vec![Block::Table(points)]);
    document.section("more", "More plots", vec![Block::Plots(more_plots(run))]);
    let mistakes: Vec<_> = run.mistakes.iter().map(|mistake| (mistake.clone(), None)).collect();
    document.section("mistakes", "Most confident mistakes", vec![Block::Table(tables::mistakes(&mistakes))]);
    document.section("audit", "Overlaps", results.leakage.audit.as_ref().map(overlaps).unwrap_or_default());
    document.section(
        "data",
        "Data",
        vec![Block::Table(tables::parts(&results.parts)), cut(&results.training)],
    );
    document.section("config", "Settings", vec![settings(&run.facts)]);
    document
}

/// The curves of the positive label, or with more than two labels those of the most frequent ones, each against the
/// rest.
fn curves(run: &Finetuned) -> Vec<LabelCurve<'_>> {
    let answers = &run.predictions;
    let curve = |name: String, colour: usize, label: &str| LabelCurve {
        name,
        colour,
        answers,
        label: answers.label(label),
    };
    let (test, positive) = (&run.results.scores.test, &run.results.positive);
    if test.threshold.is_some() {
        return vec![curve(format!("test, {positive}"), 0, positive)];
    }
    let mut labels: Vec<_> = test.per_class.iter().filter(|label| label.support > 0).collect();
    labels.sort_by_key(|label| std::cmp::Reverse(label.support));
    let labels = labels.iter().take(COLOURS).enumerate();
    labels.map(|(colour, label)| curve(label.label.clone(), colour, &label.label)).collect()
}

fn more_plots(run: &Finetuned) -> Vec<maud::Markup> {
    let (scores, log) = (&run.results.scores, &run.log);
    let positive = run.predictions.label(&run.results.positive);
    let mut plots = vec![roc(&curves(run))];
    if let (Some(validation), Some(threshold)) = (&run.validation_predictions, scores.test.threshold) {
        plots.push(thresholds(validation, positive, threshold));
    }
    plots.extend(scores.calibration.as_ref().map(|found| reliability(found, &run.results.positive)));
    plots.push(logged(log, "learning_rate", "Learning rate", 2));
    plots.push(logged(log, "val_f1", "F1 on validation", 3));
    plots.push(logged(log, "grad_norm", "Gradient norm before clipping", 4));
    plots.iter().map(super::plot::Plot::draw).collect()
}

fn scores(results: &FinetuneResults) -> Vec<Block> {
    let mut parts = vec![("validation", &results.scores.validation), ("test", &results.scores.test)];
    parts.extend(results.leakage.clean.as_ref().map(|clean| ("clean test rows", clean)));
    let mut blocks = vec![Block::Table(tables::scores(&parts))];
    if results.leakage.clean.is_some() {
        blocks.push(Block::Note("Clean are the test rows without duplicates elsewhere.".into()));
    }
    blocks.push(Block::Table(tables::labels(&results.scores.test)));
    blocks.push(Block::Table(tables::confusion(&results.scores.test)));
    blocks
}

fn training(results: &FinetuneResults) -> Vec<Block> {
    let of = &results.training;
    let mut blocks: Vec<Block> = results.learning.iter().map(|curve| Block::Text(curve.words())).collect();
    blocks.push(Block::Text(format!(
        "{} of {} parameters were trained on {} rows and {} tokens, in {} steps and {:.1} s; texts of up to {} tokens, \
         peak learning rate {:.1e}, of the head {:.1e}.",
        of.trainable_parameters,
        of.parameters,
        of.train_rows,
        of.tokens,
        of.steps,
        of.wall_secs,
        of.seq_len,
        of.learning_rate,
        of.head_learning_rate
    )));
    blocks.extend(results.scores.calibration.as_ref().map(|found| {
        Block::Text(format!(
            "Calibration error {:.3} (loss {:.3}); with temperature {:.2}, fitted on validation, {:.3} (loss {:.3}).",
            found.ece, found.loss, found.temperature, found.ece_tempered, found.loss_tempered
        ))
    }));
    blocks
}

fn cut(training: &TrainingFacts) -> Block {
    let advice = match training.truncated_share > MUCH_CUT {
        true => {
            " Much is cut: more classifier.windows or a larger train.seq_len would let the model read more."
        }
        false => "",
    };
    let cut = 100.0 * training.truncated_share;
    Block::Note(format!("{cut:.1} % of all texts are cut to the longest length allowed.{advice}"))
}

/// What an audit found, with examples of test and validation rows that were seen before.
pub fn overlaps(audit: &AuditResults) -> Vec<Block> {
    let words = audit_words(audit).into_iter().map(Block::Text);
    let tables = [tables::overlaps(audit), tables::overlap_examples(audit)].map(Block::Table);
    words.chain(tables).filter(|block| !block.is_empty()).collect()
}

/// Scores of one part under a judgement, as `train evaluate` prints them.
pub fn evaluated(scores: &Scores, verdict: &crate::metrics::Verdict) -> Document {
    let mut document =
        Document { title: "Evaluation".into(), head: Head::judged("", "", verdict), ..Document::default() };
    let tables = [tables::scores(&[("test", scores)]), tables::labels(scores), tables::confusion(scores)];
    document.section("scores", "Scores", tables.map(Block::Table).into());
    document
}

/// Classes, lengths and repeats, as `train data inspect` prints them.
pub fn inspected(found: &InspectResults) -> Vec<Block> {
    let repeats = &found.repeats;
    let mut blocks = vec![Block::Table(tables::classes(found))];
    let mut says = |words: String| blocks.push(Block::Text(words));
    says(format!(
        "{} rows; repeats of earlier rows: {} exact, {} but for case and space, {} but for digits, {} near",
        found.rows, repeats.exact, repeats.normalised, repeats.masked, repeats.near
    ));
    for (count, what) in [
        (found.with_html_entities, "hold HTML entities such as &lt;, which may give a label away"),
        (found.with_replacement_characters, "hold U+FFFD: an earlier conversion lost characters"),
        (found.with_control_characters, "hold control characters"),
    ] {
        if count > 0 {
            says(format!("{count} rows {what}"));
        }
    }
    if let Some(tokens) = &found.tokens {
        let (cut, seq_len, lengths) = (tokens.truncated, tokens.seq_len, tables::lengths(&tokens.lengths));
        says(format!("tokens: median / 95 % / longest {lengths}; {cut} rows are cut at {seq_len}"));
    }
    blocks
}

/// The line below the title: where and how.
pub fn about(dir: &std::path::Path, facts: &RunFacts) -> String {
    let Some(run) = &facts.manifest else { return dir.display().to_string() };
    let commit: String = run.git_commit.chars().take(10).collect();
    let (device, threads, version) = (&run.device, run.threads, &run.version);
    format!(
        "{}, seed {}, on {device}, {threads} threads, train {version} ({commit})",
        dir.display(),
        run.seed
    )
}

/// The config, folded away.
pub fn settings(facts: &RunFacts) -> Block {
    Block::Verbatim { summary: Some("config.toml".into()), lead: String::new(), text: facts.config.clone() }
}
