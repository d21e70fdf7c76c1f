//! The data inside the program, so that every command runs without a download.

/// What a config says instead of a path.
pub const NAME: &str = "demo";

/// A part of the labelled messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// Trained on.
    Train,
    /// Tuned on.
    Validation,
    /// Measured on.
    Test,
}

/// Files of the text to pre-train on: (name, text), blank lines between documents.
pub fn corpus() -> &'static [(&'static str, &'static str)] {
    macro_rules! texts {
        ($($name:literal)*) => {
            &[$((concat!("demo/corpus/", $name, ".txt"), include_str!(concat!("../../data/corpus/", $name, ".txt")))),*]
        };
    }
    texts!("family" "friends" "notices" "stories" "students" "work")
}

/// Labelled messages, `label<TAB>text` a line.
pub fn messages(part: Part) -> &'static str {
    match part {
        Part::Train => include_str!("../../data/messages/train.tsv"),
        Part::Validation => include_str!("../../data/messages/validation.tsv"),
        Part::Test => include_str!("../../data/messages/test.tsv"),
    }
}
