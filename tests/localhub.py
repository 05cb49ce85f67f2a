"""A stand-in for the Hugging Face Hub on loopback, so that tests can push, pull and fail without the network.

It implements the part of the Hub's HTTP protocol that huggingface_hub, transformers, datasets and evaluate use, stores
uploads on disk, and fails on request:

    with LocalHub(users={"alice": {"token": "hf_alice", "orgs": ["acme"]}, "bob": "hf_bob"}) as hub:
        subprocess.run([sys.executable, "push.py"], env=hub.env(tmp_path / "home"), check=True)
        hub.read("alice/model", "config.json")                       # read a file without HTTP
        hub.fail_next(2, status=429, retry_after=0, match="/commit/")
        hub.cut_next(match="GET .*safetensors")
        hub.requests                                                 # the log of requests

A client process reads its endpoint once, at import: `LocalHub.env` returns the environment of a child process, and
`point_clients_at` patches the libraries that this process has imported. A download cache hides access errors, so each
test of access needs a new home.
"""

from __future__ import annotations

import base64
import contextlib
import fnmatch
import hashlib
import json
import os
import re
import secrets
import shutil
import socket
import struct
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler
from pathlib import Path, PurePosixPath
from socketserver import TCPServer, ThreadingMixIn
from typing import Any, ClassVar, NamedTuple
from unittest import mock
from urllib.parse import parse_qs, quote, unquote

import yaml

FRONT_MATTER = re.compile(r"\s*---\r?\n(.*?)\r?\n---[ \t]*(\r?\n|$)", re.DOTALL)
LFS_THRESHOLD = 10 * 2**20
LFS_PATTERNS = (
    "*.arrow *.bin *.ckpt *.gz *.h5 *.joblib *.msgpack *.npy *.npz *.onnx *.parquet *.pickle *.pkl *.pt *.pth "
    "*.safetensors *.tar *.tar.* *.zip *tfevents*"
).split()
GITATTRIBUTES = "".join(f"{pattern} filter=lfs diff=lfs merge=lfs -text\n" for pattern in LFS_PATTERNS)


class HubError(Exception):
    """An error response: its status, message, and the `X-Error-Code` from which clients choose their exception."""

    def __init__(self, status: int, message: str, code: str = "", headers: dict | None = None, **fields):
        super().__init__(message)
        self.status, self.message, self.code, self.headers, self.fields = status, message, code, headers or {}, fields

    def reply(self) -> Reply:
        headers = {"X-Error-Message": re.sub(r"[^\x20-\x7e]", "?", self.message), **self.headers}
        if self.code:
            headers["X-Error-Code"] = self.code
        return Reply.json({"error": self.message, **self.fields}, self.status, headers)


@dataclass
class Fault:
    """A fault of the hub, for the next `times` matching requests (all if None), after `skip` others.

    `match` is a regular expression searched in "METHOD /path?query". Actions on a request:

    - status: respond `status` with `message`, `retry_after` and the error `code`, without processing the request
    - delay: wait `seconds`, then process the request
    - drop: close the connection without processing the request
    - lose_response: process the request, then close the connection without a response
    - lfs_reject: the LFS batch responds with an error for each file

    Actions on the bytes of a downloaded file, after the first `after_bytes` (default: half of them):

    - cut: close the connection
    - stall: send nothing for `seconds`, then close the connection
    - corrupt: send one wrong byte, then the rest

    A connection is closed in order (`mode` "fin") or reset ("rst").
    """

    REQUEST_ACTIONS: ClassVar = ("status", "delay", "drop", "lose_response", "lfs_reject")
    DOWNLOAD_ACTIONS: ClassVar = ("cut", "stall", "corrupt")

    action: str
    match: str = ""
    times: int | None = 1
    skip: int = 0
    status: int = 503
    message: str = "injected by the test"
    retry_after: float | None = None
    code: str = ""
    seconds: float = 1.0
    after_bytes: int | None = None
    mode: str = "fin"
    hits: int = 0

    def __post_init__(self):
        if self.action not in self.REQUEST_ACTIONS + self.DOWNLOAD_ACTIONS:
            raise ValueError(f"unknown fault {self.action!r}")

    def take(self, line: str) -> bool:
        """Whether this fault applies to the request `line`. Counts the hit."""
        if (self.times is not None and self.hits >= self.times) or not re.search(self.match, line):
            return False
        if self.skip:
            self.skip -= 1
            return False
        self.hits += 1
        return True

    def error(self) -> HubError:
        headers = {} if self.retry_after is None else {"Retry-After": str(self.retry_after)}
        return HubError(self.status, self.message, self.code, headers)


# Model cards


def read_card(text: str) -> dict:
    """The metadata at the top of a README.md. Raises ValueError if it is not a YAML mapping."""
    match = FRONT_MATTER.match(text)
    if match is None:
        return {}
    try:
        metadata = yaml.safe_load(match[1]) or {}
    except yaml.YAMLError as error:
        raise ValueError(f"bad YAML in the metadata block: {error}") from error
    if not isinstance(metadata, dict):
        raise ValueError("the metadata block must be a mapping")
    metadata = {name: value for name, value in metadata.items() if value is not None}
    return json.loads(json.dumps(metadata, default=str))


def card_errors(text: str) -> list[str]:
    """Errors that the Hub reports in a README.md: the checks of `POST /api/validate-yaml`."""
    try:
        card = read_card(text)
    except ValueError as error:
        return [str(error)]
    errors = []

    def require(holder: Any, name: str, where: str):
        if not isinstance(holder, dict) or holder.get(name) in (None, ""):
            errors.append(f'"{where}.{name}" is required')

    for name in ("language", "license", "datasets", "metrics", "base_model", "tags"):
        value = card.get(name, [])
        values = [value] if isinstance(value, str) and name != "tags" else value
        if not isinstance(values, list) or not all(isinstance(item, str) for item in values):
            errors.append(f'"{name}" must be a list of strings')
    for i, model in enumerate(card.get("model-index") or []):
        require(model, "name", f"model-index[{i}]")
        for j, result in enumerate(model.get("results") or []):
            where = f"model-index[{i}].results[{j}]"
            require(result.get("task"), "type", f"{where}.task")
            if "dataset" in result:
                require(result["dataset"], "type", f"{where}.dataset")
                require(result["dataset"], "name", f"{where}.dataset")
            for k, metric in enumerate(result.get("metrics") or []):
                require(metric, "type", f"{where}.metrics[{k}]")
                require(metric, "value", f"{where}.metrics[{k}]")
    return errors


