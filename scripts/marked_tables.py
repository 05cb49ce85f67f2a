"""Tables of pages that scripts write, between two comments."""

__all__ = ["replace_table"]


def replace_table(page: str, name: str, table: str, script: str) -> str:
    """The page with a new table between its marks.

    Args:
        page: the text of the page.
        name: name of the table.
        table: the new table, in Markdown.
        script: file name of the script that writes it.

    Raises:
        ValueError: if the page lacks a mark.
    """
    begin = f"<!-- {name}: begin (written by `python scripts/{script}`) -->\n"
    end = f"<!-- {name}: end -->"
    before, found, rest = page.partition(begin)
    _, found_end, after = rest.partition(end)
    if not found or not found_end:
        raise ValueError(f"the page needs the lines '{begin.strip()}' and '{end}'")
    return f"{before}{begin}{table}\n{end}{after}"
