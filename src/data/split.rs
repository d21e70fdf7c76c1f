//! Training, validation and test rows without a text in two of them, and subsets of the training rows.
//!
//! Station between `labelled` and `examples`. What has no file of its own is cut from the training file by
//! content hash, so that nothing depends on the order of its rows.

use std::collections::hash_map::Entry;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::path::{Path, PathBuf};

use rand::seq::SliceRandom;
use sha2::{Digest, Sha256};

use super::corpus::content_fraction;
use super::demo::{self, Part};
use super::folds::{self, Fold};
use super::labelled::{Example, Labelled, LabelledConfig, read_beside, read_embedded};
use super::near::normalised;
use super::spelling::as_seen;
use super::table::{listed, quoted, quoted_all};
use crate::error::{Error, Result};
use crate::metrics::Threshold;
use crate::{files, rng};

/// The three parts of a labelled data set.
///
/// Two texts are the same if they differ in case, white space, Unicode normalisation and invisible characters alone.
#[derive(Clone, Debug, PartialEq)]
pub struct LabelledSplit {
    /// Trained on, in the order of content hashes, or of the label budget.
    pub train: Vec<Example>,
    /// Tuned on.
    pub validation: Vec<Example>,
    /// Measured on.
    pub test: Vec<Example>,
    /// Name of each label.
    pub label_names: Vec<String>,
    /// The label that precision, recall and F1 are about.
    pub positive: usize,
    /// Whether that label leads: it was named, or it is much rarer than the only other one. Otherwise no label is more
    /// important than another.
    pub positive_leads: bool,
    /// SHA-256 over the file contents and the keys that decide which row is where.
    pub sha256: String,
    /// Rows of the training file dropped for an earlier one with the same text and label.
    pub duplicates_dropped: usize,
    /// Rows of the training file dropped for an earlier one with the same text and another label.
    pub contradictions: usize,
    /// Training rows dropped because the text occurs in validation or test, validation rows because it occurs
    /// in test.
    pub leaked_dropped: usize,
    /// Validation and test rows left out as `leave_out` asked.
    pub left_out: [usize; 2],
    /// Labels that are likely one in two spellings, in words.
    pub warnings: Vec<String>,
}

impl LabelledSplit {
    /// Reads the files, drops repeated and leaked texts, splits, applies the label budget.
    ///
    /// Errors: as `read_labelled`; a label that training does not have, an empty part, only one class, a class
    /// with fewer than two training rows (65); an unknown positive label or a budget out of range (2).
    pub fn load(config: &LabelledConfig) -> Result<Self> {
        config.check()?;
        let sources = Sources::of(config);
        let Labelled { examples, label_names, first_lines, warnings, as_it_stands } =
            sources.train.read(config, None, None)?;
        if let [only] = label_names.as_slice() {
            let (name, class, rows) = (sources.train.name(), quoted(only), examples.len());
            let why = format!("{name} has only one class, {class} ({rows} rows); a classifier needs two");
            return Err(Error::data(why));
        }
        let of_its_own = |source: &Option<Source>| -> Result<Option<Vec<Example>>> {
            let read = |source: &Source| source.read(config, Some(&label_names), Some(as_it_stands));
            Ok(source.as_ref().map(read).transpose()?.map(|found| found.examples))
        };
        let (validation, test) = (of_its_own(&sources.validation)?, of_its_own(&sources.test)?);
        let parts = match config.folds {
            0 => Parts::cut(examples, validation, test, config),
            _ => Parts::of_fold(
                [examples, validation.unwrap_or_default(), test.unwrap_or_default()].concat(),
                config,
            )?,
        };
        let Parts { mut train, validation, test, duplicates_dropped, contradictions, leaked_dropped } = parts;

        if train.is_empty() && leaked_dropped > 0 {
            let why = format!("each of its {leaked_dropped} distinct rows also occurs in validation or test");
            let hint = "name different files by data.train, data.validation and data.test";
            return Err(Error::data(format!("{}: {why}; {hint}", sources.train.name())));
        }
        check_classes(&sources.train, &train, &label_names, &first_lines)?;
        check_parts(&sources.train, [train.len(), validation.len(), test.len()])?;
        // Folds agree on it, so that all rows count.
        let counted = if config.folds == 0 { &train } else { &[&train[..], &validation, &test].concat() };
        let positive = positive_label(&config.positive_label, counted, &label_names)?;
        let positive_leads =
            leads(&config.positive_label, positive, [&train, &validation, &test], label_names.len());
        apply_budget(config, &mut train, label_names.len())?;
        let mut split = Self {
            train,
            validation,
            test,
            label_names,
            positive,
            positive_leads,
            sha256: sources.sha256(config)?,
            duplicates_dropped,
            contradictions,
            leaked_dropped,
            left_out: [0, 0],
            warnings,
        };
        split.leave_out_listed(&config.leave_out)?;
        Ok(split)
    }

