//! Cuts a GGUF file into its tensors while it arrives, so that file and packed weights are never
//! in memory at once.

use std::rc::Rc;

use shared::{Error, Gguf, TensorInfo};

/// A file's tensors in the order in which they stand there.
pub type TensorTable = [(String, TensorInfo)];

/// Takes what a [`TensorStream`] cuts.
pub trait TensorSink {
    /// What can be wrong with it.
    type Error: From<Error>;

    /// Hears of the file's header before the first tensor, unless the stream began with its table.
    /// Nobody keeps the header afterwards: a list of tokens takes megabytes of a memory that never
    /// shrinks.
    ///
    /// # Errors
    /// The sink's own; the stream is of no use then.
    fn header(&mut self, gguf: &Gguf) -> Result<(), Self::Error>;

    /// Hears of the next tensor, in file order: its name, where it stands, its bytes.
    ///
    /// # Errors
    /// As [`Self::header`].
    fn tensor(&mut self, name: &str, info: &TensorInfo, bytes: &[u8]) -> Result<(), Self::Error>;
}

/// Bytes of the buffer that are not given back, so that small tensors cost no reallocation.
const ROOM: usize = 1 << 20;

/// Takes a file's bytes in order and hands out one whole tensor after the other.
pub struct TensorStream {
    file_len: usize,
    /// File position of the byte that comes next, once the header is known.
    position: usize,
    /// The header as far as it has come, then the tensor whose end has not.
    buffer: Vec<u8>,
    /// Bytes of `buffer` without which no further attempt at the header makes sense.
    needed: usize,
    table: Option<Rc<TensorTable>>,
    /// Index of the tensor that comes next.
    next: usize,
}

impl TensorStream {
    /// A stream over a file of `file_len` bytes. `table` is known from an earlier reading, if there
    /// was one.
    #[must_use]
    pub fn new(file_len: usize, table: Option<Rc<TensorTable>>) -> Self {
        Self { file_len, position: 0, buffer: Vec::new(), needed: 0, table, next: 0 }
    }

    /// The file's tensors, once its header has come.
    #[must_use]
    pub fn table(&self) -> Option<&Rc<TensorTable>> {
        self.table.as_ref()
    }

    /// Takes the next bytes of the file and hands each tensor that is complete now to `sink`.
    ///
    /// # Errors
    /// Those of [`Gguf::parse_prefix`] and of `sink`.
    pub fn push<S: TensorSink>(&mut self, piece: &[u8], sink: &mut S) -> Result<(), S::Error> {
        if let Some(table) = self.table.clone() {
            return self.cut(&table, piece, sink);
        }
        self.buffer.extend_from_slice(piece);
        let Some(gguf) = self.read_header()? else { return Ok(()) };
        let begun = std::mem::take(&mut self.buffer);
        sink.header(&gguf)?;
        let table = self.table.insert(in_file_order(&gguf)).clone();
        drop(gguf);
        self.cut(&table, &begun, sink)
    }

