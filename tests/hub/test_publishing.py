"""Publishing and loading over HTTP, from a stand-in for the Hub, each time with an empty cache."""

import io
import json
import re

import pytest
import torch
import yaml
from builders import hub_folder
from cases import MODELS, VAE, generator, images
from huggingface_hub import HfApi
from huggingface_hub.errors import HfHubHTTPError, RepositoryNotFoundError
from localhub import read_card
from PIL import Image

from gae_hub import (
    AutoGAE,
    AutoSampler,
    GAEImageProcessor,
    GAETrainer,
    GAETrainingArguments,
    GaussianMixtureSampler,
    GenerationPipeline,
    load_images,
)
from gae_hub.core.hub_errors import HubError
from gae_hub.hub.cards.merging import BEGIN, END
from gae_hub.hub.cards.results import publish_results

X = images(4)


def fitted_sampler():
    return GaussianMixtureSampler(num_components=2).fit(torch.randn(20, 3, generator=generator()))


def card(hub, repo_id):
    return hub.read(repo_id, "README.md").decode()


# What can be published


def test_a_model(hub, machine):
    model = VAE.build().eval()
    with machine():
        model.push_to_hub("alice/vae")
    with machine(token=False):
        for loaded in (AutoGAE.from_pretrained("alice/vae"), type(model).from_pretrained("alice/vae")):
            assert torch.equal(loaded.reconstruct(X), model.reconstruct(X))
    assert {"config.json", "model.safetensors", "README.md"} <= set(hub.files("alice/vae"))
    text = card(hub, "alice/vae")
    assert 'AutoGAE.from_pretrained("alice/vae")' in text and "library_name: gae-hub" in text


@pytest.mark.parametrize("case", MODELS, ids=lambda case: case.id)
def test_every_method(machine, case):
    """All parameters and buffers are equal after loading."""
    model, repo_id = case.build(), f"alice/{case.id.replace('_', '-')}-method"
    model.train()(images(16))  # changes codebooks, centroids and running statistics
    with machine():
        model.eval().push_to_hub(repo_id)
    with machine(token=False):
        loaded = AutoGAE.from_pretrained(repo_id)
    state, found = model.state_dict(), loaded.state_dict()
    assert type(loaded) is type(model) and state.keys() == found.keys()
    assert all(torch.equal(found[name], value) and found[name].dtype == value.dtype for name, value in state.items())
    assert torch.equal(loaded.embed(X), model.embed(X))


def test_a_sampler(hub, machine):
    fitted = fitted_sampler()
    with machine():
        fitted.push_to_hub("alice/mixture")
    with machine(token=False):
        loaded = AutoSampler.from_pretrained("alice/mixture")
    assert torch.equal(loaded.sample(5, generator()), fitted.sample(5, generator()))
    assert "Gaussian mixture" in card(hub, "alice/mixture")


def test_a_processor(hub, machine):
    """The model's card replaces the one that transformers writes for a processor."""
    with machine():
        GAEImageProcessor((3, 6, 5)).push_to_hub("alice/processor")
        VAE.build().push_to_hub("alice/processor")
    with machine(token=False):
        assert GAEImageProcessor.from_pretrained("alice/processor").input_shape == (3, 6, 5)
    text = card(hub, "alice/processor")
    assert "Auto-Encoding" in text and "automatically generated" not in text


def test_a_pipeline(hub, machine):
    pipe = GenerationPipeline(VAE.build(), fitted_sampler())
    with machine():
        assert "/alice/whole/commit/" in pipe.push_to_hub("alice/whole")
    assert len(hub.log("alice/whole")) == 2  # the creation and one commit
    with machine(token=False):
        loaded = GenerationPipeline.from_pretrained("alice/whole")
        assert AutoSampler.from_pretrained("alice/whole", subfolder="sampler").config.num_components == 2
        assert AutoGAE.from_pretrained("alice/whole").config.latent_dim == 3
    assert [a.tobytes() for a in pipe(4, seed=0)] == [b.tobytes() for b in loaded(4, seed=0)]
    files = set(hub.files("alice/whole"))
    assert {"config.json", "model.safetensors", "preprocessor_config.json", "README.md", "assets/samples.png"} <= files
    assert {"sampler/config.json", "sampler/model.safetensors"} <= files
    assert not any(name.endswith((".bin", ".pt", ".pkl")) for name in files)
    Image.open(io.BytesIO(hub.read("alice/whole", "assets/samples.png"))).verify()