    /// How validation rows choose what is answered.
    pub fn threshold(&self) -> Threshold {
        if self.positive_leads { Threshold::BestF1 } else { Threshold::Likeliest }
    }

    /// Errors: `key`, a number of training labels, is not 0 for all and is below one per class or above the rows (2).
    pub fn check_budget(&self, key: &str, budget: usize) -> Result<()> {
        check_budget(key, budget, self.label_names.len(), self.train.len())
    }

    /// The same rows with all of them in test, in the order of the hashes of their texts, but for those that the file
    /// `leave_out` lists; they are known by their texts and labels alone.
    ///
    /// Errors: as reading that file (66, 65).
    pub fn all_tested(mut self, leave_out: &str) -> Result<Self> {
        let parts = [&mut self.train, &mut self.validation, &mut self.test].map(std::mem::take);
        self.test = parts.into_iter().flatten().collect();
        self.test.sort_by_cached_key(|row| files::sha256(row.text.as_bytes()));
        let known = |row: &Example| format!("{} {:?}\n", self.label_names[row.label as usize], row.text);
        self.sha256 = files::sha256(self.test.iter().map(known).collect::<String>().as_bytes());
        self.leave_out_listed(leave_out)?;
        Ok(self)
    }

    fn leave_out_listed(&mut self, path: &str) -> Result<()> {
        if path.is_empty() {
            return Ok(());
        }
        let list = files::read_text(Path::new(path))?;
        self.leave_out(&list.lines().map(str::to_string).collect())
    }

    /// Leaves rows out of validation and test by the SHA-256 of their texts; training keeps its rows.
    ///
    /// Errors: no validation or no test row is left (65).
    pub fn leave_out(&mut self, texts: &BTreeSet<String>) -> Result<()> {
        let stays = |row: &Example| !texts.contains(&files::sha256(row.text.as_bytes()));
        let parts = [(&mut self.validation, "validation"), (&mut self.test, "test")];
        for ((part, name), left_out) in parts.into_iter().zip(&mut self.left_out) {
            let rows = part.len();
            part.retain(stays);
            *left_out += rows - part.len();
            if part.is_empty() && rows > 0 {
                let why = format!("each of the {rows} {name} rows occurs elsewhere and would be left out");
                return Err(Error::data(format!("{why}; use other {name} rows, or audit = \"warn\"")));
            }
        }
        if self.left_out != [0, 0] {
            // Other rows are other data: no run goes on with them unasked.
            let list: String = texts.iter().map(|text| format!(" {text}")).collect();
            self.sha256 = files::sha256((std::mem::take(&mut self.sha256) + &list).as_bytes());
        }
        Ok(())
    }
}

/// The three parts before the label budget, and what was dropped on the way.
struct Parts {
    train: Vec<Example>,
    validation: Vec<Example>,
    test: Vec<Example>,
    duplicates_dropped: usize,
    contradictions: usize,
    leaked_dropped: usize,
}

impl Parts {
    /// Training rows without those of the parts that have files of their own; the other parts are cut from them.
    fn cut(
        examples: Vec<Example>,
        mut validation: Option<Vec<Example>>,
        test: Option<Vec<Example>>,
        config: &LabelledConfig,
    ) -> Self {
        let (mut rows, duplicates_dropped, contradictions) = distinct(examples);
        let mut leaked_dropped = 0;
        if let Some(test) = &test {
            leaked_dropped +=
                remove(&mut rows, test) + validation.as_mut().map_or(0, |rows| remove(rows, test));
        }
        if let Some(validation) = &validation {
            leaked_dropped += remove(&mut rows, validation);
        }
        let test_share = test.as_ref().map_or(config.test_fraction, |_| 0.0);
        let validation_share = validation.as_ref().map_or(config.validation_fraction, |_| 0.0);
        let train = rows.split_off(rows.partition_point(|row| place(row) < test_share + validation_share));
        let cut_validation = rows.split_off(rows.partition_point(|row| place(row) < test_share));
        let (validation, test) = (validation.unwrap_or(cut_validation), test.unwrap_or(rows));
        Self { train, validation, test, duplicates_dropped, contradictions, leaked_dropped }
    }

