"""Where a run took place: versions and hardware, and the energy that the processor's own meters have counted."""

__all__ = ["EnergyMeter", "environment"]

import platform
from pathlib import Path

import torch
import transformers

from . import __version__

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

    Other programs on the machine count too. Graphics cards are not in it.
    """

    def __init__(self):
        self.start = self.counters()

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

    def joules(self) -> float | None:
        """None where it cannot be measured."""
        total, end = 0, self.counters()
        if not self.start or end.keys() != self.start.keys() or torch.cuda.is_available():
            return None
        for meter, before in self.start.items():
            used = end[meter] - before
            if used < 0:  # the counter has begun anew
                used += int((meter / "max_energy_range_uj").read_text())
            total += used
        return total / 1e6
