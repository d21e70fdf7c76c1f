//! `train data`: overlaps between parts and a corpus, classes and lengths, a split without overlaps.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde_json::json;

use super::print::{print, print_json};
use super::reading;
use crate::cli::{AuditArgs, ColumnArgs, InspectArgs, SplitArgs};
use crate::data::{
    Advice, AuditPart, CorpusConfig, DocumentBoundary, Example, GroupedSplit, Labelled, LabelledConfig,
    grouped_split, read_labelled,
};
use crate::error::{Error, ErrorKind, Result};
use crate::files;
use crate::progress::Progress;
use crate::report;
use crate::results::{ClassSummary, InspectResults, LengthSummary, RepeatSummary, TokenSummary};
use crate::runs::audit::{self, TEST, VALIDATION};
use crate::runs::fetch;
use crate::tokenizer::Tokenizer;

/// Parts of a split, as their files are called.
const PARTS: [&str; 3] = ["train", VALIDATION, TEST];

/// How the named columns are read.
fn labelled(columns: &ColumnArgs) -> Result<LabelledConfig> {
    let threshold = columns.threshold;
    if !(threshold > 0.0 && threshold <= 1.0) {
        return Err(Error::usage(format!("--threshold is {threshold}; it must lie above 0, up to 1")));
    }
    let config = LabelledConfig {
        text_column: columns.text_column.clone(),
        label_column: columns.label_column.clone(),
        format: reading::format(&columns.reading)?.unwrap_or_default(),
        lossy: columns.reading.lossy,
        advice: Advice::Flags,
        ..LabelledConfig::default()
    };
    config.check_columns()?;
    Ok(config)
}

/// The rows of a file; labels that are likely one are warned of.
fn read(path: &Path, config: &LabelledConfig, progress: &Progress) -> Result<Labelled> {
    let found = read_labelled(path, config, None)?;
    found.warnings.iter().for_each(|words| progress.warn(words));
    Ok(found)
}

/// `train data audit`: which rows have exact or near duplicates where they should not.
///
/// Errors: no labelled file named, a threshold out of range (2); as reading the files; with `deny`, test or
/// validation rows that have duplicates in another part (3).
pub fn audit(args: &AuditArgs, json: bool, progress: &Progress) -> Result<()> {
    let config = labelled(&args.columns)?;
    let mut files = Vec::new();
    for (name, path) in [("train", &args.train), (VALIDATION, &args.validation), (TEST, &args.test)] {
        let Some(path) = path else { continue };
        files.push((name, read(path, &config, progress)?.examples));
    }
    let parts: Vec<AuditPart> = files.iter().map(|(name, rows)| AuditPart::of(name, rows)).collect();
    if parts.is_empty() {
        return Err(Error::usage("nothing to audit: name labelled files by --train, --validation or --test"));
    }
    let document: DocumentBoundary = serde_json::from_value(json!(args.document)).map_err(|_| {
        Error::usage(format!("--document {}: expected line, blank_line or file", args.document))
    })?;
    let (lossy, advice) = (args.columns.reading.lossy, Advice::None);
    let corpus =
        CorpusConfig { train: args.corpus.to_vec(), document, lossy, advice, ..CorpusConfig::default() };
    let corpora = if args.corpus.is_empty() { Vec::new() } else { vec![corpus] };
    let found = audit::audit(&parts, &corpora, args.columns.threshold, progress)?;
    if json {
        print_json(&found)?;
    } else {
        print(&report::blocks_text(&report::overlaps(&found)))?;
    }
    if args.deny {
        if ![TEST, VALIDATION].iter().any(|part| found.rows.contains_key(*part)) {
            let why = "--deny is about rows that are measured or tuned on";
            return Err(Error::usage(format!("{why}; name their file by --test or --validation")));
        }
        audit::deny(&found, "remove them from one of the two")?;
    }
    Ok(())
}