    /// The rows of all files as one fold has them.
    ///
    /// Errors: as [`folds::fold`].
    fn of_fold(examples: Vec<Example>, config: &LabelledConfig) -> Result<Self> {
        let (mut rows, duplicates_dropped, contradictions) = distinct(examples);
        let Fold { train, validation, test } = folds::fold(&rows, config)?;
        let mut part = |of: Vec<usize>| taken(&mut rows, of.into_iter());
        let (train, validation, test) = (part(train), part(validation), part(test));
        Ok(Self { train, validation, test, duplicates_dropped, contradictions, leaked_dropped: 0 })
    }
}

/// Indices of a stratified subset of the rows, best first: for one seed each smaller budget is the beginning
/// of each larger one.
///
/// Each class is shuffled; its j-th row (from 0) of n takes place (j + 1/2) / n of the order, so that every
/// beginning has nearly the shares of the whole, except that the first row of each class comes before all
/// second rows. Labels are below `num_labels`; a budget beyond the rows takes all.
/// Source: the divisor method of Sainte-Laguë.
pub fn label_budget(labels: &[u32], num_labels: usize, budget: usize, seed: u64) -> Vec<usize> {
    let mut classes = vec![Vec::new(); num_labels];
    for (row, label) in labels.iter().enumerate() {
        classes[*label as usize].push(row);
    }
    let mut order = Vec::with_capacity(labels.len());
    for (class, rows) in classes.iter_mut().enumerate() {
        rows.shuffle(&mut rng::stream(seed, "label budget", &[class as u64]));
        let places = (0..rows.len()).map(|j| (j > 0, (j as f64 + 0.5) / rows.len() as f64, class));
        order.extend(places.zip(rows.iter().copied()));
    }
    order.sort_by(|((a_later, a, a_class), _), ((b_later, b, b_class), _)| {
        a_later.cmp(b_later).then(a.total_cmp(b)).then(a_class.cmp(b_class))
    });
    order.into_iter().take(budget).map(|(_, row)| row).collect()
}

/// Where the rows of one part are.
enum Source {
    File(PathBuf),
    Demo(Part),
}

impl Source {
    fn name(&self) -> String {
        match self {
            Source::File(path) => path.display().to_string(),
            Source::Demo(part) => format!("{}/{part:?}", demo::NAME).to_lowercase(),
        }
    }

    fn read(
        &self,
        config: &LabelledConfig,
        known: Option<&[String]>,
        as_it_stands: Option<bool>,
    ) -> Result<Labelled> {
        match self {
            Source::File(path) => read_beside(path, config, known, as_it_stands),
            Source::Demo(part) => read_embedded(&self.name(), demo::messages(*part), config, known),
        }
    }

    fn sha256(&self) -> Result<String> {
        match self {
            Source::File(path) => files::sha256_of(path),
            Source::Demo(part) => Ok(files::sha256(demo::messages(*part).as_bytes())),
        }
    }
}

struct Sources {
    train: Source,
    /// None where it is cut from `train`.
    validation: Option<Source>,
    test: Option<Source>,
}

impl Sources {
    fn of(config: &LabelledConfig) -> Self {
        let file = |path: &str| Source::File(PathBuf::from(path));
        let demo = config.train == demo::NAME;
        let held_out = |path: &str, part| match path {
            "" => demo.then_some(Source::Demo(part)),
            path => Some(file(path)),
        };
        Self {
            train: if demo { Source::Demo(Part::Train) } else { file(&config.train) },
            validation: held_out(&config.validation, Part::Validation),
            test: held_out(&config.test, Part::Test),
        }
    }

