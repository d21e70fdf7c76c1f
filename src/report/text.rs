//! Documents and tables as text: for the terminal and for report.md.

use comfy_table::presets::{ASCII_MARKDOWN, UTF8_HORIZONTAL_ONLY};
use comfy_table::{CellAlignment, ColumnConstraint, ContentArrangement, Table as Grid, Width};

use super::document::{Block, Document, Head};
use super::table::Table;

/// Characters of a line on a terminal.
const WIDTH: u16 = 100;

/// Where text is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// A terminal.
    Terminal,
    /// report.md.
    Markdown,
}

impl Document {
    /// Title, answer and sections, without plots and what is for the page alone.
    pub fn text(&self, style: Style) -> String {
        let mut text = format!("# {}\n\n{}", self.title, self.head.text());
        for section in &self.sections {
            let blocks: String = section.blocks.iter().filter_map(|block| block.text(style)).collect();
            if !blocks.is_empty() {
                text += &format!("\n## {}\n{blocks}", section.title);
            }
        }
        text
    }
}

impl Head {
    /// The answer as lines.
    pub fn text(&self) -> String {
        let lead = match self.fit {
            Some(true) => "Verdict: fit for use",
            Some(false) => "Verdict: not fit for use",
            None => &self.lead,
        };
        self.findings.iter().fold(format!("{lead}\n"), |text, finding| format!("{text}- {finding}\n"))
    }
}

impl Block {
    pub(super) fn text(&self, style: Style) -> Option<String> {
        match self {
            Self::Text(text) | Self::Note(text) => Some(format!("\n{text}\n")),
            Self::List(points) => {
                Some(points.iter().fold("\n".into(), |list, point| format!("{list}- {point}\n")))
            }
            Self::Table(table) if table.wide && style == Style::Terminal => None,
            Self::Table(table) => Some(format!("\n{}", table.text(style))),
            Self::Plots(_) | Self::Verbatim { .. } => None,
        }
    }
}

impl Table {
    /// The table and the note below it.
    pub fn text(&self, style: Style) -> String {
        let mut grid = Grid::new();
        match style {
            Style::Terminal => {
                grid.load_style(UTF8_HORIZONTAL_ONLY);
                grid.set_content_arrangement(ContentArrangement::Dynamic).set_width(WIDTH);
            }
            Style::Markdown => drop(grid.load_style(ASCII_MARKDOWN)),
        }
        grid.set_header(&self.columns);
        for row in self.groups.iter().flatten() {
            let cells = row.iter().map(|cell| match (style, cell.links.is_empty()) {
                (Style::Terminal, true) => cell.text.clone(),
                (Style::Terminal, false) => paths(&cell.links),
                (Style::Markdown, true) if cell.strong => format!("**{}**", escaped(&cell.text)),
                (Style::Markdown, true) => escaped(&cell.text),
                (Style::Markdown, false) => links(&cell.links),
            });
            grid.add_row(cells.collect::<Vec<_>>());
        }
        for (index, column) in grid.column_iter_mut().enumerate() {
            column.set_padding((0, 1));
            column
                .set_constraint(ColumnConstraint::LowerBoundary(Width::Fixed(self.longest_word(index) + 1)));
            let text = index < self.texts.max(1);
            column.set_cell_alignment(if text { CellAlignment::Left } else { CellAlignment::Right });
        }
        let note = if self.note.is_empty() { String::new() } else { format!("\n{}\n", self.note) };
        format!("{grid}\n{note}")
    }
}

impl Table {
    /// Characters of the longest word of a column; no word is broken.
    fn longest_word(&self, column: usize) -> u16 {
        let cells = self.groups.iter().flatten().filter_map(|row| row.get(column)).map(|cell| &cell.text);
        let words = cells.chain(self.columns.get(column)).flat_map(|text| text.split_whitespace());
        words.map(|word| word.chars().count() as u16).max().unwrap_or(0)
    }
}

fn paths(links: &[(String, String)]) -> String {
    links.iter().map(|(_, path)| path.as_str()).collect::<Vec<_>>().join("\n")
}

fn links(links: &[(String, String)]) -> String {
    links.iter().map(|(name, path)| format!("[{name}]({path})")).collect::<Vec<_>>().join(" ")
}

/// Text that can neither end a cell nor become markup.
fn escaped(text: &str) -> String {
    let mut escaped = String::new();
    for c in text.chars() {
        match c {
            '\n' | '\r' => escaped.push(' '),
            '|' | '`' | '*' | '_' | '[' | ']' | '<' | '\\' => escaped.extend(['\\', c]),
            _ => escaped.push(c),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::super::table::Cell;
    use super::*;

    fn table() -> Table {
        let mut table = Table::new("t", 1, &["text", "score"]).note("Below.");
        table.row([Cell::from("a | <b>\nc"), Cell::strong("0.5", true)]);
        table
    }

    #[test]
    fn markdown_escapes_texts_and_marks_what_is_strong() {
        let text = table().text(Style::Markdown);
        assert!(text.contains("a \\| \\<b> c") && text.contains("**0.5**"), "{text}");
        assert!(text.ends_with("\nBelow.\n"), "{text}");
    }

    #[test]
    fn a_terminal_gets_no_wide_table_and_lines_that_fit() {
        let wide = Block::Table(Table { wide: true, ..table() });
        assert_eq!((wide.text(Style::Terminal), wide.text(Style::Markdown).is_some()), (None, true));
        let mut long = Table::new("t", 1, &["text"]);
        long.row(["word ".repeat(60)]);
        assert!(long.text(Style::Terminal).lines().all(|line| line.chars().count() <= usize::from(WIDTH)));
    }
}
