//! What a comparison shows, in plain words: the answer first, then budget by budget.

use super::cells::Arm;
use super::results::{AuditResults, CompareResults, Summary, Tables};
use crate::metrics::efficiency::{Bound, LabelRatio};
use crate::metrics::paired::{Difference, Needed};
use crate::metrics::{Scores, Verdict};

/// A difference counts as shown when its corrected p-value is below this.
pub const SIGNIFICANT: f64 = 0.05;
/// More rows than this many times those there are: nobody will collect them.
const TOO_MANY: f64 = 100.0;

/// What a comparison with LoRA does not show.
pub const LORA: &str = "Both arms train low-rank updates and the head alone (LoRA), so the arm from scratch keeps its \
                        random weights: this shows what the pre-trained weights are worth to LoRA, and not what \
                        training everything from scratch would reach.";

/// The judgement; `pretrained` are the test scores of that arm with the most labels, seed by seed.
pub fn verdict<'a>(results: &CompareResults, pretrained: impl Iterator<Item = &'a Scores>) -> Verdict {
    let tables = &results.tables;
    let mut findings = vec![answer(results)];
    findings.extend(results.budgets.iter().filter_map(|budget| budget_finding(tables, budget)));
    findings.extend(tables.label_efficiency.iter().filter_map(ratio_finding));
    findings.extend(results.budgets.iter().filter_map(|budget| baseline_finding(tables, budget)));
    findings.extend(transfer_finding(results));
    findings.extend(results.clean.as_ref().and_then(|clean| clean_finding(results, clean)));
    findings.extend(results.audit.as_ref().and_then(audit_finding));
    let mut scores = pretrained.peekable();
    let fit = scores.peek().is_some() && scores.all(|scores| Verdict::judge(scores, None).fit);
    Verdict { fit, findings }
}

fn f1<'a>(tables: &'a Tables, arm: Arm, budget: &str) -> Option<&'a Summary> {
    let table = if arm.is_baseline() { &tables.baselines } else { &tables.arms };
    table.get(arm.key())?.budgets.get(budget)?.get("f1")
}

fn difference<'a>(tables: &'a Tables, budget: &str) -> Option<&'a Difference> {
    tables.paired.budgets.get(budget)?.get("f1")
}

