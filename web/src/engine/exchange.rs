//! How ranks in workers share activations: one `SharedArrayBuffer`.
//!
//! ```text
//! words    arrived, command, lost, sleepers, kind, keep, count, 0 ... | tokens of the pass    i32
//! buffers  two of the longest gather, taking turns                                            f32
//! ```
//! Two buffers make one barrier a gather enough: a rank that writes the next piece writes the other
//! buffer, and can reach this one again only after every rank has passed the barrier in between,
//! having read. Inside a pass ranks spin, for that is quickest, and after a while (a busy machine)
//! they sleep; between passes followers sleep. Waking costs the waker time, so it is done only
//! when somebody sleeps.

use js_sys::{Atomics, Float32Array, Int32Array, SharedArrayBuffer};
use shared::{Error, Exchange, Model, Pass, Result, check_piece, lost_rank};
use wasm_bindgen::prelude::wasm_bindgen;

use super::scope;

/// Gathers that this many arrivals have completed; counts on, past its overflow.
const ARRIVED: u32 = 0;
/// Number of the last command.
const COMMAND: u32 = 1;
/// Not 0: a rank is lost. `engine.js` knows this place, too, for ranks that trap.
const LOST: u32 = 2;
/// Ranks that sleep, or are about to.
const SLEEPERS: u32 = 3;
const KIND: u32 = 4;
const KEEP: u32 = 5;
const COUNT: u32 = 6;
/// Where the tokens of a pass begin.
const TOKENS: u32 = 16;

const PASS: i32 = 1;
const DONE: i32 = 2;

/// A rank that has not arrived for this long is lost. Time in which this rank did not run either
/// (the computer slept) does not count.
const PATIENCE_MS: f64 = 30_000.0;
/// The most that counts between two looks at the clock.
const LOOK_MS: f64 = 100.0;
/// Spinning ends after this.
const SPIN_MS: f64 = 1.0;
/// One nap of a rank that waits inside a pass.
const NAP_MS: f64 = 20.0;
/// Looks at the counter between two looks at the clock.
const SPINS: u32 = 200;

/// One rank's end.
pub struct SharedExchange {
    rank: usize,
    ranks: usize,
    memory: SharedArrayBuffer,
    words: Int32Array,
    buffers: [Float32Array; 2],
    gathers: i32,
    commands: i32,
}

impl SharedExchange {
    /// Rank 0's end, with new memory for what `model` exchanges.
    ///
    /// # Errors
    /// The browser gives no shared memory.
    pub fn lead(model: &Model) -> Result<Self> {
        let (words, longest) = layout(model);
        let bytes = (words as usize + 2 * longest as usize) * 4;
        // Bound by hand: js-sys's constructor cannot fail, and browsers have none to give at times.
        let constructor = js_sys::Reflect::get(&js_sys::global(), &"SharedArrayBuffer".into());
        let memory = constructor
            .and_then(|constructor| {
                let constructor: js_sys::Function = constructor.into();
                js_sys::Reflect::construct(
                    &constructor,
                    &js_sys::Array::of1(&(bytes as f64).into()),
                )
            })
            .map_err(|error| problem(format!("the browser lends no memory to share: {error:?}")))?;
        Ok(Self::join(memory.into(), model))
    }

    /// The end of the rank that `model` is, in the leader's memory.
    pub fn join(memory: SharedArrayBuffer, model: &Model) -> Self {
        let (words, longest) = layout(model);
        let buffer = |index: u32| {
            let start = 4 * (words + index * longest);
            Float32Array::new_with_byte_offset_and_length(&memory, start, longest)
        };
        Self {
            rank: model.slice().rank(),
            ranks: model.slice().ranks(),
            words: Int32Array::new_with_byte_offset_and_length(&memory, 0, words),
            buffers: [buffer(0), buffer(1)],
            memory,
            gathers: 0,
            commands: 0,
        }
    }

    /// The memory that the others [`join`](Self::join).
    pub fn memory(&self) -> &SharedArrayBuffer {
        &self.memory
    }

    /// On rank 0: lets the others out of their wait for passes.
    pub fn done(&mut self) {
        self.store(KIND, DONE);
        self.command();
    }

    /// Has no rank wait for this one any longer.
    pub fn lose(&self) {
        self.store(LOST, self.rank as i32 + 1);
        for place in [ARRIVED, COMMAND] {
            self.notify(place);
        }
    }

    fn command(&mut self) {
        self.commands = self.commands.wrapping_add(1);
        self.store(COMMAND, self.commands);
        if self.load(SLEEPERS) > 0 {
            self.notify(COMMAND);
        }
    }

