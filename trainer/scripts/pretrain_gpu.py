"""Pretrains a base model on a GPU, from what `trainer pretrain --prepare` wrote.

    pip install torch safetensors numpy
    trainer pretrain --out runs/base --steps 40000 --shards 64 --shard-tokens 480 --prepare
    python pretrain_gpu.py runs/base --trainer target/release/trainer
    trainer pretrain --out runs/base --steps 40000 --shards 64 --shard-tokens 480 --gguf base.gguf

The corpus comes from `trainer export-corpus`, run once for every processor core. Recipe, initial
weights, model and optimizers are the trainer's own: Muon for the matrices (Jordan et al., 2024,
https://kellerjordan.github.io/posts/muon/), AdamW for embedding and norms. Products are computed in
bfloat16, weights and sums kept in float32, so the result is near the trainer's, not the same bits.
The optimizers' state is not kept: the last checkpoint is a finished model, not one to go on from.
"""

import argparse
import json
import math
import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from queue import Queue

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file

PADDING = 65535
MOMENTUM = 0.95
BETAS, EPS = (0.9, 0.98), 1e-8
NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)
# Steps before the step is recorded.
WARM_UP_STEPS = 5
# Matrices of one shape are updated together: (group, name, written transposed).
MATRICES = [
    ("attention", "self_attn.q_proj", False),
    ("attention", "self_attn.o_proj", False),
    ("key_value", "self_attn.k_proj", False),
    ("key_value", "self_attn.v_proj", False),
    ("feed_forward", "mlp.gate_proj", False),
    ("feed_forward", "mlp.up_proj", False),
    ("feed_forward", "mlp.down_proj", True),
]


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("run", type=Path, help="directory that trainer pretrain --prepare wrote")
    parser.add_argument("--trainer", type=Path, required=True, metavar="FILE", help="the trainer's executable")
    parser.add_argument("--out", type=Path, help="directory for checkpoint and log, if not RUN")
    parser.add_argument("--seconds", type=float, help="as many steps as this time allows")
    parser.add_argument("--workers", type=int, default=max(1, (os.cpu_count() or 2) - 1), help="corpus processes")
    parser.add_argument("--eager", action="store_true", help="neither compile nor record the step")
    return parser.parse_args()


class Rows:
    """Steps of the corpus in order, made by several processes ahead of their use."""

    def __init__(self, options, recipe):
        command = [options.trainer.resolve(), "export-corpus", options.run, "--stride", str(options.workers)]
        streams = [subprocess.Popen([*command, "--first", str(worker)], stdout=subprocess.PIPE).stdout
                   for worker in range(options.workers)]
        lengths = {stream.read(4) for stream in streams}
        if len(lengths) != 1 or b"" in lengths:
            sys.exit("trainer export-corpus stopped: its message is above")
        self.shape = (recipe["shards"], 4, int.from_bytes(lengths.pop(), "little"))
        self.bytes = 2 * math.prod(self.shape)
        self.queues = [Queue(maxsize=64) for _ in streams]
        for stream, queue in zip(streams, self.queues):
            threading.Thread(target=self.read, args=(stream, queue), daemon=True).start()

    def read(self, stream, queue):
        while True:
            data = stream.read(self.bytes)
            if len(data) != self.bytes:
                queue.put(None)
                return
            queue.put(torch.from_numpy(np.frombuffer(data, dtype="<u2").astype(np.int32).reshape(self.shape)))

    def step(self, step):
        rows = self.queues[step % len(self.queues)].get()
        if rows is None:
            sys.exit("trainer export-corpus stopped: its message is above")
        return rows


