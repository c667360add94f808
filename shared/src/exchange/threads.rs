//! Ranks as threads.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};

use super::{Exchange, Pass, check_piece, lost_rank};
use crate::{Error, Result};

/// Ranks as threads of one process.
///
/// Two buffers take turns, so that one barrier a gather is enough: a rank that writes the next
/// piece writes the other buffer, and can reach this one again only after every rank has passed
/// the barrier in between, having read. Inside a pass ranks spin; between passes they sleep.
#[derive(Debug)]
pub struct ThreadExchange {
    rank: usize,
    gathers: usize,
    passes: usize,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    ranks: usize,
    buffers: [Vec<AtomicU32>; 2],
    arrived: AtomicUsize,
    lost: AtomicBool,
    command: Mutex<Command>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Command {
    passes: usize,
    keep: usize,
    tokens: Vec<u32>,
    done: bool,
}

impl ThreadExchange {
    /// One end for each of `ranks` threads, for gathers of at most `max_len` elements
    /// ([`crate::Model::max_gather_len`]).
    ///
    /// # Panics
    /// If `ranks` is 0.
    pub fn new(ranks: usize, max_len: usize) -> Vec<Self> {
        assert!(ranks > 0, "at least one rank");
        let buffer = || (0..max_len).map(|_| AtomicU32::new(0)).collect();
        let shared = Arc::new(Shared {
            ranks,
            buffers: [buffer(), buffer()],
            arrived: AtomicUsize::new(0),
            lost: AtomicBool::new(false),
            command: Mutex::default(),
            changed: Condvar::new(),
        });
        let end = |rank| Self { rank, gathers: 0, passes: 0, shared: Arc::clone(&shared) };
        (0..ranks).map(end).collect()
    }

    /// Waits until every rank has arrived as often as this one.
    fn barrier(&self) -> Result<()> {
        /// Spins before the time slice is given away.
        const SPINS: usize = 4096;
        let target = (self.gathers + 1) * self.shared.ranks;
        self.shared.arrived.fetch_add(1, Ordering::AcqRel);
        let mut spins = 0;
        let here = || self.shared.arrived.load(Ordering::Acquire) >= target;
        while !here() {
            // A rank may arrive and end between two looks: what it brought counts.
            if self.shared.lost.load(Ordering::Acquire) && !here() {
                return Err(lost_rank());
            }
            spins += 1;
            if spins < SPINS {
                std::hint::spin_loop();
            } else {
                std::thread::yield_now();
            }
        }
        Ok(())
    }
}

impl Exchange for ThreadExchange {
    fn rank(&self) -> usize {
        self.rank
    }

    fn ranks(&self) -> usize {
        self.shared.ranks
    }

    fn all_gather(&mut self, local: &[f32], offset: usize, full: &mut [f32]) -> Result<()> {
        check_piece(local, offset, full)?;
        let buffer = &self.shared.buffers[self.gathers % 2];
        let Some(buffer) = buffer.get(..full.len()) else {
            return Err(Error::Length {
                name: "the buffer between ranks".into(),
                expected: full.len(),
                found: buffer.len(),
            });
        };
        for (slot, value) in buffer[offset..].iter().zip(local) {
            slot.store(value.to_bits(), Ordering::Relaxed);
        }
        self.barrier()?;
        self.gathers += 1;
        for (value, slot) in full.iter_mut().zip(buffer) {
            *value = f32::from_bits(slot.load(Ordering::Relaxed));
        }
        Ok(())
    }

    fn announce(&mut self, pass: Pass) -> Result<()> {
        if self.shared.lost.load(Ordering::Acquire) {
            return Err(lost_rank());
        }
        let mut command = self.shared.command.lock().unwrap_or_else(PoisonError::into_inner);
        command.passes += 1;
        command.keep = pass.keep;
        command.tokens = pass.tokens.to_vec();
        self.shared.changed.notify_all();
        Ok(())
    }

    fn next_pass(&mut self) -> Result<Option<(usize, Vec<u32>)>> {
        let mut command = self.shared.command.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if command.passes > self.passes {
                self.passes += 1;
                return Ok(Some((command.keep, command.tokens.clone())));
            }
            if command.done {
                return Ok(None);
            }
            if self.shared.lost.load(Ordering::Acquire) {
                return Err(lost_rank());
            }
            command = self.shared.changed.wait(command).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

impl Drop for ThreadExchange {
    /// Nobody waits for a rank that is gone: sleeping followers of a leader end, whoever is in the
    /// middle of a pass gets an error.
    fn drop(&mut self) {
        let mut command = self.shared.command.lock().unwrap_or_else(PoisonError::into_inner);
        command.done |= self.rank == 0;
        // Under the lock: a follower that looks for a pass must not see the loss before the end.
        self.shared.lost.store(true, Ordering::Release);
        self.shared.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uneven_and_empty_pieces_meet() {
        let ends = ThreadExchange::new(3, 8);
        let pieces: [(usize, &[f32]); 3] = [(0, &[1.0, 2.0]), (2, &[]), (2, &[3.0, 4.0, 5.0])];
        std::thread::scope(|scope| {
            for (mut end, (offset, local)) in ends.into_iter().zip(pieces) {
                scope.spawn(move || {
                    for round in 0..200 {
                        let local: Vec<f32> = local.iter().map(|v| v + round as f32).collect();
                        let mut full = [f32::NAN; 5];
                        end.all_gather(&local, offset, &mut full).unwrap();
                        let expected: Vec<f32> = (1..=5).map(|v| (v + round) as f32).collect();
                        assert_eq!(full, expected[..]);
                    }
                });
            }
        });
    }

    #[test]
    fn passes_arrive_in_order_and_end() {
        let mut ends = ThreadExchange::new(2, 1);
        let (mut follower, mut leader) = (ends.pop().unwrap(), ends.pop().unwrap());
        std::thread::scope(|scope| {
            scope.spawn(move || {
                for round in 0..50_u32 {
                    leader.announce(Pass { keep: 7, tokens: &[round, 1] }).unwrap();
                    leader.all_gather(&[], 0, &mut [0.0]).unwrap();
                }
            });
            let mut seen = 0;
            while let Some((keep, tokens)) = follower.next_pass().unwrap() {
                assert_eq!((keep, tokens), (7, vec![seen, 1]));
                follower.all_gather(&[1.0], 0, &mut [0.0]).unwrap();
                seen += 1;
            }
            assert_eq!(seen, 50);
        });
    }

    #[test]
    fn a_lost_rank_is_an_error_for_the_others() {
        let mut ends = ThreadExchange::new(3, 1);
        let (gone, mut second) = (ends.pop().unwrap(), ends.pop().unwrap());
        let mut leader = ends.pop().unwrap();
        std::thread::scope(|scope| {
            let waiting = scope.spawn(move || second.all_gather(&[], 0, &mut [0.0]));
            drop(gone);
            assert!(matches!(waiting.join().unwrap(), Err(Error::Exchange { .. })));
        });
        assert!(leader.announce(Pass { keep: 0, tokens: &[] }).is_err());
        assert!(leader.all_gather(&[], 0, &mut [0.0]).is_err());
    }

    #[test]
    fn rejects_gathers_larger_than_the_buffer() {
        let mut end = ThreadExchange::new(1, 3).remove(0);
        assert!(matches!(end.all_gather(&[], 0, &mut [0.0; 4]), Err(Error::Length { .. })));
    }
}
