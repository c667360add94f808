//! The table of tensors.

use std::collections::BTreeMap;
use std::ops::Range;

use super::reader::Reader;
use super::ty::{GgmlType, foreign_type_name};
use super::{MAX_TENSOR_NAME, TensorInfo};
use crate::{Error, Result};

const MAX_DIMENSIONS: u32 = 4;

/// A row of the tensor table: name, shape, type, offset in the data section.
pub(super) type TableRow = (String, Vec<usize>, GgmlType, usize);

pub(super) fn read_table(reader: &mut Reader, count: usize) -> Result<Vec<TableRow>> {
    let mut table = Vec::new();
    for _ in 0..count {
        let name = reader.string(MAX_TENSOR_NAME)?;
        let dimensions = reader.u32()?;
        if !(1..=MAX_DIMENSIONS).contains(&dimensions) {
            return Err(reader.error(format!(
                "tensor {name}: expected 1 to {MAX_DIMENSIONS} dimensions, found {dimensions}"
            )));
        }
        let mut shape = Vec::new();
        for _ in 0..dimensions {
            let size = reader.u64()?;
            match usize::try_from(size) {
                Ok(size) if size > 0 => shape.push(size),
                _ => return Err(reader.error(format!("tensor {name}: a dimension is {size}"))),
            }
        }
        shape.reverse();
        let id = reader.u32()?;
        let ty = GgmlType::from_u32(id).ok_or_else(|| Error::UnsupportedType {
            tensor: name.clone(),
            ty: foreign_type_name(id),
            supported: GgmlType::SUPPORTED,
        })?;
        let offset = reader.u64()?;
        let offset = usize::try_from(offset)
            .map_err(|_| reader.error(format!("tensor {name}: offset {offset} is too large")))?;
        table.push((name, shape, ty, offset));
    }
    Ok(table)
}

pub(super) fn place(
    reader: &Reader,
    table: Vec<TableRow>,
    data_start: usize,
    alignment: usize,
) -> Result<BTreeMap<String, TensorInfo>> {
    let mut tensors = BTreeMap::new();
    for (name, shape, ty, offset) in table {
        if !offset.is_multiple_of(alignment) {
            return Err(reader.error(format!(
                "tensor {name}: offset {offset} is not a multiple of the alignment {alignment}"
            )));
        }
        let row = shape[shape.len() - 1];
        if !row.is_multiple_of(ty.block_len()) {
            return Err(reader.error(format!(
                "tensor {name}: rows of {row} elements are not whole blocks of {} ({})",
                ty.block_len(),
                ty.name()
            )));
        }
        let range = byte_range(&shape, ty, data_start, offset)
            .filter(|range| range.end <= reader.file_len)
            .ok_or_else(|| {
                reader.error(format!(
                    "tensor {name} of shape {shape:?} at offset {offset} leaves the file of {} bytes",
                    reader.file_len
                ))
            })?;
        if tensors.insert(name.clone(), TensorInfo { shape, ty, range }).is_some() {
            return Err(reader.error(format!("tensor {name} appears twice")));
        }
    }
    let mut by_place: Vec<(&String, &Range<usize>)> =
        tensors.iter().map(|(name, info)| (name, &info.range)).collect();
    by_place.sort_by_key(|(_, range)| range.start);
    for pair in by_place.windows(2) {
        if pair[1].1.start < pair[0].1.end {
            return Err(reader.error(format!("tensors {} and {} overlap", pair[0].0, pair[1].0)));
        }
    }
    Ok(tensors)
}

fn byte_range(
    shape: &[usize],
    ty: GgmlType,
    data_start: usize,
    offset: usize,
) -> Option<Range<usize>> {
    let elements = shape.iter().try_fold(1_usize, |product, &size| product.checked_mul(size))?;
    let bytes = (elements / ty.block_len()).checked_mul(ty.block_bytes())?;
    let start = data_start.checked_add(offset)?;
    Some(start..start.checked_add(bytes)?)
}
