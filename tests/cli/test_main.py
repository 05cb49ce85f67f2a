"""Dispatch, help, errors and exit status of `gae-hub`."""

import subprocess
import sys

import pytest
from shell import run

from gae_hub.cli.main import COMMANDS, make_parser


def python(code):
    process = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert process.returncode == 0, process.stderr
    return process.stdout.strip()


def test_help_lists_the_commands(capsys):
    assert run("--help") == 0
    out = capsys.readouterr().out
    assert all(f"\n  {name} " in out for name in COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(command, capsys):
    assert run(command, "--help") == 0
    out = capsys.readouterr().out
    assert out.startswith(f"usage: gae-hub {command}") and COMMANDS[command].__doc__.splitlines()[0][:40] in out


def test_help_and_usage_errors_load_no_heavy_package():
    code = """
import sys
from gae_hub.cli.main import COMMANDS, main
for words in (["--help"], ["trian"], ["generate", "--help"], ["evaluate", "m", "--num_sample", "3"], ["convert"]):
    main(words)
print(sorted({"torch", "transformers", "datasets"} & set(sys.modules)))
"""
    assert python(code).endswith("[]")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("trian", "gae-hub: unknown command trian; did you mean train?"),
        ("xyz", "gae-hub: unknown command xyz; `gae-hub --help` lists the commands"),
        ("--seed 3", "gae-hub: unknown flag --seed; `gae-hub --help` lists the commands"),
        ("generate m --num_sample 3", "gae-hub generate: unknown flag --num_sample; did you mean --num_samples?"),
        ("generate --num_sample=3", "gae-hub generate: unknown flag --num_sample; did you mean --num_samples?"),
        ("generate m --num_samples ten", "gae-hub generate: --num_samples: expected an integer, got 'ten'"),
        ("generate m --num_samples 0", "gae-hub generate: --num_samples: expected 1 or more, got 0"),
        ("generate m --batch_size -1", "gae-hub generate: --batch_size: expected 1 or more, got -1"),
        ("train-extractor --channels 2", "gae-hub train-extractor: --channels: expected one of 1, 3, 4, got '2'"),
        ("train-extractor --num_train_epochs -1", "gae-hub train-extractor: --num_train_epochs: expected 0 or more"),
        ("generate m --seed", "gae-hub generate: --seed: expected one argument"),
        ("generate m n", "gae-hub generate: unexpected argument 'n'; flags start with --"),
        ("evaluate m --push", "gae-hub evaluate: unknown flag --push; did you mean --push_to_hub?"),
        ("evaluate m --xyz", "gae-hub evaluate: unknown flag --xyz; `gae-hub evaluate --help` shows all flags"),
        ("evaluate m --options [1]", "gae-hub evaluate: --options: expected a dict of dicts, got '[1]'"),
        ("convert --from-pythae a", "gae-hub convert: unknown flag --from-pythae; did you mean --from_pythae?"),
        (
            "export m --output_dir d --format onix",
            "gae-hub export: --format: expected one of torch, onnx, diffusers, got 'onix'; did you mean onnx?",
        ),
        ("list x", "gae-hub list: unexpected argument 'x'; flags start with --"),
        ("quickstart --output d", "gae-hub quickstart: unknown flag --output; did you mean --output_dir?"),
        ("train-extractor --learning-rate 1", "gae-hub train-extractor: unknown flag --learning-rate; did you mean"),
    ],
)
def test_usage_errors_are_one_line(words, message, capsys):
    assert run(*words.split()) == 2
    captured = capsys.readouterr()
    assert captured.err.startswith(message) and captured.err.count("\n") == 1 and captured.out == ""


@pytest.mark.parametrize(
    ("words", "missing", "usage"),
    [
        ("generate", "model", "usage: gae-hub generate model [flags]"),
        ("fit-sampler --sampler maf", "model", "usage: gae-hub fit-sampler model [flags]"),
        (
            "convert --from_pythae a",
            "--output_dir",
            "usage: gae-hub convert (--from_pythae | --from_diffusers) NAME --output_dir DIR [flags]",
        ),
        ("export m", "--output_dir", "usage: gae-hub export model --output_dir DIR [flags]"),
    ],
)
def test_a_missing_argument_is_named_with_the_usage(words, missing, usage, capsys):
    command = words.split()[0]
    assert run(*words.split()) == 2
    err = capsys.readouterr().err
    assert err.startswith(f"gae-hub {command}: missing argument: {missing}\n{usage}") and err.count("\n") == 2


