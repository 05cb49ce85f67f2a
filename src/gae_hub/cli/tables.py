"""Tables on a terminal."""

__all__ = ["print_table"]


def print_table(header: list[str], rows: list[list[str]]):
    """Print columns as wide as their content, with a rule under the header and an empty line after the table."""
    widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
    for row in (header, ["-" * width for width in widths], *rows):
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
    print()
