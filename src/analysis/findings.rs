//! What a comparison shows, in plain words: the answer first, then budget by budget.

use super::leakage;
use crate::metrics::efficiency::{Bound, LabelRatio};
use crate::metrics::paired::{Difference, Needed};
use crate::metrics::{Scores, Verdict, stats};
use crate::results::{Arm, ArmScores, CompareResults};

/// A difference counts as shown when its corrected p-value is below this.
pub const SIGNIFICANT: f64 = 0.05;
/// More rows than this many times those there are: nobody will collect them.
const TOO_MANY: f64 = 100.0;

/// What a comparison with LoRA does not show.
pub const LORA: &str = "Both arms train low-rank updates and the head alone (LoRA), so the arm from scratch keeps its \
                        random weights: this shows what the pre-trained weights are worth to LoRA, and not what \
                        training everything from scratch would reach.";

/// What a comparison does not show whose arm from scratch trains its head alone first.
pub const HEAD_FIRST: &str = "All runs train the head alone first (head_only_fraction), in the arm from scratch over \
                              random weights, which can cost it score: let search.head_only_fractions try 0 as well.";

/// The judgement: the answer in a few sentences, then what it rests on. `judged` are the test scores of the
/// pre-trained arm with the most labels, seed by seed.
pub fn verdict(results: &CompareResults, judged: &[Scores]) -> Verdict {
    let scores = &results.scores;
    let verdicts: Vec<Verdict> = judged.iter().map(|scores| Verdict::judge(scores, None)).collect();
    let fit = !verdicts.is_empty() && verdicts.iter().all(|verdict| verdict.fit);
    let mut findings = vec![answer(results)];
    findings.extend(worth(scores));
    findings.extend(starts(results));
    findings.extend(
        results
            .arms()
            .into_iter()
            .filter(|arm| arm.is_start())
            .filter_map(|arm| against_baselines(results, arm)),
    );
    findings.extend(fitness(results, &verdicts));
    findings.extend(results.budgets.iter().filter_map(|budget| budget_finding(results, budget)));
    findings.extend(scores.label_efficiency.iter().filter_map(ratio_finding));
    findings.extend(results.budgets.iter().filter_map(|budget| baseline_finding(results, budget)));
    findings.extend(results.budgets.last().and_then(|budget| combined_finding(scores, budget)));
    findings.extend(transfer_finding(results));
    findings.extend(results.clean.as_ref().and_then(|clean| clean_finding(results, clean)));
    findings.extend(results.audit.iter().flat_map(leakage::words));
    Verdict { fit, findings }
}

/// One sentence over all budgets.
fn answer(results: &CompareResults) -> String {
    let same = format!("made a difference of less than {}", results.equivalence_margin);
    let words = ["helped", "did harm", &same, "made no shown difference"];
    let against = |budget: &String| results.scores.difference(budget);
    let parts = by_outcome(results, against, words).join("; it ");
    format!("Pre-training {parts} ({} on test).", results.leading_score())
}

/// What tests say of a difference.
#[derive(Clone, Copy, PartialEq)]
enum Outcome {
    Ahead,
    Behind,
    /// The same within the margin.
    Same,
    Unclear,
}

impl Outcome {
    fn of(found: &Difference) -> Self {
        match (found.p_value_holm < SIGNIFICANT, found.equivalence_p_value_holm < SIGNIFICANT) {
            (true, _) if found.difference > 0.0 => Self::Ahead,
            (true, _) => Self::Behind,
            (_, true) => Self::Same,
            _ => Self::Unclear,
        }
    }
}

/// For each outcome that some budgets have, its words and those budgets. `words` are of ahead, behind, the same and unclear.
fn by_outcome<'a>(
    results: &'a CompareResults,
    against: impl Fn(&String) -> Option<&'a Difference>,
    words: [&str; 4],
) -> Vec<String> {
    let outcomes = [Outcome::Ahead, Outcome::Behind, Outcome::Same, Outcome::Unclear];
    let part = |(outcome, words): (Outcome, &str)| {
        let has = |budget: &&String| against(budget).is_some_and(|found| Outcome::of(found) == outcome);
        let budgets: Vec<&str> = results.budgets.iter().filter(has).map(String::as_str).collect();
        (!budgets.is_empty()).then(|| format!("{words} with {}", listed(&budgets)))
    };
    outcomes.into_iter().zip(words).filter_map(part).collect()
}

