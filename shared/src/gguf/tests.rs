use super::reader::MAX_ARRAY;
use super::*;
use crate::{GgufBuilder, ModelConfig};

/// A header built byte by byte, so that a test can say exactly what is wrong with it.
struct Header(Vec<u8>);

impl Header {
    fn new(tensors: u64, metadata: u64) -> Self {
        Self(b"GGUF".to_vec()).u32(3).u64(tensors).u64(metadata)
    }

    fn u32(mut self, value: u32) -> Self {
        self.0.extend(value.to_le_bytes());
        self
    }

    fn u64(mut self, value: u64) -> Self {
        self.0.extend(value.to_le_bytes());
        self
    }

    fn bytes(mut self, bytes: &[u8]) -> Self {
        self.0.extend(bytes);
        self
    }

    fn text(self, text: &str) -> Self {
        self.u64(text.len() as u64).bytes(text.as_bytes())
    }

    /// A row of the tensor table; dimensions in the file's order.
    fn tensor(self, name: &str, dimensions: &[u64], ty: u32, offset: u64) -> Self {
        let header = self.text(name).u32(dimensions.len() as u32);
        dimensions.iter().fold(header, |header, &size| header.u64(size)).u32(ty).u64(offset)
    }

    /// Pads to 32 and appends `len` bytes of tensor data.
    fn data(mut self, len: usize) -> Self {
        self.0.resize(self.0.len().next_multiple_of(32) + len, 7);
        self
    }

    fn error(&self) -> String {
        Gguf::parse(&self.0).unwrap_err().to_string()
    }
}

#[track_caller]
fn assert_refused(header: &Header, reason: &str) {
    let error = header.error();
    assert!(error.contains(reason), "expected {reason:?} in: {error}");
}

#[test]
fn a_file_by_hand() {
    let header = Header::new(2, 2)
        .text("n")
        .u32(4)
        .u32(5)
        .text("list")
        .u32(9)
        .u32(8)
        .u64(2)
        .text("a")
        .text("")
        .tensor("w", &[32, 2], 8, 0)
        .tensor("b", &[3], 0, 96);
    let start = header.0.len().next_multiple_of(32);
    let file = header.data(96 + 12).0;
    let gguf = Gguf::parse(&file).unwrap();
    assert_eq!(gguf.version(), 3);
    assert_eq!(gguf.u32("n").unwrap(), 5);
    assert_eq!(gguf.strings("list").unwrap(), ["a", ""]);
    let info = gguf.tensor("w").unwrap();
    assert_eq!((&info.shape[..], info.ty), (&[2, 32][..], GgmlType::Q8_0));
    assert_eq!(info.range, start..start + 68);
    assert_eq!(gguf.tensor_bytes(&file, "b").unwrap().len(), 12);
    assert!(gguf.tensor("none").is_err());
    assert!(gguf.tensor_bytes(&file[..start], "b").is_err());
}

#[test]
fn what_the_builder_writes_is_read_back() {
    let mut builder = GgufBuilder::new();
    let values = [
        ("u8", Value::U8(200)),
        ("i8", Value::I8(-3)),
        ("u16", Value::U16(60000)),
        ("i16", Value::I16(-30000)),
        ("u32", Value::U32(4_000_000_000)),
        ("i32", Value::I32(-5)),
        ("f32", Value::F32(0.1)),
        ("bool", Value::Bool(true)),
        ("string", Value::String("é\0".into())),
        ("u64", Value::U64(u64::MAX)),
        ("i64", Value::I64(i64::MIN)),
        ("f64", Value::F64(0.1)),
        ("a.u8", Value::Array(ValueArray::U8(vec![1, 2]))),
        ("a.i8", Value::Array(ValueArray::I8(vec![-1]))),
        ("a.u16", Value::Array(ValueArray::U16(vec![1, 500]))),
        ("a.i16", Value::Array(ValueArray::I16(vec![-500]))),
        ("a.u32", Value::Array(ValueArray::U32(vec![]))),
        ("a.i32", Value::Array(ValueArray::I32(vec![-70_000]))),
        ("a.f32", Value::Array(ValueArray::F32(vec![1.5]))),
        ("a.bool", Value::Array(ValueArray::Bool(vec![true, false]))),
        ("a.string", Value::Array(ValueArray::String(vec!["x".into()]))),
        ("a.u64", Value::Array(ValueArray::U64(vec![1 << 40]))),
        ("a.i64", Value::Array(ValueArray::I64(vec![-1]))),
        ("a.f64", Value::Array(ValueArray::F64(vec![2.5]))),
    ];
    for (key, value) in &values {
        builder.metadata(key, value.clone()).unwrap();
    }
    let ramp: Vec<f32> = (0..64).map(|k| k as f32 - 30.0).collect();
    let types = [GgmlType::F32, GgmlType::F16, GgmlType::BF16, GgmlType::Q8_0, GgmlType::Q4_0];
    for ty in types {
        builder.tensor(ty.name(), &[2, 32], ty, &ramp).unwrap();
    }
    let file = builder.finish();
    let gguf = Gguf::parse(&file).unwrap();
    assert_eq!(gguf.metadata().len(), values.len());
    for (key, value) in &values {
        assert_eq!(gguf.value(key).unwrap(), value);
    }
    for (ty, tolerance) in types.into_iter().zip([0.0, 0.0, 0.0, 0.13, 2.1]) {
        let info = gguf.tensor(ty.name()).unwrap();
        assert_eq!((info.ty, &info.shape[..]), (ty, &[2, 32][..]));
        assert_eq!(info.range.start % DEFAULT_ALIGNMENT, 0);
        let mut back = vec![f32::NAN; 64];
        let bytes = gguf.tensor_bytes(&file, ty.name()).unwrap();
        crate::quant::dequantize(ty, bytes, &mut back).unwrap();
        for (value, back) in ramp.iter().zip(back) {
            assert!((value - back).abs() <= tolerance, "{}: {value} became {back}", ty.name());
        }
    }
}

