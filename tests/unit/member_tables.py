"""Tables of predictions as the members of an ensemble make them, from plain lists."""

import numpy as np
import pandas as pd


def binary(scores, labels=None, splits="test", subjects=None, ids=None):
    count = len(scores)
    labels = labels or ["all" if row % 2 else "hem" for row in range(count)]
    return pd.DataFrame(
        {
            "image_id": ids or [f"i{row}" for row in range(count)],
            "subject": subjects or [f"s{row}" for row in range(count)],
            "label": labels,
            "positive": [int(label not in ("hem", "benign")) for label in labels],
            "split": [splits] * count if isinstance(splits, str) else splits,
            "score": np.asarray(scores, dtype=float),
        }
    )


def models(*columns):
    return {f"m{place}": binary(column) for place, column in enumerate(columns)}
