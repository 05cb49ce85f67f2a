"""Facts, duration and energy of a run."""

import json
from types import SimpleNamespace

import pytest
from trainers import make_trainer

from gae_hub.training import run_info
from gae_hub.training.checkpointing import load_tree, save_tree
from gae_hub.training.run_info import EnergyMeter, RunCost


def test_facts_for_the_card(tmp_path):
    trainer = make_trainer(tmp_path, learning_rate=0.01)
    trainer.train()
    facts = trainer.model.facts
    assert facts["num_train_images"] == 24 and facts["steps"] == 6 and facts["dataset"] == "array"
    settings = {"num_train_epochs": 2, "per_device_train_batch_size": 8, "save_total_limit": None}
    assert facts["arguments"] == {"learning_rate": 0.01, **settings}
    json.dumps(facts)


def test_energy_is_read_from_the_counters_of_the_cpu(tmp_path, monkeypatch):
    monkeypatch.setattr(run_info, "POWERCAP", tmp_path)
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    assert EnergyMeter().read() is None  # no counters
    for name, energy in (("intel-rapl:0", 10_000_000), ("intel-rapl:0:0", 5), ("intel-rapl:1", 99_000_000)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "energy_uj").write_text(f"{energy}\n")
        (tmp_path / name / "max_energy_range_uj").write_text("100000000\n")
    meter = EnergyMeter()
    (tmp_path / "intel-rapl:0" / "energy_uj").write_text("12000000\n")
    (tmp_path / "intel-rapl:1" / "energy_uj").write_text("4000000\n")  # the counter has wrapped
    assert meter.read() == pytest.approx(2 + 5)


def test_duration_and_energy_add_up_over_sessions(monkeypatch):
    clock, meter = [100.0], [5.0]

    class Meter:
        def read(self):
            return meter[0]

    monkeypatch.setattr(run_info, "time", SimpleNamespace(perf_counter=lambda: clock[0]))
    monkeypatch.setattr(run_info, "EnergyMeter", Meter)
    first = RunCost()
    clock[0] = 107.0
    assert first.state_dict() == {"seconds": 7.0, "joules": 5.0}
    second = RunCost()
    second.load_state_dict(first.state_dict())
    clock[0], meter[0] = 110.0, 2.0
    assert second.read_seconds() == 10.0 and second.read_joules() == 7.0
    meter[0] = None
    assert second.read_joules() is None
    second.load_state_dict({"seconds": 1.0, "joules": None})  # an earlier session had no meter
    meter[0] = 2.0
    assert second.read_joules() is None


def test_a_resumed_run_adds_to_the_duration_of_its_checkpoint(tmp_path, monkeypatch):
    make_trainer(tmp_path).train()
    file = tmp_path / "checkpoint-3" / "run_cost.safetensors"
    save_tree({**load_tree(file), "seconds": 1000.0}, file)
    monkeypatch.setattr(run_info, "time", SimpleNamespace(perf_counter=lambda: 0.0))
    resumed = make_trainer(tmp_path)
    resumed.train(resume_from_checkpoint=str(file.parent))
    assert resumed.model.facts["seconds"] == pytest.approx(1000)
