"""Generated parts of Markdown pages, between the marks `<!-- name: begin -->` and `<!-- name: end -->`."""

import re


def replace_part(page: str, name: str, body: str) -> str:
    """Return the page with a new body between the marks of `name`.

    Raises:
        ValueError: if the page does not have both marks.
    """
    begin, end = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
    part = re.compile(re.escape(begin) + ".*?" + re.escape(end), re.S)
    if not part.search(page):
        raise ValueError(f"the page has no part '{name}': add the lines '{begin}' and '{end}' where it belongs")
    return part.sub(lambda _: f"{begin}\n{body}\n{end}", page, count=1)
