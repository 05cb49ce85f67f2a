"""What a visitor of a study's Space has chosen, and how the address of the page, and so a link, holds it."""

__all__ = ["TABS", "Choices", "first_choices", "read_choices"]

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any
from urllib.parse import parse_qs

from ..study.selection import Setup
from .request_checks import check_choice, check_integer
from .study_views import MAX_SAMPLES, MAX_SEED, MAX_STEPS, StudyViews

TABS = ("reconstruct", "sample", "interpolate", "tables", "methods", "study")
_NUM_PICKED = 8  # test images at the start
_NUM_SAMPLERS = 2  # samplers at the start


@dataclass(frozen=True)
class Choices:
    """The values of the controls. In an address, each field has its own name.

    Args:
        tab: the tab that is shown, of `TABS`.
        dataset, network, latent_dim: the models that are shown.
        task: the task that chose their configurations.
        methods: the rows.
        picked: indices of the test images that are reconstructed.
        samplers: the samplers that draw.
        num, seed: number of samples, and their seed.
        start, end: indices of the test images between which is interpolated.
        num_steps: number of images on a path.
        method: the method whose page is shown.
    """

    tab: str
    dataset: str
    network: str
    latent_dim: int
    task: str
    methods: list[str]
    picked: list[int]
    samplers: list[str]
    num: int
    seed: int
    start: int
    end: int
    num_steps: int
    method: str

    def to_dict(self) -> dict[str, Any]:
        """The values by name, as JSON has them."""
        return asdict(self)


def first_choices(views: StudyViews, setup: Setup) -> Choices:
    """What is chosen before a visitor chooses.

    Args:
        views: of the Space.
        setup: the data set, networks and latent dimensions.
    """
    methods, num_examples = list(views.compared.results.methods), len(views.compared.examples(setup))
    return Choices(
        tab=TABS[0],
        dataset=setup.dataset,
        network=setup.network,
        latent_dim=setup.latent_dim,
        task=views.compared.tasks[0],
        methods=methods,
        picked=list(range(min(_NUM_PICKED, num_examples))),
        samplers=views.compared.samplers[:_NUM_SAMPLERS],
        num=10,
        seed=0,
        start=0,
        end=min(1, num_examples - 1),
        num_steps=10,
        method=methods[0],
    )


def read_choices(views: StudyViews, query: str) -> tuple[Choices, list[str]]:
    """The choices that the query of an address names. All others are as at first.

    Args:
        views: of the Space.
        query: "?dataset=mnist&methods=VAE&methods=AE". A list that is present but empty is written "methods=".

    Returns:
        the choices; and an error for each that this Space does not have, which is as at first, too.
    """
    given, errors = parse_qs(query.removeprefix("?"), keep_blank_values=True), []
    first = first_choices(views, views.compared.setups[0])

    def read(name: str, parse: Callable[[list[str]], Any], default: Any) -> Any:
        try:
            return parse(given[name]) if name in given else default
        except ValueError as error:
            errors.append(str(error))
            return default

    place = [given.get(name, [str(getattr(first, name))])[-1] for name in ("dataset", "network", "latent_dim")]
    setup = next((s for s in views.compared.setups if [s.dataset, s.network, str(s.latent_dim)] == place), None)
    if setup is None:
        errors.append(f"this Space has no models for {', '.join(place)}")
        setup = views.compared.setups[0]
    first = first_choices(views, setup)
    compared, last = views.compared, len(views.compared.examples(setup)) - 1
    names = list(compared.results.methods)
    parsers = {
        "tab": _one_of("tab", TABS),
        "task": _one_of("task", compared.tasks),
        "methods": _several(_one_of("a method", names)),
        "picked": _several(_integer("an index of a test image", 0, last)),
        "samplers": _several(_one_of("a sampler", compared.samplers)),
        "num": _integer("the number of images", 1, MAX_SAMPLES),
        "seed": _integer("the seed", 0, MAX_SEED),
        "start": _integer("start", 0, last),
        "end": _integer("end", 0, last),
        "num_steps": _integer("the number of steps", 3, MAX_STEPS),
        "method": _one_of("a method", names),
    }
    found = {name: read(name, parse, getattr(first, name)) for name, parse in parsers.items()}
    return replace(first, **found), errors


def _one_of(name: str, known: Sequence[str]) -> Callable[[list[str]], str]:
    return lambda texts: check_choice(name, texts[-1], known)


def _integer(name: str, minimum: int, maximum: int) -> Callable[[list[str]], int]:
    def parse(texts: list[str]) -> int:
        text = texts[-1]
        return check_integer(name, int(text) if text.isdecimal() else text, minimum, maximum)

    return parse


def _several(parse: Callable[[list[str]], Any]) -> Callable[[list[str]], list[Any]]:
    return lambda texts: [] if texts == [""] else list(dict.fromkeys(parse([text]) for text in texts))
