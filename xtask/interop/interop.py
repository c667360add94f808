"""Adapters between the trainer and Hugging Face PEFT, both ways, with the real packages.

    cargo xtask interop                            # which builds what this needs, and calls
    python interop.py target/release WORK          # WORK is an empty directory

Stops with an error at the first thing that does not hold.
"""

import ast
import json
import math
import os
import subprocess
import sys
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = "1"

import torch
from peft import LoraConfig, PeftModel, get_peft_model, get_peft_model_state_dict
from safetensors.torch import load_file
from transformers import AutoTokenizer, LlamaForCausalLM

ROOT = Path(__file__).resolve().parents[2]
BASE = ROOT / "web/models/lotwise-base.gguf"
SCRIPT = ROOT / "trainer/scripts/train_peft.py"
# The first batches of the sample; those that the browser tests ask about are among them.
PAIRS = 60
# As they are: what is learned here is whether an adapter arrives, not how to rephrase.
PLAIN = "--num-train-epochs 30 --paraphrase 0 --unknown-batch 0 --missing-field 0".split()
# Sequences whose logits are compared.
COMPARED = 8
# Largest relative error of a logit in f32: the bound of tests/tests/forward.rs.
F32 = 1e-4
# Divergence that 8-bit weights and activations may cost, nats a token: the same file's.
QUANTIZED_KL = 0.01
# Relative difference of a step's loss on one and two processes.
SAME_LOSS = 1e-3
LINEARS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]


class Workplace:
    """The programs, and what they leave."""

    def __init__(self, target, work):
        self.target, self.work = target, work
        self.data = work / "pairs.jsonl"
        lines = (ROOT / "trainer/data/train.jsonl").read_text().splitlines(keepends=True)
        self.data.write_text("".join(lines[:PAIRS]))

    def run(self, *command, fails=False):
        """What a command prints; both streams, if it is to fail."""
        errors = subprocess.STDOUT if fails else None
        done = subprocess.run([str(word) for word in command], cwd=ROOT, stdout=subprocess.PIPE, stderr=errors, text=True)
        assert (done.returncode != 0) == fails, f"{command} ended with {done.returncode}:\n{done.stdout}"
        return done.stdout

    def trainer(self, *arguments, fails=False):
        return self.run(self.target / "trainer", *arguments, fails=fails)

    def export(self, name, *options):
        self.trainer("export-data", self.data, "--out", self.work / name, *PLAIN, *options)
        return self.work / name

    def reference(self, how, adapter, export):
        out = self.work / "logits.safetensors"
        program = self.target / "examples/reference_logits"
        self.run(program, how, BASE, adapter, export / "train.jsonl", COMPARED, out)
        logits = load_file(out)
        return [logits[str(index)] for index in range(COMPARED)]

    def exact_match(self, adapter):
        result = self.trainer("eval", "--adapter", adapter, "--questions", self.data, "--json")
        return json.loads(result)["exact_match"]


def examples(export):
    return [json.loads(line) for line in (export / "train.jsonl").read_text().splitlines()]


def base(export):
    return LlamaForCausalLM.from_pretrained(export / "base", dtype=torch.float32)


def logits(model, export):
    with torch.no_grad():
        return [model(input_ids=torch.tensor([e["input_ids"]])).logits[0] for e in examples(export)[:COMPARED]]


def relative_error(found, expected):
    """Largest difference, relative to the largest logit."""
    assert all(f.shape == e.shape for f, e in zip(found, expected, strict=True))
    largest = max(e.abs().max() for e in expected)
    return (max((f - e).abs().max() for f, e in zip(found, expected)) / largest).item()


def divergence(found, expected):
    """Of the softmax, in nats, mean over tokens."""
    found, expected = (torch.cat(rows).double().log_softmax(-1) for rows in (found, expected))
    return (expected.exp() * (expected - found)).sum(-1).mean().item()


def the_exported_tokenizer_is_the_trainers(place, export):
    tokenizer = AutoTokenizer.from_pretrained(export / "base")
    system = json.loads((export / "recipe.json").read_text())["prompt"]["system_prompt"]
    sequences = {tuple(example["input_ids"]) for example in examples(export)}
    pairs = [json.loads(line) for line in place.data.read_text().splitlines()]
    for pair in pairs:
        turns = [("system", system), ("user", pair["question"]), ("assistant", pair["answer"])]
        turns = [dict(role=role, content=content) for role, content in turns]
        text = tokenizer.apply_chat_template(turns, tokenize=False)
        ids = tuple(tokenizer(text, add_special_tokens=False)["input_ids"])
        assert ids in sequences, f"the export lacks {text!r}, or spells it otherwise"
    print(f"tokenizer and chat template: {len(pairs)} conversations have the same ids in transformers")


