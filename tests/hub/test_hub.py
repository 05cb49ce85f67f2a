"""Publishing and loading over real HTTP, against a stand-in for the Hub, each time with an empty cache."""

import io
import json
import re
from contextlib import contextmanager

import pytest
import torch
from cases import MODELS, VAE, generator, images
from huggingface_hub import HfApi
from huggingface_hub.errors import HfHubHTTPError, RepositoryNotFoundError
from localhub import LocalHub, point_clients_at
from PIL import Image

from gae_hub import (
    AutoGAE,
    AutoSampler,
    BetaVAEModel,
    GAEImageProcessor,
    GAETrainer,
    GAETrainingArguments,
    GaussianMixtureSampler,
    GenerationPipeline,
    load_images,
)
from gae_hub.core.hub_errors import HubError
from gae_hub.hub.cards.render import BEGIN, END

X = images(4)


@pytest.fixture(scope="module")
def server():
    with LocalHub(users={"alice": {"token": "hf_alice"}, "bob": "hf_bob"}) as hub:
        hub.add_user("alice", "hf_readonly", role="read")
        yield hub


@pytest.fixture
def hub(server, tmp_path):
    """The stand-in, with a way to be anybody on a machine that has never seen the Hub."""
    count = iter(range(100))

    @contextmanager
    def on_a_fresh_machine(token="hf_alice"):
        with point_clients_at(server, tmp_path / f"home-{next(count)}", token=token):
            yield

    server.on_a_fresh_machine = on_a_fresh_machine
    return server


def sampler():
    return GaussianMixtureSampler(num_components=2).fit(torch.randn(20, 3, generator=generator()))


def card(hub, repo_id):
    return hub.read(repo_id, "README.md").decode()


def test_a_model(hub):
    model = VAE.build().eval()
    with hub.on_a_fresh_machine():
        model.push_to_hub("alice/vae")
    with hub.on_a_fresh_machine(token=False):
        for again in (AutoGAE.from_pretrained("alice/vae"), type(model).from_pretrained("alice/vae")):
            assert torch.equal(again.reconstruct(X), model.reconstruct(X))
    assert {"config.json", "model.safetensors", "README.md"} <= set(hub.files("alice/vae"))
    assert 'AutoGAE.from_pretrained("alice/vae")' in card(hub, "alice/vae") and "library_name: gae-hub" in card(
        hub, "alice/vae"
    )


@pytest.mark.parametrize("case", MODELS, ids=lambda case: case.id)
def test_every_method(hub, case):
    """Pushed here and loaded there, to the bit, buffers too."""
    model, repo_id = case.build(), f"alice/{case.id.replace('_', '-')}-method"
    model.train()(images(16))  # codebooks, centroids and running statistics have left their first values
    with hub.on_a_fresh_machine():
        model.eval().push_to_hub(repo_id)
    with hub.on_a_fresh_machine(token=False):
        again = AutoGAE.from_pretrained(repo_id)
    state, found = model.state_dict(), again.state_dict()
    assert type(again) is type(model) and state.keys() == found.keys()
    assert all(torch.equal(found[name], value) and found[name].dtype == value.dtype for name, value in state.items())
    assert torch.equal(again.embed(X), model.embed(X))


def test_a_sampler(hub):
    fitted = sampler()
    with hub.on_a_fresh_machine():
        fitted.push_to_hub("alice/mixture")
    with hub.on_a_fresh_machine(token=False):
        again = AutoSampler.from_pretrained("alice/mixture")
    assert torch.equal(again.sample(5, generator()), fitted.sample(5, generator()))
    assert "Gaussian mixture" in card(hub, "alice/mixture")


def test_a_processor(hub):
    with hub.on_a_fresh_machine():
        GAEImageProcessor((3, 6, 5)).push_to_hub("alice/processor")
        VAE.build().push_to_hub("alice/processor")  # whose card replaces the one that transformers has written
    with hub.on_a_fresh_machine(token=False):
        assert GAEImageProcessor.from_pretrained("alice/processor").input_shape == (3, 6, 5)
    assert "Auto-Encoding" in card(hub, "alice/processor") and "automatically generated" not in card(
        hub, "alice/processor"
    )


def test_a_whole_pipeline(hub):
    pipe = GenerationPipeline(VAE.build(), sampler())
    with hub.on_a_fresh_machine():
        assert "/alice/whole/commit/" in pipe.push_to_hub("alice/whole")
    assert len(hub.log("alice/whole")) == 2  # the creation and one commit
    with hub.on_a_fresh_machine(token=False):
        again = GenerationPipeline.from_pretrained("alice/whole")
        assert AutoSampler.from_pretrained("alice/whole", subfolder="sampler").config.num_components == 2
        assert AutoGAE.from_pretrained("alice/whole").config.latent_dim == 3
    assert [a.tobytes() for a in pipe(4, seed=0)] == [b.tobytes() for b in again(4, seed=0)]
    files = set(hub.files("alice/whole"))
    assert {"config.json", "model.safetensors", "preprocessor_config.json", "README.md", "assets/samples.png"} <= files
    assert {"sampler/config.json", "sampler/model.safetensors"} <= files
    assert not any(name.endswith((".bin", ".pt", ".pkl")) for name in files)
    Image.open(io.BytesIO(hub.read("alice/whole", "assets/samples.png"))).verify()


