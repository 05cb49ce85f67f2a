"""Claims: of all workers that want a cell, one gets it; those of dead workers are taken over."""

import json
import os
import platform
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from child_processes import child_environment

from gae_hub.core.processes import start_of
from gae_hub.study import claims
from gae_hub.study.claims import PATIENCE, claim, holder, remove_claims_of

DEAD = 2**22 + 1  # above the largest process id


def write_lock(path, age=0.0, **changes):
    """A lock file that another worker has written, `age` seconds ago."""
    own = {"token": "other", "process": os.getpid(), "started": start_of(os.getpid()), "host": platform.node()}
    path.write_text(json.dumps({**own, **changes}))
    moment = time.time() - age
    os.utime(path, (moment, moment))


def test_claim(tmp_path):
    """It can be held once, says who holds it, and leaves nothing behind."""
    path = tmp_path / "claims" / "cell.lock"
    assert holder(path) is None
    with claim(path) as held:
        assert held is not None and claim(path) is None
        found = holder(path)
        assert found is not None and (found["process"], found["host"]) == (os.getpid(), platform.node())
    assert list(path.parent.iterdir()) == [] and holder(path) is None
    with claim(path) as held:
        assert held is not None


def test_released_after_an_error(tmp_path):
    """Also when the work fails, or is interrupted."""
    path = tmp_path / "cell.lock"
    for error in (ValueError, KeyboardInterrupt):
        with pytest.raises(error), claim(path):
            raise error
        assert not path.exists()


@pytest.mark.parametrize("abandoned", [False, True])
def test_threads_race(tmp_path, abandoned):
    """Of eight threads that start at once, exactly one wins; also for the lock of a dead worker."""
    barrier = threading.Barrier(8)

    def race(path):
        barrier.wait()
        return claim(path)

    with ThreadPoolExecutor(8) as pool:
        for number in range(60):
            path = tmp_path / f"{number}.lock"
            if abandoned:
                write_lock(path, process=DEAD)
            won = [found for found in pool.map(race, [path] * 8) if found is not None]
            assert len(won) == 1
            assert json.loads(path.read_text())["token"] == won[0].token
            won[0].release()
    assert list(tmp_path.iterdir()) == []


RACE = """
import sys, time
from pathlib import Path
from gae_hub.study.claims import claim
folder, name = Path(sys.argv[1]), sys.argv[2]
(folder / f"ready-{name}").touch()
while not (folder / "go").exists():
    time.sleep(0.001)
won = []
for number in range(150):
    held = claim(folder / f"{number}.lock")
    if held is not None:
        won.append((number, held))  # released when all are claimed
print([number for number, _ in won], flush=True)
sys.stdin.read()
"""


def test_processes_race(tmp_path):
    """Of four processes that claim 150 locks at once, each lock has one winner. Half of the locks are abandoned."""
    for number in range(0, 150, 2):
        write_lock(tmp_path / f"{number}.lock", process=DEAD)
    command = [sys.executable, "-c", RACE, str(tmp_path)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True, "env": child_environment()}
    processes = [subprocess.Popen([*command, str(name)], **pipes) for name in range(4)]
    try:
        while len(list(tmp_path.glob("ready-*"))) < 4:
            assert all(process.poll() is None for process in processes)
            time.sleep(0.01)
        (tmp_path / "go").touch()
        won = [json.loads(process.stdout.readline()) for process in processes]
    finally:
        for process in processes:
            process.communicate("")
    assert sorted(number for numbers in won for number in numbers) == list(range(150))


def test_dead_worker_of_this_machine(tmp_path):
    """Its claim is taken over at once, however fresh it is."""
    path = tmp_path / "cell.lock"
    write_lock(path, process=DEAD)
    assert holder(path) is None
    with claim(path) as held:
        assert held is not None


def test_process_id_that_was_reused(tmp_path):
    """A process of the same id that started at another time is another process."""
    path = tmp_path / "cell.lock"
    write_lock(path, started="before")
    assert holder(path) is None


def test_living_worker_of_this_machine(tmp_path):
    """Its claim holds, even without a sign of life: it may be suspended."""
    path = tmp_path / "cell.lock"
    write_lock(path, age=100 * PATIENCE)
    assert holder(path) is not None and claim(path) is None


