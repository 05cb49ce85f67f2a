"""Messages of transformers are hidden inside the contexts, and only there."""

import logging

import pytest
from trainers import make_trainer
from transformers.utils import logging as hf_logging

from gae_hub.training.quiet import hide_progress_bars, hide_resume_warnings

TRAINER = logging.getLogger("transformers.trainer")
MESSAGE = "The best checkpoint x recorded in the resumed state does not exist anymore. Ignoring it for this run."

OTHER = "Warning: The following arguments do not match the ones in the `trainer_state.json` within the checkpoint"


def test_the_warnings_are_hidden_inside_the_context(caplog):
    with hide_resume_warnings(), hide_resume_warnings():
        TRAINER.warning(MESSAGE)
        logging.getLogger("transformers.trainer_utils").warning(OTHER)
        TRAINER.warning("another warning")
    TRAINER.warning(f"{MESSAGE} Afterwards.")
    assert [record.getMessage() for record in caplog.records] == ["another warning", f"{MESSAGE} Afterwards."]


def test_the_filter_ends_with_the_context(tmp_path):
    before = list(TRAINER.filters)
    with pytest.raises(RuntimeError, match="stop"), hide_resume_warnings():
        assert len(TRAINER.filters) == len(before) + 1
        raise RuntimeError("stop")
    make_trainer(tmp_path).train()
    assert TRAINER.filters == before


@pytest.mark.parametrize("enabled", [True, False])
def test_progress_bars_are_as_before(enabled):
    (hf_logging.enable_progress_bar if enabled else hf_logging.disable_progress_bar)()
    try:
        with hide_progress_bars():
            assert not hf_logging.is_progress_bar_enabled()
        assert hf_logging.is_progress_bar_enabled() is enabled
    finally:
        hf_logging.enable_progress_bar()