#[test]
fn a_prefix_is_enough_and_says_how_much_is_missing() {
    let file = Header::new(1, 0).tensor("w", &[4], 0, 0).data(16).0;
    let header = file.len() - 16;
    let whole = Gguf::parse(&file).unwrap();
    for len in 0..file.len() {
        match Gguf::parse_prefix(&file[..len], file.len()) {
            Ok(gguf) => assert!(gguf == whole && len + 32 > header),
            Err(Error::GgufTruncated { needed, available }) => {
                assert!(available == len && needed > len && needed <= file.len());
            }
            Err(other) => panic!("{other}"),
        }
    }
}

#[test]
fn rejects_every_truncation() {
    let file = Header::new(1, 1).text("k").u32(8).text("value").tensor("w", &[4], 0, 0).data(16).0;
    assert!(Gguf::parse(&file).is_ok());
    for len in 0..file.len() {
        assert!(Gguf::parse(&file[..len]).is_err(), "{len} of {} bytes", file.len());
    }
}

#[test]
fn survives_every_changed_byte() {
    let file = Header::new(1, 1)
        .text("general.alignment")
        .u32(4)
        .u32(32)
        .tensor("w", &[4, 2], 0, 0)
        .data(32)
        .0;
    for at in 0..file.len() {
        for value in [0, 1, 0x7f, 0x80, 0xff] {
            let mut changed = file.clone();
            changed[at] = value;
            if let Ok(gguf) = Gguf::parse(&changed) {
                for info in gguf.tensors().values() {
                    assert!(info.range.end <= changed.len());
                }
            }
        }
    }
}

#[test]
fn rejects_other_files() {
    assert!(Gguf::parse(b"").is_err());
    assert_refused(&Header(b"GGML\x03\0\0\0".to_vec()), "magic");
    for version in [0, 1, 4, 3_u32.swap_bytes()] {
        assert_refused(&Header(b"GGUF".to_vec()).u32(version), "version");
    }
}

#[test]
fn rejects_counts_beyond_reason_before_allocating() {
    assert_refused(&Header::new(u64::MAX, 0), "tensors announced");
    assert_refused(&Header::new(0, u64::MAX), "metadata entries announced");
    assert_refused(&Header::new(0, 1).u64(u64::MAX), "string");
    assert_refused(&Header::new(0, 1).u64(1 << 15), "beyond the file's end");
    let array = |ty: u32, len: u64| Header::new(0, 1).text("k").u32(9).u32(ty).u64(len);
    for ty in 0..13 {
        let header = array(ty, u64::MAX);
        assert!(Gguf::parse(&header.0).is_err());
        assert!(Gguf::parse(&array(ty, MAX_ARRAY as u64).0).is_err());
    }
    assert_refused(&array(8, 1 << 40), "array");
    assert_refused(&array(10, 1 << 20), "beyond the file's end");
}

