"""Published weights: cached after the first load, under different names for different files."""

import hashlib
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest
import torch
from fuzzing import check_reading, safetensors_variants
from safetensors.torch import load_file

from gae_hub.data.caches import hash_tensors
from gae_hub.metrics.networks.downloads import load_published_weights


def test_one_file_name_at_two_urls(tmp_path):
    for value in (0, 1):
        (tmp_path / str(value)).mkdir()
        torch.save({"a": torch.full((2,), float(value))}, tmp_path / str(value) / "heads.pth")
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(SimpleHTTPRequestHandler, directory=tmp_path))
    Thread(target=server.serve_forever, daemon=True).start()
    try:
        urls = [f"http://127.0.0.1:{server.server_port}/{value}/heads.pth" for value in (0, 1)]
        first = [load_published_weights(url, None, "net", "pass its path", progress=False) for url in urls]
    finally:
        server.shutdown()
        server.server_close()
    again = [load_published_weights(url, None, "net", "pass its path") for url in urls]  # the server is down
    assert [state["a"].tolist() for state in (*first, *again)] == 2 * [[0.0, 0.0], [1.0, 1.0]]


def test_later_loads_read_safetensors(tmp_path, monkeypatch):
    state = {"a": torch.rand(3), "b": torch.arange(4)}
    torch.save(state, tmp_path / "net.pth")
    digest = hashlib.sha256((tmp_path / "net.pth").read_bytes()).hexdigest()
    first = load_published_weights(tmp_path / "net.pth", digest[:8], "net", "pass its path")
    monkeypatch.setattr("torch.load", None)
    (tmp_path / "net.pth").unlink()
    again = load_published_weights(tmp_path / "net.pth", digest[:8], "net", "pass its path")
    assert hash_tensors(first) == hash_tensors(again) == hash_tensors(state)
    assert hash_tensors(state) != hash_tensors({**state, "a": torch.zeros(3)})


def test_a_damaged_cache_is_written_again(tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HOME", str(tmp_path / "home"))
    torch.save({"a": torch.rand(3)}, tmp_path / "net.pth")
    digest = hashlib.sha256((tmp_path / "net.pth").read_bytes()).hexdigest()

    def load():
        return load_published_weights(tmp_path / "net.pth", digest[:8], "net", "pass its path")

    first = load()
    (cached,) = (tmp_path / "home" / "gae_hub" / "weights").iterdir()
    variants = list(safetensors_variants(cached.read_bytes()))
    outcomes = check_reading(cached, variants, load, allowed=())
    assert outcomes == {"read": len(variants)} and len(variants) > 40
    cached.write_bytes(cached.read_bytes()[:50])
    assert torch.equal(load()["a"], first["a"]) and torch.equal(load_file(cached)["a"], first["a"])


def test_missing_files(tmp_path):
    with pytest.raises(OSError, match="the weights file of net does not exist: .*; download it .* then pass its path"):
        load_published_weights(tmp_path / "no.pth", None, "net", "pass its path")
    with pytest.raises(OSError, match="cannot download the weights of net from http://127.0.0.1:9/net.pth"):
        load_published_weights("http://127.0.0.1:9/net.pth", None, "net", "pass its path")