    fn sha256(&self, config: &LabelledConfig) -> Result<String> {
        let mut text = self.train.sha256()?;
        for source in [&self.validation, &self.test] {
            text += " ";
            text += &source.as_ref().map_or(Ok("cut".into()), Source::sha256)?;
        }
        // Paths, and the positive label, do not decide which row is where.
        let LabelledConfig { format, text_column, label_column, label_names, lossy, .. } = config;
        let LabelledConfig { folds, fold, fold_seed, .. } = config;
        let (validation, test) = (config.validation_fraction, config.test_fraction);
        let (budget, seed) = (config.label_budget, config.budget_seed);
        text += &format!(
            " {format:?} {text_column:?} {label_column:?} {lossy} {validation} {test} {budget} {seed}"
        );
        if !label_names.is_empty() {
            text += &format!(" {label_names:?}");
        }
        if *folds > 0 {
            text += &format!(" fold {fold} of {folds} by {fold_seed}");
        }
        Ok(files::sha256(text.as_bytes()))
    }
}

/// A number in 0..1 that decides the part.
fn place(row: &Example) -> f64 {
    content_fraction(&normalised(&row.text))
}

/// Tells texts apart; two of a billion fall together with a chance below 1e-19.
fn text_key(text: &str) -> u128 {
    let digest = Sha256::digest(normalised(&as_seen(text)).as_bytes());
    u128::from_le_bytes(std::array::from_fn(|i| digest[i]))
}

/// Keeps the first row of each text, sorted by `place`; counts those dropped with the same and with another
/// label.
fn distinct(mut rows: Vec<Example>) -> (Vec<Example>, usize, usize) {
    let mut labels = HashMap::new();
    let (mut duplicates, mut contradictions) = (0, 0);
    rows.retain(|row| match labels.entry(text_key(&row.text)) {
        Entry::Vacant(new) => {
            new.insert(row.label);
            true
        }
        Entry::Occupied(first) => {
            let count = if *first.get() == row.label { &mut duplicates } else { &mut contradictions };
            *count += 1;
            false
        }
    });
    drop(labels);
    // Bits of numbers in 0..1 sort as the numbers do; texts settle the rest.
    let mut order: Vec<(u64, usize)> = rows.iter().map(|row| place(row).to_bits()).zip(0..).collect();
    order.sort_unstable_by(|(a, row_a), (b, row_b)| {
        a.cmp(b).then_with(|| normalised(&rows[*row_a].text).cmp(&normalised(&rows[*row_b].text)))
    });
    (taken(&mut rows, order.into_iter().map(|(_, row)| row)), duplicates, contradictions)
}

/// These rows, in this order, without a copy of their texts.
fn taken(rows: &mut [Example], order: impl Iterator<Item = usize>) -> Vec<Example> {
    let take = |row: usize| Example { text: std::mem::take(&mut rows[row].text), ..rows[row] };
    order.map(take).collect()
}

/// Drops the rows whose text is among `others`; returns how many.
fn remove(rows: &mut Vec<Example>, others: &[Example]) -> usize {
    let others: HashSet<u128> = others.iter().map(|row| text_key(&row.text)).collect();
    let before = rows.len();
    rows.retain(|row| !others.contains(&text_key(&row.text)));
    before - rows.len()
}

fn class_counts(rows: &[Example], num_labels: usize) -> Vec<usize> {
    let mut counts = vec![0; num_labels];
    for row in rows {
        counts[row.label as usize] += 1;
    }
    counts
}

fn check_classes(source: &Source, train: &[Example], names: &[String], first_lines: &[u64]) -> Result<()> {
    let mut counts: Vec<(usize, usize)> = class_counts(train, names.len()).into_iter().zip(0..).collect();
    counts.sort_unstable();
    let (rarest, class) = counts[0];
    if rarest >= 2 {
        return Ok(());
    }
    let place = match first_lines[class] {
        0 => source.name(),
        line => format!("{}:{line}", source.name()),
    };
    let why = format!("class {} has {rarest} distinct training rows, 2 are needed", quoted(&names[class]));
    let all = listed(counts.iter().map(|(count, class)| format!("{} {count}", quoted(&names[*class]))));
    Err(Error::data(format!("{place}: {why}; rows per class: {all}; add rows or merge classes")))
}