#[test]
fn rejects_bad_metadata() {
    let entry = |ty: u32| Header::new(0, 1).text("k").u32(ty);
    assert_refused(&entry(13), "type 13");
    assert_refused(&entry(9).u32(9).u64(1), "arrays of arrays");
    assert_refused(&entry(9).u32(99).u64(1), "type 99");
    assert_refused(&entry(7).bytes(&[2]), "boolean");
    assert_refused(&entry(8).u64(1).bytes(&[0xff]), "UTF-8");
    let twice = Header::new(0, 2).text("k").u32(0).bytes(&[1]).text("k").u32(0).bytes(&[1]);
    assert_refused(&twice, "twice");
    for alignment in [0, 1, 4, 24, 1 << 17] {
        let header = Header::new(0, 1).text("general.alignment").u32(4).u32(alignment);
        assert_refused(&header, "general.alignment");
    }
    assert_refused(
        &Header::new(0, 1).text("general.alignment").u32(8).text("32"),
        "general.alignment",
    );
}

#[test]
fn rejects_bad_tensors() {
    let one = |dimensions: &[u64], ty: u32, offset: u64| {
        Header::new(1, 0).tensor("w", dimensions, ty, offset).data(64)
    };
    assert!(Gguf::parse(&one(&[16], 0, 0).0).is_ok());
    assert_refused(&one(&[17], 0, 0), "leaves the file");
    assert_refused(&one(&[16], 0, 32), "leaves the file");
    assert_refused(&one(&[1 << 33, 1 << 33], 0, 0), "leaves the file");
    assert_refused(&one(&[1 << 62], 0, 0), "leaves the file");
    assert_refused(&one(&[4], 0, u64::MAX - 31), "leaves the file");
    assert_refused(&one(&[4], 0, 8), "alignment");
    assert_refused(&one(&[0], 0, 0), "dimension");
    assert_refused(&one(&[], 0, 0), "dimensions");
    assert_refused(&one(&[1, 1, 1, 1, 1], 0, 0), "dimensions");
    assert_refused(&one(&[31], 8, 0), "whole blocks");
    assert_refused(&one(&[16, 2], 2, 0), "whole blocks");
    let long = "n".repeat(MAX_TENSOR_NAME + 1);
    assert_refused(&Header::new(1, 0).tensor(&long, &[4], 0, 0).data(64), "65 bytes");
    let twice = Header::new(2, 0).tensor("w", &[4], 0, 0).tensor("w", &[4], 0, 32).data(64);
    assert_refused(&twice, "twice");
    let overlap = Header::new(2, 0).tensor("v", &[9], 0, 0).tensor("w", &[4], 0, 32).data(64);
    assert_refused(&overlap, "v and w overlap");
}

#[test]
fn rejects_types_it_cannot_read_by_name() {
    for (id, name) in [(12, "Q4_K"), (14, "Q6_K"), (4, "number 4"), (u32::MAX, "number")] {
        let error = Header::new(1, 0).tensor("blk.0.x", &[32], id, 0).data(64).error();
        assert!(error.contains("blk.0.x") && error.contains(name), "{error}");
    }
}

#[test]
fn getters_name_key_and_types() {
    let mut builder = GgufBuilder::new();
    builder.metadata("text", "x").unwrap();
    builder.metadata("negative", Value::I32(-1)).unwrap();
    builder.metadata("wide", Value::U64(7)).unwrap();
    let gguf = Gguf::parse(&builder.finish()).unwrap();
    assert_eq!(gguf.u32("wide").unwrap(), 7);
    assert_eq!(gguf.optional_bool("none").unwrap(), None);
    let message = |error: Error| error.to_string();
    assert!(message(gguf.str("none").unwrap_err()).contains("key none is missing"));
    let error = message(gguf.u32("text").unwrap_err());
    assert!(error.contains("text") && error.contains("u32") && error.contains("string"), "{error}");
    assert!(gguf.usize("negative").is_err());
    assert!(gguf.bool("text").is_err() && gguf.f32("wide").is_err());
    assert!(gguf.strings("text").is_err());
}

