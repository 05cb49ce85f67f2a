"""Models that are loaded when they are needed, and dropped when others need the memory."""

__all__ = ["ModelCache"]

from collections import OrderedDict, defaultdict
from collections.abc import Callable
from threading import Lock
from typing import Generic, TypeVar

import torch
from torch import nn

M = TypeVar("M", bound=nn.Module)


class ModelCache(Generic[M]):
    """Keeps the modules that were used last, as many as fit. Threads may share it.

    Args:
        max_bytes: largest size of the parameters and buffers of all modules together. The module that was used last
            stays, also if it is larger.
        device: where modules are kept.
    """

    def __init__(self, max_bytes: int, device: torch.device | str = "cpu"):
        self.max_bytes, self.device = max_bytes, device
        self.num_loaded = 0
        self._modules: OrderedDict[str, M] = OrderedDict()
        self._lock = Lock()  # of the modules; never held while one is loaded
        self._loading: defaultdict[str, Lock] = defaultdict(Lock)

    def get(self, key: str, load: Callable[[], M]) -> M:
        """The module of a key, loaded if it is not there. Threads wait only for a thread that loads the same key."""
        with self._lock:
            loading = self._loading[key]
        with loading:
            found = self._find(key)
            if found is None:
                found = load().to(self.device).eval()
                self._keep(key, found)
            return found

    def _find(self, key: str) -> M | None:
        with self._lock:
            if key in self._modules:
                self._modules.move_to_end(key)
            return self._modules.get(key)

    def _keep(self, key: str, module: M):
        with self._lock:
            self._modules[key] = module
            self.num_loaded += 1
            while len(self._modules) > 1 and self.num_bytes > self.max_bytes:
                self._modules.popitem(last=False)

    def __len__(self) -> int:
        return len(self._modules)

    @property
    def num_bytes(self) -> int:
        """Size of the parameters and buffers of all modules."""
        return sum(map(_count_bytes, self._modules.values()))


def _count_bytes(module: nn.Module) -> int:
    return sum(tensor.nbytes for tensor in (*module.parameters(), *module.buffers()))
