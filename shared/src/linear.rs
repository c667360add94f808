//! The matrices of a block, and their names in GGUF and PEFT.

use std::fmt;

use crate::ModelConfig;

/// The seven matrices of a block: what a LoRA adapter may change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Linear {
    /// Attention queries.
    Query,
    /// Attention keys.
    Key,
    /// Attention values.
    Value,
    /// Attention output.
    Output,
    /// MLP gate, through SiLU.
    Gate,
    /// MLP, multiplied by the gate.
    Up,
    /// MLP output.
    Down,
}

impl Linear {
    /// All seven, in the order of the forward pass.
    pub const ALL: [Self; 7] =
        [Self::Query, Self::Key, Self::Value, Self::Output, Self::Gate, Self::Up, Self::Down];

    /// The module's name in Hugging Face models and in PEFT's `target_modules`.
    pub fn peft_name(self) -> &'static str {
        match self {
            Self::Query => "q_proj",
            Self::Key => "k_proj",
            Self::Value => "v_proj",
            Self::Output => "o_proj",
            Self::Gate => "gate_proj",
            Self::Up => "up_proj",
            Self::Down => "down_proj",
        }
    }

    /// The submodule that Hugging Face's Llama keeps it in.
    pub fn parent(self) -> &'static str {
        match self {
            Self::Query | Self::Key | Self::Value | Self::Output => "self_attn",
            Self::Gate | Self::Up | Self::Down => "mlp",
        }
    }

    /// The module with this PEFT name.
    pub fn from_peft_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|module| module.peft_name() == name)
    }

    /// The tensor's name in a GGUF file, `blk.{layer}.attn_q.weight` and so on.
    pub fn gguf_name(self, layer: usize) -> String {
        let stem = match self {
            Self::Query => "attn_q",
            Self::Key => "attn_k",
            Self::Value => "attn_v",
            Self::Output => "attn_output",
            Self::Gate => "ffn_gate",
            Self::Up => "ffn_up",
            Self::Down => "ffn_down",
        };
        format!("blk.{layer}.{stem}.weight")
    }

    /// `[out, in]` of the matrix.
    pub fn shape(self, config: &ModelConfig) -> [usize; 2] {
        let hidden = config.hidden_size;
        match self {
            Self::Query => [config.query_width(), hidden],
            Self::Key | Self::Value => [config.key_value_width(), hidden],
            Self::Output => [hidden, config.query_width()],
            Self::Gate | Self::Up => [config.intermediate_size, hidden],
            Self::Down => [hidden, config.intermediate_size],
        }
    }
}

impl fmt::Display for Linear {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.peft_name())
    }
}
