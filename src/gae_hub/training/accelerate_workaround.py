"""Workaround for accelerate 1.10 to 1.15, whose optimizers search the disk for an optional package in every step.

The search takes 0.11 to 0.13 ms per step: 3.6 % of a step of the VAE with an MLP on 100 images of MNIST's shape
(3.7 ms), and 8 % with images of 8 x 8 (1.35 ms); accelerate 1.15, a CPU with 2 cores. The workaround changes one
optimizer object, not accelerate itself. Delete this file when accelerate is fixed: the text below is the issue to
report.
"""

# AcceleratedOptimizer.step searches for lomo_optim twice in every step
#
# `AcceleratedOptimizer.step` calls `is_lomo_available()` twice, and each call runs
# `importlib.util.find_spec("lomo_optim")`. Python caches the modules that it has found, but not that a module was not
# found. So every call asks all finders of `sys.meta_path` and stats all folders of `sys.path`. Without lomo_optim this
# takes 0.11 to 0.13 ms per step, which is 8 % of the step of a small model on a CPU (1.35 ms):
#
#     import timeit
#     from accelerate.utils import is_lomo_available
#     print(timeit.timeit(is_lomo_available, number=10_000) / 10_000)
#
# Suggested remedy: decide once in `AcceleratedOptimizer.__init__` whether the optimizer is a LOMO optimizer, or put
# `functools.cache` on `is_lomo_available`.

__all__ = ["skip_package_search"]

from collections.abc import Callable
from types import MethodType
from typing import Any

import accelerate
from accelerate.optimizer import AcceleratedOptimizer
from accelerate.utils import DistributedType, is_lomo_available
from packaging.version import Version

FIRST_AFFECTED, FIRST_UNKNOWN = Version("1.10"), Version("1.16")


def skip_package_search(optimizer: Any):
    """Replace `step` of an optimizer that accelerate has prepared by one without the search.

    Call it before a scheduler is made. Optimizers of other types, with a gradient scaler, on XLA, with lomo_optim
    installed, or of other versions of accelerate are not changed.
    """
    is_affected = FIRST_AFFECTED <= Version(accelerate.__version__) < FIRST_UNKNOWN
    if (
        is_affected
        and type(optimizer) is AcceleratedOptimizer
        and "step" not in vars(optimizer)
        and optimizer.scaler is None
        and optimizer.accelerator_state.distributed_type != DistributedType.XLA
        and not is_lomo_available()
    ):
        optimizer.step = MethodType(_step, optimizer)


def _step(self: Any, closure: Callable[[], Any] | None = None):
    """What `AcceleratedOptimizer.step` does in these cases."""
    if self.gradient_state.sync_gradients:
        self.optimizer.step(closure)
