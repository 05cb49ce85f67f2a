"""Errors of the library in the spelling of the command line."""

import pytest

from gae_hub.cli.spelling import errors_in_flags, spell_as_flags

FLAGS = ("image_size", "channels", "on_error", "overwrite", "model", "num_components", "learning_rates")


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ("differ in size; pass image_size to resize them", "differ in size; pass --image_size to resize them"),
        ("pass channels=1 or channels=3", "pass --channels 1 or --channels 3"),
        ("skip such images with on_error='skip'", "skip such images with --on_error skip"),
        ("pass on_error='two words'", "pass --on_error 'two words'"),
        ("or overwrite=True.", "or --overwrite true."),
        ("set learning_rates={'a': 1}", "set --learning_rates '{'a': 1}'"),
        ("num_components is 10, but", "--num_components is 10, but"),
        ("this model has 3 channels", "this model has 3 channels"),
        ("use --image_size 3", "use --image_size 3"),
        ("the file data/image_size/a.png of 'image_size'", "the file data/image_size/a.png of 'image_size'"),
        ("GaussianMixtureSampler(num_components=3)", "GaussianMixtureSampler(num_components=3)"),
    ],
)
def test_spelling(message, expected):
    assert spell_as_flags(message, FLAGS) == expected


def test_errors_keep_their_type_and_traceback():
    error = ValueError("pass image_size")
    with pytest.raises(ValueError, match="^pass --image_size$") as caught, errors_in_flags(FLAGS):
        raise error
    assert caught.value is error
    with pytest.raises(KeyError, match="image_size"), errors_in_flags(FLAGS):
        raise KeyError("image_size")
