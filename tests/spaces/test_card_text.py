"""The card in the tab "about": what a browser would load is removed, whatever form it has, and the rest stays."""

from html.parser import HTMLParser

import pytest
from markdown_it import MarkdownIt

from gae_hub.spaces.card_text import read_card

URL = "https://elsewhere.example/pixel.png"
IMAGES = [
    f"![a]({URL})",
    f"![a [b]]({URL})",
    f'![a]({URL} "a (title)")',
    f"![a](<{URL}>)",
    f"![a]({URL}?a=(b))",
    "![a][ref]",
    "![a [b]][ref]",
    "![a\nb](" + URL + ")",
    f'<img src="{URL}">',
    f"<IMG SRC='{URL}'>",
    f"<img/src={URL}>",
    f"<img\nsrc={URL}\n>",
    f'<picture><source srcset="{URL}"><img src="{URL}"></picture>',
    f'<video src="{URL}" poster="{URL}"></video>',
    f'<audio src="{URL}"></audio>',
    f'<iframe src="{URL}"></iframe>',
    f'<object data="{URL}"></object>',
    f'<embed src="{URL}">',
    f'<form action="{URL}"><input type="image" src="{URL}"></form>',
    f'<svg><image href="{URL}"/><use href="{URL}"/></svg>',
    f'<link rel="stylesheet" href="{URL}">',
    f'<track src="{URL}">',
    f'<meta http-equiv="refresh" content="0; {URL}">',
]
FORMS = [
    *IMAGES,
    "![ref]",
    f"<img src='{URL}' alt='>'>",
    f"!![a]({URL})[b]({URL})",
    f"!<!-- -->[a]({URL})",
    f"!<img>[a]({URL})",
    f"<im![a]({URL})g src={URL}>",
    f"<im<img>g src={URL}>",
    f"[![badge]({URL})]({URL})",
    f"![a [b [c]]]({URL})",
    f"![a `]` b]({URL})",
    f"<style>body {{ background: url({URL}) }}</style>",
    f"<style\n>@import '{URL}';",
    f'<table background="{URL}"><tr><td style="background: url({URL})">a</td></tr></table>',
    f'<p style="background: url({URL})">a</p>',
    f'<p style="a>b; background: url({URL})">a</p>',
    f"<p title='<img src={URL}>'>a</p>",
    f'<p/style="background: url({URL})">a</p>',
    f'<td a"b background={URL}>\n\n"\'>',
    f"<body background={URL}",
    f"<div <img src={URL} >",
    f"<div\nbackground={URL}",
    f'<a href="{URL}" style="background: url({URL})" ping="{URL}">a</a>',
    f'```mermaid\nflowchart TD\n    A@{{ img: "{URL}" }}\n```',
    f'~~~ mermaid mermaid\nflowchart TD\n    A@{{ img: "{URL}" }}\n~~~',
    f'```\u00a0mermaid\nflowchart TD\n    A@{{ img: "{URL}" }}\n```',
]
LOADING = set("audio body embed form iframe image img input link math meta object picture source style svg".split())
LOADING |= {"track", "use", "video"}


class Page(HTMLParser):
    """Tags, attributes other than the address of a link, and languages of code of an HTML page."""

    def __init__(self, html):
        super().__init__()
        self.tags, self.attributes = set(), set()
        self.feed(html)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        self.attributes |= {(name, value) for name, value in attrs if (tag, name) != ("a", "href")}


def read(tmp_path, text):
    (tmp_path / "README.md").write_text(f"---\nlicense: mit\n---\n{text}", encoding="utf-8")
    return read_card(tmp_path)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("frame", ["{}", "words {} words", "<div>\n{}\n</div>", "- item\n\n  {}"])
def test_nothing_is_loaded(tmp_path, form, frame):
    card = read(tmp_path, f"# Title\n\n{frame.format(form)}\n\nThe end.\n\n[ref]: {URL}\n")
    page = Page(MarkdownIt("commonmark", {"html": True}).enable("table").render(card))
    assert not page.tags & LOADING and "The end." in card
    assert not [value for _, value in page.attributes if value and (URL in value or "mermaid" in value)]


@pytest.mark.parametrize("form", IMAGES)
def test_complete_forms_leave_no_trace(tmp_path, form):
    assert read(tmp_path, f"before {form} after").replace("  ", " ") == "before  after".replace("  ", " ")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a [link](https://a.b) and <https://a.b>", "a [link](https://a.b) and <https://a.b>"),
        ('<a href="https://a.b" target="_blank">a</a><br />', '<a href="https://a.b">a</a><br/>'),
        ('<p align="center"><b>bold</b></p>', "<p><b>bold</b></p>"),
        ("1 < 2, a<1 and `List[int]` > 3", "1 < 2, a<1 and `List[int]` > 3"),
        ("```python\nif a != [1]:\n    x = y[0]\n```", "```python\nif a != [1]:\n    x = y[0]\n```"),
        ("gae-hub space <model> </s>", "gae-hub space <model> </s>"),
        ("wow! [a](b)", "wow! [a](b)"),
        ("a<!-- hidden -->b", "ab"),
        ("<Gallery />", "The card of this model is empty."),
    ],
)
def test_the_rest_stays(tmp_path, text, expected):
    assert read(tmp_path, text) == expected


def test_hostile_cards_are_read_in_time(tmp_path):
    for part in ("![", "![](", "<!--", "<svg ", "<a href=", "[", "`", '<p x="', "!"):
        read(tmp_path, part * (100_000 // len(part)))


def test_a_model_without_a_card(tmp_path):
    assert read_card(tmp_path) == "This model has no card."
