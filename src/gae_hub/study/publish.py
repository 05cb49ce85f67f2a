"""Publishes a study on the Hub: its models, its results as a data set, its page as a Space, and a collection."""

__all__ = ["Publication", "publish_study"]

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

from huggingface_hub import HfApi, get_token
from tqdm.auto import tqdm
from transformers.utils import logging

from .._version import __version__
from ..core.argument_checks import suggest
from ..core.hub_errors import TOKENS, HubError, explained
from ..hub.cards.facts import is_repo_id
from ..training.quiet import hide_progress_bars
from .collect import load_results
from .digests import digest
from .folder import StudyFolder
from .publish_collection import publish_collection
from .publish_models import (
    CHOICES,
    FORMAT,
    Choice,
    StudyModel,
    build_model,
    choose_models,
    describe_numbers,
    describe_study,
    model_digest,
)
from .publish_repository import Publisher
from .publish_results import build_results, count_states
from .publish_space import build_space
from .results import StudyResults

logger = logging.get_logger(__name__)

RESULTS_SUFFIX = "-results"
_MAX_NAME = 96 - len(RESULTS_SUFFIX)


@dataclass(frozen=True)
class Publication:
    """A published study.

    Args:
        models: repositories of the models.
        results: repository of the data set.
        page: repository of the Space.
        collection: URL of the collection.
        num_commits: number of repositories that were published now; the others had their content already.
        left_out: models that were not published, and why.
        states: number of cells by state, in words.
    """

    models: list[str]
    results: str
    page: str
    collection: str
    num_commits: int
    left_out: dict[str, str]
    states: str


def publish_study(
    folder: StudyFolder,
    repo_id: str,
    *,
    models: Choice = "chosen",
    private: bool | None = None,
    license: str | None = None,
    token: str | bool | None = None,
    progress: bool = True,
) -> Publication:
    """Publish what is done of a study, or go on with it: each repository gets one commit, and only if it changed.

    The models go to `user/name-method-configuration`, the results to the data set `user/name-results`, the page to the
    Space `user/name`, and all of them into the collection `name`. Nothing in the folder of the study changes.

    Args:
        folder: of the study.
        repo_id: `user/name`.
        models: which models are published: "chosen" for those whose configuration is chosen on validation for a task,
            "all" that are done, or "none".
        private: whether new repositories are private; None for the account's default.
        license: license for the cards, such as "mit". By default cards keep theirs; new ones have apache-2.0.
        token: token of the Hub; by default that of `hf auth login`.
        progress: whether to show a progress bar.

    Raises:
        ValueError: if nothing is done, the name is not possible, or a repository of that name holds something else.
        HubError: if the network or the Hub fails, or the token may not write there. What is published stays.
    """
    if models not in CHOICES:
        raise ValueError(f"unknown choice of models '{models}'; {suggest(str(models), CHOICES, 'choices are')}")
    results = load_results(folder)
    if not any(cell.state == "done" for cell in results.cells):
        raise ValueError(f"no cell of the study '{results.name}' is done ({count_states(results)}): run it first")
    _check_name(repo_id)
    _check_token(repo_id, token)
    found, left_out = _leave_out_changed(choose_models(results, models, repo_id))
    return _Publication(results, repo_id, found, left_out, private, license, token).run(progress)


def _check_name(repo_id: str):
    """Raise ValueError unless the name and those derived from it are possible on the Hub."""
    if not is_repo_id(repo_id):
        raise ValueError(
            f"expected a name on the Hub, user/name with letters, digits, '-', '_' and '.', got '{repo_id}'"
        )
    name = repo_id.partition("/")[2]
    if len(name) > _MAX_NAME:
        raise ValueError(f"the name '{name}' has {len(name)} characters; choose one of at most {_MAX_NAME}")


def _check_token(repo_id: str, token: str | bool | None):
    """Raise HubError unless the token may write to the namespace, as far as the Hub says."""
    namespace = repo_id.partition("/")[0]
    if token is False or (not isinstance(token, str) and not get_token()):
        raise HubError(
            f"cannot publish to '{repo_id}': a token is required; run `hf auth login` or pass token=, see {TOKENS}"
        )
    with explained("publish to", repo_id, token):
        account = HfApi(token=token).whoami()
    owned = [account["name"], *(org["name"] for org in account.get("orgs", []))]
    if namespace not in owned:
        raise HubError(
            f"cannot publish to '{repo_id}': the token belongs to '{account['name']}'; choose a name of "
            f"{', '.join(f'{name}/' for name in owned)} or another token"
        )
    role = account.get("auth", {}).get("accessToken", {}).get("role")
    if role == "read":
        raise HubError(
            f"cannot publish to '{repo_id}': the token may only read; it needs the role 'write', see {TOKENS}"
        )


