use serde_json::{Value, json};

use super::*;

const CONFIG: ModelConfig = ModelConfig {
    vocab_size: 40,
    hidden_size: 6,
    intermediate_size: 10,
    num_hidden_layers: 2,
    num_attention_heads: 4,
    num_key_value_heads: 2,
    head_dim: 2,
    rms_norm_eps: 1e-5,
    rope_theta: 1e4,
    context_length: 128,
    tie_word_embeddings: true,
};

/// An adapter on all seven matrices of [`CONFIG`], every number its own.
fn adapter() -> Adapter {
    let config = LoraConfig {
        r: 2,
        lora_alpha: 3.0,
        lora_dropout: 0.05,
        target_modules: Linear::ALL.to_vec(),
        use_rslora: false,
        layers_to_transform: None,
        base_model_name_or_path: Some("lotwise-base".into()),
    };
    let mut pairs = BTreeMap::new();
    let mut next = 0.0;
    let mut ramp = |len: usize| -> Vec<f32> {
        (0..len)
            .map(|_| {
                next += 0.5;
                next
            })
            .collect()
    };
    for layer in 0..2 {
        for module in Linear::ALL {
            let [out_features, in_features] = module.shape(&CONFIG);
            let (a, b) = (ramp(2 * in_features), ramp(2 * out_features));
            pairs.insert((layer, module), LoraPair { a, b, in_features, out_features });
        }
    }
    Adapter { config, pairs }
}

fn parse_with(change: impl Fn(&mut Value)) -> Result<Adapter> {
    let (config, tensors) = adapter().write().unwrap();
    let mut config: Value = serde_json::from_slice(&config).unwrap();
    change(&mut config);
    Adapter::parse(&serde_json::to_vec(&config).unwrap(), &tensors)
}

/// Parses one pair for `q_proj` of layer 0 with tensors as given.
fn parse_tensors(tensors: &[(&str, Dtype, &[usize], Vec<u8>)]) -> Result<Adapter> {
    let views = tensors.iter().map(|(name, dtype, shape, bytes)| {
        (*name, TensorView::new(*dtype, shape.to_vec(), bytes).unwrap())
    });
    let file = safetensors::serialize(views, None).unwrap();
    let config = json!({
        "peft_type": "LORA", "r": 2, "lora_alpha": 4, "target_modules": ["q_proj"],
    });
    Adapter::parse(&serde_json::to_vec(&config).unwrap(), &file)
}

const QA: &str = "base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight";
const QB: &str = "base_model.model.model.layers.0.self_attn.q_proj.lora_B.weight";

