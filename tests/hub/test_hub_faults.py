"""What goes wrong on the way to the Hub and back, and repositories that mean harm."""

import json
import re
import resource
import subprocess
import sys
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest
import torch
from cases import VAE, generator, images
from huggingface_hub import HfApi
from localhub import LocalHub, point_clients_at
from safetensors import SafetensorError

from gae_hub import (
    AutoGAE,
    AutoSampler,
    EmpiricalSampler,
    GAEImageProcessor,
    GAETrainer,
    GAETrainingArguments,
    GaussianMixtureSampler,
    GenerationPipeline,
    MAFSampler,
    PixelCNNSampler,
    TwoStageVAESampler,
    VAEModel,
)
from gae_hub.core.checkpoint_checks import check_checkpoint
from gae_hub.core.hub_errors import HubError

X = images(4)


@pytest.fixture(scope="module")
def hub():
    with LocalHub(users={"alice": {"token": "hf_alice"}, "bob": "hf_bob"}) as server:
        server.add_user("alice", "hf_readonly", role="read")
        yield server


@pytest.fixture
def machine(hub, tmp_path):
    """Be somebody, on a machine that has never seen the Hub; faults end with the test."""
    count = iter(range(100))

    @contextmanager
    def fresh(token="hf_alice"):
        with point_clients_at(hub, tmp_path / f"home-{next(count)}", token=token):
            yield

    yield fresh
    hub.clear_faults()


@pytest.fixture(scope="module")
def published(hub, tmp_path_factory):
    with point_clients_at(hub, tmp_path_factory.mktemp("home"), token="hf_alice"):
        GenerationPipeline(VAE.build().eval()).push_to_hub("alice/vae")
    return VAE.build().eval()


@pytest.fixture
def impatient(monkeypatch):
    """huggingface_hub asks again at once, in place of after 23 seconds in all."""
    monkeypatch.setattr("huggingface_hub.utils._http.time.sleep", lambda seconds: None)


def fitted_sampler():
    return GaussianMixtureSampler(num_components=2).fit(torch.randn(20, 3, generator=generator()))


def weights_in(home: Path) -> list[Path]:
    return [path for path in home.rglob("*") if path.is_file() and path.stat().st_size > 5000]


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ({"action": "status", "status": 503}, r"the Hub is out of order for now \(503\); try again"),
        ({"action": "cut", "after_bytes": 500, "mode": "rst"}, "the connection to the Hub broke .*; try again"),
        ({"action": "corrupt"}, "is corrupt: its SHA-256 is .*; it was deleted from the cache, so load it again"),
    ],
    ids=lambda value: value.get("action") if isinstance(value, dict) else "",
)
def test_a_download_that_fails(hub, machine, published, tmp_path, fault, message):
    with machine(token=False):
        action = fault["action"]
        hub.fault(match="GET .*safetensors", times=1, **fault)
        with pytest.raises(OSError, match=message):
            AutoGAE.from_pretrained("alice/vae")
        assert not weights_in(tmp_path), action
        again = AutoGAE.from_pretrained("alice/vae")
    assert torch.equal(again.embed(X), published.embed(X))


def test_a_busy_hub_is_waited_for(hub, machine, published):
    with machine(token=False):
        hub.fail_next(1, status=429, retry_after=0, match="GET .*safetensors")
        hub.fail_next(1, status=503, match="HEAD .*config.json")
        assert torch.equal(AutoGAE.from_pretrained("alice/vae").embed(X), published.embed(X))


def test_a_broken_answer_is_no_missing_file(hub, machine, impatient):
    """Nothing is left out of what is loaded because the Hub could not say whether it is there."""
    with machine():
        GenerationPipeline(VAE.build(), fitted_sampler()).push_to_hub("alice/parts")
    for file in ("sampler/config.json", "preprocessor_config.json", "model.safetensors"):
        with machine(token=False):
            hub.fail_next(None, status=503, match=f"HEAD .*{file}")
            with pytest.raises(HubError, match=r"cannot load 'alice/parts': the Hub is out of order for now \(503\)"):
                GenerationPipeline.from_pretrained("alice/parts")
            if file == "model.safetensors":
                with pytest.raises(HubError, match=r"\(503\)"):
                    check_checkpoint("alice/parts")
            hub.clear_faults()
            assert GenerationPipeline.from_pretrained("alice/parts").sampler is not None


def test_the_cache_is_enough_where_there_is_no_hub(hub, machine, published, impatient, monkeypatch):
    """It also knows that there was no sampler."""

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


