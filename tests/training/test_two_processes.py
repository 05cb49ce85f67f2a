"""Two processes with half of a batch each compute the loss and the gradients of one process with the whole batch."""

import pytest
import torch
from child_processes import TESTS, run_in_two_processes
from safetensors.torch import load_file
from two_processes import SETTINGS, step

PER_PROCESS = {"factor_vae"}  # it permutes the batch of each process separately, as documented


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """A folder with the results of both processes, for every method."""
    folder = tmp_path_factory.mktemp("two_processes")
    run_in_two_processes(TESTS / "two_processes.py", folder)
    return folder


@pytest.mark.parametrize("setting", SETTINGS)
def test_two_processes_equal_one(found, setting):
    one, other = (load_file(found / f"{setting}.{rank}.safetensors") for rank in (0, 1))
    if SETTINGS[setting][0].id in PER_PROCESS:
        halves = [step(setting, rank, 2) for rank in (0, 1)]
        whole = {name: (halves[0][name] + halves[1][name]) / 2 for name in halves[0]}
    else:
        whole = step(setting, 0, 1)
    assert whole.keys() == one.keys()
    for name, value in whole.items():
        torch.testing.assert_close(one[name], value, msg=lambda text, name=name: f"{name}: {text}")
        torch.testing.assert_close(other[name], one[name])  # both processes agree
    assert max(value.abs().max() for name, value in whole.items() if name.startswith("gradient")) > 0


@pytest.mark.parametrize("setting", [name for name, (case, _) in SETTINGS.items() if case.model_class.shardable])
def test_fsdp_equals_data_parallel(found, setting):
    """Methods that allow FSDP get the gradients of DistributedDataParallel."""
    whole, sharded = (load_file(found / f"{setting}.0{kind}.safetensors") for kind in ("", ".sharded"))
    assert whole.keys() == sharded.keys()
    for name, value in whole.items():
        torch.testing.assert_close(sharded[name], value, msg=lambda text, name=name: f"{name}: {text}")