def test_a_pipeline_without_sampler_removes_the_earlier_sampler(hub, machine):
    with machine():
        GenerationPipeline(VAE.build(), fitted_sampler()).push_to_hub("alice/stale")
        GenerationPipeline(VAE.build()).push_to_hub("alice/stale")
    assert not any(name.startswith("sampler/") for name in hub.files("alice/stale"))


def test_a_training_run(hub, machine, tmp_path):
    with machine():
        args = GAETrainingArguments(
            str(tmp_path / "pushed"),
            num_train_epochs=2,
            push_to_hub=True,
            disable_tqdm=True,
            hub_model_id="alice/pushed",
        )
        trainer = GAETrainer(VAE.build(), args, train_dataset=images(20), eval_dataset=images(8, seed=1))
        trainer.train()
        trainer.push_in_progress.wait_until_done()
    with machine(token=False):
        loaded = AutoGAE.from_pretrained("alice/pushed")
    assert torch.equal(loaded.reconstruct(X), trainer.model.reconstruct(X))
    files = set(hub.files("alice/pushed"))
    assert {"training_args.json", "preprocessor_config.json"} <= files and "training_args.bin" not in files
    assert not any(
        name.startswith(("optimizer", "checkpoint", "rng_state", "run_cost", "scheduler")) for name in files
    )
    assert "20 images, 2 steps" in card(hub, "alice/pushed")
    assert "hf_alice" not in hub.read("alice/pushed", "training_args.json").decode()


def test_a_dataset_is_loaded_by_name(hub, machine, tmp_path):
    folder, expected = hub_folder(tmp_path)
    hub.create_repo("alice/digits", "dataset")
    name = "train-00000-of-00001.parquet"
    hub.commit("alice/digits", {f"data/{name}": (folder / name).read_bytes()}, repo_type="dataset")
    with machine(token=False):
        train, validation = load_images("alice/digits", ("train", "validation"))
        found = torch.cat([train.pixel_values, validation.pixel_values])
        assert torch.equal(found.sort(0).values, expected.sort(0).values) and len(validation) == 3
        assert train.name == "alice/digits" and train.origin == "hub"
        assert train.revision == validation.revision == hub.log("alice/digits", "dataset")[0].id
        with pytest.raises(ValueError, match="'alice/no-such'"):
            load_images("alice/no-such")


# Revisions and access


def test_revisions(machine):
    first, second = VAE.build(), VAE.build()
    second.head.bias.data += 1
    with machine():
        pipe = GenerationPipeline(first, fitted_sampler())
        commit = pipe.push_to_hub("alice/revisions").split("/")[-1]
        HfApi().create_tag("alice/revisions", tag="v1")
        second.push_to_hub("alice/revisions")
        second.push_to_hub("alice/revisions", revision="next", commit_message="On a branch")
    with machine(token=False):
        for revision, expected in (("main", second), ("v1", first), (commit, first), ("next", second)):
            loaded = AutoGAE.from_pretrained("alice/revisions", revision=revision)
            assert torch.equal(loaded.embed(X), expected.embed(X)), revision
        old = GenerationPipeline.from_pretrained("alice/revisions", revision="v1")
        assert torch.equal(old.model.embed(X), first.embed(X)) and old.sampler is not None
        with pytest.raises(OSError, match="not a valid git identifier"):
            AutoGAE.from_pretrained("alice/revisions", revision="v2")


def test_a_trainer_publishes_before_it_has_trained(hub, machine, tmp_path):
    with machine():
        args = GAETrainingArguments(str(tmp_path / "run"), hub_model_id="alice/untrained", disable_tqdm=True)
        GAETrainer(VAE.build(), args, train_dataset=X).push_to_hub()
        assert torch.equal(AutoGAE.from_pretrained("alice/untrained").embed(X), VAE.build().embed(X))


def test_private_repositories_need_a_token(machine):
    pipe = GenerationPipeline(VAE.build(), fitted_sampler())
    with machine():
        pipe.push_to_hub("alice/private", private=True)
        fitted_sampler().push_to_hub("alice/private-sampler", private=True)
    for token in (False, "hf_bob"):
        with machine(token=token):
            for load in (AutoGAE.from_pretrained, GenerationPipeline.from_pretrained):
                with pytest.raises(OSError, match="(?s)alice/private.*token"):
                    load("alice/private")
            with pytest.raises(OSError, match="alice/private-sampler"):
                AutoSampler.from_pretrained("alice/private-sampler")
    with machine(token=False):
        loaded = GenerationPipeline.from_pretrained("alice/private", token="hf_alice")
        assert [a.tobytes() for a in loaded(2, seed=0)] == [b.tobytes() for b in pipe(2, seed=0)]


