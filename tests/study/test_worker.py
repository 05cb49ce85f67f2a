"""A worker: every cell once, in spite of failures, full disks, changed files, and changes of the study."""

import json
import shutil

import pytest
import torch
from tiny_study import quick, read_cells, read_states, run, tiny, write_study

from gae_hub import AutoGAE
from gae_hub.models.vae import VAEConfig, VAEModel
from gae_hub.study import execution, planning, worker
from gae_hub.study.claims import claim
from gae_hub.study.collect import load_results
from gae_hub.study.execution import CellRunner, fit_sampler
from gae_hub.study.folder import StudyFolder
from gae_hub.study.runner import prepare_study, run_study
from gae_hub.study.selection import Selector, Setup
from gae_hub.study.status import describe_status
from gae_hub.study.worker import StudyChangedError, Worker

ALL_DONE = {"AE 1": "done", "VAE 1": "done", "VAE 2": "done", "VQVAE 1": "done"}


@pytest.fixture
def work(monkeypatch):
    """The steps that are run, as "folder of the cell: step"."""
    found: list[str] = []
    save_trained, measure, fit = CellRunner.save_trained, CellRunner._measure, CellRunner._fit_sampler

    def trained(self, plan, cell, model):
        found.append(f"{plan.method} {plan.configuration}: train")
        save_trained(self, plan, cell, model)

    def measured(self, cell, step, *args):
        found.append(step)
        return measure(self, cell, step, *args)

    def fitted(self, settings, *args):
        found.append(f"sampler/{settings.name}")
        return fit(self, settings, *args)

    monkeypatch.setattr(CellRunner, "save_trained", trained)
    monkeypatch.setattr(CellRunner, "_measure", measured)
    monkeypatch.setattr(CellRunner, "_fit_sampler", fitted)
    return found


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """The folder of a finished study with one task. Tests copy it."""
    folder = tmp_path_factory.mktemp("finished") / "out"
    assert run(quick(), folder) == {"done": 4}
    return folder


@pytest.fixture
def folder(finished, tmp_path):
    """A copy of the finished study, with the times of its files."""
    return shutil.copytree(finished, tmp_path / "out")


def snapshot(folder):
    """Content and time of all files below a folder."""
    return {
        str(path.relative_to(folder)): (path.read_bytes(), path.stat().st_mtime_ns)
        for path in folder.rglob("*")
        if path.is_file()
    }


# Nothing twice


def test_nothing_runs_twice(folder, work):
    """A second run of a finished study trains and measures nothing, and changes no file."""
    before = snapshot(folder)
    assert run(quick(), folder) == {"done": 4}
    assert work == [] and snapshot(folder) == before


def test_stopped_study_goes_on(tmp_path, work):
    """What is finished when a worker stops stays, and the next one does the rest."""
    path = write_study(tmp_path, quick(train_together=False))
    folder, study, plan, data = prepare_study(path, tmp_path / "out")
    left = iter([False, False, True])
    Worker(folder, study, plan, data, should_stop=lambda: next(left)).run()
    assert list(read_states(tmp_path / "out").values()) == ["done", "done", "waiting", "waiting"]
    done = len(work)
    assert run_study(path, tmp_path / "out", progress=False) == {"done": 4}
    assert done == 4 and len(work) == 8 and len(set(work) - {"clustering"}) == 4


def test_cells_are_trained_while_another_worker_trains_the_extractor(tmp_path, monkeypatch):
    """A worker measures nothing before the extractor is there, and does not wait for it while cells can be trained."""
    monkeypatch.setattr(worker, "POLL", 0)
    path = write_study(tmp_path, tiny(tasks={"reconstruction": {}}, samplers=None, train_together=False))
    folder, study, plan, data = prepare_study(path, tmp_path / "out")
    extractor = execution.extractor_folder(folder.root, study, data["digits"])
    seen = []

    def has_seen_all():
        seen.append([cell.steps.keys() for cell in read_cells(tmp_path / "out").values()])
        return len(seen) == 8

    with claim(folder.root / "claims" / f"extractor-{extractor.name}.lock"):
        Worker(folder, study, plan, data, should_stop=has_seen_all).run()
        assert [set(steps) for steps in seen[-1]] == 4 * [{"train"}] and not extractor.exists()
    assert run_study(path, tmp_path / "out", progress=False) == {"done": 4}


