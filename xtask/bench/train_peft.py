"""The other side of `cargo xtask bench train`: transformers and PEFT on the same base, adapter and
examples. One optimizer step for each line on standard input; see trainer/examples/train_bench.rs.

    python train_peft.py DIR THREADS
"""

import json
import os
import sys
import time
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = "1"

import torch
from peft import PeftModel
from transformers import LlamaForCausalLM


def peak_bytes():
    """Resident memory at its peak, as Linux counts it."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    return 0


def micro_batch(prefix, examples):
    """Padded on the right to the longest; no loss on prompt and padding."""
    rows = [(prefix + tokens, len(prefix) + prompt) for tokens, prompt in examples]
    width = max(len(tokens) for tokens, _ in rows)
    pad = lambda tokens, value: tokens + [value] * (width - len(tokens))
    return dict(
        input_ids=torch.tensor([pad(tokens, 0) for tokens, _ in rows]),
        attention_mask=torch.tensor([pad([1] * len(tokens), 0) for tokens, _ in rows]),
        labels=torch.tensor([pad([-100] * prompt + tokens[prompt:], -100) for tokens, prompt in rows]),
    )


def main():
    directory, threads = Path(sys.argv[1]), int(sys.argv[2])
    torch.set_num_threads(threads)
    plan = json.loads((directory / "plan.json").read_text())
    base = LlamaForCausalLM.from_pretrained(directory / "base", dtype=torch.float32)
    model = PeftModel.from_pretrained(base, directory / "adapter", is_trainable=True)
    model.train()
    trained = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=plan["learning_rate"], weight_decay=0.0)
    size = plan["micro_batch"]
    print("ready=1", flush=True)
    for index, _ in enumerate(sys.stdin):
        examples = plan["steps"][index % len(plan["steps"])]
        start = time.perf_counter()
        batches = [
            micro_batch(plan["prefix"], examples[i : i + size]) for i in range(0, len(examples), size)
        ]
        learned = sum(int((batch["labels"] != -100).sum()) for batch in batches)
        loss = 0.0
        for batch in batches:
            # Their own way to a mean over all tokens of an accumulation.
            part = model(**batch, num_items_in_batch=learned).loss
            part.backward()
            loss += part.item()
        norm = torch.nn.utils.clip_grad_norm_(trained, plan["max_grad_norm"])
        optimizer.step()
        optimizer.zero_grad()
        seconds = time.perf_counter() - start
        tokens = sum(batch["input_ids"].numel() for batch in batches)
        print(
            f"loss={loss} grad_norm={norm.item()} seconds={seconds} examples={len(examples)} "
            f"tokens={tokens} peak={peak_bytes()}",
            flush=True,
        )


if __name__ == "__main__":
    main()
