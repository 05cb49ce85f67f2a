"""Context managers that hide messages of transformers."""

__all__ = ["hide_diagnostics", "hide_progress_bars", "hide_resume_warnings"]

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
def hide_diagnostics() -> Iterator[None]:
    """Hide the warnings about runs that learn badly. The facts of a run hold them."""
    diagnostics = logging.getLogger("gae_hub.training.diagnostics")

    def is_hidden(record: logging.LogRecord) -> bool:
        return False

    diagnostics.addFilter(is_hidden)
    try:
        yield
    finally:
        diagnostics.removeFilter(is_hidden)


@contextmanager
def hide_resume_warnings() -> Iterator[None]:
    """Hide the warnings of transformers that are wrong where `GAETrainer` resumes.

    They say that the best checkpoint does not exist where it was saved, as in a run that was moved, and that intervals
    differ from those of the checkpoint, which have an effect here.
    """
    hidden = "recorded in the resumed state", "do not match the ones in the `trainer_state.json`"

    def is_other_message(record: logging.LogRecord) -> bool:
        return not any(text in record.getMessage() for text in hidden)

    loggers = [logging.getLogger(f"transformers.{name}") for name in ("trainer", "trainer_utils")]
    for logger in loggers:
        logger.addFilter(is_other_message)
    try:
        yield
    finally:
        for logger in loggers:
            logger.removeFilter(is_other_message)
