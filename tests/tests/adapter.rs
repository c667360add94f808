//! PEFT's files through our reader and writer.

#![cfg(not(target_arch = "wasm32"))]

use std::collections::BTreeSet;

use serde_json::Value;
use shared::{Adapter, Linear};
use tests::golden::{self, Which, adapter_files, parse_tensors};

const ALL: [Which; 3] = [Which::Plain, Which::RankStabilised, Which::Trained];

/// The names that PEFT gives the tensors of an adapter on every linear layer.
fn expected_keys() -> BTreeSet<String> {
    let mut keys = BTreeSet::new();
    for layer in 0..2 {
        for module in [
            "self_attn.q_proj",
            "self_attn.k_proj",
            "self_attn.v_proj",
            "self_attn.o_proj",
            "mlp.gate_proj",
            "mlp.up_proj",
            "mlp.down_proj",
        ] {
            for side in ["lora_A", "lora_B"] {
                keys.insert(format!(
                    "base_model.model.model.layers.{layer}.{module}.{side}.weight"
                ));
            }
        }
    }
    keys
}

#[test]
fn tensors_survive_reading_and_writing() {
    for which in ALL {
        let (config, tensors) = adapter_files(which);
        let adapter = Adapter::parse(config, tensors).unwrap();
        adapter.check(&golden::config()).unwrap();
        let (written_config, written) = adapter.write().unwrap();
        let (found, expected) = (parse_tensors(&written), parse_tensors(tensors));
        for keys in [&found, &expected] {
            assert_eq!(keys.keys().cloned().collect::<BTreeSet<_>>(), expected_keys());
        }
        for (name, expected) in &expected {
            assert_eq!(found[name].shape, expected.shape, "{name}");
            let bits = |values: &[f32]| values.iter().map(|v| v.to_bits()).collect::<Vec<_>>();
            assert_eq!(bits(&found[name].values), bits(&expected.values), "{name}");
        }
        assert_eq!(Adapter::parse(&written_config, &written).unwrap(), adapter);
    }
}

#[test]
fn the_config_survives_reading_and_writing() {
    for which in ALL {
        let config = adapter_files(which).0;
        let adapter = golden::adapter(which);
        let rank_stabilised = matches!(which, Which::RankStabilised);
        assert_eq!((adapter.config.r, adapter.config.lora_alpha), (4, 8.0));
        assert_eq!(adapter.config.use_rslora, rank_stabilised);
        assert_eq!(adapter.scale(), if rank_stabilised { 4.0 } else { 2.0 });
        assert_eq!(adapter.config.target_modules.len(), Linear::ALL.len());

        let parse = |json: &[u8]| serde_json::from_slice::<Value>(json).unwrap();
        let (written, original) = (parse(&adapter.write().unwrap().0), parse(config));
        for (key, value) in written.as_object().unwrap() {
            let original = &original[key];
            match (value.as_f64(), original.as_f64()) {
                (Some(found), Some(expected)) => assert_eq!(found, expected, "{key}"),
                _ => assert_eq!(value, original, "{key}"),
            }
        }
    }
}
