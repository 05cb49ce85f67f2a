"""Files with odd content, and odd values of flags, are errors of one sentence with exit status 2."""

import json
import shutil
from collections import Counter

import pytest
import yaml
from cases import VAE
from fuzzing import broken_texts, check_reading, json_variants
from shell import run

from gae_hub.cli.main import main, make_parser
from gae_hub.cli.run_record import find_data
from gae_hub.core.yaml_files import read_yaml_file


@pytest.fixture(scope="module")
def folder(trained, tmp_path_factory):
    """A copy of the trained model with its sampler, whose files may be replaced."""
    copy = tmp_path_factory.mktemp("fuzzing") / "model"
    shutil.copytree(trained, copy)
    return copy


def command(capsys, *words):
    """A function that runs a command, and raises its message as a ValueError if it ends with status 2."""

    def read():
        status = main([str(word) for word in words])
        err = capsys.readouterr().err
        assert status in (0, 2) and "Traceback" not in err
        if status == 2:
            message = err[err.rindex("gae-hub ") :].removesuffix("\n(GAE_HUB_TRACEBACK=1 shows the traceback)\n")
            raise ValueError(message.strip())

    return read


# JSON files of a model's folder


@pytest.mark.parametrize(
    ("name", "number"),
    [
        ("config.json", 40),
        ("sampler/config.json", 40),
        ("preprocessor_config.json", 40),
    ],
)
def test_json_files_of_a_model(name, number, folder, tmp_path, capsys):
    file = folder / name
    variants = [*broken_texts(file.read_text()), *json_variants(json.loads(file.read_text()), number)]
    generate = command(capsys, "generate", folder, "--num_samples", 1, "--output", tmp_path / "a.png")
    outcomes = check_reading(file, variants, generate, allowed=(ValueError,))
    assert outcomes["rejected"] > len(variants) // 3 and outcomes.total() == len(variants), outcomes


def test_index_of_shards(tmp_path, capsys):
    model = VAE.build()
    model.save_pretrained(tmp_path / "model", max_shard_size="4KB")
    file = tmp_path / "model" / "model.safetensors.index.json"
    variants = [*broken_texts(file.read_text()), *json_variants(json.loads(file.read_text()), 40)]
    generate = command(capsys, "generate", tmp_path / "model", "--num_samples", 1, "--output", tmp_path / "a.png")
    generate()
    outcomes = check_reading(file, variants, generate, allowed=(ValueError,))
    assert outcomes["rejected"] > len(variants) // 3 and outcomes.total() == len(variants), outcomes


def test_training_facts(folder, capsys):
    """Facts and results that are not valid are ignored, and measuring works."""
    evaluate = command(capsys, "evaluate", folder, "--metrics", "mse")
    variants = [("list", "[1]"), ("results", '{"results": [1], "log": {"a": null}}')]
    outcomes = check_reading(folder / "training.json", variants, evaluate, allowed=())
    (folder / "results.json").write_text("[1]")
    evaluate()
    assert outcomes == {"read": 2} and json.loads((folder / "results.json").read_text())["metrics"]["mse"] > 0


# YAML files


YAML_TEXTS = {
    "unclosed list": b"model: [1",
    "tab": b"a:\n\t- 1",
    "python tag": b"model: !!python/object/apply:os.system ['touch exploded']",
    "python name": b"model: !!python/name:os.system",
    "unknown tag": b"model: !something 3",
    "timestamp": b"model: !!timestamp nonsense",
    "bool": b"model: !!bool maybe",
    "int": b"latent_dim: !!int ''",
    "float": b"beta: !!float x",
    "binary": b"model: !!binary '\xc3\xa9'",
    "set": b"model: !!set [1]",
    "key": b"? [a, b]\n: 1",
    "contains itself": b"model: &a [*a]",
    "billions": b"a: &a [1, 1, 1, 1, 1, 1, 1, 1, 1]\n"
    + b"".join(b"%c: &%c [%s]\n" % (c, c, b", ".join([b"*%c" % (c - 1)] * 9)) for c in range(98, 108)),
    "long number": b"latent_dim: " + b"9" * 5000,
    "two documents": b"a: 1\n---\nb: 2",
    "unknown alias": b"a: *b",
    "merge": b"<<: 5",
}


