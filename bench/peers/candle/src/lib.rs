//! Candle's quantized Llama, as its own examples use it, behind the two calls that the benchmark's
//! page makes.

use std::io::Cursor;

use candle_core::{Device, Result, Tensor, quantized::gguf_file::Content};
use candle_transformers::models::quantized_llama::ModelWeights;
use wasm_bindgen::prelude::{JsError, wasm_bindgen};

/// A model and what it has read.
#[wasm_bindgen]
pub struct Model(ModelWeights);

#[wasm_bindgen]
impl Model {
    /// Loads a GGUF file.
    ///
    /// # Errors
    /// Candle refuses the file.
    #[wasm_bindgen(constructor)]
    pub fn new(gguf: Vec<u8>) -> std::result::Result<Self, JsError> {
        let load = || {
            let mut reader = Cursor::new(&gguf);
            let content = Content::read(&mut reader)?;
            ModelWeights::from_gguf(content, &mut reader, &Device::Cpu)
        };
        load().map(Self).map_err(to_js)
    }

    /// Reads tokens behind `position` others, none of them if that is 0, and returns the logits
    /// after the last.
    ///
    /// # Errors
    /// Whatever candle fails at.
    pub fn forward(
        &mut self,
        tokens: &[u32],
        position: usize,
    ) -> std::result::Result<Vec<f32>, JsError> {
        let mut forward = || -> Result<Vec<f32>> {
            let input = Tensor::new(tokens, &Device::Cpu)?.unsqueeze(0)?;
            self.0.forward(&input, position)?.flatten_all()?.to_vec1()
        };
        forward().map_err(to_js)
    }
}

fn to_js(error: candle_core::Error) -> JsError {
    JsError::new(&error.to_string())
}
