"""Studies on a Ray cluster give the numbers of local ones, and survive the death of workers and of the cluster."""

import json
import os
import signal
import threading
import time
from contextlib import ExitStack, contextmanager
from math import inf

import psutil
import pytest
import ray
import yaml
from localhub import LocalHub, point_clients_at

from gae_hub.study import StudyFolder, load_results, run_study
from gae_hub.study import ray_executor as executor
from gae_hub.study.claims import claim, holder
from gae_hub.study.hub_results import HubResults
from gae_hub.study.ray_executor import RayClusterError, RayOptions, RayWorker
from gae_hub.study.runner import prepare_study

NETWORK = {"hidden_sizes": [16]}
STUDY = {
    "name": "tiny",
    "title": "Digits",
    "data": {"digits": {"dataset": "digits", "latent_dim": 2}},
    "networks": {
        "mlp": {
            "encoder_config": {"model_type": "gae_mlp_encoder", **NETWORK},
            "decoder_config": {"model_type": "gae_mlp_decoder", **NETWORK},
        }
    },
    "methods": {"grids": "paper", "only": ["beta-VAE", "AE"], "configurations": {"beta-VAE": [1, 3], "AE": [1]}},
    "training": {"num_train_epochs": 1, "learning_rate": 0.001, "per_device_train_batch_size": 200},
    "samplers": {"normal": {"sampler": "normal"}},
    "tasks": {"reconstruction": {}, "generation": {"num_samples": 50, "metrics": ["fid"]}},
    "extractor": {"num_train_epochs": 1},
}


@pytest.fixture(scope="module")
def hub():
    """A Hub that the workers of the cluster use: they have the environment with which it starts."""
    with LocalHub() as hub:
        yield hub


