//! The pieces of a file that several connections download. Pure.

use std::collections::VecDeque;
use std::ops::Range;

/// A file is split into this many pieces, unless they become too short or too long.
const PIECES: u64 = 64;

/// The ranges of the file that no connection downloads yet. A piece is split off when a connection takes it, since a store
/// can announce any length.
#[derive(Debug)]
pub(super) struct PieceQueue {
    /// Ranges that are taken before others, each as a whole.
    returned: VecDeque<Range<u64>>,
    unsplit: Range<u64>,
    piece_length: u64,
}

impl PieceQueue {
    /// Splits the remaining bytes into pieces of a length within these bounds.
    pub(super) fn split(remaining: Range<u64>, (min, max): (u64, u64)) -> Self {
        let length = remaining.end.saturating_sub(remaining.start);
        let piece_length = (length / PIECES).clamp(min, max).max(1);
        Self { returned: VecDeque::new(), unsplit: remaining, piece_length }
    }

    /// Queues ranges that are not split.
    pub(super) fn of_ranges(ranges: Vec<Range<u64>>) -> Self {
        Self { returned: ranges.into(), unsplit: 0..0, piece_length: 0 }
    }

    /// Takes the next piece.
    pub(super) fn take(&mut self) -> Option<Range<u64>> {
        self.returned.pop_front().or_else(|| {
            let end = self.unsplit.end.min(self.unsplit.start.saturating_add(self.piece_length));
            let piece = self.unsplit.start..end;
            self.unsplit.start = end;
            Some(piece).filter(|piece| !piece.is_empty())
        })
    }

    /// Whether no piece is left to take.
    pub(super) fn is_empty(&self) -> bool {
        self.returned.is_empty() && self.unsplit.is_empty()
    }

    /// Returns what is missing of a piece. It is taken next.
    pub(super) fn put_back(&mut self, piece: Range<u64>) {
        self.returned.push_front(piece);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_cover_the_file_without_gap_or_overlap() {
        for (remaining, bounds, number) in [
            (0..200_u64, (1, 1000), 67),
            (150..200, (10, 1000), 5),
            (6400..12_800, (1, 1000), 64),
            (0..1_000_000, (1, 100), 10_000),
            (0..1, (10, 10), 1),
            (7..7, (10, 10), 0),
        ] {
            let mut queue = PieceQueue::split(remaining.clone(), bounds);
            let (mut at, mut pieces) = (remaining.start, 0);
            while let Some(piece) = queue.take() {
                assert!(piece.start == at && piece.end > at && piece.end - at <= queue.piece_length);
                (at, pieces) = (piece.end, pieces + 1);
            }
            assert_eq!((at, pieces), (remaining.end, number), "{remaining:?}");
        }
    }

    #[test]
    fn a_file_of_any_length_is_split_as_its_pieces_are_taken() {
        let mut queue = PieceQueue::split(5..u64::MAX, (1 << 20, 16 << 20));
        assert_eq!(queue.take(), Some(5..5 + (16 << 20)));
        let mut queue = PieceQueue::split(u64::MAX - 3..u64::MAX, (16 << 20, 16 << 20));
        assert_eq!((queue.take(), queue.take(), queue.take()), (Some(u64::MAX - 3..u64::MAX), None, None));
    }

    #[test]
    fn what_was_put_back_is_taken_first() {
        let mut queue = PieceQueue::split(40..50, (8, 8));
        queue.put_back(7..9);
        queue.put_back(2..4);
        let taken: Vec<_> = std::iter::from_fn(|| queue.take()).collect();
        assert_eq!(taken, [2..4, 7..9, 40..48, 48..50]);

        let mut queue = PieceQueue::of_ranges(vec![7..9, 30..55]);
        assert_eq!((queue.take(), queue.take(), queue.take()), (Some(7..9), Some(30..55), None));
    }
}
