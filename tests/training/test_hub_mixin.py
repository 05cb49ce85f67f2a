"""Pushes in the background. Pushes to a Hub are in tests/hub."""

from concurrent.futures import Future
from pathlib import Path

import pytest
from cases import images
from huggingface_hub.utils import filter_repo_objects
from trainers import make_trainer
from transformers.utils.hub import PushInProgress

from gae_hub.training import hub_mixin
from gae_hub.training.run_lock import LOCK_FILE


def test_a_failed_push_is_a_warning(tmp_path, caplog):
    trainer, failed, done = make_trainer(tmp_path), Future(), Future()
    failed.set_exception(OSError("no route to host"))
    done.set_result("commit")
    trainer.push_in_progress = PushInProgress([done, failed])
    trainer._finish_current_push()
    assert caplog.text.count("a push in the background failed (no route to host); push_to_hub() pushes") == 1


@pytest.mark.parametrize("always_push", [False, True])
def test_a_checkpoint_is_not_pushed_during_a_push_unless_asked(tmp_path, monkeypatch, always_push):
    pushed, running = [], Future()
    monkeypatch.setattr(hub_mixin, "upload_folder", lambda **kwargs: pushed.append(kwargs) or Future())
    trainer = make_trainer(tmp_path, hub_always_push=always_push)
    trainer.hub_model_id, trainer.push_in_progress = "alice/run", PushInProgress([running])
    trainer._push_from_checkpoint(str(tmp_path))
    assert len(pushed) == always_push and len(trainer.push_in_progress.jobs) == 1 + always_push
    running.set_result("commit")
    trainer.push_in_progress = PushInProgress([running])
    trainer._push_from_checkpoint(str(tmp_path))
    assert len(pushed) == 1 + always_push and running not in trainer.push_in_progress.jobs


def test_a_card_before_training_and_without_a_repository(tmp_path):
    make_trainer(tmp_path).create_model_card()
    assert "VAE with" in (tmp_path / "README.md").read_text()


def test_files_of_killed_runs_are_not_pushed(tmp_path, monkeypatch):
    class Api:
        def upload_folder(self, folder_path, ignore_patterns, **kwargs):
            files = {str(path.relative_to(folder_path)) for path in Path(folder_path).rglob("*") if path.is_file()}
            pushed.extend(filter_repo_objects(files, ignore_patterns=ignore_patterns))

    pushed = []
    monkeypatch.setattr("transformers.trainer.hf_api", Api)
    monkeypatch.setattr(hub_mixin, "fetch_card", lambda *args: None)
    trainer = make_trainer(tmp_path, data=images(8))
    monkeypatch.setattr(trainer.model, "write_card", lambda *args, **kwargs: None)
    trainer.hub_model_id = "alice/run"
    leftovers = tmp_path / ".saving-x" / "model.safetensors", tmp_path / "assets" / ".saving-y" / "loss.png"
    for file in leftovers:
        file.parent.mkdir(parents=True)
        file.touch()
    trainer.push_to_hub()
    assert "model.safetensors" in pushed and not any(".saving" in name for name in pushed)
    pushed.clear()
    leftovers[0].parent.mkdir(parents=True)
    (tmp_path / LOCK_FILE).touch()  # a training may be writing
    trainer.push_to_hub()
    assert LOCK_FILE not in pushed and leftovers[0].parent.is_dir()