@pytest.fixture(scope="module")
def cluster(hub, tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        for name, value in hub.env(tmp_path_factory.mktemp("home")).items():
            patch.setenv(name, value)
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        ray.init("local", num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    yield
    ray.shutdown()


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    return write_study(tmp_path_factory.mktemp("studies") / "tiny.yaml")


@pytest.fixture(scope="module")
def expected(study, tmp_path_factory):
    """Numbers of the local runner, with as many threads as a worker on Ray."""
    folder = tmp_path_factory.mktemp("local")
    run_study(study, folder, threads=1, progress=False)
    return numbers(folder)


def write_study(path, **changes):
    path.write_text(yaml.safe_dump({**STUDY, **changes}))
    return path


def numbers(folder):
    """The numbers of each cell by its method and configuration, except its times."""
    cells = load_results(StudyFolder.find(folder)).cells
    assert all(cell.state == "done" for cell in cells)
    return {
        (cell.method, cell.configuration): {k: v for k, v in cell.numbers.items() if k != "training/seconds"}
        for cell in cells
    }


def run(study, folder, **options):
    return run_study(study, folder, executor="ray", progress=False, **options)


@contextmanager
def in_background(action):
    """Repeat an action in a thread until it returns True, or the context ends."""
    stop = threading.Event()

    def repeat():
        while not stop.is_set() and not action():
            time.sleep(0.01)

    thread = threading.Thread(target=repeat)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def test_numbers_equal_those_of_the_local_runner(cluster, study, expected, tmp_path):
    assert run(study, tmp_path) == {"done": 3}
    assert numbers(tmp_path) == expected and len(expected) == 3


def test_results_come_back_through_the_hub(cluster, hub, study, expected, tmp_path, monkeypatch):
    """Although the Hub rejects a commit once. Another folder then gets the cells from the repository."""
    hub.fail_next(1, status=429, match="/commit/")
    with point_clients_at(hub, tmp_path / "home"):
        assert run(study, tmp_path / "first", results_repo="user/results") == {"done": 3}
        assert numbers(tmp_path / "first") == expected
        assert len(list((tmp_path / "first" / "extractors").glob("*/config.json"))) == 1
        monkeypatch.setattr(ray, "init", None)
        monkeypatch.setattr(ray, "is_initialized", lambda: False)
        assert run(study, tmp_path / "second", results_repo="user/results") == {"done": 3}
    assert numbers(tmp_path / "second") == expected
    assert hub.repos["dataset", "user/results"].private


def test_killed_workers_are_replaced(cluster, tmp_path):
    """A cell whose worker was killed once is run again; one that was killed twice has failed."""
    study = write_study(tmp_path / "tiny.yaml", methods={**STUDY["methods"], "configurations": [1]})
    folder, _, plan, _ = prepare_study(study, tmp_path / "out")
    kills = {folder.lock(cell): number for cell, number in zip(plan.runnable(), (2, 1), strict=True)}
    killed = set()

    def kill():
        for lock, number in kills.items():
            try:
                process = json.loads(lock.read_text())["process"]
            except (OSError, ValueError):
                continue
            if number and process not in killed:
                os.kill(process, signal.SIGKILL)
                killed.add(process)
                kills[lock] -= 1
        return not any(kills.values())

    with in_background(kill):
        assert run(study, tmp_path / "out") == {"done": 1, "failed": 1}
    assert len(killed) == 3
    failed, done = load_results(folder).cells
    assert "worker was killed 2 times" in failed.error and done.state == "done"


def test_group_is_trained_by_one_worker(cluster, study, tmp_path):
    """The other cells of a group wait for it, and move with it if the folder is not shared."""
    folder, declared, plan, _ = prepare_study(study, tmp_path)
    first, second, alone = plan.runnable()
    assert first.group == second.group and first.group is not None and alone.group is None

    def take(results):
        driver = executor._Driver(folder, declared, plan, RayOptions(), inf, results, {})
        return [cell.id for cell in driver._take_cells(claims)]

    with ExitStack() as claims, claim(folder.group_lock(first.group)):
        assert take(None) == [alone.id]
    with ExitStack() as claims:
        assert take(None) == [first.id]
        assert take(HubResults("user/results")) == [first.id, second.id]
        assert holder(folder.lock(second)) and holder(folder.group_lock(first.group))
        assert take(HubResults("user/results")) == [alone.id]
    assert not list(folder.root.glob("claims/*"))


def test_cells_larger_than_the_nodes(cluster, study, tmp_path):
    with pytest.raises(RayClusterError, match="a cell reserves 64 CPUs and 0 GPUs, but .* have 2 CPUs and 0 GPUs"):
        run(study, tmp_path, cpus_per_cell=64)


def test_folder_that_a_node_does_not_see(study, tmp_path):
    folder, declared, plan, _ = prepare_study(study, tmp_path / "here")
    worker = RayWorker(StudyFolder(tmp_path / "there", folder.name), declared, plan, 1, "/", "0", None)
    with pytest.raises(ValueError, match="install the same version"):
        worker.start()
    worker.version = executor.__version__
    with pytest.raises(ValueError, match="does not exist on .*--results_repo"):
        worker.start()


def test_without_ray(study, tmp_path, monkeypatch):
    monkeypatch.setattr("gae_hub.core.argument_checks.find_spec", lambda name: None)
    with pytest.raises(ImportError, match=r"pip install 'gae_hub\[ray\]'"):
        run(study, tmp_path)


def test_cluster_that_disappears(cluster, study, expected, tmp_path, monkeypatch):
    """The error is raised before Ray ends the process, and the same call goes on, on a cluster that it starts."""
    monkeypatch.setattr(executor, "PATIENCE", 1.0)
    folder = StudyFolder(tmp_path, "tiny")

    def stop():
        if not any(folder.root.glob("claims/*.lock")):
            return False
        for process in psutil.Process().children(recursive=True):
            if process.name() in ("gcs_server", "raylet"):
                process.kill()
        return True

    with in_background(stop), pytest.raises(RayClusterError, match="is gone: finished cells are kept; run the same"):
        run(study, tmp_path, processes=1)
    ray.shutdown()
    assert run(study, tmp_path, processes=1) == {"done": 3}
    assert numbers(tmp_path) == expected and not ray.is_initialized()
