"""Train every method, killed three times and resumed, for test_kills.py: python kills.py FOLDER NAMES...

A run kills itself with SIGKILL at a chosen point of a chosen step, also in the middle of writing a checkpoint. This
process imports and forks: each run starts in a process that has never computed anything. It prints, as JSON, the
points where each method was killed, and whether its final weights are those of an uninterrupted run.
"""

import gc
import json
import os
import random
import signal
import sys
from pathlib import Path

import torch
from cases import MODELS, images
from safetensors.torch import load_file
from transformers import TrainerCallback
from transformers.utils import logging

from gae_hub import GAETrainer, GAETrainingArguments
from gae_hub.core import hub_model
from gae_hub.training.checkpointing import TRAINER_STATE, last_checkpoint

NUM_STEPS, SAVE_STEPS = 8, 2
SPANS = ((1, 2), (3, 5), (6, 8))  # one kill in each, first and last step included
# points of a training step, in order; those after the evaluation belong to the checkpoint of every second step
POINTS = (
    "step begins",
    "gradients computed",
    "optimizer stepped",
    "evaluating",
    "model written but not moved into place",
    "model saved",
    "random state half written",
    "trainer state missing",
    "trainer state half written",
    "checkpoint complete",
)
NUM_POINTS_OF_EVERY_STEP = 3

CASES = {case.id: (case, {}, {}) for case in MODELS}
CASES["vae with average, accumulation and optimal std"] = (
    CASES["vae"][0],
    {"observation_std": "optimal", "kl_warmup_fraction": 0.5},
    {"ema_decay": 0.9, "gradient_accumulation_steps": 2},
)
NAMES = list(CASES)


def choose_kills(name: str) -> list[tuple[str, int]]:
    """Point and step of each kill. Every third method together cover all points."""
    dice, kills = random.Random(name), []
    for number, (first, last) in enumerate(SPANS):
        point = (NAMES.index(name) // 3 + 3 * number) % len(POINTS)
        steps = range(first, last + 1)
        if point >= NUM_POINTS_OF_EVERY_STEP:
            steps = [step for step in steps if step % SAVE_STEPS == 0]
        kills.append((POINTS[point], dice.choice(steps)))
    return kills


class Killer(TrainerCallback):
    """Kills this process at a point of a step."""

    def __init__(self, kill: tuple[str, int] | None):
        self.kill, self.step = kill, 0

    def reach(self, point: str):
        if (point, self.step) == self.kill:
            os.kill(os.getpid(), signal.SIGKILL)

    def reach_in_the_middle_of(self, point: str, file: Path):
        """Cut a file that was just written in half, as if its writing had been killed."""
        if (point, self.step) == self.kill:
            os.truncate(file, file.stat().st_size // 2)
        self.reach(point)

    def on_step_begin(self, args, state, control, **kwargs):
        self.step = state.global_step + 1
        self.reach("step begins")

    def on_pre_optimizer_step(self, args, state, control, **kwargs):
        self.reach("gradients computed")

    def on_optimizer_step(self, args, state, control, **kwargs):
        self.reach("optimizer stepped")

    def on_prediction_step(self, args, state, control, **kwargs):
        self.reach("evaluating")

    def on_save(self, args, state, control, **kwargs):
        state_file = Path(args.output_dir) / f"checkpoint-{state.global_step}" / TRAINER_STATE
        self.reach_in_the_middle_of("trainer state half written", state_file)
        self.reach("checkpoint complete")


class KilledTrainer(GAETrainer):
    """A trainer that reports the points of a checkpoint that callbacks do not see."""

    def __init__(self, *args, killer: Killer, **kwargs):
        self.killer = killer
        super().__init__(*args, callbacks=[killer], **kwargs)
        move_into = hub_model.move_into

        def report_and_move(*args):
            killer.reach("model written but not moved into place")
            move_into(*args)

        hub_model.move_into = report_and_move  # in this process, which trains one model only

    def _save_optimizer_and_scheduler(self, output_dir):
        self.killer.reach("model saved")
        super()._save_optimizer_and_scheduler(output_dir)

    def _save_rng_state(self, output_dir):
        super()._save_rng_state(output_dir)
        self.killer.reach_in_the_middle_of("random state half written", self._process_file(output_dir))
        self.killer.reach("trainer state missing")


def train(name: str, folder: Path, kill: tuple[str, int] | None):
    """Train to the end, or to the kill: from the newest complete checkpoint, or from the beginning without one."""
    case, fields, arguments = CASES[name]
    model = case.build(**fields)
    args = GAETrainingArguments(
        str(folder),
        per_device_train_batch_size=4,
        max_steps=NUM_STEPS,
        eval_strategy="steps",
        eval_steps=SAVE_STEPS,
        logging_steps=3,
        max_grad_norm=1.0,
        lr_scheduler_type="cosine",
        overwrite_output_dir=True,
        disable_tqdm=True,
        **arguments,
    )
    data = {"train_dataset": images(10), "eval_dataset": images(6, seed=1)}
    trainer = KilledTrainer(model, args, killer=Killer(kill), **data)
    trainer.train(resume_from_checkpoint=last_checkpoint(folder) is not None)
    model.save_pretrained(folder / "final")


def run(name: str, folder: Path, kill: tuple[str, int] | None = None):
    """Train in a separate process, which must end as planned."""
    process = os.fork()
    if process == 0:
        status = 1
        try:
            train(name, folder, kill)
            status = 0
        finally:
            sys.stderr.flush()
            os._exit(status)
    status = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
    if status != (-signal.SIGKILL if kill else 0):
        raise SystemExit(f"{name}: a run to {kill or 'its end'} ended with status {status}")


def survive(name: str, folder: Path) -> dict:
    kills = choose_kills(name)
    run(name, folder / "whole")
    for kill in kills:
        run(name, folder / "cut", kill)
    run(name, folder / "cut")
    whole, cut = (load_file(folder / part / "final" / "model.safetensors") for part in ("whole", "cut"))
    same = whole.keys() == cut.keys() and all(torch.equal(value, cut[key]) for key, value in whole.items())
    return {"points": [point for point, _ in kills], "same": same}


if __name__ == "__main__":
    logging.disable_progress_bar()
    gc.freeze()  # before forks, as the documentation of gc advises: collections in children copy no pages of imports
    print(json.dumps({name: survive(name, Path(sys.argv[1]) / name) for name in sys.argv[2:]}))