def test_publishing_needs_a_write_token(machine):
    for token, message in ((False, "401"), ("hf_wrong", "401"), ("hf_readonly", "403")):
        with machine(token=token), pytest.raises((HfHubHTTPError, OSError), match=message):
            GenerationPipeline(VAE.build()).push_to_hub("alice/forbidden")
    with machine(token=False), pytest.raises(RepositoryNotFoundError):
        HfApi().model_info("alice/forbidden")


def test_repositories_that_hold_no_checkpoint(hub, machine):
    hub.create_repo("alice/bert")
    hub.commit("alice/bert", {"config.json": json.dumps({"model_type": "bert"})})
    hub.create_repo("alice/empty")
    with machine(token=False):
        with pytest.raises(ValueError, match="'alice/bert' is a 'bert' checkpoint, not a gae_hub one"):
            AutoGAE.from_pretrained("alice/bert")
        for load in (AutoGAE.from_pretrained, AutoGAE.from_pythae):
            with pytest.raises(HubError, match="cannot load 'alice/nothing': it is neither a local folder nor a Hub"):
                load("alice/nothing")
        with pytest.raises(OSError, match="'alice/empty' has no config.json"):
            AutoGAE.from_pretrained("alice/empty")


# Cards on the Hub


@pytest.mark.parametrize("what", ["model", "pipeline"])
def test_the_card_keeps_the_text_that_people_added(hub, machine, what):
    model, repo_id = VAE.build(), f"alice/edited-{what}"
    push = model.push_to_hub if what == "model" else GenerationPipeline(model, fitted_sampler()).push_to_hub
    with machine():
        push(repo_id)
    text = card(hub, repo_id).replace(END, END + "\n\nMy own notes.").replace("Auto-Encoding", "Wrong")
    hub.commit(repo_id, {"README.md": text})
    with machine():
        push(repo_id)
    text = card(hub, repo_id)
    assert "My own notes." in text and "Auto-Encoding" in text and text.count(BEGIN) == 1


def test_the_trainer_keeps_the_text_that_people_added(hub, machine, tmp_path):
    def train_and_push(folder):
        args = GAETrainingArguments(
            str(tmp_path / folder), num_train_epochs=1, push_to_hub=True, disable_tqdm=True, hub_model_id="alice/kept"
        )
        with machine():
            GAETrainer(VAE.build(), args, train_dataset=images(20)).train()

    train_and_push("one")
    hub.commit("alice/kept", {"README.md": card(hub, "alice/kept").replace(END, END + "\n\nMy own notes.")})
    train_and_push("two")
    assert "My own notes." in card(hub, "alice/kept") and "checkpoint-" not in card(hub, "alice/kept")


def test_facts_are_published_with_the_model(hub, machine, trained):
    with machine():
        GenerationPipeline.from_pretrained(trained).push_to_hub("alice/facts")
    with machine():
        AutoGAE.from_pretrained("alice/facts").push_to_hub("alice/facts-again")
    for repo_id in ("alice/facts", "alice/facts-again"):
        assert "1397 images, 28 steps" in card(hub, repo_id)


def test_facts_of_a_private_repository(machine, tmp_path, trained):
    """They are loaded with the model's token; without access, the card is written without them."""
    with machine():
        GenerationPipeline.from_pretrained(trained).push_to_hub("alice/secret", private=True)
    with machine(token=False):
        loaded = AutoGAE.from_pretrained("alice/secret", token="hf_alice")
        loaded.save_pretrained(tmp_path / "known")
        assert "1397 images, 28 steps" in (tmp_path / "known" / "README.md").read_text()
        loaded = AutoGAE.from_pretrained("alice/secret", token="hf_alice")
        loaded.source = ("alice/secret", {"token": False, "force_download": True})
        loaded.save_pretrained(tmp_path / "unknown")
    assert "1397 images" not in (tmp_path / "unknown" / "README.md").read_text()


