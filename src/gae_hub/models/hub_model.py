"""Loading that checks, saving that writes a card: what models and samplers share on top of `PreTrainedModel`."""

__all__ = ["HubModel", "fetch_card", "fetch_file", "read_config"]

import hashlib
import json
import re
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from huggingface_hub import (
    _CACHED_NO_EXIST,
    create_branch,
    create_repo,
    hf_hub_download,
    is_offline_mode,
    try_to_load_from_cache,
)
from huggingface_hub.errors import LocalEntryNotFoundError, RemoteEntryNotFoundError, RevisionNotFoundError
from safetensors import SafetensorError, safe_open
from transformers import PreTrainedModel
from transformers.dynamic_module_utils import custom_object_save
from transformers.utils import cached_file

from .hub_errors import explained

CONFIG, WEIGHTS, INDEX = "config.json", "model.safetensors", "model.safetensors.index.json"
LARGEST_CONFIG = 1 << 20  # bytes
NO_SIZES = {"dataset_size"}  # fields of configs that may be larger than the weights
HARMLESS = 1 << 20  # a number of this size takes no memory to speak of before shapes are compared
# each adds weights of its own; so does each entry of a list whose name ends like these
REPEATS = {"num_blocks", "num_flows", "num_hidden_layers", "num_layers", "num_levels", "num_residual_blocks"}
LISTS_OF_LAYERS = ("sizes", "channels")


class HubModel(PreTrainedModel):
    """A `PreTrainedModel` that loads a checkpoint whole or not at all, reads no pickle, and keeps its card."""

    source = ("", {})  # where it was loaded from: a folder or repository, and the arguments that lead there

    def train(self, mode: bool = True):
        """As in PyTorch, and at once where all is so: trainers ask for it in each step."""
        return self if all(module.training is mode for module in self.modules()) else super().train(mode)

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path, *args, output_loading_info: bool = False, **kwargs):
        """Load a checkpoint from a folder or a Hub repository, as `PreTrainedModel` does, but all of it or not at all.

        Before any memory is taken, the sizes in config.json are compared with the weights, and downloaded files with
        the checksums of the Hub.

        Raises:
            ValueError: if the checkpoint is of another type, or its weights are not those of this model.
            OSError: if the weights are truncated or corrupt, nothing is found, or the Hub does not give it.
        """
        name = pretrained_model_name_or_path
        where = {key: kwargs[key] for key in ("cache_dir", "revision", "token", "subfolder") if kwargs.get(key)}
        kwargs["use_safetensors"] = True
        try:
            with explained("load", name, kwargs.get("token")):
                if kwargs.get("state_dict") is None:
                    options = {key: kwargs[key] for key in ("force_download", "local_files_only") if key in kwargs}
                    check_checkpoint(name, **where, **options)
                model, info = super().from_pretrained(name, *args, output_loading_info=True, **kwargs)
        except SafetensorError as error:
            raise OSError(
                f"the weights of '{name}' are truncated or corrupt ({error}); download or save them again"
            ) from error
        model.source = (str(Path(name).resolve()) if Path(name).is_dir() else str(name), where)
        return (model, info) if output_loading_info else model

    @classmethod
    def _load_pretrained_model(cls, model, state_dict, checkpoint_files, load_config, *args, **kwargs):
        """transformers calls this with a model that has no memory yet: its weights must be those of the files."""
        if checkpoint_files:
            there = shapes(checkpoint_files)
            here = {key: tuple(value.shape) for key, value in model.state_dict().items()}
            faults = [
                *(f"{key} is missing" for key in sorted(here.keys() - there.keys())),
                *(f"{key} is not expected" for key in sorted(there.keys() - here.keys())),
                *(
                    f"{key} has shape {there[key]} instead of {here[key]}"
                    for key in sorted(here.keys() & there.keys())
                    if there[key] != here[key] and not load_config.ignore_mismatched_sizes
                ),
            ]
            if faults:
                raise ValueError(
                    f"the weights of '{load_config.pretrained_model_name_or_path}' are not those of the "
                    f"{cls.__name__} in its config.json: "
                    + "; ".join(faults[:4])
                    + (f"; and {len(faults) - 4} more" if len(faults) > 4 else "")
                )
        return super()._load_pretrained_model(model, state_dict, checkpoint_files, load_config, *args, **kwargs)

    def save_pretrained(self, save_directory, **kwargs):
        """Write config.json, model.safetensors and, where gae_hub is installed, a model card.

        Files are written beside their places, and moved there once all are whole: a full disk, or a process that is
        killed, leaves what was there before.

        Raises:
            OSError: if the disk is full.
        """
        if not kwargs.get("is_main_process", True) or kwargs.get("push_to_hub"):
            super().save_pretrained(save_directory, **kwargs)
        else:
            folder = Path(save_directory)
            folder.mkdir(parents=True, exist_ok=True)
            with (
                explained("save to", folder),
                TemporaryDirectory(prefix=".saving-", dir=folder, ignore_cleanup_errors=True) as beside,
            ):
                self.save_networks(Path(beside))
                super().save_pretrained(beside, **kwargs)
                if find_spec("gae_hub") is not None:
                    import_module("gae_hub.hub.travel").close_folder(Path(beside))
                move_into(Path(beside), folder)
        if kwargs.get("is_main_process", True):
            self.write_card(save_directory)

    def save_networks(self, folder: Path):
        """Write the source of encoder and decoder, where these are a person's own that asked for it by
        `register_for_auto_class`; their configs name it, for a loading with `trust_remote_code=True`."""
        for role in ("encoder", "decoder"):
            network = getattr(self, role, None)
            if getattr(network, "_auto_class", None) is not None:
                custom_object_save(network, folder, config=getattr(self.config, f"{role}_config"))

    def push_to_hub(self, repo_id: str, *args, **kwargs):
        """Publish the model with its card in one commit, as `PreTrainedModel` does; errors say what to do."""
        with explained("publish to", repo_id, kwargs.get("token")):
            return super().push_to_hub(repo_id, *args, **kwargs)

    def _upload_modified_files(self, working_dir, repo_id, *args, **kwargs):
        # push_to_hub has just put a card over ours: its own, also where the repository's could not be read
        fetch_card(repo_id, working_dir, kwargs.get("token"), kwargs.get("revision"))
        self.write_card(working_dir, repo_id=repo_id, show=True)
        return super()._upload_modified_files(working_dir, repo_id, *args, **kwargs)

    def write_card(self, folder, **kwargs):
        """Let gae_hub.hub write README.md. A checkpoint's own copy of this code, without the library, writes none."""
        if find_spec("gae_hub") is not None:
            import_module("gae_hub.hub.cards").write_card(self, folder, **kwargs)


