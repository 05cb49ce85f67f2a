"""Samplers over HTTP and from the shell: several in one repository, the default one, streams of images."""

from contextlib import contextmanager

import numpy as np
import pytest
import torch
from cases import SAMPLERS, VAE, generator, images
from localhub import LocalHub, point_clients_at

from gae_hub import AutoSampler, GaussianMixtureSampler, GenerationPipeline, load_images
from gae_hub.cli.main import main
from gae_hub.core.hub_errors import HubError

BRIEF = [case for case in SAMPLERS if case.id.split("-")[0] == case.id or case.id == "gaussian_mixture-diag"]


@pytest.fixture(scope="module")
def hub(tmp_path_factory):
    count = iter(range(100))
    with LocalHub(users={"alice": {"token": "hf_alice"}}) as server:

        @contextmanager
        def on_a_fresh_machine(token="hf_alice"):
            with point_clients_at(server, tmp_path_factory.mktemp(f"home-{next(count)}"), token=token):
                yield

        server.on_a_fresh_machine = on_a_fresh_machine
        yield server


@pytest.mark.parametrize("case", BRIEF, ids=lambda case: case.id)
def test_push_and_load_give_the_same_draws(hub, case):
    fitted, _ = case.fit_to_source(**case.brief())
    expected, repo = fitted.sample(9, generator()), f"alice/{case.id.replace('_', '-')}"
    with hub.on_a_fresh_machine():
        fitted.push_to_hub(repo)
    with hub.on_a_fresh_machine(token=False):
        again = AutoSampler.from_pretrained(repo)
    assert type(again) is type(fitted) and torch.equal(again.sample(9, generator()), expected)
    assert not any(name.endswith((".bin", ".pt", ".pkl")) for name in hub.files(repo))


def test_several_samplers_in_one_repository(hub):
    model, latents = VAE.build().eval(), torch.randn(50, 3, generator=generator())
    default, other = (GaussianMixtureSampler(num_components=k).fit(latents) for k in (1, 3))
    with hub.on_a_fresh_machine():
        GenerationPipeline(model, default).push_to_hub("alice/many")
        other.push_to_hub("alice/many", subfolder="mixture")
    with hub.on_a_fresh_machine(token=False):
        assert AutoSampler.from_pretrained("alice/many", subfolder="mixture").config.num_components == 3
        assert AutoSampler.from_pretrained("alice/many", subfolder="sampler").config.num_components == 1
        assert GenerationPipeline.from_pretrained("alice/many").sampler.config.num_components == 1
        pipe = GenerationPipeline.from_pretrained("alice/many", sampler="mixture")
        assert torch.equal(pipe.model.embed(images(4)), model.embed(images(4)))
        assert torch.equal(pipe.sampler.sample(5, generator()), other.sample(5, generator()))
    assert "mixture/README.md" not in hub.files("alice/many") and "README.md" in hub.files("alice/many")


# What goes wrong on the way into a subfolder, and back


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ({"status": 503, "match": "/commit/"}, r"unavailable \(503\); nothing was published"),
        ({"status": 503, "match": "repos/create"}, r"unavailable \(503\)"),
        ({"status": 503, "match": "/branch/"}, r"unavailable \(503\)"),
        ({"status": 401, "match": "/commit/"}, r"does not accept this token \(401\); create a new one"),
        ({"action": "lose_response", "match": "/commit/"}, "may not have succeeded; run it again, which is safe"),
    ],
    ids=["commit-503", "create-503", "branch-503", "commit-401", "lost-answer"],
)
def test_a_push_into_a_subfolder_that_fails_can_be_run_again(hub, fault, message, request):
    repo_id = "alice/" + request.node.callspec.id
    sampler = GaussianMixtureSampler(num_components=2).fit(torch.randn(50, 3, generator=generator()))
    with hub.on_a_fresh_machine():
        hub.fault(**{"action": "status", **fault})
        with pytest.raises(HubError, match=f"cannot publish to '{repo_id}': .*{message}"):
            sampler.push_to_hub(repo_id, subfolder="sampler", revision="next")
        hub.clear_faults()
        sampler.push_to_hub(repo_id, subfolder="sampler", revision="next")
    with hub.on_a_fresh_machine(token=False):
        again = AutoSampler.from_pretrained(repo_id, subfolder="sampler", revision="next")
    assert torch.equal(again.sample(5, generator()), sampler.sample(5, generator()))


@pytest.mark.parametrize(
    ("token", "message"),
    [(False, r"a token is required \(401\)"), ("hf_wrong", r"does not accept this token \(401\)")],
)
def test_pushing_into_a_subfolder_without_the_right_to(hub, token, message):
    sampler = GaussianMixtureSampler(num_components=2).fit(torch.randn(50, 3, generator=generator()))
    with hub.on_a_fresh_machine(token=token), pytest.raises(HubError, match=message):
        sampler.push_to_hub("alice/not-mine", subfolder="sampler")