def test_a_missing_command_lists_the_commands(capsys):
    assert run() == 2
    assert capsys.readouterr().err.startswith("gae-hub: missing command: train, fit-sampler, generate, ")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["generate", "no-such-folder/x/y"], "is neither a local folder nor a Hub repository that you can read"),
        (["evaluate", "TRAINED", "--metrics", "fidd"], "unknown metric 'fidd': did you mean 'fid'?"),
        (["evaluate", "TRAINED", "--split", "dev"], "'digits' has no split 'dev'"),
        (["train", "--beta", "-1"], "beta must be 0 or more, got -1"),
        (["train", "--beta", "-1e-3"], "beta must be 0 or more, got -0.001"),
        (["train", "--encoder", "resnt"], "did you mean 'resnet'?"),
        (["train", "--likelihood", "gausian"], "likelihood 'gausian' is not registered; did you mean 'gaussian'?"),
        (["train", "--eval_strategy", "daily"], "daily is not a valid IntervalStrategy"),
    ],
)
def test_other_errors_are_shown_without_a_traceback(words, message, trained, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert run(*[trained if word == "TRAINED" else word for word in words]) == 2
    err = capsys.readouterr().err
    assert message in err and err.startswith(f"gae-hub {words[0]}: ") and "Traceback" not in err
    assert err.endswith("(GAE_HUB_TRACEBACK=1 shows the traceback)\n")


def test_errors_are_raised_on_request(monkeypatch):
    monkeypatch.setenv("GAE_HUB_TRACEBACK", "1")
    with pytest.raises(ValueError, match="no autoencoder is called"):
        run("train", "--model", "x")


def test_a_missing_extra_is_shown_without_a_traceback(monkeypatch, trained, tmp_path, capsys):
    def fail(*args):
        raise ImportError("this needs the extra 'onnx'")

    monkeypatch.setattr("gae_hub.conversion.export.export_model", fail)
    assert run("export", trained, "--output_dir", tmp_path) == 2
    assert "gae-hub export: this needs the extra 'onnx'" in capsys.readouterr().err


def test_ctrl_c_shows_no_traceback(monkeypatch, capsys, tmp_path):
    def stop(*args, **kwargs):
        raise KeyboardInterrupt("training was stopped at step 3")

    monkeypatch.setattr("gae_hub.training.trainer.GAETrainer.train", stop)
    assert run("train", "--output_dir", tmp_path, "--latent_dim", 3) == 130
    assert "gae-hub train: training was stopped at step 3" in capsys.readouterr().err


@pytest.mark.slow
def test_a_closed_output_pipe_is_not_an_error():
    process = subprocess.run(
        f"{sys.executable} -m gae_hub.cli list | head -n 1", shell=True, capture_output=True, text=True
    )
    assert process.stdout.startswith("method") and process.stderr == ""


# The vocabulary of all commands


@pytest.fixture(scope="module")
def parsers():
    """The parser of each command, with the flags of its default method or sampler."""
    found = {name: make_parser(name) for name in COMMANDS}
    for parser in found.values():
        if parser.extend is not None:
            parser.extend(parser, [])
    return found


@pytest.mark.parametrize("name", ["seed", "batch_size", "image_size", "channels", "sampler_name", "push_to_hub"])
def test_flags_of_several_commands_have_one_help_text_and_default(name, parsers):
    flags = [parser.flags[name] for parser in parsers.values() if name in parser.flags]
    assert len(flags) > 1 and len({(flag.type, flag.help, flag.default or None) for flag in flags}) == 1


def test_one_vocabulary(parsers):
    with_flag = {
        flag: {name for name, parser in parsers.items() if flag in parser.flags}
        for flag in ("output_dir", "output", "sampler", "sampler_name", "dataset")
    }
    assert with_flag == {
        "output_dir": {
            "train",
            "generate",
            "convert",
            "export",
            "train-extractor",
            "quickstart",
            "study run",
            "space",
        },
        "output": {"generate", "reconstruct", "embed", "evaluate"},
        "sampler": {"fit-sampler"},
        "sampler_name": {"fit-sampler", "generate", "evaluate"},
        "dataset": {"train", "fit-sampler", "reconstruct", "embed", "evaluate", "train-extractor", "export", "space"},
    }
    for name, parser in parsers.items():
        assert all(flag == flag.lower() and "-" not in flag for flag in parser.flags)
        takes_model = name in ("fit-sampler", "generate", "reconstruct", "embed", "evaluate", "export", "space")
        assert parser.usage.startswith("%(prog)s model") == takes_model
