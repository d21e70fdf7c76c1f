//! Texts that look the same: one character in two encodings, and characters that nobody sees.

use std::borrow::Cow;

use crate::tokenizer::nfc;

/// The text as a reader sees it: in Unicode NFC and without invisible characters.
///
/// Invisible are the code points that Unicode calls Default_Ignorable, such as zero-width spaces, soft hyphens and
/// byte order marks. Source: Unicode 16.0, DerivedCoreProperties.txt and UAX 15.
pub(super) fn as_seen(text: &str) -> Cow<'_, str> {
    if text.is_ascii() {
        return Cow::Borrowed(text);
    }
    let visible: Cow<str> = match text.contains(is_invisible) {
        true => Cow::Owned(text.chars().filter(|c| !is_invisible(*c)).collect()),
        false => Cow::Borrowed(text),
    };
    Cow::Owned(nfc(&visible))
}

fn is_invisible(c: char) -> bool {
    matches!(c,
        '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}'..='\u{1160}' | '\u{17b4}'..='\u{17b5}'
        | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}'
        | '\u{fff0}'..='\u{fff8}' | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}'
        | '\u{e0000}'..='\u{e0fff}')
}

/// How two names of one thing may differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Likeness {
    /// Nobody can tell them apart: they differ in encoding, invisible characters or white space.
    Looks,
    /// They are one number.
    Number,
    /// They differ in case.
    Case,
}

/// What a name shares with those that are alike, closest first.
pub(super) fn alike_keys(name: &str) -> Vec<(Likeness, String)> {
    let seen = as_seen(name).split_whitespace().collect::<Vec<_>>().join(" ");
    let number = seen.parse::<f64>().ok().filter(|number| number.is_finite());
    let mut keys = vec![(Likeness::Case, seen.to_lowercase())];
    // Minus nought is nought.
    keys.extend(number.map(|number| (Likeness::Number, (number + 0.0).to_string())));
    keys.push((Likeness::Looks, seen));
    keys.reverse();
    keys
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spellings_that_look_the_same_are_one() {
        assert_eq!(as_seen("caf\u{e9}"), as_seen("cafe\u{301}"));
        assert_eq!(as_seen("sp\u{200b}am\u{feff}"), "spam");
        assert_eq!(as_seen("1. \u{6587}"), "1. \u{6587}");
    }

    #[test]
    fn names_are_alike_in_looks_as_numbers_or_but_for_case() {
        let likeness = |a: &str, b: &str| {
            let of_b = alike_keys(b);
            alike_keys(a).into_iter().find(|key| of_b.contains(key)).map(|(likeness, _)| likeness)
        };
        assert_eq!(likeness("\u{e9}t\u{e9}", "e\u{301}te\u{301}"), Some(Likeness::Looks));
        assert_eq!(likeness("not  spam", "not\u{a0}spam"), Some(Likeness::Looks));
        assert_eq!(likeness("1", "1.0"), Some(Likeness::Number));
        assert_eq!(likeness("Spam", "SPAM"), Some(Likeness::Case));
        assert_eq!(likeness("1", "11"), None);
        assert_eq!(likeness("nan", "inf"), None);
    }
}
