//! Thrift's compact protocol, as far as it tells what a Parquet file says of itself before the crate believes it.
//!
//! Source: thrift-compact-protocol.md of Apache Thrift.

/// The kind that ends a structure.
const STOP: u8 = 0;
/// Structures inside structures that are followed.
const MOST_DEEP: usize = 64;

/// A list or map that says it has more elements than there are bytes for: its count, and the bytes that follow.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Endless {
    /// Elements.
    pub count: u64,
    /// What is left.
    pub bytes: usize,
}

/// Looks at every list of a structure: all together have no more elements than it has bytes. What is no structure, or is
/// cut off, passes: it is left to the crate.
pub(super) fn check_lists(structure: &[u8]) -> Result<(), Endless> {
    Walk { elements_left: structure.len() as u64 }.skip_structure(structure, MOST_DEEP).map(drop)
}

/// A way through a structure, and how many elements its lists may still have.
struct Walk {
    elements_left: u64,
}

/// The first three fields of a page header: its type, its size and its compressed size; 0 for what is not there.
pub(super) fn first_numbers(header: &[u8]) -> [u64; 3] {
    const NUMBER: u8 = 5;
    let mut numbers = [0; 3];
    let (mut rest, mut number) = (header, 0);
    while let Some((field, after)) = field(rest, number).filter(|(field, _)| field.kind == NUMBER) {
        let Some((zigzag, after)) = varint(after) else { break };
        number = field.number;
        if let Some(slot) = (number as usize).checked_sub(1).and_then(|at| numbers.get_mut(at)) {
            *slot = zigzag / 2;
        }
        rest = after;
    }
    numbers
}

struct Field {
    number: u64,
    kind: u8,
}

/// The beginning of a field: the step from the number of the field before and the kind, or no step, the kind and the
/// number.
fn field(bytes: &[u8], before: u64) -> Option<(Field, &[u8])> {
    let (start, rest) = bytes.split_first()?;
    let kind = start & 15;
    match u64::from(start >> 4) {
        0 => varint(rest).map(|(zigzag, rest)| (Field { number: zigzag / 2, kind }, rest)),
        step => Some((Field { number: before.saturating_add(step), kind }, rest)),
    }
}

impl Walk {
    /// What follows the structure; none where it is cut off.
    fn skip_structure<'a>(&mut self, mut bytes: &'a [u8], deep: usize) -> Result<Option<&'a [u8]>, Endless> {
        loop {
            let Some((field, rest)) = field(bytes, 0) else { return Ok(None) };
            if field.kind == STOP {
                return Ok(Some(rest));
            }
            match self.skip(field.kind, rest, deep)? {
                Some(rest) => bytes = rest,
                None => return Ok(None),
            }
        }
    }

    /// What follows a value of this kind; none where it is cut off or of no kind.
    fn skip<'a>(&mut self, kind: u8, bytes: &'a [u8], deep: usize) -> Result<Option<&'a [u8]>, Endless> {
        let Some(deeper) = deep.checked_sub(1) else { return Ok(None) };
        Ok(match kind {
            // True and false are said by the kind.
            1 | 2 => Some(bytes),
            3 => bytes.get(1..),
            4..=6 => varint(bytes).map(|(_, rest)| rest),
            7 => bytes.get(8..),
            8 => varint(bytes).and_then(|(length, rest)| rest.get(usize::try_from(length).ok()?..)),
            9 | 10 => return self.skip_list(bytes, deeper),
            11 => return self.skip_map(bytes, deeper),
            12 => return self.skip_structure(bytes, deeper),
            13 => bytes.get(16..),
            _ => None,
        })
    }

    fn skip_list<'a>(&mut self, bytes: &'a [u8], deep: usize) -> Result<Option<&'a [u8]>, Endless> {
        const COUNT_FOLLOWS: u8 = 15;
        let Some((head, rest)) = bytes.split_first() else { return Ok(None) };
        let counted = match head >> 4 {
            COUNT_FOLLOWS => varint(rest),
            count => Some((u64::from(count), rest)),
        };
        match counted {
            Some((count, rest)) => self.skip_all(count, &[head & 15], rest, deep),
            None => Ok(None),
        }
    }

    fn skip_map<'a>(&mut self, bytes: &'a [u8], deep: usize) -> Result<Option<&'a [u8]>, Endless> {
        match varint(bytes) {
            Some((0, rest)) => Ok(Some(rest)),
            Some((count, rest)) => match rest.split_first() {
                Some((kinds, rest)) => self.skip_all(count, &[kinds >> 4, kinds & 15], rest, deep),
                None => Ok(None),
            },
            None => Ok(None),
        }
    }

    /// What follows `count` times values of these kinds. True and false take no bytes, which is how the crate passes over
    /// them.
    fn skip_all<'a>(
        &mut self,
        count: u64,
        kinds: &[u8],
        mut rest: &'a [u8],
        deep: usize,
    ) -> Result<Option<&'a [u8]>, Endless> {
        let left = self.elements_left.checked_sub(count).filter(|_| count <= rest.len() as u64);
        self.elements_left = left.ok_or(Endless { count, bytes: rest.len() })?;
        for kind in (0..count).flat_map(|_| kinds) {
            match self.skip(*kind, rest, deep)? {
                Some(after) => rest = after,
                None => return Ok(None),
            }
        }
        Ok(Some(rest))
    }
}

