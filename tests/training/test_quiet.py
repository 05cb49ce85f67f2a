"""Messages of transformers are hidden inside the contexts, and only there."""

import logging

import pytest
from trainers import make_trainer
from transformers.utils import logging as hf_logging

from gae_hub.training.quiet import hide_mtime_warnings, hide_progress_bars

SORTING = logging.getLogger("transformers.trainer_utils")
MESSAGE = "mtime may not be reliable on this filesystem, falling back to numerical ordering"


def test_mtime_warnings_are_hidden_inside_the_context(caplog):
    with hide_mtime_warnings(), hide_mtime_warnings():
        SORTING.warning(MESSAGE)
        SORTING.warning("another warning")
    SORTING.warning(f"{MESSAGE}, afterwards")
    assert [record.getMessage() for record in caplog.records] == ["another warning", f"{MESSAGE}, afterwards"]


def test_training_leaves_no_filter(tmp_path, monkeypatch):
    before, inside = list(SORTING.filters), []
    trainer = make_trainer(tmp_path)
    monkeypatch.setattr(trainer, "floating_point_ops", lambda inputs: inside.append(len(SORTING.filters)) or 0)
    trainer.train()
    assert set(inside) == {len(before) + 1} and SORTING.filters == before

    def fail(inputs):
        raise RuntimeError("stop")

    monkeypatch.setattr(trainer, "floating_point_ops", fail)
    with pytest.raises(RuntimeError, match="stop"):
        trainer.train()
    assert SORTING.filters == before


@pytest.mark.parametrize("enabled", [True, False])
def test_progress_bars_are_as_before(enabled):
    (hf_logging.enable_progress_bar if enabled else hf_logging.disable_progress_bar)()
    try:
        with hide_progress_bars():
            assert not hf_logging.is_progress_bar_enabled()
        assert hf_logging.is_progress_bar_enabled() is enabled
    finally:
        hf_logging.enable_progress_bar()
