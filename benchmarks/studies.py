"""Studies: their cost beside the trainings alone, what training together saves, the time of report and status.

Run: python -m benchmarks.studies SECTION [--mnist FOLDER] [--smoke FOLDER] [--num_train N]

smoke     the built-in study `smoke` with its report, two processes
overhead  the seconds of a study without tasks over those of the same trainings in a loop, one process
together  the 190 configurations of `mnist-mlp` on the first N training images: two processes with models that train
          together, against one after the other in one process with all threads
stacks    ten configurations of the beta-VAE in one process with one thread, together and one by one, for networks with
          one hidden layer of 32, 128 and 512 units, without the time to read the data
pages     `status` and `report` of 1,140 cells, copied from the cells of a finished `smoke` in FOLDER

Every section runs each side once, one after the other, in new folders; it prints one row of a table.
"""

import argparse
import shutil
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from transformers import set_seed

from gae_hub import AutoGAE, GAETrainer, GAETrainingArguments
from gae_hub.cli.main import main as run_command
from gae_hub.core.yaml_files import dump_yaml, read_yaml_file
from gae_hub.study.declaration import find_study_file
from gae_hub.study.folder import StudyFolder
from gae_hub.study.plan import CellPlan
from gae_hub.study.runner import prepare_study, run_study
from gae_hub.study.store import Cell

NUM_CELLS = 1140


