"""Context managers that hide messages of transformers."""

__all__ = ["hide_mtime_warnings", "hide_progress_bars"]

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from transformers.utils import logging as hf_logging


@contextmanager
def hide_progress_bars() -> Iterator[None]:
    """Hide transformers' progress bars, which would break the trainer's own."""
    were_enabled = hf_logging.is_progress_bar_enabled()
    hf_logging.disable_progress_bar()
    try:
        yield
    finally:
        if were_enabled:
            hf_logging.enable_progress_bar()


@contextmanager
def hide_mtime_warnings() -> Iterator[None]:
    """Hide the warning about checkpoints that are less than a second apart.

    Small models write them that fast. transformers then sorts checkpoints by their step, which is right.
    """

    def is_other_message(record: logging.LogRecord) -> bool:
        return "mtime may not be reliable" not in record.getMessage()

    logger = logging.getLogger("transformers.trainer_utils")
    logger.addFilter(is_other_message)
    try:
        yield
    finally:
        logger.removeFilter(is_other_message)
