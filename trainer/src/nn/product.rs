//! Matrix products on slices, on the threads of the pool that they are called in.
//!
//! A block of the right operand is rearranged so that a tile of the result stays in registers while
//! it is summed (Goto and van de Geijn, "Anatomy of high-performance matrix multiplication", 2008).
//! Unlike candle's product this one adds to what is there, reads quantized matrices as they are, and
//! does not ask the operating system for the number of cores each time.

use std::cell::RefCell;
use std::ops::Range;

use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;

/// Rows and columns of a tile: 12 registers of 8 values, which leaves 4 of 16 for the operands.
const TILE_ROWS: usize = 6;
const TILE_COLUMNS: usize = 16;
/// Depth and columns of a block of the right operand: 256 KiB, a part of the second-level cache.
/// Multiples of every quantized type's block.
const BLOCK_DEPTH: usize = 256;
const BLOCK_COLUMNS: usize = 256;
/// Products of fewer multiplications stay on one thread.
const WORTH_SPLITTING: usize = 1 << 20;

thread_local! {
    /// The rearranged block, kept from product to product.
    static BLOCK: RefCell<Block> = RefCell::new(Block::default());
}

#[derive(Default)]
struct Block {
    panels: Vec<[f32; TILE_COLUMNS]>,
    /// A tile's rows of a transposed left operand.
    lines: Vec<[f32; TILE_ROWS]>,
    row: Vec<f32>,
}

/// A row-major matrix in f32, or its transpose.
#[derive(Clone, Copy)]
pub struct Mat<'a> {
    data: &'a [f32],
    /// Of the data as it lies.
    rows: usize,
    columns: usize,
    transposed: bool,
}

impl<'a> Mat<'a> {
    /// `data`: `[rows, data.len() / rows]`.
    pub fn new(data: &'a [f32], rows: usize) -> Self {
        let columns = data.len() / rows.max(1);
        assert_eq!(rows * columns, data.len(), "a matrix of {rows} rows");
        Self { data, rows, columns, transposed: false }
    }

    /// The transpose, without moving anything.
    pub fn t(self) -> Self {
        Self { transposed: !self.transposed, ..self }
    }

    fn dims(&self) -> (usize, usize) {
        if self.transposed { (self.columns, self.rows) } else { (self.rows, self.columns) }
    }
}

/// Rows in f32, or turned into f32 as they are read.
pub trait Rows {
    /// Rows and columns.
    fn dims(&self) -> (usize, usize);

    /// `columns` of one row, in `scratch` if they had to be computed. The range starts at a multiple
    /// of [`BLOCK_DEPTH`] and ends there or at the row's end.
    fn read<'s>(
        &'s self,
        row: usize,
        columns: Range<usize>,
        scratch: &'s mut Vec<f32>,
    ) -> &'s [f32];
}

impl Rows for Mat<'_> {
    fn dims(&self) -> (usize, usize) {
        (self.rows, self.columns)
    }

    #[inline(always)]
    fn read<'s>(&'s self, row: usize, columns: Range<usize>, _: &'s mut Vec<f32>) -> &'s [f32] {
        &self.data[row * self.columns..][..self.columns][columns]
    }
}

/// `c += scale * a b`; `c` is row-major.
///
/// # Panics
/// When the shapes do not fit.
pub fn add_product(c: &mut [f32], scale: f32, a: Mat<'_>, b: Mat<'_>) {
    add_product_with(c, scale, a, &b, b.transposed);
}

/// `c += scale * a b`, or `a b^T` if `transposed`.
///
/// # Panics
/// When the shapes do not fit.
pub fn add_product_with(
    c: &mut [f32],
    scale: f32,
    a: Mat<'_>,
    b: &(impl Rows + Sync),
    transposed: bool,
) {
    let (rows, depth) = a.dims();
    let (first, second) = b.dims();
    let (b_depth, columns) = if transposed { (second, first) } else { (first, second) };
    assert!(
        depth == b_depth && c.len() == rows * columns,
        "a product of [{rows}, {depth}] and [{b_depth}, {columns}] into {} values",
        c.len()
    );
    let part = |first: usize, c: &mut [f32]| {
        let rows = first..first + c.len() / columns.max(1);
        BLOCK.with_borrow_mut(|block| {
            Arch::new().dispatch(Product { c, columns, rows, scale, a, b, transposed, block });
        });
    };
    let threads = rayon::current_num_threads();
    if threads == 1 || rows * depth * columns < WORTH_SPLITTING {
        part(0, c);
    } else {
        // Rows don't depend on each other, so neither do the bits on the number of threads.
        let share = rows.div_ceil(threads).next_multiple_of(TILE_ROWS);
        c.par_chunks_mut(share * columns).enumerate().for_each(|(index, c)| part(index * share, c));
    }
}