def test_interrupted_in_a_step(tmp_path, work, monkeypatch):
    """Ctrl-C in a step: finished steps stay, no claim is left, and only the rest is run again."""
    settings = quick(tasks={"interpolation": {}, "clustering": {"num_fits": 1}}, train_together=False)
    measure = execution.CellRunner._measure

    def interrupt(self, cell, step, *args):
        if step == "clustering":
            raise KeyboardInterrupt
        return measure(self, cell, step, *args)

    with monkeypatch.context() as patch:
        patch.setattr(CellRunner, "_measure", interrupt)
        with pytest.raises(KeyboardInterrupt):
            run(settings, tmp_path / "out")
    assert list((tmp_path / "out/claims").iterdir()) == []
    work.clear()
    assert run(settings, tmp_path / "out") == {"done": 4}
    assert "AE 1: train" not in work and work.count("interpolation") == 3 and work.count("clustering") == 4


def test_changed_settings_redo_what_depends_on_them(folder, work):
    """Another number of fits measures the clustering again, and trains nothing; a new method trains its cell."""
    assert run(quick(tasks={"clustering": {"num_fits": 2}}), folder) == {"done": 4}
    assert work == ["clustering"] * 4
    work.clear()
    methods = {**quick()["methods"], "RAE": {"model": "rae_l2"}}
    assert run(quick(tasks={"clustering": {"num_fits": 2}}, methods=methods), folder) == {"done": 5}
    assert work == ["RAE 1: train", "clustering"]


def test_another_sampler_refits_it_alone(tmp_path, work):
    """Of a study with all tasks, a changed sampler is fitted again, and its images generated and measured."""
    settings = tiny(methods={"AE": {"model": "ae"}})
    assert run(settings, tmp_path / "out") == {"done": 1}
    assert len(work) == 10
    work.clear()
    settings["samplers"]["gmm"]["num_components"] = 3
    assert run(settings, tmp_path / "out") == {"done": 1}
    assert work == ["sampler/gmm", "generation/gmm"]


# Changed files


@pytest.mark.parametrize("change", ["flip", "truncate", "remove", "edit record", "empty record", "results"])
def test_changed_files(folder, work, change):
    """A changed cell is set aside and run again. Nothing is deleted, and no other cell is touched."""
    cell = read_cells(folder)["VAE 1"].folder
    weights, record = cell / "model.safetensors", cell / "cell.json"
    if change == "flip":
        content = bytearray(weights.read_bytes())
        content[-5] ^= 1
        weights.write_bytes(content)
    elif change == "truncate":
        weights.write_bytes(weights.read_bytes()[:-8])
    elif change == "remove":
        weights.unlink()
    elif change == "results":
        (cell / "results.json").write_text('{"metrics": {"clustering/accuracy/train": 0.99}}')
    elif change == "edit record":
        text = record.read_text()
        value = str(read_cells(folder)["VAE 1"].steps["clustering"].numbers["clustering/accuracy/train"])
        assert value in text
        record.write_text(text.replace(value, "0.99"))
    else:
        record.write_text("")
    before, others = snapshot(cell), snapshot(folder)
    assert run(quick(), folder) == {"done": 4}
    assert work == ["VAE 1: train", "clustering"]
    (aside,) = folder.glob("cells/*.changed-*")
    assert snapshot(aside) == before
    after = snapshot(folder)
    for name, content in others.items():
        assert cell.name in name or after[name] == content


@pytest.mark.parametrize("kind", ["file", "dangling link"])
def test_something_else_in_place_of_a_cell(tmp_path, kind):
    settings = quick(methods={"AE": {"model": "ae"}})
    run(settings, tmp_path / "out")
    cell = read_cells(tmp_path / "out")["AE 1"].folder
    shutil.rmtree(cell)
    if kind == "file":
        cell.write_text("not a cell")
    else:
        cell.symlink_to(tmp_path / "nowhere")
    assert run(settings, tmp_path / "out") == {"done": 1} and cell.is_dir()
    (aside,) = cell.parent.glob("*.changed-*")
    assert aside.is_symlink() or aside.read_text() == "not a cell"


def test_same_weights_after_running_again(folder):
    """A cell that is run again gets the same weights and numbers."""
    cell = read_cells(folder)["VAE 1"]
    weights, numbers = (cell.folder / "model.safetensors").read_bytes(), cell.steps["clustering"].numbers
    (cell.folder / "config.json").unlink()
    assert run(quick(train_together=False), folder) == {"done": 4}
    again = read_cells(folder)["VAE 1"]
    assert again.steps["clustering"].numbers == numbers
    assert len((again.folder / "model.safetensors").read_bytes()) == len(weights)