def test_a_push_takes_what_it_knows(hub):
    sampler = GaussianMixtureSampler(num_components=2).fit(torch.randn(50, 3, generator=generator()))
    for subfolder in ({}, {"subfolder": "sampler"}):
        with hub.on_a_fresh_machine(), pytest.raises(TypeError, match="commit_mesage"):
            sampler.push_to_hub("alice/typo", commit_mesage="A sampler", **subfolder)
    with hub.on_a_fresh_machine(), pytest.raises(ValueError, match="was not fitted"):
        GaussianMixtureSampler().push_to_hub("alice/typo", subfolder="sampler")
    assert not any(name == "alice/typo" for _, name in hub.repos)


def test_a_new_branch_is_made(hub):
    latents = torch.randn(50, 3, generator=generator())
    pipe = GenerationPipeline(VAE.build().eval(), GaussianMixtureSampler(num_components=1).fit(latents))
    with hub.on_a_fresh_machine():
        for _ in range(2):  # new, and there
            pipe.push_to_hub("alice/branches", revision="next")
            pipe.sampler.push_to_hub("alice/branches", subfolder="mixture", revision="other")
    with hub.on_a_fresh_machine(token=False):
        assert GenerationPipeline.from_pretrained("alice/branches", revision="next").sampler is not None
        AutoSampler.from_pretrained("alice/branches", subfolder="mixture", revision="other")
    assert "config.json" not in hub.files("alice/branches")


def test_a_hub_that_does_not_answer_is_no_repository_without_a_sampler(hub, monkeypatch):
    monkeypatch.setattr("huggingface_hub.utils._http.time.sleep", lambda seconds: None)  # between tries
    latents = torch.randn(50, 3, generator=generator())
    with hub.on_a_fresh_machine():
        GenerationPipeline(VAE.build(), GaussianMixtureSampler(num_components=1).fit(latents)).push_to_hub("alice/up")
        GenerationPipeline(VAE.build()).push_to_hub("alice/alone")
    for file in ("sampler/config.json", "preprocessor_config.json"):
        with hub.on_a_fresh_machine(token=False):
            hub.fail_next(None, status=503, match=file)
            with pytest.raises(HubError, match=r"cannot load 'alice/up': the Hub is unavailable \(503\)"):
                GenerationPipeline.from_pretrained("alice/up")
            hub.clear_faults()
            assert GenerationPipeline.from_pretrained("alice/up").sampler is not None
    with hub.on_a_fresh_machine(token=False):
        assert GenerationPipeline.from_pretrained("alice/alone").sampler is None
        assert GenerationPipeline.from_pretrained("alice/alone", local_files_only=True).sampler is None


def run(*words):
    return main([str(word) for word in words])


def test_fit_a_flow_from_the_shell(trained, tmp_path, capsys):
    flags = ["--hidden_size", 8, "--num_hidden_layers", 1, "--num_train_epochs", 2, "--disable_tqdm", "true"]
    assert run("fit-sampler", trained, "--sampler", "maf", "--name", "maf", *flags) == 0
    sampler = AutoSampler.from_pretrained(trained, subfolder="maf")
    assert (sampler.config.hidden_size, sampler.config.latent_dim) == (8, 4)
    assert AutoSampler.from_pretrained(trained, subfolder="sampler").config.num_components == 3  # as it was
    assert run("generate", trained, "--sampler", "maf", "--num_samples", 9, "--output", tmp_path / "maf.png") == 0
    assert "9 images by MAFSampler" in capsys.readouterr().out
    assert run("fit-sampler", trained, "--sampler", "maf", "--num_train_epoch", 2) == 2
    assert "no flag --num_train_epoch; did you mean --num_train_epochs?" in capsys.readouterr().err
    assert run("fit-sampler", trained, "--sampler", "pixel_cnn") == 2
    assert "PixelCNNSampler cannot model the latents of BetaVAEModel" in capsys.readouterr().err
    assert run("fit-sampler", trained, "--sampler", "prior", "--name", "prior-of-its-own") == 0
    assert run("generate", trained, "--sampler", "nothing") == 2
    assert "has no sampler in its subfolder 'nothing'" in capsys.readouterr().err


def test_generate_in_every_format(trained, tmp_path, capsys):
    common = ["generate", trained, "--num_samples", 30, "--seed", 1]
    assert run(*common, "--output", tmp_path / "a.npz", "--batch_size", 7) == 0
    assert run(*common, "--output", tmp_path / "b", "--format", "dataset") == 0
    found = np.load(tmp_path / "a.npz")["arr_0"]
    assert found.shape == (30, 8, 8)
    np.testing.assert_array_equal(load_images(tmp_path / "b").pixel_values.squeeze(1).numpy(), found)
    assert run(*common, "--output", tmp_path / "b") == 2
    assert "exists already: choose another output" in capsys.readouterr().err
    assert run("generate", trained, "--num_samples", 1_000_000) == 2
    assert "too many for one picture" in capsys.readouterr().err