    /// Cuts what comes at the ends of tensors, so that the buffer never holds more than one: an
    /// embedding is many times as large as what follows it, and WebAssembly's memory never shrinks.
    fn cut<S: TensorSink>(
        &mut self,
        table: &TensorTable,
        mut piece: &[u8],
        sink: &mut S,
    ) -> Result<(), S::Error> {
        while let Some((name, info)) = table.get(self.next) {
            // What lies before a tensor (the header, padding) is of no use.
            let skipped = info.range.start.saturating_sub(self.position).min(piece.len());
            let left = info.range.end - self.position - skipped;
            let (taken, rest) = piece[skipped..].split_at(left.min(piece.len() - skipped));
            self.position += skipped + taken.len();
            piece = rest;
            if taken.len() < left {
                self.fit_buffer(info.range.len());
                self.buffer.extend_from_slice(taken);
                return Ok(());
            }
            self.next += 1;
            if self.buffer.is_empty() {
                sink.tensor(name, info, taken)?;
            } else {
                self.buffer.extend_from_slice(taken);
                sink.tensor(name, info, &self.buffer)?;
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
    fn read_header(&mut self) -> Result<Option<Gguf>, Error> {
        if self.buffer.len() < self.needed {
            return Ok(None);
        }
        match Gguf::parse_prefix(&self.buffer, self.file_len) {
            Ok(gguf) => Ok(Some(gguf)),
            Err(Error::GgufTruncated { needed, .. }) if self.buffer.len() < self.file_len => {
                // Growing by half keeps the attempts at a long header few.
                self.needed = needed.max(self.buffer.len() * 3 / 2).min(self.file_len);
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }
}

fn in_file_order(gguf: &Gguf) -> Rc<TensorTable> {
    let mut tensors: Vec<_> =
        gguf.tensors().iter().map(|(name, info)| (name.clone(), info.clone())).collect();
    tensors.sort_by_key(|(_, info)| info.range.start);
    tensors.into()
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

    /// Keeps all it hears; refuses the tensor `refused`.
    #[derive(Default)]
    struct Heard {
        headers: usize,
        tensors: Vec<(String, Vec<u8>)>,
        refused: &'static str,
    }

    impl TensorSink for Heard {
        type Error = Error;

        fn header(&mut self, gguf: &Gguf) -> Result<(), Error> {
            assert!(self.tensors.is_empty() && !gguf.tensors().is_empty());
            self.headers += 1;
            Ok(())
        }

        fn tensor(&mut self, name: &str, info: &TensorInfo, bytes: &[u8]) -> Result<(), Error> {
            if name == self.refused {
                return Err(Error::Manifest { problem: name.to_owned() });
            }
            assert_eq!(info.range.len(), bytes.len());
            self.tensors.push((name.to_owned(), bytes.to_vec()));
            Ok(())
        }
    }

    fn read(
        file: &[u8],
        piece: usize,
        table: Option<Rc<TensorTable>>,
    ) -> (Vec<(String, Vec<u8>)>, Rc<TensorTable>) {
        let mut heard = Heard::default();
        let headers = usize::from(table.is_none());
        let mut stream = TensorStream::new(file.len(), table);
        for bytes in file.chunks(piece) {
            stream.push(bytes, &mut heard).unwrap();
        }
        let table = stream.table().unwrap().clone();
        assert!(stream.buffer.is_empty() && stream.next == table.len());
        assert!(table.iter().all(|(_, info)| info.shape == [2, 32]));
        assert_eq!(heard.headers, headers);
        (heard.tensors, table)
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
            stream.push(piece, &mut Heard::default()).unwrap();
            rooms.push(stream.buffer.capacity());
        }
        assert!(rooms.iter().all(|&room| room < (24 << 20) + (1 << 20)), "{rooms:?}");
        assert!(*rooms.last().unwrap() <= 2 * ROOM, "given back: {rooms:?}");
    }

    #[test]
    fn the_tensors_do_not_depend_on_the_pieces() {
        let file = file();
        let gguf = Gguf::parse(&file).unwrap();
        let (whole, _) = read(&file, file.len(), None);
        let names: Vec<_> = whole.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["c", "a", "b"]);
        for (name, bytes) in &whole {
            assert_eq!(bytes, gguf.tensor_bytes(&file, name).unwrap(), "{name}");
        }
        for piece in [1, 7, 64, 300, 1000] {
            assert_eq!(read(&file, piece, None).0, whole, "pieces of {piece}");
        }
    }

    #[test]
    fn a_known_header_is_not_parsed_again() {
        let file = file();
        let (whole, table) = read(&file, 100, None);
        let mut blank = file.clone();
        blank[..16].fill(0);
        assert_eq!(read(&blank, 100, Some(table)).0, whole);
    }

    #[test]
    fn only_what_is_needed_stays_in_memory() {
        let file = file();
        let mut stream = TensorStream::new(file.len(), None);
        let mut most = 0;
        for bytes in file.chunks(64) {
            stream.push(bytes, &mut Heard::default()).unwrap();
            most = most.max(stream.buffer.len());
        }
        assert!(most < file.len() - 2 * 256, "{most} of {}", file.len());
    }

    #[test]
    fn rejects_what_is_no_gguf_and_passes_refusals_on() {
        let mut stream = TensorStream::new(100, None);
        assert!(stream.push(b"<!doctype html>", &mut Heard::default()).is_err());

        let file = file();
        let mut stream = TensorStream::new(file.len(), None);
        let mut picky = Heard { refused: "a", ..Heard::default() };
        let error = stream.push(&file, &mut picky).unwrap_err();
        assert!(matches!(&error, Error::Manifest { problem } if problem == "a"), "{error}");
        assert_eq!(picky.tensors.len(), 1);
    }

    #[test]
    fn rejects_a_header_that_reaches_past_the_file() {
        let file = file();
        let cut = &file[..200];
        let mut stream = TensorStream::new(cut.len(), None);
        assert!(stream.push(cut, &mut Heard::default()).is_err());
    }
}