/// Errors: a place that is the source of the split, or that is taken while nobody asked to overwrite it (73).
fn may_write<'a>(args: &SplitArgs, places: impl Iterator<Item = &'a PathBuf>) -> Result<()> {
    let source = args.file.canonicalize().ok();
    for place in places.filter(|place| place.exists()) {
        let why = match source.is_some() && place.canonicalize().ok() == source {
            true => "is what is to be split; use another --output",
            false if args.overwrite => continue,
            false => "exists; use --overwrite or another --output",
        };
        return Err(Error::new(ErrorKind::Output, format!("{} {why}", place.display())));
    }
    Ok(())
}

/// `train data split`: three files with the label shares of the whole, no text near one of another part, and
/// the row numbers in `split.json`.
///
/// Errors: fractions that leave nothing to train on (2), as reading the file, a part without rows or a label without
/// training rows (65), a split that is there (73).
pub fn split(args: &SplitArgs, json: bool, progress: &Progress) -> Result<()> {
    let config = labelled(&args.columns)?;
    let (path, threshold) = (&args.file, args.columns.threshold);
    let (validation, test) = (args.validation_fraction, args.test_fraction);
    let in_range = |share: f64| (0.0..1.0).contains(&share);
    if !(in_range(validation) && in_range(test) && validation + test < 1.0) {
        let why = format!("the validation fraction is {validation} and the test fraction {test}");
        return Err(Error::usage(format!("{why}; both must lie in 0..1 and leave rows to train on")));
    }
    let record = args.output.join("split.json");
    let places = PARTS.map(|name| args.output.join(format!("{name}.jsonl")));
    may_write(args, [&record].into_iter().chain(&places))?;
    let Labelled { examples, label_names, .. } = read(path, &config, progress)?;
    let texts: Vec<String> = examples.iter().map(|row| row.text.clone()).collect();
    let labels: Vec<u32> = examples.iter().map(|row| row.label).collect();
    let shares = [1.0 - validation - test, validation, test];
    let split = grouped_split(&texts, &labels, &shares, threshold, args.seed);
    check_parts(path, &split, &shares, &labels, &label_names, progress)?;

    let cannot = |cause| Error::writing(&args.output, &cause);
    std::fs::create_dir_all(&args.output).map_err(cannot)?;
    let _ = std::fs::remove_file(&record); // Until it is there again the split is incomplete.
    let mut written = BTreeMap::new();
    for ((name, place), rows) in PARTS.iter().zip(&places).zip(&split.parts) {
        let row = |row: &usize| {
            let Example { text, label, .. } = &examples[*row];
            let (text_key, label_key) = (&config.text_column, &config.label_column);
            format!("{}\n", json!({label_key: label_names[*label as usize], text_key: text}))
        };
        let lines: String = rows.iter().map(row).collect();
        files::write_atomic(place, lines.as_bytes())?;
        let of_label = |label: usize| rows.iter().filter(|row| labels[**row] as usize == label).count();
        let counts: BTreeMap<&String, usize> =
            label_names.iter().enumerate().map(|(label, name)| (name, of_label(label))).collect();
        written.insert(*name, json!({"rows": rows.len(), "labels": counts}));
    }
    let results = json!({
        "file": path,
        "sha256": files::sha256_of(path)?,
        "seed": args.seed,
        "threshold": threshold,
        "groups": split.groups,
        "parts": written,
        "indices": PARTS.iter().zip(&split.parts).collect::<BTreeMap<_, _>>(),
    });
    files::write_atomic(&record, format!("{results:#}\n").as_bytes())?;
    if json {
        let mut short = results;
        short.as_object_mut().and_then(|object| object.remove("indices"));
        return print_json(&short);
    }
    let parts: Vec<String> = PARTS.iter().map(|name| format!("{name} {}", written[name]["rows"])).collect();
    let (rows, groups, folder) = (texts.len(), split.groups, args.output.display());
    print(&format!(
        "{rows} rows in {groups} groups of close texts: {}\nwritten to {folder}\n",
        parts.join(", ")
    ))
}

