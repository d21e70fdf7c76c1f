//! Labelled rows as token ids, in batches.

use super::batch::Batch;
use super::labelled::Example;
use super::sampler::RowSampler;
use crate::error::Result;
use crate::tokenizer::Tokenizer;

/// Texts that are best encoded at once: the tokenizer's own record of a text is some sixty times as long as the text.
pub const TEXTS_AT_ONCE: usize = 4096;

/// How much of a text is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extent {
    /// Tokens of a window, special ones included.
    pub max_tokens: usize,
    /// Windows that a longer text is read in at most.
    pub windows: usize,
}

/// Encoded texts of one part, each in one window or several.
#[derive(Default)]
pub struct Examples {
    /// Ids of all windows, one behind the other.
    ids: Vec<u32>,
    /// Where each window ends in `ids`.
    ends: Vec<usize>,
    /// Which text each window is of.
    texts: Vec<usize>,
    /// By text.
    labels: Vec<u32>,
    /// Tokens of each text before it was cut.
    lengths: Vec<usize>,
    /// Whether each text lost its end.
    cut: Vec<bool>,
}

impl Examples {
    /// Encodes each text in windows of up to `max_tokens` ids, as few and as equal as they can be; what no window has
    /// room for is cut. Special tokens that the tokenizer puts around a text stand around each window. An empty text
    /// still has one token.
    pub fn encode(tokenizer: &Tokenizer, examples: &[Example], extent: Extent) -> Result<Self> {
        let mut encoded = Self::default();
        for piece in examples.chunks(TEXTS_AT_ONCE) {
            let texts: Vec<String> = piece.iter().map(|example| example.text.clone()).collect();
            encoded.extend(tokenizer, &texts, extent)?;
        }
        encoded.labels = examples.iter().map(|example| example.label).collect();
        Ok(encoded)
    }

    /// Adds texts in the same way, with the first label; some `TEXTS_AT_ONCE`.
    pub fn extend(&mut self, tokenizer: &Tokenizer, texts: &[String], extent: Extent) -> Result<()> {
        let end = tokenizer.end_of_text();
        let around = tokenizer.encode("")?;
        let ends = around.last() == Some(&end);
        let begin = &around[..around.len() - usize::from(ends)];
        for row in tokenizer.encode_batch(texts)? {
            self.lengths.push(row.len());
            let room = extent.max_tokens.saturating_sub(around.len());
            if extent.windows < 2 || row.len() <= extent.max_tokens || room == 0 || !row.starts_with(begin) {
                self.push_cut(row, ends.then_some(end), end, extent.max_tokens);
                continue;
            }
            let content = &row[begin.len()..row.len() - usize::from(ends)];
            let windows = content.len().div_ceil(room).min(extent.windows);
            let kept = content.len().min(windows * room);
            let place = |window: usize| window * kept / windows;
            for window in 0..windows {
                let window = &content[place(window)..place(window + 1)];
                self.ids.extend(begin.iter().chain(window).copied().chain(ends.then_some(end)));
                self.ends.push(self.ids.len());
                self.texts.push(self.cut.len());
            }
            self.cut.push(content.len() > kept);
        }
        self.labels.resize(self.len(), 0);
        Ok(())
    }

    /// One window with the beginning of a text, `last` being its last token if it has one.
    fn push_cut(&mut self, mut row: Vec<u32>, last: Option<u32>, end: u32, max_tokens: usize) {
        let is_cut = row.len() > max_tokens;
        row.truncate(max_tokens);
        match (row.last_mut(), last) {
            (Some(own), Some(last)) if is_cut => *own = last,
            (Some(_), _) => {}
            (None, _) => row.push(end),
        }
        self.ids.extend(row);
        self.ends.push(self.ids.len());
        self.texts.push(self.cut.len());
        self.cut.push(is_cut);
    }

    fn window(&self, window: usize) -> &[u32] {
        let start = window.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.ids[start..self.ends[window]]
    }

    /// Number of texts.
    pub fn len(&self) -> usize {
        self.cut.len()
    }

    /// Whether there is no text.
    pub fn is_empty(&self) -> bool {
        self.cut.is_empty()
    }

    /// Label of each text.
    pub fn labels(&self) -> &[u32] {
        &self.labels
    }

    /// Whether each text lost its end.
    pub fn cut(&self) -> &[bool] {
        &self.cut
    }

    /// Texts that lost their end.
    pub fn truncated(&self) -> usize {
        self.cut.iter().filter(|cut| **cut).count()
    }

    /// Tokens of each text, as long as it was.
    pub fn uncut_lengths(&self) -> &[usize] {
        &self.lengths
    }

    /// Tokens that are read of each text.
    pub fn lengths(&self) -> Vec<usize> {
        let mut lengths = vec![0; self.len()];
        self.window_lengths()
            .into_iter()
            .zip(&self.texts)
            .for_each(|(length, text)| lengths[*text] += length);
        lengths
    }

