"""`gae-hub list`."""

from shell import run


def test_methods_samplers_networks_and_metrics_are_listed(capsys):
    assert run("list") == 0
    out = capsys.readouterr().out
    for part in ("beta_vae", "arXiv:1312.6114", "gaussian_mixture", "arXiv:1903.12436", "paper_resnet", "clustering"):
        assert part in out
