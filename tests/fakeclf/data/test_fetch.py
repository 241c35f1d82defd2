"""Downloads resume and are checked; imports take the pictures of a data set and nothing else, or nothing at all."""

from __future__ import annotations

import hashlib
import io
import json
import lzma
import tarfile
import threading
import zipfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from fakeclf import images
from fakeclf.data import archives, datasets, fetch
from fakeclf.data.download import ATTEMPTS, DownloadFailed, download
from fakeclf.errors import FakeclfError

JPEG = images.encode_jpeg(np.full((8, 8, 3), 90, np.uint8))
CONTENT = np.random.default_rng(0).bytes(300_000)
CIFAKE = [
    f"{part}/{word}/{n:04}.jpg"
    for part, count in (("train", 6), ("test", 2))
    for word in ("FAKE", "REAL")
    for n in range(count)
]
ART = [f"{number}/{kind}.jpg" for number in range(4) for kind in ("original", "inpainting", "mask")]


class Server:
    """A real server on loopback that knows Range and can be told to misbehave."""

    def __init__(self) -> None:
        self.content = CONTENT
        self.etag = '"one"'
        self.breaks: list[int] = []  # after how many bytes each of the next answers breaks off
        self.answers: list[int] = []  # status codes of the next answers, instead of the content
        self.ranges = True
        self.asked: list[str | None] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                wanted = self.headers.get("Range")
                outer.asked.append(wanted)
                if outer.answers:
                    self.send_error(outer.answers.pop(0))
                    return
                start = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted and outer.ranges else 0
                if self.headers.get("If-Range", outer.etag) != outer.etag:
                    start = 0
                total = len(outer.content)
                if start >= total:
                    self.send_response(416)
                    self.send_header("Content-Range", f"bytes */{total}")
                    self.send_header("Content-Length", "0")
                    self.end_headers()
                    return
                self.send_response(206 if start else 200)
                if start:
                    self.send_header("Content-Range", f"bytes {start}-{total - 1}/{total}")
                self.send_header("Content-Length", str(total - start))
                self.send_header("ETag", outer.etag)
                self.end_headers()
                end = start + outer.breaks.pop(0) if outer.breaks else total
                self.wfile.write(outer.content[start:end])

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/data.zip"
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def server() -> Iterator[Server]:
    running = Server()
    yield running
    running.close()


def get(server: Server, target: Path, **options) -> Path:
    return download(server.url, target, pause=0.0, **options)


def test_download_whole_and_checked(server, tmp_path, capsys):
    digest = hashlib.sha256(CONTENT).hexdigest()
    path = get(server, tmp_path / "new" / "data.zip", size=len(CONTENT), sha256=digest.upper())
    assert path.read_bytes() == CONTENT
    assert [p.name for p in path.parent.iterdir()] == ["data.zip"]
    assert "downloading data.zip: 0.3 of 0.3 MB" in capsys.readouterr().err


def test_broken_transfers_are_resumed(server, tmp_path):
    server.breaks = [100_000, 50_000, 1]
    assert get(server, tmp_path / "data.zip").read_bytes() == CONTENT
    assert server.asked == [None, "bytes=100000-", "bytes=150000-", "bytes=150001-"]


def test_part_of_an_earlier_run_is_resumed(server, tmp_path):
    server.breaks = [120_000] + [0] * ATTEMPTS
    with pytest.raises(DownloadFailed, match="go on from 120,000 bytes"):
        get(server, tmp_path / "data.zip")
    assert (tmp_path / "data.zip.part").read_bytes() == CONTENT[:120_000]
    assert not (tmp_path / "data.zip").exists()
    server.asked.clear()
    server.breaks.clear()
    assert get(server, tmp_path / "data.zip").read_bytes() == CONTENT
    assert server.asked == ["bytes=120000-"]


def test_part_that_is_whole_already(server, tmp_path):
    (tmp_path / "data.zip.part").write_bytes(CONTENT)
    assert get(server, tmp_path / "data.zip").read_bytes() == CONTENT


def test_part_that_is_too_long_is_thrown_away(server, tmp_path):
    (tmp_path / "data.zip.part").write_bytes(CONTENT + b"more")
    assert get(server, tmp_path / "data.zip").read_bytes() == CONTENT


