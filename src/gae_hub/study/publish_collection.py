"""The repositories of a study as a collection on the Hub."""

__all__ = ["publish_collection"]

from collections.abc import Sequence

from huggingface_hub import HfApi

from ..core.hub_errors import explained

_MAX_TITLE, _MAX_DESCRIPTION, _MAX_NOTE = 60, 150, 500  # characters that the Hub accepts

Item = tuple[str, str, str]
"""Repository, its type and a note."""


def publish_collection(
    namespace: str,
    title: str,
    description: str,
    items: Sequence[Item],
    private: bool | None = None,
    token: str | bool | None = None,
) -> str:
    """Create a collection, or add what is missing to the one of that title. Other items stay.

    Args:
        namespace: user or organization.
        title: of the collection.
        description: one line.
        items: repository, "model", "dataset" or "space", and a note.
        private: whether a new collection is private.
        token: token of the Hub.

    Returns:
        URL of the collection.

    Raises:
        HubError: if the network or the Hub fails, or the token has no write access.
    """
    api = HfApi(token=token)
    with explained("update", f"collection {title}", token):
        collection = api.create_collection(
            _shorten(title, _MAX_TITLE),
            namespace=namespace,
            description=_shorten(description, _MAX_DESCRIPTION),
            private=bool(private),
            exists_ok=True,
        )
        known = {(item.item_id, item.item_type): item for item in collection.items}
        for repo_id, repo_type, text in items:
            note, item = _shorten(text, _MAX_NOTE), known.get((repo_id, repo_type))
            if item is None:
                api.add_collection_item(collection.slug, repo_id, repo_type, note=note, exists_ok=True)  # pyright: ignore[reportArgumentType] (one of its literals)
            elif item.note != note:
                api.update_collection_item(collection.slug, item.item_object_id, note=note)
        return collection.url


def _shorten(text: str, length: int) -> str:
    return text if len(text) <= length else f"{text[: length - 1]}…"
