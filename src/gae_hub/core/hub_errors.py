"""What went wrong between here and the Hub, or the disk, and what to do: one sentence each."""

__all__ = ["HubError", "explain", "explained"]

import errno
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path

from huggingface_hub import get_token
from huggingface_hub.errors import HfHubHTTPError, RepositoryNotFoundError
from safetensors import SafetensorError

TOKENS = "https://huggingface.co/settings/tokens"


class HubError(OSError):
    """Loading or publishing failed; the message says why, and what to do."""


@contextmanager
def explained(doing: str, what: str | Path, token: str | bool | None = None):
    """Errors of network, Hub and disk inside become a [`HubError`] that says "cannot <doing> '<what>': ...".

    Args:
        doing: "publish to", "load", "save to".
        what: a repository or folder.
        token: the token in use, to tell a missing one from a wrong one.
    """
    try:
        yield
    except HubError:
        raise
    except (OSError, ValueError, RuntimeError, SafetensorError, *_transport_errors()) as error:
        reason = explain(error, doing, token)
        if reason is None:
            raise
        raise HubError(f"cannot {doing} '{what}': {reason}") from error


def explain(error: BaseException, doing: str = "load", token: str | bool | None = None) -> str | None:
    """The reason and the remedy, or None for an error that is of another kind."""
    chain, publishing = list(_chain(error)), doing.startswith("publish")
    text = " ".join(str(link) for link in chain)
    again = "nothing is published before its one commit is made: run it again" if publishing else "try again"
    if any(getattr(link, "errno", None) in (errno.ENOSPC, errno.EDQUOT) for link in chain) or "os error 28" in text:
        return "the disk is full; what was there before is unchanged: free some space, and run it again"
    if "LFS batch API" in text or "Error while uploading" in text:
        return f"the Hub has refused a large file ({_last(chain)}); {again}"
    response = next((link.response for link in chain if isinstance(link, HfHubHTTPError)), None)
    if response is None:
        if any(isinstance(link, _transport_errors()) for link in chain):
            if publishing and "without sending a response" in text:
                return (
                    "the connection broke before the Hub answered, so its last step may be done or not; run it again, "
                    "which is safe: files that have arrived are not sent twice"
                )
            return f"the connection to the Hub broke ({_last(chain)}); nothing incomplete is kept; {again}"
        return None
    status = response.status_code
    if status == 401 and ("Invalid credentials" in text or (token or get_token())):
        return f"the Hub does not know this token (401): make a new one at {TOKENS}, and run `hf auth login`"
    if doing == "load" and any(isinstance(link, RepositoryNotFoundError) for link in chain):
        who = "the token must be of somebody who may read it" if token or get_token() else "run `hf auth login`"
        return (
            f"it is no folder here, and no repository on the Hub that you can read ({status}): check its name; if it "
            f"is private, {who}, or pass token=, from {TOKENS}"
        )
    if status == 401:
        return f"it needs a token, and there is none (401): run `hf auth login`, or pass token=, from {TOKENS}"
    if status == 403:
        said = response.headers.get("X-Error-Message", "").strip(" .") or "forbidden"
        return f"this token may not do that (403: {said}): it needs the role 'write' there, see {TOKENS}"
    if status == 429:
        seconds = response.headers.get("Retry-After")
        wait = f"in {seconds} s" if seconds else "in some minutes"
        return f"the Hub asks for fewer requests (429): run it again {wait}; nothing has been changed"
    if status >= 500:
        return f"the Hub is out of order for now ({status}); {again}, in a minute"
    return None


def _chain(error: BaseException):
    """The error, and what it came of."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__


def _last(chain: list[BaseException]) -> str:
    """The last line of the first error, which is the server's own."""
    lines = [line.strip() for line in str(chain[0]).splitlines() if line.strip()]
    return lines[-1] if lines else type(chain[0]).__name__


def _transport_errors() -> tuple[type[BaseException], ...]:
    """Broken connections, of the HTTP client that this version of huggingface_hub has."""
    modules = (parent.__module__.split(".")[0] for parent in HfHubHTTPError.__mro__)
    client = next(name for name in modules if name.startswith("httpx"))
    return (import_module(client).TransportError, ConnectionError)