/// A number in groups of seven bits, lowest first.
pub(super) fn varint(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let length = bytes.iter().take(10).position(|byte| byte & 0x80 == 0)? + 1;
    let (own, rest) = bytes.split_at(length);
    let number = own.iter().rev().fold(0_u64, |number, byte| number << 7 | u64::from(byte & 0x7f));
    Some((number, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sizes_of_a_page_are_read_in_both_forms_of_a_field() {
        // Type 2, size 3, compressed size 200 as zigzag: 4, 6, 400.
        assert_eq!(first_numbers(&[0x15, 4, 0x15, 6, 0x15, 0x90, 3, 0x2c]), [2, 3, 200]);
        assert_eq!(first_numbers(&[0x05, 4, 6, 0x15, 0x90, 3, 0]), [0, 3, 200]);
        assert_eq!(first_numbers(&[0x19, 1]), [0; 3]);
    }

    #[test]
    fn a_list_has_no_more_elements_than_bytes() {
        // Field 1: a list of two numbers, field 2: a structure with a text, the end.
        let good = [0x19, 0x25, 2, 4, 0x1c, 0x18, 3, b'a', b'b', b'c', 0, 0];
        assert_eq!(check_lists(&good), Ok(()));
        let cut_off = (0..good.len()).filter(|cut| *cut != 2 && *cut != 3);
        cut_off.for_each(|cut| assert_eq!(check_lists(&good[..cut]), Ok(()), "cut at {cut}"));
        let map = [0x1b, 0xff, 0xff, 0xff, 0xff, 7, 0x11, 0];
        assert_eq!(check_lists(&map), Err(Endless { count: (1 << 31) - 1, bytes: 1 }));
        let endless = [0x1c, 0x19, 0xf2, 0xff, 0xff, 0xff, 0xff, 7, 1, 0, 0];
        assert_eq!(check_lists(&endless), Err(Endless { count: (1 << 31) - 1, bytes: 3 }));
        assert_eq!(check_lists(&[0x1c; 100_000]), Ok(()), "too deep to follow");
        // Many lists of truths, which take no bytes, each shorter than the text of 1,000 bytes that follows.
        let lists = (0..1000).flat_map(|_| [0x19, 0xf1, 0xe8, 7]);
        let many: Vec<u8> = lists.chain([0x18, 0xe8, 7]).chain([b'a'; 1000]).chain([0]).collect();
        assert!(check_lists(&many).is_err());
    }
}
