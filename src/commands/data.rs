//! `train data`: overlaps between parts and a corpus, classes and lengths, a split without overlaps.

use std::collections::BTreeMap;

use serde_json::json;

use super::print::{print, print_json};
use crate::cli::{AuditArgs, ColumnArgs, InspectArgs, SplitArgs};
use crate::data::{
    AuditPart, CorpusConfig, DocumentBoundary, Example, Labelled, LabelledConfig, grouped_split,
    read_labelled,
};
use crate::error::{Error, ErrorKind, Result};
use crate::files;
use crate::progress::Progress;
use crate::report;
use crate::results::{ClassSummary, InspectResults, LengthSummary, RepeatSummary, TokenSummary};
use crate::runs::audit::{self, TEST, VALIDATION};
use crate::runs::fetch;
use crate::tokenizer::Tokenizer;

/// How the named columns are read.
fn labelled(columns: &ColumnArgs) -> Result<LabelledConfig> {
    let threshold = columns.threshold;
    if !(threshold > 0.0 && threshold <= 1.0) {
        return Err(Error::usage(format!("--threshold is {threshold}; it must lie above 0, up to 1")));
    }
    Ok(LabelledConfig {
        text_column: columns.text_column.clone(),
        label_column: columns.label_column.clone(),
        ..LabelledConfig::default()
    })
}

/// `train data audit`: which rows have exact or near duplicates where they should not.
///
/// Errors: no labelled file named, a threshold out of range (2); as reading the files; with `deny`, test or
/// validation rows that have duplicates in another part (3).
pub fn audit(args: &AuditArgs, json: bool, progress: &Progress) -> Result<()> {
    let config = labelled(&args.columns)?;
    let mut parts = Vec::new();
    for (name, path) in [("train", &args.train), (VALIDATION, &args.validation), (TEST, &args.test)] {
        let Some(path) = path else { continue };
        let texts = read_labelled(path, &config, None)?.examples.into_iter().map(|row| row.text).collect();
        parts.push(AuditPart { name: name.to_string(), texts });
    }
    if parts.is_empty() {
        return Err(Error::usage("nothing to audit: name labelled files by --train, --validation or --test"));
    }
    let document: DocumentBoundary = serde_json::from_value(json!(args.document)).map_err(|_| {
        Error::usage(format!("--document {}: expected line, blank_line or file", args.document))
    })?;
    let corpus = CorpusConfig { train: args.corpus.to_vec(), document, ..CorpusConfig::default() };
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

/// `train data split`: three files with the label shares of the whole, no text near one of another part, and
/// the row numbers in `split.json`.
///
/// Errors: fractions that leave nothing to train on (2), as reading the file, a split that is there (73).
pub fn split(args: &SplitArgs, json: bool) -> Result<()> {
    let config = labelled(&args.columns)?;
    let (path, threshold) = (&args.file, args.columns.threshold);
    let (validation, test) = (args.validation_fraction, args.test_fraction);
    let in_range = |share: f64| (0.0..1.0).contains(&share);
    if !(in_range(validation) && in_range(test) && validation + test < 1.0) {
        let why = format!("the validation fraction is {validation} and the test fraction {test}");
        return Err(Error::usage(format!("{why}; both must lie in 0..1 and leave rows to train on")));
    }
    let record = args.output.join("split.json");
    if record.exists() && !args.overwrite {
        let why = format!("{} exists; use --overwrite or another --output", record.display());
        return Err(Error::new(ErrorKind::Output, why));
    }
    let Labelled { examples, label_names } = read_labelled(path, &config, None)?;
    let texts: Vec<String> = examples.iter().map(|row| row.text.clone()).collect();
    let labels: Vec<u32> = examples.iter().map(|row| row.label).collect();
    let shares = [1.0 - validation - test, validation, test];
    let split = grouped_split(&texts, &labels, &shares, threshold, args.seed);

    let cannot = |cause| Error::writing(&args.output, &cause);
    std::fs::create_dir_all(&args.output).map_err(cannot)?;
    let _ = std::fs::remove_file(&record); // Until it is there again the split is incomplete.
    let names = ["train", VALIDATION, TEST];
    let mut written = BTreeMap::new();
    for (name, rows) in names.iter().zip(&split.parts) {
        let row = |row: &usize| {
            let Example { text, label, .. } = &examples[*row];
            let (text_key, label_key) = (&config.text_column, &config.label_column);
            format!("{}\n", json!({label_key: label_names[*label as usize], text_key: text}))
        };
        let lines: String = rows.iter().map(row).collect();
        files::write_atomic(&args.output.join(format!("{name}.jsonl")), lines.as_bytes())?;
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
        "indices": names.iter().zip(&split.parts).collect::<BTreeMap<_, _>>(),
    });
    files::write_atomic(&record, format!("{results:#}\n").as_bytes())?;
    if json {
        let mut short = results;
        short.as_object_mut().and_then(|object| object.remove("indices"));
        return print_json(&short);
    }
    let parts: Vec<String> = names.iter().map(|name| format!("{name} {}", written[name]["rows"])).collect();
    let (rows, groups, folder) = (texts.len(), split.groups, args.output.display());
    print(&format!(
        "{rows} rows in {groups} groups of close texts: {}\nwritten to {folder}\n",
        parts.join(", ")
    ))
}

/// `train data inspect`: classes, lengths, repeats and traces of a conversion that went wrong.
///
/// Errors: as reading the file and the tokenizer.
pub fn inspect(args: &InspectArgs, json: bool, progress: &Progress) -> Result<()> {
    let path = &args.file;
    let Labelled { examples, label_names } = read_labelled(path, &labelled(&args.columns)?, None)?;
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
    let part = AuditPart { name: "rows".into(), texts: all.iter().map(|text| text.to_string()).collect() };
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