def card_tags(card: dict) -> list[str]:
    """The tags that the Hub derives from a card's metadata, used to filter lists of repositories."""

    def values(name: str) -> list[str]:
        value = card.get(name) or []
        return [value] if isinstance(value, str) else value

    tags = values("library_name") + values("pipeline_tag") + values("tags") + values("sdk")
    for name, prefix in {"license": "license", "datasets": "dataset", "base_model": "base_model"}.items():
        tags += [f"{prefix}:{value}" for value in values(name)]
    return list(dict.fromkeys(tags))


# Repositories


class Blob(NamedTuple):
    """A file of a commit: its git object id, size, the SHA-256 of its bytes, and whether it is LFS."""

    oid: str
    size: int
    sha256: str
    lfs: bool

    @classmethod
    def large(cls, sha256: str, size: int) -> Blob:
        return cls(git_oid(lfs_pointer(sha256, size)), size, sha256, True)

    def lfs_json(self, key: str) -> dict:
        """The `lfs` field of a response. Endpoints differ in the `key` that holds the SHA-256."""
        if not self.lfs:
            return {}
        pointer_size = len(lfs_pointer(self.sha256, self.size))
        return {"lfs": {key: self.sha256, "size": self.size, "pointerSize": pointer_size}}


def git_oid(data: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


def lfs_pointer(sha256: str, size: int) -> bytes:
    return f"version https://git-lfs.github.com/spec/v1\noid sha256:{sha256}\nsize {size}\n".encode()


def is_lfs(path: str, size: int, sample: bytes) -> bool:
    """Whether the Hub stores a file by LFS, from its name, its size and its first bytes."""
    name = path.rsplit("/", 1)[-1]
    return any(fnmatch.fnmatchcase(name, p) for p in LFS_PATTERNS) or size > LFS_THRESHOLD or b"\0" in sample


def now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


@dataclass
class Commit:
    id: str
    parent: str | None
    author: str
    date: str
    title: str
    message: str
    tree: dict[str, Blob]


@dataclass
class Repo:
    """A model, dataset or Space: its commits, branches and tags."""

    type: str
    id: str
    private: bool = False
    created: str = field(default_factory=now)
    heads: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    commits: dict[str, Commit] = field(default_factory=dict)
    lfs: dict[str, int] = field(default_factory=dict)  # SHA-256 to size of every uploaded LFS object
    former_ids: list[str] = field(default_factory=list)

    @classmethod
    def from_json(cls, text: str) -> Repo:
        repo = cls(**json.loads(text))
        repo.commits = {id_: Commit(**commit) for id_, commit in repo.commits.items()}
        for commit in repo.commits.values():
            commit.tree = {path: Blob(*blob) for path, blob in commit.tree.items()}
        return repo

    @property
    def namespace(self) -> str:
        return self.id.split("/")[0]

    @property
    def url_path(self) -> str:
        return f"/{self.id}" if self.type == "model" else f"/{self.type}s/{self.id}"

    def resolve(self, revision: str) -> Commit:
        """The commit of a branch, a tag or a (shortened) commit id."""
        commit_id = self.heads.get(revision) or self.tags.get(revision)
        if commit_id is None and re.fullmatch(r"[0-9a-f]{7,40}", revision):
            commit_id = next((known for known in self.commits if known.startswith(revision)), None)
        if commit_id is None:
            raise HubError(404, f"Invalid rev id: {revision}", "RevisionNotFound")
        return self.commits[commit_id]

    def history(self, revision: str) -> list[Commit]:
        """The commit of a revision and its ancestors, newest first."""
        commits = [self.resolve(revision)]
        while commits[-1].parent is not None:
            commits.append(self.commits[commits[-1].parent])
        return commits

    def add_commit(
        self, branch: str, changes: dict[str, Blob | None], author: str, title: str, message: str = ""
    ) -> Commit:
        """Commit `changes` (None deletes a file) to a branch. The first commit of a repository creates the branch."""
        parent = self.heads.get(branch)
        if parent is None and self.commits:
            raise HubError(404, f"Invalid rev id: {branch}", "RevisionNotFound")
        tree = dict(self.commits[parent].tree) if parent else {}
        for path, blob in changes.items():
            if any(part in ("", ".", "..", ".git") for part in path.split("/")):
                raise HubError(400, f"Invalid path: {path!r}")
            if blob is not None:
                tree[path] = blob
            elif tree.pop(path, None) is None:
                raise HubError(404, f"A file with this name doesn't exist: {path}", "EntryNotFound")
        commit = Commit(secrets.token_hex(20), parent, author, now(), title, message, tree)
        self.commits[commit.id] = commit
        self.heads[branch] = commit.id
        return commit


# The hub


class Account(NamedTuple):
    """The user of a token."""

    name: str
    role: str = "write"
    orgs: tuple[str, ...] = ()

    def owns(self, namespace: str) -> bool:
        return namespace == self.name or namespace in self.orgs


ANONYMOUS = Account("")


class LocalHub:
    """A Hub in threads of this process, used as a context manager.

    Args:
        root: folder of the repositories, which a later hub can open again; a temporary folder by default.
        users: name -> token, or name -> {"token": ..., "role": "read" or "write", "orgs": [...]}.
            The first is the default user of `env` and `point_clients_at`.
        lfs_multipart: upload LFS files larger than this many bytes in parts of this size.
    """

    def __init__(
        self, root: Path | None = None, users: dict[str, str | dict] | None = None, lfs_multipart: int | None = None
    ):
        self._temporary = root is None
        self.root = Path(tempfile.mkdtemp(prefix="localhub-")) if root is None else root
        self.lfs_multipart = lfs_multipart
        self.lock = threading.RLock()
        self.accounts: dict[str, Account] = {}
        self.repos: dict[tuple[str, str], Repo] = {}
        self.collections: dict[str, dict[str, Any]] = {}  # by slug, only in memory
        self.faults: list[Fault] = []
        self.requests: list[dict] = []
        self.upload_parts: dict[tuple[str, int], bytes] = {}
        self.connections: set[socket.socket] = set()
        self.store_links: set[str] = set()
        self._servers: list[_Server] = []
        for name, user in (users or {"user": "hf_user"}).items():
            self.add_user(name, **({"token": user} if isinstance(user, str) else user))
        for file in self.root.glob("repos/*/*/*.json"):
            repo = Repo.from_json(file.read_text("utf-8"))
            self.repos[repo.type, repo.id] = repo

    def add_user(self, name: str, token: str, role: str = "write", orgs: Iterable[str] = ()):
        """Add a token of a user. A user may have several tokens with different roles."""
        self.accounts[token] = Account(name, role, tuple(orgs))

    @property
    def token(self) -> str:
        """The token of the first user."""
        return next(iter(self.accounts))

    def __enter__(self) -> LocalHub:
        hub, store = self._servers = [_Server(self, _HubHandler), _Server(self, _StoreHandler)]
        self.url, self.store_url = hub.url, store.url
        for server in self._servers:
            threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        return self

    def __exit__(self, *exc_info):
        for server in self._servers:
            server.shutdown()
            server.server_close()
        for connection in list(self.connections):  # also idle ones: clients must notice that the hub is gone
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        if self._temporary:
            shutil.rmtree(self.root, ignore_errors=True)

    def env(self, home: str | Path, token: str | bool = True, **extra) -> dict[str, str]:
        """Environment of a client process that uses this hub only, with all its caches under `home`.

        `token` is as in huggingface_hub: a string, True (the first user's token) or False (anonymous).
        """
        foreign = re.compile(r"(HF|HUGGING_?FACE|TRANSFORMERS)_.*|(https?|all)_proxy", re.IGNORECASE)
        env = {name: value for name, value in os.environ.items() if not foreign.fullmatch(name)}
        env |= {
            "HF_ENDPOINT": self.url,
            "HF_HOME": str(home),
            "HF_HUB_DISABLE_XET": "1",  # without Xet, clients upload through LFS
            "HF_HUB_DISABLE_TELEMETRY": "1",
            "HF_HUB_DISABLE_UPDATE_CHECK": "1",
            "HF_HUB_DISABLE_PROGRESS_BARS": "1",
            "HF_DATASETS_DISABLE_PROGRESS_BARS": "1",
            "HF_UPDATE_DOWNLOAD_COUNTS": "0",  # datasets and evaluate report downloads to amazonaws.com
            "DISABLE_SAFETENSORS_CONVERSION": "1",  # transformers would ask a Space to convert pickled weights
        }
        if token:
            env["HF_TOKEN"] = self.token if token is True else token
        return env | {name: str(value) for name, value in extra.items()}

    # Faults

    def fault(self, action: str, match: str = "", times: int | None = 1, **options) -> Fault:
        """Add a fault, see `Fault`."""
        fault = Fault(action, match, times, **options)
        self.faults.append(fault)
        return fault

    def fail_next(self, times: int | None = 1, status: int = 503, match: str = "", **options) -> Fault:
        """Respond to the next requests with an error."""
        return self.fault("status", match, times, status=status, **options)

    def cut_next(
        self, times: int | None = 1, after_bytes: int | None = None, mode: str = "fin", match: str = "", **options
    ) -> Fault:
        """Close the connection during the next downloads."""
        return self.fault("cut", match, times, after_bytes=after_bytes, mode=mode, **options)

    def delay_next(self, seconds: float, times: int | None = 1, match: str = "", **options) -> Fault:
        """Wait before the next responses."""
        return self.fault("delay", match, times, seconds=seconds, **options)

    def reject_lfs(
        self, times: int | None = 1, stage: str = "upload", status: int = 403, message: str = "rejected", **options
    ) -> Fault:
        """Reject LFS files at one stage of their upload: "batch", "upload", "complete" (of parts) or "verify"."""
        action, match = {
            "batch": ("lfs_reject", "/info/lfs/objects/batch"),
            "upload": ("status", "^PUT /(upload|part)/"),
            "complete": ("status", "^POST /complete/"),
            "verify": ("status", "/info/lfs/objects/verify"),
        }[stage]
        return self.fault(action, match, times, status=status, message=message, **options)

    def clear_faults(self):
        with self.lock:
            self.faults.clear()

    def take_faults(self, line: str, actions: tuple[str, ...]) -> list[Fault]:
        """The faults that apply to the request `line`."""
        with self.lock:
            return [fault for fault in self.faults if fault.action in actions and fault.take(line)]

    # Repositories, for tests

    def create_repo(
        self, repo_id: str, repo_type: str = "model", private: bool = False, sdk: str | None = None
    ) -> Repo:
        """Create a repository with the same first commit as on the Hub. A Space needs its `sdk`."""
        if (repo_type, repo_id) in self.repos:
            raise ValueError(f"{repo_type} {repo_id} exists")
        repo = self.repos[repo_type, repo_id] = Repo(repo_type, repo_id, private)
        files = {".gitattributes": GITATTRIBUTES}
        if repo_type == "space":
            files["README.md"] = f"---\ntitle: {repo_id}\nsdk: {sdk}\n---\n"
        self.commit(repo_id, files, repo_type=repo_type, message="initial commit")
        return repo

    def commit(
        self,
        repo_id: str,
        files: dict[str, bytes | str] | None = None,
        delete: Iterable[str] = (),
        repo_type: str = "model",
        revision: str = "main",
        message: str = "commit",
    ) -> str:
        """Change files on a branch. Returns the commit id."""
        repo = self.repos[repo_type, repo_id]
        changes: dict[str, Blob | None] = dict.fromkeys(delete)
        with self.lock:
            for path, content in (files or {}).items():
                data = content.encode() if isinstance(content, str) else content
                changes[path] = self.add_file(repo, path, data, is_lfs(path, len(data), data[:512]))
            commit = repo.add_commit(revision, changes, repo.namespace, message)
            self.save(repo)
        return commit.id

    def files(self, repo_id: str, repo_type: str = "model", revision: str = "main") -> dict[str, Blob]:
        """The files of a revision."""
        return dict(self.repos[repo_type, repo_id].resolve(revision).tree)

    def read(self, repo_id: str, path: str, repo_type: str = "model", revision: str = "main") -> bytes:
        """The content of a file."""
        return self.blob_path(self.files(repo_id, repo_type, revision)[path].sha256).read_bytes()

    def log(self, repo_id: str, repo_type: str = "model", revision: str = "main") -> list[Commit]:
        """The commits of a revision, newest first."""
        return self.repos[repo_type, repo_id].history(revision)

    # Storage

    def blob_path(self, sha256: str) -> Path:
        return self.root / "blobs" / sha256

    def add_blob(self, data: bytes) -> str:
        """Store bytes. Returns their SHA-256."""
        sha256 = hashlib.sha256(data).hexdigest()
        path = self.blob_path(sha256)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        return sha256

    def add_file(self, repo: Repo, path: str, data: bytes, lfs: bool = False) -> Blob:
        """Store a file for a commit."""
        if path == "README.md" and (errors := card_errors(data.decode())):
            raise HubError(400, f"Invalid metadata in README.md: {'; '.join(errors)}")
        sha256 = self.add_blob(data)
        if lfs:
            repo.lfs[sha256] = len(data)
            return Blob.large(sha256, len(data))
        return Blob(git_oid(data), len(data), sha256, lfs=False)

    def _repo_path(self, repo: Repo) -> Path:
        return self.root / "repos" / repo.type / f"{repo.id}.json"

    def save(self, repo: Repo):
        path = self._repo_path(repo)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(asdict(repo)), "utf-8")

    def forget(self, repo: Repo):
        del self.repos[repo.type, repo.id]
        self._repo_path(repo).unlink()

    def card(self, commit: Commit) -> dict:
        readme = commit.tree.get("README.md")
        return read_card(self.blob_path(readme.sha256).read_text("utf-8")) if readme else {}

    def store_link(self, path: str) -> str:
        """A link to a path of the store, which needs no other credentials."""
        link = f"{path}?key={secrets.token_hex(8)}"
        self.store_links.add(link)
        return self.store_url + link