/// How many labels pre-training is worth, over all budgets.
fn worth(scores: &ArmScores) -> Option<String> {
    let read = |found: &LabelRatio| {
        let [low, high] = found.ci95;
        let (ratio, labels) = (found.ratio, labels(&found.budget));
        match found.bound {
            Bound::About => {
                Some(format!("about {ratio:.1} times the labels with {labels} [{low:.1}, {high:.1}]"))
            }
            Bound::AtLeast if ratio > 1.0 => {
                Some(format!("at least {ratio:.1} times with {labels} [from {low:.1}]"))
            }
            _ => None,
        }
    };
    let read: Vec<String> = scores.label_efficiency.iter().filter_map(read).collect();
    (!read.is_empty()).then(|| format!("By F1 pre-training is worth {}.", read.join(", ")))
}

/// The own pre-training beside each further start, over all budgets.
fn starts(results: &CompareResults) -> Vec<String> {
    let of_start = |start: &Arm| {
        let against = |budget: &String| results.scores.ahead_of(Arm::Pretrained, *start, budget);
        let name = format!("the classifier {}", start.name());
        standing(results, &name, against).map(|standing| format!("The pre-trained transformer {standing}."))
    };
    let further = |arm: &Arm| arm.is_start() && *arm != Arm::Pretrained;
    results.arms().iter().filter(|arm| further(arm)).filter_map(of_start).collect()
}

/// Whether a transformer helps at all, over all budgets.
fn against_baselines(results: &CompareResults, start: Arm) -> Option<String> {
    let against = |budget: &String| best_baseline(&results.scores, start, budget).map(|(_, found)| found);
    let standing = standing(results, "the best baseline", against)?;
    let which = match start {
        Arm::Pretrained => "The pre-trained transformer".into(),
        other => format!("The transformer {}", other.name()),
    };
    Some(format!("{which} {standing}."))
}

/// With which budgets something is ahead of `other`, behind it, or neither.
fn standing<'a>(
    results: &'a CompareResults,
    other: &str,
    against: impl Fn(&String) -> Option<&'a Difference>,
) -> Option<String> {
    let same = format!("is the same within {} as {other}", results.equivalence_margin);
    let ahead = ["is ahead of", "is behind"].map(|words| format!("{words} {other}"));
    let unclear = format!("is not shown to differ from {other}");
    let parts = by_outcome(results, against, [&ahead[0], &ahead[1], &same, &unclear]);
    (!parts.is_empty()).then(|| parts.join(" and "))
}

/// On how many seeds the pre-trained classifier is good, and the first reason why it is not.
fn fitness(results: &CompareResults, verdicts: &[Verdict]) -> Option<String> {
    let (budget, seeds) = (labels(results.budgets.last()?), verdicts.len());
    let fit = verdicts.iter().filter(|verdict| verdict.fit).count();
    let clean =
        if results.clean.is_some() { ", judged on the test rows without duplicates elsewhere" } else { "" };
    let what = format!(
        "With {budget} the pre-trained classifier is good by the metrics guide on {fit} of {seeds} seeds{clean}"
    );
    let Some(at) = verdicts.iter().position(|verdict| !verdict.fit) else { return Some(format!("{what}.")) };
    let why = verdicts[at].findings.first().map(String::as_str).unwrap_or_default();
    Some(format!("{what}. Seed {}: {why}", results.seeds.get(at)?))
}

fn listed(budgets: &[&str]) -> String {
    match budgets {
        [one] => labels(one),
        [firsts @ .., last] => format!("{} and {}", firsts.join(", "), labels(last)),
        [] => String::new(),
    }
}

/// `all labels` or `100 labels`.
pub fn labels(budget: &str) -> String {
    format!("{budget} labels")
}

