"""Writes tests/golden/data: a tiny random Llama, LoRA adapters on it, and what Hugging Face's
transformers and PEFT compute with them. The Rust tests hold our engine and trainer against it.

    python3 -m venv venv && venv/bin/pip install -r requirements.txt
    venv/bin/python generate.py

Everything is f32 on one CPU thread from fixed seeds. The training golden comes from transformers'
own `Trainer`, so that schedule, clipping, accumulation (with its remainder) and loss normalisation
are theirs and not a retelling of them.
"""

import json
import os
import platform
import shutil
from pathlib import Path

# The base's name looks like one on the Hugging Face hub, where PEFT would look for it.
os.environ["HF_HUB_OFFLINE"] = "1"

import numpy
import peft
import safetensors.torch
import torch
import transformers
from peft import LoraConfig, PeftModel, get_peft_model, get_peft_model_state_dict
from transformers import LlamaConfig, LlamaForCausalLM, Trainer, TrainingArguments

OUT = Path(__file__).parent / "data"
SEED = 20250406
BASE_NAME = "tiny-golden"

CONFIG = dict(
    vocab_size=320,
    hidden_size=128,
    intermediate_size=160,
    num_hidden_layers=2,
    num_attention_heads=4,
    num_key_value_heads=2,
    head_dim=32,
    rms_norm_eps=1e-5,
    rope_theta=10000.0,
    tie_word_embeddings=True,
)
CONTEXT_LENGTH = 256

LINEARS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]

# 17 examples: the last micro-batch of an epoch holds one example, the last accumulation one
# micro-batch. 9 micro-batches, hence 5 updates an epoch and 20 in all.
EXAMPLES = 17
RECIPE = dict(
    learning_rate=5e-3,
    num_train_epochs=4,
    per_device_train_batch_size=2,
    gradient_accumulation_steps=2,
    warmup_steps=2,
    max_grad_norm=1.0,
    weight_decay=0.0,
    lr_scheduler_type="linear",
)


def base_model(generator):
    """Random weights large enough that attention is far from uniform and logits from zero."""
    config = LlamaConfig(
        **{k: v for k, v in CONFIG.items() if k != "rope_theta"},
        rope_parameters={"rope_type": "default", "rope_theta": CONFIG["rope_theta"]},
        max_position_embeddings=CONTEXT_LENGTH,
        attention_bias=False,
        mlp_bias=False,
        attn_implementation="eager",
        bos_token_id=None,
        eos_token_id=None,
        pad_token_id=0,
    )
    model = LlamaForCausalLM(config).float().eval()
    with torch.no_grad():
        for name, value in model.named_parameters():
            noise = torch.randn(value.shape, generator=generator)
            if name.endswith("norm.weight"):
                value.copy_(1 + 0.2 * noise)
            elif "embed_tokens" in name:
                value.copy_(0.15 * noise)
            else:
                value.copy_(1.3 * noise / value.shape[1] ** 0.5)
    return model


def adapter_on(model, generator, use_rslora):
    """An adapter with both halves random, so that every gradient is non-zero at the start."""
    config = LoraConfig(
        r=4,
        lora_alpha=8,
        lora_dropout=0.0,
        target_modules=LINEARS,
        use_rslora=use_rslora,
        task_type="CAUSAL_LM",
    )
    adapted = get_peft_model(model, config)
    with torch.no_grad():
        for name, value in adapted.named_parameters():
            if "lora_" in name:
                value.copy_(0.1 * torch.randn(value.shape, generator=generator))
    return adapted


def save_adapter(adapted, name):
    """PEFT's own files. Only the base's name, otherwise a path, is set, and the target modules,
    which PEFT keeps as a set, are sorted, so that the same run gives the same bytes."""
    adapted.peft_config["default"].base_model_name_or_path = BASE_NAME
    adapted.save_pretrained(OUT / name)
    (OUT / name / "README.md").unlink()
    file = OUT / name / "adapter_config.json"
    config = json.loads(file.read_text())
    config["target_modules"].sort()
    file.write_text(json.dumps(config, indent=2) + "\n")


def examples(generator):
    """Token sequences behind one shared prefix; a loss only on what follows the prompt."""
    draw = lambda low, high: int(torch.randint(low, high, (1,), generator=generator))
    tokens = lambda count: [draw(1, CONFIG["vocab_size"]) for _ in range(count)]
    prefix = tokens(6)
    made = []
    for _ in range(EXAMPLES):
        prompt, answer = prefix + tokens(draw(3, 9)), tokens(draw(2, 8))
        made.append(dict(tokens=prompt + answer, prompt_length=len(prompt)))
    return prefix, made


