"""Gradio in a separate process, for the tests of Spaces: Gradio leaves sockets and event loops open.

python space_apps.py build FOLDER   # build the page of every metric, and press its button
python space_apps.py ask            # query served pages: requests as JSON on stdin, answers as JSON on stdout
python space_apps.py call ADDRESS   # call functions of a served page: [name, arguments] as JSON on stdin
python space_apps.py describe KIND FOLDER   # how the Space of a "model" or a "study" would be served
"""

import json
import socket
import sys
import time
from pathlib import Path


def build(folder: Path) -> dict[str, dict]:
    """For each metric: the components of its page in their order, which inputs are visible, and what it answers."""
    import os

    import gradio as gr

    from gae_hub.metrics import MEASURES
    from gae_hub.metrics.spaces.examples import write_example
    from gae_hub.metrics.spaces.page import build_page

    sides = {"clustering": ("latents", "labels"), "probe": ("latents", "labels"), "interpolation": ("paths", "ends")}
    sides |= {
        "class_accuracy": ("x", "labels"),
        "latent_usage": ("latents", "latents"),
        "log_likelihood": ("numbers", None),
    }
    sides |= dict.fromkeys(("mig", "dci", "sap", "factor_vae_score", "beta_vae_score"), ("latents", "factors"))
    os.chdir(folder)  # visitors can name extractors beside app.py only
    pages = {}
    for name in MEASURES:
        page = build_page(name)
        (button,) = [function for function in page.fns.values() if function.api_name == "run"]
        predictions, references, textbox = button.inputs
        extractor = textbox.value and "extractor"
        files = [None if key is None else [str(folder / f"{key}.npy")] for key in sides.get(name, ("x", "y"))]
        example = write_example(name, folder)
        try:
            button.fn(None, None, extractor)
            error = None
        except gr.Error as raised:
            error = raised.message
        runs = name != "lpips"  # LPIPS would download weights
        pages[name] = {
            "order": [type(part).__name__ for part in page.blocks.values()],
            "visible": [part.visible for part in button.inputs],
            "extractor": textbox.value,
            "without_files": error,
            "with_files": button.fn(*files, extractor) if runs else None,
            "example": button.fn(*example, textbox.value and "features") if runs else None,
        }
    return pages


def ask(address: str, predictions: list[str] | None, references: list[str] | None, extractor: str) -> tuple | dict:
    """The answer of a page, once it is served: its table and passports, or its error."""
    from gradio_client import Client, handle_file
    from gradio_client.exceptions import AppError

    deadline = time.monotonic() + 60
    while True:
        with socket.socket() as probe:
            if not probe.connect_ex(("127.0.0.1", int(address.rpartition(":")[2]))):
                break
        assert time.monotonic() < deadline, f"no response from {address}"
        time.sleep(0.1)
    sides = [paths and [handle_file(path) for path in paths] for paths in (predictions, references)]
    try:
        return Client(address, verbose=False).predict(*sides, extractor, api_name="/run")
    except AppError as error:
        return {"error": str(error)}


def call(address: str, requests: list[tuple[str, dict]]) -> list:
    """Answers of the functions of a page. An argument {"upload": path} is a file. An error is {"error": text}."""
    from gradio_client import Client, handle_file
    from gradio_client.exceptions import AppError

    client, answers = Client(address, verbose=False), []
    for name, arguments in requests:
        found = {
            key: handle_file(value["upload"]) if isinstance(value, dict) and "upload" in value else value
            for key, value in arguments.items()
        }
        try:
            answers.append(client.predict(**found, api_name=name))
        except AppError as error:
            answers.append({"error": str(error)})
    return answers


def describe(kind: str, folder: Path) -> dict:
    """What the app.py of a Space serves, and within which limits."""
    import gradio as gr
    import torch

    from gae_hub.spaces.model_app import launch_app
    from gae_hub.spaces.study_app import launch_study_app

    gr.Blocks.launch = lambda page, **settings: page
    page = launch_study_app(folder) if kind == "study" else launch_app("model", folder=folder)
    functions = list(page.fns.values())
    change = next((function for function in functions if function.name == "change_place"), None)
    return {
        "threads": torch.get_num_threads(),
        "max_waiting": page._queue.max_size,
        "cleanup": page.delete_cache,
        "skips_queue": page.api_open,
        "limits": {one.api_name: [one.concurrency_id, one.concurrency_limit] for one in functions},
        "num_limited": sum(one.concurrency_id == "model" for one in functions),
        "choices": {one.elem_id: one.choices for one in page.blocks.values() if isinstance(one, gr.Dropdown)},
        "changed": change and change.fn("digits", "cnn", 5),
    }


if __name__ == "__main__":
    if sys.argv[1] == "build":
        answer = build(Path(sys.argv[2]))
    elif sys.argv[1] == "describe":
        answer = describe(sys.argv[2], Path(sys.argv[3]))
    elif sys.argv[1] == "call":
        answer = call(sys.argv[2], json.load(sys.stdin))
    else:
        answer = [ask(*request) for request in json.load(sys.stdin)]
    print(json.dumps(answer))