struct Product<'a, B> {
    c: &'a mut [f32],
    columns: usize,
    /// Rows of `a` and of the whole result that `c` is.
    rows: Range<usize>,
    scale: f32,
    a: Mat<'a>,
    b: &'a B,
    transposed: bool,
    block: &'a mut Block,
}

impl<B: Rows> WithSimd for Product<'_, B> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let Self { c, columns, rows, scale, a, b, transposed, block } = self;
        let (_, depth) = a.dims();
        let Block { panels, lines, row } = block;
        for first in (0..columns).step_by(BLOCK_COLUMNS) {
            let across = first..columns.min(first + BLOCK_COLUMNS);
            for top in (0..depth).step_by(BLOCK_DEPTH) {
                let down = top..depth.min(top + BLOCK_DEPTH);
                arrange(b, transposed, down.clone(), across.clone(), panels, row);
                multiply(c, columns, rows.clone(), scale, a, down, across.clone(), panels, lines);
            }
        }
    }
}

/// Lines from one panel to the next. One more than its depth: at 256 lines of 64 bytes, those of one
/// row of the right operand would all fall into the same set of the first-level cache.
fn stride(depth: usize) -> usize {
    depth + 1
}

/// Rows `down` and columns `across` of the right operand as panels of [`TILE_COLUMNS`] columns,
/// filled up with zeros: `panels[panel * stride(depth) + k][j]`.
#[inline(always)]
fn arrange(
    b: &impl Rows,
    transposed: bool,
    down: Range<usize>,
    across: Range<usize>,
    panels: &mut Vec<[f32; TILE_COLUMNS]>,
    scratch: &mut Vec<f32>,
) {
    let (depth, stride) = (down.len(), stride(down.len()));
    panels.resize(stride * across.len().div_ceil(TILE_COLUMNS), [0.0; TILE_COLUMNS]);
    if !across.len().is_multiple_of(TILE_COLUMNS) {
        let last = panels.len() - stride;
        panels[last..].fill([0.0; TILE_COLUMNS]);
    }
    if transposed {
        for (index, column) in across.enumerate() {
            let (panel, j) = (index / TILE_COLUMNS, index % TILE_COLUMNS);
            let values = b.read(column, down.clone(), scratch);
            for (line, value) in panels[panel * stride..][..depth].iter_mut().zip(values) {
                line[j] = *value;
            }
        }
    } else {
        for (k, row) in down.enumerate() {
            let (full, rest) = b.read(row, across.clone(), scratch).as_chunks::<TILE_COLUMNS>();
            for (panel, values) in full.iter().enumerate() {
                panels[panel * stride + k] = *values;
            }
            if !rest.is_empty() {
                panels[full.len() * stride + k][..rest.len()].copy_from_slice(rest);
            }
        }
    }
}

#[inline(always)]
fn multiply(
    c: &mut [f32],
    columns: usize,
    rows: Range<usize>,
    scale: f32,
    a: Mat<'_>,
    down: Range<usize>,
    across: Range<usize>,
    panels: &[[f32; TILE_COLUMNS]],
    lines: &mut Vec<[f32; TILE_ROWS]>,
) {
    let depth = down.len();
    for top in rows.clone().step_by(TILE_ROWS) {
        let height = TILE_ROWS.min(rows.end - top);
        if a.transposed {
            // No iterator that collects: its closure would be compiled without the wide registers.
            lines.resize(depth, [0.0; TILE_ROWS]);
            for (line, k) in lines.iter_mut().zip(down.clone()) {
                let values = &a.data[k * a.columns + top..][..height];
                match values.first_chunk() {
                    Some(values) => *line = *values,
                    None => line[..height].copy_from_slice(values),
                }
            }
        }
        for (index, panel) in panels.chunks_exact(stride(depth)).enumerate() {
            let panel = &panel[..depth];
            let column = across.start + index * TILE_COLUMNS;
            let width = TILE_COLUMNS.min(across.end - column);
            let sums = if a.transposed {
                let lines = &lines[..panel.len()];
                tile(panel, |k| lines[k])
            } else {
                // Beyond the last row the last one again, whose sums are not used.
                let row = |i: usize| {
                    &a.data[(top + i.min(height - 1)) * a.columns + down.start..][..panel.len()]
                };
                let lines = [row(0), row(1), row(2), row(3), row(4), row(5)];
                tile(panel, |k| lines.map(|line| line[k]))
            };
            add_tile(
                &mut c[(top - rows.start) * columns + column..],
                columns,
                scale,
                &sums,
                height,
                width,
            );
        }
    }
}