/// One sentence over all budgets.
fn answer(results: &CompareResults) -> String {
    let (mut helped, mut harmed, mut unclear) = (Vec::new(), Vec::new(), Vec::new());
    for budget in &results.budgets {
        let Some(found) = difference(&results.tables, budget) else { continue };
        let shown = found.p_value_holm < SIGNIFICANT;
        match (shown, found.difference > 0.0) {
            (true, true) => helped.push(budget.as_str()),
            (true, false) => harmed.push(budget.as_str()),
            _ => unclear.push(budget.as_str()),
        }
    }
    let mut parts = Vec::new();
    for (what, budgets) in
        [("helped", &helped), ("did harm", &harmed), ("made no shown difference", &unclear)]
    {
        if !budgets.is_empty() {
            parts.push(format!("{what} with {}", listed(budgets)));
        }
    }
    format!("Pre-training {} (F1 of {} on test).", parts.join("; it "), results.positive)
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

/// `p = 0.04` or `p < 0.001`.
pub fn p_words(p_value: f64) -> String {
    if p_value < 0.001 { "p < 0.001".into() } else { format!("p = {p_value:.3}") }
}

fn budget_finding(tables: &Tables, budget: &str) -> Option<String> {
    let (a, b) = (f1(tables, Arm::Pretrained, budget)?, f1(tables, Arm::Scratch, budget)?);
    let found = difference(tables, budget)?;
    let [low, high] = found.ci95;
    let figures = format!(
        "mean F1 {:.3} against {:.3} from scratch ({:+.3} [{low:+.3}, {high:+.3}], {} corrected for {} budgets; \
         better on {} of {} seeds)",
        a.mean,
        b.mean,
        found.difference,
        p_words(found.p_value_holm),
        tables.paired.budgets.len(),
        found.sign_test.wins,
        found.per_seed.len(),
    );
    let labels = labels(budget);
    if found.p_value_holm < SIGNIFICANT {
        let what = if found.difference > 0.0 { "helped" } else { "did harm" };
        return Some(format!("With {labels} pre-training {what}: {figures}."));
    }
    let hint = needed(found, tables.test_rows);
    Some(format!("With {labels} the arms are not shown to differ: {figures}{hint}."))
}

/// What it would take to show an unclear difference.
fn needed(found: &Difference, rows: usize) -> String {
    if found.difference == 0.0 {
        return String::new();
    }
    match found.needed(rows) {
        Needed::Seeds => "; the seeds vary too much, run more of them".into(),
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

/// The best baseline, where it is not behind the pre-trained arm.
fn baseline_finding(tables: &Tables, budget: &str) -> Option<String> {
    let pretrained = f1(tables, Arm::Pretrained, budget)?;
    let scored = Arm::BASELINES.iter().filter_map(|arm| Some((*arm, f1(tables, *arm, budget)?.mean)));
    let (arm, mean) = scored.max_by(|a, b| a.1.total_cmp(&b.1))?;
    let found = tables.paired_with.get(arm.key())?.budgets.get(budget)?.get("f1")?;
    let shown = found.p_value_holm < SIGNIFICANT;
    let (labels, name, p) = (labels(budget), arm.name(), p_words(found.p_value_holm));
    let figures = format!("F1 {:.3} against {mean:.3}, {p}", pretrained.mean);
    Some(match (shown, found.difference > 0.0) {
        (true, true) => {
            format!("With {labels} the transformer is ahead of the best baseline, {name} ({figures}).")
        }
        (true, false) => {
            format!("With {labels} the best baseline, {name}, is ahead of the transformer ({figures}).")
        }
        _ => format!(
            "With {labels} the transformer and the best baseline, {name}, are not shown to differ ({figures})."
        ),
    })
}

/// Loss beside score over pre-training checkpoints.
fn transfer_finding(results: &CompareResults) -> Option<String> {
    let trained: Vec<_> = results.transfer.iter().filter(|point| point.val_loss.is_some()).collect();
    let (first, last) = (trained.first()?, trained.last()?);
    if first.step == last.step {
        return None;
    }
    let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
    let fell = 100.0 * (1.0 - last.val_loss? / first.val_loss?);
    let (before, after) = (mean(&first.f1), mean(&last.f1));
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

fn clean_finding(results: &CompareResults, clean: &Tables) -> Option<String> {
    let budget = results.budgets.last()?;
    let (all, without) = (f1(&results.tables, Arm::Pretrained, budget)?, f1(clean, Arm::Pretrained, budget)?);
    let (d, d_clean) = (difference(&results.tables, budget)?, difference(clean, budget)?);
    Some(format!(
        "On the {} test rows that stand nowhere else, with {} the pre-trained arm has F1 {:.3} (all rows: {:.3}) \
         and the difference is {:+.3} (all rows: {:+.3}).",
        clean.test_rows,
        labels(budget),
        without.mean,
        all.mean,
        d_clean.difference,
        d.difference
    ))
}

fn audit_finding(audit: &AuditResults) -> Option<String> {
    let rows = audit.rows.get("test")?;
    let found = audit.test_rows.len();
    if found == 0 {
        return Some(format!(
            "No test row of {rows} stands, exactly or nearly, in training, validation or corpus."
        ));
    }
    let share = 100.0 * found as f64 / *rows as f64;
    let of_test = audit.overlaps.iter().filter(|overlap| overlap.part == "test" && overlap.with != "test");
    let places: Vec<String> =
        of_test.filter(|o| o.total() > 0).map(|o| format!("{} in {}", o.total(), o.with)).collect();
    Some(format!(
        "Leakage: {found} of {rows} test rows ({share:.1} %) stand, exactly or nearly, elsewhere ({}).",
        places.join(", ")
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
