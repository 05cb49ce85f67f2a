"""Publishing a study over HTTP, to a stand-in for the Hub: everything is loaded again on a machine without caches."""

import io
import json
import shutil
from contextlib import contextmanager
from dataclasses import replace
from math import isclose

import pandas
import pytest
import yaml
from localhub import LocalHub, point_clients_at, read_card

from gae_hub import AutoGAE, AutoSampler, GenerationPipeline
from gae_hub.cli.main import main
from gae_hub.core.hub_errors import HubError
from gae_hub.hub.cards.front_matter import read_metadata
from gae_hub.hub.cards.merging import END
from gae_hub.study import StudyFolder, load_results, run_study
from gae_hub.study.publish import publish_study
from gae_hub.study.publish_models import choose_models
from gae_hub.study.publish_results import build_results

NETWORK = {
    "encoder_config": {"model_type": "gae_mlp_encoder", "hidden_sizes": [8]},
    "decoder_config": {"model_type": "gae_mlp_decoder", "hidden_sizes": [8]},
}
STUDY = {
    "name": "tiny",
    "title": "Digits, <b>tiny</b>",
    "data": {"digits": {"dataset": "digits", "latent_dim": 2, "num_train": 200, "num_validation": 40, "num_test": 40}},
    "networks": {"mlp": NETWORK},
    "methods": {
        "beta-VAE": {"model": "beta_vae", "grid": [{"beta": 0.1}, {"beta": 10.0}], "samplers": ["normal", "gmm"]},
        "AE": {"model": "ae", "grid": [{"seed": 0}], "samplers": ["normal", "gmm"]},
    },
    "training": {"num_train_epochs": 1, "learning_rate": 0.003, "per_device_train_batch_size": 50},
    "samplers": {"normal": {"sampler": "normal"}, "gmm": {"sampler": "gaussian_mixture", "num_components": 2}},
    "tasks": {
        "reconstruction": {"fid": False},
        "generation": {"num_samples": 30, "metrics": ["fid"]},
        "interpolation": {"num_pairs": 2, "num_steps": 4},
    },
    "extractor": "trained",
}
RESULTS, PAGE = "alice/tiny-results", "alice/tiny"


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """A study of three cells of digits, all done."""
    root = tmp_path_factory.mktemp("study")
    file = root / "tiny.yaml"
    file.write_text(yaml.safe_dump(STUDY, sort_keys=False))
    assert run_study(file, root / "out", progress=False) == {"done": 3}
    return StudyFolder.find(root / "out")


@pytest.fixture
def hub(no_waiting):
    with LocalHub(users={"alice": {"token": "hf_alice", "orgs": ["acme"]}, "bob": "hf_bob"}) as server:
        server.add_user("alice", "hf_read", role="read")
        yield server


@pytest.fixture
def no_waiting(monkeypatch):
    """huggingface_hub retries at once."""
    monkeypatch.setattr("huggingface_hub.utils._http.time.sleep", lambda seconds: None)


@pytest.fixture
def quick_report(monkeypatch):
    """A page without figures, which take seconds."""

    def write(results, folder):
        page = folder / "index.html"
        page.write_text(f"<html><title>{results.name}</title></html>")
        return page

    monkeypatch.setattr("gae_hub.study.publish_space.write_report", write)


@pytest.fixture
def machine(hub, tmp_path):
    """A context in which this process is a machine with an empty cache."""
    homes = (tmp_path / f"home-{number}" for number in range(100))

    @contextmanager
    def fresh_machine(token="hf_alice"):
        with point_clients_at(hub, next(homes), token=token):
            yield

    return fresh_machine


def publish(study, name=PAGE, **options):
    return publish_study(study, name, progress=False, **options)


def commits(hub):
    """Number of commits of each repository, without the first, which the Hub makes."""
    return {(repo_type, name): len(hub.log(name, repo_type)) - 1 for repo_type, name in hub.repos}


def snapshot(folder):
    return {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in folder.rglob("*") if path.is_file()}


