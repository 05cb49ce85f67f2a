"""The cache of models: what it keeps, and who waits for whom."""

from concurrent.futures import ThreadPoolExecutor
from threading import Event

from torch import nn

from gae_hub.spaces.model_cache import ModelCache

SECONDS = 30


def test_a_module_that_loads_blocks_no_other():
    cache, began, may_end = ModelCache(1 << 20), Event(), Event()

    def load_slowly():
        began.set()
        assert may_end.wait(SECONDS)
        return nn.Linear(1, 1)

    with ThreadPoolExecutor(1) as pool:
        slow = pool.submit(cache.get, "slow", load_slowly)
        assert began.wait(SECONDS)
        quick = ThreadPoolExecutor(1)
        try:
            module = quick.submit(cache.get, "quick", lambda: nn.Linear(1, 1)).result(SECONDS)
        finally:
            may_end.set()
            quick.shutdown()
        assert cache.get("quick", nn.Module) is module and cache.get("slow", nn.Module) is slow.result(SECONDS)
    assert cache.num_loaded == 2


def test_threads_that_need_the_same_module_load_it_once():
    cache, loaded = ModelCache(1 << 20), []

    def load():
        loaded.append(nn.Linear(1, 1))
        return loaded[-1]

    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: cache.get("one", load), range(50)))
    assert len(loaded) == 1 and all(module is loaded[0] for module in found)


def test_a_module_that_cannot_be_loaded_is_tried_again():
    cache = ModelCache(1 << 20)
    for _ in range(2):
        try:
            cache.get("one", lambda: 1 / 0)
        except ZeroDivisionError:
            pass
    assert isinstance(cache.get("one", lambda: nn.Linear(1, 1)), nn.Linear) and cache.num_loaded == 1


def test_modules_that_were_used_last_stay():
    cache = ModelCache(2 * 8)  # of two modules with two float32 each
    for key in ("a", "b", "a", "c"):
        cache.get(key, lambda: nn.Linear(1, 1))
    cache.get("a", nn.Module)
    assert len(cache) == 2 and cache.num_loaded == 3
