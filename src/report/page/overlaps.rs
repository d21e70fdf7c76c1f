//! What an audit found, as a section of a page.

use maud::{Markup, html};

use super::{table, text};
use crate::results::{AuditResults, Overlap};

/// Counts by pair of parts, and examples of test and validation rows that were seen before.
pub fn overlaps(audit: &AuditResults) -> Markup {
    let row = |o: &Overlap| {
        let with = if o.with == o.part { "itself, earlier" } else { &o.with };
        let counts = [o.exact, o.normalised, o.masked, o.near, o.total()].map(text);
        (false, [vec![text(&o.part), text(with)], counts.to_vec()].concat())
    };
    let rows: Vec<(bool, Vec<Markup>)> = audit.overlaps.iter().map(row).collect();
    let head = ["rows of", "found in", "exact", "case, space", "digits", "near", "all"];
    let leaks = |o: &&Overlap| o.part != "train" && o.with != o.part;
    let examples: Vec<_> =
        audit.overlaps.iter().filter(leaks).flat_map(|o| o.examples.iter().map(move |e| (o, e))).collect();
    html! {
        @for words in crate::analysis::audit_words(audit) { p { (words) } }
        (table("Overlaps", &head, &rows))
        p class="soft" { (format!("Near: Jaccard similarity of word triples, digits masked, of {} or more.", audit.threshold)) }
        @if !examples.is_empty() {
            div class="scroll" role="region" aria-label="Examples of overlaps" tabindex="0" {
                table {
                    thead { tr {
                        th scope="col" { "kind" } th scope="col" { "Jaccard" } th scope="col" class="text" { "row" }
                        th scope="col" class="text" { "found" }
                    } }
                    tbody {
                        @for (overlap, example) in examples {
                            tr {
                                td { (example.kind) } td { (format!("{:.2}", example.jaccard)) }
                                td class="text" { (example.text) " " span class="soft" { "(" (overlap.part) ")" } }
                                td class="text" { (example.other) " " span class="soft" { "(" (overlap.with) ")" } }
                            }
                        }
                    }
                }
            }
        }
    }
}