/// Warns of labels that validation or test has no row of.
///
/// Errors: a part without rows, a label that training has no row of (65).
fn check_parts(
    path: &Path,
    split: &GroupedSplit,
    shares: &[f64],
    labels: &[u32],
    label_names: &[String],
    progress: &Progress,
) -> Result<()> {
    let (rows, groups) = (labels.len(), split.groups);
    let close = format!("{rows} rows form {groups} groups of close texts, and a group stays in one part");
    let hint = "add rows, choose other fractions, or raise --threshold so that fewer texts count as close";
    for ((part, rows), _) in PARTS.iter().zip(&split.parts).zip(shares).filter(|(_, share)| **share > 0.0) {
        let found: BTreeSet<u32> = rows.iter().map(|row| labels[*row]).collect();
        let lacks = (0..label_names.len()).filter(|label| !found.contains(&(*label as u32)));
        let lacks: Vec<String> = lacks.map(|label| format!("{:?}", label_names[label])).collect();
        if rows.is_empty() || (!lacks.is_empty() && *part == PARTS[0]) {
            let what = if rows.is_empty() { "".into() } else { format!(" labelled {}", named(&lacks)) };
            let why = format!("{}: {part} would have no row{what}: {close}", path.display());
            return Err(Error::data(format!("{why}; {hint}")));
        }
        if !lacks.is_empty() {
            let what =
                format!("{part} has no row labelled {}, so its scores say nothing about them", named(&lacks));
            progress.warn(format!("{}: {what}: {close}; {hint}", path.display()));
        }
    }
    Ok(())
}

/// The first few names, and how many more there are.
fn named(names: &[String]) -> String {
    const SHOWN: usize = 8;
    let shown = names[..names.len().min(SHOWN)].join(", ");
    match names.len().saturating_sub(SHOWN) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}

/// `train data inspect`: classes, lengths, repeats and traces of a conversion that went wrong.
///
/// Errors: as reading the file and the tokenizer.
pub fn inspect(args: &InspectArgs, json: bool, progress: &Progress) -> Result<()> {
    let path = &args.file;
    let Labelled { examples, label_names, .. } = read(path, &labelled(&args.columns)?, progress)?;
    let texts = |label: Option<usize>| -> Vec<&str> {
        let rows = examples.iter().filter(|row| label.is_none_or(|label| row.label as usize == label));
        rows.map(|row| row.text.as_str()).collect()
    };
    let class = |(label, name): (usize, &String)| {
        let texts = texts(Some(label));
        ClassSummary {
            label: name.clone(),
            rows: texts.len(),
            share: texts.len() as f64 / examples.len() as f64,
            characters: LengthSummary::of(texts.iter().map(|text| text.chars().count()).collect()),
            words: LengthSummary::of(texts.iter().map(|text| text.split_whitespace().count()).collect()),
        }
    };
    let classes = label_names.iter().enumerate().map(class).collect();
    let all = texts(None);
    let part = AuditPart { name: "rows".into(), texts: all.clone() };
    let audit = audit::audit(&[part], &[], args.columns.threshold, progress)?;
    let with = |what: fn(&str) -> bool| all.iter().filter(|text| what(text)).count();
    let results = InspectResults {
        file: path.into(),
        rows: examples.len(),
        classes,
        repeats: RepeatSummary::from(&audit.overlaps[0]),
        with_html_entities: with(|text| ["&lt;", "&gt;", "&amp;"].iter().any(|entity| text.contains(entity))),
        with_replacement_characters: with(|text| text.contains('\u{fffd}')),
        with_control_characters: with(|text| text.chars().any(|c| c.is_control() && !c.is_whitespace())),
        tokens: args
            .tokenizer
            .as_ref()
            .map(|name| tokens(fetch::tokenizer(name, progress)?, &all, args.seq_len))
            .transpose()?,
    };
    if json { print_json(&results) } else { print(&report::blocks_text(&report::inspected(&results))) }
}

/// Lengths in tokens as fine-tuning encodes the texts, with the end of text where it adds one.
fn tokens(tokenizer: Tokenizer, texts: &[&str], seq_len: usize) -> Result<TokenSummary> {
    let texts: Vec<String> = texts.iter().map(|text| text.to_string()).collect();
    let all: Vec<usize> = tokenizer.ending_texts()?.encode_batch(&texts)?.iter().map(Vec::len).collect();
    let truncated = all.iter().filter(|length| **length > seq_len).count();
    Ok(TokenSummary { lengths: LengthSummary::of(all), seq_len, truncated })
}