fn f32s(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

#[test]
fn what_is_written_is_read_back() {
    let (config, tensors) = adapter().write().unwrap();
    let back = Adapter::parse(&config, &tensors).unwrap();
    assert_eq!(back, adapter());
    assert_eq!(back.write().unwrap(), (config, tensors));
    back.check(&CONFIG).unwrap();
}

#[test]
fn files_have_peft_s_form() {
    let (config, tensors) = adapter().write().unwrap();
    let config: Value = serde_json::from_slice(&config).unwrap();
    assert_eq!(config["peft_type"], "LORA");
    assert_eq!(config["task_type"], "CAUSAL_LM");
    assert_eq!(config["lora_dropout"].to_string(), "0.05");
    assert_eq!(
        config["target_modules"],
        json!(["down_proj", "gate_proj", "k_proj", "o_proj", "q_proj", "up_proj", "v_proj"])
    );
    let file = SafeTensors::deserialize(&tensors).unwrap();
    assert_eq!(file.len(), 28);
    assert_eq!(file.tensor(QA).unwrap().shape(), [2, 6]);
    assert_eq!(file.tensor(QB).unwrap().shape(), [8, 2]);
    let down = "base_model.model.model.layers.1.mlp.down_proj.lora_B.weight";
    assert_eq!(file.tensor(down).unwrap().shape(), [6, 2]);
    assert_eq!(file.tensor(QA).unwrap().data()[..8], f32s(&[0.5, 1.0]));
}

#[test]
fn the_scale_by_hand() {
    assert_eq!(adapter().scale(), 1.5);
    let mut stable = adapter();
    stable.config.use_rslora = true;
    stable.config.r = 4;
    stable.config.lora_alpha = 16.0;
    assert_eq!(stable.scale(), 8.0);
}

#[test]
fn half_precision_is_read_exactly() {
    let a = [0x3c00_u16, 0xc000, 0x0000, 0x3800].map(u16::to_le_bytes).concat();
    let b = [0x3f80_u16, 0xc000, 0x0000, 0x3f00].map(u16::to_le_bytes).concat();
    let read =
        parse_tensors(&[(QA, Dtype::F16, &[2, 2], a), (QB, Dtype::BF16, &[2, 2], b)]).unwrap();
    let pair = &read.pairs[&(0, Linear::Query)];
    assert_eq!(pair.a, [1.0, -2.0, 0.0, 0.5]);
    assert_eq!(pair.b, [1.0, -2.0, 0.0, 0.5]);
}

#[test]
fn fields_that_change_nothing_are_accepted() {
    parse_with(|config| {
        config["peft_version"] = json!("0.21.2");
        config["use_qalora"] = json!(false);
        config["a_future_switch"] = json!(null);
        config["init_lora_weights"] = json!("gaussian");
        config["loftq_config"] = json!({});
        config["task_type"] = json!(null);
    })
    .unwrap();
}

/// PEFT 0.21 writes `all-linear` out as the paths of all modules.
#[test]
fn paths_of_all_modules_are_read_as_all_layers() {
    let paths: Vec<String> = (0..2)
        .flat_map(|layer| {
            Linear::ALL.map(|module| format!("model.layers.{layer}.{}.{module}", module.parent()))
        })
        .collect();
    let read = parse_with(|config| config["target_modules"] = json!(paths)).unwrap();
    assert_eq!(read.config.target_modules, Linear::ALL);
    assert_eq!(read.config.layers_to_transform, Some(vec![0, 1]));
    read.check(&CONFIG).unwrap();
    let short = ["self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "o_proj"];
    let short = [&short[..], &["mlp.gate_proj", "up_proj", "mlp.down_proj"]].concat();
    let read = parse_with(|config| config["target_modules"] = json!(short)).unwrap();
    assert_eq!(read, adapter());
}

#[test]
fn rejects_features_that_merging_would_lose() {
    for (field, value) in [
        ("use_dora", json!(true)),
        ("bias", json!("all")),
        ("bias", json!("lora_only")),
        ("lora_bias", json!(true)),
        ("modules_to_save", json!(["lm_head"])),
        ("rank_pattern", json!({"q_proj": 4})),
        ("alpha_pattern", json!({"q_proj": 4})),
        ("fan_in_fan_out", json!(true)),
        ("init_lora_weights", json!("pissa")),
        ("init_lora_weights", json!("loftq")),
        ("layer_replication", json!([[0, 1]])),
        ("trainable_token_indices", json!([1])),
        ("target_parameters", json!(["w"])),
        ("a_future_switch", json!(true)),
        ("peft_type", json!("IA3")),
        ("task_type", json!("SEQ_CLS")),
        ("target_modules", json!(["q_proj", "lm_head"])),
        ("target_modules", json!(["q_proj", "model.layers.0.mlp.up_proj"])),
        ("target_modules", json!(["model.layers.0.mlp.up_proj", "model.layers.1.mlp.down_proj"])),
        ("target_modules", json!(["mlp.q_proj"])),
        ("target_modules", json!("all-linear")),
    ] {
        let error = parse_with(|config| config[field] = value.clone()).unwrap_err();
        assert!(
            matches!(&error, Error::AdapterFeature { field: named, .. } if named == field),
            "{field}: {error}"
        );
    }
}

#[test]
fn rejects_impossible_configs() {
    for (field, value) in [
        ("r", json!(0)),
        ("r", json!(1025)),
        ("r", json!(-1)),
        ("r", json!(3)),
        ("lora_alpha", json!(0)),
        ("lora_alpha", json!(-1)),
        ("lora_dropout", json!(1.0)),
        ("target_modules", json!([])),
        ("target_modules", json!(["q_proj", "q_proj"])),
        ("target_modules", json!(["q_proj"])),
        ("layers_to_transform", json!([0])),
    ] {
        assert!(parse_with(|config| config[field] = value.clone()).is_err(), "{field} {value}");
    }
    assert!(Adapter::parse(b"", &[]).is_err());
    assert!(Adapter::parse(b"{}", &adapter().write().unwrap().1).is_err());
}

#[test]
fn rejects_tensors_that_are_not_a_pair_s() {
    let a = || (QA, Dtype::F32, &[2, 3][..], f32s(&[1.0; 6]));
    let b = || (QB, Dtype::F32, &[4, 2][..], f32s(&[1.0; 8]));
    parse_tensors(&[a(), b()]).unwrap();
    let error = parse_tensors(&[a()]).unwrap_err();
    assert!(matches!(&error, Error::MissingTensor { tensor, .. } if tensor == QB), "{error}");
    let error = parse_tensors(&[b()]).unwrap_err();
    assert!(matches!(&error, Error::MissingTensor { tensor, .. } if tensor == QA), "{error}");
    for name in [
        "base_model.model.lm_head.lora_A.weight",
        "base_model.model.model.layers.0.self_attn.q_proj.lora_A.default.weight",
        "base_model.model.model.layers.00.self_attn.q_proj.lora_A.weight",
        "base_model.model.model.layers.+1.self_attn.q_proj.lora_A.weight",
        "base_model.model.model.layers.0.mlp.q_proj.lora_A.weight",
        "base_model.model.model.layers.0.self_attn.q_proj.lora_magnitude_vector",
        "base_model.model.model.layers.0.self_attn.q_proj",
        "model.layers.0.self_attn.q_proj.lora_A.weight",
        "base_model.model.model.layers.",
        "",
    ] {
        let extra = (name, Dtype::F32, &[2, 3][..], f32s(&[1.0; 6]));
        let error = parse_tensors(&[a(), b(), extra]).unwrap_err();
        assert!(matches!(error, Error::UnusedTensor { .. }), "{name}: {error}");
    }
    let wrong = (QA, Dtype::F32, &[3, 2][..], f32s(&[1.0; 6]));
    assert!(matches!(parse_tensors(&[wrong, b()]), Err(Error::Shape { .. })));
    let wrong = (QB, Dtype::F32, &[2, 4][..], f32s(&[1.0; 8]));
    assert!(matches!(parse_tensors(&[a(), wrong]), Err(Error::Shape { .. })));
    let wrong = (QA, Dtype::F32, &[6][..], f32s(&[1.0; 6]));
    assert!(matches!(parse_tensors(&[wrong, b()]), Err(Error::Value { .. })));
    let wrong = (QA, Dtype::I32, &[2, 3][..], f32s(&[1.0; 6]));
    assert!(matches!(parse_tensors(&[wrong, b()]), Err(Error::UnsupportedType { .. })));
    let error = parse_tensors(&[]).unwrap_err();
    assert!(matches!(error, Error::MissingTensor { .. }), "{error}");
}

#[test]
fn rejects_numbers_that_are_not_finite() {
    for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        let mut values = [1.0; 6];
        values[4] = bad;
        let a = (QA, Dtype::F32, &[2, 3][..], f32s(&values));
        let b = (QB, Dtype::F32, &[4, 2][..], f32s(&[1.0; 8]));
        assert!(matches!(parse_tensors(&[a, b]), Err(Error::NotFinite { index: 4, .. })));
        let mut spoiled = adapter();
        spoiled.pairs.get_mut(&(1, Linear::Up)).unwrap().b[3] = bad;
        assert!(matches!(spoiled.write(), Err(Error::NotFinite { index: 3, .. })));
    }
}

#[test]
fn rejects_files_that_are_cut_off() {
    let (config, tensors) = adapter().write().unwrap();
    for len in (0..tensors.len()).step_by(7) {
        assert!(Adapter::parse(&config, &tensors[..len]).is_err(), "{len}");
    }
}

#[test]
fn rejects_another_base() {
    let spoil = |change: fn(&mut ModelConfig)| {
        let mut config = CONFIG;
        change(&mut config);
        adapter().check(&config).unwrap_err()
    };
    let deeper = spoil(|config| config.num_hidden_layers = 3);
    assert!(matches!(deeper, Error::MissingTensor { .. }), "{deeper}");
    let shallower = spoil(|config| config.num_hidden_layers = 1);
    assert!(matches!(shallower, Error::UnusedTensor { .. }), "{shallower}");
    assert!(matches!(spoil(|config| config.hidden_size = 8), Error::Shape { .. }));
    assert!(matches!(spoil(|config| config.intermediate_size = 12), Error::Shape { .. }));
    let mut holed = adapter();
    holed.pairs.remove(&(1, Linear::Key));
    assert!(matches!(holed.check(&CONFIG), Err(Error::MissingTensor { .. })));
}

#[test]
fn an_adapter_on_some_layers_says_so() {
    let mut partial = adapter();
    partial.pairs.retain(|&(layer, _), _| layer == 1);
    assert!(partial.check(&CONFIG).is_err());
    partial.config.layers_to_transform = Some(vec![1]);
    partial.check(&CONFIG).unwrap();
    let (config, tensors) = partial.write().unwrap();
    assert_eq!(Adapter::parse(&config, &tensors).unwrap(), partial);
    let single = parse_with(|config| config["layers_to_transform"] = json!(0)).unwrap_err();
    assert!(matches!(single, Error::UnusedTensor { .. }), "{single}");
}
