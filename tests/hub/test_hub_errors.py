"""Failures of the network, the Hub and the disk: the errors that are raised, and what is left unchanged."""

import re
from pathlib import Path

import pytest
import torch
from cases import VAE, generator, images
from huggingface_hub import HfApi
from localhub import point_clients_at
from safetensors import SafetensorError

from gae_hub import (
    AutoGAE,
    AutoSampler,
    GAEImageProcessor,
    GAETrainer,
    GAETrainingArguments,
    GaussianMixtureSampler,
    GenerationPipeline,
    RepresentationAEConfig,
    RepresentationAEModel,
)
from gae_hub.core.checkpoint_checks import check_checkpoint
from gae_hub.core.hub_errors import HubError
from gae_hub.spaces.explorer_loading import model_folder

X = images(4)


@pytest.fixture(scope="module")
def published(hub, tmp_path_factory):
    """A model, published as alice/vae."""
    with point_clients_at(hub, tmp_path_factory.mktemp("home"), token="hf_alice"):
        GenerationPipeline(VAE.build().eval()).push_to_hub("alice/vae")
    return VAE.build().eval()


def fitted_sampler():
    return GaussianMixtureSampler(num_components=2).fit(torch.randn(20, 3, generator=generator()))


def cached_weights(home: Path) -> list[Path]:
    return [path for path in home.rglob("*") if path.is_file() and path.stat().st_size > 5000]


# Loading


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ({"action": "status", "status": 503}, r"the Hub is unavailable \(503\); try again"),
        ({"action": "cut", "after_bytes": 500, "mode": "rst"}, "the connection to the Hub broke .*; try again"),
        ({"action": "corrupt"}, "is corrupt: its SHA-256 is .*; it was deleted from the cache, so load it again"),
    ],
    ids=lambda value: value.get("action") if isinstance(value, dict) else "",
)
def test_failed_downloads_leave_nothing_in_the_cache(hub, machine, published, tmp_path, fault, message):
    with machine(token=False):
        hub.fault(match="GET .*safetensors", times=1, **fault)
        with pytest.raises(OSError, match=message):
            AutoGAE.from_pretrained("alice/vae")
        assert not cached_weights(tmp_path)
        loaded = AutoGAE.from_pretrained("alice/vae")
    assert torch.equal(loaded.embed(X), published.embed(X))


def test_a_busy_hub_is_asked_again(hub, machine, published):
    with machine(token=False):
        hub.fail_next(1, status=429, retry_after=0, match="GET .*safetensors")
        hub.fail_next(1, status=503, match="HEAD .*config.json")
        assert torch.equal(AutoGAE.from_pretrained("alice/vae").embed(X), published.embed(X))


def test_a_failing_hub_is_never_a_missing_file(hub, machine, no_waiting):
    """Loading raises if the Hub cannot say whether a file exists."""
    with machine():
        GenerationPipeline(VAE.build(), fitted_sampler()).push_to_hub("alice/parts")
    for file in ("sampler/config.json", "preprocessor_config.json", "model.safetensors"):
        with machine(token=False):
            hub.fail_next(None, status=503, match=f"HEAD .*{file}")
            with pytest.raises(HubError, match=r"cannot load 'alice/parts': the Hub is unavailable \(503\)"):
                GenerationPipeline.from_pretrained("alice/parts")
            if file == "model.safetensors":
                with pytest.raises(HubError, match=r"\(503\)"):
                    check_checkpoint("alice/parts")
            hub.clear_faults()
            assert GenerationPipeline.from_pretrained("alice/parts").sampler is not None


def test_the_cache_is_used_without_a_hub(hub, machine, published, no_waiting, monkeypatch):
    """It also records that there is no sampler."""

    def load(**options):
        pipe = GenerationPipeline.from_pretrained("alice/vae", **options)
        assert pipe.sampler is None and torch.equal(pipe.model.embed(X), published.embed(X))

    with machine(token=False):
        load()
        hub.fail_next(None, status=503)
        load()
        hub.clear_faults()
        load(local_files_only=True)
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
        load()


