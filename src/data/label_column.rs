//! The labels of a column: as the file spells them, and what they are called.
//!
//! What a label means is decided for the column as a whole once all of it is read, never row by row.

use std::collections::{BTreeSet, HashMap};
use std::path::Path;

use super::spelling::{Likeness, alike_keys};
use super::table::{Label, bad_rows, quoted, quoted_all};
use crate::error::{Error, Result};

/// Distinct labels, by the number of their first appearance.
#[derive(Default)]
pub(super) struct LabelColumn {
    numbers: HashMap<String, [Option<u32>; 2]>,
    found: Vec<Found>,
}

/// One spelling.
#[derive(Clone)]
struct Found {
    text: String,
    /// It stood in a place for numbers.
    is_number: bool,
    first_line: u64,
    rows: usize,
}

/// What the labels of a column may be.
pub(super) struct Allowed<'a> {
    /// Names of labels that are numbers, by the config or the file itself; empty for none.
    pub names: &'a [String],
    /// Labels there may be, in their order; none for any.
    pub known: Option<&'a [String]>,
    /// Without `names` the known labels may also go by their numbers, as those of a model do.
    pub numbered: bool,
    /// What was decided for text in another file of the same data: whether its integers are names.
    pub as_it_stands: Option<bool>,
}

/// What the labels of a column are called.
pub(super) struct Named {
    /// Number of the label, by the number of its spelling.
    pub labels: Vec<u32>,
    /// Name of each label.
    pub names: Vec<String>,
    /// Where each label stands first; 0 where it has no row.
    pub first_lines: Vec<u64>,
    /// Spellings that are likely one label, in words.
    pub warnings: Vec<String>,
    /// Whether integers in text are names.
    pub as_it_stands: bool,
}

impl LabelColumn {
    /// Counts a label; returns the number of its spelling.
    pub fn push(&mut self, label: Label<'_>, line: u64) -> u32 {
        if !self.numbers.contains_key(label.text) {
            self.numbers.insert(label.text.into(), [None; 2]);
        }
        let number = self.numbers.get_mut(label.text).expect("it was put there");
        let number = number[usize::from(label.is_number)].get_or_insert_with(|| {
            let Label { text, is_number } = label;
            self.found.push(Found { text: text.into(), is_number, first_line: line, rows: 0 });
            self.found.len() as u32 - 1
        });
        self.found[*number as usize].rows += 1;
        *number
    }

    /// Names the labels.
    ///
    /// Where there are names for numbers, what the file holds as integers are numbers; text is taken as it stands if
    /// all of it are names, else its integers are numbers too.
    /// Errors: a number without a name, a label that is not known, two labels that look the same (65).
    pub fn named(&self, path: &Path, allowed: &Allowed<'_>) -> Result<Named> {
        let Allowed { names, known, numbered, as_it_stands } = *allowed;
        let typed = !names.is_empty();
        let by_number = if typed || !numbered { names } else { known.unwrap_or_default() };
        let is_typed = |found: &Found| typed && found.is_number;
        let is_name = |found: &Found| by_number.contains(&found.text);
        // Where a model's names are numbers themselves, one that is none of them is a mistake.
        let are_numbers = !typed && by_number.iter().any(|name| name.parse::<i64>().is_ok());
        let decided = || are_numbers || self.found.iter().all(|found| is_typed(found) || is_name(found));
        let as_it_stands = as_it_stands.unwrap_or_else(decided);
        let name = |found: &Found| -> std::result::Result<String, String> {
            let number = found.text.parse::<i64>().ok().filter(|_| !by_number.is_empty());
            let name = match number.filter(|_| is_typed(found) || !as_it_stands) {
                None => found.text.clone(),
                Some(number) => {
                    let name = usize::try_from(number).ok().and_then(|number| by_number.get(number));
                    let named = || format!("label {number} has no name, named: {}", quoted_all(by_number));
                    name.cloned().ok_or_else(named)?
                }
            };
            match known {
                Some(known) if !known.contains(&name) => {
                    Err(format!("unknown label {}, known: {}", quoted(&name), quoted_all(known)))
                }
                _ => Ok(name),
            }
        };
        let (mut called, mut wrong, mut bad) = (Vec::new(), Vec::new(), 0);
        for found in &self.found {
            match name(found) {
                Ok(name) => called.push(name),
                Err(why) => {
                    wrong.push(format!("{}:{}: {why}", path.display(), found.first_line));
                    bad += found.rows;
                }
            }
        }
        if bad > 0 {
            return Err(bad_rows(&wrong, bad, self.found.iter().map(|found| found.rows).sum()));
        }
        let names = known.map_or_else(|| sorted(&called), <[String]>::to_vec);
        let warnings = if known.is_none() { self.alike(path, &called)? } else { Vec::new() };
        Ok(Named { warnings, as_it_stands, ..self.numbered(&called, names) })
    }

    fn numbered(&self, called: &[String], names: Vec<String>) -> Named {
        let numbers: HashMap<&str, u32> = names.iter().map(String::as_str).zip(0..).collect();
        let labels: Vec<u32> = called.iter().map(|name| numbers[name.as_str()]).collect();
        let mut first_lines = vec![0; names.len()];
        for (label, found) in labels.iter().zip(&self.found) {
            let first = &mut first_lines[*label as usize];
            *first = if *first == 0 { found.first_line } else { found.first_line.min(*first) };
        }
        Named { labels, names, first_lines, warnings: Vec::new(), as_it_stands: true }
    }

    /// Pairs of labels that are likely one, in words.
    ///
    /// Errors: two that nobody can tell apart (65).
    fn alike(&self, path: &Path, called: &[String]) -> Result<Vec<String>> {
        let (mut seen, mut warnings) = (HashMap::new(), Vec::new());
        for (second, name) in called.iter().enumerate() {
            let known = alike_keys(name).into_iter().find_map(|key| {
                let likeness = key.0;
                let first = *seen.entry(key).or_insert(second);
                (called[first] != *name).then_some((likeness, first))
            });
            let Some((likeness, first)) = known else { continue };
            let spelt = |at: usize| {
                let Found { rows, first_line, .. } = self.found[at];
                format!("{} ({rows} rows, first on line {first_line})", quoted(&called[at]))
            };
            let both = format!("{}: labels {} and {}", path.display(), spelt(first), spelt(second));
            let words = match likeness {
                Likeness::Looks => {
                    let why = "look the same and would count as two";
                    let hint = "write them alike, in Unicode NFC and without invisible characters";
                    return Err(Error::data(format!("{both} {why}; {hint}")));
                }
                Likeness::Number => "are one number and count as two",
                Likeness::Case => "differ in case alone and count as two",
            };
            warnings.push(format!("{both} {words}; write them alike if they are one"));
        }
        Ok(warnings)
    }
}

/// By number if all are integers, else by text.
fn sorted(names: &[String]) -> Vec<String> {
    let names: BTreeSet<&String> = names.iter().collect();
    let mut names: Vec<String> = names.into_iter().cloned().collect();
    if names.iter().all(|name| name.parse::<i64>().is_ok()) {
        names.sort_by_key(|name| name.parse::<i64>().unwrap_or_default());
    }
    names
}
