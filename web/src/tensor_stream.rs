//! Cuts a GGUF file into its tensors while it arrives, so that file and packed weights are never
//! in memory at once.

use std::{collections::VecDeque, rc::Rc};

use shared::{Error, Gguf, TensorInfo};

/// Hears of each tensor that is complete: the header, its name, where it stands, its bytes.
pub type OnTensor<'a, E> = dyn FnMut(&Rc<Gguf>, &str, &TensorInfo, &[u8]) -> Result<(), E> + 'a;

/// Bytes of the buffer that are not given back, so that small tensors cost no reallocation.
const ROOM: usize = 4 << 20;

/// Takes a file's bytes in order and hands out one whole tensor after the other.
pub struct TensorStream {
    file_len: usize,
    /// File position of the byte that comes next, once the header is known.
    position: usize,
    /// The header as far as it has come, then the tensor whose end has not.
    buffer: Vec<u8>,
    /// Bytes of `buffer` without which no further attempt at the header makes sense.
    needed: usize,
    gguf: Option<Rc<Gguf>>,
    waiting: VecDeque<(String, TensorInfo)>,
}

impl TensorStream {
    /// A stream over a file of `file_len` bytes. `gguf` is the file's header if it is known from
    /// an earlier reading.
    #[must_use]
    pub fn new(file_len: usize, gguf: Option<Rc<Gguf>>) -> Self {
        let mut stream = Self {
            file_len,
            position: 0,
            buffer: Vec::new(),
            needed: 0,
            gguf: None,
            waiting: VecDeque::new(),
        };
        if let Some(gguf) = gguf {
            stream.set_header(gguf);
        }
        stream
    }

    /// Takes the next bytes of the file and hands each tensor that is complete now to
    /// `on_tensor`, in file order.
    ///
    /// # Errors
    /// Those of [`Gguf::parse_prefix`] and of `on_tensor`.
    pub fn push<E: From<Error>>(
        &mut self,
        piece: &[u8],
        on_tensor: &mut OnTensor<'_, E>,
    ) -> Result<(), E> {
        if let Some(gguf) = self.gguf.clone() {
            return self.cut(&gguf, piece, on_tensor);
        }
        self.buffer.extend_from_slice(piece);
        let Some(gguf) = self.read_header()? else { return Ok(()) };
        let begun = std::mem::take(&mut self.buffer);
        self.cut(&gguf, &begun, on_tensor)
    }

    /// Cuts what comes at the ends of tensors, so that the buffer never holds more than one: an
    /// embedding is many times as large as what follows it, and WebAssembly's memory never shrinks.
    fn cut<E: From<Error>>(
        &mut self,
        gguf: &Rc<Gguf>,
        mut piece: &[u8],
        on_tensor: &mut OnTensor<'_, E>,
    ) -> Result<(), E> {
        while let Some((name, info)) = self.waiting.pop_front() {
            // What lies before a tensor (the header, padding) is of no use.
            let skipped = info.range.start.saturating_sub(self.position).min(piece.len());
            let left = info.range.end - self.position - skipped;
            let (taken, rest) = piece[skipped..].split_at(left.min(piece.len() - skipped));
            self.position += skipped + taken.len();
            piece = rest;
            if taken.len() < left {
                self.fit_buffer(info.range.len());
                self.buffer.extend_from_slice(taken);
                self.waiting.push_front((name, info));
                return Ok(());
            }
            if self.buffer.is_empty() {
                on_tensor(gguf, &name, &info, taken)?;
            } else {
                self.buffer.extend_from_slice(taken);
                on_tensor(gguf, &name, &info, &self.buffer)?;
                self.buffer.clear();
            }
        }
        self.buffer = Vec::new();
        Ok(())
    }

    /// Room for a tensor of `len` bytes and hardly more: what the buffer gives back holds the packed
    /// weights.
    fn fit_buffer(&mut self, len: usize) {
        let room = len.max(ROOM);
        if self.buffer.capacity() / 2 > room {
            self.buffer.shrink_to(room);
        }
        self.buffer.reserve_exact(len.saturating_sub(self.buffer.len()));
    }