class Weights:
    """The model's weights: matrices of one shape in one tensor, so that an update is one product."""

    def __init__(self, tensors, layers, device):
        tensors = {name.removeprefix("param."): t for name, t in tensors.items() if name.startswith("param.")}
        self.layers, self.names, self.transposed = layers, {}, {}
        stacks = {}
        for layer in range(layers):
            for group, module, transposed in MATRICES:
                name = f"model.layers.{layer}.{module}.weight"
                matrix = tensors.pop(name)
                self.names.setdefault(group, []).append(name)
                self.transposed.setdefault(group, []).append(transposed)
                stacks.setdefault(group, []).append(matrix.T if transposed else matrix)
        leaf = lambda t: t.float().contiguous().to(device).requires_grad_()
        self.matrices = {group: leaf(torch.stack(stack)) for group, stack in stacks.items()}
        norms = [n for n in tensors if n.startswith("model.layers.")]
        self.norm_names = sorted(norms, key=lambda n: (int(n.split(".")[2]), "post" in n)) + ["model.norm.weight"]
        self.norms = leaf(torch.stack([tensors.pop(name) for name in self.norm_names]))
        self.embedding = leaf(tensors.pop("model.embed_tokens.weight"))
        if tensors:
            sys.exit(f"the checkpoint has tensors that this script does not know: {', '.join(tensors)}")
        # Rows / columns of the matrix as the model uses it, for the size of its update.
        self.scales = {}
        for group, stack in self.matrices.items():
            rows, columns = stack.shape[1:]
            scale = [max(1, (columns / rows) if t else (rows / columns)) ** 0.5 for t in self.transposed[group]]
            self.scales[group] = torch.tensor(scale, device=device).view(-1, 1, 1)

    def leaves(self):
        return [*self.matrices.values(), self.norms, self.embedding]

    def named(self):
        """As the trainer's checkpoint names them."""
        named = {"param.model.embed_tokens.weight": self.embedding}
        named |= {f"param.{name}": norm for name, norm in zip(self.norm_names, self.norms)}
        for group, stack in self.matrices.items():
            for name, transposed, matrix in zip(self.names[group], self.transposed[group], stack):
                named[f"param.{name}"] = matrix.T if transposed else matrix
        return {name: t.detach().float().cpu().contiguous() for name, t in named.items()}


def rms_norm(x, weight, eps):
    return (x * torch.rsqrt(x.square().mean(-1, keepdim=True) + eps) * weight).to(torch.bfloat16)


def rotate(x, cos, sin):
    first, second = x.float().chunk(2, dim=-1)
    return torch.cat([first * cos - second * sin, second * cos + first * sin], dim=-1).to(torch.bfloat16)


