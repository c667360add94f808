//! The corpus as rows of one length, for pretraining on a GPU (`trainer/scripts/pretrain_gpu.py`).

use std::io::Write;

use anyhow::{Context, Result, ensure};
use rand_chacha::ChaCha8Rng;

use super::recipe::Recipe;
use super::shard::{Data, Mix};
use crate::corpus::{Universe, stream};
use crate::nn::{Batch, Segment};

/// Segments that wait for a row with room for them.
const PENDING: usize = 24;
/// What a row's padding carries as its segment.
const PADDING: u16 = u16::MAX;
/// Loss weights are counted in thousandths.
const WEIGHT_UNIT: f32 = 1000.0;

/// Places of a row: the prefix and a shard.
pub fn row_tokens(data: &Data<'_>, recipe: &Recipe) -> usize {
    data.encoder.prefix().len() + recipe.shard_tokens
}

/// Writes `step` to `out`: one row for every shard of the recipe, each as four arrays of `u16`
/// (little-endian) of length [`row_tokens`]: token, position, segment (0 for the prefix, which all
/// see) and loss weight of predicting the token behind, in thousandths. The rest of a row is
/// padding, 65,535 as segment.
///
/// # Errors
/// A recipe whose rows are too short for the corpus, or an `out` that cannot be written to.
pub fn write_rows(
    out: &mut impl Write,
    data: &Data<'_>,
    recipe: &Recipe,
    step: usize,
) -> Result<()> {
    ensure!(
        recipe.shard_tokens >= data.max_segment,
        "a row holds {} tokens behind the prefix, the corpus has segments of {}: --shard-tokens",
        recipe.shard_tokens,
        data.max_segment
    );
    let universes = recipe.universes(data.grammar, step);
    let mut rng = stream(recipe.seed, "rows", step as u64);
    let mut makers: Vec<Maker<'_>> =
        universes.iter().map(|universe| Maker::new(universe, step)).collect();
    for row in 0..recipe.shards {
        let index = row % makers.len();
        let segments = makers[index].row(data, recipe.shard_tokens, &mut rng)?;
        let batch = Batch::pack(data.encoder.prefix(), &segments);
        out.write_all(&encode(&batch, row_tokens(data, recipe))?)
            .context("cannot write the rows")?;
    }
    Ok(())
}

/// Fills rows with questions about one universe.
struct Maker<'u> {
    universe: &'u Universe<'u>,
    mix: Mix,
    pending: Vec<Segment>,
}

impl<'u> Maker<'u> {
    fn new(universe: &'u Universe<'u>, step: usize) -> Self {
        Self { universe, mix: Mix::at(step), pending: Vec::new() }
    }

    /// Best fit: the longest pending segment that there is room for, until there is none.
    fn row(&mut self, data: &Data<'_>, room: usize, rng: &mut ChaCha8Rng) -> Result<Vec<Segment>> {
        let mut left = room;
        let mut row = Vec::new();
        loop {
            while self.pending.len() < PENDING {
                self.pending.push(data.next_segment(self.universe, &mut self.mix, rng)?);
            }
            let fitting = (0..PENDING).filter(|at| self.pending[*at].tokens.len() <= left);
            let Some(at) = fitting.max_by_key(|at| self.pending[*at].tokens.len()) else {
                return Ok(row);
            };
            let segment = self.pending.swap_remove(at);
            left -= segment.tokens.len();
            row.push(segment);
        }
    }
}

fn encode(batch: &Batch, length: usize) -> Result<Vec<u8>> {
    let used = batch.tokens.len();
    ensure!(used <= length, "a row of {used} tokens is longer than {length}");
    let mut segments = vec![PADDING; length];
    segments[..batch.layout.prefix].fill(0);
    for (range, number) in batch.layout.segments.iter().zip(1..) {
        segments[range.clone()].fill(number);
    }
    let mut weights = vec![0u16; length];
    for target in &batch.targets {
        weights[target.row as usize] = (target.weight * WEIGHT_UNIT).round() as u16;
    }
    let planes = [narrow(&batch.tokens, length)?, narrow(&batch.positions, length)?];
    let planes = planes.iter().chain([&segments, &weights]);
    Ok(planes.flatten().flat_map(|value| value.to_le_bytes()).collect())
}

fn narrow(values: &[u32], length: usize) -> Result<Vec<u16>> {
    let mut narrow =
        values.iter().map(|value| u16::try_from(*value)).collect::<Result<Vec<_>, _>>()?;
    narrow.resize(length, 0);
    Ok(narrow)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_says_what_its_batch_says() {
        let mut a = Segment::default();
        a.push(&[5, 6], 0.0);
        a.push(&[7], 1.0);
        let mut b = Segment::default();
        b.push(&[8, 9], 0.25);
        let bytes = encode(&Batch::pack(&[1, 2], [&a, &b]), 8).unwrap();
        let values: Vec<u16> =
            bytes.chunks_exact(2).map(|pair| u16::from_le_bytes([pair[0], pair[1]])).collect();
        let planes: Vec<&[u16]> = values.chunks_exact(8).collect();
        assert_eq!(planes[0], [1, 2, 5, 6, 7, 8, 9, 0]);
        assert_eq!(planes[1], [0, 1, 2, 3, 4, 2, 3, 0]);
        assert_eq!(planes[2], [0, 0, 1, 1, 1, 2, 2, PADDING]);
        assert_eq!(planes[3], [0, 0, 0, 1000, 0, 250, 0, 0]);
    }
}