# HTTP


@dataclass
class Reply:
    """A response, and the faults that apply while it is sent."""

    body: bytes = b""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)

    @classmethod
    def json(cls, data: Any, status: int = 200, headers: dict | None = None) -> Reply:
        return cls(json.dumps(data).encode(), status, {"Content-Type": "application/json", **(headers or {})})


class _Server(ThreadingMixIn, TCPServer):
    """One port of the hub."""

    daemon_threads = True
    request_queue_size = 64

    def __init__(self, hub: LocalHub, handler: type[_Handler]):
        self.hub = hub
        super().__init__(("127.0.0.1", 0), handler)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def handle_error(self, request, client_address):
        if not isinstance(sys.exc_info()[1], ConnectionError):  # clients may disconnect at any time
            super().handle_error(request, client_address)


ROUTE_PATTERNS = {
    "kind": "(?P<kind>models|datasets|spaces)",
    "prefix": "(?:(?P<kind>datasets|spaces)/)?",  # of a repository's web address; models have none
    "id": "(?P<id>[^/]+(?:/[^/]+)?)",
    "path": "(?P<path>.+)",
}


def route(method: str, template: str) -> Callable:
    """Decorator of a method that processes requests. In the template, {name} is an argument and [...] is optional."""
    pattern = template.replace(".", r"\.").replace("[", "(?:").replace("]", ")?")
    pattern = re.sub(r"{(\w+)}", lambda name: ROUTE_PATTERNS.get(name[1], f"(?P<{name[1]}>[^/]+)"), pattern)

    def mark(function: Callable) -> Callable:
        function.route = method, re.compile(pattern)
        return function

    return mark