#[test]
fn builder_rejects_what_the_reader_would() {
    let mut builder = GgufBuilder::new();
    builder.metadata("k", 1_u32).unwrap();
    assert!(builder.metadata("k", 1_u32).is_err());
    assert!(builder.metadata("", 1_u32).is_err());
    builder.tensor("w", &[2], GgmlType::F32, &[1.0, 2.0]).unwrap();
    assert!(builder.tensor("w", &[2], GgmlType::F32, &[1.0, 2.0]).is_err());
    assert!(builder.tensor("a", &[3], GgmlType::F32, &[1.0, 2.0]).is_err());
    assert!(builder.tensor("a", &[2], GgmlType::Q8_0, &[1.0, 2.0]).is_err());
    assert!(builder.tensor("a", &[2, 16], GgmlType::Q8_0, &[1.0; 32]).is_err());
    assert!(builder.tensor("a", &[], GgmlType::F32, &[1.0]).is_err());
    assert!(builder.tensor("a", &[1], GgmlType::F32, &[f32::NAN]).is_err());
    assert!(builder.tensor(&"n".repeat(65), &[1], GgmlType::F32, &[1.0]).is_err());
}

#[test]
fn bf16_is_rounded_to_even() {
    let mut builder = GgufBuilder::new();
    let cases = [(0x3f80_8000, 0x3f80), (0x3f81_8000, 0x3f82), (0x3f80_8001, 0x3f81)];
    let values = cases.map(|(bits, _)| f32::from_bits(bits));
    builder.tensor("w", &[3], GgmlType::BF16, &values).unwrap();
    let file = builder.finish();
    let gguf = Gguf::parse(&file).unwrap();
    let expected: Vec<u8> = cases.iter().flat_map(|(_, bits)| u16::to_le_bytes(*bits)).collect();
    assert_eq!(gguf.tensor_bytes(&file, "w").unwrap(), expected);
}

fn config() -> ModelConfig {
    ModelConfig {
        vocab_size: 40,
        hidden_size: 32,
        intermediate_size: 64,
        num_hidden_layers: 2,
        num_attention_heads: 4,
        num_key_value_heads: 2,
        head_dim: 8,
        rms_norm_eps: 1e-5,
        rope_theta: 1e4,
        context_length: 128,
        tie_word_embeddings: true,
    }
}

fn with_config(change: impl Fn(&mut GgufBuilder)) -> Result<ModelConfig> {
    let mut builder = GgufBuilder::new();
    builder.config(&config()).unwrap();
    builder.tensor("token_embd.weight", &[40, 32], GgmlType::F32, &[0.0; 1280]).unwrap();
    change(&mut builder);
    ModelConfig::from_gguf(&Gguf::parse(&builder.finish()).unwrap())
}

#[test]
fn a_config_round_trips() {
    assert_eq!(with_config(|_| ()).unwrap(), config());
    let untied = with_config(|builder| {
        builder.tensor("output.weight", &[40, 32], GgmlType::F32, &[0.0; 1280]).unwrap();
    });
    assert!(!untied.unwrap().tie_word_embeddings);
}

#[test]
fn rejects_models_it_would_run_wrongly() {
    let scaled = with_config(|builder| {
        builder.metadata("llama.rope.scaling.type", "linear").unwrap();
    });
    assert!(scaled.unwrap_err().to_string().contains("llama.rope.scaling.type"));
    let scaled = with_config(|builder| {
        builder.tensor("rope_freqs.weight", &[4], GgmlType::F32, &[1.0; 4]).unwrap();
    });
    assert!(scaled.unwrap_err().to_string().contains("rope_freqs.weight"));
    let mut builder = GgufBuilder::new();
    builder.metadata("general.architecture", "gemma").unwrap();
    let error = ModelConfig::from_gguf(&Gguf::parse(&builder.finish()).unwrap()).unwrap_err();
    assert!(error.to_string().contains("gemma"), "{error}");
}

#[test]
fn rejects_impossible_configs() {
    let spoil = |change: fn(&mut ModelConfig), field: &str| {
        let mut config = config();
        change(&mut config);
        let error = config.validate().unwrap_err().to_string();
        assert!(error.contains(field), "{error}");
    };
    spoil(|c| c.vocab_size = 0, "vocab_size");
    spoil(|c| c.hidden_size = 1 << 30, "hidden_size");
    spoil(|c| c.num_hidden_layers = 0, "num_hidden_layers");
    spoil(|c| c.num_key_value_heads = 3, "num_key_value_heads");
    spoil(|c| c.num_key_value_heads = 8, "num_key_value_heads");
    spoil(|c| c.head_dim = 7, "head_dim");
    spoil(|c| c.rms_norm_eps = 0.0, "rms_norm_eps");
    spoil(|c| c.rope_theta = f32::NAN, "rope_theta");
    spoil(|c| c.context_length = usize::MAX, "context_length");
}