def _leave_out_changed(models: list[StudyModel]) -> tuple[list[StudyModel], dict[str, str]]:
    """The models whose files are those that were measured, and why the others are left out."""
    kept, left_out = [], {}
    for model in models:
        changed = model.find_changed_file()
        if changed is None:
            kept.append(model)
        else:
            left_out[model.folder.name] = f"{changed} was changed after it was measured; run the study again"
            logger.warning(f"{model.folder.name} is left out: {left_out[model.folder.name]}")
    return kept, left_out


class _Publication:
    """The repositories of a study, published one after the other."""

    def __init__(
        self,
        results: StudyResults,
        repo_id: str,
        models: list[StudyModel],
        left_out: dict[str, str],
        private: bool | None,
        license: str | None,
        token: str | bool | None,
    ):
        self.results, self.models, self.left_out = results, models, left_out
        self.page, self.results_repo = repo_id, repo_id + RESULTS_SUFFIX
        self.private, self.license, self.token = private, license, token
        self.publisher = Publisher(results.name, private, token)
        self.num_commits = self.num_ready = 0
        self.num_steps = len(models) + 3  # data set, Space and collection

    def run(self, progress: bool) -> Publication:
        self.publisher.check(self.results_repo, "dataset")
        self.publisher.check(self.page, "space")
        for model in self.models:
            self.publisher.check(model.repo_id, "model")
        bar = tqdm(total=self.num_steps, desc="publishing", unit=" repositories", disable=not progress)
        try:
            with bar, hide_progress_bars():
                for repo_id in self._publish():
                    self.num_ready += 1
                    bar.set_postfix_str(repo_id, refresh=False)
                    bar.update()
        except HubError as error:
            raise HubError(
                f"{error}; {self.num_ready} of {self.num_steps} parts of the study are published and stay; the same "
                "line goes on"
            ) from error
        return Publication(
            [model.repo_id for model in self.models],
            self.results_repo,
            self.page,
            self.collection,
            self.num_commits,
            self.left_out,
            count_states(self.results),
        )

    def _publish(self) -> Iterator[str]:
        """Publish one part after the other, and yield the name of each."""
        for model in self.models:
            study = describe_study(self.results, model, self.results_repo, self.page)
            wanted = model_digest(model, study, self.license)
            build = partial(build_model, model, study, self.license)
            self.num_commits += self.publisher.publish(model.repo_id, "model", wanted, build)
            yield model.repo_id
        yield self._publish_results()
        yield self._publish_page()
        yield self._publish_collection()

    def _publish_results(self) -> str:
        repos = {model.folder: model.repo_id for model in self.models}

        def build(folder: Path):
            build_results(self.results, repos, self.results_repo, self.page, self.license, folder)

        self.num_commits += self.publisher.publish(self.results_repo, "dataset", self._digest(), build)
        return self.results_repo

    def _publish_page(self) -> str:
        repos = {model.folder: model.repo_id for model in self.models}

        def build(folder: Path):
            build_space(self.results, repos, self.results_repo, self.license, folder)

        self.num_commits += self.publisher.publish(self.page, "space", self._digest(), build)
        return self.page

    def _publish_collection(self) -> str:
        namespace, _, name = self.page.partition("/")
        title = self.results.title
        items = [
            (self.page, "space", f"Tables and figures of {title}"),
            (self.results_repo, "dataset", f"All numbers of {title}"),
            *((model.repo_id, "model", describe_numbers(model)) for model in self.models),
        ]
        self.collection = publish_collection(namespace, name, title, items, self.private, self.token)
        return "collection"

    def _digest(self) -> str:
        """Digest of everything that the data set and the page depend on."""
        content = asdict(self.results)
        for cell in content["cells"]:
            cell["folder"] = None if cell["folder"] is None else cell["folder"].name
        names = [model.repo_id for model in self.models]
        return digest([FORMAT, __version__, content, names, self.page, self.license])
