"""Where a run took place: versions and hardware, and the energy that the processor's own meters have counted."""

__all__ = ["EnergyMeter", "Spent", "environment"]

import platform
import time
from pathlib import Path

import torch
import transformers

from .._version import __version__

POWERCAP = Path("/sys/class/powercap")


def environment() -> dict[str, str]:
    """Versions, and the name of the device that models are trained on."""
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else f"CPU, {torch.get_num_threads()} threads"
    return {
        "gae_hub": __version__,
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "device": device,
    }


class EnergyMeter:
    """Joules that the processor packages of this machine have used since now, by Linux's RAPL counters.

    Other programs on the machine count too. Graphics cards are not in it. The counters begin anew after some minutes:
    `read` must be called more often than that.
    """

    def __init__(self):
        self.last = self.counters()
        self.used: float | None = 0.0 if self.last and not torch.cuda.is_available() else None

    def counters(self) -> dict[Path, int]:
        """Microjoules by package; none where there are no meters, or they may not be read."""
        found = {}
        for meter in POWERCAP.glob("intel-rapl:*"):
            if meter.name.count(":") == 1:  # one with two is a part of a package
                try:
                    found[meter] = int((meter / "energy_uj").read_text())
                except (OSError, ValueError):
                    continue
        return found

    def read(self) -> float | None:
        """So far; None where it cannot be measured."""
        now = self.counters()
        if self.used is None or now.keys() != self.last.keys():
            self.used = None
            return None
        for meter, before in self.last.items():
            more = now[meter] - before
            if more < 0:  # the counter has begun anew
                more += int((meter / "max_energy_range_uj").read_text())
            self.used += more / 1e6
        self.last = now
        return self.used


class Spent:
    """Time and energy of a run, those of the sessions before it was resumed included."""

    def __init__(self):
        self.begun, self.meter = time.perf_counter(), EnergyMeter()
        self.before: dict[str, float | None] = {"seconds": 0.0, "joules": 0.0}

    def seconds(self) -> float:
        return self.before["seconds"] + time.perf_counter() - self.begun

    def joules(self) -> float | None:
        """None where a session could not be measured."""
        parts = self.before["joules"], self.meter.read()
        return None if None in parts else sum(parts)

    def state_dict(self) -> dict[str, float | None]:
        return {"seconds": self.seconds(), "joules": self.joules()}

    def load_state_dict(self, state: dict[str, float | None]):
        self.before = state