@pytest.mark.parametrize("name", YAML_TEXTS)
def test_yaml_texts(name, folder, tmp_path, capsys, monkeypatch):
    """As the record of a run and as a file of flags."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "flags.yaml").write_bytes(YAML_TEXTS[name])
    for file, read in (
        (folder / "run.yaml", command(capsys, "evaluate", folder, "--metrics", "mse")),
        (tmp_path / "flags.yaml", command(capsys, "train", "--config", "flags.yaml")),
    ):
        outcomes = check_reading(file, [(name, YAML_TEXTS[name])], read, allowed=(ValueError,))
        assert outcomes == {"rejected": 1}
    assert [path.name for path in tmp_path.iterdir()] == ["flags.yaml"]


def test_record_of_a_run(folder, capsys):
    file = folder / "run.yaml"
    before = file.read_text()
    record = {**yaml.safe_load(before), "image_size": [8, 8], "channels": 1, "validation_size": 0.1}
    read_keys = {name: record[name] for name in ("dataset", "image_size", "channels", "validation_size")}
    variants = [*broken_texts(json.dumps(record)), *json_variants(record, 30), *json_variants(read_keys, 30)]
    outcomes = check_reading(file, variants, lambda: find_data(folder, None), allowed=(ValueError,))
    assert outcomes["rejected"] > 15 and outcomes["read"] > 15 and outcomes.total() == len(variants), outcomes
    for text, message in (
        ("", "expected one flag per line, such as"),
        ("validation_size: many", "validation_size: expected a number, got 'many'"),
        ("validation_size: .inf", "validation_size: expected a share below 1, or a number of examples, got inf"),
        ("image_size: [8, null]", "image_size: expected an edge length, or height and width, got [8, None]"),
        ("image_size: [[8, 8], 8]", "image_size: expected an edge length, or height and width, got [[8, 8], 8]"),
        ("image_size: []", "image_size: expected an edge length, or height and width, got []"),
        ("dataset: [digits]", "dataset: expected a string, got ['digits']"),
        ("dataset: é".encode("latin-1").decode("utf-8", "surrogateescape"), "it is not UTF-8 text"),
    ):
        file.write_bytes(text.encode("utf-8", "surrogateescape"))
        assert run("evaluate", folder, "--metrics", "mse") == 2
        assert capsys.readouterr().err.startswith(f"gae-hub evaluate: {file}: {message}")
    file.write_text(before)


def test_file_of_flags(tmp_path):
    """Every kind of flag, read by its type."""
    file, parser = tmp_path / "flags.yaml", make_parser("train")
    parser.extend(parser, [])
    flags = {
        "beta": 1.0,
        "latent_dim": 2,
        "encoder": {"model_type": "mlp"},
        "decoder": "mlp",
        "likelihood": "gaussian",
    }
    flags |= {"learning_rate": 1e-3, "disable_tqdm": True, "report_to": ["none"], "lr_scheduler_kwargs": {"a": 1}}
    flags |= {"model": "beta_vae", "image_size": 8, "channels": 1, "validation_size": 10, "recipe": "paper", "seed": 1}
    file.write_text(json.dumps(flags))

    def read():
        parser.set_from_yaml(read_yaml_file(file), str(file))

    read()
    variants = [*broken_texts(file.read_text()), *json_variants(flags, 120)]
    outcomes = check_reading(file, variants, read, allowed=(ValueError,))
    assert outcomes["rejected"] > 40 and outcomes["read"] > 20 and outcomes.total() == len(variants), outcomes


# README.md


def test_a_card_that_is_not_utf8_stays(folder, capsys, caplog):
    """The command succeeds, and says what to do."""
    card = folder / "README.md"
    before = card.read_bytes()
    try:
        latin = before + "\nDer Größe nach.".encode("latin-1")
        card.write_bytes(latin)
        assert run("evaluate", folder, "--metrics", "mse") == 0
        assert card.read_bytes() == latin and "README.md' was not updated, because it is not UTF-8 text" in caplog.text
    finally:
        card.write_bytes(before)


# Values of flags

ODD = (
    "[",
    "{",
    "]",
    "{a",
    "{a: 1}",
    "[1",
    "!!python/name:os.system",
    "nan",
    "inf",
    "-1",
    "",
    " ",
    "9" * 5000,
    "\udcff",
    "é",
)


@pytest.mark.parametrize("flag", ["beta", "latent_dim", "encoder", "likelihood", "validation_size", "image_size"])
def test_odd_values_of_flags(flag, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("gae_hub.training.trainer.GAETrainer.train", lambda *args, **kwargs: None)
    monkeypatch.setattr("gae_hub.cli.train._save_run", lambda *args: None)
    outcomes, faults = Counter(), []
    for value in ODD:
        try:
            command(capsys, "train", "--output_dir", tmp_path / "out", f"--{flag}", value)()
            outcomes["read"] += 1
        except ValueError as error:
            outcomes["rejected"] += 1
            if "\n" in str(error) or not 20 < len(str(error)) < 500 + len(value):
                faults.append(f"{value}: {error}")
    assert faults == [] and outcomes.total() == len(ODD) and outcomes["rejected"] > 5, outcomes


def test_brackets_that_are_not_closed(capsys):
    for flag, message in (
        ("--beta", "expected a number, got '['"),
        ("--encoder", "expected a dict or a string, got '{'"),
    ):
        assert run("train", flag, message[-2]) == 2
        assert capsys.readouterr().err == f"gae-hub train: {flag}: {message}\n"