def test_revisions(hub):
    first, second = VAE.build(), VAE.build()
    second.head.bias.data += 1
    with hub.on_a_fresh_machine():
        pipe = GenerationPipeline(first, sampler())
        commit = pipe.push_to_hub("alice/revisions").split("/")[-1]
        HfApi().create_tag("alice/revisions", tag="v1")
        second.push_to_hub("alice/revisions")
        second.push_to_hub("alice/revisions", revision="next", commit_message="On a branch")
    with hub.on_a_fresh_machine(token=False):
        for revision, expected in ((None, second), ("v1", first), (commit, first), ("next", second)):
            loaded = AutoGAE.from_pretrained("alice/revisions", revision=revision or "main")
            assert torch.equal(loaded.embed(X), expected.embed(X)), revision
        old = GenerationPipeline.from_pretrained("alice/revisions", revision="v1")
        assert torch.equal(old.model.embed(X), first.embed(X)) and old.sampler is not None
        with pytest.raises(OSError, match="not a valid git identifier"):
            AutoGAE.from_pretrained("alice/revisions", revision="v2")


def test_private(hub):
    pipe = GenerationPipeline(VAE.build(), sampler())
    with hub.on_a_fresh_machine():
        pipe.push_to_hub("alice/private", private=True)
        sampler().push_to_hub("alice/private-sampler", private=True)
    for token in (False, "hf_bob"):
        with hub.on_a_fresh_machine(token=token):
            for load in (AutoGAE.from_pretrained, GenerationPipeline.from_pretrained):
                with pytest.raises(OSError, match="(?s)alice/private.*(private repository|token)"):
                    load("alice/private")
            with pytest.raises(OSError, match="alice/private-sampler"):
                AutoSampler.from_pretrained("alice/private-sampler")
    with hub.on_a_fresh_machine(token=False):
        again = GenerationPipeline.from_pretrained("alice/private", token="hf_alice")
        assert [a.tobytes() for a in again(2, seed=0)] == [b.tobytes() for b in pipe(2, seed=0)]


def test_pushing_without_the_right_to(hub):
    for token, message in ((False, "401"), ("hf_wrong", "401"), ("hf_readonly", "403")):
        with hub.on_a_fresh_machine(token=token), pytest.raises((HfHubHTTPError, OSError), match=message):
            GenerationPipeline(VAE.build()).push_to_hub("alice/forbidden")
    with hub.on_a_fresh_machine(token=False), pytest.raises(RepositoryNotFoundError):
        HfApi().model_info("alice/forbidden")


def test_no_such_repository_and_no_gae_hub_checkpoint(hub):
    hub.create_repo("alice/bert")
    hub.commit("alice/bert", {"config.json": json.dumps({"model_type": "bert"})})
    hub.create_repo("alice/empty")
    with hub.on_a_fresh_machine(token=False):
        with pytest.raises(ValueError, match="'alice/bert' is a 'bert' checkpoint, not a gae_hub one"):
            AutoGAE.from_pretrained("alice/bert")
        for load in (AutoGAE.from_pretrained, AutoGAE.from_pythae):
            with pytest.raises(HubError, match="cannot load 'alice/nothing': it is no folder here, and no repository"):
                load("alice/nothing")
        with pytest.raises(OSError, match="there is no config.json in 'alice/empty'"):
            AutoGAE.from_pretrained("alice/empty")


def test_the_card_keeps_what_a_person_wrote(hub):
    model, pipe = VAE.build(), GenerationPipeline(VAE.build(), sampler())
    for push in (model.push_to_hub, pipe.push_to_hub):
        repo_id = f"alice/{type(push.__self__).__name__}"
        with hub.on_a_fresh_machine():
            push(repo_id)
        text = card(hub, repo_id)
        hub.commit(
            repo_id, {"README.md": text.replace(END, END + "\n\nMy own notes.").replace("Auto-Encoding", "Wrong")}
        )
        with hub.on_a_fresh_machine():
            push(repo_id)
        text = card(hub, repo_id)
        assert "My own notes." in text and "Auto-Encoding" in text and text.count(BEGIN) == 1


def test_facts_travel_with_the_model(hub, trained):
    with hub.on_a_fresh_machine():
        GenerationPipeline.from_pretrained(trained).push_to_hub("alice/facts")
    with hub.on_a_fresh_machine():
        AutoGAE.from_pretrained("alice/facts").push_to_hub("alice/facts-again")
    assert "1397 images, 28 steps" in card(hub, "alice/facts") and "1397 images, 28 steps" in card(
        hub, "alice/facts-again"
    )