    /// The header, once enough of it has come.
    fn read_header(&mut self) -> Result<Option<Rc<Gguf>>, Error> {
        if self.buffer.len() < self.needed {
            return Ok(None);
        }
        match Gguf::parse_prefix(&self.buffer, self.file_len) {
            Ok(gguf) => Ok(Some(self.set_header(Rc::new(gguf)))),
            Err(Error::GgufTruncated { needed, .. }) if self.buffer.len() < self.file_len => {
                // Growing by half keeps the attempts at a long header few.
                self.needed = needed.max(self.buffer.len() * 3 / 2).min(self.file_len);
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    fn set_header(&mut self, gguf: Rc<Gguf>) -> Rc<Gguf> {
        let mut tensors: Vec<_> =
            gguf.tensors().iter().map(|(name, info)| (name.clone(), info.clone())).collect();
        tensors.sort_by_key(|(_, info)| info.range.start);
        self.waiting = tensors.into();
        self.gguf = Some(gguf.clone());
        gguf
    }
}

#[cfg(test)]
mod tests {
    use shared::{GgmlType, GgufBuilder};

    use super::*;

    /// Three tensors whose names sort in another order than they stand in the file.
    fn file() -> Vec<u8> {
        let mut builder = GgufBuilder::new();
        builder.metadata("general.name", "x".repeat(300)).unwrap();
        for (name, first) in [("c", 1.0), ("a", 2.0), ("b", 3.0)] {
            let values: Vec<f32> = (0..64).map(|index| first + index as f32).collect();
            builder.tensor(name, &[2, 32], GgmlType::F32, &values).unwrap();
        }
        builder.finish()
    }

    fn read(file: &[u8], piece: usize, gguf: Option<Rc<Gguf>>) -> Vec<(String, Vec<u8>)> {
        let mut stream = TensorStream::new(file.len(), gguf);
        let mut tensors = Vec::new();
        for bytes in file.chunks(piece) {
            stream
                .push(bytes, &mut |_, name, info, bytes| {
                    assert_eq!(info.shape, [2, 32]);
                    tensors.push((name.to_owned(), bytes.to_vec()));
                    Ok::<_, Error>(())
                })
                .unwrap();
        }
        assert!(stream.buffer.is_empty() && stream.waiting.is_empty());
        tensors
    }

    #[test]
    fn the_buffer_has_room_for_one_tensor() {
        let (large, small) = (vec![1.0; 6 << 20], vec![2.0; 64]);
        let mut builder = GgufBuilder::new();
        for name in ["large", "as large"] {
            builder.tensor(name, &[6 << 10, 1 << 10], GgmlType::F32, &large).unwrap();
        }
        builder.tensor("small", &[64], GgmlType::F32, &small).unwrap();
        let file = builder.finish();
        let mut stream = TensorStream::new(file.len(), None);
        let mut rooms = Vec::new();
        // The ends of tensors lie within pieces.
        for piece in file[..file.len() - 1].chunks(1 << 20) {
            stream.push(piece, &mut |_, _, _, _| Ok::<_, Error>(())).unwrap();
            rooms.push(stream.buffer.capacity());
        }
        assert!(rooms.iter().all(|&room| room < (24 << 20) + (1 << 20)), "{rooms:?}");
        assert!(*rooms.last().unwrap() <= 2 * ROOM, "given back: {rooms:?}");
    }

    #[test]
    fn the_tensors_do_not_depend_on_the_pieces() {
        let file = file();
        let gguf = Gguf::parse(&file).unwrap();
        let whole = read(&file, file.len(), None);
        let names: Vec<_> = whole.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["c", "a", "b"]);
        for (name, bytes) in &whole {
            assert_eq!(bytes, gguf.tensor_bytes(&file, name).unwrap(), "{name}");
        }
        for piece in [1, 7, 64, 300, 1000] {
            assert_eq!(read(&file, piece, None), whole, "pieces of {piece}");
        }
    }

    #[test]
    fn a_known_header_is_not_parsed_again() {
        let file = file();
        let gguf = Rc::new(Gguf::parse(&file).unwrap());
        let mut blank = file.clone();
        blank[..16].fill(0);
        assert_eq!(read(&blank, 100, Some(gguf)), read(&file, 100, None));
    }

    #[test]
    fn only_what_is_needed_stays_in_memory() {
        let file = file();
        let mut stream = TensorStream::new(file.len(), None);
        let mut most = 0;
        for bytes in file.chunks(64) {
            stream.push(bytes, &mut |_, _, _, _| Ok::<_, Error>(())).unwrap();
            most = most.max(stream.buffer.len());
        }
        assert!(most < file.len() - 2 * 256, "{most} of {}", file.len());
    }

    #[test]
    fn rejects_what_is_no_gguf_and_passes_refusals_on() {
        let mut stream = TensorStream::new(100, None);
        assert!(stream.push(b"<!doctype html>", &mut |_, _, _, _| Ok::<_, Error>(())).is_err());

        let file = file();
        let mut stream = TensorStream::new(file.len(), None);
        let refusal = |_: &Rc<Gguf>, name: &str, _: &TensorInfo, _: &[u8]| {
            Err(Error::Manifest { problem: name.to_owned() })
        };
        let error = stream.push(&file, &mut { refusal }).unwrap_err();
        assert!(error.to_string().contains('c'), "{error}");
    }

    #[test]
    fn rejects_a_header_that_reaches_past_the_file() {
        let file = file();
        let cut = &file[..200];
        let mut stream = TensorStream::new(cut.len(), None);
        assert!(stream.push(cut, &mut |_, _, _, _| Ok::<_, Error>(())).is_err());
    }
}