def test_halves_of_two_files_are_never_joined(server, tmp_path):
    server.breaks = [100_000] + [0] * ATTEMPTS
    with pytest.raises(DownloadFailed):
        get(server, tmp_path / "data.zip")
    server.content, server.etag = CONTENT[::-1], '"two"'
    server.breaks.clear()
    assert get(server, tmp_path / "data.zip").read_bytes() == CONTENT[::-1]


def test_server_without_ranges(server, tmp_path):
    server.ranges = False
    server.breaks = [100_000]
    assert get(server, tmp_path / "data.zip").read_bytes() == CONTENT


def test_passing_trouble_is_waited_out(server, tmp_path):
    server.answers = [503, 429]
    assert get(server, tmp_path / "data.zip").read_bytes() == CONTENT


@pytest.mark.parametrize("options, words", [({"sha256": "0" * 64}, "SHA-256"), ({"size": 5}, "should have 5")])
def test_wrong_file_is_refused_and_not_kept(server, tmp_path, options, words):
    with pytest.raises(DownloadFailed, match=words):
        get(server, tmp_path / "data.zip", **options)
    assert not list(tmp_path.iterdir())


def test_refusals_and_no_network(server, tmp_path):
    server.answers = [404]
    with pytest.raises(DownloadFailed, match="HTTP 404"):
        get(server, tmp_path / "data.zip")
    with pytest.raises(DownloadFailed, match="check the network"):
        download("http://127.0.0.1:9/data.zip", tmp_path / "data.zip")
    with pytest.raises(DownloadFailed, match="must begin with https"):
        download("file:///etc/hostname", tmp_path / "data.zip")
    (tmp_path / "file").write_text("")
    with pytest.raises(DownloadFailed, match="cannot write"):
        get(server, tmp_path / "file" / "data.zip")


def zipped(names: list[str], top: str = "", content: bytes = JPEG) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name in names:
            archive.writestr(top + name, content)
    return out.getvalue()


def tarred(names: list[str], top: str = "", compression: str = "") -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode=f"w:{compression}") as archive:
        for name in names:
            member = tarfile.TarInfo(top + name)
            member.size = len(JPEG)
            archive.addfile(member, io.BytesIO(JPEG))
    return out.getvalue()