/// Such as `2 seeds`.
pub fn counted(count: usize, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

/// `p = 0.04` or `p < 0.001`.
pub fn p_words(p_value: f64) -> String {
    if p_value < 0.001 { "p < 0.001".into() } else { format!("p = {p_value:.3}") }
}

fn budget_finding(results: &CompareResults, budget: &str) -> Option<String> {
    let scores = &results.scores;
    let (a, b) = (scores.f1(Arm::Pretrained, budget)?, scores.f1(Arm::Scratch, budget)?);
    let found = scores.difference(budget)?;
    let [low, high] = found.ci95;
    let figures = format!(
        "mean F1 {:.3} against {:.3} from scratch ({:+.3} [{low:+.3}, {high:+.3}], {} corrected for {}; \
         better on {} of {} seeds)",
        a.mean,
        b.mean,
        found.difference,
        p_words(found.p_value_holm),
        counted(scores.paired.budgets.len(), "budget"),
        found.sign_test.wins,
        found.per_seed.len(),
    );
    let labels = labels(budget);
    Some(match Outcome::of(found) {
        Outcome::Ahead => format!("With {labels} pre-training helped: {figures}."),
        Outcome::Behind => format!("With {labels} pre-training did harm: {figures}."),
        Outcome::Same => {
            let (margin, p) = (results.equivalence_margin, p_words(found.equivalence_p_value_holm));
            format!("With {labels} the arms are the same within {margin} of F1 ({p}): {figures}.")
        }
        Outcome::Unclear => {
            let hint = needed(found, scores.test_rows);
            format!("With {labels} the arms are not shown to differ: {figures}{hint}.")
        }
    })
}

/// What it would take to show an unclear difference.
fn needed(found: &Difference, rows: usize) -> String {
    if found.difference == 0.0 {
        return String::new();
    }
    if found.corrected.is_some() {
        return "; more labelled rows would be needed to show it".into();
    }
    match found.needed(rows) {
        Needed::Seeds(all) => {
            format!("; it varies too much from seed to seed: about {} seeds would show it", rounded_up(all))
        }
        Needed::Both => "; more seeds and more test messages would be needed to show it".into(),
        Needed::Rows(more) if more > TOO_MANY * rows as f64 => {
            format!("; more than {} times as many test messages would be needed to show it", TOO_MANY as u64)
        }
        // Enough rows for an effect of this size, and yet not significant: the correction, or plain bad luck.
        Needed::Rows(more) if more < 1.0 => "; more seeds would settle it".into(),
        Needed::Rows(more) => {
            let more = rounded_up(more);
            format!("; about {more} more test messages would be needed to show a difference of this size")
        }
    }
}

/// Two digits are all that such an estimate is worth.
fn rounded_up(count: f64) -> u64 {
    let unit = 10_f64.powf((count.log10().floor() - 1.0).max(0.0));
    ((count / unit).ceil() * unit) as u64
}

fn ratio_finding(found: &LabelRatio) -> Option<String> {
    let labels = labels(&found.budget);
    let [low, high] = found.ci95;
    let times = format!("{:.1} times", found.ratio);
    match found.bound {
        // The end of the curve is where it is read: nothing beyond it was measured.
        Bound::AtLeast if found.ratio <= 1.0 => None,
        Bound::AtLeast => {
            let doubt = if low <= 1.0 { "but that is not sure: " } else { "" };
            Some(format!(
                "With {labels} pre-training is worth at least {times} the labels, as far as they were measured: from \
                 scratch does not reach its F1 with all of them ({doubt}the interval begins at {low:.1})."
            ))
        }
        Bound::AtMost if found.ratio < 1.0 => Some(format!(
            "With {labels} pre-training is worth fewer than {times} the labels: it holds them back."
        )),
        Bound::AtMost => None,
        Bound::About => Some(format!(
            "With {labels} pre-training is worth about {times} the labels [{low:.1}, {high:.1}]: from scratch \
             needs about {} for the same F1.",
            rounded_up(found.ratio * found.labels)
        )),
    }
}

/// The baseline of highest mean F1, and the difference of `start` from it.
fn best_baseline<'a>(scores: &'a ArmScores, start: Arm, budget: &str) -> Option<(Arm, &'a Difference)> {
    let scored = Arm::BASELINES.iter().filter_map(|arm| Some((*arm, scores.f1(*arm, budget)?.mean)));
    let (arm, _) = scored.max_by(|a, b| a.1.total_cmp(&b.1))?;
    Some((arm, scores.ahead_of(start, arm, budget)?))
}