/// Adds `height` rows and `width` columns of a tile to `c`, whose rows are `columns` apart.
#[inline(always)]
fn add_tile(
    c: &mut [f32],
    columns: usize,
    scale: f32,
    sums: &[[f32; TILE_COLUMNS]; TILE_ROWS],
    height: usize,
    width: usize,
) {
    if height == TILE_ROWS && width == TILE_COLUMNS {
        // Every bound known, the sums stay in registers.
        for i in 0..TILE_ROWS {
            let c = &mut c[i * columns..][..TILE_COLUMNS];
            for j in 0..TILE_COLUMNS {
                c[j] += scale * sums[i][j];
            }
        }
    } else {
        for i in 0..height {
            let c = &mut c[i * columns..][..width];
            c.iter_mut().zip(&sums[i]).for_each(|(c, sum)| *c += scale * sum);
        }
    }
}

/// Sums over the panel's depth of `left(k)[i] * panel[k][j]`, in ascending order of `k`.
#[inline(always)]
fn tile(
    panel: &[[f32; TILE_COLUMNS]],
    left: impl Fn(usize) -> [f32; TILE_ROWS],
) -> [[f32; TILE_COLUMNS]; TILE_ROWS] {
    let mut sums = [[0f32; TILE_COLUMNS]; TILE_ROWS];
    for k in 0..panel.len() {
        let (line, values) = (&panel[k], left(k));
        for i in 0..TILE_ROWS {
            for j in 0..TILE_COLUMNS {
                sums[i][j] = values[i].mul_add(line[j], sums[i][j]);
            }
        }
    }
    sums
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(count: usize, seed: usize) -> Vec<f32> {
        (0..count).map(|i| (((i + seed) * 7919 % 1009) as f32 - 500.0) / 300.0).collect()
    }

    fn at(mat: &Mat<'_>, row: usize, column: usize) -> f32 {
        let (row, column) = if mat.transposed { (column, row) } else { (row, column) };
        mat.data[row * mat.columns + column]
    }

    #[test]
    fn every_shape_and_order_is_the_sum_of_products() {
        let sizes = [
            (1, 1, 1),
            (6, 16, 8),
            (7, 17, 3),
            (5, 40, 300),
            (13, 300, 5),
            (64, 20, 513),
            (2, 3, 0),
        ];
        for (m, n, k) in sizes {
            let (left, right, start) = (values(m * k, 1), values(k * n, 2), values(m * n, 3));
            for flips in 0..4 {
                let a = if flips & 1 == 0 || k == 0 {
                    Mat { data: &left, rows: m, columns: k, transposed: false }
                } else {
                    Mat::new(&left, k).t()
                };
                let b = if flips & 2 == 0 || k == 0 {
                    Mat { data: &right, rows: k, columns: n, transposed: false }
                } else {
                    Mat::new(&right, n).t()
                };
                let mut c = start.clone();
                add_product(&mut c, 0.5, a, b);
                for i in 0..m {
                    for j in 0..n {
                        let sum: f64 =
                            (0..k).map(|k| f64::from(at(&a, i, k)) * f64::from(at(&b, k, j))).sum();
                        let expected = f64::from(start[i * n + j]) + 0.5 * sum;
                        let found = f64::from(c[i * n + j]);
                        assert!(
                            (found - expected).abs() < 1e-3,
                            "{m} x {n} x {k}, flips {flips}, [{i}, {j}]: {found}, not {expected}"
                        );
                    }
                }
            }
        }
    }

    /// What makes a segment's result independent of where it stands in a batch.
    #[test]
    fn a_row_has_the_same_bits_wherever_it_stands() {
        let (k, n) = (300, 40);
        let (x, w) = (values(20 * k, 1), values(n * k, 2));
        let mut all = vec![0f32; 20 * n];
        add_product(&mut all, 1.0, Mat::new(&x, 20), Mat::new(&w, n).t());
        for row in 0..20 {
            let mut one = vec![0f32; n];
            add_product(&mut one, 1.0, Mat::new(&x[row * k..][..k], 1), Mat::new(&w, n).t());
            assert_eq!(one, all[row * n..][..n]);
        }
    }

    #[test]
    fn any_number_of_threads_gives_the_same_bits() {
        let (m, n, k) = (101, 130, 270);
        let (a, b) = (values(m * k, 1), values(k * n, 2));
        for (left, right) in
            [(Mat::new(&a, m), Mat::new(&b, k)), (Mat::new(&a, k).t(), Mat::new(&b, n).t())]
        {
            let [one, three] = [1, 3].map(|threads| {
                let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
                let mut c = vec![0f32; m * n];
                pool.install(|| add_product(&mut c, 1.0, left, right));
                c
            });
            assert_eq!(one, three);
        }
    }

    #[test]
    #[should_panic(expected = "a product of [2, 3] and [2, 3] into 6 values")]
    fn shapes_that_do_not_fit_are_refused() {
        let data = values(6, 0);
        add_product(&mut [0.0; 6], 1.0, Mat::new(&data, 2), Mat::new(&data, 2));
    }
}
