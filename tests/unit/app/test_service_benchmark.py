"""Five hundred crops by the app, and by ``model.predict`` alone; run with ``--benchmark-enable``.

Promised: at least 0.8 of the speed of ``model.predict``, and a single cell in under a second.
"""

import numpy as np
import pytest

from helpers.app import prepare, service
from helpers.app.answers import ModelFacts
from helpers.app.saved_runs import SavedRun
from helpers.base import provenance

pytestmark = pytest.mark.slow

SIZE = 96
NETWORKS = ("custom_cnn", "mobilenetv2_035")


@pytest.fixture(scope="module", params=NETWORKS)
def served(request, tmp_path_factory):
    """A service of an untrained network, with features that are compared to training cells."""
    pytest.importorskip("keras")
    from helpers.models import custom_cnn, transfer

    folder = tmp_path_factory.mktemp(request.param)
    if request.param == "custom_cnn":
        model = custom_cnn.build(SIZE)
    else:
        model = transfer.build(transfer.Recipe(request.param), SIZE)
    model.save(folder / "best.keras")
    network = prepare.Network(SavedRun(folder, {}, "", SIZE))
    many = network(np.zeros((1, SIZE, SIZE, 3), np.uint8)).features.shape[1]
    known = prepare.Reference(
        np.ones(2), means=np.zeros((2, many)), whitening=np.eye(many, dtype="f4"), unit=1.0
    )
    facts = ModelFacts(
        *("key", "name", "phantom", "quick", 24, "subject", ("hem", "all"), SIZE, "", ""),
        *({}, (request.param,), (), ""),
    )
    return service.Service(facts, [network], known)


@pytest.fixture(scope="module")
def crops():
    return np.random.default_rng(0).integers(0, 256, (500, SIZE, SIZE, 3), dtype=np.uint8)


def test_five_hundred_crops(benchmark, served, crops):
    assert len(benchmark(served.classify_crops, crops).probability) == 500


def test_model_predict_alone(benchmark, served, crops):
    model = served._networks[0].model
    if provenance.spares_xla():  # it would be slower
        model.jit_compile = False
    model.predict(crops[:64], verbose=0)
    assert len(benchmark(model.predict, crops, verbose=0)) == 500


def test_one_cell(benchmark, served, crops):
    frame = np.zeros((450, 450, 3), np.uint8)
    frame[150:246, 160:256] = crops[0]
    ((answer,),) = benchmark(served.classify, [frame])
    assert answer.label
