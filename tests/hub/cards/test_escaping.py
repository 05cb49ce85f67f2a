"""Text from anyone's files is shown as text: no Markdown, LaTeX, HTML, links, or invisible characters."""

import pytest

from gae_hub.hub.cards.escaping import MAX_TEXT_LENGTH, Verbatim, clean, code, escape, fenced


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        # plain words stay
        ("beta-VAE: Learning Basic Concepts", "beta-VAE: Learning Basic Concepts"),
        ("Kingma & Welling, 2013", "Kingma & Welling, 2013"),
        ("num_train_epochs", "num_train_epochs"),
        ("(1, 28, 28)", "(1, 28, 28)"),
        ("-0.5", "-0.5"),
        ("1e-05", "1e-05"),
        ("torch 2.9.1+cu128; Linux-6.1-x86_64", "torch 2.9.1+cu128; Linux-6.1-x86_64"),
        ("user/data", "user/data"),
        ("Székely, données, 数据", "Székely, données, 数据"),
        ("", ""),
        # links
        ("https://evil.example/x", "`https://evil.example/x`"),
        ("see www.evil.com now", "see `www.evil.com` now"),
        ("evil.com", "`evil.com`"),
        ("me@evil.com", "`me@evil.com`"),
        ("[a](javascript:b)", "`[a](javascript:b)`"),
        ("![x](http://tracker/p.png)", "`![x](http://tracker/p.png)`"),
        ("<https://evil.example>", "`‹https://evil.example›`"),
        # LaTeX
        (r"$\href{javascript:a}{x}$", r"`$\href{javascript:a}{x}$`"),
        (r"cost $5 and $6", r"cost `$5` and `$6`"),
        (r"\(x\)", r"`\(x\)`"),
        # HTML and entities
        ("<img src=x onerror=alert(1)>", "‹img src=x onerror=alert(1)›"),
        ("&lt;b&gt; &amp; &#x3c;", "`&lt;b&gt; &amp; &#x3c;`"),
        ("<!-- gae_hub: end -->", "‹!-- gae_hub: end --›"),
        # emphasis, code, emoji, mentions
        ("_a_ __b__ *c* ~~d~~", "`_a_ __b__ *c* ~~d~~`"),
        ("a`b", "``a`b``"),
        ("`", "`` ` ``"),
        ("``a` b", "``` ``a` ``` b"),
        (":tada: @someone #1", "`:tada: @someone #1`"),
        # blocks
        ("# Title", "`#` Title"),
        ("- item", "`-` item"),
        ("1. item", "`1.` item"),
        ("---", "`---`"),
        ("    indented", "indented"),
        # tables
        ("a|b", "`a¦b`"),
        ("line\nbreak\r\n| x |", "line break `¦` x `¦`"),
        # invisible characters
        ("abc\u202edef", "abcdef"),
        ("a\u2066b\u2069\u200f", "ab"),
        ("z\u200be\u200cr\u200do\ufeff\u00ad", "zero"),
        ("\u2028a\u0000b\u007fc\x9bd", "a b c d"),
        ("a\u3164\ufe0fb\U000e0041", "ab"),
        ("odd \ud800", "odd"),
    ],
)
def test_escape(text, shown):
    assert escape(text) == shown


def test_escape_of_other_values():
    assert escape(0.5) == "0.5" and escape(Verbatim("*x*")) == "*x*" and escape(escape("a|b")) == "`a¦b`"
    assert code("a b") == "`a b`" and code([1, "|"]) == "`[1, '¦']`" and code("") == "` `"
    assert code("<!-- gae_hub: end -->") == "`‹!-- gae_hub: end --›`"


def test_clean():
    assert clean({"a\u202e": ["x\ny", 1, None, ("\u200b", "<b>")]}) == {"a": ["x y", 1, None, ["", "‹b›"]]}
    assert clean("x" * MAX_TEXT_LENGTH) == "x" * MAX_TEXT_LENGTH
    assert clean("x" * (MAX_TEXT_LENGTH + 1)) == "x" * (MAX_TEXT_LENGTH - 1) + "…"


def test_fenced():
    assert fenced("a\n  b \u202e", "python") == "```python\na\n  b\n```"
    assert fenced("```\n<!-- gae_hub: end -->") == "````\n```\n<! -- gae_hub: end -->\n````"
