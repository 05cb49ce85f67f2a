"""Values of flags and of YAML files are read by their declared types."""

from typing import Any, Literal

import pytest
from transformers import PreTrainedConfig

from gae_hub.cli.values import did_you_mean, read_value, type_name


@pytest.mark.parametrize(
    ("annotation", "text", "value"),
    [
        (int, "3", 3),
        (float, "1e-3", 0.001),
        (float, "4", 4.0),
        (float | int, "4", 4),
        (float | int, "4.0", 4.0),
        (float | int, "-1e-3", -0.001),
        (bool, "true", True),
        (bool, "No", False),
        (bool, "1", True),
        (bool | None, "null", None),
        (int | None, "none", None),
        (str, "1", "1"),
        (str, "true", "true"),
        (str, "1e-3", "1e-3"),
        (str | None, "none", "none"),
        (str | bool, "true", True),
        (str | bool, "no", "no"),
        (Literal["conv", "linear"], "conv", "conv"),
        (float | Literal["optimal"], "optimal", "optimal"),
        (float | Literal["optimal"], "0.5", 0.5),
        (list[int], "[1, 2]", [1, 2]),
        (list[int], "7", [7]),
        (tuple[str, ...], "[maf, iaf]", ("maf", "iaf")),
        (int | list[int], "7", 7),
        (str | list[str] | None, "tensorboard", "tensorboard"),
        (str | list[str] | None, "[tensorboard, wandb]", ["tensorboard", "wandb"]),
        (dict | str | None, '{"min_lr": 1e-5}', {"min_lr": 1e-5}),
        (dict | str | None, "config.json", "config.json"),
        (dict[str, dict], "{fid: {extrapolate: true}}", {"fid": {"extrapolate": True}}),
        (str | dict | PreTrainedConfig | None, "conv", "conv"),
    ],
)
def test_text_is_read_by_the_declared_type(annotation, text, value):
    found = read_value(annotation, text)
    assert found == value and type(found) is type(value)


@pytest.mark.parametrize(
    ("annotation", "value", "read"),
    [
        (float, 1, 1.0),
        (float, "1e-3", 0.001),
        (float | int, 4, 4),
        (bool, True, True),
        (list[int] | tuple[int, ...], [7, 5], [7, 5]),
        (str | dict | None, {"model_type": "mlp"}, {"model_type": "mlp"}),
        (dict[str, Any], {"a": [1]}, {"a": [1]}),
        (int | None, None, None),
    ],
)
def test_values_of_a_yaml_file_keep_their_types(annotation, value, read):
    found = read_value(annotation, value)
    assert found == read and type(found) is type(read)


@pytest.mark.parametrize(
    ("annotation", "value", "message"),
    [
        (int, "ten", "expected an integer, got 'ten'"),
        (int, 2.5, "expected an integer, got 2.5"),
        (int, True, "expected an integer, got True"),
        (int, None, "expected an integer, got None"),
        (float | int, "x", "expected a number, got 'x'"),
        (bool, "maybe", "expected true or false, got 'maybe'"),
        (str, 1, "expected a string, got 1; write '1' in quotes"),
        (
            Literal["gaussian", "bernoulli"],
            "gausian",
            "expected one of gaussian, bernoulli, got 'gausian'; did you mean",
        ),
        (float | Literal["optimal"], "best", "expected optimal or a number, got 'best'"),
        (list[int], "[1, x]", r"expected a list of integers, got '\[1, x\]'"),
        (int | list[int], "x", "expected an integer or a list of integers, got 'x'"),
        (dict[str, dict], "{fid: 1}", "expected a dict of dicts, got '{fid: 1}'"),
        (dict[str, dict], "[1]", r"expected a dict of dicts, got '\[1\]'"),
        (list[str], "[a", r"expected a list of strings, got '\[a'"),
    ],
)
def test_errors_name_the_expected_type(annotation, value, message):
    with pytest.raises(ValueError, match=f"^{message}"):
        read_value(annotation, value)


def test_type_names_in_help():
    assert type_name(float | int) == "int|float"
    assert type_name(Literal["a", "b"] | None) == "{a,b}"
    assert type_name(list[int] | tuple[int, ...] | None) == "list"


def test_did_you_mean():
    known = ["num_samples", "push_to_hub"]
    assert did_you_mean("num_sample", known, "--") == "; did you mean --num_samples?"
    assert did_you_mean("push", known) == "; did you mean push_to_hub?"
    assert did_you_mean("xyz", known) == ""
