//! Reading the base and merging the adapter into each tensor as it arrives.

use std::rc::Rc;

use js_sys::Uint8Array;
use shared::{BaseHeader, Error, Gguf, Model, ModelBuilder, RankSlice, TensorInfo};

use super::{
    adapter::{ReadAdapter, bad_adapter},
    library::{Library, Listed, ReadError},
    ranks::{AdapterParts, Ranks},
    reporter::Reporter,
    scope,
};
use crate::{
    error::SiteError,
    progress::Source,
    tensor_stream::{TensorSink, TensorStream, TensorTable},
};

/// The base's header, known after its first reading.
#[derive(Clone)]
pub struct KnownBase {
    /// The file.
    pub file: Listed,
    /// Where its tensors stand.
    pub table: Rc<TensorTable>,
    /// What it says about itself.
    pub header: Rc<BaseHeader>,
}

/// A model with its adapter merged.
pub struct Merged {
    /// The packed weights.
    pub model: Model,
    /// The base they come from.
    pub base: KnownBase,
    /// Milliseconds spent on packing and merging, without waiting for bytes.
    pub ms: f64,
}

/// Reads the base from `file` and merges `adapter`, whose files are `parts`, into it. `known` spares
/// parsing the header where it is of the same file. `ranks` get the bytes as well, and follow the
/// model when this returns.
///
/// Packing goes on while bytes still arrive; the model is returned only after they are verified.
pub async fn merge(
    library: &Library,
    file: &Listed,
    known: Option<KnownBase>,
    adapter: &ReadAdapter,
    parts: AdapterParts<'_>,
    progress: &Reporter,
    ranks: &mut Ranks,
) -> Result<Merged, SiteError> {
    let known = known.filter(|known| known.file == *file);
    let length = usize::try_from(file.entry.size)
        .map_err(|_| SiteError::OutOfMemory { what: file.path.clone() })?;
    let last = progress.last();
    let slice = RankSlice::new(0, ranks.count()).map_err(|error| refused(&error, None))?;
    loop {
        ranks.load(length, Some(parts));
        let mut stream = TensorStream::new(length, known.as_ref().map(|known| known.table.clone()));
        let mut merger = Merger { file, adapter, slice, begun: None };
        if let Some(known) = &known {
            merger.begin(known.header.clone()).map_err(|Refusal(error)| error)?;
        }
        let (mut done, mut ms) = (0, 0.0);
        let result = library
            .read(file, |piece, source| {
                if ranks.count() > 1 {
                    ranks.pass_on(match source {
                        Source::Kept => piece.original,
                        // The store may still read the original.
                        Source::Network => Uint8Array::from(piece.bytes),
                    });
                }
                let started = scope::now_ms();
                stream.push(piece.bytes, &mut merger).map_err(|Refusal(error)| error)?;
                ms += scope::now_ms() - started;
                done += piece.bytes.len() as u64;
                progress.advance(last, done, source);
                Ok(())
            })
            .await;
        match result {
            Ok(()) => {
                let (model, header) = merger.finish()?;
                let table = stream.table().expect("its tensors have come").clone();
                let base = KnownBase { file: file.clone(), table, header };
                let others = ranks.follow(&model).await?;
                return Ok(Merged { model, base, ms: ms.max(others.merge_ms) });
            }
            Err(ReadError::Site(error)) => return Err(error),
            // The next round hashes the whole copy or asks the server. Ranks take in one base only.
            Err(ReadError::KeptCopyDamaged) => *ranks = Ranks::start(ranks.count()).await?,
        }
    }
}

/// What a base that was read cannot be used for.
struct Refusal(SiteError);

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        Self(refused(&error, None))
    }
}

/// What an error of a [`ModelBuilder`] says about base or adapter.
pub fn refused(error: &Error, adapter: Option<&str>) -> SiteError {
    match (error, adapter) {
        // The base is what was published: a sum that is not finite is the adapter's doing.
        (Error::NotFinite { .. }, Some(adapter)) => bad_adapter(adapter, error),
        _ => SiteError::BadBase { reason: error.to_string() },
    }
}

struct Merger<'a> {
    file: &'a Listed,
    adapter: &'a ReadAdapter,
    slice: RankSlice,
    begun: Option<(Rc<BaseHeader>, ModelBuilder<'a>)>,
}

impl Merger<'_> {
    fn begin(&mut self, header: Rc<BaseHeader>) -> Result<(), Refusal> {
        self.adapter.check(&header).map_err(Refusal)?;
        let adapter = Some(&self.adapter.adapter);
        let builder = ModelBuilder::new(&header.config, self.slice, adapter)?;
        self.begun = Some((header, builder));
        Ok(())
    }

    fn finish(self) -> Result<(Model, Rc<BaseHeader>), SiteError> {
        let Some((header, builder)) = self.begun else {
            let reason = format!("{} holds no tensors", self.file.path);
            return Err(SiteError::BadBase { reason });
        };
        let model = builder.finish().map_err(|error| Refusal::from(error).0)?;
        Ok((model, header))
    }
}

impl TensorSink for Merger<'_> {
    type Error = Refusal;

    fn header(&mut self, gguf: &Gguf) -> Result<(), Refusal> {
        let header = BaseHeader::from_gguf(gguf, self.file.entry.sha256.clone())?;
        self.begin(Rc::new(header))
    }

    fn tensor(&mut self, name: &str, info: &TensorInfo, bytes: &[u8]) -> Result<(), Refusal> {
        let (_, builder) = self.begun.as_mut().expect("it begins with the header");
        builder
            .tensor(name, info, bytes)
            .map_err(|error| Refusal(refused(&error, Some(&self.adapter.info.version))))
    }
}