def test_a_model_that_is_not_in_the_cache(machine, monkeypatch):
    """The message names the model, and that the Hub was not asked."""
    with machine(token=False):
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
        expected = "in the cache, and the Hub is not asked in offline mode: unset HF_HUB_OFFLINE, or check the name"
        for load in (AutoGAE.from_pretrained, AutoGAE.from_diffusers):
            with pytest.raises(OSError, match=f"'alice/none' has no config.json {expected}"):
                load("alice/none")
        vision = {"model_type": "vision", "model_name_or_path": "alice/dinov2"}
        with pytest.raises(HubError, match=f"cannot load 'alice/dinov2': it is not {expected}"):
            RepresentationAEModel(RepresentationAEConfig(input_shape=(3, 32, 32), encoder_config=vision))
        with pytest.raises(HubError, match=f"cannot load 'alice/none': it is not {expected}"):
            model_folder("alice/none")


def test_a_model_that_is_not_in_the_cache_with_local_files_only(hub, machine):
    expected = "in the cache, and the Hub is not asked with local_files_only=True: leave it out, or check the name"
    with machine(token=False):
        for load in (AutoGAE.from_pretrained, AutoGAE.from_diffusers):
            with pytest.raises(OSError, match=f"'alice/none' has no config.json {expected}"):
                load("alice/none", local_files_only=True)


def test_a_missing_subfolder(tmp_path, published):
    published.save_pretrained(tmp_path)
    with pytest.raises(OSError, match=r"has no sampler/config.json, so no checkpoint is there"):
        AutoSampler.from_pretrained(tmp_path, subfolder="sampler")


def test_a_wrong_token(hub, machine, published):
    with (
        machine(token="hf_wrong"),
        pytest.raises(HubError, match=r"does not accept this token \(401\); create a new one"),
    ):
        AutoGAE.from_pretrained("alice/vae")


# Publishing


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (
            {"action": "status", "status": 503, "match": "/commit/"},
            r"unavailable \(503\); nothing was published",
        ),
        ({"action": "status", "status": 503, "match": "repos/create"}, r"unavailable \(503\)"),
        (
            {"action": "status", "status": 429, "retry_after": 30, "match": "repos/create"},
            r"too many requests \(429\); .* in 30 s",
        ),
        ({"action": "lfs_reject", "match": "objects/batch"}, "rejected a large file .*run it again"),
        ({"action": "lose_response", "match": "/commit/"}, "may not have succeeded; run it again, which is safe"),
        ({"action": "drop", "match": "/commit/"}, "may not have succeeded; run it again|connection to the Hub broke"),
    ],
    ids=["commit-503", "create-503", "create-429", "lfs", "lost-answer", "dropped"],
)
@pytest.mark.parametrize("what", ["pipeline", "model"])
def test_a_failed_push_can_be_repeated(hub, machine, fault, message, what, request):
    model = VAE.build().eval()
    model.head.bias.data += torch.tensor(len(hub.repos))  # weights that are not on the hub yet
    repo_id = "alice/" + re.sub(r"\W", "-", request.node.name).strip("-")
    push = GenerationPipeline(model).push_to_hub if what == "pipeline" else model.push_to_hub
    with machine():
        hub.fault(**fault)
        with pytest.raises(HubError, match=f"cannot publish to '{repo_id}': .*{message}"):
            push(repo_id)
        hub.clear_faults()
        if fault["action"] not in ("lose_response", "drop") and "create" not in fault.get("match", ""):
            assert "config.json" not in hub.files(repo_id)
        push(repo_id)
    with machine(token=False):
        assert torch.equal(AutoGAE.from_pretrained(repo_id).embed(X), model.embed(X))


def test_publishing_in_offline_mode(machine, monkeypatch):
    with machine():
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
        for push in (
            VAE.build().push_to_hub,
            fitted_sampler().push_to_hub,
            GenerationPipeline(VAE.build()).push_to_hub,
        ):
            expected = "offline mode is set: unset HF_HUB_OFFLINE; nothing was published, so run it again"
            with pytest.raises(HubError, match=f"cannot publish to 'alice/offline': {expected}"):
                push("alice/offline")


@pytest.mark.parametrize(
    ("token", "message"),
    [
        (False, r"a token is required \(401\); run `hf auth login`"),
        ("hf_wrong", r"does not accept this token \(401\); create a new one"),
        ("hf_readonly", r"\(403: You must use a write token\); it needs the role 'write'"),
        ("hf_bob", r"\(403: You don't have the rights to write under the namespace 'alice'\)"),
    ],
    ids=["none", "wrong", "read-only", "other-user"],
)
def test_pushing_without_permission(hub, machine, published, token, message):
    before = len(hub.log("alice/vae"))
    for push in (GenerationPipeline(VAE.build()).push_to_hub, VAE.build().push_to_hub):
        with machine(token=token), pytest.raises(HubError, match=message):
            push("alice/vae")
    for options in ({}, {"subfolder": "sampler"}):
        with machine(token=token), pytest.raises(HubError, match=message):
            fitted_sampler().push_to_hub("alice/vae", **options)
    assert len(hub.log("alice/vae")) == before


