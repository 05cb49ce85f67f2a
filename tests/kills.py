"""Train every method, killed at random moments and resumed, for test_kills.py: python kills.py FOLDER NAMES...

This process imports, and forks: each run begins in a process of its own that has never computed anything. It prints,
as JSON, how many kills each method survived, and whether its final weights are those of an uninterrupted run.
"""

import gc
import json
import os
import random
import signal
import sys
import time
from pathlib import Path

import torch
from cases import MODELS, images
from safetensors.torch import load_file
from transformers import TrainerCallback
from transformers.utils import logging

from gae_hub import GAETrainer, GAETrainingArguments
from gae_hub.training.checkpointing import last_checkpoint

KILLS, STEPS = 3, 12
CASES = {case.id: (case, {}, {}) for case in MODELS}
VAE = CASES["vae"][0]
MORE = {"ema_decay": 0.9, "gradient_accumulation_steps": 2}
CASES["vae, averages and parts"] = (VAE, {"observation_std": "optimal", "kl_warmup_fraction": 0.5}, MORE)


class Tell(TrainerCallback):
    """Writes a byte to the parent when the first step begins."""

    def __init__(self, pipe: int):
        self.pipe = pipe

    def on_step_begin(self, args, state, control, **kwargs):
        if self.pipe is not None:
            os.write(self.pipe, b".")
            self.pipe = None


def run(name: str, folder: Path, pipe: int):
    """Train to the end: from the newest whole checkpoint, or from the beginning where there is none."""
    case, fields, arguments = CASES[name]
    model = case.build(**fields)
    args = GAETrainingArguments(
        str(folder),
        per_device_train_batch_size=4,
        max_steps=STEPS,
        eval_strategy="steps",
        eval_steps=2,
        logging_steps=3,
        max_grad_norm=1.0,
        lr_scheduler_type="cosine",
        overwrite_output_dir=True,
        disable_tqdm=True,
        **arguments,
    )
    data = {"train_dataset": images(18), "eval_dataset": images(6, seed=1)}
    trainer = GAETrainer(model, args, **data, callbacks=[Tell(pipe)])
    trainer.train(resume_from_checkpoint=last_checkpoint(folder) is not None)
    model.save_pretrained(folder / "final")


def start(name: str, folder: Path) -> tuple[int, int]:
    """A process that trains, and the pipe by which it tells that its first step begins."""
    reader, writer = os.pipe()
    process = os.fork()
    if process == 0:
        os.close(reader)
        status = 1
        try:
            run(name, folder, writer)
            status = 0
        finally:
            sys.stderr.flush()
            os._exit(status)
    os.close(writer)
    return process, reader


def finish(name: str, folder: Path) -> float:
    """Train to the end; the seconds from the first step on."""
    process, reader = start(name, folder)
    os.read(reader, 1)
    begun = time.perf_counter()
    _, status = os.waitpid(process, 0)
    os.close(reader)
    if status:
        raise SystemExit(f"{name}: a run ended with status {status}")
    return time.perf_counter() - begun


def survive(name: str, folder: Path) -> dict:
    seconds = finish(name, folder / "whole")
    dice, kills = random.Random(name), 0
    while kills < KILLS:
        process, reader = start(name, folder / "cut")
        os.read(reader, 1)
        newest = last_checkpoint(folder / "cut")
        done = int(newest.name.removeprefix("checkpoint-")) if newest else 0
        time.sleep(dice.uniform(0, seconds * (1 - done / STEPS)))
        os.kill(process, signal.SIGKILL)
        _, status = os.waitpid(process, 0)
        os.close(reader)
        if status != signal.SIGKILL:
            break  # it was done before
        kills += 1
    if not (folder / "cut" / "final" / "config.json").is_file():
        finish(name, folder / "cut")
    whole, cut = (load_file(folder / part / "final" / "model.safetensors") for part in ("whole", "cut"))
    same = whole.keys() == cut.keys() and all(torch.equal(value, cut[key]) for key, value in whole.items())
    return {"kills": kills, "same": same}


if __name__ == "__main__":
    logging.disable_progress_bar()
    gc.freeze()  # what is imported need not be walked through by each process
    print(json.dumps({name: survive(name, Path(sys.argv[1]) / name) for name in sys.argv[2:]}))
