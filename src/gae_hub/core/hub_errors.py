"""Errors of the network, the Hub and the disk as one sentence each: the cause, and what to do."""

__all__ = ["CACHE_ONLY", "OFFLINE", "TOKENS", "HubError", "explain", "explained", "transport_errors"]

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path

from huggingface_hub import get_token, is_offline_mode
from huggingface_hub.errors import (
    HfHubHTTPError,
    LocalEntryNotFoundError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
)
from safetensors import SafetensorError

TOKENS = "https://huggingface.co/settings/tokens"
OFFLINE = "the Hub is not asked in offline mode: unset HF_HUB_OFFLINE, or check the name"
CACHE_ONLY = "the Hub is not asked with local_files_only=True: leave it out, or check the name"


class HubError(OSError):
    """Loading, saving or publishing failed. The message says why, and what to do."""


@contextmanager
def explained(doing: str, what: str | Path, token: str | bool | None = None) -> Iterator[None]:
    """Turn errors of the network, the Hub and the disk into a [`HubError`]: "cannot <doing> '<what>': <reason>".

    Other errors pass unchanged.

    Args:
        doing: "publish to", "load" or "save to".
        what: repository or folder.
        token: the token in use, to distinguish a missing token from a wrong one.
    """
    try:
        yield
    except HubError:
        raise
    except (OSError, ValueError, RuntimeError, SafetensorError, *transport_errors()) as error:
        reason = explain(error, doing, token)
        if reason is None:
            raise
        raise HubError(f"cannot {doing} '{what}': {reason}") from error


def explain(error: BaseException, doing: str = "load", token: str | bool | None = None) -> str | None:
    """Cause and remedy of an error, or None if it comes from neither the network, the Hub nor the disk."""
    chain, publishing = _chain(error), doing.startswith("publish")
    text = " ".join(str(link) for link in chain)
    again = "nothing was published, so run it again" if publishing else "try again"
    if any(getattr(link, "errno", None) in (errno.ENOSPC, errno.EDQUOT) for link in chain) or "os error 28" in text:
        return "the disk is full; existing files are unchanged; free some space and run it again"
    if "LFS batch API" in text or "Error while uploading" in text:
        return f"the Hub rejected a large file ({_last_line(chain[0])}); {again}"
    response = next((link.response for link in chain if isinstance(link, HfHubHTTPError)), None)
    if response is None:
        is_absent = any(isinstance(link, LocalEntryNotFoundError) for link in chain)
        if is_absent and is_offline_mode():
            return f"it is not in the cache, and {OFFLINE}"
        if any(isinstance(link, OfflineModeIsEnabled) for link in chain):
            return f"offline mode is set: unset HF_HUB_OFFLINE; {again}"
        if not any(isinstance(link, transport_errors()) for link in chain):
            return f"it is not in the cache, and {CACHE_ONLY}" if is_absent else None
        if publishing and "without sending a response" in text:
            return (
                "the connection broke before the Hub responded, so the last request may or may not have succeeded; "
                "run it again, which is safe: files that have arrived are not sent twice"
            )
        return f"the connection to the Hub broke ({_last_line(chain[0])}); no incomplete file was kept; {again}"
    status = response.status_code
    if status == 401 and ("Invalid credentials" in text or (token or get_token())):
        return f"the Hub does not accept this token (401); create a new one at {TOKENS} and run `hf auth login`"
    if doing == "load" and any(isinstance(link, RepositoryNotFoundError) for link in chain):
        access = "use a token that may read it" if token or get_token() else "run `hf auth login`"
        return (
            f"it is neither a local folder nor a Hub repository that you can read ({status}); check the name; if it "
            f"is private, {access} or pass token=, see {TOKENS}"
        )
    if status == 401:
        return f"a token is required (401); run `hf auth login` or pass token=, see {TOKENS}"
    if status == 403:
        message = response.headers.get("X-Error-Message", "").strip(" .") or "forbidden"
        return f"the token lacks this permission (403: {message}); it needs the role 'write' there, see {TOKENS}"
    if status == 429:
        seconds = response.headers.get("Retry-After")
        wait = f"in {seconds} s" if seconds else "in some minutes"
        return f"too many requests (429); nothing was changed; run it again {wait}"
    if status >= 500:
        return f"the Hub is unavailable ({status}); {again} in a minute"
    return None


def _chain(error: BaseException) -> list[BaseException]:
    """The error, and the errors that caused it."""
    chain: list[BaseException] = []
    cause: BaseException | None = error
    while cause is not None and cause not in chain:
        chain.append(cause)
        cause = cause.__cause__ or cause.__context__
    return chain


def _last_line(error: BaseException) -> str:
    """Last line of an error's text, which is the server's own message."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__


def transport_errors() -> tuple[type[BaseException], ...]:
    """Connection errors of the HTTP client that this version of huggingface_hub uses."""
    modules = (parent.__module__.split(".")[0] for parent in HfHubHTTPError.__mro__)
    client = next(name for name in modules if name.startswith("httpx"))
    return (import_module(client).TransportError, ConnectionError)
