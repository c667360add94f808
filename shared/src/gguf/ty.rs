//! Element types.

/// How a tensor's elements are stored. Numbers and blocks are ggml's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u32)]
pub enum GgmlType {
    /// IEEE single.
    F32 = 0,
    /// IEEE half.
    F16 = 1,
    /// 32 elements: one f16 scale, 16 bytes of codes 0..=15 around 8.
    Q4_0 = 2,
    /// 32 elements: one f16 scale, 32 i8 codes.
    Q8_0 = 8,
    /// The upper half of an IEEE single.
    BF16 = 30,
}

impl GgmlType {
    /// What [`Error::UnsupportedType`] offers instead.
    pub(crate) const SUPPORTED: &'static str = "F32, F16, BF16, Q8_0, Q4_0";

    pub(super) fn from_u32(id: u32) -> Option<Self> {
        [Self::F32, Self::F16, Self::Q4_0, Self::Q8_0, Self::BF16]
            .into_iter()
            .find(|ty| *ty as u32 == id)
    }

    /// Elements in one block.
    pub fn block_len(self) -> usize {
        match self {
            Self::F32 | Self::F16 | Self::BF16 => 1,
            Self::Q4_0 | Self::Q8_0 => 32,
        }
    }

    /// Bytes of one block.
    pub fn block_bytes(self) -> usize {
        match self {
            Self::F32 => 4,
            Self::F16 | Self::BF16 => 2,
            Self::Q4_0 => 2 + 16,
            Self::Q8_0 => 2 + 32,
        }
    }

    /// ggml's name.
    pub fn name(self) -> &'static str {
        match self {
            Self::F32 => "F32",
            Self::F16 => "F16",
            Self::Q4_0 => "Q4_0",
            Self::Q8_0 => "Q8_0",
            Self::BF16 => "BF16",
        }
    }
}

/// Names of the other types of ggml, so that a refusal says what the user's file holds.
pub(super) fn foreign_type_name(id: u32) -> String {
    let name = match id {
        3 => "Q4_1",
        6 => "Q5_0",
        7 => "Q5_1",
        9 => "Q8_1",
        10 => "Q2_K",
        11 => "Q3_K",
        12 => "Q4_K",
        13 => "Q5_K",
        14 => "Q6_K",
        15 => "Q8_K",
        16 => "IQ2_XXS",
        17 => "IQ2_XS",
        18 => "IQ3_XXS",
        19 => "IQ1_S",
        20 => "IQ4_NL",
        21 => "IQ3_S",
        22 => "IQ2_S",
        23 => "IQ4_XS",
        24 => "I8",
        25 => "I16",
        26 => "I32",
        27 => "I64",
        28 => "F64",
        29 => "IQ1_M",
        34 => "TQ1_0",
        35 => "TQ2_0",
        39 => "MXFP4",
        _ => return format!("number {id}"),
    };
    name.to_owned()
}