def test_worker_of_another_machine(tmp_path):
    """Its claim holds as long as it shows signs of life."""
    path = tmp_path / "cell.lock"
    write_lock(path, age=PATIENCE / 2, host="elsewhere", process=DEAD)
    assert claim(path) is None
    write_lock(path, age=2 * PATIENCE, host="elsewhere", process=DEAD)
    with claim(path) as held:
        assert held is not None


def test_dead_worker_that_is_known(tmp_path):
    """All of its locks are removed, and no others."""
    mine, same_process, same_host = (tmp_path / f"{name}.lock" for name in "abc")
    write_lock(mine, process=7, host="elsewhere")
    write_lock(same_process, process=7)
    write_lock(same_host, process=8, host="elsewhere")
    remove_claims_of(tmp_path, 7, "elsewhere")
    assert sorted(tmp_path.iterdir()) == [same_process, same_host]


@pytest.mark.parametrize("text", ["", "{", "[1]", "3", '"x"', "\x00\xff" * 9, '{"host": 5, "process": "x"}', "{}"])
def test_rubbish(tmp_path, text):
    """A lock file that says nothing useful, perhaps of another version, holds until it is old."""
    path = tmp_path / "cell.lock"
    path.write_text(text)
    assert claim(path) is None
    old = time.time() - 2 * PATIENCE
    os.utime(path, (old, old))
    with claim(path) as held:
        assert held is not None and holder(path) is not None


def test_rubbish_of_this_machine(tmp_path):
    """Values of other types than a process has do not raise."""
    path = tmp_path / "cell.lock"
    for process in ("x", None, -1, 2**70, 1.5, True, [1]):
        write_lock(path, process=process)
        assert holder(path) is None


def test_claim_that_was_taken_over(tmp_path):
    """The first worker, which was thought dead, does not remove the claim of the second."""
    path = tmp_path / "cell.lock"
    first = claim(path)
    assert first is not None
    write_lock(path)
    first.release()
    assert holder(path)["token"] == "other"


def test_lock_that_was_removed(tmp_path):
    """Releasing a claim whose file is gone does nothing."""
    path = tmp_path / "cell.lock"
    with claim(path):
        path.unlink()
    assert list(tmp_path.iterdir()) == []


def test_signs_of_life(tmp_path, monkeypatch):
    """While the claim is held, its file is touched; afterwards it is not."""
    monkeypatch.setattr(claims, "HEARTBEAT", 0.01)
    path = tmp_path / "cell.lock"
    held = claim(path)
    assert held is not None
    for _ in range(3):  # waits until it was touched
        os.utime(path, (0, 0))
        while path.stat().st_mtime == 0:
            time.sleep(0.01)
    held.release()
    assert not held._thread.is_alive()


def test_claim_that_changes_while_it_is_taken_over(tmp_path, monkeypatch):
    """A worker that finds a dead claim does not replace the claim that a third one has put there meanwhile."""
    path = tmp_path / "cell.lock"
    write_lock(path, process=DEAD)

    def late(found):
        known = holder(found)
        write_lock(path, token="third")
        return known

    monkeypatch.setattr(claims, "holder", late)
    assert claim(path) is None
    assert json.loads(path.read_text())["token"] == "third"
    assert [one.name for one in tmp_path.iterdir()] == ["cell.lock"]


def test_worker_that_died_while_it_took_over(tmp_path, monkeypatch):
    """The lock that it held for that is abandoned too."""
    path = tmp_path / "cell.lock"
    write_lock(path, process=DEAD)
    replace = os.replace

    def die(source, target):
        raise SystemExit

    monkeypatch.setattr(os, "replace", die)
    monkeypatch.setattr(claims.Path, "unlink", lambda *args, **kwargs: None)
    with pytest.raises(SystemExit):
        claim(path)
    monkeypatch.undo()
    assert os.replace is replace
    for left in tmp_path.glob(".cell.lock-*"):  # of a process that is dead now
        write_lock(left, process=DEAD, token="died")
    with claim(path) as held:
        assert held is not None
