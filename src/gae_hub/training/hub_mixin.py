"""The part of `GAETrainer` that publishes on the Hub."""

__all__ = ["HubMixin"]

from pathlib import Path
from typing import Any, cast

from huggingface_hub import CommitInfo, upload_folder
from transformers.utils import logging
from transformers.utils.hub import PushInProgress

from ..core.hub_errors import explained
from ..core.hub_files import fetch_card
from .base_trainer import BaseTrainer
from .output_folder import delete_temporary_files
from .run_lock import LOCK_FILE

logger = logging.get_logger(__name__)

# files of a checkpoint that stay local
_NOT_PUSHED = [
    ".saving-*",
    "README.md",
    "optimizer*",
    "rng_state*",
    "run_cost*",
    "scaler*",
    "scheduler*",
    "training_weights*",
]


class HubMixin(BaseTrainer):
    """Pushes the model with gae_hub's own card. Errors say what to do."""

    def init_hf_repo(self, *args: Any, **kwargs: Any):
        """As in transformers.

        Raises:
            HubError: if the Hub fails; the message says what to do.
        """
        with explained("publish to", str(self.args.hub_model_id or self.args.output_dir), self.args.hub_token):
            super().init_hf_repo(*args, **kwargs)

    def push_to_hub(self, *args: Any, **kwargs: Any) -> CommitInfo:
        """As in transformers. After an error it can be called again.

        Raises:
            HubError: if the Hub fails; the message says what to do.
        """
        folder = Path(cast(str, self.args.output_dir))
        if self.args.should_save and not (folder / LOCK_FILE).exists():  # no training writes into the folder
            delete_temporary_files(folder)
        with explained("publish to", str(self.hub_model_id), self.args.hub_token):
            return super().push_to_hub(*args, **kwargs)

    def create_model_card(self, language: Any = None, license: str | None = None, *args: Any, **kwargs: Any):
        """Write gae_hub's card into output_dir, with the run so far.

        Args:
            language, *args, **kwargs: ignored; they are arguments of `Trainer.create_model_card`.
            license: license for the card, such as "mit", also as `push_to_hub(license="mit")`. See `model.license`.
        """
        if self.is_world_process_zero():
            model, folder = self.plain_model, cast(str, self.args.output_dir)
            repo_id: str | None = getattr(self, "hub_model_id", None)  # None if nothing is published
            model.license = license or model.license
            model.facts = model.facts or self.collect_facts()
            if repo_id is not None:
                fetch_card(repo_id, folder, self.args.hub_token, self.args.hub_revision)
            model.write_card(folder, repo_id=repo_id, show=True)

    def _push_from_checkpoint(self, checkpoint_folder: str):
        """Push the model of a checkpoint in the background, unless an earlier push is still running."""
        push = self.push_in_progress
        running_jobs: Any = [] if push is None or push.is_done() else push.jobs
        if (
            not self.is_world_process_zero()
            or self.args.hub_strategy == "end"
            or (running_jobs and not self.args.hub_always_push)
        ):
            return
        job = upload_folder(
            repo_id=cast(str, self.hub_model_id),
            folder_path=Path(checkpoint_folder),
            commit_message=f"Training in progress, step {self.state.global_step}",
            token=self.args.hub_token,
            run_as_future=True,
            revision=self.args.hub_revision,
            ignore_patterns=_NOT_PUSHED,
        )
        jobs: Any = [*running_jobs, job]  # annotated as one Future in transformers
        self.push_in_progress = PushInProgress(jobs)

    def _finish_current_push(self):
        super()._finish_current_push()
        push: Any = getattr(self, "push_in_progress", None)
        for job in push.jobs if push is not None else ():
            if job.done() and job.exception() is not None:
                logger.warning(
                    f"a push in the background failed ({job.exception()}); push_to_hub() pushes the model again"
                )
