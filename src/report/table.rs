//! A table as a value: made once for each section, drawn for the terminal, for Markdown and for the page.

/// Columns, rows and what is to be known about them.
#[derive(Clone, Debug, Default)]
pub struct Table {
    /// Its name for those who do not see it.
    pub name: String,
    /// Heads of the columns.
    pub columns: Vec<String>,
    /// Columns that hold text: flush left, the others flush right. The first always does.
    pub texts: usize,
    /// Groups of rows, parted from each other.
    pub groups: Vec<Vec<Vec<Cell>>>,
    /// What the reader must know to read it.
    pub note: String,
    /// Holds whole texts, for which a terminal has no room.
    pub wide: bool,
}

/// One place of a table.
#[derive(Clone, Debug, Default)]
pub struct Cell {
    /// As it is shown.
    pub text: String,
    /// The best of its group, or a difference that is shown.
    pub strong: bool,
    /// Pages it leads to, by their name; the text is then empty.
    pub links: Vec<(String, String)>,
}

impl Table {
    /// A table whose first `texts` columns hold text.
    pub fn new(name: &str, texts: usize, columns: &[&str]) -> Self {
        let columns = columns.iter().map(|column| column.to_string()).collect();
        Self { name: name.into(), columns, texts, ..Self::default() }
    }

    /// Adds a row to the last group.
    pub fn row(&mut self, cells: impl IntoIterator<Item = impl Into<Cell>>) {
        let row = cells.into_iter().map(Into::into).collect();
        match self.groups.last_mut() {
            Some(group) => group.push(row),
            None => self.groups.push(vec![row]),
        }
    }

    /// The rows that follow form a group of their own.
    pub fn begin_group(&mut self) {
        if self.groups.last().is_none_or(|group| !group.is_empty()) {
            self.groups.push(Vec::new());
        }
    }

    /// The same with a note below it.
    pub fn note(self, note: impl Into<String>) -> Self {
        Self { note: note.into(), ..self }
    }

    /// Whether there is nothing to show.
    pub fn is_empty(&self) -> bool {
        self.groups.iter().all(Vec::is_empty)
    }
}

impl Cell {
    /// In bold if `strong`.
    pub fn strong(text: impl Into<String>, strong: bool) -> Self {
        Self { text: text.into(), strong, links: Vec::new() }
    }
}

impl<T: ToString> From<T> for Cell {
    fn from(text: T) -> Self {
        Self { text: text.to_string(), ..Self::default() }
    }
}

/// A score with three decimals.
pub fn score(value: f64) -> String {
    format!("{value:.3}")
}

/// A score that may be undefined.
pub fn score_or_dash(value: Option<f64>) -> String {
    value.map_or("-".into(), score)
}
