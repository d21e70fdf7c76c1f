//! `metrics.jsonl` as far as a report draws it: some values over steps.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;

use serde_json::Value;

/// What is drawn; events hold more.
const DRAWN: [&str; 6] =
    ["train_loss", "train_loss_since_eval", "val_loss", "val_f1", "learning_rate", "grad_norm"];

/// Values over optimizer steps by the key of their event, oldest first.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Log {
    curves: BTreeMap<&'static str, Vec<(f64, f64)>>,
}

impl Log {
    /// Reads the log of the run at `path` line by line: it may be larger than memory. Lines cut short by a crash are
    /// left out; without a log nothing is drawn.
    pub fn read(path: &Path) -> Self {
        let mut log = Self::default();
        let Ok(file) = File::open(path.join("metrics.jsonl")) else { return log };
        for line in BufReader::new(file).lines().map_while(Result::ok) {
            let Ok(event) = serde_json::from_str::<Value>(&line) else { continue };
            let Some(step) = event["step"].as_f64() else { continue };
            for key in DRAWN {
                if let Some(value) = event[key].as_f64() {
                    log.curves.entry(key).or_default().push((step, value));
                }
            }
        }
        log
    }

    /// (step, value) of all events that have the key.
    pub fn curve(&self, key: &str) -> &[(f64, f64)] {
        self.curves.get(key).map_or(&[], Vec::as_slice)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_cut_short_and_values_that_are_not_drawn_are_left_out() {
        let folder = tempfile::tempdir().unwrap();
        let log = "{\"step\":1,\"train_loss\":0.7,\"tokens\":9}\n{\"step\":2,\"val_loss\":0.5,\
                   \"train_loss_since_eval\":0.6}\n{\"step\":3,\"val_lo";
        std::fs::write(folder.path().join("metrics.jsonl"), log).unwrap();
        let log = Log::read(folder.path());
        assert_eq!(log.curve("train_loss"), [(1.0, 0.7)]);
        assert!(log.curve("tokens").is_empty());
        assert_eq!(log.curve("val_loss"), [(2.0, 0.5)]);
        assert_eq!(Log::read(&folder.path().join("none")), Log::default());
    }
}