@pytest.mark.parametrize("what", ["model", "sampler", "pipeline", "processor"])
def test_a_card_that_cannot_be_read_is_not_overwritten(hub, machine, no_waiting, what):
    """The cached card, which is outdated, is not used instead."""
    pushed = {
        "model": VAE.build,
        "sampler": fitted_sampler,
        "pipeline": lambda: GenerationPipeline(VAE.build()),
        "processor": lambda: GAEImageProcessor((1, 8, 8)),
    }[what]()
    repo_id = f"alice/notes-on-{what}"
    with machine():
        for _ in range(2):
            pushed.push_to_hub(repo_id)
        hub.commit(repo_id, {"README.md": hub.read(repo_id, "README.md") + b"\n\nMy own notes.\n"})
        before = len(hub.log(repo_id))
        hub.fail_next(None, status=503, match="README.md")
        with pytest.raises(HubError, match=rf"cannot publish to '{repo_id}': the Hub is unavailable \(503\)"):
            pushed.push_to_hub(repo_id)
        assert len(hub.log(repo_id)) == before
        hub.clear_faults()
        pushed.push_to_hub(repo_id)
    assert b"My own notes." in hub.read(repo_id, "README.md")


def test_a_trainer_can_push_again_after_a_failure(hub, machine, tmp_path):
    args = GAETrainingArguments(
        str(tmp_path / "run"), num_train_epochs=1, push_to_hub=True, hub_model_id="alice/run", disable_tqdm=True
    )
    with machine():
        hub.fail_next(1, status=503, match="repos/create")
        with pytest.raises(HubError, match=r"cannot publish to 'alice/run': the Hub is unavailable \(503\)"):
            GAETrainer(VAE.build(), args, train_dataset=images(20))
        trainer = GAETrainer(VAE.build(), args, train_dataset=images(20))
        hub.fail_next(None, status=503, match="/commit/")
        with pytest.raises(HubError, match="cannot publish to 'alice/run'"):
            trainer.train()
        hub.clear_faults()
        trainer.push_to_hub()
    with machine(token=False):
        assert torch.equal(AutoGAE.from_pretrained("alice/run").embed(X), trainer.model.eval().embed(X))


def test_a_moved_repository(hub, machine):
    model = VAE.build().eval()
    with machine():
        model.push_to_hub("alice/old")
        HfApi().move_repo("alice/old", "alice/new")
    with machine():
        assert torch.equal(AutoGAE.from_pretrained("alice/old").embed(X), model.embed(X))
        GenerationPipeline(model).push_to_hub("alice/new")
    assert "preprocessor_config.json" in hub.files("alice/new")


# The disk


def write_to_full_disk(tensors, path, *args, **kwargs):
    """Replaces the writer of safetensors: the disk becomes full while it writes."""
    Path(path).write_bytes(b"\0" * 100)
    raise SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")


def test_a_full_disk_leaves_existing_files_unchanged(tmp_path, monkeypatch):
    first, second = VAE.build().eval(), VAE.build(latent_dim=5).eval()
    first.save_pretrained(tmp_path)
    monkeypatch.setattr("transformers.modeling_utils.safe_save_file", write_to_full_disk)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    with pytest.raises(HubError, match="the disk is full; existing files are unchanged"):
        second.save_pretrained(tmp_path)
    assert before == {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    assert torch.equal(AutoGAE.from_pretrained(tmp_path).embed(X), first.embed(X))
    with pytest.raises(HubError, match="the disk is full"):
        second.save_pretrained(tmp_path / "new")
    assert not list((tmp_path / "new").iterdir())


def test_sharded_and_single_weights_replace_each_other(tmp_path):
    large, small = VAE.build().eval(), VAE.build(latent_dim=5).eval()
    large.save_pretrained(tmp_path, max_shard_size="4KB")
    assert len(list(tmp_path.glob("model-*-of-*.safetensors"))) > 1
    assert torch.equal(AutoGAE.from_pretrained(tmp_path).embed(X), large.embed(X))
    small.save_pretrained(tmp_path)
    assert [path.name for path in tmp_path.glob("model*")] == ["model.safetensors"]
    assert torch.equal(AutoGAE.from_pretrained(tmp_path).embed(X), small.embed(X))