def test_a_wrong_token_is_named(hub, machine, published):
    with machine(token="hf_wrong"), pytest.raises(HubError, match=r"does not know this token \(401\): make a new one"):
        AutoGAE.from_pretrained("alice/vae")


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (
            {"action": "status", "status": 503, "match": "/commit/"},
            r"out of order for now \(503\); nothing is published",
        ),
        ({"action": "status", "status": 503, "match": "repos/create"}, r"out of order for now \(503\)"),
        ({"action": "status", "status": 429, "retry_after": 30, "match": "repos/create"}, r"\(429\): .* in 30 s"),
        ({"action": "lfs_reject", "match": "objects/batch"}, "has refused a large file .*run it again"),
        ({"action": "lose_response", "match": "/commit/"}, "may be done or not; run it again, which is safe"),
        ({"action": "drop", "match": "/commit/"}, "may be done or not; run it again|connection to the Hub broke"),
    ],
    ids=["commit-503", "create-503", "create-429", "lfs", "lost-answer", "dropped"],
)
@pytest.mark.parametrize("what", ["pipeline", "model"])
def test_a_push_that_fails_can_be_run_again(hub, machine, fault, message, what, request):
    model = VAE.build().eval()
    model.head.bias.data += torch.tensor(len(hub.repos))  # no weights that the Hub has already
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


@pytest.mark.parametrize(
    ("token", "message"),
    [
        (False, r"needs a token, and there is none \(401\): run `hf auth login`"),
        ("hf_wrong", r"does not know this token \(401\): make a new one"),
        ("hf_readonly", r"\(403: You must use a write token\): it needs the role 'write'"),
        ("hf_bob", r"\(403: You don't have the rights to write under the namespace 'alice'\)"),
    ],
)
def test_pushing_without_the_right_to(hub, machine, published, token, message):
    before = len(hub.log("alice/vae"))
    for push in (GenerationPipeline(VAE.build()).push_to_hub, VAE.build().push_to_hub):
        with machine(token=token), pytest.raises(HubError, match=message):
            push("alice/vae")
    for options in ({}, {"subfolder": "sampler"}):
        with machine(token=token), pytest.raises(HubError, match=message):
            fitted_sampler().push_to_hub("alice/vae", **options)
    assert len(hub.log("alice/vae")) == before


@pytest.mark.parametrize("what", ["model", "sampler", "pipeline", "processor"])
def test_a_card_that_cannot_be_read_is_not_written_over(hub, machine, impatient, what):
    """Neither is one in the cache, which is older, taken for it."""
    pushed = {
        "model": VAE.build,
        "sampler": fitted_sampler,
        "pipeline": lambda: GenerationPipeline(VAE.build()),
        "processor": lambda: GAEImageProcessor((1, 8, 8)),
    }[what]()
    repo_id = f"alice/words-on-{what}"
    with machine():
        for _ in range(2):
            pushed.push_to_hub(repo_id)
        hub.commit(repo_id, {"README.md": hub.read(repo_id, "README.md") + b"\n\nMy own words.\n"})
        before = len(hub.log(repo_id))
        hub.fail_next(None, status=503, match="README.md")
        with pytest.raises(HubError, match=rf"cannot publish to '{repo_id}': the Hub is out of order for now \(503\)"):
            pushed.push_to_hub(repo_id)
        assert len(hub.log(repo_id)) == before
        hub.clear_faults()
        pushed.push_to_hub(repo_id)
    assert b"My own words." in hub.read(repo_id, "README.md")


def test_a_trainer_that_cannot_push_can_push_again(hub, machine, tmp_path):
    args = GAETrainingArguments(
        str(tmp_path / "run"), num_train_epochs=1, push_to_hub=True, hub_model_id="alice/run", disable_tqdm=True
    )
    with machine():
        hub.fail_next(1, status=503, match="repos/create")
        with pytest.raises(HubError, match=r"cannot publish to 'alice/run': the Hub is out of order for now \(503\)"):
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


class FullDisk:
    """safetensors' writer on a disk that has room for half of the file."""

    def __call__(self, tensors, path, *args, **kwargs):
        Path(path).write_bytes(b"\0" * 100)
        raise SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")


