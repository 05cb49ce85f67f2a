"""A stand-in for the Hub, and machines with an empty cache that talk to it."""

from contextlib import contextmanager

import pytest
from localhub import LocalHub, point_clients_at


@pytest.fixture(scope="module")
def hub():
    """A hub with two users: alice, who also has a read-only token, and bob."""
    with LocalHub(users={"alice": {"token": "hf_alice"}, "bob": "hf_bob"}) as server:
        server.add_user("alice", "hf_readonly", role="read")
        yield server


@pytest.fixture
def machine(hub, tmp_path):
    """A context in which this process is a machine with an empty cache. Faults of the hub end with the test.

    `machine()` is logged in as alice, `machine(token=False)` is not logged in.
    """
    homes = (tmp_path / f"home-{number}" for number in range(100))

    @contextmanager
    def fresh_machine(token="hf_alice"):
        with point_clients_at(hub, next(homes), token=token):
            yield

    yield fresh_machine
    hub.clear_faults()


@pytest.fixture
def no_waiting(monkeypatch):
    """huggingface_hub retries at once instead of after up to 23 seconds."""
    monkeypatch.setattr("huggingface_hub.utils._http.time.sleep", lambda seconds: None)
