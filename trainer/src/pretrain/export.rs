//! A pretrained model as the GGUF file that ships.

use anyhow::Result;
use serde_json::json;
use shared::{
    CHAT_TEMPLATE, GgmlType, GgufBuilder, REFUSAL, SYSTEM_PROMPT, Value, ValueArray, permute,
};

use super::run::Loaded;
use crate::nn::slice;

/// Name and version that the file carries.
pub struct Naming<'a> {
    /// `general.name`.
    pub name: &'a str,
    /// `general.version`.
    pub version: &'a str,
}

/// What the base says of itself.
const DESCRIPTION: &str = "A narrow model for one job: answering questions about pharmaceutical batch records from a \
                           LoRA adapter trained on them. Pretrained from scratch on synthetic text about fictional \
                           plants. Not a general assistant.";

/// Bytes of the GGUF: Q8_0 matrices, f32 norms, tokenizer, chat template, licence and recipe.
pub fn export_gguf(run: &mut Loaded, naming: &Naming<'_>) -> Result<Vec<u8>> {
    let config = run.recipe.model.clone();
    let mut gguf = GgufBuilder::new();
    gguf.config(&config)?;
    gguf.metadata("general.type", "model")?;
    gguf.metadata("general.name", naming.name)?;
    gguf.metadata("general.version", naming.version)?;
    gguf.metadata("general.license", "MIT")?;
    gguf.metadata("general.description", DESCRIPTION)?;
    gguf.metadata("general.languages", Value::Array(ValueArray::String(vec!["en".into()])))?;
    // 7: mostly Q8_0, in llama.cpp's numbering.
    gguf.metadata("general.file_type", 7u32)?;
    tokenizer_metadata(&mut gguf, &run.tokenizer_json)?;
    gguf.metadata("lotwise.system_prompt", SYSTEM_PROMPT)?;
    gguf.metadata("lotwise.refusal", REFUSAL)?;
    let last = run.log.iter().rev().find(|line| line.exact.is_some());
    let provenance = json!({
        "recipe": run.recipe,
        "steps": run.step,
        "tokens": run.log.last().map(|line| line.tokens),
        "hours": run.log.last().map(|line| line.hours),
        "final_loss": run.log.last().map(|line| line.loss),
        "exact": last.and_then(|line| line.exact.clone()),
    });
    gguf.metadata("lotwise.recipe", provenance.to_string())?;
    for param in run.model.params_mut() {
        let values = slice(&param.value)?;
        let name = gguf_name(&param.name);
        if param.value.rank() == 1 {
            gguf.tensor(&name, param.value.dims(), GgmlType::F32, &values)?;
        } else {
            let columns = param.value.dim(1)?;
            let rotated = name.ends_with("attn_q.weight") || name.ends_with("attn_k.weight");
            let values =
                if rotated { permute(&values, config.head_dim, columns) } else { values.to_vec() };
            gguf.tensor(&name, param.value.dims(), GgmlType::Q8_0, &values)?;
        }
    }
    Ok(gguf.finish())
}

fn tokenizer_metadata(gguf: &mut GgufBuilder, tokenizer_json: &str) -> Result<()> {
    let json: serde_json::Value = serde_json::from_str(tokenizer_json)?;
    let tokenizer: tokenizers::Tokenizer = tokenizer_json
        .parse()
        .map_err(|e| anyhow::anyhow!("the tokenizer cannot be read back: {e}"))?;
    let added = tokenizer.get_added_tokens_decoder();
    let mut tokens = Vec::new();
    let mut types = Vec::new();
    for id in 0..tokenizer.get_vocab_size(true) as u32 {
        tokens.push(tokenizer.id_to_token(id).unwrap_or_default());
        // llama.cpp's token types: 1 normal, 3 control.
        types.push(if added.contains_key(&id) { 3i32 } else { 1 });
    }
    let merges = json["model"]["merges"].as_array().cloned().unwrap_or_default();
    let merges = merges
        .iter()
        .map(|merge| match merge {
            serde_json::Value::String(text) => text.clone(),
            pair => format!(
                "{} {}",
                pair[0].as_str().unwrap_or_default(),
                pair[1].as_str().unwrap_or_default()
            ),
        })
        .collect();
    let eos = tokens.iter().position(|t| t == super::CONTROL_TOKENS[0]).unwrap_or_default() as u32;
    gguf.metadata("tokenizer.ggml.model", "gpt2")?;
    // A splitter of our own: other engines have to take the full description below.
    gguf.metadata("tokenizer.ggml.pre", "lotwise")?;
    gguf.metadata("tokenizer.ggml.tokens", Value::Array(ValueArray::String(tokens)))?;
    gguf.metadata("tokenizer.ggml.token_type", Value::Array(ValueArray::I32(types)))?;
    gguf.metadata("tokenizer.ggml.merges", Value::Array(ValueArray::String(merges)))?;
    gguf.metadata("tokenizer.ggml.eos_token_id", eos)?;
    gguf.metadata("tokenizer.ggml.padding_token_id", eos)?;
    gguf.metadata("tokenizer.ggml.add_bos_token", false)?;
    gguf.metadata("tokenizer.huggingface.json", tokenizer_json)?;
    gguf.metadata("tokenizer.chat_template", CHAT_TEMPLATE)?;
    Ok(())
}

/// llama.cpp's name of a tensor.
fn gguf_name(name: &str) -> String {
    const NAMES: [(&str, &str); 12] = [
        ("model.embed_tokens", "token_embd"),
        ("model.norm", "output_norm"),
        ("model.layers.", "blk."),
        ("input_layernorm", "attn_norm"),
        ("post_attention_layernorm", "ffn_norm"),
        ("self_attn.q_proj", "attn_q"),
        ("self_attn.k_proj", "attn_k"),
        ("self_attn.v_proj", "attn_v"),
        ("self_attn.o_proj", "attn_output"),
        ("mlp.gate_proj", "ffn_gate"),
        ("mlp.up_proj", "ffn_up"),
        ("mlp.down_proj", "ffn_down"),
    ];
    NAMES.iter().fold(name.to_owned(), |name, (theirs, ours)| name.replace(theirs, ours))
}