def test_a_study(hub, machine, study, tmp_path, capsys):
    """From the command line, with the real report; every part is loaded again by a stranger."""
    before = snapshot(study.root)
    with machine():
        assert main(["study", "publish", str(study.root), PAGE]) == 0
    assert snapshot(study.root) == before
    results = load_results(study)
    chosen = choose_models(results, "chosen", PAGE)
    output = capsys.readouterr().out
    assert "cells: 3 done" in output and "collection: " in output
    assert commits(hub) == {
        **{("model", model.repo_id): 1 for model in chosen},
        ("dataset", RESULTS): 1,
        ("space", PAGE): 1,
    }
    with machine(token=False):
        for model in chosen:
            loaded = AutoGAE.from_pretrained(model.repo_id)
            sampler = AutoSampler.from_pretrained(model.repo_id, subfolder="sampler")
            assert loaded.generate(3, sampler=sampler).shape == (3, 1, 8, 8)
            (other,) = model.samplers[1:]
            AutoSampler.from_pretrained(model.repo_id, subfolder=f"samplers/{other}")
            assert len(GenerationPipeline.from_pretrained(model.repo_id)(2, seed=0)) == 2
            fids = {name: model.cell.numbers[f"generation/{name}/fid/validation"] for name in ("normal", "gmm")}
            assert model.samplers[0] == min(fids, key=fids.__getitem__)
            files = hub.files(model.repo_id)
            assert {"assets/samples.png", "assets/reconstructions.png", "assets/interpolations.png"} <= set(files)
            assert "cell.json" not in files
    collection = next(iter(hub.collections.values()))
    assert collection["title"] == "tiny" and not collection["private"]
    items = {(item["type"], item["id"]): item["note"]["text"] for item in collection["items"]}
    assert items.keys() == {("space", PAGE), ("dataset", RESULTS)} | {("model", model.repo_id) for model in chosen}
    assert "reconstruction MSE 0." in items["model", chosen[0].repo_id]
    page = hub.read(PAGE, "index.html", "space").decode()
    assert "beta-VAE" in page and "<b>tiny</b>" not in page
    assert f'<a href="https://huggingface.co/{chosen[0].repo_id}">model</a>' in page and "/cells/" not in page


def test_the_card_of_a_model(hub, machine, study, quick_report):
    with machine():
        publish(study, license="mit")
    model = choose_models(load_results(study), "chosen", PAGE)[0]
    text = hub.read(model.repo_id, "README.md").decode()
    card = read_card(text)
    assert card["license"] == "mit" and {"gae-hub-study", "beta-vae"} <= set(card["tags"])
    measured = {entry["type"]: entry["value"] for entry in card["model-index"][0]["results"][0]["metrics"]}
    for name in ("reconstruction/mse/test", "generation/gmm/fid/test"):
        assert isclose(measured[name], model.cell.numbers[name])
    assert f"https://huggingface.co/datasets/{RESULTS}" in text.replace(hub.url, "https://huggingface.co")
    assert f'AutoGAE.from_pretrained("{model.repo_id}")' in text or model.repo_id in text
    assert "chosen on validation for" in text and "<b>tiny" not in text
    assert str(study.root) not in text + hub.read(model.repo_id, "training.json").decode()


def test_the_results(hub, machine, study, quick_report):
    """The Parquet files hold every number; their card names them as configurations for the viewer."""
    with machine():
        publish(study)
    card = read_card(hub.read(RESULTS, "README.md", "dataset").decode())
    files = {config["config_name"]: config["data_files"] for config in card["configs"]}
    assert set(files.values()) == {path for path in hub.files(RESULTS, "dataset") if path.endswith(".parquet")}
    assert [config["config_name"] for config in card["configs"] if config.get("default")] == ["results"]
    tables = {
        name: pandas.read_parquet(io.BytesIO(hub.read(RESULTS, file, "dataset"))) for name, file in files.items()
    }
    results = load_results(study)
    rows, cells = tables["results"], tables["cells"]
    assert len(rows) == sum(len(cell.numbers) for cell in results.cells) and len(cells) == 3
    assert set(cells.state) == {"done"} and "generation" in tables
    for cell in results.cells:
        own = rows[(rows.method == cell.method) & (rows.configuration == cell.configuration)]
        for name, value in cell.numbers.items():
            task, *middle = name.split("/")
            found = own[own.task == task]
            if task == "generation":
                found = found[(found.sampler == middle[0]) & (found.metric == middle[1]) & (found.split == middle[2])]
                passport = cell.passports[name]
                assert found.num_samples.item() == passport["num_samples"] == 30
                assert found.extractor_sha256.item() == passport["extractor_sha256"]
            elif len(middle) == 2:
                found = found[(found.metric == middle[0]) & (found.split == middle[1])]
            assert found.value.item() == value
        assert json.loads(own.fields.iloc[0]) == cell.fields
    repos = {model.cell.folder: model.repo_id for model in choose_models(results, "chosen", PAGE)}
    assert set(rows.model_repo.dropna()) == set(repos.values())
    with machine(token=False):
        import datasets

        loaded = datasets.load_dataset(RESULTS, split="train")
        assert loaded["value"] == rows.value.tolist()
        assert len(datasets.load_dataset(RESULTS, "cells", split="train")) == 3


def test_a_second_run_commits_nothing(hub, machine, study, quick_report):
    with machine():
        assert publish(study).num_commits == len(hub.repos)
        before, notes = commits(hub), json.dumps(list(hub.collections.values()))
        hub.requests.clear()
        assert publish(study).num_commits == 0
    assert commits(hub) == before and json.dumps(list(hub.collections.values())) == notes
    assert not any("/commit/" in request["path"] for request in hub.requests)


