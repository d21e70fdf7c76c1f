//! `report.html`: one file that needs no other and no network, readable on a telephone, in light and dark.

mod compare_page;
mod compare_sections;
mod curves;
mod overlaps;
mod plot;
mod run_page;
mod seed_curves;

use std::path::Path;

use maud::{DOCTYPE, Markup, PreEscaped, html};
use serde_json::Value;

use crate::error::{Error, Result};
use crate::files;
use crate::metrics::Verdict;
use crate::run_dir::read_json;

/// Findings shown before the rest is folded away: the verdict and three plots fit on the first screen.
const FIRST_FINDINGS: usize = 4;

/// Writes `report.html` of the finished run at `path`.
///
/// Errors: results that are missing (66) or of an unknown phase (65).
pub fn write_html(path: &Path) -> Result<()> {
    let results: Value = read_json(path, "results.json")?;
    let page = match results["phase"].as_str() {
        Some("pretrain") => run_page::pretraining(path, &read_json(path, "results.json")?)?,
        Some("finetune") => run_page::fine_tuning(path, &read_json(path, "results.json")?)?,
        Some("compare") => compare_page::comparison(path, &read_json(path, "results.json")?)?,
        other => {
            return Err(Error::data(format!("{}: unknown phase {other:?}", path.display())));
        }
    };
    files::write_atomic(&path.join("report.html"), page.into_string().as_bytes())
}

/// The page around its sections.
fn page(title: &str, about: &str, body: &Markup) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                // Browsers ask for an icon unless there is one.
                link rel="icon" href="data:,";
                title { (title) }
                style { (PreEscaped(include_str!("style.css"))) }
            }
            body {
                main {
                    h1 { (title) }
                    p class="soft" { (about) }
                    (body)
                }
            }
        }
    }
}

/// The judgement of `what` and the findings it rests on.
fn verdict(verdict: &Verdict, lead: &str, what: &str) -> Markup {
    let (kind, word) = if verdict.fit { ("good", "fit for use") } else { ("bad", "not fit for use") };
    let (shown, folded) = verdict.findings.split_at(FIRST_FINDINGS.min(verdict.findings.len()));
    html! {
        section id="verdict" class=(format!("verdict {kind}")) {
            strong { (lead) " " span class=(format!("badge {kind}")) { (what) (if what.is_empty() { "" } else { ": " }) (word) } }
            ul { @for finding in shown { li { (finding) } } }
            @if !folded.is_empty() {
                details {
                    summary { (folded.len()) " more" }
                    ul { @for finding in folded { li { (finding) } } }
                }
            }
        }
    }
}

/// A section with a heading; left out when it has nothing to show.
fn section(id: &str, title: &str, body: &Markup) -> Markup {
    html! {
        @if !body.0.is_empty() {
            section id=(id) {
                h2 { (title) }
                (body)
            }
        }
    }
}

/// A table that scrolls by itself where the screen is narrow. Rows marked true begin a group.
fn table(name: &str, head: &[&str], rows: &[(bool, Vec<Markup>)]) -> Markup {
    html! {
        @if !rows.is_empty() {
            div class="scroll" role="region" aria-label=(name) tabindex="0" {
                table {
                    thead { tr { @for cell in head { th scope="col" { (cell) } } } }
                    tbody {
                        @for (first, cells) in rows {
                            tr class=[first.then_some("first")] { @for cell in cells { td { (cell) } } }
                        }
                    }
                }
            }
        }
    }
}

/// Plain text as a cell.
fn text(text: impl std::fmt::Display) -> Markup {
    html! { (text.to_string()) }
}
