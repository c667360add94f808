//! Which rows and heads a rank holds.

use std::ops::Range;

use crate::quant::packed::ROWS;
use crate::{Error, ModelConfig, Result};

/// One of several ranks that share a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RankSlice {
    rank: usize,
    ranks: usize,
}

/// More than any machine this runs on has cores for; a larger number is a mistake.
const MAX_RANKS: usize = 64;

impl RankSlice {
    /// The whole model in one rank.
    pub const SOLO: Self = Self { rank: 0, ranks: 1 };

    /// Rank `rank` of `ranks`.
    ///
    /// # Errors
    /// [`Error::Value`] if there is no such rank, or more than 64.
    pub fn new(rank: usize, ranks: usize) -> Result<Self> {
        if rank < ranks && ranks <= MAX_RANKS {
            return Ok(Self { rank, ranks });
        }
        Err(Error::Value {
            name: "rank".into(),
            expected: format!("a rank below the number of ranks, at most {MAX_RANKS}"),
            found: format!("{rank} of {ranks}"),
        })
    }

    /// This rank, from 0.
    pub fn rank(self) -> usize {
        self.rank
    }

    /// Number of ranks.
    pub fn ranks(self) -> usize {
        self.ranks
    }
}

/// How the outputs of a matrix are divided among ranks: `units` of `unit` consecutive rows each,
/// contiguous, as evenly as whole units allow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Split {
    rows: usize,
    unit: usize,
    slice: RankSlice,
}

impl Split {
    /// By groups of interleaved rows, so that no rank computes padding.
    pub fn by_rows(rows: usize, slice: RankSlice) -> Self {
        Self { rows, unit: ROWS, slice }
    }

    /// By query heads.
    pub fn by_heads(config: &ModelConfig, slice: RankSlice) -> Self {
        Self { rows: config.query_width(), unit: config.head_dim, slice }
    }

    /// All rows of all ranks.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Number of ranks.
    pub fn ranks(&self) -> usize {
        self.slice.ranks
    }

    /// The rows of rank `rank`.
    pub fn of(&self, rank: usize) -> Range<usize> {
        let units = self.rows.div_ceil(self.unit);
        let bound = |rank: usize| self.rows.min(units * rank / self.slice.ranks * self.unit);
        bound(rank)..bound(rank + 1)
    }

    /// The rows of this rank.
    pub fn own(&self) -> Range<usize> {
        self.of(self.slice.rank)
    }

    /// The rank that holds a row.
    pub fn owner(&self, row: usize) -> usize {
        (0..self.slice.ranks).find(|rank| self.of(*rank).contains(&row)).unwrap_or(0)
    }
}

/// The key/value heads that a range of query heads attends to. Where ranks cut through a group
/// of query heads, each of them holds (and computes) that group's key/value head: a little work
/// done twice instead of an uneven split, and any number of ranks works.
pub(crate) fn key_value_heads(config: &ModelConfig, query_heads: &Range<usize>) -> Range<usize> {
    if query_heads.is_empty() {
        return 0..0;
    }
    let group = config.num_attention_heads / config.num_key_value_heads;
    query_heads.start / group..query_heads.end.div_ceil(group)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slices(ranks: usize) -> Vec<RankSlice> {
        (0..ranks).map(|rank| RankSlice::new(rank, ranks).unwrap()).collect()
    }

    #[test]
    fn every_row_has_one_owner() {
        for rows in [1, 8, 20, 64, 2048] {
            for ranks in [1, 2, 3, 5, 9] {
                let splits: Vec<Split> =
                    slices(ranks).into_iter().map(|slice| Split::by_rows(rows, slice)).collect();
                let mut next = 0;
                for (rank, split) in splits.iter().enumerate() {
                    assert_eq!(split.own().start, next);
                    next = split.own().end;
                    assert!(split.own().start.is_multiple_of(ROWS) || split.own().is_empty());
                    for row in split.own() {
                        assert_eq!(splits[0].owner(row), rank);
                    }
                }
                assert_eq!(next, rows);
            }
        }
    }

    #[test]
    fn key_value_heads_cover_their_queries() {
        let mut config = ModelConfig {
            vocab_size: 64,
            hidden_size: 64,
            intermediate_size: 64,
            num_hidden_layers: 1,
            num_attention_heads: 6,
            num_key_value_heads: 2,
            head_dim: 32,
            rms_norm_eps: 1e-5,
            rope_theta: 1e4,
            context_length: 64,
            tie_word_embeddings: true,
        };
        assert_eq!(key_value_heads(&config, &(0..2)), 0..1);
        assert_eq!(key_value_heads(&config, &(2..4)), 0..2);
        assert_eq!(key_value_heads(&config, &(4..6)), 1..2);
        assert_eq!(key_value_heads(&config, &(3..3)), 0..0);
        config.num_key_value_heads = 6;
        assert_eq!(key_value_heads(&config, &(1..4)), 1..4);
    }

    #[test]
    fn rejects_ranks_that_do_not_exist() {
        for (rank, ranks) in [(0, 0), (1, 1), (3, 2), (0, 65)] {
            assert!(RankSlice::new(rank, ranks).is_err(), "{rank} of {ranks}");
        }
    }
}