def move_into(source: Path, folder: Path):
    """Put whole files in their places; shards of an earlier model that had others go."""
    files = [path.relative_to(source) for path in source.rglob("*") if path.is_file()]
    for file in files:
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        (source / file).replace(folder / file)
    for old in (*folder.glob("model-*-of-*.safetensors"), folder / WEIGHTS, folder / INDEX):
        if old.relative_to(folder) not in files:
            old.unlink(missing_ok=True)


def shapes(files: list[str]) -> dict[str, tuple[int, ...]]:
    """Names and shapes of the tensors in safetensors files, from their headers."""
    found = {}
    for file in files:
        with safe_open(file, "pt") as weights:
            found.update({key: tuple(weights.get_slice(key).get_shape()) for key in weights.keys()})
    return found


def fetch_file(name: str | Path, file: str, subfolder: str | None = None, **where) -> Path | None:
    """One file of a folder or Hub repository; None only where it is known that there is no such file.

    Args:
        name: the folder or repository.
        file: its name.
        subfolder: where in it.
        **where: `cache_dir`, `force_download`, `local_files_only`, `revision` and `token`, as for a model.

    Raises:
        OSError: if the Hub does not answer, or gives no access. Without a connection what is in the cache is used,
            also that a file was not there.
    """
    if Path(name).is_dir():
        path = Path(name, subfolder or "", file)
        return path if path.is_file() else None
    with explained("load", name, where.get("token")):
        try:
            return Path(hf_hub_download(str(name), file, subfolder=subfolder or None, **where))
        except RemoteEntryNotFoundError:
            return None
        except LocalEntryNotFoundError:  # no answer, which says nothing of the file
            path = f"{subfolder}/{file}" if subfolder else file
            known = try_to_load_from_cache(str(name), path, where.get("cache_dir"), where.get("revision"))
            if known is _CACHED_NO_EXIST or where.get("local_files_only") or is_offline_mode():
                return None
            raise


