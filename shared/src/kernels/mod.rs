//! The arithmetic of the forward pass, once per instruction set, with the same bits from each.
//!
//! [`scalar`] is the specification. An instruction set either runs that very code, compiled for
//! its wider registers, or replaces a function by intrinsics that compute the same integers and
//! round at the same places. What makes this possible:
//!
//! - Sums of products of codes are integers and therefore exact in any order.
//! - Every f32 sum has a written order: sequential, or [`LANES`] strided partial sums combined in
//!   a fixed tree.
//! - No fused multiply-add, and no function of the platform's libm.
//!
//! Implementations are registered in `register!`, which also expands the test suite for each.

use crate::quant::BLOCK;
use crate::quant::packed::{Block4, Block8, Matrix, Packed, QUAD, QUADS, ROWS};

mod attention;
mod exp;
#[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
mod nibbles;
mod scalar;
#[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
mod simd128;
#[cfg(test)]
mod suite;
#[cfg(target_arch = "x86_64")]
mod x86;

pub(crate) use exp::exp;

/// Strided partial sums of a reduction.
pub(crate) const LANES: usize = 16;
/// Positions in one page of the key/value cache.
pub(crate) const PAGE: usize = 64;
/// Tokens that a matrix product takes through one read of the weights.
pub(crate) const TILE: usize = 4;

/// An activation code, `-127..=127`. WebAssembly multiplies 16-bit lanes, so there the codes are
/// widened once, when they are made.
#[cfg(target_arch = "wasm32")]
pub(crate) type Code = i16;
/// An activation code, `-127..=127`.
#[cfg(not(target_arch = "wasm32"))]
pub(crate) type Code = i8;

/// 32 quantized activations.
#[derive(Clone, Copy)]
#[repr(C, align(8))]
pub(crate) struct ActBlock {
    pub codes: [[Code; QUAD]; QUADS],
    pub scale: f32,
    /// Sum of the codes: what a constant added to every weight code adds to a product.
    #[cfg(not(target_arch = "wasm32"))]
    pub sum: i32,
    /// Start value of a product: 0, but for factors of 4-bit weights (`nibbles.rs`).
    #[cfg(target_arch = "wasm32")]
    pub start: i32,
}

impl ActBlock {
    #[inline(always)]
    pub fn new(codes: &[i8; BLOCK], scale: f32) -> Self {
        Self {
            codes: std::array::from_fn(|quad| {
                std::array::from_fn(|k| Code::from(codes[quad * QUAD + k]))
            }),
            scale,
            #[cfg(not(target_arch = "wasm32"))]
            sum: codes.iter().map(|code| i32::from(*code)).sum(),
            #[cfg(target_arch = "wasm32")]
            start: 0,
        }
    }
}

/// Quantized activations of several tokens.
///
/// Tokens stand in tiles of [`TILE`], the last of which may be smaller. In a tile of `T`, the `T`
/// blocks that meet the same weights stand side by side: `[tile, block, T]`.
#[derive(Default)]
pub(crate) struct Activations {
    blocks: Vec<ActBlock>,
    per_token: usize,
    tokens: usize,
    /// Made when a matrix of 4-bit codes first needs them.
    #[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
    factors: std::cell::OnceCell<Box<Activations>>,
}

impl Activations {
    /// Replaces them by `tokens` others of `width`, each of which `write` puts where it is told,
    /// quantized per block of 32: scale `max|x| / 127`, codes rounded to nearest, ties to even.
    ///
    /// # Panics
    /// If `width` is not a positive multiple of 32.
    pub fn quantize(
        &mut self,
        kernels: &dyn Kernels,
        tokens: usize,
        width: usize,
        mut write: impl FnMut(usize, &mut [f32]),
    ) {
        assert!(width > 0 && width.is_multiple_of(BLOCK), "width {width}");
        self.per_token = width / BLOCK;
        self.tokens = tokens;
        self.blocks.resize(tokens * self.per_token, ActBlock::new(&[0; BLOCK], 0.0));
        #[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
        self.factors.take();
        let mut values = vec![0.0; tokens.min(TILE) * width];
        for (tile, blocks) in self.blocks.chunks_mut(TILE * self.per_token).enumerate() {
            let values = &mut values[..blocks.len() * BLOCK];
            for (t, values) in values.chunks_exact_mut(width).enumerate() {
                write(tile * TILE + t, values);
            }
            kernels.quantize(values, width, blocks);
        }
    }

