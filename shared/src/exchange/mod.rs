//! How ranks share activations.
//!
//! The engine is SPMD: `N` ranks run the same forward pass, each on its rows of every matrix, and
//! meet in [`Exchange::all_gather`]. Rank 0 leads: it announces every pass, and the others
//! [`follow`]. What travels are numbers that every rank would have computed alike, so the bits of
//! a result don't depend on `N`.

mod threads;

pub use threads::ThreadExchange;

use crate::model::{KvCache, Model};
use crate::{Error, Result};

/// A forward pass, as the leader announces it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pass<'a> {
    /// Positions of the cache that stay; later ones are forgotten first.
    pub keep: usize,
    /// The tokens that follow.
    pub tokens: &'a [u32],
}

/// One rank's connection to the others.
pub trait Exchange {
    /// This rank, from 0.
    fn rank(&self) -> usize;

    /// Number of ranks.
    fn ranks(&self) -> usize;

    /// Puts this rank's piece at `offset` of `full`, and there the pieces of all ranks.
    ///
    /// All ranks call it in the same order with the same `full.len()`; their pieces cover `full`
    /// without overlap, and may be empty.
    ///
    /// # Errors
    /// [`Error::Exchange`] when another rank is lost, [`Error::Length`] for a piece that leaves
    /// `full`.
    fn all_gather(&mut self, local: &[f32], offset: usize, full: &mut [f32]) -> Result<()>;

    /// On rank 0: has the others run a pass, too.
    ///
    /// # Errors
    /// [`Error::Exchange`] when another rank is lost.
    fn announce(&mut self, pass: Pass) -> Result<()>;

    /// On the other ranks: waits for the next pass, as positions to keep and tokens. `None` when
    /// the leader is done.
    ///
    /// # Errors
    /// [`Error::Exchange`] when another rank is lost.
    fn next_pass(&mut self) -> Result<Option<(usize, Vec<u32>)>>;
}

/// Runs the passes that rank 0 announces, on `cache`, until it is done: what every other rank does
/// all day.
///
/// # Errors
/// The first error of a pass. The leader then finds this rank lost once `exchange` is dropped.
pub fn follow(model: &Model, cache: &mut KvCache, exchange: &mut dyn Exchange) -> Result<()> {
    while let Some((keep, tokens)) = exchange.next_pass()? {
        cache.truncate(keep);
        model.forward(cache, &tokens, exchange)?;
    }
    Ok(())
}

/// Checks what [`Exchange::all_gather`] gets: the piece lies within `full`.
///
/// # Errors
/// [`Error::Length`].
pub fn check_piece(local: &[f32], offset: usize, full: &[f32]) -> Result<()> {
    match offset.checked_add(local.len()) {
        Some(end) if end <= full.len() => Ok(()),
        _ => Err(Error::Length {
            name: format!("a rank's piece at {offset} of {}", full.len()),
            expected: full.len().saturating_sub(offset),
            found: local.len(),
        }),
    }
}

/// The error of a rank that finds another one lost.
pub fn lost_rank() -> Error {
    Error::Exchange { problem: "another rank stopped in the middle; load the model again".into() }
}

/// The exchange of a single rank.
#[derive(Debug, Clone, Copy, Default)]
pub struct SoloExchange;

impl Exchange for SoloExchange {
    fn rank(&self) -> usize {
        0
    }

    fn ranks(&self) -> usize {
        1
    }

    fn all_gather(&mut self, local: &[f32], offset: usize, full: &mut [f32]) -> Result<()> {
        check_piece(local, offset, full)?;
        full[offset..offset + local.len()].copy_from_slice(local);
        Ok(())
    }

    fn announce(&mut self, _: Pass) -> Result<()> {
        Ok(())
    }

    fn next_pass(&mut self) -> Result<Option<(usize, Vec<u32>)>> {
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rejects_pieces_that_do_not_fit() {
        let mut full = [0.0; 4];
        for (local, offset) in [(3, 2), (5, 0), (1, usize::MAX)] {
            let result = SoloExchange.all_gather(&vec![0.0; local], offset, &mut full);
            assert!(matches!(result, Err(Error::Length { .. })), "{local} at {offset}");
        }
    }

    #[test]
    fn a_single_rank_keeps_its_piece() {
        let mut full = [0.0; 3];
        SoloExchange.all_gather(&[1.0, 2.0], 1, &mut full).unwrap();
        assert_eq!(full, [0.0, 1.0, 2.0]);
        assert_eq!(SoloExchange.next_pass().unwrap(), None);
    }
}