def collate(batch):
    width = max(len(item["tokens"]) for item in batch)
    rows = lambda make: torch.tensor([make(item) + [0] * (width - len(item["tokens"])) for item in batch])
    labels = [
        [-100] * item["prompt_length"]
        + item["tokens"][item["prompt_length"] :]
        + [-100] * (width - len(item["tokens"]))
        for item in batch
    ]
    return dict(
        input_ids=rows(lambda item: item["tokens"]),
        attention_mask=rows(lambda item: [1] * len(item["tokens"])),
        labels=torch.tensor(labels),
    )


class Recorded(Trainer):
    """transformers' Trainer, keeping every micro-batch's loss unrounded and the first gradients."""

    def __init__(self, **arguments):
        super().__init__(**arguments)
        self.micro_losses = []
        self.first_gradients = {}

    def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
        assert num_items_in_batch is not None, "the loss must be a mean over the update's tokens"
        loss = super().compute_loss(model, inputs, return_outputs, num_items_in_batch)
        self.micro_losses.append((self.state.global_step, loss.item()))
        return loss

    def _clip_grad_norm(self, model):
        if not self.first_gradients:
            self.first_gradients = {
                name.replace(".default.", "."): value.grad.clone()
                for name, value in model.named_parameters()
                if value.requires_grad
            }
        return super()._clip_grad_norm(model)


def train(adapted, dataset):
    arguments = TrainingArguments(
        output_dir="unused",
        optim="adamw_torch",
        train_sampling_strategy="sequential",
        logging_steps=1,
        save_strategy="no",
        report_to=[],
        use_cpu=True,
        disable_tqdm=True,
        remove_unused_columns=False,
        seed=SEED,
        **RECIPE,
    )
    trainer = Recorded(model=adapted, args=arguments, train_dataset=dataset, data_collator=collate)
    trainer.train()
    logs = [entry for entry in trainer.state.log_history if "grad_norm" in entry]
    losses = [0.0] * len(logs)
    for step, loss in trainer.micro_losses:
        losses[step] += loss
    return losses, logs, trainer.first_gradients


def logits(model, tokens):
    with torch.no_grad():
        return model(input_ids=torch.tensor([tokens])).logits[0].contiguous()


def main():
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    transformers.set_seed(SEED)
    generator = torch.Generator().manual_seed(SEED)
    shutil.rmtree(OUT, ignore_errors=True)
    OUT.mkdir()

    base = base_model(generator)
    weights = {n: p.detach().clone() for n, p in base.named_parameters()}
    safetensors.torch.save_file(weights, OUT / "base.safetensors")
    (OUT / "config.json").write_text(
        json.dumps({**CONFIG, "context_length": CONTEXT_LENGTH}, indent=2) + "\n"
    )

    tokens = torch.randint(0, CONFIG["vocab_size"], (48,), generator=generator).tolist()
    found = {"base": logits(base, tokens)}
    for name, use_rslora in [("adapter", False), ("adapter_rslora", True)]:
        adapted = adapter_on(base, generator, use_rslora).eval()
        save_adapter(adapted, name)
        unmerged = logits(adapted, tokens)
        merged = adapted.merge_and_unload()
        found[name] = logits(merged, tokens)
        assert torch.allclose(found[name], unmerged, atol=1e-3)
        # Merging changed the base's weights in place.
        base.load_state_dict(weights, strict=False)
        base.tie_weights()
    assert torch.equal(logits(base, tokens), found["base"])
    safetensors.torch.save_file(found, OUT / "logits.safetensors")

    prefix, dataset = examples(generator)
    adapted = PeftModel.from_pretrained(base, OUT / "adapter", is_trainable=True)
    start = get_peft_model_state_dict(adapted)
    assert start.keys() == safetensors.torch.load_file(OUT / "adapter/adapter_model.safetensors").keys()
    losses, logs, gradients = train(adapted, dataset)
    assert len(losses) == 20 and all(g.abs().max() > 0 for g in gradients.values())
    assert gradients.keys() == start.keys()
    safetensors.torch.save_file(gradients, OUT / "gradients.safetensors")
    save_adapter(adapted, "trained")
    (OUT / "training.json").write_text(
        json.dumps(
            dict(
                recipe=RECIPE,
                prefix=prefix,
                examples=dataset,
                losses=losses,
                grad_norms=[float(entry["grad_norm"]) for entry in logs],
                learning_rates=[entry["learning_rate"] for entry in logs],
            ),
        )
        + "\n"
    )
    (OUT / "tokens.json").write_text(json.dumps(tokens) + "\n")
    versions = dict(
        python=platform.python_version(),
        torch=torch.__version__,
        transformers=transformers.__version__,
        peft=peft.__version__,
        safetensors=safetensors.__version__,
        numpy=numpy.__version__,
        seed=SEED,
    )
    (OUT / "provenance.json").write_text(json.dumps(versions, indent=2) + "\n")
    for file in OUT.rglob("*.safetensors"):
        file.chmod(0o644)


if __name__ == "__main__":
    main()