def test_what_changed_on_the_hub_is_published_again(hub, machine, study, quick_report):
    """Weights that somebody replaced are; text that somebody added to a card stays."""
    model = choose_models(load_results(study), "chosen", PAGE)[0]
    with machine():
        publish(study)
        weights = hub.read(model.repo_id, "model.safetensors")
        for repo_id, repo_type in ((model.repo_id, "model"), (RESULTS, "dataset"), (PAGE, "space")):
            text = hub.read(repo_id, "README.md", repo_type).decode().replace(END, END + "\n\nMy own notes.")
            hub.commit(repo_id, {"README.md": text}, repo_type=repo_type)
        assert publish(study).num_commits == 0
        hub.commit(model.repo_id, {"model.safetensors": b"other"})
        hub.commit(RESULTS, {"data/results.parquet": b"other"}, repo_type="dataset")
        hub.commit(PAGE, {"index.html": b"other", "mine.txt": b"kept"}, repo_type="space")
        assert publish(study).num_commits == 3
    assert hub.read(model.repo_id, "model.safetensors") == weights and "mine.txt" in hub.files(PAGE, "space")
    for repo_id, repo_type in ((model.repo_id, "model"), (RESULTS, "dataset"), (PAGE, "space")):
        text = hub.read(repo_id, "README.md", repo_type).decode()
        assert "My own notes." in text and text.count(END) == 1


FAULTS = {
    "first model": ("status", r"commit/main", 0),
    "lost response": ("lose_response", r"commit/main", 0),
    "weights": ("status", r"^PUT /upload/", 0),
    "repository": ("status", r"repos/create", 1),
    "data set": ("status", r"POST /api/datasets/.*/commit/", 0),
    "page": ("drop", r"POST /api/spaces/.*/commit/", 0),
    "collection": ("status", r"POST /api/collections", 0),
    "item": ("status", r"POST /api/collections/.*/items", 1),
}


@pytest.mark.parametrize("phase", FAULTS)
def test_an_interrupted_publication_goes_on(hub, machine, study, quick_report, phase):
    """One clear error; no repository is half published; the same call goes on, and repeats no commit."""
    action, match, skip = FAULTS[phase]
    with machine():
        hub.fault(action, match, times=1 if phase != "weights" else None, skip=skip, status=503)
        with pytest.raises(HubError, match=r"cannot (publish to|update) '.*'.*of \d parts .* the same line goes on"):
            publish(study, models="chosen")
        hub.clear_faults()
        for (repo_type, name), number in commits(hub).items():
            files = hub.files(name, repo_type)
            assert number in (0, 1) and ("study.json" in files) == (number == 1)
        publish(study)
    num_repos = len(choose_models(load_results(study), "chosen", PAGE)) + 2
    assert set(commits(hub).values()) == {1} and len(hub.repos) == num_repos
    (collection,) = hub.collections.values()
    assert len(collection["items"]) == len({item["id"] + item["type"] for item in collection["items"]}) == num_repos


def test_which_models(study):
    results = load_results(study)
    by_id = {model.repo_id: model for model in choose_models(results, "all", PAGE)}
    assert by_id.keys() == {"alice/tiny-beta-vae-01", "alice/tiny-beta-vae-02", "alice/tiny-ae-01"}
    chosen = choose_models(results, "chosen", PAGE)
    assert {model.repo_id for model in chosen} <= by_id.keys() and all(model.chosen_for for model in chosen)
    assert choose_models(results, "none", PAGE) == []


def test_names_are_possible_and_unique(study):
    """Equal slugs, long names and a varied data set."""
    results = load_results(study)
    first, second, third = results.cells
    methods = {"β-VAE!": results.methods["beta-VAE"], "-vae-": results.methods["beta-VAE"], "x" * 200: {}}
    cells = [
        replace(first, method="β-VAE!"),
        replace(second, method="-vae-", configuration=1),
        replace(third, method="x" * 200),
    ]
    results = replace(results, methods=methods, cells=cells, datasets=["digits", "mnist"], samplers=[])
    names = [model.repo_id for model in choose_models(results, "all", "alice/" + "n" * 80)]
    assert len({name.lower() for name in names}) == 3
    assert all(len(name.partition("/")[2]) <= 96 and "--" not in name for name in names)
    assert all(name.startswith("alice/" + "n" * 80) for name in names)


@pytest.mark.parametrize("name", ["tiny", "alice/", "alice/a b", "alice/../x", "alice/-x", "a/b/c", "alice/x.git", ""])
def test_impossible_names(hub, machine, study, name):
    with machine(), pytest.raises(ValueError, match="expected a name on the Hub"):
        publish(study, name)
    assert not hub.requests


