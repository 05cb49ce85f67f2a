"""docs/metrics.md: its snippets run, and its tables agree with the code."""

import inspect
import re
import runpy
import shlex
import shutil
from pathlib import Path

import pytest

from gae_hub.cli.main import main, make_parser
from gae_hub.metrics import METRICS, Passport
from gae_hub.metrics.functional import disentanglement

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "metrics.md").read_text(encoding="utf-8")


@pytest.mark.slow
def test_snippets_run(trained, tmp_path, monkeypatch):
    blocks = re.findall(r"^```(\w*)\n(.*?)^```$", PAGE, re.S | re.M)
    shell, session = (body for language, body in blocks if not language)
    measure, pytorch_fid = (body for language, body in blocks if language == "python")
    shutil.copytree(trained, tmp_path / "betavae-digits")
    monkeypatch.chdir(tmp_path)
    train, evaluate = (shlex.split(line)[1:] for line in shell.splitlines())
    assert main([*train, "--num_train_epochs", "2"]) == 0 and main(evaluate) == 0
    assert (tmp_path / "betavae-digits" / "results.json").is_file()
    scope = {}
    exec(measure, scope)
    exec(pytorch_fid, scope)
    assert scope["fid"].engine._source == ("inception", {"weights": None, "resize": "pytorch"})
    (fewer, compare), message = re.findall(r">>> (.*)", session), session.partition("ValueError: ")[2].strip()
    exec(fewer, scope)
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        eval(compare, scope)
    recorded = set(scope["numbers"]["fid"].passport.to_dict())
    assert {"extractor_sha256", "resize", "references_fingerprint", "library"} <= recorded
    assert recorded <= set(Passport.__dataclass_fields__)


def test_table_of_metrics_is_up_to_date():
    update = runpy.run_path(str(ROOT / "scripts" / "update_readme.py"))
    assert update["update_metrics_page"](PAGE) == PAGE, "run python scripts/update_readme.py"
    assert len(METRICS) == 24 and all(f"| `{name}` | " in PAGE for name in METRICS)


@pytest.mark.parametrize(
    ("name", "function", "options"),
    [
        ("mig", disentanglement.mutual_information_gap, {"num_bins": "20 bins"}),
        ("dci", disentanglement.dci, {"num_trees": "50 trees"}),
        (
            "factor_vae_score",
            disentanglement.factor_vae_score,
            {"num_votes": "800 votes", "batch_size": "64 rows"},
        ),
        ("beta_vae_score", disentanglement.beta_vae_score, {"num_votes": "5000 draws", "batch_size": "64 pairs"}),
    ],
)
def test_definitions_state_the_defaults(name, function, options):
    (row,) = [line for line in PAGE.partition("## Disentanglement")[2].splitlines() if line.startswith(f"| `{name}`")]
    for option, words in options.items():
        assert words in row and str(inspect.signature(function).parameters[option].default) == words.split()[0]
    assert f"{disentanglement.INACTIVE}" in PAGE


def test_commands_and_paths_exist():
    assert all((ROOT / path).is_file() for path in re.findall(r"scripts/\w+\.py", PAGE))
    flags = set(re.findall(r"`--(\w+)", PAGE))
    assert flags and flags <= make_parser("evaluate").flags.keys()