    /// Activations of blocks that stand in tiles already, `per_token` of them a token.
    #[cfg(any(test, all(target_arch = "wasm32", target_feature = "simd128")))]
    fn from_blocks(blocks: Vec<ActBlock>, per_token: usize) -> Self {
        Self {
            tokens: blocks.len() / per_token,
            blocks,
            per_token,
            #[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
            factors: std::cell::OnceCell::new(),
        }
    }

    pub fn tokens(&self) -> usize {
        self.tokens
    }

    /// The tile of `T` tokens that begins at `first`: for each block, that of every token.
    #[inline(always)]
    fn tile<const T: usize>(&self, first: usize) -> &[[ActBlock; T]] {
        self.blocks[first * self.per_token..(first + T) * self.per_token].as_chunks().0
    }

    /// [`nibbles::factors`] of every block.
    #[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
    fn factors(&self) -> &Self {
        self.factors.get_or_init(|| {
            let blocks = self.blocks.iter().map(nibbles::factors).collect();
            Box::new(Self::from_blocks(blocks, self.per_token))
        })
    }
}

/// The keys and values of one head at the positions before and including the current one.
#[derive(Clone, Copy)]
pub(crate) struct Past<'a> {
    /// Pages of [`PAGE`] positions. At `offset` of each stand this head's keys,
    /// `[head_dim, PAGE]`, then its values, `[PAGE, head_dim]`.
    pub pages: &'a [Box<[f32]>],
    pub offset: usize,
    pub head_dim: usize,
    /// Positions to attend to, at least 1.
    pub len: usize,
}

impl Past<'_> {
    fn keys(&self, page: usize) -> &[f32] {
        &self.pages[page][self.offset..][..self.head_dim * PAGE]
    }

    fn values(&self, page: usize) -> &[f32] {
        &self.pages[page][self.offset + self.head_dim * PAGE..][..self.head_dim * PAGE]
    }
}

/// One instruction set's implementation of every kernel.
pub(crate) trait Kernels: Send + Sync {
    /// Name for reports and tests.
    fn name(&self) -> &'static str;

    /// `out[t, row] = sum over blocks (scale_w * scale_x) * dot(codes_w, codes_x)`, blocks in
    /// ascending order, one f32 accumulator. `out` is `[tokens, rows]`.
    fn matmul8(&self, weights: &Packed<Block8>, x: &Activations, out: &mut [f32]);

    /// As [`Self::matmul8`], for 4-bit codes.
    fn matmul4(&self, weights: &Packed<Block4>, x: &Activations, out: &mut [f32]);

    /// Rounds the activations of one tile, `[tokens, width]`, to 8 bits; `out` is
    /// `[width / 32, tokens]`.
    fn quantize(&self, values: &[f32], width: usize, out: &mut [ActBlock]);

    /// `out = x / sqrt(mean(x^2) + eps) * weight`.
    fn rms_norm(&self, x: &[f32], weight: &[f32], eps: f32, out: &mut [f32]);

    /// `gate = silu(gate) * up`.
    fn swiglu(&self, gate: &mut [f32], up: &[f32]);

    /// Softmax attention of the query heads that share a key/value head, `[heads, head_dim]`, over
    /// its past. `scores` is scratch for up to [`TILE`] heads, each of `past.len` rounded up to
    /// whole pages.
    fn attend(&self, queries: &[f32], past: Past, scale: f32, scores: &mut [f32], out: &mut [f32]);

    /// 32 columns from `first` of one row of `scale * B A`: `a` is `[r, width]`, `b` the row of
    /// B, `[r]`.
    fn low_rank(
        &self,
        a: &[f32],
        width: usize,
        first: usize,
        b: &[f32],
        scale: f32,
    ) -> [f32; BLOCK];
}

impl dyn Kernels {
    /// The matrix product for either layout.
    pub fn matmul(&self, weights: &Matrix, x: &Activations, out: &mut [f32]) {
        match weights {
            Matrix::Eight(packed) => self.matmul8(packed, x, out),
            Matrix::Four(packed) => self.matmul4(packed, x, out),
        }
    }
}