def from_trainer_to_peft(place, export):
    ours = place.work / "ours"
    place.trainer("train", place.data, "--out", ours, *PLAIN)
    model = PeftModel.from_pretrained(base(export), ours).eval()
    loaded, written = get_peft_model_state_dict(model), load_file(ours / "adapter_model.safetensors")
    assert loaded.keys() == written.keys()
    assert all(torch.equal(loaded[name], written[name]) for name in written)
    theirs = logits(model, export)
    error = relative_error(place.reference("f32", ours, export), theirs)
    assert error <= F32, f"logits differ by {error}"
    alone = relative_error(logits(base(export).eval(), export), theirs)
    assert alone > 100 * F32, f"the adapter changes logits by {alone} only: the comparison shows nothing"
    kl = divergence(place.reference("engine", ours, export), theirs)
    assert kl <= QUANTIZED_KL, f"the engine is {kl} nats away"
    print(f"trainer -> PEFT: logits differ by {error:.1e} (by {alone:.2f} without the adapter); engine in 8 bits: {kl:.5f} nats")


def train(place, export, name, *options, processes=1):
    launch = ["-m", "torch.distributed.run", "--nproc-per-node", processes] if processes > 1 else []
    log = place.run(sys.executable, *launch, SCRIPT, export, place.work / name, *options)
    return place.work / name, log


def from_peft_to_trainer(place, name, export, *options):
    adapter, _ = train(place, export, name, *options)
    adapters = place.work / "adapters"
    place.trainer("publish", adapter, "--data", place.data, "--adapters", adapters, "--version", name)
    place.trainer("list", "--adapters", adapters, "--verify")
    theirs = logits(PeftModel.from_pretrained(base(export), adapter).eval(), export)
    kl = divergence(place.reference("engine", adapter, export), theirs)
    assert kl <= QUANTIZED_KL, f"{name}: the engine is {kl} nats away"
    exact = place.exact_match(adapters)
    print(f"PEFT -> trainer, {name}: {100 * exact:.1f} % exact; engine in 8 bits: {kl:.5f} nats")
    assert exact > 0.9, f"{name}: {exact} of the trained questions are answered"


def the_base_alone(place, export):
    """An adapter that PEFT has not trained changes nothing."""
    model = get_peft_model(base(export), LoraConfig(target_modules=LINEARS, task_type="CAUSAL_LM"))
    model.save_pretrained(place.work / "untrained", save_embedding_layers=False)
    exact = place.exact_match(place.work / "untrained")
    print(f"base alone: {100 * exact:.1f} % exact")
    assert exact < 0.5, "what is asked is known without training: the comparison shows nothing"


def two_processes_make_the_same_steps(place, export):
    losses = []
    for name, processes in [("one", 1), ("two", 2)]:
        adapter, log = train(place, export, name, "--max-steps", 5, processes=processes)
        losses.append([float(ast.literal_eval(line)["loss"]) for line in log.splitlines() if line.startswith("{'loss'")])
        assert len(losses[-1]) == 5, log
    for one, two in zip(*losses):
        assert math.isclose(one, two, rel_tol=SAME_LOSS), losses
    print(f"train_peft.py: losses of 1 and 2 processes agree: {losses[0]}")


def what_cannot_be_merged_is_refused(place, export):
    for field, options in [
        ("rank_pattern", dict(rank_pattern={"q_proj": 4})),
        ("alpha_pattern", dict(alpha_pattern={"q_proj": 4})),
        ("use_dora", dict(use_dora=True)),
    ]:
        config = LoraConfig(target_modules=LINEARS, task_type="CAUSAL_LM", **options)
        get_peft_model(base(export), config).save_pretrained(place.work / field, save_embedding_layers=False)
        publish = ["publish", place.work / field, "--data", place.data, "--adapters", place.work / "none"]
        said = place.trainer(*publish, fails=True)
        assert field in said and "adapter_config.json" in said, said
        assert not (place.work / "none").exists()
        print(f"PEFT -> trainer, {field}: {said.splitlines()[-1].strip()}")


def main():
    place = Workplace(Path(sys.argv[1]).resolve(), Path(sys.argv[2]).resolve())
    export = place.export("export")
    the_exported_tokenizer_is_the_trainers(place, export)
    from_trainer_to_peft(place, export)
    the_base_alone(place, export)
    what_cannot_be_merged_is_refused(place, export)
    two_processes_make_the_same_steps(place, export)
    # Fewer matrices have to move further: a scale of 24 / sqrt(32) instead of lora's 64 / 32.
    rslora = place.export("export-rslora", "--lora-alpha", "24", "--learning-rate", "4e-3")
    some = ["q_proj", "v_proj", "up_proj", "down_proj"]
    from_peft_to_trainer(place, "rslora", rslora, "--use-rslora", "--target-modules", *some)
    from_peft_to_trainer(place, "lora", export)


if __name__ == "__main__":
    main()
