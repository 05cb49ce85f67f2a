"""Environment, duration and energy of a run."""

__all__ = ["EnergyMeter", "RunCost", "environment"]

import platform
import time
from pathlib import Path

import torch
import transformers

from .._version import __version__

POWERCAP = Path("/sys/class/powercap")


def environment() -> dict[str, str]:
    """Versions of the software, and the name of the training device."""
    num_threads = torch.get_num_threads()
    cpu = f"CPU, {num_threads} thread{'s' if num_threads > 1 else ''}"
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else cpu
    return {
        "gae_hub": __version__,
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "device": device,
    }


class EnergyMeter:
    """Energy that the CPU packages of this machine have used since the meter was created, from Linux's RAPL counters.

    Other programs on the machine count too. With a GPU, nothing is measured. The counters wrap around after some
    minutes: call `read` more often than that.
    """

    def __init__(self):
        self._last_counters = self._read_counters()
        self._joules: float | None = 0.0 if self._last_counters and not torch.cuda.is_available() else None

    def read(self) -> float | None:
        """Joules so far; None if they cannot be measured."""
        counters = self._read_counters()
        if self._joules is None or counters.keys() != self._last_counters.keys():
            self._joules = None
            return None
        for meter, last in self._last_counters.items():
            microjoules = counters[meter] - last
            if microjoules < 0:  # the counter has wrapped around
                microjoules += int((meter / "max_energy_range_uj").read_text())
            self._joules += microjoules / 1e6
        self._last_counters = counters
        return self._joules

    def _read_counters(self) -> dict[Path, int]:
        """Microjoules per package. Empty if there are no meters, or no permission to read them."""
        counters = {}
        for meter in POWERCAP.glob("intel-rapl:*"):
            if meter.name.count(":") == 1:  # two colons are a part of a package
                try:
                    counters[meter] = int((meter / "energy_uj").read_text())
                except (OSError, ValueError):
                    continue
        return counters


class RunCost:
    """Duration and energy of a run, including its earlier sessions if it was resumed.

    Attributes:
        earlier_seconds: duration of the earlier sessions.
    """

    def __init__(self):
        self._start, self._meter = time.perf_counter(), EnergyMeter()
        self.earlier_seconds: float = 0.0
        self._earlier_joules: float | None = 0.0

    def read_seconds(self) -> float:
        """Seconds so far."""
        return self.earlier_seconds + time.perf_counter() - self._start

    def read_joules(self) -> float | None:
        """Joules so far; None if a session could not be measured. Must be called every few minutes (`EnergyMeter`)."""
        joules = self._meter.read()
        return None if joules is None or self._earlier_joules is None else self._earlier_joules + joules

    def state_dict(self) -> dict[str, float | None]:
        return {"seconds": self.read_seconds(), "joules": self.read_joules()}

    def load_state_dict(self, state: dict[str, float | None]):
        """Add the cost of the earlier sessions."""
        self.earlier_seconds, self._earlier_joules = state["seconds"] or 0.0, state["joules"]
