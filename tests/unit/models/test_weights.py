"""Weights: found in the promised order, believed only when they are what they say."""

import hashlib
import http.server
import subprocess
import sys
import threading
from pathlib import Path

import h5py
import numpy as np
import pytest

from helpers.base.errors import ModelError
from helpers.models import weights
from tests.conftest import SHARED
from tests.unit.damage import files_of_at_most

REAL = SHARED / "weights" / "mobilenet_v2_0.35_224_notop.weights.h5"
NAME = "mobilenet_v2_weights_tf_dim_ordering_tf_kernels_1.0_224_no_top.h5"


@pytest.fixture(autouse=True)
def places(tmp_path, monkeypatch):
    """A weights folder, a Keras cache and no network."""
    (tmp_path / "folder").mkdir()
    (tmp_path / "keras" / "models").mkdir(parents=True)
    monkeypatch.setenv("WEIGHTS_DIR", str(tmp_path / "folder"))
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    monkeypatch.setenv("COURSE_OFFLINE", "1")
    monkeypatch.setattr(weights, "WEIGHTS_USED", [])
    weights._download.cache_clear()
    yield tmp_path
    weights._download.cache_clear()


def write(path: Path, value: float = 0.0) -> str:
    with h5py.File(path, "w") as file:
        file["kernel"] = np.full(4000, value)
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_the_folder_comes_before_the_cache_and_the_cache_before_random(places):
    in_folder, in_cache = places / "folder" / NAME, places / "keras" / "models" / NAME
    first, second = write(in_folder, 1.0), write(in_cache, 2.0)
    assert weights.find("mobilenetv2") == weights.Weights(in_folder, "folder", first, "mobilenetv2")
    in_folder.unlink()
    assert weights.find("mobilenetv2") == weights.Weights(in_cache, "cache", second, "mobilenetv2")
    in_cache.unlink()
    assert weights.find("mobilenetv2") == weights.Weights(None, "random", "", "mobilenetv2")


def test_the_environment_may_name_no_folder(places, monkeypatch):
    monkeypatch.delenv("WEIGHTS_DIR")
    write(places / "keras" / "models" / NAME)
    assert weights.find("mobilenetv2").source == "cache"
    monkeypatch.setenv("WEIGHTS_DIR", str(places / "none"))
    with pytest.raises(ModelError, match="no folder is there"):
        weights.find("mobilenetv2")


def test_a_relative_folder_is_found_from_the_notebooks_as_well(places, monkeypatch):
    inside = Path(weights.__file__).resolve().parents[2] / "notebooks"
    monkeypatch.setenv("WEIGHTS_DIR", "helpers")  # any folder of the clone
    for here in (inside, places):
        monkeypatch.chdir(here)
        assert weights._given_folder().samefile(inside.parent / "helpers")


def test_an_unknown_backbone_is_refused():
    with pytest.raises(ModelError, match="No weights are known for 'alexnet'"):
        weights.find("alexnet")


def test_random_weights_are_said_loudly_once_and_noted_for_the_banner(places, capsys):
    weights.find("vgg16")
    weights.find("vgg16")
    said = capsys.readouterr().out
    assert said.count("RANDOM") == 1
    assert "vgg16_weights_tf_dim_ordering_tf_kernels_notop.h5" in said
    assert weights.WEIGHTS_USED == ["vgg16: RANDOM weights, not pretrained"]
    weights.find("xception")
    assert not capsys.readouterr().out  # once is enough for a page with many backbones
    assert weights.WEIGHTS_USED.pop() == "xception: RANDOM weights, not pretrained"
    write(places / "folder" / NAME)
    found = weights.find("mobilenetv2")
    assert weights.WEIGHTS_USED[1].startswith("mobilenetv2: ImageNet, from $WEIGHTS_DIR, sha256 ")
    assert found.as_dict()["path"] == NAME  # a record names no folder of this machine
    assert not capsys.readouterr().out


@pytest.mark.parametrize(
    "name",
    ["resnet50_weights_tf_dim_ordering_tf_kernels_notop.h5", REAL.name],
)
def test_a_file_with_another_checksum_is_refused(places, name):
    write(places / "folder" / name)
    backbone = "resnet50" if name.startswith("resnet50") else "mobilenetv2_035"
    with pytest.raises(ModelError, match=r"is not the file that its name says.*fetch"):
        weights.find(backbone)