def read_config(name: str | Path, **where) -> dict[str, Any]:
    """The content of a checkpoint's config.json, which anybody may have written; empty if there is none.

    Raises:
        ValueError: if it is too large, or no JSON object.
        OSError: if there is no such folder or repository, or the Hub does not give the file.
    """
    path = cached_file(name, CONFIG, **where)
    if path is None:
        return {}
    size = Path(path).stat().st_size
    if size > LARGEST_CONFIG:
        raise ValueError(f"{CONFIG} of '{name}' has {size:,} bytes, more than a config can need: it is not read")
    try:
        found = json.loads(Path(path).read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{CONFIG} of '{name}' is no JSON: {error}") from error
    if not isinstance(found, dict):
        raise ValueError(f"{CONFIG} of '{name}' must hold a JSON object, and holds a {type(found).__name__}")
    return found


def check_checkpoint(name: str | Path, **where):
    """Raise before a checkpoint is loaded that is damaged, or that asks for more than it has.

    Raises:
        ValueError: if the config has sizes that the weights cannot have, or the index names files elsewhere.
        OSError: if a file is not what the Hub's checksum says.
    """
    found = read_config(name, **where)
    weights = [fetch_file(name, WEIGHTS, **where)]
    if weights == [None]:
        index = fetch_file(name, INDEX, **where)
        if index is None:
            return  # transformers says what is missing
        shards = sorted(set(json.loads(index.read_text(encoding="utf-8")).get("weight_map", {}).values()))
        for shard in shards:
            if not re.fullmatch(r"[\w-][\w.-]*\.safetensors", str(shard)):
                raise ValueError(f"{INDEX} of '{name}' names '{shard}', which is no file of weights beside it")
        weights = [fetch_file(name, shard, **where) for shard in shards]
    weights = [file for file in weights if file is not None]
    for file in weights:
        check_checksum(name, file)
    count, size = len(shapes([str(file) for file in weights])), sum(file.stat().st_size for file in weights)
    for key, value in _numbers(found):
        if abs(value) > (count if key in REPEATS else max(size, HARMLESS)) and key not in NO_SIZES:
            raise ValueError(
                f"config.json of '{name}' asks for {key} = {value:,}, but its weights are {count} tensors in "
                f"{size:,} bytes: they do not belong together"
            )
    for key, value in _lists_of_layers(found):
        if len(value) > count:
            raise ValueError(
                f"config.json of '{name}' asks for {key} = {len(value):,} layers, but its weights are {count} "
                "tensors: they do not belong together"
            )


def _lists_of_layers(value, key: str = ""):
    """Every list in a config with an entry for each layer of a network, with its field."""
    if isinstance(value, dict):
        for inner, content in value.items():
            yield from _lists_of_layers(content, inner)
    elif isinstance(value, list) and key.endswith(LISTS_OF_LAYERS):
        yield key, value


def _numbers(value, key: str = ""):
    """Every whole number in a config, with the field that it is of."""
    if isinstance(value, dict):
        for inner, content in value.items():
            yield from _numbers(content, inner)
    elif isinstance(value, list):
        for content in value:
            yield from _numbers(content, key)
    elif isinstance(value, int):
        yield key, value


def check_checksum(name: str | Path, file: Path):
    """A file in the Hub's cache has the checksum for its name; one that has another is deleted.

    Raises:
        OSError: if the file has changed on its way here, or since.
    """
    blob = file.resolve()
    if blob.parent.name != "blobs" or not re.fullmatch(r"[0-9a-f]{64}", blob.name):
        return
    with blob.open("rb") as content:
        checksum = hashlib.file_digest(content, "sha256").hexdigest()
    if checksum != blob.name:
        blob.unlink()
        file.unlink(missing_ok=True)
        raise OSError(
            f"{file.name} of '{name}' is corrupt: its checksum is {checksum[:12]}..., and {blob.name[:12]}... on the "
            "Hub; it is deleted from the cache: load it again"
        )


def open_repository(
    repo_id: str, private: bool | None = None, token: str | bool | None = None, revision: str | None = None
) -> str:
    """The full name of a repository, which is made if it is new, as is the branch `revision`."""
    repo_id = create_repo(repo_id, private=private, token=token, exist_ok=True).repo_id
    if revision is not None and not revision.startswith("refs/"):  # a pull request is there, or is made by its commit
        create_branch(repo_id, branch=revision, token=token, exist_ok=True)
    return repo_id


def fetch_card(repo_id: str, folder: str | Path, token: str | bool | None = None, revision: str | None = None):
    """Put the card that a repository has into a folder, so that the next one keeps what a person wrote around it.

    Raises:
        OSError: if the Hub does not say what the card is; one that is in the cache may be an old one.
    """
    with explained("publish to", repo_id, token):
        try:
            card = hf_hub_download(repo_id, "README.md", token=token, revision=revision, force_download=True)
        except (RemoteEntryNotFoundError, RevisionNotFoundError):
            return  # a new repository, or a new branch
    (Path(folder) / "README.md").write_bytes(Path(card).read_bytes())