    /// Tokens of each window.
    pub fn window_lengths(&self) -> Vec<usize> {
        (0..self.ends.len()).map(|window| self.window(window).len()).collect()
    }

    /// Mean over the windows of the tokens that follow another of the same one.
    pub fn mean_predicted_tokens(&self) -> f64 {
        let predicted: usize = self.window_lengths().iter().map(|length| length.saturating_sub(1)).sum();
        predicted as f64 / self.ends.len().max(1) as f64
    }

    /// Training order of the windows.
    pub fn sampler(&self, rows_per_batch: usize, seed: u64) -> RowSampler {
        RowSampler::new(self.ends.len(), rows_per_batch, seed)
    }

    /// All windows once, longest together, for evaluation.
    pub fn by_length(&self, rows_per_batch: usize) -> Vec<Vec<usize>> {
        let mut windows: Vec<usize> = (0..self.ends.len()).collect();
        windows.sort_by_key(|window| self.window(*window).len());
        windows.chunks(rows_per_batch.max(1)).map(<[usize]>::to_vec).collect()
    }

    /// These windows and the labels of their texts.
    pub fn batch(&self, windows: &[usize]) -> Batch {
        let ids = windows.iter().map(|window| self.window(*window));
        Batch {
            ids: ids.clone().flatten().copied().collect(),
            lengths: ids.map(<[u32]>::len).collect(),
            targets: windows.iter().map(|window| self.labels[self.texts[*window]]).collect(),
        }
    }

    /// For each text the mean of what was found for its windows, rows of the same length.
    pub fn means_of_texts(&self, of_windows: Vec<Vec<f64>>) -> Vec<Vec<f64>> {
        let mut found: Vec<Vec<f64>> = vec![Vec::new(); self.len()];
        let mut windows = vec![0.0; self.len()];
        for (row, &text) in of_windows.into_iter().zip(&self.texts) {
            windows[text] += 1.0;
            match found[text].is_empty() {
                true => found[text] = row,
                false => found[text].iter_mut().zip(row).for_each(|(sum, value)| *sum += value),
            }
        }
        // A text of one window keeps its bits.
        let several = found.iter_mut().zip(windows).filter(|(_, windows)| *windows > 1.0);
        several.for_each(|(row, windows)| row.iter_mut().for_each(|value| *value /= windows));
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tokenizer::TokenizerConfig;

    fn tokenizer() -> Tokenizer {
        let config = TokenizerConfig { vocab_size: 258, ..TokenizerConfig::default() };
        Tokenizer::train(["a text".to_string()].into_iter(), &config).unwrap().ending_texts().unwrap()
    }

    fn encoded(texts: &[&str], max_tokens: usize, windows: usize) -> Examples {
        let row = |(label, text): (u32, &&str)| Example { text: text.to_string(), label, line: 0 };
        let rows: Vec<Example> = (0..).zip(texts).map(row).collect();
        Examples::encode(&tokenizer(), &rows, Extent { max_tokens, windows }).unwrap()
    }

    #[test]
    fn a_long_text_is_read_in_equal_windows_that_each_end_as_a_text_does() {
        // A byte is a token here: ten of content are three, three and four, not four, four and two.
        let examples = encoded(&["0123456789", "abc"], 5, 4);
        assert_eq!(examples.window_lengths(), [4, 4, 5, 4]);
        assert_eq!((examples.len(), examples.lengths(), examples.truncated()), (2, vec![13, 4], 0));
        let ids = |text: &str| tokenizer().encode(text).unwrap();
        let batch = examples.batch(&[1, 2, 3]);
        assert_eq!(batch.ids, [ids("345"), ids("6789"), ids("abc")].concat());
        assert_eq!(batch.targets, [0, 0, 1]);
        assert_eq!(examples.uncut_lengths(), [11, 4]);
    }

    #[test]
    fn what_no_window_has_room_for_is_cut_and_said() {
        let examples = encoded(&["0123456789", "abc"], 5, 2);
        assert_eq!(examples.window_lengths(), [5, 5, 4]);
        assert_eq!(examples.cut(), [true, false]);
        let one = encoded(&["0123456789"], 5, 1);
        let ids = |text: &str| tokenizer().encode(text).unwrap();
        assert_eq!((one.batch(&[0]).ids, one.cut()), (ids("0123"), &[true][..]));
    }

    #[test]
    fn the_answer_to_a_text_is_the_mean_over_its_windows() {
        let examples = encoded(&["0123456789", "abc"], 5, 4);
        let of_windows = vec![vec![0.5, 0.5], vec![0.2, 0.8], vec![0.2, 0.8], vec![0.1, 0.9]];
        let found = examples.means_of_texts(of_windows);
        assert!((found[0][0] - 0.3).abs() < 1e-12 && (found[0][1] - 0.7).abs() < 1e-12, "{found:?}");
        assert_eq!(found[1], [0.1, 0.9]);
    }
}