def test_the_trainer_pushes(hub, tmp_path):
    with hub.on_a_fresh_machine():
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
    with hub.on_a_fresh_machine(token=False):
        again = AutoGAE.from_pretrained("alice/pushed")
    assert torch.equal(again.reconstruct(X), trainer.model.reconstruct(X))
    files = set(hub.files("alice/pushed"))
    assert {"training_args.json", "preprocessor_config.json"} <= files and "training_args.bin" not in files
    assert not any(
        name.startswith(("optimizer", "checkpoint", "rng_state", "run_cost", "scheduler")) for name in files
    )
    assert "20 images, 2 steps" in card(hub, "alice/pushed")
    assert "hf_alice" not in hub.read("alice/pushed", "training_args.json").decode()


def test_the_trainer_keeps_what_a_person_wrote_on_the_card(hub, tmp_path):
    def push(folder):
        args = GAETrainingArguments(
            str(tmp_path / folder), num_train_epochs=1, push_to_hub=True, disable_tqdm=True, hub_model_id="alice/kept"
        )
        with hub.on_a_fresh_machine():
            GAETrainer(VAE.build(), args, train_dataset=images(20)).train()

    push("one")
    hub.commit("alice/kept", {"README.md": card(hub, "alice/kept").replace(END, END + "\n\nMy own notes.")})
    push("two")
    assert "My own notes." in card(hub, "alice/kept") and "checkpoint-" not in card(hub, "alice/kept")


def test_saving_what_came_from_a_private_repository(hub, tmp_path, trained):
    with hub.on_a_fresh_machine():
        GenerationPipeline.from_pretrained(trained).push_to_hub("alice/secret", private=True)
    with hub.on_a_fresh_machine(token=False):
        loaded = AutoGAE.from_pretrained("alice/secret", token="hf_alice")
        loaded.save_pretrained(tmp_path / "known")
        assert "1397 images, 28 steps" in (tmp_path / "known" / "README.md").read_text()
        again = AutoGAE.from_pretrained("alice/secret", token="hf_alice")
        again.source = ("alice/secret", {"token": False, "force_download": True})
        again.save_pretrained(tmp_path / "unknown")
    assert "1397 images" not in (tmp_path / "unknown" / "README.md").read_text()


def test_a_new_model_does_not_keep_an_old_sampler(hub):
    with hub.on_a_fresh_machine():
        GenerationPipeline(VAE.build(), sampler()).push_to_hub("alice/stale")
        GenerationPipeline(VAE.build()).push_to_hub("alice/stale")
    assert not any(name.startswith("sampler/") for name in hub.files("alice/stale"))


def test_a_data_set_by_name(hub, tmp_path):
    from builders import hub_folder

    folder, expected = hub_folder(tmp_path)
    hub.create_repo("alice/digits", "dataset")
    name = "train-00000-of-00001.parquet"
    hub.commit("alice/digits", {f"data/{name}": (folder / name).read_bytes()}, repo_type="dataset")
    with hub.on_a_fresh_machine(token=False):
        train, validation = load_images("alice/digits", ("train", "validation"))
        assert torch.equal(train.pixel_values, expected[:27]) and train.name == "alice/digits" and len(validation) == 3
        assert train.revision == validation.revision == hub.log("alice/digits", "dataset")[0].id
        with pytest.raises(ValueError, match="no data set 'alice/no-such': it is neither 'digits', nor a folder here"):
            load_images("alice/no-such")


def test_a_cut_download_is_not_taken_for_whole(hub):
    with hub.on_a_fresh_machine():
        VAE.build().push_to_hub("alice/cut")
    with hub.on_a_fresh_machine(token=False):
        hub.cut_next(20, after_bytes=1000, match="GET .*safetensors", mode="fin")
        try:
            model = AutoGAE.from_pretrained("alice/cut")
            assert torch.equal(model.embed(X), VAE.build().embed(X))  # the client tried again, and got all of it
        except OSError as error:
            assert re.search("Consistency|cut|truncated|closed|safetensors", str(error))
        finally:
            hub.clear_faults()


def test_a_person_tries_again_after_a_push_that_failed(hub):
    model = BetaVAEModel(BetaVAEModel.config_class(input_shape=(1, 8, 8), latent_dim=3))
    with hub.on_a_fresh_machine():
        hub.reject_lfs(stage="upload")
        with pytest.raises(HubError, match="the Hub has refused a large file .*run it again"):
            GenerationPipeline(model).push_to_hub("alice/again")
        hub.clear_faults()
        assert "config.json" not in hub.files("alice/again")
        GenerationPipeline(model).push_to_hub("alice/again")
    assert "model.safetensors" in hub.files("alice/again")
