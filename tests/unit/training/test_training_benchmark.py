"""What feeding from the image array costs, beside arrays in memory.

Run with ``pytest --benchmark-enable tests/unit/training/test_training_benchmark.py``.
"""

import subprocess
import sys
import textwrap
import time

import numpy as np
import pytest

from helpers.course import kernel
from helpers.models import custom_cnn
from helpers.training import runs as training
from tests.conftest import ROOT

SIZE, IMAGES, ROUNDS = 96, 320, 15


def test_an_epoch_from_the_image_array_costs_at_most_a_twentieth_more(benchmark, tmp_path):
    """Epochs of both kinds take turns, so that a busy machine slows both."""
    if benchmark.disabled:
        pytest.skip("a benchmark: run with --benchmark-enable")
    import keras

    rng = np.random.default_rng(0)
    memory = rng.integers(0, 255, (IMAGES, SIZE, SIZE, 3), dtype=np.uint8)
    target = (rng.random((IMAGES, 1)) < 0.5).astype(np.float32)
    np.save(tmp_path / "images.npy", memory)
    mapped = np.load(tmp_path / "images.npy", mmap_mode="r")
    rows = np.arange(IMAGES)
    model = custom_cnn.build(SIZE)
    model.compile(keras.optimizers.Adam(), "binary_crossentropy", jit_compile=False)

    def from_memory():
        model.fit(memory, target, batch_size=32, verbose=0)

    def from_array():
        order = np.random.default_rng(0).permutation(rows)
        model.fit(training.feed(mapped, target, order, 32), verbose=0, shuffle=False)

    def seconds(epoch):
        begin = time.perf_counter()
        epoch()
        return time.perf_counter() - begin

    from_memory(), from_array()  # compile
    pairs = np.array([(seconds(from_memory), seconds(from_array)) for _ in range(ROUNDS)])
    # What else runs on the machine only ever adds time: the quickest epochs tell most.
    ratio = float(pairs[:, 1].min() / pairs[:, 0].min())
    benchmark.extra_info["ratio"] = ratio
    benchmark.extra_info["images per second"] = IMAGES / float(pairs[:, 1].min())
    benchmark.pedantic(from_array, rounds=1)
    print(f"\nepoch from the array / from memory: {ratio:.3f}; seconds:\n{pairs.round(3)}")
    assert ratio <= 1.05


def test_a_second_network_of_the_same_shapes_is_compiled_in_no_time(benchmark, tmp_path):
    """What the compilations that JAX keeps for all kernels spare: a fold, or a later chapter."""
    if benchmark.disabled:
        pytest.skip("a benchmark: run with --benchmark-enable")
    pytest.importorskip("jax")
    script = """
        import time
        import numpy as np
        from helpers.models import custom_cnn
        import keras
        model = custom_cnn.build(96)
        model.compile("adam", "binary_crossentropy")
        begin = time.perf_counter()
        model.train_on_batch(np.zeros((32, 96, 96, 3), np.uint8), np.zeros((32, 1)))
        print(time.perf_counter() - begin)
        """
    variables = {**kernel.environment(ROOT, tmp_path), "KERAS_BACKEND": "jax"}

    def first_step():
        command = [sys.executable, "-c", textwrap.dedent(script)]
        done = subprocess.run(command, env=variables, check=True, capture_output=True, text=True)
        return float(done.stdout)

    benchmark.extra_info["seconds, compiled"] = first_step()
    benchmark.extra_info["seconds, kept"] = benchmark.pedantic(first_step, rounds=1)
    print(benchmark.extra_info)
