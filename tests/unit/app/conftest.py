"""A small trained network with its images, once for all tests of the app, and an empty store."""

from __future__ import annotations

import shutil
from contextlib import closing

import pytest

from helpers.app.store import Store
from helpers.base.settings import Profile, Settings


@pytest.fixture(scope="session")
def trained(tmp_path_factory):
    """Return the artifacts with two small networks of one split."""
    pytest.importorskip("keras")
    from helpers import images, training
    from helpers.app import service
    from helpers.models import custom_cnn
    from helpers.studies import lineup

    folder = tmp_path_factory.mktemp("trained")
    tiny = Profile("tiny", 60, 60, 12, 32, 2, 2, 16, 50)
    course = Settings("phantom", tiny, 24, None, folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("COURSE_ARTIFACTS", str(folder))
        patch.delenv("COURSE_KEEP", raising=False)
        table = lineup.catalog(course)
        pixels = images.load_images(table, tiny.size)
        for seed, name in ((1, "custom_cnn-subject"), (2, "other-subject")):
            training.fit(custom_cnn.build(tiny.size, seed), table, pixels, course, name)
        for facts in service.available(folder):
            service.Service.load(facts.key, folder, str)
    return folder


@pytest.fixture
def artifacts(trained, tmp_path, monkeypatch):
    """Return a copy of the small networks' artifacts that a test may damage."""
    folder = tmp_path / "artifacts"
    shutil.copytree(trained, folder)
    monkeypatch.setenv("COURSE_ARTIFACTS", str(folder))
    return folder


@pytest.fixture(scope="session")
def loaded(trained):
    """Return the service of the small networks."""
    from helpers.app import service

    key = next(facts.key for facts in service.available(trained) if "custom" in facts.key)
    return service.Service.load(key, trained, str)


@pytest.fixture(scope="session")
def frames(trained):
    """Return drawn frames, as their files show them."""
    from helpers.images import read_image

    return [read_image(path) for path in sorted(trained.glob("phantoms/**/*.bmp"))[:12]]


@pytest.fixture
def folder(tmp_path):
    """Return where the store of the test is."""
    return tmp_path / "data"


@pytest.fixture
def store(folder):
    """Return a store without a record."""
    with closing(Store(folder)) as made:
        yield made