def test_changed_sampler(tmp_path, work):
    """A sampler that was changed before its images are generated is noticed as well."""
    settings = tiny(methods={"AE": {"model": "ae"}}, tasks={"generation": {"num_samples": 40, "metrics": ["fid"]}})
    assert run(settings, tmp_path / "out") == {"done": 1}
    path = read_cells(tmp_path / "out")["AE 1"].folder / "samplers" / "gmm" / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-4] + b"\x00\x00\x80\x40")
    work.clear()
    assert run(settings, tmp_path / "out") == {"done": 1}
    assert work[0] == "AE 1: train"


@pytest.mark.parametrize("lost", ["model.safetensors", "config.json"])
def test_extractor_of_a_killed_worker(tmp_path, lost):
    """An extractor that is not complete is trained again, and gives the same numbers."""
    settings = tiny(methods={"AE": {"model": "ae"}}, tasks={"reconstruction": {}}, samplers=None)
    assert run(settings, tmp_path / "out") == {"done": 1}
    cell = read_cells(tmp_path / "out")["AE 1"]
    (path,) = (tmp_path / "out" / "extractors").rglob(lost)
    path.unlink()
    cell.steps.pop("reconstruction")
    numbers = read_cells(tmp_path / "out")["AE 1"].steps["reconstruction"].numbers
    cell.write()
    assert run(settings, tmp_path / "out") == {"done": 1} and path.is_file()
    assert read_cells(tmp_path / "out")["AE 1"].steps["reconstruction"].numbers == pytest.approx(numbers, rel=1e-4)


# Cells that fail


class BrittleConfig(VAEConfig):
    model_type = "gae_brittle"


class BrittleModel(VAEModel):
    """A VAE that fails while `broken` is set."""

    config_class = BrittleConfig
    broken: str | None = None

    def forward(self, *args, **kwargs):
        if self.broken == "forward":
            raise RuntimeError("it broke in forward")
        return super().forward(*args, **kwargs)

    def interpolate(self, *args, **kwargs):
        if self.broken == "interpolate":
            raise RuntimeError("it broke in interpolate")
        if self.broken == "undefined":
            raise NotImplementedError("it has no paths")
        return super().interpolate(*args, **kwargs)


@pytest.fixture
def brittle(monkeypatch):
    """The class `BrittleModel`, registered as "brittle"."""
    monkeypatch.setattr(AutoGAE, "registry", {**AutoGAE.registry, "brittle": BrittleModel})
    monkeypatch.setattr(BrittleModel, "broken", None)
    return BrittleModel


BRITTLE = quick(
    methods={"AE": {"model": "ae"}, "Brittle": {"model": "brittle"}, "VAE": {"model": "vae"}},
    tasks={"interpolation": {}, "clustering": {"num_fits": 1}},
    train_together=False,
)


@pytest.mark.parametrize("place", ["forward", "interpolate"])
def test_failing_cell(tmp_path, brittle, work, monkeypatch, place):
    """It is recorded with its traceback, the others go on, and `retry_failed` runs it from the step that failed."""
    brittle.broken, root = place, tmp_path / "out"
    assert run(BRITTLE, root) == {"done": 2, "failed": 1}
    failed = read_cells(root)["Brittle 1"].error
    assert failed is not None and f"it broke in {place}" in failed["traceback"]
    assert failed["step"] == ("train" if place == "forward" else "interpolation")
    assert failed["message"] == f"RuntimeError: it broke in {place}"

    text = describe_status(StudyFolder(root, "tiny"), tracebacks=True)
    assert "2 done, 1 failed" in text and f"it broke in {place}" in text and "Traceback" in text
    assert "Traceback" not in describe_status(StudyFolder(root, "tiny"))

    work.clear()
    assert run(BRITTLE, root) == {"done": 2, "failed": 1} and work == []  # not without being asked
    assert run(BRITTLE, root, retry_failed=True) == {"done": 2, "failed": 1}  # the cause is still there
    work.clear()
    brittle.broken = None
    assert run(BRITTLE, root, retry_failed=True) == {"done": 3}
    assert work == (["Brittle 1: train", "interpolation", "clustering"] if place == "forward" else ["interpolation"])
    assert read_cells(root)["Brittle 1"].error is None


