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
        let mut text = format!("# {}\n\n{}", line(&self.title, style), self.head.text(style));
        for section in &self.sections {
            let blocks: String = section.blocks.iter().filter_map(|block| block.text(style)).collect();
            if !blocks.is_empty() {
                text += &format!("\n## {}\n{blocks}", line(&section.title, style));
            }
        }
        text
    }
}

impl Head {
    /// The answer as lines.
    fn text(&self, style: Style) -> String {
        let lead = match self.fit {
            Some(true) => "Verdict: fit for use",
            Some(false) => "Verdict: not fit for use",
            None => &self.lead,
        };
        self.findings.iter().fold(format!("{}\n", line(lead, style)), |text, finding| {
            format!("{text}- {}\n", line(finding, style))
        })
    }
}

impl Block {
    pub(super) fn text(&self, style: Style) -> Option<String> {
        match self {
            Self::Text(text) | Self::Note(text) => Some(format!("\n{}\n", line(text, style))),
            Self::List(points) => Some(
                points.iter().fold("\n".into(), |list, point| format!("{list}- {}\n", line(point, style))),
            ),
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
        let shown = |text: &str| if style == Style::Markdown { escaped(text) } else { line(text, style) };
        grid.set_header(self.columns.iter().map(|column| shown(column)));
        for row in self.groups.iter().flatten() {
            let cells = row.iter().map(|cell| match (style, cell.links.is_empty()) {
                (Style::Terminal, true) => line(&cell.text, style),
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
        let note =
            if self.note.is_empty() { String::new() } else { format!("\n{}\n", line(&self.note, style)) };
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

/// Text on one line without control characters, in Markdown also without tags: names of labels are somebody else's.
fn line(text: &str, style: Style) -> String {
    let line: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    if style == Style::Markdown { line.replace('<', "\\<") } else { line }
}

/// Text that can neither end a cell nor become markup.
fn escaped(text: &str) -> String {
    let mut escaped = String::new();
    for c in text.chars() {
        match c {
            c if c.is_control() => escaped.push(' '),
            '|' | '`' | '*' | '_' | '[' | ']' | '<' | '\\' => escaped.extend(['\\', c]),
            _ => escaped.push(c),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::super::document::Section;
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
    fn names_break_neither_head_nor_heading_nor_table() {
        let name = "a|b\n<b>\u{1b}[1m";
        let mut table = Table::new("t", 1, &["true", name]);
        table.row([name, "1"]);
        let document = Document {
            title: "T".into(),
            head: Head { lead: format!("of {name}"), findings: vec![name.into()], ..Head::default() },
            sections: vec![Section { id: "s", title: name.into(), blocks: vec![Block::Table(table)] }],
            ..Document::default()
        };
        let markdown = document.text(Style::Markdown);
        assert!(!markdown.contains('\u{1b}') && !markdown.replace("\\<", "").contains('<'), "{markdown}");
        let rows: Vec<&str> = markdown.lines().filter(|line| line.starts_with('|')).collect();
        assert_eq!(rows.len(), 3, "{markdown}");
        assert!(rows.iter().all(|row| row.replace("\\|", "").matches('|').count() == 3), "{markdown}");
        let terminal = document.text(Style::Terminal);
        assert!(!terminal.contains('\u{1b}') && terminal.contains("- a|b <b> [1m"), "{terminal}");
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
