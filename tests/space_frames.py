"""Milliseconds from a move of a control to its picture on the page, in Chromium, for each control of a model's Space.

python tests/space_frames.py FOLDER [--moves 60] [--limit 100]

FOLDER is a Space that `gae-hub space MODEL --output_dir FOLDER` wrote. It is served in a process of its own, and one
visitor moves one control after the other, each time after the picture has changed. A time ends with the first frame
that the browser draws after the change. It fails if a control's 95th percentile is above the limit, or above twice the
limit for strips, whose many images are asked for after the picture.
"""

import argparse
import json
import os
import statistics
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from browser import CHROMIUM, Browser

sys.path.insert(0, str(Path(__file__).parent / "spaces"))

CONTROLS = {  # name: (query of the page, picture that changes, move of the control)
    "sample: seed": ("", ".gae-tile img", "enter(find('#panel-sample input[type=number]'), move + 1)"),
    "sample: distance of variations": (
        "image=3",
        ".gae-variations img",
        "slide('.gae-detail input[type=range]', move)",
    ),
    "reconstruct: example": (
        "tab=reconstruct",
        ".gae-pair figure:nth-child(2) img",
        "find(`#panel-reconstruct .gae-thumb:nth-child(${1 + (move + 1) % 10})`).click()",
    ),
    "interpolate: second image": (
        "tab=interpolate&from=2&to=7",
        "#panel-interpolate .gae-film button:nth-child(16) img",
        "find(`#panel-interpolate section:nth-child(2) .gae-thumb:nth-child(${1 + (move + 1) % 10})`).click()",
    ),
    "interpolate: position": (
        "tab=interpolate&from=2&to=7",
        ".gae-stage img",
        "enter(find('.gae-player input'), (5 * move + 3) % 16)",
    ),
    "explore: slider": (
        "tab=explore",
        "#panel-explore .gae-frame img",
        "slide('.gae-axis input[type=range]', move)",
    ),
    "explore: strips": (
        "tab=explore",
        ".gae-axis:nth-child(2) .gae-film button:nth-child(4) img",
        "slide('.gae-axis input[type=range]', move); enter(find('.gae-axis input[type=range]'), null, 'change')",
    ),
    "map: point": (
        "tab=map",
        "#panel-map .gae-frame img",
        "press(find('.gae-map'), move % 2 ? 'ArrowLeft' : 'ArrowRight')",
    ),
}
HELPERS = """
const find = selector => document.querySelector(selector);
const enter = (control, value, kind = 'input') => {
    if (value !== null) control.value = value;
    control.dispatchEvent(new Event(kind, {bubbles: true}));
};
const slide = (selector, move) => {
    const control = find(selector), low = Number(control.min), high = Number(control.max);
    enter(control, low + (high - low) * ((7 * move) % 50 + 1) / 52);
};
const press = (element, key) => element.dispatchEvent(new KeyboardEvent('keydown', {key, bubbles: true}));
const shown = picture => (find(picture) || {}).src;
const timed = (picture, change) => new Promise((done, failed) => {
    const before = shown(picture), start = performance.now();
    const late = setTimeout(() => failed(new Error('no new picture after 10 s')), 10000);
    const look = () => {
        if (shown(picture) === undefined || shown(picture) === before) return requestAnimationFrame(look);
        clearTimeout(late);
        done(performance.now() - start);
    };
    change();
    requestAnimationFrame(look);
});
"""


def measure(browser: Browser, address: str, control: str, num_moves: int) -> list[float]:
    """Milliseconds of each move of a control."""
    query, picture, move = CONTROLS[control]
    browser.open("about:blank")
    browser.open(f"{address}/?{query}")
    browser.wait(f"document.querySelector({json.dumps(picture)}) !== null", 120)
    browser.run("new Promise(done => setTimeout(done, 1000))")  # strips and thumbnails that load after the first frame
    return browser.run(
        f"(async () => {{ {HELPERS} const times = [];"
        f"for (let move = 0; move < {num_moves}; move += 1)"
        f"  times.push(await timed({json.dumps(picture)}, () => {{ {move} }}));"
        "return times; })()"
    )


def main() -> int:
    from conftest import serve

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--moves", type=int, default=60)
    parser.add_argument("--limit", type=float, default=100.0)
    args = parser.parse_args()
    if CHROMIUM is None:
        parser.error("there is no Chromium on the PATH")
    os.environ["NO_PROXY"] = "127.0.0.1,localhost"
    slow = []
    print("| control | median, ms | 95 %, ms |\n|---|---:|---:|")
    with TemporaryDirectory() as profile, serve(args.folder) as address, Browser(Path(profile)) as browser:
        for control in CONTROLS:
            times = measure(browser, address, control, args.moves)
            high = statistics.quantiles(times, n=20)[-1]
            print(f"| {control} | {statistics.median(times):.0f} | {high:.0f} |", flush=True)
            if high > (2 if control == "explore: strips" else 1) * args.limit:
                slow.append(control)
    print(f"above {args.limit:g} ms: {', '.join(slow)}" if slow else "passed")
    return bool(slow)


if __name__ == "__main__":
    sys.exit(main())
