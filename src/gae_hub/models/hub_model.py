"""Loading that checks, saving that writes a card: what models and samplers share on top of `PreTrainedModel`."""

__all__ = ["HubModel"]

from importlib import import_module
from importlib.util import find_spec

from safetensors import SafetensorError
from transformers import PreTrainedModel


class HubModel(PreTrainedModel):
    """A `PreTrainedModel` that refuses a checkpoint it cannot load whole, and whose card survives a push."""

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path, *args, output_loading_info: bool = False, **kwargs):
        """Load a checkpoint from a folder or a Hub repository, as `PreTrainedModel` does, but all of it or not at all.

        Raises:
            ValueError: if the checkpoint is of another type, or its weights are not those of this model.
            OSError: if the weights are truncated or corrupt, or nothing is found.
        """
        name = pretrained_model_name_or_path
        tolerant = kwargs.pop("ignore_mismatched_sizes", False)
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
