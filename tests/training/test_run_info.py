"""What a run records about itself: the energy that it used."""

import pytest

from gae_hub.training.run_info import EnergyMeter


def test_energy_is_read_from_the_counters_of_the_cpu(tmp_path, monkeypatch):
    monkeypatch.setattr("gae_hub.training.run_info.POWERCAP", tmp_path)
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
