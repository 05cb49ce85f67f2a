"""Kill commands of gae_hub with SIGKILL and repeat them: python kill_commands.py FOLDER [--seed 0] [--part 0/2].

Every method is trained by `gae-hub train`, some of them in two processes, and every learned sampler is fitted by
`gae-hub fit-sampler`. A command is killed several times, at random moments after its imports or while it writes or
moves a file, and started again with --resume where there is a checkpoint. Its final weights must equal, bit for bit,
the weights of an uninterrupted run, and its folder must hold no unfinished files.

FOLDER keeps finished cases in kills.json; started again, the script skips them.
"""

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

import psutil

METHOD_KILLS, TWO_PROCESS_KILLS, SAMPLER_KILLS = 6, 4, 4
TWO_PROCESSES = ("vae", "vae_gan", "vq_vae")
NUM_STEPS = 24
TRAIN = (
    "--dataset digits --max_steps 24 --eval_strategy steps --eval_steps 4 --save_strategy steps --save_steps 4"
    " --logging_steps 4 --per_device_train_batch_size 16 --report_to none --disable_tqdm true --image_interval 0"
    " --encoder {hidden_sizes:[16]} --decoder {hidden_sizes:[16]} --latent_dim 4"
).split()
FIT = "--max_steps 24 --logging_steps 8 --disable_tqdm true".split()
STARTED = "imports are done"


@dataclass
class Case:
    """A command that is killed `num_kills` times."""

    name: str
    kind: str  # "train" or "fit-sampler"
    num_kills: int
    num_processes: int = 1
    flags: list[str] = field(default_factory=list)

    def arguments(self, folder: Path) -> list[str]:
        """The command's words for a folder, which are those of a repetition after a kill, too."""
        if self.kind == "fit-sampler":
            return [self.kind, str(folder), "--sampler", self.name, *FIT, *self.flags]
        from gae_hub.training.checkpointing import last_checkpoint

        again = ["--resume"] if last_checkpoint(folder) else ["--overwrite_output_dir", "true"]
        return [self.kind, "--model", self.name, "--output_dir", str(folder), *TRAIN, *self.flags, *again]

    def weights(self, folder: Path) -> Path:
        return folder / ("sampler" if self.kind == "fit-sampler" else "") / "model.safetensors"


def make_cases() -> list[Case]:
    """Every method, three methods in two processes, every learned sampler."""
    from gae_hub import AutoGAE, AutoSampler
    from gae_hub.samplers.learned import LearnedSampler

    samplers = [name for name in AutoSampler.names() if issubclass(AutoSampler.model_class(name), LearnedSampler)]
    return [
        *(Case(name, "train", METHOD_KILLS) for name in AutoGAE.names()),
        *(Case(name, "train", TWO_PROCESS_KILLS, num_processes=2) for name in TWO_PROCESSES),
        *(Case(name, "fit-sampler", SAMPLER_KILLS) for name in samplers),
    ]


# The command, in a process of its own


