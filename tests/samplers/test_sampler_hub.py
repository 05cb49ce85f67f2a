"""Samplers on the Hub, through a local server, and on the command line."""

from contextlib import contextmanager

import numpy as np
import pytest
import torch
from cases import SAMPLERS, VAE, generator, images
from localhub import LocalHub, point_clients_at

from gae_hub import AutoSampler, GaussianMixtureSampler, GenerationPipeline, load_images
from gae_hub.cli.main import main
from gae_hub.core.hub_errors import HubError

ONE_PER_SAMPLER = [case for case in SAMPLERS if case.id.split("-")[0] == case.id or case.id == "gaussian_mixture-diag"]


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


@pytest.mark.parametrize("case", ONE_PER_SAMPLER, ids=lambda case: case.id)
def test_push_and_load(hub, case):
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


# Errors


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ({"status": 503, "match": "/commit/"}, r"unavailable \(503\); nothing was published"),
        ({"status": 503, "match": "repos/create"}, r"unavailable \(503\)"),
        ({"status": 503, "match": "/branch/"}, r"unavailable \(503\)"),
        ({"status": 401, "match": "/commit/"}, r"does not accept this token \(401\); create a new one"),
        ({"action": "lose_response", "match": "/commit/"}, "may not have succeeded; run it again, which is safe"),
    ],
    ids=["commit-503", "create-503", "branch-503", "commit-401", "lost-response"],
)
def test_failed_push_can_be_repeated(hub, fault, message, request):
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
def test_push_without_write_access(hub, token, message):
    sampler = GaussianMixtureSampler(num_components=2).fit(torch.randn(50, 3, generator=generator()))
    with hub.on_a_fresh_machine(token=token), pytest.raises(HubError, match=message):
        sampler.push_to_hub("alice/not-mine", subfolder="sampler")


def test_push_checks_its_arguments(hub):
    sampler = GaussianMixtureSampler(num_components=2).fit(torch.randn(50, 3, generator=generator()))
    for subfolder in ({}, {"subfolder": "sampler"}):
        with hub.on_a_fresh_machine(), pytest.raises(TypeError, match="commit_mesage"):
            sampler.push_to_hub("alice/typo", commit_mesage="A sampler", **subfolder)
    with hub.on_a_fresh_machine(), pytest.raises(ValueError, match="is not fitted"):
        GaussianMixtureSampler().push_to_hub("alice/typo", subfolder="sampler")
    assert not any(name == "alice/typo" for _, name in hub.repos)


def test_push_creates_a_branch(hub):
    latents = torch.randn(50, 3, generator=generator())
    pipe = GenerationPipeline(VAE.build().eval(), GaussianMixtureSampler(num_components=1).fit(latents))
    with hub.on_a_fresh_machine():
        for _ in range(2):  # the branch is new, then it exists
            pipe.push_to_hub("alice/branches", revision="next")
            pipe.sampler.push_to_hub("alice/branches", subfolder="mixture", revision="other")
    with hub.on_a_fresh_machine(token=False):
        assert GenerationPipeline.from_pretrained("alice/branches", revision="next").sampler is not None
        AutoSampler.from_pretrained("alice/branches", subfolder="mixture", revision="other")
    assert "config.json" not in hub.files("alice/branches")


def test_hub_failure_is_not_a_missing_sampler(hub, monkeypatch):
    monkeypatch.setattr("huggingface_hub.utils._http.time.sleep", lambda seconds: None)  # between retries
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


# Command line


def run(*words):
    return main([str(word) for word in words])


def test_fit_sampler_command(trained, tmp_path, capsys):
    flags = ["--hidden_size", 8, "--num_hidden_layers", 1, "--num_train_epochs", 2, "--disable_tqdm", "true"]
    assert run("fit-sampler", trained, "--sampler", "maf", "--sampler_name", "maf", *flags) == 0
    sampler = AutoSampler.from_pretrained(trained, subfolder="maf")
    assert (sampler.config.hidden_size, sampler.config.latent_dim) == (8, 4)
    assert AutoSampler.from_pretrained(trained, subfolder="sampler").config.num_components == 3  # unchanged
    assert run("generate", trained, "--sampler_name", "maf", "--num_samples", 9, "--output", tmp_path / "maf.png") == 0
    assert "9 images from MAFSampler" in capsys.readouterr().out
    assert run("fit-sampler", trained, "--sampler", "maf", "--num_train_epoch", 2) == 2
    assert "unknown flag --num_train_epoch; did you mean --num_train_epochs?" in capsys.readouterr().err
    assert run("fit-sampler", trained, "--sampler", "pixel_cnn") == 2
    assert "PixelCNNSampler cannot model the latents of BetaVAEModel" in capsys.readouterr().err
    assert run("fit-sampler", trained, "--sampler", "prior", "--sampler_name", "other-prior") == 0
    assert run("generate", trained, "--sampler_name", "nothing") == 2
    assert "has no sampler in its subfolder 'nothing'" in capsys.readouterr().err


def test_generate_formats(trained, tmp_path, capsys):
    common = ["generate", trained, "--num_samples", 30, "--seed", 1]
    assert run(*common, "--output", tmp_path / "a.npz", "--batch_size", 7) == 0
    assert run(*common, "--output_dir", tmp_path / "b", "--format", "dataset") == 0
    found = np.load(tmp_path / "a.npz")["arr_0"]
    assert found.shape == (30, 8, 8)
    np.testing.assert_array_equal(load_images(tmp_path / "b").pixel_values.squeeze(1).numpy(), found)
    assert run(*common, "--output_dir", tmp_path / "b") == 2
    assert "exists already: choose another output" in capsys.readouterr().err