def test_sampler_that_cannot_be_fitted(tmp_path, monkeypatch):
    """What does not need the sampler is measured, and is in the tables and in results.json."""

    def fit(settings, context):
        if settings.name == "gmm":
            raise ValueError("all latents are equal")
        return fit_sampler(settings, context)

    monkeypatch.setattr("gae_hub.study.execution.fit_sampler", fit)
    root = tmp_path / "out"
    assert run(tiny(methods={"AE": {"model": "ae"}}), root) == {"failed": 1}
    results = load_results(StudyFolder(root, "tiny"))
    (cell,) = results.cells
    assert cell.error == "sampler/gmm: ValueError: all latents are equal"
    assert {
        "reconstruction/mse/test",
        "generation/normal/fid/test",
        "clustering/accuracy/train",
    } <= cell.numbers.keys()
    assert not any("gmm" in name for name in cell.numbers)
    assert "reconstruction/mse/test" in json.loads((cell.folder / "results.json").read_text())["metrics"]
    chosen = Selector(results).select("reconstruction", "AE", Setup("mlp", "digits", 3))
    assert chosen.estimate("reconstruction/mse/test").value == cell.numbers["reconstruction/mse/test"]

    monkeypatch.undo()
    assert run(tiny(methods={"AE": {"model": "ae"}}), root, retry_failed=True) == {"done": 1}
    metrics = json.loads((cell.folder / "results.json").read_text())["metrics"]
    assert "generation/gmm/fid/test" in metrics


def test_changed_setting_of_a_failed_step(tmp_path, brittle):
    """A step that failed is tried again when what it depends on has changed, or left out when it is gone."""
    brittle.broken, root = "interpolate", tmp_path / "out"
    methods = {"Brittle": {"model": "brittle"}}
    tasks = BRITTLE["tasks"]
    assert run({**BRITTLE, "methods": methods}, root) == {"failed": 1}
    assert run({**BRITTLE, "methods": methods, "tasks": {**tasks, "interpolation": {"num_pairs": 2}}}, root) == {
        "failed": 1
    }
    error = read_cells(root)["Brittle 1"].error
    assert error is not None and error["step"] == "interpolation"
    assert run({**BRITTLE, "methods": methods, "tasks": {"clustering": tasks["clustering"]}}, root) == {"done": 1}
    (cell,) = load_results(StudyFolder(root, "tiny")).cells
    assert cell.error is None


def test_task_without_a_meaning(tmp_path, brittle):
    """NotImplementedError skips a step with its reason, and the cell is done."""
    brittle.broken, root = "undefined", tmp_path / "out"
    assert run(BRITTLE, root) == {"done": 3}
    assert read_states(root)["Brittle 1"] == "done"
    cell = next(one for one in load_results(StudyFolder(root, "tiny")).cells if one.method == "Brittle")
    assert cell.facts["skipped_steps"] == {"interpolation": "it has no paths"}
    assert "clustering/accuracy/train" in cell.numbers and "interpolation/curvature/test" not in cell.numbers


# The disk


@pytest.mark.parametrize("where", ["weights", "record", "picture", "claim"])
def test_full_disk(tmp_path, monkeypatch, where):
    """The study stops with one message; nothing half written counts; it goes on when there is space."""
    settings = quick(tasks={"interpolation": {}}, methods={"AE": {"model": "ae"}, "VAE": {"model": "vae"}})

    def full(*args, **kwargs):
        raise OSError(28, "No space left on device")

    places = {
        "weights": "gae_hub.models.base.GAEPreTrainedModel.save_pretrained",
        "record": "gae_hub.study.store.Cell.write",
        "picture": "gae_hub.study.context.save_tiles",
        "claim": "gae_hub.study.worker.claim",
    }
    with monkeypatch.context() as patch:
        patch.setattr(places[where], full)
        with pytest.raises(OSError, match=r"the disk .*is full"):
            run(settings, tmp_path / "out")
    assert not list(tmp_path.glob("out/claims/*.lock"))
    assert "failed" not in read_states(tmp_path / "out").values()
    assert run(settings, tmp_path / "out") == {"done": 2}