def test_a_full_disk_leaves_what_was_there(tmp_path, monkeypatch):
    first, second = VAE.build().eval(), VAE.build(latent_dim=5).eval()
    first.save_pretrained(tmp_path)
    monkeypatch.setattr("transformers.modeling_utils.safe_save_file", FullDisk())
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    with pytest.raises(HubError, match="the disk is full; what was there before is unchanged"):
        second.save_pretrained(tmp_path)
    assert before == {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    assert torch.equal(AutoGAE.from_pretrained(tmp_path).embed(X), first.embed(X))
    with pytest.raises(HubError, match="the disk is full"):
        second.save_pretrained(tmp_path / "new")
    assert not list((tmp_path / "new").iterdir())


def test_a_model_in_shards_and_one_without_take_each_others_place(tmp_path):
    large, small = VAE.build().eval(), VAE.build(latent_dim=5).eval()
    large.save_pretrained(tmp_path, max_shard_size="4KB")
    assert len(list(tmp_path.glob("model-*-of-*.safetensors"))) > 1
    assert torch.equal(AutoGAE.from_pretrained(tmp_path).embed(X), large.embed(X))
    small.save_pretrained(tmp_path)
    assert [path.name for path in tmp_path.glob("model*")] == ["model.safetensors"]
    assert torch.equal(AutoGAE.from_pretrained(tmp_path).embed(X), small.embed(X))


# Repositories that mean harm


def edit(path: Path, change):
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


@pytest.fixture
def checkpoint(tmp_path):
    VAE.build().save_pretrained(tmp_path / "model")
    return tmp_path / "model"


class Bomb:
    def __reduce__(self):
        return Path.touch, (Path("exploded"),)


def test_a_pickle_bomb(checkpoint, monkeypatch):
    monkeypatch.chdir(checkpoint)
    (checkpoint / "model.safetensors").unlink()
    for name in ("pytorch_model.bin", "training_args.bin", "model.pt", "encoder.pkl"):
        torch.save(Bomb(), checkpoint / name)
    for load in (AutoGAE.from_pretrained, VAEModel.from_pretrained, GenerationPipeline.from_pretrained):
        with pytest.raises(OSError, match="model.safetensors"):
            load(checkpoint)
    assert not (checkpoint / "exploded").exists()


def sampler_of(cls, **fields):
    """One with its initial state, as if it were fitted."""
    return cls(**{"latent_dim": 3, "latent_shape": [3], **fields})


CODES = {"latent_dim": 12, "latent_shape": [3, 2, 2], "num_embeddings": 5, "code_shape": [2, 2], "hidden_size": 4}
FLOW = partial(sampler_of, MAFSampler, hidden_size=4)
HUGE = [
    ("latent_dim", VAE.build, lambda c: c.update(latent_dim=10**12)),
    ("input_shape", VAE.build, lambda c: c.update(input_shape=[1, 10**9, 10**9])),
    ("hidden_sizes", VAE.build, lambda c: c["encoder_config"].update(hidden_sizes=[10**12])),
    ("latent_dim", VAE.build, lambda c: c.update(latent_dim=10**6)),
    ("hidden_sizes", VAE.build, lambda c: c["decoder_config"].update(hidden_sizes=[10**6] * 2)),
    ("hidden_sizes", VAE.build, lambda c: c["decoder_config"].update(hidden_sizes=[1] * 10_000)),
    ("channels", VAE.build, lambda c: c.update(encoder_config={"model_type": "conv", "channels": [1] * 10_000})),
    (
        "num_residual_blocks",
        VAE.build,
        lambda c: c.update(encoder_config={"model_type": "resnet", "num_residual_blocks": 10**6}),
    ),
    ("num_flows", FLOW, lambda c: c.update(num_flows=10**6)),
    ("num_hidden_layers", FLOW, lambda c: c.update(num_hidden_layers=10**6)),
    ("hidden_size", FLOW, lambda c: c.update(hidden_size=10**6)),
    ("num_hidden_layers", partial(sampler_of, PixelCNNSampler, **CODES), lambda c: c.update(num_hidden_layers=10**6)),
    ("hidden_sizes", partial(sampler_of, TwoStageVAESampler), lambda c: c.update(hidden_sizes=[1] * 10_000)),
    ("num_latents", partial(sampler_of, EmpiricalSampler, num_latents=2), lambda c: c.update(num_latents=10**12)),
]


def test_enormous_sizes_take_no_memory(tmp_path):
    """In a process that may have 2 GB more than torch needs."""
    for number, (_, build, change) in enumerate(HUGE):
        build().save_pretrained(tmp_path / str(number))
        edit(tmp_path / str(number) / "config.json", change)
    code = f"""
import resource, sys, time
from pathlib import Path
from gae_hub import AutoGAE, AutoSampler
used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + (2 << 30),) * 2)
for number in range({len(HUGE)}):
    start = time.perf_counter()
    folder = Path(r"{tmp_path}") / str(number)
    kind = AutoSampler if "_sampler" in (folder / "config.json").read_text() else AutoGAE
    try:
        kind.from_pretrained(folder)
    except ValueError as error:
        assert time.perf_counter() - start < 10
        print(str(error).replace(chr(10), " "))
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)
"""
    process = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=100)
    assert process.returncode == 0, process.stderr
    *messages, _ = process.stdout.splitlines()
    assert len(messages) == len(HUGE)
    for (field, _, _), message in zip(HUGE, messages, strict=True):
        assert f"config.json has {field} " in message or re.search("do not fit the .* in its config.json", message)


