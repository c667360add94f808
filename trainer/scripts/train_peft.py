"""Trains a LoRA adapter with Hugging Face PEFT on what `trainer export-data` wrote.

    pip install torch "transformers>=5.23" peft accelerate
    accelerate launch train_peft.py EXPORT OUT                    # one GPU, or what was configured
    torchrun --nproc-per-node 4 train_peft.py EXPORT OUT          # four GPUs
    trainer publish OUT --data records.jsonl                      # where the records are

An optimizer step has the same examples on any number of processes, and is an update by the mean
loss of their answer tokens. Without a GPU it runs on the CPU.
"""

import argparse
import hashlib
import json
import os
import sys
from pathlib import Path

import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoConfig, AutoModelForCausalLM, Trainer, TrainingArguments, set_seed

LINEARS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
SHAPE = ["vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads",
         "num_key_value_heads"]


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("export", type=Path, help="directory that trainer export-data wrote")
    parser.add_argument("out", type=Path, help="directory for the adapter; must not exist")
    parser.add_argument("--base", help="directory or name of the base, if it is elsewhere than the recipe says")
    parser.add_argument("--dtype", choices=["float32", "bfloat16"], default="float32", help="of the frozen base")
    parser.add_argument("--per-device-train-batch-size", type=int, metavar="N", help="examples of a forward pass")
    parser.add_argument("--activation-checkpointing", action="store_true", help="less memory, more time")
    parser.add_argument("--target-modules", nargs="+", choices=LINEARS, default=LINEARS, metavar="MODULE")
    parser.add_argument("--use-rslora", action="store_true", help="scale by the root of the rank")
    parser.add_argument("--max-steps", type=int, metavar="N", help="optimizer steps, to try it out")
    return parser.parse_args()


def read_export(directory):
    """The recipe, and the examples that it speaks of."""
    file = directory / "recipe.json"
    if not file.is_file():
        sys.exit(f"{file} does not exist: expected a directory that `trainer export-data` wrote to its end")
    recipe = json.loads(file.read_text())
    file = directory / recipe["examples"]["file"]
    found = hashlib.sha256(file.read_bytes()).hexdigest() if file.is_file() else "no file"
    if found != recipe["examples"]["sha256"]:
        sys.exit(f"{file}: expected SHA-256 {recipe['examples']['sha256']}, found {found}: copy the export again")
    return recipe, [json.loads(line) for line in file.read_text().splitlines()]


def load_base(recipe, export, options):
    named = recipe["base"]
    path = options.base or (str(export / named["path"]) if named["exported"] else named["path"])
    config = AutoConfig.from_pretrained(path)
    for key in SHAPE:
        if getattr(config, key, None) != named["config"][key]:
            sys.exit(f"{path} is not the base of this export: expected {key} {named['config'][key]}, "
                     f"found {getattr(config, key, None)}: name the weights of {named['name']} with --base")
    return AutoModelForCausalLM.from_pretrained(path, config=config, dtype=getattr(torch, options.dtype))


def collate(batch):
    """Padded on the right to the longest."""
    width = max(len(example["input_ids"]) for example in batch)
    rows = lambda make, pad: torch.tensor([make(e) + [pad] * (width - len(e["input_ids"])) for e in batch])
    return dict(
        input_ids=rows(lambda e: e["input_ids"], 0),
        attention_mask=rows(lambda e: [1] * len(e["input_ids"]), 0),
        labels=rows(lambda e: e["labels"], -100),
    )


def batches(settings, options):
    """Examples of a forward pass and forward passes of a step, on each process."""
    examples = settings["per_device_train_batch_size"] * settings["gradient_accumulation_steps"]
    processes = int(os.environ.get("WORLD_SIZE", 1))
    wanted = options.per_device_train_batch_size or settings["per_device_train_batch_size"]
    size = min(wanted, max(1, examples // processes))
    if examples % (size * processes):
        sys.exit(f"a step has {examples} examples, which {processes} processes cannot share in batches of {size}: "
                 "choose --per-device-train-batch-size or the number of processes so that their product divides it")
    return size, examples // (size * processes)


def main():
    options = arguments()
    if options.out.exists():
        sys.exit(f"{options.out} exists already: name another directory, or remove it")
    recipe, examples = read_export(options.export)
    settings = recipe["settings"]
    size, accumulation = batches(settings, options)
    steps = options.max_steps or recipe["examples"]["steps"]
    set_seed(recipe["seed"])
    model = get_peft_model(
        load_base(recipe, options.export, options),
        LoraConfig(
            r=settings["lora_r"],
            lora_alpha=settings["lora_alpha"],
            lora_dropout=settings["lora_dropout"],
            target_modules=options.target_modules,
            use_rslora=options.use_rslora,
            task_type="CAUSAL_LM",
        ),
    )
    trainer = Trainer(
        model=model,
        train_dataset=examples,
        data_collator=collate,
        args=TrainingArguments(
            output_dir=str(options.out),
            max_steps=steps,
            per_device_train_batch_size=size,
            gradient_accumulation_steps=accumulation,
            learning_rate=settings["learning_rate"],
            lr_scheduler_type=settings["lr_scheduler_type"],
            warmup_steps=-(-steps * settings["warmup_ratio"] // 1),
            max_grad_norm=settings["max_grad_norm"],
            weight_decay=0.0,
            optim="adamw_torch",
            # The export's order is the order of training.
            train_sampling_strategy="sequential",
            bf16=options.dtype == "bfloat16",
            activation_checkpointing=options.activation_checkpointing,
            ddp_find_unused_parameters=False,
            use_cpu=not torch.cuda.is_available(),
            seed=recipe["seed"],
            logging_steps=max(1, steps // 50),
            save_strategy="no",
            report_to=[],
            remove_unused_columns=False,
        ),
    )
    trainer.train()
    if trainer.is_world_process_zero():
        # As in the trainer's own adapters: which base, not where it lay.
        base = recipe["base"]
        model.peft_config["default"].base_model_name_or_path = f"{base['name']}-{base['version']}"
        part = options.out.with_name(options.out.name + ".part")
        model.save_pretrained(part, save_embedding_layers=False)
        part.rename(options.out)
        print(f"adapter in {options.out}; next: trainer publish {options.out} --data records.jsonl")


if __name__ == "__main__":
    main()