def run_command(words: list[str], write: int | None):
    """Run a command of gae-hub, and kill this process during its write number `write`, counted from 0."""
    import safetensors.torch

    count = -1

    def reach() -> bool:
        nonlocal count
        count += 1
        return count == write

    def kill():
        os.kill(os.getpid(), signal.SIGKILL)

    def before(function):
        def killed_before(*args, **kwargs):
            if reach():
                kill()
            return function(*args, **kwargs)

        return killed_before

    save_file, write_text = safetensors.torch.save_file, Path.write_text

    def save_half(tensors, filename, *args, **kwargs):
        save_file(tensors, filename, *args, **kwargs)
        if reach():
            os.truncate(filename, os.stat(filename).st_size // 2)
            kill()

    def write_half(path, text, *args, **kwargs):
        if reach():
            write_text(path, text[: len(text) // 2], *args, **kwargs)
            kill()
        return write_text(path, text, *args, **kwargs)

    safetensors.torch.save_file, Path.write_text = save_half, write_half
    os.replace, os.rename, os.link = before(os.replace), before(os.rename), before(os.link)
    import gae_hub.auto  # noqa: F401
    import gae_hub.training.trainer  # noqa: F401

    if words[0] == "study":
        import gae_hub.study.runner  # noqa: F401
    from gae_hub.cli.main import main

    print(STARTED, file=sys.stderr, flush=True)
    sys.exit(main(words))


def start(words: list[str], log: Path, write: int | None = None, num_processes: int = 1) -> subprocess.Popen:
    """Start a command of gae-hub, in several processes of one group if so wanted."""
    launcher = [sys.executable]
    if num_processes > 1:
        launcher += ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", str(num_processes)]
    command = [*launcher, __file__, "--command", json.dumps({"words": words, "write": write})]
    return subprocess.Popen(
        command,
        stdout=subprocess.DEVNULL,
        stderr=log.open("w"),
        env={**os.environ, "OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "true"},
    )


# The plan of kills


def kill_tree(process: subprocess.Popen):
    """Kill a process and all that it started: torchrun's workers have process groups of their own."""
    root = psutil.Process(process.pid)
    family = [root, *root.children(recursive=True)]
    for member in family:
        member.kill()
    psutil.wait_procs(family[1:])
    process.wait()


def wait_for_imports(process: subprocess.Popen, log: Path):
    while STARTED not in log.read_text(errors="replace") and process.poll() is None:
        time.sleep(0.02)


def run_to_the_end(case: Case, folder: Path, log: Path) -> float:
    """Run a command to its end. Returns the seconds after its imports."""
    process = start(case.arguments(folder), log, num_processes=case.num_processes)
    wait_for_imports(process, log)
    begin = time.monotonic()
    if process.wait(timeout=300):
        raise SystemExit(f"{case}: the command failed\n{log.read_text(errors='replace')[-3000:]}")
    return time.monotonic() - begin


def kill_once(case: Case, folder: Path, log: Path, dice: random.Random, seconds: float) -> str | None:
    """Start a command and kill it. Returns the kind of moment, or None if the command had ended before."""
    if case.num_processes == 1 and dice.random() < 0.5:
        process = start(case.arguments(folder), log, write=dice.randrange(12))
        if process.wait(timeout=300) == -signal.SIGKILL:
            return "writing"
        return None
    process = start(case.arguments(folder), log, num_processes=case.num_processes)
    wait_for_imports(process, log)
    time.sleep(dice.uniform(0, seconds))
    ended = process.poll() is not None
    if ended:
        return None
    kill_tree(process)
    return "moment"


def survive(case: Case, folder: Path, dice: random.Random) -> dict:
    """Run a case without kills and with its kills, and compare."""
    import torch
    from safetensors.torch import load_file

    log = folder / "log.txt"
    whole, cut = folder / "whole", folder / "cut"
    if case.kind == "fit-sampler":
        source = {"pixel_cnn": "vq_vae"}.get(case.name, "vae")
        for target in (whole, cut):
            run_to_the_end(Case(source, "train", 0), target, log)
    seconds = run_to_the_end(case, whole, log)
    moments = []
    for _ in range(10 * case.num_kills):
        if len(moments) == case.num_kills:
            break
        moment = kill_once(case, cut, log, dice, seconds)
        if moment is not None:
            moments.append(moment)
        elif case.kind == "train":
            shutil.rmtree(cut)
    run_to_the_end(case, cut, log)
    one, other = (load_file(case.weights(part)) for part in (whole, cut))
    same = one.keys() == other.keys() and all(torch.equal(value, other[key]) for key, value in one.items())
    names = ({path.relative_to(part).as_posix() for path in part.rglob("*")} for part in (whole, cut))
    first, second = names
    return {"kills": moments, "same": same, "unfinished": sorted(second - first), "missing": sorted(first - second)}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, nargs="?")
    parser.add_argument("--only", default="", help="kill the cases whose name contains this")
    parser.add_argument("--part", default="0/1", help="I/N: every N-th case, from I; parts need folders of their own")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--command", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.command:
        run_command(**json.loads(args.command))
    args.folder.mkdir(parents=True, exist_ok=True)
    record = args.folder / "kills.json"
    found = json.loads(record.read_text()) if record.is_file() else {}
    first, step = map(int, args.part.split("/"))
    for case in make_cases()[first::step]:
        key = f"{case.kind} {case.name}" + (" in two processes" if case.num_processes > 1 else "")
        if key in found or args.only not in key:
            continue
        folder = args.folder / key.replace(" ", "-")
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        found[key] = survive(case, folder, random.Random(f"{args.seed} {key}"))
        record.write_text(json.dumps(found, indent=1))
        shutil.rmtree(folder)
        print(key, json.dumps(found[key]), flush=True)
    moments = [moment for result in found.values() for moment in result["kills"]]
    bad = [key for key, result in found.items() if not result["same"] or result["unfinished"] or result["missing"]]
    print(
        f"{len(moments)} kills ({moments.count('writing')} while writing) in {len(found)} cases, "
        f"{len(bad)} that differ: {', '.join(bad) or 'none'}"
    )
    sys.exit(bool(bad))


if __name__ == "__main__":
    main()
