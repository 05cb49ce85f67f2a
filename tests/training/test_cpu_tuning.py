"""The option that keeps freed memory in the process."""

import json
import os
import platform
import subprocess
import sys

import pytest
from trainers import make_trainer

from gae_hub import GAETrainingArguments
from gae_hub.training import trainer as trainer_module
from gae_hub.training.cpu_tuning import keep_freed_memory

# glibc's own counts of memory: mallinfo2 of malloc.h has ten fields of type size_t, in this order
CODE = """
import ctypes, json, sys
import torch
from gae_hub.training.cpu_tuning import keep_freed_memory

FIELDS = ("arena", "ordblks", "smblks", "hblks", "hblkhd", "usmblks", "fsmblks", "uordblks", "fordblks", "keepcost")

class Counts(ctypes.Structure):
    _fields_ = [(name, ctypes.c_size_t) for name in FIELDS]

mallinfo2 = ctypes.CDLL(None).mallinfo2
mallinfo2.restype = Counts
if sys.argv[1] == "keep":
    assert keep_freed_memory()
before = mallinfo2()
tensor = torch.empty(30 << 20, dtype=torch.uint8)
mapped = mallinfo2().hblks - before.hblks  # allocations that go back to the system when they are freed
del tensor
print(json.dumps({"mapped": mapped, "kept": mallinfo2().fordblks - before.fordblks}))
"""


def count_memory(how):
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("MALLOC_", "GLIBC_"))}
    process = subprocess.run([sys.executable, "-c", CODE, how], env=environment, capture_output=True, text=True)
    assert process.returncode == 0, process.stderr
    return json.loads(process.stdout)


def test_freed_memory_stays_in_the_process():
    if platform.libc_ver()[0] != "glibc":
        assert not keep_freed_memory()
        return
    default, keep = count_memory("default"), count_memory("keep")
    assert default["mapped"] == 1 and default["kept"] < 1 << 20
    assert keep["mapped"] == 0 and keep["kept"] > 29 << 20


@pytest.mark.parametrize("wanted", [False, True])
def test_training_keeps_memory_only_if_asked(tmp_path, monkeypatch, caplog, wanted):
    calls = []
    monkeypatch.setattr(trainer_module, "keep_freed_memory", lambda: calls.append("called") or True)
    make_trainer(tmp_path, max_steps=1, use_cpu=True, **({"keep_freed_memory": True} if wanted else {})).train()
    assert calls == ["called"] * wanted
    assert "keep_freed_memory" not in caplog.text


def test_no_effect_is_a_warning(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(trainer_module, "keep_freed_memory", lambda: False)  # as without glibc
    make_trainer(tmp_path, max_steps=1, use_cpu=True, keep_freed_memory=True).train()
    assert "keep_freed_memory=True has no effect: it needs a CPU and glibc" in caplog.text


def test_it_is_off_by_default():
    assert GAETrainingArguments("x").keep_freed_memory is False
