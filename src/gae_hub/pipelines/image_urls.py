"""Images on the web: the bytes behind a URL, for the one reader of images."""

__all__ = ["download_image", "is_url"]

from typing import Any

from huggingface_hub.utils import get_session

from ..core.hub_errors import transport_errors

_TIMEOUT = 30.0  # seconds


def is_url(source: Any) -> bool:
    """Whether a value is the address of a file on the web."""
    return isinstance(source, str) and source.startswith(("http://", "https://"))


def download_image(url: str, timeout: float | None = None) -> bytes:
    """The bytes of an image file.

    Args:
        url: its address.
        timeout: seconds to wait for the server, by default 30.

    Raises:
        ValueError: if the server does not respond, or not with a file.
    """
    try:
        response = get_session().get(url, timeout=timeout or _TIMEOUT, follow_redirects=True)
    except (*transport_errors(), ValueError) as error:
        raise ValueError(f"cannot download the image {url}: {error}") from error
    if response.status_code != 200:
        raise ValueError(f"cannot download the image {url}: the server responded with status {response.status_code}")
    return response.content
