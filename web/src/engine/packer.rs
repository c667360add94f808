//! One rank's rows of a base, packed while it arrives.

use shared::{Adapter, Error, Gguf, Model, ModelBuilder, ModelConfig, RankSlice, TensorInfo};

use crate::{error::SiteError, tensor_stream::TensorSink};

/// Packs the rows of one rank. Of the header it needs the hyper-parameters alone: a file with random
/// weights may lack tokenizer and template.
pub struct Packer<'a> {
    slice: RankSlice,
    adapter: Option<&'a Adapter>,
    builder: Option<ModelBuilder<'a>>,
}

impl<'a> Packer<'a> {
    /// A packer that merges `adapter`, if there is one.
    pub fn new(slice: RankSlice, adapter: Option<&'a Adapter>) -> Self {
        Self { slice, adapter, builder: None }
    }

    /// The model, once all tensors have come.
    ///
    /// # Errors
    /// What `refused` makes of [`ModelBuilder::finish`]'s; `BadBase`: no header has come.
    pub fn finish(self, refused: impl Fn(Error) -> SiteError) -> Result<Model, SiteError> {
        let Some(builder) = self.builder else {
            return Err(SiteError::BadBase { reason: "it holds no tensors".into() });
        };
        builder.finish().map_err(refused)
    }
}

impl TensorSink for Packer<'_> {
    type Error = Error;

    fn header(&mut self, gguf: &Gguf) -> Result<(), Error> {
        let config = ModelConfig::from_gguf(gguf)?;
        self.builder = Some(ModelBuilder::new(&config, self.slice, self.adapter)?);
        Ok(())
    }

    fn tensor(&mut self, name: &str, info: &TensorInfo, bytes: &[u8]) -> Result<(), Error> {
        let builder =
            self.builder.as_mut().expect("a stream without a table begins with its header");
        builder.tensor(name, info, bytes)
    }
}