def test_a_name_that_is_too_long(study):
    with pytest.raises(ValueError, match="96 characters; choose one of at most 88"):
        publish(study, "alice/" + "x" * 96)


def test_tokens(hub, machine, study):
    """Nothing is created without the right to write."""
    for token, name, message in (
        (False, PAGE, "a token is required"),
        ("hf_wrong", PAGE, "does not accept this token"),
        ("hf_read", PAGE, "may only read"),
        ("hf_bob", PAGE, "belongs to 'bob'"),
    ):
        with machine(token=token), pytest.raises(HubError, match=message):
            publish(study, name)
    assert not hub.repos


def test_an_organization(hub, machine, study, quick_report):
    with machine():
        publish(study, "acme/tiny", models="none")
    assert set(hub.repos) == {("dataset", "acme/tiny-results"), ("space", "acme/tiny")}
    assert next(iter(hub.collections)).startswith("acme/tiny-")


def test_private(hub, machine, study, quick_report):
    with machine():
        publish(study, private=True)
    assert all(repo.private for repo in hub.repos.values())
    assert all(collection["private"] for collection in hub.collections.values())
    with machine(token=False), pytest.raises(OSError, match="alice/tiny"):
        AutoGAE.from_pretrained(choose_models(load_results(study), "chosen", PAGE)[0].repo_id)


def test_a_public_repository_does_not_get_private_results(hub, machine, study, quick_report):
    hub.create_repo(RESULTS, "dataset")
    with machine(), pytest.raises(ValueError, match="exists and is public"):
        publish(study, private=True)
    assert len(hub.log(RESULTS, "dataset")) == 1 and len(hub.repos) == 1


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"app.py": "print()"}, "was not made by gae-hub study publish"),
        ({"study.json": json.dumps({"study": "other", "digest": "", "files": {}})}, "holds another study, 'other'"),
        ({"study.json": "[1"}, "has a damaged study.json"),
        ({"study.json": '{"digest": 1, "files": []}'}, "has a damaged study.json"),
    ],
)
def test_foreign_repositories_stay(hub, machine, study, files, message):
    """The page's name is taken: nothing is published."""
    hub.create_repo(PAGE, "space", sdk="gradio")
    hub.commit(PAGE, files, repo_type="space")
    with machine(), pytest.raises(ValueError, match=message):
        publish(study)
    assert len(hub.repos) == 1 and len(hub.log(PAGE, "space")) == 2


def test_foreign_model_is_found_before_anything_is_published(hub, machine, study):
    name = f"{PAGE}-beta-vae-02"
    hub.create_repo(name, "model")
    hub.commit(name, {"model.bin": "weights"})
    with machine(), pytest.raises(ValueError, match="was not made by gae-hub study publish"):
        publish(study, models="all")
    assert len(hub.repos) == 1


def test_unfinished_and_changed_cells(hub, machine, study, quick_report, tmp_path, capsys):
    """What is done is published; the rest is named."""
    shutil.copytree(study.root, tmp_path / "copy")
    copy = StudyFolder(tmp_path / "copy", study.name)
    first, second, third = load_results(copy).cells
    record = first.folder / "cell.json"
    record.unlink()
    weights = third.folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-4] + b"\0\0\0\1")
    with machine():
        assert main(["study", "publish", str(copy.root), PAGE, "--models", "all"]) == 0
    output = capsys.readouterr().out
    assert "2 done, 1 waiting" in output
    assert f"left out: {third.folder.name}: model.safetensors was changed after it was measured" in output
    assert {name for repo_type, name in hub.repos if repo_type == "model"} == {"alice/tiny-beta-vae-02"}
    assert "2 done, 1 waiting" in hub.read(RESULTS, "README.md", "dataset").decode()
    shutil.rmtree(second.folder)
    third_record = third.folder / "cell.json"
    third_record.unlink()
    with machine(), pytest.raises(ValueError, match=r"no cell .* is done \(3 waiting\)"):
        publish(copy)


def test_hostile_text(study, tmp_path):
    """Titles and settings of others show as text in the data set's card, and its YAML stays valid."""
    results = load_results(study)
    cells = [replace(results.cells[0], fields={"beta": "---\n<script>"}, error="x\n---\n"), *results.cells[1:]]
    results = replace(results, title="a: [b\n---\n<script>alert(1)</script>", cells=cells)
    build_results(results, {}, RESULTS, PAGE, None, tmp_path)
    text = (tmp_path / "README.md").read_text()
    metadata = read_metadata(text)
    assert metadata["configs"][0]["config_name"] == "results" and "<script>" not in text
    rows = pandas.read_parquet(tmp_path / "data" / "results.parquet")
    assert json.loads(rows.fields.iloc[0]) == {"beta": "---\n<script>"}
