"""Formulas as MathML, which browsers draw themselves: no script, no font and no request to another site."""

__all__ = ["to_mathml", "visit_block", "visit_inline"]

from typing import Any, NoReturn

from docutils import nodes
from latex2mathml.converter import convert


def to_mathml(formula: str, display: str) -> str:
    """The MathML of a formula in LaTeX.

    Args:
        formula: LaTeX, without dollar signs.
        display: "inline" or "block".
    """
    known = formula.replace(r"\arg\min", r"\text{arg min}")  # latex2mathml has no \arg
    return convert(" ".join(known.split()), display=display)


def visit_inline(translator: Any, node: nodes.math) -> NoReturn:
    """Write a formula in a line of text."""
    translator.body.append(to_mathml(node.astext(), "inline"))
    raise nodes.SkipNode


def visit_block(translator: Any, node: nodes.math_block) -> NoReturn:
    """Write a formula in a line of its own, which scrolls on narrow screens."""
    translator.body.append(f'<div class="math-block">{to_mathml(node.astext(), "block")}</div>')
    raise nodes.SkipNode
