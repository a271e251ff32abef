//! The lines of data that follow `COPY ... FROM STDIN`, up to one that is `\.`.

/// What is known of the data so far.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CopyData {
    /// Whole lines of data, with their ends.
    Lines(Vec<u8>),
    /// The data has ended: there was a `\.`, or the text is over.
    End,
    /// More text is needed.
    More,
}

/// How much data is handed on at once, give or take a line.
const PIECE: usize = 64 << 10;

/// Takes the next lines from `input`, from `*at` on.
pub fn take(input: &mut [u8], at: &mut usize, ended: bool) -> CopyData {
    let rest = input.get(*at..).unwrap_or_default();
    let mut length = 0;
    let mut over = false;
    for line in rest.split_inclusive(|b| *b == b'\n') {
        let whole = line.ends_with(b"\n") || ended;
        over = whole && is_end(line);
        if !whole || over || length >= PIECE {
            break;
        }
        length += line.len();
    }
    if length > 0 {
        let lines = rest.get(..length).unwrap_or_default().to_vec();
        *at += length;
        return CopyData::Lines(lines);
    }
    if over {
        *at += rest.iter().position(|b| *b == b'\n').map_or(rest.len(), |end| end + 1);
    }
    if over || ended { CopyData::End } else { CopyData::More }
}

fn is_end(line: &[u8]) -> bool {
    matches!(line, b"\\." | b"\\.\n" | b"\\.\r\n")
}

/// Takes the rest of the line at `*at`; `None` until all of it is there.
pub fn set_aside(input: &[u8], at: &mut usize, ended: bool) -> Option<Vec<u8>> {
    let rest = input.get(*at..).unwrap_or_default();
    let length = match rest.iter().position(|b| *b == b'\n') {
        Some(end) => end + 1,
        None if ended => rest.len(),
        None => return None,
    };
    *at += length;
    Some(rest.get(..length).unwrap_or_default().to_vec())
}