class _Handler(BaseHTTPRequestHandler):
    """Base of the hub and its store: routing, faults, the request log, and sending.

    A method decorated with `route` returns a `Reply`, or data to send as JSON.
    """

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    routes: ClassVar[list[Callable]]

    def __init_subclass__(cls):
        cls.routes = [function for function in vars(cls).values() if hasattr(function, "route")]

    def authorize(self):
        """Check the credentials. Raises HubError if they are not valid."""
        raise NotImplementedError

    def arguments(self, groups: dict[str, str]) -> dict[str, Any]:
        """Arguments of a routed method, from the named parts of the path."""
        return groups

    def setup(self):
        super().setup()
        self.hub: LocalHub = self.server.hub
        self.hub.connections.add(self.connection)

    def finish(self):
        self.hub.connections.discard(self.connection)
        super().finish()

    def log_message(self, *args):
        """Print nothing: `LocalHub.requests` is the log."""

    def handle_request(self):
        self.bare_path, _, query = self.path.partition("?")
        self.query = parse_qs(query)
        self.record = {
            "method": self.command,
            "path": self.path,
            "status": None,  # stays None if no response was sent
            "server": "store" if isinstance(self, _StoreHandler) else "hub",
            "reached": None,  # name of the method that processed it, or "unimplemented"
            "user": None,
            "auth": "Authorization" in self.headers,
            "range": self.headers["Range"],
            "sent": 0,
            "faults": [],
        }
        self.hub.requests.append(self.record)
        length = int(self.headers["Content-Length"] or 0)
        self.body = self.rfile.read(length)
        if len(self.body) < length:
            raise ConnectionResetError("the client disconnected during its request")
        self.faults = self._take_faults(Fault.REQUEST_ACTIONS)
        for fault in self.faults:
            if fault.action == "delay":
                time.sleep(fault.seconds)
            elif fault.action == "drop":
                return self._hang_up(fault.mode)
        try:
            for fault in self.faults:
                if fault.action == "status":
                    raise fault.error()
            with self.hub.lock:
                reply = self._answer()
        except HubError as error:
            reply = error.reply()
        except Exception as error:  # a bug in this file: report it to the client and in the test's output
            traceback.print_exc()
            reply = HubError(500, repr(error)).reply()
        for fault in self.faults:
            if fault.action == "lose_response":
                return self._hang_up(fault.mode)
        self._send(reply)

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = handle_request

    def _take_faults(self, actions: tuple[str, ...]) -> list[Fault]:
        faults = self.hub.take_faults(f"{self.command} {self.path}", actions)
        self.record["faults"] += [fault.action for fault in faults]
        return faults

    def _answer(self) -> Reply:
        self.authorize()
        for function in self.routes:
            method, pattern = function.route
            match = pattern.fullmatch(self.bare_path)
            if match and method == self.command.replace("HEAD", "GET"):
                self.record["reached"] = function.__name__
                groups = {name: unquote(value) for name, value in match.groupdict().items() if value}
                answer = function(self, **self.arguments(groups))
                return answer if isinstance(answer, Reply) else Reply.json(answer)
        self.record["reached"] = "unimplemented"
        raise HubError(404, f"Not implemented: {self.command} {self.bare_path}")

    def json_body(self) -> dict:
        return json.loads(self.body)

    def flag(self, name: str) -> bool:
        return self.query.get(name, [""])[-1].lower() in ("1", "true")

    def file_reply(self, sha256: str, etag: str, headers: dict | None = None) -> Reply:
        """A stored file, or its requested range."""
        data = self.hub.blob_path(sha256).read_bytes()
        reply = Reply(data, 200, {"ETag": f'"{etag}"', "Accept-Ranges": "bytes", **(headers or {})})
        if wanted := re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers["Range"] or ""):
            start = int(wanted[1])
            reply.body = data[start : int(wanted[2]) + 1] if wanted[2] else data[start:]
            reply.status = 206
            reply.headers["Content-Range"] = f"bytes {start}-{start + len(reply.body) - 1}/{len(data)}"
        if self.command == "GET":
            reply.faults = self._take_faults(Fault.DOWNLOAD_ACTIONS)
        return reply

    def _send(self, reply: Reply):
        body, end_early = reply.body, None
        for fault in reply.faults:
            at = len(body) // 2 if fault.after_bytes is None else fault.after_bytes
            if fault.action == "corrupt":
                body = body[:at] + bytes(byte ^ 0xFF for byte in body[at : at + 1]) + body[at + 1 :]
            else:
                body, end_early = body[:at], fault
        if self.command == "HEAD":
            body = b""
        self.record |= {"status": reply.status, "sent": len(body)}  # before the client can read the log
        self.send_response(reply.status)
        for name, value in {**reply.headers, "Content-Length": str(len(reply.body))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)
        if end_early is not None:
            # a reset discards bytes that were not received yet, so wait for those before the cut
            time.sleep(end_early.seconds if end_early.action == "stall" else 0.05)
            self._hang_up(end_early.mode)

    def _hang_up(self, mode: str):
        self.close_connection = True
        if mode == "rst":
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.connection.close()


