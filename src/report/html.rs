//! Documents as `report.html`: one file that needs no other and no network, readable on a telephone, in light and
//! dark.

use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::document::{Block, Document, Head, Section};
use super::table::{Cell, Table};

/// Findings shown before the rest is folded away: the verdict and three plots fit on the first screen.
const FIRST_FINDINGS: usize = 4;

impl Document {
    /// The page.
    pub fn html(&self) -> Markup {
        html! {
            (DOCTYPE)
            html lang="en" {
                head {
                    meta charset="utf-8";
                    meta name="viewport" content="width=device-width, initial-scale=1";
                    // Browsers ask for an icon unless there is one.
                    link rel="icon" href="data:,";
                    title { (self.title) }
                    style { (PreEscaped(include_str!("style.css"))) }
                }
                body {
                    main {
                        h1 { (self.title) }
                        p class="soft" { (self.about) }
                        (self.head.html())
                        @if !self.plots.is_empty() { div class="plots" id="first" { @for plot in &self.plots { (plot) } } }
                        @for section in &self.sections { (section.html()) }
                    }
                }
            }
        }
    }
}

impl Head {
    fn html(&self) -> Markup {
        let (shown, folded) = self.findings.split_at(FIRST_FINDINGS.min(self.findings.len()));
        let kind = self.fit.map(|fit| if fit { "good" } else { "bad" });
        let word = if self.fit == Some(true) { "fit for use" } else { "not fit for use" };
        let subject = if self.subject.is_empty() { String::new() } else { format!("{}: ", self.subject) };
        html! {
            section id="verdict" class=(format!("verdict {}", kind.unwrap_or_default())) {
                strong {
                    (self.lead)
                    @if let Some(kind) = kind { " " span class=(format!("badge {kind}")) { (subject) (word) } }
                }
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
}

impl Section {
    fn html(&self) -> Markup {
        html! {
            section id=(self.id) {
                h2 { (self.title) }
                @for block in &self.blocks { (block.html()) }
            }
        }
    }
}

impl Block {
    fn html(&self) -> Markup {
        html! {
            @match self {
                Self::Text(text) => p { (text) },
                Self::Note(text) => p class="soft" { (text) },
                Self::List(points) => ul { @for point in points { li { (point) } } },
                Self::Table(table) => (table.html()),
                Self::Plots(plots) => div class="plots" { @for plot in plots { (plot) } },
                Self::Verbatim { summary: Some(summary), text, .. } => details { summary { (summary) } pre { (text) } },
                Self::Verbatim { summary: None, lead, text } => pre { strong { (lead) } (text) },
            }
        }
    }
}

impl Table {
    /// A table that scrolls by itself where the screen is narrow, and its note.
    fn html(&self) -> Markup {
        let class = |at: usize, text: &str| {
            let long = self.wide && text.chars().count() > 24;
            if long { Some("text long") } else { (at < self.texts).then_some("text") }
        };
        html! {
            div class="scroll" role="region" aria-label=(self.name) tabindex="0" {
                table {
                    thead { tr { @for (at, column) in self.columns.iter().enumerate() { th scope="col" class=[class(at, "")] { (column) } } } }
                    tbody {
                        @for group in &self.groups {
                            @for (number, row) in group.iter().enumerate() {
                                tr class=[(number == 0 && self.groups.len() > 1).then_some("first")] {
                                    @for (at, cell) in row.iter().enumerate() { td class=[class(at, &cell.text)] { (cell.html()) } }
                                }
                            }
                        }
                    }
                }
            }
            @if !self.note.is_empty() { p class="soft" { (self.note) } }
        }
    }
}

impl Cell {
    fn html(&self) -> Markup {
        html! {
            @if self.strong { span class="best" { (self.text) } } @else { (self.text) }
            @for (name, path) in &self.links { a href=(path) { (name) } " " }
        }
    }
}
