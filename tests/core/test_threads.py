"""Threads of linear algebra libraries."""

import pytest
import torch
from threadpoolctl import threadpool_info, threadpool_limits

from gae_hub import GaussianMixtureSampler
from gae_hub.core.threads import single_thread
from gae_hub.metrics.functional.probe import LinearProbe


def num_threads():
    return {pool["num_threads"] for pool in threadpool_info()}


def test_one_thread_within_the_block_and_the_former_number_after_it():
    with threadpool_limits(3):
        before = num_threads()
        with single_thread():
            assert num_threads() == {1}
        assert num_threads() == before != {1}
        with pytest.raises(KeyError), single_thread():
            raise KeyError
        assert num_threads() == before


@pytest.mark.parametrize(
    ("place", "fit"),
    [
        ("sklearn.linear_model.LogisticRegression.fit", lambda z, y: LinearProbe(z, y)),
        ("sklearn.mixture.GaussianMixture.fit", lambda z, y: GaussianMixtureSampler(num_components=2).fit(z)),
    ],
)
def test_small_problems_of_scikit_learn_have_one_thread(monkeypatch, place, fit):
    seen = []
    module, name, method = place.rsplit(".", 2)
    owner = getattr(__import__(module, fromlist=[name]), name)
    original = getattr(owner, method)

    def watched(*args, **kwargs):
        seen.append(num_threads())
        return original(*args, **kwargs)

    monkeypatch.setattr(owner, method, watched)
    with threadpool_limits(2):
        fit(torch.randn(40, 3), torch.arange(40) % 2)
    assert seen == [{1}]