/// Runs `$tile::<T>` over the groups of eight rows and, within a group, over the tokens in tiles
/// of [`TILE`], so that a group's weights stay in the cache for all tokens. A macro, because the
/// loop has to be compiled with the instruction set of the function it stands in.
macro_rules! matmul_loop {
    ($weights:expr, $x:expr, $out:expr, $tile:ident) => {{
        use $crate::kernels::{TILE, check_matmul, store};
        let (weights, x, out) = ($weights, $x, $out);
        check_matmul(weights, x, out);
        let rows = weights.rows();
        for (group, first) in (0..rows).step_by($crate::quant::packed::ROWS).enumerate() {
            let blocks = weights.group(group);
            for token in (0..x.tokens()).step_by(TILE) {
                match x.tokens() - token {
                    1 => store($tile(blocks, x.tile::<1>(token)), out, rows, first, token),
                    2 => store($tile(blocks, x.tile::<2>(token)), out, rows, first, token),
                    3 => store($tile(blocks, x.tile::<3>(token)), out, rows, first, token),
                    _ => store($tile(blocks, x.tile::<TILE>(token)), out, rows, first, token),
                }
            }
        }
    }};
}
use matmul_loop;

fn check_matmul<B: crate::quant::packed::PackedBlock>(
    weights: &Packed<B>,
    x: &Activations,
    out: &[f32],
) {
    assert_eq!(weights.blocks(), x.per_token, "input blocks of weights and activations");
    assert_eq!(out.len(), weights.rows() * x.tokens(), "outputs");
}

#[inline(always)]
fn store<const T: usize>(
    tile: [[f32; ROWS]; T],
    out: &mut [f32],
    rows: usize,
    first: usize,
    token: usize,
) {
    for (t, values) in tile.iter().enumerate() {
        let out = &mut out[(token + t) * rows + first..(token + t + 1) * rows];
        match out.first_chunk_mut() {
            // Of known length: in WebAssembly a copy of any length is a call.
            Some(out) => *out = *values,
            None => out.copy_from_slice(&values[..out.len()]),
        }
    }
}

/// Registers implementations, from the plainest to the fastest, and expands the test suite of
/// each: none can exist without its tests.
macro_rules! register {
    ($($(#[$cfg:meta])* $name:ident => $detect:expr;)*) => {
        /// What this machine can run, the fastest last.
        fn available() -> impl Iterator<Item = &'static dyn Kernels> {
            let all: Vec<Option<&'static dyn Kernels>> = vec![$($(#[$cfg])* { $detect },)*];
            all.into_iter().flatten()
        }

        #[cfg(test)]
        mod each {
            $($(#[$cfg])* crate::kernels::suite::expand!($name, $detect);)*
        }
    };
}

register! {
    scalar => Some(&scalar::Scalar);
    #[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
    simd128 => Some(&simd128::Simd128);
    #[cfg(target_arch = "x86_64")]
    avx2 => x86::avx2();
    #[cfg(target_arch = "x86_64")]
    avx512_vnni => x86::avx512_vnni();
}

/// The fastest implementation that this machine can run.
pub(crate) fn best() -> &'static dyn Kernels {
    available().last().unwrap_or(&scalar::Scalar)
}

/// The implementation with this name, if this machine can run it.
pub(crate) fn by_name(name: &str) -> Option<&'static dyn Kernels> {
    available().find(|kernels| kernels.name() == name)
}

/// The names of all implementations that this machine can run, the fastest last. All of them
/// give the same bits.
pub fn kernel_names() -> Vec<&'static str> {
    available().map(Kernels::name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    #[test]
    fn the_fastest_possible_is_what_runs() {
        #[cfg(target_arch = "wasm32")]
        let expected = if cfg!(target_feature = "simd128") { "simd128" } else { "scalar" };
        #[cfg(target_arch = "x86_64")]
        let expected = {
            let vnni = is_x86_feature_detected!("avx512vnni")
                && is_x86_feature_detected!("avx512vl")
                && is_x86_feature_detected!("avx2");
            match (vnni, is_x86_feature_detected!("avx2")) {
                (true, _) => "avx512_vnni",
                (false, true) => "avx2",
                (false, false) => "scalar",
            }
        };
        #[cfg(not(any(target_arch = "wasm32", target_arch = "x86_64")))]
        let expected = "scalar";
        assert_eq!(best().name(), expected);
        assert_eq!(kernel_names().first(), Some(&"scalar"));
    }

    #[test]
    #[cfg(not(target_arch = "wasm32"))]
    #[should_panic(expected = "input blocks of weights and activations")]
    fn widths_that_differ_are_not_cut() {
        let weights = Packed::<Block8>::try_new(8, 2, |_, _| {
            Ok::<_, std::convert::Infallible>(crate::quant::RowBlock { scale: 1.0, codes: [1; 32] })
        });
        let mut x = Activations::default();
        x.quantize(best(), 1, BLOCK, |_, values| values.fill(1.0));
        best().matmul8(&weights.unwrap_or_else(|never| match never {}), &x, &mut [0.0; 8]);
    }
}