    fn barrier(&self) -> Result<()> {
        let target = self.gathers.wrapping_add(1).wrapping_mul(self.ranks as i32);
        let there = |arrived: i32| arrived.wrapping_sub(target) >= 0;
        if there(self.add(ARRIVED, 1).wrapping_add(1)) {
            if self.load(SLEEPERS) > 0 {
                self.notify(ARRIVED);
            }
            return Ok(());
        }
        let mut clock = None;
        loop {
            for _ in 0..SPINS {
                if there(self.load(ARRIVED)) {
                    return Ok(());
                }
            }
            if self.load(LOST) != 0 {
                return Err(lost_rank());
            }
            // Started only now, because most waits are over by then.
            let waited = clock.get_or_insert_with(Clock::start).waited();
            if waited > PATIENCE_MS {
                self.lose();
                return Err(problem(format!(
                    "another rank has not answered for {} seconds",
                    PATIENCE_MS / 1000.0
                )));
            }
            if waited > SPIN_MS {
                self.sleep(ARRIVED, NAP_MS, |value| !there(value));
            }
        }
    }

    /// Sleeps until somebody changes `place`, `ms` have passed, or `asleep` is false of its value.
    fn sleep(&self, place: u32, ms: f64, asleep: impl Fn(i32) -> bool) {
        self.add(SLEEPERS, 1);
        let value = self.load(place);
        if asleep(value) && self.load(LOST) == 0 {
            let _ = Atomics::wait_with_timeout(&self.words, place, value, ms)
                .expect("workers may wait");
        }
        self.add(SLEEPERS, -1);
    }

    fn load(&self, place: u32) -> i32 {
        atomic_load(&self.words, place)
    }

    fn store(&self, place: u32, value: i32) {
        atomic_store(&self.words, place, value);
    }

    fn add(&self, place: u32, value: i32) -> i32 {
        atomic_add(&self.words, place, value)
    }

    fn notify(&self, place: u32) {
        Atomics::notify(&self.words, place).expect("the place exists");
    }

    fn tokens(&self, count: u32) -> Int32Array {
        self.words.subarray(TOKENS, TOKENS + count)
    }
}

// Bound by hand: js-sys's bindings catch exceptions, which costs more than the operation, and for
// places that exist there are none.
#[wasm_bindgen]
extern "C" {
    #[wasm_bindgen(js_namespace = Atomics, js_name = load)]
    fn atomic_load(words: &Int32Array, place: u32) -> i32;
    #[wasm_bindgen(js_namespace = Atomics, js_name = store)]
    fn atomic_store(words: &Int32Array, place: u32, value: i32) -> i32;
    #[wasm_bindgen(js_namespace = Atomics, js_name = add)]
    fn atomic_add(words: &Int32Array, place: u32, value: i32) -> i32;
}

/// Words before the buffers, and elements of a buffer.
fn layout(model: &Model) -> (u32, u32) {
    (TOKENS + model.config().context_length as u32, model.max_gather_len() as u32)
}

fn problem(problem: String) -> Error {
    Error::Exchange { problem }
}

/// Time that this rank has spent waiting.
struct Clock {
    waited: f64,
    looked: f64,
}

impl Clock {
    fn start() -> Self {
        Self { waited: 0.0, looked: scope::now_ms() }
    }

    fn waited(&mut self) -> f64 {
        let now = scope::now_ms();
        self.waited += (now - self.looked).min(LOOK_MS);
        self.looked = now;
        self.waited
    }
}

impl Exchange for SharedExchange {
    fn rank(&self) -> usize {
        self.rank
    }

    fn ranks(&self) -> usize {
        self.ranks
    }

    fn all_gather(&mut self, local: &[f32], offset: usize, full: &mut [f32]) -> Result<()> {
        check_piece(local, offset, full)?;
        let buffer = &self.buffers[(self.gathers & 1) as usize];
        if full.len() > buffer.length() as usize {
            return Err(Error::Length {
                name: "the buffer between ranks".into(),
                expected: full.len(),
                found: buffer.length() as usize,
            });
        }
        buffer.subarray(offset as u32, (offset + local.len()) as u32).copy_from(local);
        self.barrier()?;
        self.gathers = self.gathers.wrapping_add(1);
        buffer.subarray(0, full.len() as u32).copy_to(full);
        Ok(())
    }

    fn announce(&mut self, pass: Pass) -> Result<()> {
        if self.load(LOST) != 0 {
            return Err(lost_rank());
        }
        let tokens: Vec<i32> = pass.tokens.iter().map(|token| *token as i32).collect();
        self.tokens(tokens.len() as u32).copy_from(&tokens);
        self.store(KEEP, pass.keep as i32);
        self.store(COUNT, tokens.len() as i32);
        self.store(KIND, PASS);
        self.command();
        Ok(())
    }

    fn next_pass(&mut self) -> Result<Option<(usize, Vec<u32>)>> {
        let mut clock = Clock::start();
        while self.load(COMMAND) == self.commands {
            if self.load(LOST) != 0 {
                return Err(lost_rank());
            }
            // Between two tokens of an answer the next pass is not far.
            if clock.waited() > SPIN_MS {
                self.sleep(COMMAND, f64::INFINITY, |value| value == self.commands);
            }
        }
        self.commands = self.commands.wrapping_add(1);
        if self.load(KIND) == DONE {
            return Ok(None);
        }
        let tokens = self.tokens(self.load(COUNT) as u32).to_vec();
        let tokens = tokens.into_iter().map(|token| token as u32).collect();
        Ok(Some((self.load(KEEP) as usize, tokens)))
    }
}
