"""Context managers that hide messages of transformers."""

__all__ = ["hide_best_checkpoint_warning", "hide_progress_bars"]

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
def hide_best_checkpoint_warning() -> Iterator[None]:
    """Hide the warning that the best checkpoint does not exist where it was saved, as in a run that was moved."""

    def is_other_message(record: logging.LogRecord) -> bool:
        return "recorded in the resumed state" not in record.getMessage()

    logger = logging.getLogger("transformers.trainer")
    logger.addFilter(is_other_message)
    try:
        yield
    finally:
        logger.removeFilter(is_other_message)
