"""Loading that checks, saving that writes a card: what models and samplers share on top of `PreTrainedModel`."""

__all__ = ["HubModel", "fetch_card"]

from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

from huggingface_hub import hf_hub_download
from huggingface_hub.errors import EntryNotFoundError, RevisionNotFoundError
from safetensors import SafetensorError
from transformers import PreTrainedModel


class HubModel(PreTrainedModel):
    """A `PreTrainedModel` that loads a checkpoint whole or not at all, reads no pickle, and keeps its card."""

    source = ("", {})  # where it was loaded from: a folder or repository, and the arguments that lead there

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path, *args, output_loading_info: bool = False, **kwargs):
        """Load a checkpoint from a folder or a Hub repository, as `PreTrainedModel` does, but all of it or not at all.

        Raises:
            ValueError: if the checkpoint is of another type, or its weights are not those of this model.
            OSError: if the weights are truncated or corrupt, or nothing is found.
        """
        name = pretrained_model_name_or_path
        tolerant = kwargs.pop("ignore_mismatched_sizes", False)
        kwargs["use_safetensors"] = True
        try:
            model, info = super().from_pretrained(
                name, *args, output_loading_info=True, ignore_mismatched_sizes=True, **kwargs
            )
        except SafetensorError as error:
            raise OSError(
                f"the weights of '{name}' are truncated or corrupt ({error}); download or save them again"
            ) from error
        faults = [
            *(f"{key} is missing" for key in sorted(info["missing_keys"])),
            *(f"{key} is not expected" for key in sorted(info["unexpected_keys"])),
            *(
                f"{key} has shape {tuple(there)} instead of {tuple(here)}"
                for key, there, here in sorted(info["mismatched_keys"])
                if not tolerant
            ),
        ]
        if faults:
            raise ValueError(
                f"the weights of '{name}' are not those of the {cls.__name__} in its config.json: "
                + "; ".join(faults[:4])
                + (f"; and {len(faults) - 4} more" if len(faults) > 4 else "")
            )
        where = {key: kwargs[key] for key in ("cache_dir", "revision", "token", "subfolder") if kwargs.get(key)}
        model.source = (str(Path(name).resolve()) if Path(name).is_dir() else str(name), where)
        return (model, info) if output_loading_info else model

    def save_pretrained(self, save_directory, **kwargs):
        """Write config.json, model.safetensors and, where gae_hub is installed, a model card."""
        super().save_pretrained(save_directory, **kwargs)
        if kwargs.get("is_main_process", True):
            self.write_card(save_directory)

    def _upload_modified_files(self, working_dir, repo_id, *args, **kwargs):
        self.write_card(working_dir, repo_id=repo_id)  # push_to_hub has just put a card of its own over ours
        return super()._upload_modified_files(working_dir, repo_id, *args, **kwargs)

    def write_card(self, folder, **kwargs):
        """Let gae_hub.hub write README.md. A checkpoint's own copy of this code, without the library, writes none."""
        if find_spec("gae_hub") is not None:
            import_module("gae_hub.hub.cards").write_card(self, folder, **kwargs)


def fetch_card(repo_id: str, folder: str | Path, token: str | bool | None = None, revision: str | None = None):
    """Put the card that a repository has into a folder, so that the next one keeps what a person wrote around it."""
    try:
        card = hf_hub_download(repo_id, "README.md", token=token, revision=revision)
    except (EntryNotFoundError, RevisionNotFoundError):
        return  # a new repository, or a new branch
    (Path(folder) / "README.md").write_bytes(Path(card).read_bytes())