def loss_sum(config, weights, rope, rows):
    """Weighted sum of the losses, and sum of the weights. `rows`: [rows, 4, tokens]."""
    tokens, positions, segments, target_weights = rows.unbind(1)
    batch, length = tokens.shape
    heads, kv_heads, width = config["num_attention_heads"], config["num_key_value_heads"], config["head_dim"]
    eps = config["rms_norm_eps"]
    cos, sin = (table[positions].unsqueeze(1) for table in rope)
    causal = torch.ones(length, length, dtype=torch.bool, device=rows.device).tril()
    same = segments.unsqueeze(2) == segments.unsqueeze(1)
    seen = (causal & (same | (segments == 0).unsqueeze(1))).unsqueeze(1)
    mask = torch.where(seen, 0.0, -torch.inf).to(torch.bfloat16)
    attention = weights.matrices["attention"].to(torch.bfloat16).unbind(0)
    key_value = weights.matrices["key_value"].to(torch.bfloat16).unbind(0)
    feed_forward = weights.matrices["feed_forward"].to(torch.bfloat16).unbind(0)
    norms = weights.norms.unbind(0)
    x = F.embedding(tokens, weights.embedding)
    split = lambda y, count: y.view(batch, length, count, width).transpose(1, 2)
    for layer in range(weights.layers):
        (q_proj, o_proj), (k_proj, v_proj) = attention[2 * layer:][:2], key_value[2 * layer:][:2]
        gate_proj, up_proj, down_proj = feed_forward[3 * layer:][:3]
        y = rms_norm(x, norms[2 * layer], eps)
        q = rotate(split(y @ q_proj.T, heads), cos, sin)
        k = rotate(split(y @ k_proj.T, kv_heads), cos, sin)
        v = split(y @ v_proj.T, kv_heads)
        repeated = [t.repeat_interleave(heads // kv_heads, dim=1) for t in (k, v)]
        y = F.scaled_dot_product_attention(q, *repeated, attn_mask=mask)
        x = x + (y.transpose(1, 2).reshape(batch, length, -1) @ o_proj.T).float()
        y = rms_norm(x, norms[2 * layer + 1], eps)
        x = x + ((F.silu((y @ gate_proj.T).float()) * (y @ up_proj.T).float()).to(torch.bfloat16) @ down_proj).float()
    logits = (rms_norm(x, norms[-1], eps) @ weights.embedding.to(torch.bfloat16).T).float()
    targets = torch.cat([tokens[:, 1:], tokens[:, :1]], dim=1)
    losses = F.cross_entropy(logits.view(-1, logits.shape[-1]), targets.reshape(-1).long(), reduction="none")
    target_weights = target_weights.reshape(-1).float() / 1000
    return (losses * target_weights).sum(), target_weights.sum()


def orthogonalised(stack):
    """Every matrix of the stack, with its singular values near 1."""
    a, b, c = NEWTON_SCHULZ
    tall = stack.shape[1] > stack.shape[2]
    x = (stack.mT if tall else stack) / (stack.norm(dim=(1, 2), keepdim=True) + 1e-7)
    x = x.to(torch.bfloat16)
    for _ in range(5):
        gram = x @ x.mT
        x = a * x + (b * gram + c * gram @ gram) @ x
    return (x.mT if tall else x).float()


class Optimizer:
    def __init__(self, recipe, weights, device):
        self.recipe, self.weights = recipe, weights
        self.momenta = {group: torch.zeros_like(stack) for group, stack in weights.matrices.items()}
        self.adamw = [(p, torch.zeros_like(p), torch.zeros_like(p)) for p in (weights.norms, weights.embedding)]
        # Factor of the schedule and both corrections of AdamW: changed from step to step.
        self.factor, self.bias1, self.bias2 = (torch.zeros((), device=device) for _ in range(3))

    def prepare(self, step, factor):
        self.factor.fill_(factor)
        self.bias1.fill_(1 - BETAS[0] ** (step + 1))
        self.bias2.fill_(1 - BETAS[1] ** (step + 1))

    @torch.no_grad()
    def step(self, weight):
        rate = self.factor * self.recipe["muon_lr"]
        for group, stack in self.weights.matrices.items():
            momentum, grad = self.momenta[group], stack.grad
            momentum.lerp_(grad, 1 - MOMENTUM)
            direction = orthogonalised(grad.lerp(momentum, MOMENTUM)) * self.weights.scales[group]
            stack.mul_(1 - rate * self.recipe["muon_weight_decay"]).sub_(rate * direction)
        rate = self.factor * self.recipe["adamw_lr"]
        for parameter, m, v in self.adamw:
            grad = parameter.grad / weight
            m.lerp_(grad, 1 - BETAS[0])
            v.mul_(BETAS[1]).add_(grad.square() * (1 - BETAS[1]))
            parameter.sub_(rate * (m / self.bias1) / ((v / self.bias2).sqrt() + EPS))


class Step:
    """One step on rows in a buffer of their own, recorded once as a CUDA graph."""

    def __init__(self, config, recipe, weights, rope, shape, device, eager):
        self.weights, self.optimizer = weights, Optimizer(recipe, weights, device)
        self.rows = torch.zeros(shape, dtype=torch.int32, device=device)
        self.totals = torch.zeros(2, device=device)
        forward = lambda rows: loss_sum(config, weights, rope, rows)
        self.forward = forward if eager else torch.compile(forward, dynamic=False)
        self.graph, self.eager = None, eager

    def compute(self):
        for leaf in self.weights.leaves():
            leaf.grad = None
        loss, weight = self.forward(self.rows)
        loss.backward()
        self.optimizer.step(weight)
        self.totals += torch.stack([loss.detach(), weight])

    def run(self, step, rows, factor):
        self.rows.copy_(rows, non_blocking=True)
        self.optimizer.prepare(step, factor)
        if self.eager:
            self.compute()
            return
        if step < WARM_UP_STEPS:
            # What is recorded later must have run on a stream that is not the default one.
            stream = torch.cuda.Stream()
            stream.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(stream):
                self.compute()
            torch.cuda.current_stream().wait_stream(stream)
            return
        if self.graph is None:
            # Recording runs nothing.
            self.graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(self.graph):
                self.compute()
        self.graph.replay()


def rope_tables(config, device):
    half = config["head_dim"] // 2
    frequencies = config["rope_theta"] ** (-2.0 * torch.arange(half, dtype=torch.float64) / config["head_dim"])
    angles = torch.arange(config["context_length"], dtype=torch.float64).unsqueeze(1) * frequencies
    return angles.cos().float().to(device), angles.sin().float().to(device)


class Schedule:
    """Warm-up, constant, linear to zero: over the recipe's steps, or over a time with its shares."""

    def __init__(self, recipe, seconds):
        self.recipe, self.seconds, self.began = recipe, seconds, time.monotonic()
        self.decay_share = recipe["decay_steps"] / recipe["steps"]
        self.decay_began = None

    def progress(self, step):
        return (time.monotonic() - self.began) / self.seconds if self.seconds else step / self.recipe["steps"]

    def is_over(self, step):
        return step == self.recipe["steps"] or self.progress(step) >= 1

    def factor(self, step):
        if step < self.recipe["warmup_steps"]:
            return step / self.recipe["warmup_steps"]
        left = 1 - self.progress(step)
        if self.decay_began is None and left < self.decay_share:
            self.decay_began = step
        return max(0.0, min(1.0, left / self.decay_share))

    def steps(self, step):
        """What the recipe has to say after `step` steps."""
        decay = step - (step if self.decay_began is None else self.decay_began)
        return {"steps": step, "decay_steps": decay if self.seconds else self.recipe["decay_steps"]}


def save(out, weights, recipe, step):
    path = out / "checkpoint.safetensors"
    temporary = path.with_suffix(".partial")
    save_file(weights.named() | {"step": torch.tensor([step], dtype=torch.int64)}, temporary)
    temporary.replace(path)
    (out / "recipe.json").write_text(json.dumps(recipe, indent=2))


def main():
    options = arguments()
    for file in (options.run / "recipe.json", options.run / "checkpoint.safetensors"):
        if not file.is_file():
            sys.exit(f"{file} does not exist: expected a directory that `trainer pretrain --prepare` wrote")
    recipe = json.loads((options.run / "recipe.json").read_text())
    config = recipe["model"]
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    torch.backends.cuda.matmul.allow_tf32 = True
    out = options.out or options.run
    out.mkdir(parents=True, exist_ok=True)
    tensors = load_file(options.run / "checkpoint.safetensors")
    if tensors.pop("step").item() != 0:
        sys.exit(f"{options.run} was trained already, and its optimizers' state is not for a GPU: prepare a new directory")
    weights = Weights(tensors, config["num_hidden_layers"], device)
    rows = Rows(options, recipe)
    eager = options.eager or device.type == "cpu"
    step_of = Step(config, recipe, weights, rope_tables(config, device), rows.shape, device, eager)
    schedule = Schedule(recipe, options.seconds)
    began = last = saved = time.monotonic()
    step, tokens, before, over = 0, 0, 0, False
    with (out / "log.jsonl").open("w") as log:
        while not over:
            batch = rows.step(step)
            tokens += int((batch[:, 2] != PADDING).sum())
            step_of.run(step, batch.pin_memory() if device.type == "cuda" else batch, schedule.factor(step))
            step += 1
            over = schedule.is_over(step)
            if step % 100 and not over:
                continue
            loss, weight = step_of.totals.tolist()
            step_of.totals.zero_()
            if not math.isfinite(loss):
                sys.exit(f"the loss is not a number at step {step}: lower the learning rates")
            now = time.monotonic()
            line = {"step": step, "tokens": tokens, "loss": loss / weight, "hours": (now - began) / 3600}
            log.write(json.dumps(line) + "\n")
            log.flush()
            waiting = sum(queue.qsize() for queue in rows.queues)
            print(f"step {step} {schedule.progress(step):.1%} loss {line['loss']:.4f} "
                  f"{(tokens - before) / (now - last):,.0f} tokens/s, {waiting} steps of corpus waiting", flush=True)
            last, before = now, tokens
            if now - saved > 60:
                save(out, weights, recipe, step)
                saved = now
    recipe |= schedule.steps(step)
    save(out, weights, recipe, step)


if __name__ == "__main__":
    main()
