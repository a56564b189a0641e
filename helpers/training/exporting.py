"""A trained network as one small file for a phone or a microscope (chapter 08).

The format is LiteRT, formerly TensorFlow Lite. Only TensorFlow writes it;
:func:`unavailable` says if Keras runs on another backend. An exported network has
the input and the output of the original: one raw 0..255 RGB image of float32, one
probability.
"""

from __future__ import annotations

import re
import tempfile
import time
import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from helpers.base.errors import TrainingError
from helpers.base.runtime import NOISE, held_back

if TYPE_CHECKING:
    import keras

#: Types in which the weights are stored; with ``int8`` also of the activations.
KINDS = ("float32", "float16", "int8")
# What LiteRT writes besides TensorFlow's start-up messages.
_CHATTER = re.compile(NOISE.pattern + rb"|fully_quantize: |INFO: |W\d{4} ")


def unavailable() -> str:
    """Return why nothing can be exported here, in one sentence; empty when it can."""
    import keras

    backend = keras.backend.backend()
    if backend != "tensorflow":
        return f"Keras runs on {backend} here; only on TensorFlow can it write LiteRT files."
    import tensorflow as tf

    if not hasattr(getattr(tf, "lite", None), "TFLiteConverter"):
        return f"TensorFlow {tf.__version__} has no converter to LiteRT any more."
    return ""


def convert(
    model: keras.Model,
    kinds: Sequence[str] = KINDS,
    sample: np.ndarray | None = None,
) -> dict[str, bytes]:
    """Return the network as the content of LiteRT files, by kind.

    Parameters
    ----------
    model : keras.Model
        Any network from raw RGB images of one size to one probability.
    kinds : sequence of str
        Of :data:`KINDS`.
    sample : numpy.ndarray, optional
        Images of shape (n, size, size, 3), some dozens of the *training* split. From
        them ``int8`` takes the value range of each layer (Jacob et al. 2018,
        doi:10.1109/CVPR.2018.00286).

    Raises
    ------
    TrainingError
        When a kind is unknown, the sample has another shape, or the network cannot be
        converted.
    """
    if reason := unavailable():
        raise TrainingError(reason)
    import keras
    import tensorflow as tf

    shape = tuple(model.input_shape[1:])
    for kind in kinds:
        if kind not in KINDS:
            raise TrainingError(f"The kind is {kind!r}, but must be one of {', '.join(KINDS)}.")
        if kind == "int8" and (sample is None or not len(sample) or sample.shape[1:] != shape):
            raise TrainingError(
                f"int8 needs a sample of images of shape (n, {', '.join(map(str, shape))}): "
                "give some dozens from the training split."
            )
    files = {}
    with (
        tempfile.TemporaryDirectory() as folder,
        warnings.catch_warnings(action="ignore"),
        held_back(_CHATTER),
    ):
        logger = tf.get_logger()
        level = logger.level
        logger.setLevel("ERROR")
        one = keras.InputSpec(shape=(1, *shape), dtype="float32")
        try:
            model.export(folder, verbose=False, input_signature=[one])
            for kind in kinds:
                converter = tf.lite.TFLiteConverter.from_saved_model(folder)
                if kind != "float32":
                    converter.optimizations = [tf.lite.Optimize.DEFAULT]
                if kind == "float16":
                    converter.target_spec.supported_types = [tf.float16]
                if kind == "int8":
                    converter.representative_dataset = lambda: (
                        [np.asarray(sample[[row]], dtype=np.float32)] for row in range(len(sample))
                    )
                    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
                files[kind] = bytes(converter.convert())
        except (RuntimeError, ValueError, tf.errors.OpError) as error:
            line = " ".join(str(error).split())[:200]
            raise TrainingError(f"{model.name} cannot be converted to LiteRT: {line}") from error
        finally:
            logger.setLevel(level)
    return files


def predict(file: bytes, images: np.ndarray) -> np.ndarray:
    """Return the score of each image by an exported network: float64, shape (n,).

    Parameters
    ----------
    file : bytes
        As :func:`convert` returns it.
    images : numpy.ndarray
        Raw RGB of 0..255, shape (n, size, size, 3), any type.

    Raises
    ------
    TrainingError
        When `file` is not an exported network, or the images have another shape.
    """
    interpreter = _interpreter(file, images.shape[1:])
    return np.array([_score(interpreter, image[np.newaxis]) for image in images], dtype=np.float64)


def eight_bit_arrays(file: bytes) -> pd.DataFrame:
    """Return the arrays of an exported network that are kept in eight bits.

    Parameters
    ----------
    file : bytes
        As :func:`convert` returns it.

    Returns
    -------
    pandas.DataFrame
        `array` (its name), `steps` (how many step sizes it has: one, or one for each
        channel) and `zero point` (the code that means zero; of the first channel).

    Raises
    ------
    TrainingError
        When `file` is not an exported network.
    """
    rows = []
    for array in _interpreter(file).get_tensor_details():
        steps = array["quantization_parameters"]
        if array["dtype"] == np.int8 and len(steps["scales"]):
            rows.append((array["name"], len(steps["scales"]), int(steps["zero_points"][0])))
    return pd.DataFrame(rows, columns=["array", "steps", "zero point"])


def milliseconds(file: bytes, images: np.ndarray) -> float:
    """Return the median time for one image on one core in ms; the first image is not counted.

    Parameters and errors are those of :func:`predict`.
    """
    interpreter = _interpreter(file, images.shape[1:])
    times = []
    for image in images:
        begin = time.perf_counter()
        _score(interpreter, image[np.newaxis])
        times.append(1000 * (time.perf_counter() - begin))
    return float(np.median(times[1:] or times))


def _interpreter(file: bytes, shape: tuple[int, ...] | None = None) -> Any:
    with warnings.catch_warnings(action="ignore"), held_back(_CHATTER):
        try:
            from ai_edge_litert.interpreter import Interpreter  # the same under its new name
        except ImportError:
            import tensorflow as tf

            Interpreter = tf.lite.Interpreter
        try:
            interpreter = Interpreter(model_content=file, num_threads=1)
            interpreter.allocate_tensors()
        except (RuntimeError, ValueError) as error:
            text = "These bytes are not an exported network, or not all of it."
            raise TrainingError(text) from error
    expected = tuple(int(side) for side in interpreter.get_input_details()[0]["shape"][1:])
    if shape is not None and tuple(shape) != expected:
        raise TrainingError(
            f"The exported network takes images of shape {expected}, but got {tuple(shape)}."
        )
    return interpreter


def _score(interpreter: Any, image: np.ndarray) -> float:
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], image.astype(np.float32))
    interpreter.invoke()
    return float(interpreter.get_tensor(interpreter.get_output_details()[0]["index"])[0, 0])