def test_a_truncated_file_without_a_published_checksum_is_refused(places):
    path = places / "folder" / NAME
    write(path)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ModelError, match=r"not a whole HDF5 file \(\d+ bytes\)"):
        weights.find("mobilenetv2")


def test_a_replaced_file_is_looked_at_again(places):
    path = places / "folder" / NAME
    first = write(path, 1.0)
    assert weights.find("mobilenetv2").sha256 == first
    path.unlink()
    second = write(path, 2.0)
    assert weights.find("mobilenetv2").sha256 == second != first


@pytest.mark.realdata
def test_the_real_file_is_known(places, monkeypatch):
    if not REAL.is_file():
        pytest.skip(f"{REAL} is not there")
    monkeypatch.setenv("WEIGHTS_DIR", str(REAL.parent))
    found = weights.find("mobilenetv2_035")
    assert (found.source, found.path) == ("folder", REAL)
    assert found.sha256.startswith("04af0032331e")


class TestDownload:
    """Over a server of this machine that sends what it is told to."""

    @pytest.fixture
    def host(self, monkeypatch):
        class Handler(http.server.BaseHTTPRequestHandler):
            content, promised, silent = b"", None, threading.Event()
            asked = 0

            def do_GET(self):
                Handler.asked += 1
                if Handler.content == b"never":
                    Handler.silent.wait(10)
                    return
                self.send_response(200)
                length = Handler.promised or len(Handler.content)
                self.send_header("Content-Length", str(length))
                self.end_headers()
                self.wfile.write(Handler.content)

            def log_message(self, *args):
                pass

        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        monkeypatch.setattr(weights, "_HOST", f"http://127.0.0.1:{server.server_port}/")
        monkeypatch.setenv("COURSE_OFFLINE", "0")
        yield Handler
        Handler.silent.set()
        server.shutdown()
        server.server_close()

    def test_a_file_is_fetched_into_the_cache_and_found_there_next_time(self, places, host):
        write(places / "made.h5")
        host.content = (places / "made.h5").read_bytes()
        first = weights.find("mobilenetv2")
        assert first.source == "download"
        assert first.path == places / "keras" / "models" / NAME
        assert weights.find("mobilenetv2").source == "cache"
        assert host.asked == 1

    def test_nothing_is_downloaded_offline(self, host, monkeypatch):
        monkeypatch.setenv("COURSE_OFFLINE", "1")
        assert weights.find("mobilenetv2").source == "random"
        assert host.asked == 0

    def test_a_download_shows_nothing_on_a_page(self, places, host, capfd):
        write(places / "made.h5")
        host.content = (places / "made.h5").read_bytes()
        assert weights.find("mobilenetv2").source == "download"
        assert capfd.readouterr() == ("", "")

    def test_a_broken_connection_leaves_no_file(self, places, host):
        host.content, host.promised = b"half", 100
        assert weights.find("mobilenetv2").source == "random"
        assert not list((places / "keras" / "models").iterdir())

    def test_a_wrong_file_from_the_network_is_not_kept(self, places, host):
        host.content = b"a page that says: log in first"
        assert weights.find("resnet50").source == "random"
        assert not list((places / "keras" / "models").iterdir())

    def test_a_disk_without_room_is_told(self, places, host, capsys):
        host.content = bytes(10_000)
        with files_of_at_most(1_000):
            assert weights.find("mobilenetv2").source == "random"
        assert (
            f"{NAME} cannot be stored (File too large): set KERAS_HOME" in capsys.readouterr().out
        )
        assert not list((places / "keras" / "models").iterdir())

    def test_a_host_that_does_not_answer_is_given_up_soon_and_asked_once(self, host, monkeypatch):
        host.content = b"never"
        monkeypatch.setattr(weights, "TIME_LIMIT", 0.2)
        assert weights.find("mobilenetv2").source == "random"
        assert weights.find("mobilenetv2").source == "random"
        assert host.asked == 1


def test_the_progress_bar_of_notebooks_is_imported_only_for_a_download():
    code = "import sys, helpers.models.weights; print('pooch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
