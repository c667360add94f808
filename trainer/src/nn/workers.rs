//! Data-parallel work on a fixed number of shards.
//!
//! The shards, and the order in which their results are used, do not depend on the number
//! of threads: a run gives the same bits on any machine with the same instruction set.
//! A shard's products stay on the thread that owns the shard: splitting every small product
//! costs a synchronisation per product. Only threads that no shard is left for join in.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Context, Result};
use rayon::{ThreadPool, ThreadPoolBuilder};

/// Threads that each work through whole shards, alone or with helpers.
pub struct Workers {
    pools: Vec<ThreadPool>,
    threads: usize,
}

impl Workers {
    /// `threads` threads (one per core for 0) for `shards` shards at a time.
    pub fn new(threads: usize, shards: usize) -> Result<Self> {
        let threads = match threads {
            0 => std::thread::available_parallelism()?.get(),
            n => n,
        };
        let count = threads.min(shards.max(1));
        let pools = (0..count)
            .map(|index| {
                ThreadPoolBuilder::new()
                    .num_threads((threads + index) / count)
                    .build()
                    .context("cannot start a worker thread")
            })
            .collect::<Result<_>>()?;
        Ok(Self { pools, threads })
    }

    /// Number of threads.
    pub fn threads(&self) -> usize {
        self.threads
    }

    /// `f(0)`, `f(1)` ... `f(count - 1)`, in this order whoever computed them.
    pub fn map<T: Send>(
        &self,
        count: usize,
        f: impl Fn(usize) -> Result<T> + Sync,
    ) -> Result<Vec<T>> {
        let next = AtomicUsize::new(0);
        let results: Vec<Mutex<Option<Result<T>>>> = (0..count).map(|_| Mutex::new(None)).collect();
        std::thread::scope(|scope| {
            for pool in &self.pools {
                let (next, results, f) = (&next, &results, &f);
                scope.spawn(move || {
                    pool.install(|| {
                        loop {
                            let index = next.fetch_add(1, Ordering::Relaxed);
                            let Some(slot) = results.get(index) else { break };
                            let result = f(index);
                            if let Ok(mut slot) = slot.lock() {
                                *slot = Some(result);
                            }
                        }
                    });
                });
            }
        });
        results
            .into_iter()
            .map(|slot| {
                slot.into_inner()
                    .ok()
                    .flatten()
                    .context("a worker thread stopped before its shard was done")?
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_keep_their_order_for_any_number_of_threads() {
        for threads in [1, 2, 5] {
            let squares = Workers::new(threads, 4).unwrap().map(17, |i| Ok(i * i)).unwrap();
            assert_eq!(squares, (0..17).map(|i| i * i).collect::<Vec<_>>());
        }
    }

    #[test]
    fn an_error_in_a_shard_is_the_result() {
        let error = Workers::new(2, 4)
            .unwrap()
            .map(4, |i| if i == 2 { anyhow::bail!("shard 2") } else { Ok(i) });
        assert_eq!(error.unwrap_err().to_string(), "shard 2");
    }
}