def files(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def put(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


def test_fetch_cifake_end_to_end(server, tmp_path, monkeypatch):
    monkeypatch.setenv("FAKECLF_CIFAKE_URL", server.url)
    server.content = zipped(CIFAKE)
    server.breaks = [500]
    folder = fetch.fetch("cifake", tmp_path, complete=False)
    assert folder == tmp_path / "cifake"
    assert files(folder) == sorted([*CIFAKE, "origin.json"])
    assert not list((tmp_path / "downloads").iterdir())
    origin = json.loads((folder / "origin.json").read_text())
    assert origin["sha256"] == hashlib.sha256(server.content).hexdigest()
    assert (origin["bytes"], origin["pictures"]["train/REAL"]) == (len(server.content), 6)
    server.asked.clear()
    assert fetch.fetch("cifake", tmp_path) == folder and not server.asked
    (folder / CIFAKE[0]).unlink()
    fetch.fetch("cifake", tmp_path, force=True, complete=False)
    assert (folder / CIFAKE[0]).exists()


def test_fetch_refuses_what_is_not_the_whole_of_cifake(server, tmp_path, monkeypatch):
    monkeypatch.setenv("FAKECLF_CIFAKE_URL", server.url)
    for content, words in ((zipped(CIFAKE), "train/FAKE 6 of 50,000"), (b"<html>log in</html>", "no zip or tar")):
        server.content = content
        with pytest.raises(FakeclfError, match=f"{words}.*thrown away; else run: fakeclf data import cifake"):
            fetch.fetch("cifake", tmp_path)
        assert files(tmp_path) == []


def test_loading_cifake_fetches_it(server, tmp_path, monkeypatch):
    monkeypatch.setenv("FAKECLF_CIFAKE_URL", server.url)
    server.answers = [403]
    with pytest.raises(FakeclfError, match="HTTP 403.*data import cifake ARCHIVE-OR-FOLDER"):
        datasets.load("cifake", data_dir=tmp_path)
    assert server.asked == [None]


def test_no_network_says_how_to_import(tmp_path, monkeypatch):
    monkeypatch.setenv("FAKECLF_CIFAKE_URL", "http://127.0.0.1:9/")
    with pytest.raises(FakeclfError, match="fakeclf data import cifake ARCHIVE-OR-FOLDER") as caught:
        fetch.fetch("cifake", tmp_path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name, words", [("deepfakeart", "github.com/h-aboutalebi"), ("cifak", "did you mean")])
def test_what_is_not_downloaded(tmp_path, name, words):
    with pytest.raises(FakeclfError, match=words):
        fetch.fetch(name, tmp_path)


ARCHIVES = {
    "a.zip": lambda names: zipped(names, "archive (2)/DATASET/"),
    "b.tar": lambda names: tarred(names, "./"),
    "c.tar.gz": lambda names: tarred(names, "DATASET/", "gz"),
    "d.tar.xz": lambda names: tarred(names, "x/DATASET/", "xz"),
    "named.bin": lambda names: tarred(names, "", "bz2"),
}


@pytest.mark.parametrize("name", ARCHIVES)
def test_import_of_archives_of_any_kind_and_depth(tmp_path, name):
    source = put(tmp_path / name, ARCHIVES[name]([*CIFAKE, "README.txt", "train/FAKE/.hidden.jpg", "train/x.jpg"]))
    folder = fetch.import_dataset("cifake", source, tmp_path / "home", complete=False)
    assert files(folder) == sorted([*CIFAKE, "origin.json"])
    assert (folder / CIFAKE[0]).read_bytes() == JPEG
    assert len(datasets.load("cifake", data_dir=tmp_path / "home").test) == 4


def test_import_of_a_folder(tmp_path):
    with zipfile.ZipFile(io.BytesIO(zipped(CIFAKE, "some/where/"))) as archive:
        archive.extractall(tmp_path / "unpacked")
    folder = fetch.import_dataset("cifake", tmp_path / "unpacked", tmp_path / "home", complete=False)
    assert files(folder) == sorted([*CIFAKE, "origin.json"])
    assert "sha256" not in json.loads((folder / "origin.json").read_text())


def test_import_of_deepfakeart(tmp_path, caplog):
    extra = ["3/group.jpg", "9/original.jpg", "9/style.jpg", "8/other.jpg"]
    source = put(tmp_path / "art.tar", tarred([*ART, *extra], "DeepfakeArt/inpainting/"))
    folder = fetch.import_dataset("deepfakeart", source, tmp_path / "home")
    assert files(folder) == sorted([*ART, "3/group.jpg", "origin.json"])
    assert "1 records have no original" in caplog.text
    with pytest.raises(FakeclfError, match="two pictures would go to 0/original.jpg"):
        source = put(tmp_path / "two.zip", zipped([f"{top}/{name}" for top in "ab" for name in ART]))
        fetch.import_dataset("deepfakeart", source, tmp_path / "other")
    with pytest.raises(FakeclfError, match="no DeepfakeArt inpaintings"):
        fetch.import_dataset("deepfakeart", put(tmp_path / "c.zip", zipped(CIFAKE)), tmp_path / "other")
    assert files(tmp_path / "other") == []


def test_import_replaces_only_with_force(tmp_path):
    source = put(tmp_path / "a.zip", zipped(CIFAKE))
    fetch.import_dataset("cifake", source, tmp_path, complete=False)
    with pytest.raises(FakeclfError, match="--force"):
        fetch.import_dataset("cifake", source, tmp_path, complete=False)
    bad = put(tmp_path / "bad.zip", zipped(CIFAKE[:3]))
    with pytest.raises(FakeclfError, match="not the whole"):
        fetch.import_dataset("cifake", bad, tmp_path, complete=False, force=True)
    assert files(tmp_path / "cifake") == sorted([*CIFAKE, "origin.json"])
    fetch.import_dataset("cifake", source, tmp_path, complete=False, force=True)


BAD = {
    "cut.zip": (lambda: zipped(CIFAKE)[:-200], "cut short or damaged|no zip"),
    "cut.tar": (lambda: tarred(CIFAKE)[:9_000], "cut short or damaged"),
    "cut.tar.gz": (lambda: tarred(CIFAKE, compression="gz")[:-300], "cut short or damaged"),
    "cut between members.tar": (lambda: tarred(CIFAKE)[: 16 * (512 + 1024)], "the end of the archive is missing"),
    "cut.tar.bz2": (lambda: tarred(CIFAKE, compression="bz2")[:-60], "cut short or damaged"),
    "cut.tar.xz": (lambda: tarred(CIFAKE, compression="xz")[:-60], "cut short or damaged"),
    "flipped.zip": (lambda: zipped(CIFAKE).replace(JPEG, JPEG[:-9] + bytes(9), 1), "damaged"),
    "text.tar": (lambda: b"no archive at all" * 100, "no zip or tar"),
    "empty.zip": (lambda: b"", "no zip or tar"),
    "packed.xz": (lambda: lzma.compress(b"no tar in here" * 100), "no zip or tar"),
    "up.zip": (lambda: zipped([*CIFAKE, "../../train/FAKE/evil.jpg"]), "outside"),
    "up.tar": (lambda: tarred([*CIFAKE, "a/../../train/FAKE/evil.jpg"]), "outside"),
    "root.tar": (lambda: tarred(["/train/FAKE/evil.jpg"]), "outside"),
    "windows.zip": (lambda: zipped(["C:\\train\\FAKE\\evil.jpg"]), "outside"),
    "png.zip": (lambda: zipped(CIFAKE, content=b"\x89PNG\r\n\x1a\n"), "0000.jpg is no JPEG"),
    "other.zip": (lambda: zipped(["a/b.jpg", "c.txt"]), "found train/FAKE 0 of 50,000"),
    "part.zip": (lambda: zipped(CIFAKE[:6]), "train/REAL 0 of 50,000"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_archives_leave_nothing_behind(tmp_path, name):
    make, words = BAD[name]
    source = put(tmp_path / name, make())
    with pytest.raises(archives.BadArchive, match=words) as caught:
        fetch.import_dataset("cifake", source, tmp_path / "home", complete=False)
    assert "\n" not in str(caught.value)
    assert files(tmp_path) == [name]


def test_links_are_not_followed(tmp_path):
    (tmp_path / "secret.jpg").write_bytes(JPEG)
    out = io.BytesIO(tarred(CIFAKE))
    with tarfile.open(fileobj=out, mode="a") as archive:
        for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE):
            link = tarfile.TarInfo(f"train/FAKE/link{kind.decode()}.jpg")
            link.type, link.linkname = kind, str(tmp_path / "secret.jpg")
            archive.addfile(link)
    folder = fetch.import_dataset("cifake", put(tmp_path / "a.tar", out.getvalue()), tmp_path / "t", complete=False)
    assert files(folder) == sorted([*CIFAKE, "origin.json"])
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        for name in CIFAKE:
            archive.writestr(name, JPEG)
        link = zipfile.ZipInfo("train/FAKE/link.jpg")
        link.external_attr = 0o120777 << 16
        archive.writestr(link, str(tmp_path / "secret.jpg"))
    folder = fetch.import_dataset("cifake", tmp_path / "a.zip", tmp_path / "z", complete=False)
    assert files(folder) == sorted([*CIFAKE, "origin.json"])


def test_member_that_is_too_large_for_a_picture(tmp_path, monkeypatch):
    monkeypatch.setattr(archives, "LARGEST_FILE", 10)
    with pytest.raises(archives.BadArchive, match="unsafe"):
        fetch.import_dataset("cifake", put(tmp_path / "a.zip", zipped(CIFAKE)), tmp_path)


def test_import_of_nothing(tmp_path):
    with pytest.raises(FakeclfError, match="no file or folder"):
        fetch.import_dataset("cifake", tmp_path / "nothing.zip", tmp_path)
    with pytest.raises(FakeclfError, match="cannot be imported; did you mean 'cifake'"):
        fetch.import_dataset("cifak", tmp_path, tmp_path)