class _StoreHandler(_Handler):
    """The store of LFS objects, on another origin as on a CDN. Access is by link, without accounts."""

    def authorize(self):
        if self.record["auth"]:  # as S3 does; also detects a client that sends its token to another origin
            raise HubError(400, "InvalidArgument: Only one auth mechanism allowed")
        if self.path not in self.hub.store_links:
            raise HubError(403, "The link is not valid")

    def _accept(self, oid: str, data: bytes):
        if hashlib.sha256(data).hexdigest() != oid:
            raise HubError(400, f"The content does not match its id {oid}")
        self.hub.add_blob(data)

    @route("GET", "/object/{oid}/{path}")
    def download(self, oid: str, path: str):
        return self.file_reply(oid, etag=oid)

    @route("PUT", "/upload/{oid}")
    def upload(self, oid: str):
        self._accept(oid, self.body)
        return {}

    @route("PUT", "/part/{oid}/{number}")
    def upload_part(self, oid: str, number: str):
        self.hub.upload_parts[oid, int(number)] = self.body
        return Reply(headers={"ETag": f'"{hashlib.md5(self.body).hexdigest()}"'})

    @route("POST", "/complete/{oid}")
    def complete_upload(self, oid: str):
        numbers = sorted(part["partNumber"] for part in self.json_body()["parts"])
        self._accept(oid, b"".join(self.hub.upload_parts.pop((oid, number)) for number in numbers))
        return {}


