//! A report as a value: sections of text, tables and plots, which each style draws as far as it can.

use maud::Markup;

use super::table::Table;
use crate::metrics::Verdict;

/// What is shown of a run.
#[derive(Clone, Debug, Default)]
pub struct Document {
    /// On top of it.
    pub title: String,
    /// What, where and when, in one line; for the page.
    pub about: String,
    /// The answer, which stands first.
    pub head: Head,
    /// Below the answer, before the sections; for the page.
    pub plots: Vec<Markup>,
    /// In the order they are read.
    pub sections: Vec<Section>,
}

/// The answer.
#[derive(Clone, Debug, Default)]
pub struct Head {
    /// In one sentence.
    pub lead: String,
    /// Whom `fit` judges; empty where the lead says it.
    pub subject: String,
    /// Whether it is fit for use; none where nothing is judged.
    pub fit: Option<bool>,
    /// What the answer rests on.
    pub findings: Vec<String>,
}

/// A part under a heading; without blocks it is left out.
#[derive(Clone, Debug)]
pub struct Section {
    /// Unique in the document, without spaces.
    pub id: &'static str,
    /// The heading.
    pub title: String,
    /// In order.
    pub blocks: Vec<Block>,
}

/// What a section consists of.
#[derive(Clone, Debug)]
pub enum Block {
    /// A paragraph.
    Text(String),
    /// A paragraph about what is not looked at first.
    Note(String),
    /// Points of a list.
    List(Vec<String>),
    /// A table; an empty one is left out.
    Table(Table),
    /// Drawings, on the page alone.
    Plots(Vec<Markup>),
    /// Text as it is, on the page alone: under a summary it is folded away.
    Verbatim {
        /// What is folded.
        summary: Option<String>,
        /// Shown in bold before it.
        lead: String,
        /// The text.
        text: String,
    },
}

impl Head {
    /// A judgement under a leading sentence.
    pub fn judged(lead: impl Into<String>, subject: &str, verdict: &Verdict) -> Self {
        let findings = verdict.findings.clone();
        Self { lead: lead.into(), subject: subject.into(), fit: Some(verdict.fit), findings }
    }
}

impl Block {
    /// Whether there is nothing to show.
    pub fn is_empty(&self) -> bool {
        match self {
            Self::Text(text) | Self::Note(text) | Self::Verbatim { text, .. } => text.is_empty(),
            Self::List(points) => points.is_empty(),
            Self::Table(table) => table.is_empty(),
            Self::Plots(plots) => plots.is_empty(),
        }
    }
}

impl Document {
    /// Adds a section of these blocks, unless all are empty.
    pub fn section(&mut self, id: &'static str, title: impl Into<String>, blocks: Vec<Block>) {
        let blocks: Vec<Block> = blocks.into_iter().filter(|block| !block.is_empty()).collect();
        if !blocks.is_empty() {
            self.sections.push(Section { id, title: title.into(), blocks });
        }
    }
}