def test_the_license_of_a_card(hub, machine, tmp_path):
    """An argument of each way to publish. Without it, the license in the repository's card stays."""

    def license_in(repo_id):
        return read_card(card(hub, repo_id))["license"]

    with machine():
        VAE.build().push_to_hub("alice/licensed")
        assert license_in("alice/licensed") == "apache-2.0"
        VAE.build().push_to_hub("alice/licensed", license="mit")
        assert license_in("alice/licensed") == "mit"
        GenerationPipeline(VAE.build(), fitted_sampler()).push_to_hub("alice/licensed")
        assert license_in("alice/licensed") == "mit"
        AutoGAE.from_pretrained("alice/licensed").push_to_hub("alice/copied")
        assert license_in("alice/copied") == "mit"
        GenerationPipeline(VAE.build()).push_to_hub("alice/licensed", license="cc-by-4.0")
        fitted_sampler().push_to_hub("alice/licensed-sampler", license="cc0-1.0")
        args = GAETrainingArguments(
            str(tmp_path / "run"), max_steps=1, disable_tqdm=True, hub_model_id="alice/licensed-run", push_to_hub=True
        )
        trainer = GAETrainer(VAE.build(), args, train_dataset=images(8))
        trainer.train()
        assert license_in("alice/licensed-run") == "apache-2.0"
        trainer.push_to_hub(license="mit")
    assert license_in("alice/licensed") == "cc-by-4.0" and license_in("alice/licensed-sampler") == "cc0-1.0"
    assert license_in("alice/licensed-run") == "mit"


def test_results_on_a_benchmark_enter_its_leaderboard(hub, machine):
    """They agree with the card, and disappear with it when other weights are published."""
    file, benchmark = ".eval_results/gae_hub.yaml", {"name": "B", "evaluation_framework": "gae-hub"}
    benchmark["tasks"] = [
        {"id": "test_mse", "split": "test"},
        {"id": "fid"},
        {"id": "validation_psnr", "split": "validation"},
    ]
    hub.create_repo("alice/benchmark", "dataset")
    hub.commit("alice/benchmark", {"eval.yaml": yaml.safe_dump(benchmark)}, repo_type="dataset")
    hub.create_repo("alice/pictures", "dataset")
    results = {"dataset": "alice/benchmark", "split": "test", "metrics": {"mse": 0.25, "psnr": 9.0}}
    passports = {"mse": {"num_samples": 10}}
    with machine():
        VAE.build().push_to_hub("alice/measured")
        assert file not in hub.files("alice/measured")
        model = AutoGAE.from_pretrained("alice/measured")
        for dataset in ("alice/pictures", "alice/no-such", "digits"):
            publish_results(model, "alice/measured", {**results, "dataset": dataset})
            assert file not in hub.files("alice/measured"), dataset
        publish_results(model, "alice/measured", {**results, "passports": passports})
    (entry,) = yaml.safe_load(hub.read("alice/measured", file))
    assert entry == {
        "dataset": {"id": "alice/benchmark", "task_id": "test_mse"},
        "value": 0.25,
        "source": {"url": f"{hub.url}/alice/measured/blob/main/results.json", "name": "results.json"},
        "notes": "num samples 10",
    }
    (index,) = read_card(card(hub, "alice/measured"))["model-index"][0]["results"]
    assert {"type": "mse", "value": 0.25, "name": "mse", "args": {"num_samples": 10}} in index["metrics"]
    with machine():
        VAE.build().push_to_hub("alice/measured")
    assert yaml.safe_load(hub.read("alice/measured", file)) == []
    assert "model-index" not in read_card(card(hub, "alice/measured"))


# Interrupted transfers


def test_an_interrupted_download_is_resumed_or_raises(hub, machine, no_waiting):
    with machine():
        VAE.build().push_to_hub("alice/cut")
    with machine(token=False):
        hub.cut_next(20, after_bytes=1000, match="GET .*safetensors", mode="fin")
        try:
            model = AutoGAE.from_pretrained("alice/cut")
            assert torch.equal(model.embed(X), VAE.build().embed(X))  # resumed by huggingface_hub
        except OSError as error:
            assert re.search("Consistency|cut|truncated|closed|safetensors", str(error))


def test_a_failed_push_can_be_repeated(hub, machine):
    model = VAE.build(latent_dim=4)  # its weights are not on the hub yet
    with machine():
        hub.reject_lfs(stage="upload")
        with pytest.raises(HubError, match="the Hub rejected a large file .*run it again"):
            GenerationPipeline(model).push_to_hub("alice/again")
        hub.clear_faults()
        assert "config.json" not in hub.files("alice/again")
        GenerationPipeline(model).push_to_hub("alice/again")
    assert "model.safetensors" in hub.files("alice/again")