class _HubHandler(_Handler):
    """The API and the files of the Hub."""

    def authorize(self):
        token = (self.headers["Authorization"] or "").removeprefix("Bearer ")
        self.account = self.hub.accounts.get(token) if token else ANONYMOUS
        if self.account is None:
            raise HubError(401, "Invalid credentials in Authorization header")
        self.record["user"] = self.account.name or None

    def arguments(self, groups: dict[str, str]) -> dict[str, Any]:
        if "kind" in groups or "id" in groups:
            repo_type = groups.pop("kind", "models").removesuffix("s")
            if "id" in groups:
                return {"repo": self._find_repo(repo_type, groups.pop("id")), **groups}
            return {"repo_type": repo_type, **groups}
        return groups

    def _find_repo(self, repo_type: str, repo_id: str) -> Repo:
        """The repository, if this user may read it. Redirects if it was renamed."""
        repo = self.hub.repos.get((repo_type, repo_id))
        if repo is None:
            for moved in self.hub.repos.values():
                if moved.type == repo_type and repo_id in moved.former_ids:
                    location = self.path.replace(repo_id, moved.id, 1)
                    raise HubError(307, f"Temporary Redirect to {moved.id}", headers={"Location": location})
        if repo is None or (repo.private and not self.account.owns(repo.namespace)):
            if self.account is ANONYMOUS:
                raise HubError(401, "Invalid username or password.", "RepoNotFound")
            raise HubError(404, "Repository not found", "RepoNotFound")
        return repo

    def _require_login(self):
        if self.account is ANONYMOUS:
            raise HubError(401, "Invalid username or password.")

    def _require_write(self, namespace: str):
        self._require_login()
        if not self.account.owns(namespace):
            raise HubError(403, f"You don't have the rights to write under the namespace {namespace!r}")
        if self.account.role != "write":
            raise HubError(403, "You must use a write token")

    # Accounts and repositories

    @route("GET", "/api/whoami-v2")
    def whoami(self):
        self._require_login()
        return {
            "type": "user",
            "name": self.account.name,
            "fullname": self.account.name,
            "orgs": [{"type": "org", "name": org, "roleInOrg": "write"} for org in self.account.orgs],
            "auth": {"type": "access_token", "accessToken": {"displayName": "test", "role": self.account.role}},
        }

    def _named_repo(self, repo_type: str, repo_id: str) -> Repo:
        """A repository named in the body of a request, if the user may change it."""
        repo = self._find_repo(repo_type, repo_id)
        self._require_write(repo.namespace)
        return repo

    @route("POST", "/api/repos/create")
    def create_repo(self):
        body = self.json_body()
        repo_type = body.get("type") or "model"
        namespace = body.get("organization") or self.account.name
        repo_id = f"{namespace}/{body['name']}"
        self._require_write(namespace)
        if (repo_type, repo_id) in self.hub.repos:
            url = self.hub.url + self.hub.repos[repo_type, repo_id].url_path
            raise HubError(409, f"You already created this {repo_type} repo: {url}", url=url)
        repo = self.hub.create_repo(repo_id, repo_type, bool(_wants_private(body)), body.get("sdk"))
        return {"url": self.hub.url + repo.url_path, "name": repo.id, "id": repo.id, "private": repo.private}

    @route("DELETE", "/api/repos/delete")
    def delete_repo(self):
        body = self.json_body()
        namespace = body.get("organization") or self.account.name
        self.hub.forget(self._named_repo(body.get("type") or "model", f"{namespace}/{body['name']}"))
        return {}

    @route("POST", "/api/repos/move")
    def move_repo(self):
        body = self.json_body()
        repo_type, target = body.get("type") or "model", body["toRepo"]
        repo = self._named_repo(repo_type, body["fromRepo"])
        self._require_write(target.split("/")[0])
        if (repo_type, target) in self.hub.repos:
            raise HubError(409, "There is already a repository with this name")
        self.hub.forget(repo)
        repo.former_ids.append(repo.id)
        repo.id = target
        self.hub.repos[repo_type, target] = repo
        self.hub.save(repo)
        return {"url": self.hub.url + repo.url_path}

    @route("PUT", "/api/{kind}/{id}/settings")
    def update_settings(self, repo: Repo):
        self._require_write(repo.namespace)
        private = _wants_private(self.json_body())
        if private is not None:
            repo.private = private
            self.hub.save(repo)
        return {"private": repo.private}

    def _info(self, repo: Repo, commit: Commit, blobs: bool = False) -> dict:
        card = self.hub.card(commit)
        siblings = []
        for path, blob in sorted(commit.tree.items()):
            details = {"blobId": blob.oid, "size": blob.size, **blob.lfs_json("sha256")} if blobs else {}
            siblings.append({"rfilename": path, **details})
        info = {
            "id": repo.id,
            "author": repo.namespace,
            "sha": commit.id,
            "lastModified": commit.date,
            "createdAt": repo.created,
            "private": repo.private,
            "tags": card_tags(card),
            "cardData": card,
            "siblings": siblings,
        }
        shown = {"model": ("library_name", "pipeline_tag"), "space": ("sdk",)}.get(repo.type, ())
        return info | {name: card[name] for name in shown if name in card}

    @route("GET", "/api/{kind}")
    def list_repos(self, repo_type: str):
        author, search = self.query.get("author"), self.query.get("search", [""])[0].lower()
        wanted = {tag for value in self.query.get("filter", []) for tag in value.split(",")}
        found = []
        for repo in self.hub.repos.values():
            visible = not repo.private or self.account.owns(repo.namespace)
            if repo.type == repo_type and visible and author in (None, [repo.namespace]) and search in repo.id.lower():
                info = self._info(repo, repo.resolve("main"))
                if wanted <= set(info["tags"]):
                    found.append(info)
        return found

    @route("GET", "/api/{kind}/{id}[/revision/{rev}]")
    def repo_info(self, repo: Repo, rev: str = "main"):
        return self._info(repo, repo.resolve(rev), blobs=self.flag("blobs"))

    # Collections

    @route("POST", "/api/collections")
    def create_collection(self):
        body = self.json_body()
        self._require_write(body["namespace"])
        if len(body.get("description") or "") > 150:
            raise HubError(400, "description must have at most 150 characters")
        for slug, known in self.hub.collections.items():
            if (known["owner"], known["title"]) == (body["namespace"], body["title"]):
                raise HubError(409, "You already created this collection", slug=slug)
        name = re.sub("[^a-z0-9]+", "-", body["title"].lower()).strip("-")
        collection = {
            "slug": f"{body['namespace']}/{name}-{secrets.token_hex(12)}",
            "title": body["title"],
            "description": body.get("description"),
            "owner": body["namespace"],
            "items": [],
            "lastUpdated": now(),
            "position": 0,
            "private": body["private"],
            "theme": "indigo",
            "upvotes": 0,
        }
        self.hub.collections[collection["slug"]] = collection
        return collection

    def _find_collection(self, slug: str) -> dict[str, Any]:
        collection = self.hub.collections.get(slug)
        if collection is None or (collection["private"] and not self.account.owns(collection["owner"])):
            raise HubError(404, "Collection not found")
        return collection

    @route("GET", "/api/collections/{owner}/{slug}")
    def get_collection(self, owner: str, slug: str):
        return self._find_collection(f"{owner}/{slug}")

    @route("POST", "/api/collections/{owner}/{slug}/items")
    def add_collection_item(self, owner: str, slug: str):
        collection, body = self._find_collection(f"{owner}/{slug}"), self.json_body()
        self._require_write(owner)
        repo_id, repo_type = body["item"]["id"], body["item"]["type"]
        self._find_repo(repo_type, repo_id)
        if any((item["id"], item["type"]) == (repo_id, repo_type) for item in collection["items"]):
            raise HubError(409, "This item is already in the collection")
        item = {"_id": secrets.token_hex(12), "id": repo_id, "type": repo_type, "position": len(collection["items"])}
        collection["items"].append(item | self._note(body))
        return collection

    @route("PATCH", "/api/collections/{owner}/{slug}/items/{item_id}")
    def update_collection_item(self, owner: str, slug: str, item_id: str):
        self._require_write(owner)
        for item in self._find_collection(f"{owner}/{slug}")["items"]:
            if item["_id"] == item_id:
                item |= self._note(self.json_body())
                return {"success": True}
        raise HubError(404, "Item not found")

    def _note(self, body: dict) -> dict:
        if len(body.get("note") or "") > 500:
            raise HubError(400, "note must have at most 500 characters")
        return {"note": {"text": body["note"], "html": body["note"]}} if "note" in body else {}

    # Files

    def _entries(self, tree: dict[str, Blob]) -> dict[str, dict]:
        """Every file and folder of a commit. The ids of folders differ from those of git."""
        entries = {}
        for path, blob in tree.items():
            for folder in map(str, PurePosixPath(path).parents[:-1]):
                entries[folder] = {"type": "directory", "path": folder, "oid": git_oid(folder.encode()), "size": 0}
            entries[path] = {"type": "file", "path": path, "oid": blob.oid, "size": blob.size, **blob.lfs_json("oid")}
        return entries

    @route("GET", "/api/{kind}/{id}/tree/{rev}[/{path}]")
    def list_tree(self, repo: Repo, rev: str, path: str = ""):
        commit = repo.resolve(rev)
        entries = self._entries(commit.tree)
        if path and entries.get(path, {}).get("type") != "directory":
            raise HubError(404, f"{path} does not exist", "EntryNotFound", {"X-Repo-Commit": commit.id})
        prefix = f"{path}/" if path else ""
        inside = {name.removeprefix(prefix): entries[name] for name in sorted(entries) if name.startswith(prefix)}
        return [entry for name, entry in inside.items() if self.flag("recursive") or "/" not in name]

    @route("POST", "/api/{kind}/{id}/paths-info/{rev}")
    def paths_info(self, repo: Repo, rev: str):
        entries = self._entries(repo.resolve(rev).tree)
        return [entries[path] for path in parse_qs(self.body.decode()).get("paths", []) if path in entries]

    @route("GET", "/{prefix}{id}/resolve/{rev}/{path}")
    def resolve(self, repo: Repo, rev: str, path: str):
        commit = repo.resolve(rev)
        headers = {"X-Repo-Commit": commit.id}  # also for a missing file: clients cache that it does not exist
        if path not in commit.tree:
            raise HubError(404, "Entry not found", "EntryNotFound", headers)
        blob = commit.tree[path]
        if not blob.lfs:
            return self.file_reply(blob.sha256, blob.oid, headers)
        headers |= {
            "Location": self.hub.store_link(f"/object/{blob.sha256}/{quote(path)}"),
            "X-Linked-Etag": f'"{blob.sha256}"',
            "X-Linked-Size": str(blob.size),
        }
        return Reply(b"", 302, headers)

    # Revisions

    @route("GET", "/api/{kind}/{id}/refs")
    def list_refs(self, repo: Repo):
        def rows(kind: str, refs: dict[str, str]) -> list[dict]:
            return [{"name": name, "ref": f"refs/{kind}/{name}", "targetCommit": id_} for name, id_ in refs.items()]

        return {"branches": rows("heads", repo.heads), "tags": rows("tags", repo.tags), "converts": []}

    @route("GET", "/api/{kind}/{id}/commits/{rev}")
    def list_commits(self, repo: Repo, rev: str):
        return [
            {"id": c.id, "title": c.title, "message": c.message, "date": c.date, "authors": [{"user": c.author}]}
            for c in repo.history(rev)
        ]

    @route("POST", "/api/{kind}/{id}/branch/{name}")
    def create_branch(self, repo: Repo, name: str):
        return self._create_ref(repo, repo.heads, name, self.json_body().get("startingPoint") or "main")

    @route("POST", "/api/{kind}/{id}/tag/{rev}")
    def create_tag(self, repo: Repo, rev: str):
        return self._create_ref(repo, repo.tags, self.json_body()["tag"], rev)

    def _create_ref(self, repo: Repo, refs: dict[str, str], name: str, revision: str) -> dict:
        self._require_write(repo.namespace)
        if name in refs:
            raise HubError(409, f"Reference already exists: {name}")
        refs[name] = repo.resolve(revision).id
        self.hub.save(repo)
        return {}

    # Uploads: validate the card, ask how to send each file, send the large ones to the store, commit

    @route("POST", "/api/validate-yaml")
    def validate_yaml(self):
        errors = card_errors(self.json_body().get("content", ""))
        return Reply.json({"errors": [{"message": e} for e in errors], "warnings": []}, 400 if errors else 200)

    @route("POST", "/api/{kind}/{id}/preupload/{rev}")
    def preupload(self, repo: Repo, rev: str):
        self._require_write(repo.namespace)
        tree = repo.resolve(rev).tree
        files = []
        for file in self.json_body()["files"]:
            path, sample = file["path"], base64.b64decode(file.get("sample") or "")
            mode = "lfs" if is_lfs(path, file["size"], sample) else "regular"
            files.append({"path": path, "uploadMode": mode, "shouldIgnore": False})
            if blob := tree.get(path):  # so that the client can skip an unchanged file
                files[-1]["oid"] = blob.sha256 if blob.lfs else blob.oid
        return {"files": files}

    @route("POST", "/{prefix}{id}.git/info/lfs/objects/batch")
    def lfs_batch(self, repo: Repo):
        self._require_write(repo.namespace)
        body = self.json_body()
        rejection = next((fault for fault in self.faults if fault.action == "lfs_reject"), None)
        transfer, part_size, objects = "basic", self.hub.lfs_multipart, []
        for wanted in body["objects"]:
            oid, size = wanted["oid"], wanted["size"]
            answer = {"oid": oid, "size": size}
            objects.append(answer)
            if rejection is not None:
                answer["error"] = {"code": rejection.status, "message": rejection.message}
                continue
            if oid in repo.lfs:  # a response without actions: nothing to upload
                continue
            upload = {"href": self.hub.store_link(f"/upload/{oid}")}
            if part_size and size > part_size and "multipart" in body["transfers"]:
                transfer = "multipart"
                numbers = range(1, -(-size // part_size) + 1)
                parts = {str(number): self.hub.store_link(f"/part/{oid}/{number}") for number in numbers}
                upload = {
                    "href": self.hub.store_link(f"/complete/{oid}"),
                    "header": {"chunk_size": str(part_size), **parts},
                }
            verify = {"href": f"{self.hub.url}{repo.url_path}.git/info/lfs/objects/verify"}
            answer["actions"] = {"upload": upload, "verify": verify}
        return {"transfer": transfer, "objects": objects}

    @route("POST", "/{prefix}{id}.git/info/lfs/objects/verify")
    def lfs_verify(self, repo: Repo):
        self._require_write(repo.namespace)
        oid, size = self.json_body()["oid"], self.json_body()["size"]
        path = self.hub.blob_path(oid)
        if not path.exists() or path.stat().st_size != size:
            raise HubError(404, "The object does not exist or has another size")
        repo.lfs[oid] = size
        self.hub.save(repo)
        return {}

    @route("POST", "/api/{kind}/{id}/commit/{rev}")
    def commit(self, repo: Repo, rev: str):
        self._require_write(repo.namespace)
        if self.flag("create_pr"):
            raise HubError(501, "Pull requests are not implemented")
        header: dict = {}
        changes: dict[str, Blob | None] = {}
        for line in self.body.splitlines():
            item = json.loads(line)
            if item["key"] == "header":
                header = item["value"]
            else:
                changes |= self._changes(repo, rev, item["key"], item["value"])
        expected = header.get("parentCommit")
        if expected and not repo.resolve(rev).id.startswith(expected):
            raise HubError(412, "A commit has happened since. Please refresh and try again.")
        title, message = header["summary"], header.get("description") or ""
        commit = repo.add_commit(rev, changes, self.account.name, title, message)
        self.hub.save(repo)
        return {"commitUrl": f"{self.hub.url}{repo.url_path}/commit/{commit.id}", "commitOid": commit.id}

    def _changes(self, repo: Repo, rev: str, operation: str, value: dict) -> dict[str, Blob | None]:
        """Changes to the tree by one line of a commit."""
        path = value["path"]
        if operation == "file":
            return {path: self.hub.add_file(repo, path, base64.b64decode(value["content"]))}
        if operation == "lfsFile":
            oid = value["oid"]
            if oid not in repo.lfs:
                raise HubError(400, f"LFS pointer pointed to a file that does not exist: {path} ({oid})")
            return {path: Blob.large(oid, repo.lfs[oid])}
        if operation == "deletedFile":
            return {path: None}
        if operation == "deletedFolder":
            folder = path.rstrip("/") + "/"
            return dict.fromkeys(name for name in repo.resolve(rev).tree if name.startswith(folder))
        raise HubError(400, f"Unknown operation {operation!r}")


# Clients in this process


@contextlib.contextmanager
def point_clients_at(hub: LocalHub, home: str | Path, token: str | bool = True) -> Iterator[None]:
    """Make the client libraries of this process use the hub, with their caches under `home`.

    The libraries copy HF_ENDPOINT into several modules at their first import; this patches the copies. It is faster
    than a child process with `LocalHub.env`. Code that finds its cache in another way needs the child process.
    """
    # imported before patching, so that these modules do not copy patched values
    import datasets.config
    import evaluate.config
    import evaluate.inspect
    import transformers.dynamic_module_utils
    import transformers.utils.hub
    from huggingface_hub import constants, hf_api
    from huggingface_hub.utils import _http

    home = Path(home)
    with contextlib.ExitStack() as stack:

        def patch(holder: Any, **values):
            for name, value in values.items():
                if hasattr(holder, name):  # versions differ in the names that they copy
                    stack.enter_context(mock.patch.object(holder, name, value))

        patch(
            constants,
            ENDPOINT=hub.url,
            HUGGINGFACE_CO_URL_TEMPLATE=hub.url + "/{repo_id}/resolve/{revision}/{filename}",
            **({"HF_URL_HOSTS": constants.HF_URL_HOSTS | {"127.0.0.1"}} if hasattr(constants, "HF_URL_HOSTS") else {}),
            HF_HOME=str(home),
            HF_HUB_CACHE=str(home / "hub"),
            HF_TOKEN_PATH=str(home / "token"),
            HF_HUB_OFFLINE=False,
            HF_HUB_DISABLE_XET=True,
            HF_HUB_DISABLE_TELEMETRY=True,
        )
        if hasattr(_http, "_HUB_ORIGINS"):
            patch(_http, _HUB_ORIGINS=_http._HUB_ORIGINS | {_http._url_origin(hub.url)})
        patch(hf_api.api, endpoint=hub.url)  # used by functions such as huggingface_hub.create_repo
        patch(transformers.utils.hub, _hf_api=None)  # created again from the constants on use
        patch(transformers.dynamic_module_utils, HF_MODULES_CACHE=str(home / "modules"))
        for config in (datasets.config, evaluate.config):
            old_url, old_home = config.HF_ENDPOINT, config.HF_CACHE_HOME
            for name, value in list(vars(config).items()):
                if isinstance(value, str) and value.startswith(old_url):
                    patch(config, **{name: value.replace(old_url, hub.url, 1)})
                elif isinstance(value, str | Path) and str(value).startswith(old_home):
                    patch(config, **{name: type(value)(str(value).replace(old_home, str(home), 1))})
            patch(config, HF_UPDATE_DOWNLOAD_COUNTS=False)
        patch(datasets.config, USE_PARQUET_EXPORT=False, HF_HUB_OFFLINE=False, HF_DATASETS_OFFLINE=False)
        patch(evaluate.config, HF_EVALUATE_OFFLINE=False)
        patch(evaluate.inspect, HF_LIST_ENDPOINT=evaluate.config.HF_LIST_ENDPOINT)
        environ = {"HF_TOKEN": hub.token if token is True else token or ""}
        stack.enter_context(mock.patch.dict(os.environ, environ))
        # transformers and evaluate add folders of downloaded code to sys.path; remove those of other homes
        patch(sys, path=[path for path in sys.path if not (Path(path) / "evaluate_modules").is_dir()])
        stack.callback(_forget_downloads)
        _forget_downloads()
        yield


def _wants_private(body: dict) -> bool | None:
    """Whether a request asks for a private repository: huggingface_hub 2 sends a visibility, 1.5 sends `private`."""
    return body["visibility"] == "private" if "visibility" in body else body.get("private")


def _forget_downloads():
    """Clear what the libraries keep in memory of repositories: file listings and imported code."""
    from huggingface_hub.hf_file_system import HfFileSystem

    HfFileSystem.clear_instance_cache()
    for name in list(sys.modules):
        if name.split(".")[0] in ("evaluate_modules", "transformers_modules"):
            del sys.modules[name]