def test_layers_are_counted(checkpoint):
    edit(checkpoint / "config.json", lambda c: c["decoder_config"].update(hidden_sizes=[1] * 10_000))
    with pytest.raises(ValueError, match="has hidden_sizes with 10,000 layers, but the weights are 8 tensors"):
        AutoGAE.from_pretrained(checkpoint)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (lambda text: text + " " * (1 << 21), r"has 2,09\d,\d+ bytes, but a config has at most 1,048,576"),
        (lambda text: "[" * 100_000, "is not valid JSON"),
        (lambda text: "{" + text, "is not valid JSON"),
        (lambda text: "[]", "must hold a JSON object, got a list"),
    ],
    ids=["long", "deep", "broken", "list"],
)
def test_a_config_that_is_none(checkpoint, content, message):
    path = checkpoint / "config.json"
    path.write_text(content(path.read_text()))
    for load in (AutoGAE.from_pretrained, AutoSampler.from_pretrained, VAEModel.from_pretrained):
        with pytest.raises(ValueError, match=message):
            load(checkpoint)


def test_an_index_that_points_elsewhere(checkpoint, tmp_path):
    (checkpoint / "model.safetensors").replace(tmp_path / "secret.safetensors")
    for place in (
        "../secret.safetensors",
        str(tmp_path / "secret.safetensors"),
        "..\\secret.safetensors",
        ".safetensors",
    ):
        index = {"metadata": {}, "weight_map": {"head.bias": place}}
        (checkpoint / "model.safetensors.index.json").write_text(json.dumps(index))
        with pytest.raises(ValueError, match="which is not a safetensors file in its folder"):
            AutoGAE.from_pretrained(checkpoint)


def header(entry: dict, length: int | None = None) -> bytes:
    text = json.dumps({"head.bias": entry}).encode()
    return (length or len(text)).to_bytes(8, "little") + text + b"\0" * 24


@pytest.mark.parametrize(
    "content",
    [
        header({"dtype": "F32", "shape": [10**12], "data_offsets": [0, 4 * 10**12]}),
        header({"dtype": "F32", "shape": [6], "data_offsets": [0, 4 * 10**12]}),
        header({"dtype": "F32", "shape": [6], "data_offsets": [-24, 24]}),
        header({"dtype": "F32", "shape": [6], "data_offsets": [0, 24]}, 2**63 - 1),
        header({"dtype": "F32", "shape": [6], "data_offsets": [0, 24]}, 10**9),
        header({"dtype": "F99", "shape": [6], "data_offsets": [0, 24]}),
    ],
    ids=["shape", "offsets", "negative", "length", "longer-than-the-file", "dtype"],
)
def test_a_header_that_lies(checkpoint, content):
    (checkpoint / "model.safetensors").write_bytes(content)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(OSError, match="are truncated or corrupt"):
        AutoGAE.from_pretrained(checkpoint)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200 * 1024  # KB


def test_a_card_does_not_take_over_the_text_of_others(checkpoint):
    bad = "<img src=x onerror=alert(1)>`|[a](javascript:b)\n# Title"
    facts = {
        "dataset": bad,
        "revision": bad,
        "num_train_images": 1,
        "arguments": {bad: bad},
        "environment": {bad: bad},
        "imported": {"from": bad, "notes": [bad]},
        "log": [{"epoch": 1, "step": 1, "loss": 1.0, bad: 2.0}],
        "num_processes": 1,
        "steps": 1,
        "seconds": 1,
        "best_step": None,
        "results": {"dataset": bad, "split": bad, "metrics": {bad: 1.0}, "passports": {bad: {bad: bad}}},
    }
    (checkpoint / "training.json").write_text(json.dumps(facts))
    AutoGAE.from_pretrained(checkpoint).save_pretrained(checkpoint / "again")
    text = (checkpoint / "again" / "README.md").read_text().partition("---\n\n")[2]
    assert "<img" not in text and "\n# Title" not in text and "](javascript" not in text
    for broken in ("[" * 10, "[1, 2]", '"text"', " " * (1 << 25)):
        (checkpoint / "training.json").write_text(broken)
        AutoGAE.from_pretrained(checkpoint).save_pretrained(checkpoint / "again")


def test_code_of_a_repository_does_not_run_unasked(checkpoint, monkeypatch):
    monkeypatch.chdir(checkpoint)
    (checkpoint / "evil.py").write_text("from pathlib import Path\nPath('exploded').touch()\n")
    edit(
        checkpoint / "config.json",
        lambda c: c.update(auto_map={"AutoModel": "evil.Model", "AutoConfig": "evil.Config"}),
    )
    for load in (AutoGAE.from_pretrained, VAEModel.from_pretrained, GenerationPipeline.from_pretrained):
        assert isinstance(getattr(load(checkpoint), "model", None) or load(checkpoint), VAEModel)  # the library's own
    assert not (checkpoint / "exploded").exists()