fn check_parts(source: &Source, rows: [usize; 3]) -> Result<()> {
    if rows.iter().all(|rows| *rows > 0) {
        return Ok(());
    }
    let [train, validation, test] = rows;
    let why = format!("{train} training, {validation} validation and {test} test rows; each part needs some");
    let hint = "use more rows, other fractions, or data.validation and data.test";
    Err(Error::data(format!("{}: {why}; {hint}", source.name())))
}

/// Whether a label of two was named, or is rare.
fn leads(name: &str, positive: usize, parts: [&Vec<Example>; 3], num_labels: usize) -> bool {
    let (rows, positives) = parts.iter().fold((0, 0), |(rows, positives), part| {
        (rows + part.len(), positives + class_counts(part, num_labels)[positive])
    });
    num_labels == 2 && (!name.is_empty() || (positives as f64) < RARE * rows as f64)
}

/// Share of all rows below which one label of two is rare.
const RARE: f64 = 0.4;

/// The label named, else the rarer one of training; of equally rare ones the last.
fn positive_label(name: &str, train: &[Example], names: &[String]) -> Result<usize> {
    if name.is_empty() {
        let counts = class_counts(train, names.len());
        let rarest = (0..names.len()).min_by_key(|class| (counts[*class], std::cmp::Reverse(*class)));
        return Ok(rarest.expect("two classes were checked"));
    }
    names.iter().position(|known| known == name).ok_or_else(|| {
        let (name, names) = (quoted(name), quoted_all(names));
        Error::usage(format!("data.positive_label {name} is none of the labels {names}"))
    })
}

fn check_budget(key: &str, budget: usize, num_labels: usize, rows: usize) -> Result<()> {
    if budget == 0 || (num_labels..=rows).contains(&budget) {
        return Ok(());
    }
    let why = format!("{key} is {budget}; with {num_labels} classes and {rows} training rows");
    Err(Error::usage(format!("{why} it must lie in {num_labels}..={rows}, or be 0 for all")))
}

fn apply_budget(config: &LabelledConfig, train: &mut Vec<Example>, num_labels: usize) -> Result<()> {
    let budget = config.label_budget;
    if budget == 0 {
        return Ok(());
    }
    check_budget("data.label_budget", budget, num_labels, train.len())?;
    let labels: Vec<u32> = train.iter().map(|row| row.label).collect();
    let chosen = label_budget(&labels, num_labels, budget, config.budget_seed);
    *train = taken(train, chosen.into_iter());
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn budgets_are_nested_and_stratified(
            sizes in prop::collection::vec(1usize..60, 1..6), smaller: prop::sample::Index,
            larger: prop::sample::Index, seed: u64,
        ) {
            let classes = sizes.len();
            let labels: Vec<u32> = (0..).zip(&sizes).flat_map(|(class, size)| vec![class; *size]).collect();
            let rows = labels.len();
            let (a, b) = (smaller.index(rows + 1), larger.index(rows + 1));
            let (small, large) = (a.min(b), a.max(b));
            let order = label_budget(&labels, classes, large, seed);
            prop_assert_eq!(order.len(), large);
            prop_assert_eq!(order.iter().collect::<HashSet<_>>().len(), large);
            prop_assert_eq!(&order[..small], label_budget(&labels, classes, small, seed));
            for (class, size) in sizes.iter().enumerate() {
                let count = order.iter().filter(|row| labels[**row] as usize == class).count();
                prop_assert!(large < classes || count > 0);
                // Rounding each class moves the common quota by up to half a row a class, the first row of each
                // class by up to another half; then the class itself is rounded.
                let share = large as f64 * *size as f64 / rows as f64;
                prop_assert!((count as f64 - share).abs() <= classes as f64 + 1.0, "{count} of {share}");
            }
        }

        #[test]
        fn budgets_of_other_seeds_hold_other_rows(seed in 0..u64::MAX) {
            let labels: Vec<u32> = (0..400).map(|row| u32::from(row % 4 == 0)).collect();
            let rows = |seed| label_budget(&labels, 2, 50, seed).into_iter().collect::<HashSet<_>>();
            prop_assert_ne!(rows(seed), rows(seed + 1));
        }
    }
}
