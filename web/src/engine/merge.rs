//! Reading the base and merging the adapter into each tensor as it arrives.

use std::rc::Rc;

use shared::{BaseHeader, Error, Gguf, Model, ModelBuilder, RankSlice, TensorInfo};

use super::{
    adapter::{ReadAdapter, bad_adapter},
    library::{Library, Listed, ReadError},
    ranks::{AdapterParts, Ranks},
    reporter::Reporter,
    scope,
};
use crate::{error::SiteError, tensor_stream::TensorStream};

/// The base's header, known after its first reading.
#[derive(Clone)]
pub struct KnownBase {
    /// The file.
    pub file: Listed,
    /// Where its tensors stand.
    pub gguf: Rc<Gguf>,
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
        let mut stream = TensorStream::new(length, known.as_ref().map(|known| known.gguf.clone()));
        let mut merger = Merger { file, adapter, slice, base: known.clone(), builder: None };
        let (mut done, mut ms) = (0, 0.0);
        let result = library
            .read(file, |piece, source| {
                ranks.pass_on(piece);
                let started = scope::now_ms();
                stream
                    .push(piece, &mut |gguf, name, info, bytes| {
                        merger.take(gguf, name, info, bytes)
                    })
                    .map_err(|Refusal(error)| error)?;
                ms += scope::now_ms() - started;
                done += piece.len() as u64;
                progress.advance(last, done, source);
                Ok(())
            })
            .await;
        match result {
            Ok(()) => {
                let (model, base) = merger.finish()?;
                let others = ranks.follow(&model).await?;
                return Ok(Merged { model, base, ms: ms.max(others.merge_ms) });
            }
            Err(ReadError::Site(error)) => return Err(error),
            // Removed by now, so the next round asks the server. Ranks take in one base only.
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
    base: Option<KnownBase>,
    builder: Option<ModelBuilder<'a>>,
}

impl<'a> Merger<'a> {
    fn take(
        &mut self,
        gguf: &Rc<Gguf>,
        name: &str,
        info: &TensorInfo,
        bytes: &[u8],
    ) -> Result<(), Refusal> {
        if self.builder.is_none() {
            self.begin(gguf)?;
        }
        let builder = self.builder.as_mut().expect("it was just made");
        builder
            .tensor(name, info, bytes)
            .map_err(|error| Refusal(refused(&error, Some(&self.adapter.info.version))))
    }

    fn begin(&mut self, gguf: &Rc<Gguf>) -> Result<(), Refusal> {
        if self.base.is_none() {
            let header = BaseHeader::from_gguf(gguf, self.file.entry.sha256.clone())?;
            self.base = Some(KnownBase {
                file: self.file.clone(),
                gguf: gguf.clone(),
                header: Rc::new(header),
            });
        }
        let base = self.base.as_ref().expect("it was just read");
        self.adapter.check(&base.header).map_err(Refusal)?;
        let adapter = Some(&self.adapter.adapter);
        self.builder = Some(ModelBuilder::new(&base.header.config, self.slice, adapter)?);
        Ok(())
    }

    fn finish(self) -> Result<(Model, KnownBase), SiteError> {
        let path = &self.file.path;
        let (Some(builder), Some(base)) = (self.builder, self.base) else {
            return Err(SiteError::BadBase { reason: format!("{path} holds no tensors") });
        };
        let model = builder.finish().map_err(|error| Refusal::from(error).0)?;
        Ok((model, base))
    }
}