/// The pre-trained arm beside the best baseline.
fn baseline_finding(results: &CompareResults, budget: &str) -> Option<String> {
    let scores = &results.scores;
    let pretrained = scores.f1(Arm::Pretrained, budget)?;
    let (arm, found) = best_baseline(scores, Arm::Pretrained, budget)?;
    let mean = scores.f1(arm, budget)?.mean;
    let (labels, name, p) = (labels(budget), arm.name(), p_words(found.p_value_holm));
    let figures = format!("F1 {:.3} against {mean:.3}, {p}", pretrained.mean);
    Some(match Outcome::of(found) {
        Outcome::Ahead => {
            format!("With {labels} the transformer is ahead of the best baseline, {name} ({figures}).")
        }
        Outcome::Behind => {
            format!("With {labels} the best baseline, {name}, is ahead of the transformer ({figures}).")
        }
        Outcome::Same => {
            let margin = results.equivalence_margin;
            format!(
                "With {labels} the transformer and the best baseline, {name}, are the same within {margin} ({figures})."
            )
        }
        Outcome::Unclear => format!(
            "With {labels} the transformer and the best baseline, {name}, are not shown to differ ({figures})."
        ),
    })
}

/// The pre-trained arm and the n-grams as one answer.
fn combined_finding(scores: &ArmScores, budget: &str) -> Option<String> {
    let f1 = |arm| Some(scores.f1(arm, budget)?.mean);
    let (both, alone, ngrams) = (f1(Arm::PretrainedNgrams)?, f1(Arm::Pretrained)?, f1(Arm::CharSvm)?);
    Some(format!(
        "With {} the pre-trained classifier and the character n-grams as one answer have F1 {both:.3}; alone they have \
         {alone:.3} and {ngrams:.3}.",
        labels(budget)
    ))
}

/// Loss beside score over pre-training checkpoints.
fn transfer_finding(results: &CompareResults) -> Option<String> {
    let trained: Vec<_> = results.transfer.iter().filter(|point| point.val_loss.is_some()).collect();
    let (first, last) = (trained.first()?, trained.last()?);
    if first.step == last.step {
        return None;
    }
    let fell = 100.0 * (1.0 - last.val_loss? / first.val_loss?);
    let (before, after) = (stats::mean(first.f1.iter().copied()), stats::mean(last.f1.iter().copied()));
    let spread = last.f1.iter().zip(&first.f1).map(|(a, b)| a - b).collect::<Vec<_>>();
    let moved = if spread.iter().all(|d| *d > 0.0) && after - before >= 0.01 {
        "rose on every seed"
    } else if spread.iter().all(|d| *d < 0.0) && before - after >= 0.01 {
        "fell on every seed"
    } else {
        "did not clearly move"
    };
    Some(format!(
        "From step {} to {} of pre-training its validation loss fell {fell:.0} %; F1 with {} {moved} ({before:.3} to \
         {after:.3}).",
        first.step,
        last.step,
        labels(&last.budget)
    ))
}

fn clean_finding(results: &CompareResults, clean: &ArmScores) -> Option<String> {
    let budget = results.budgets.last()?;
    let (all, without) = (results.scores.f1(Arm::Pretrained, budget)?, clean.f1(Arm::Pretrained, budget)?);
    let (d, d_clean) = (results.scores.difference(budget)?, clean.difference(budget)?);
    Some(format!(
        "On the {} test rows without duplicates elsewhere, with {} the pre-trained arm has F1 {:.3} (all rows: {:.3}) \
         and the difference is {:+.3} (all rows: {:+.3}).",
        clean.test_rows,
        labels(budget),
        without.mean,
        all.mean,
        d_clean.difference,
        d.difference
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn estimates_keep_two_digits() {
        assert_eq!([3.2, 37.0, 1234.0, 99_500.0].map(rounded_up), [4, 37, 1300, 100_000]);
    }

    #[test]
    fn ratios_say_whether_they_were_read_off_or_bounded() {
        let ratio = |ratio, bound| LabelRatio {
            budget: "100".into(),
            labels: 100.0,
            score: 0.8,
            ratio,
            bound,
            ci95: [3.0, 5.0],
        };
        let about = ratio_finding(&ratio(4.2, Bound::About)).unwrap();
        assert!(
            about.contains("about 4.2 times the labels [3.0, 5.0]") && about.contains("about 420"),
            "{about}"
        );
        let least = ratio_finding(&ratio(8.0, Bound::AtLeast)).unwrap();
        assert!(least.contains("at least 8.0 times"), "{least}");
        assert_eq!(ratio_finding(&ratio(1.0, Bound::AtLeast)), None);
    }
}
