//! A cursor over the bytes of a header.

use super::value::{Value, ValueArray};
use crate::{Error, Result};

/// Longest string: a `tokenizer.json` of a 256k vocabulary takes about 30 MB.
const MAX_STRING: usize = 64 << 20;
pub(super) const MAX_ARRAY: usize = 1 << 22;

/// A cursor over the header. `file_len` may exceed `bytes` while a download is under way.
pub(super) struct Reader<'a> {
    bytes: &'a [u8],
    pub(super) at: usize,
    pub(super) file_len: usize,
}

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8], file_len: usize) -> Self {
        Self { bytes, at: 0, file_len }
    }

    pub(super) fn error(&self, problem: String) -> Error {
        Error::Gguf { offset: self.at, problem }
    }

    fn take(&mut self, len: usize) -> Result<&'a [u8]> {
        let end =
            self.at.checked_add(len).filter(|&end| end <= self.file_len).ok_or_else(|| {
                self.error(format!("{len} bytes are announced beyond the file's end"))
            })?;
        let taken = self
            .bytes
            .get(self.at..end)
            .ok_or(Error::GgufTruncated { needed: end, available: self.bytes.len() })?;
        self.at = end;
        Ok(taken)
    }

    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N)?);
        Ok(array)
    }

    pub(super) fn u32(&mut self) -> Result<u32> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    pub(super) fn u64(&mut self) -> Result<u64> {
        Ok(u64::from_le_bytes(self.array()?))
    }

    pub(super) fn count(&mut self, what: &str, max: u64) -> Result<usize> {
        let count = self.u64()?;
        if count > max {
            return Err(self.error(format!("{count} {what} announced, at most {max} are allowed")));
        }
        usize::try_from(count).map_err(|_| self.error(format!("{count} {what} announced")))
    }

    pub(super) fn string(&mut self, max: usize) -> Result<String> {
        let len = self.u64()?;
        let len = usize::try_from(len).ok().filter(|&len| len <= max).ok_or_else(|| {
            self.error(format!("a string of {len} bytes is announced, at most {max} are allowed"))
        })?;
        let offset = self.at;
        String::from_utf8(self.take(len)?.to_vec())
            .map_err(|source| Error::GgufText { offset, source })
    }

    fn bool(&mut self) -> Result<bool> {
        match self.array::<1>()? {
            [0] => Ok(false),
            [1] => Ok(true),
            [other] => Err(self.error(format!("a boolean should be 0 or 1, but is {other}"))),
        }
    }

    pub(super) fn value(&mut self, ty: u32) -> Result<Value> {
        Ok(match ty {
            0 => Value::U8(u8::from_le_bytes(self.array()?)),
            1 => Value::I8(i8::from_le_bytes(self.array()?)),
            2 => Value::U16(u16::from_le_bytes(self.array()?)),
            3 => Value::I16(i16::from_le_bytes(self.array()?)),
            4 => Value::U32(self.u32()?),
            5 => Value::I32(i32::from_le_bytes(self.array()?)),
            6 => Value::F32(f32::from_le_bytes(self.array()?)),
            7 => Value::Bool(self.bool()?),
            8 => Value::String(self.string(MAX_STRING)?),
            9 => Value::Array(self.value_array()?),
            10 => Value::U64(self.u64()?),
            11 => Value::I64(i64::from_le_bytes(self.array()?)),
            12 => Value::F64(f64::from_le_bytes(self.array()?)),
            other => return Err(self.error(format!("metadata type {other} does not exist"))),
        })
    }

    fn value_array(&mut self) -> Result<ValueArray> {
        let ty = self.u32()?;
        let len = self.u64()?;
        let len = usize::try_from(len).ok().filter(|&len| len <= MAX_ARRAY).ok_or_else(|| {
            self.error(format!(
                "an array of {len} items is announced, at most {MAX_ARRAY} are allowed"
            ))
        })?;
        Ok(match ty {
            0 => ValueArray::U8(self.numbers(len, u8::from_le_bytes)?),
            1 => ValueArray::I8(self.numbers(len, i8::from_le_bytes)?),
            2 => ValueArray::U16(self.numbers(len, u16::from_le_bytes)?),
            3 => ValueArray::I16(self.numbers(len, i16::from_le_bytes)?),
            4 => ValueArray::U32(self.numbers(len, u32::from_le_bytes)?),
            5 => ValueArray::I32(self.numbers(len, i32::from_le_bytes)?),
            6 => ValueArray::F32(self.numbers(len, f32::from_le_bytes)?),
            7 => ValueArray::Bool(self.items(len, Self::bool)?),
            8 => ValueArray::String(self.items(len, |reader| reader.string(MAX_STRING))?),
            9 => return Err(self.error("arrays of arrays are not supported".into())),
            10 => ValueArray::U64(self.numbers(len, u64::from_le_bytes)?),
            11 => ValueArray::I64(self.numbers(len, i64::from_le_bytes)?),
            12 => ValueArray::F64(self.numbers(len, f64::from_le_bytes)?),
            other => return Err(self.error(format!("metadata type {other} does not exist"))),
        })
    }

    fn numbers<const N: usize, T>(&mut self, len: usize, read: fn([u8; N]) -> T) -> Result<Vec<T>> {
        let size = len.checked_mul(N).ok_or_else(|| self.error(format!("{len} array items")))?;
        let (chunks, _) = self.take(size)?.as_chunks::<N>();
        Ok(chunks.iter().map(|chunk| read(*chunk)).collect())
    }

    /// Items of unknown size: the vector grows with what was really read.
    fn items<T>(&mut self, len: usize, read: impl Fn(&mut Self) -> Result<T>) -> Result<Vec<T>> {
        let mut items = Vec::new();
        for _ in 0..len {
            items.push(read(self)?);
        }
        Ok(items)
    }
}