def seconds(work: Callable[[], Any]) -> float:
    """Seconds of one call."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def measure_smoke(folder: Path) -> str:
    """The built-in study and its report, from an empty folder."""
    run = seconds(lambda: run_study("smoke", folder, processes=2, progress=False))
    report = seconds(lambda: run_command(["study", "report", str(folder)]))
    return f"| `smoke`, 38 cells, with its report of {report:.0f} s | {(run + report) / 60:.1f} min |"


def measure_overhead(folder: Path, mnist: str) -> str:
    """A study of five methods without tasks worth mentioning, beside the same trainings in a loop."""
    content = {
        "name": "overhead",
        "data": {"mnist": {"dataset": mnist, "latent_dim": 16}},
        "networks": {"mlp": {"encoder_config": "mlp", "decoder_config": "mlp"}},
        "methods": {"grids": "paper", "only": ["VAE", "VAMP", "IWAE", "AE", "RAE-L2"], "configurations": [1]},
        "training": {"num_train_epochs": 5, "learning_rate": 1e-3},
        "tasks": {"interpolation": {"num_pairs": 1}},
        "train_together": False,
    }
    file = write_study(folder, content)
    prepared = prepare_study(file, folder / "loop")
    plan, data = prepared[2], prepared[3]["mnist"]

    def train_in_a_loop():
        for cell in plan.runnable():
            set_seed(cell.seed)
            model = AutoGAE.from_config(AutoGAE.config_class(cell.settings["model"])(**cell.settings["config"]))
            arguments = GAETrainingArguments(
                str(folder / "loop" / cell.id), report_to="none", disable_tqdm=True, **cell.settings["training"]
            )
            trainer = GAETrainer(
                model, arguments, train_dataset=data.splits["train"], eval_dataset=data.splits["validation"]
            )
            trainer.train()

    alone = seconds(train_in_a_loop)
    whole = seconds(lambda: run_study(file, folder / "study", progress=False))
    reading = seconds(lambda: prepare_study(file, folder / "study"))
    return (
        f"| overhead: {whole:.0f} s for a study, {alone:.0f} s for its trainings alone "
        f"({reading:.1f} s to read data and plan) | {(whole - reading) / alone - 1:+.1%} |"
    )


def measure_together(folder: Path, mnist: str, num_train: int) -> str:
    """All configurations of `mnist-mlp` on a part of the data, both ways."""
    content = read_yaml_file(find_study_file("mnist-mlp"))
    content["data"] = {"mnist": {"dataset": mnist, "latent_dim": 16, "num_train": num_train}}
    together = write_study(folder, {**content, "name": "together"})
    one_by_one = write_study(folder, {**content, "name": "one-by-one", "train_together": False})
    fast = seconds(lambda: run_study(together, folder / "fast", processes=2, progress=False))
    slow = seconds(lambda: run_study(one_by_one, folder / "slow", progress=False))
    return (
        f"| 190 configurations, {num_train:,} images: {fast / 60:.1f} min together, {slow / 60:.1f} min one by one "
        f"| {fast / slow:.2f} |"
    )


def measure_stacks(folder: Path, mnist: str) -> str:
    """Training together beside training one by one, by size of the networks."""
    rows = []
    for units in (32, 128, 512):
        network = {"model_type": "mlp", "hidden_sizes": [units]}
        content = {
            "data": {"mnist": {"dataset": mnist, "latent_dim": 16, "num_train": 10_000, "num_validation": 1000}},
            "networks": {"mlp": {"encoder_config": network, "decoder_config": network}},
            "methods": {"grids": "paper", "only": ["beta-VAE"]},
            "training": {"num_train_epochs": 5, "learning_rate": 1e-3},
            "tasks": {"interpolation": {"num_pairs": 1}},
        }
        times = {}
        for name, together in (("together", True), ("alone", False)):
            file = write_study(folder, {**content, "name": f"{name}-{units}", "train_together": together})
            whole = seconds(lambda file=file, name=name: run_study(file, folder / name, threads=1, progress=False))
            times[name] = whole - seconds(lambda file=file: prepare_study(file, folder / "unused"))
        fast, slow = times["together"], times["alone"]
        rows.append(f"| {units} units: {fast:.0f} s together, {slow:.0f} s one by one | {fast / slow:.2f} |")
    return "\n".join(rows)


def measure_pages(folder: Path, smoke: str) -> str:
    """`status` and `report` of many cells."""
    copied = copy_cells(StudyFolder.find(smoke), folder)
    status = seconds(lambda: run_command(["study", "status", str(copied.root)]))
    report = seconds(lambda: run_command(["study", "report", str(copied.root)]))
    return f"| {NUM_CELLS:,} cells: `status` {status:.1f} s, `report` | {report:.0f} s |"


def copy_cells(source: StudyFolder, root: Path) -> StudyFolder:
    """A study of `NUM_CELLS` cells on three data sets with two networks, whose results are copies."""
    plan, target = source.read_plan(), StudyFolder(root, source.name)
    originals = [cell for cell in plan.cells if cell.skipped is None]
    datasets, networks = ("first", "second", "third"), ("convnet", "resnet")
    cells: list[CellPlan] = []
    for dataset in datasets:
        for network in networks:
            for copy in range(5):
                for cell in originals:
                    number = cell.configuration + 10 * copy
                    name = f"{cell.id}-{dataset}-{network}-{copy}"
                    cells.append(replace(cell, id=name, dataset=dataset, network=network, configuration=number))
                    shutil.copytree(source.cell(cell) / "pictures", target.root / "cells" / name / "pictures")
                    record = Cell(source.cell(cell))
                    record.folder, record.files = target.root / "cells" / name, {}
                    record.write()
    dimensions = dict.fromkeys(datasets, next(iter(plan.latent_dims.values())))
    settings = {**plan.settings, "sizes": dict.fromkeys(datasets, next(iter(plan.settings["sizes"].values())))}
    settings["training"] = dict.fromkeys(datasets, next(iter(plan.settings["training"].values())))
    changes = {"datasets": list(datasets), "networks": list(networks), "latent_dims": dimensions, "settings": settings}
    replace(plan, **changes, cells=cells[:NUM_CELLS]).write(target.study)
    shutil.copy(source.study / "study.yaml", target.study)
    return target


def write_study(folder: Path, content: dict[str, Any]) -> Path:
    """A study file in a folder."""
    path = folder / f"{content['name']}.yaml"
    path.write_text(dump_yaml(content), encoding="utf-8")
    return path


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("section", choices=("smoke", "overhead", "together", "stacks", "pages"))
    parser.add_argument("--mnist", default="ylecun/mnist")
    parser.add_argument("--smoke", default="smoke")
    parser.add_argument("--num_train", type=int, default=10_000)
    args = parser.parse_args()
    with TemporaryDirectory() as name:
        folder = Path(name)
        if args.section == "smoke":
            row = measure_smoke(folder)
        elif args.section == "overhead":
            row = measure_overhead(folder, args.mnist)
        elif args.section == "together":
            row = measure_together(folder, args.mnist, args.num_train)
        elif args.section == "stacks":
            row = measure_stacks(folder, args.mnist)
        else:
            row = measure_pages(folder, args.smoke)
    print(row)


if __name__ == "__main__":
    main()