def test_texts_of_a_full_disk(tmp_path, monkeypatch):
    """safetensors and torch.save report a full disk without an error number."""
    texts = (
        "Error while serializing: I/O error: No space left on device (os error 28)",
        "[enforce fail at inline_container.cc:626] . PytorchStreamWriter failed writing file data/0",
    )
    for text in texts:

        def full(self, *args, text=text):
            raise RuntimeError(text)

        monkeypatch.setattr(CellRunner, "save_trained", full)
        with pytest.raises(OSError, match="is full"):
            run(quick(methods={"AE": {"model": "ae"}}), tmp_path / "out")


# Changes of the study


def test_study_changed_under_a_running_study(tmp_path, work):
    """The old worker stops after its cell. The new run keeps what still holds."""
    old, new = (
        quick(train_together=False),
        quick(train_together=False, methods={**quick()["methods"], "W": {"model": "vae"}}),
    )
    del new["methods"]["VAE"]
    path = write_study(tmp_path, old)
    folder, study, plan, data = prepare_study(path, tmp_path / "out")

    def report(cell, what):
        if what == "training":  # somebody starts the changed study meanwhile
            prepare_study(write_study(tmp_path, new), tmp_path / "out")

    with pytest.raises(StudyChangedError, match="was changed while it ran"):
        Worker(folder, study, plan, data, report).run()
    assert work == ["AE 1: train", "clustering"]
    work.clear()
    assert run_study(path, tmp_path / "out", progress=False) == {"done": 3}
    assert [one for one in work if "train" in one] == ["VQVAE 1: train", "W 1: train"]


def test_cells_of_another_version(folder, work, monkeypatch):
    """They are neither used nor deleted."""
    before = snapshot(folder / "cells")
    monkeypatch.setattr(planning, "__version__", "99.0")
    assert run(quick(), folder) == {"done": 4}
    assert len(work) == 8
    after = snapshot(folder / "cells")
    assert len(after) == 2 * len(before) and all(after[name] == content for name, content in before.items())


def test_two_studies_in_one_folder(folder, work):
    """They share cells of equal settings."""
    methods = {"VAE": quick()["methods"]["VAE"], "R": {"model": "rae_l2"}}
    assert run(quick(name="second", methods=methods), folder) == {"done": 3}
    assert work == ["R 1: train", "clustering"]
    with pytest.raises(ValueError, match="holds several studies: choose one with --study: second, tiny"):
        StudyFolder.find(folder)
    assert StudyFolder.find(folder, "second").name == "second"
    assert run(quick(), folder) == {"done": 4} and len(work) == 2


def test_two_methods_share_a_cell(tmp_path, work):
    """One training, and the samplers of both."""
    fid = {"generation": {"num_samples": 40, "metrics": ["fid"]}}
    methods = {
        "A": {"model": "vae", "samplers": ["normal"]},
        "B": {"model": "vae", "samplers": ["gmm"]},
    }
    assert run(tiny(tasks=fid, methods=methods), tmp_path / "out") == {"done": 2}
    assert work == ["A 1: train", "sampler/normal", "generation/normal", "sampler/gmm", "generation/gmm"]
    first, second = load_results(StudyFolder(tmp_path / "out", "tiny")).cells
    assert "generation/normal/fid/test" in first.numbers and "generation/gmm/fid/test" not in first.numbers
    assert "generation/gmm/fid/test" in second.numbers and "generation/normal/fid/test" not in second.numbers


def test_renamed_and_reordered_methods_keep_their_cells(folder, work):
    """Another name, another place in the grid, another order: nothing is trained again."""
    methods = quick()["methods"]
    methods["VAE"]["grid"] = [{"beta": 1}, {"beta": 0.1}]
    renamed = {"beta-VAE": methods["VAE"], "VQ": methods["VQVAE"], "Auto": methods["AE"]}
    assert run(quick(methods=renamed), folder) == {"done": 4}
    assert work == []


def test_train_together(tmp_path, work):
    """Cells of one architecture that train together are recorded like others, with nearly the same weights."""
    assert run(quick(), tmp_path / "together") == {"done": 4}
    assert run(quick(train_together=False), tmp_path / "alone") == {"done": 4}
    together, alone = read_cells(tmp_path / "together"), read_cells(tmp_path / "alone")
    for name, cell in together.items():
        first, second = (AutoGAE.from_pretrained(one.folder).state_dict() for one in (cell, alone[name]))
        for key, value in first.items():
            torch.testing.assert_close(value, second[key], rtol=1e-3, atol=1e-4)
