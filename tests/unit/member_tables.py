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


def several(rows, names=("benign", "early", "pre"), labels=None):
    rows = np.asarray(rows, dtype=float)
    table = binary(np.zeros(len(rows)), labels or [names[0]] * len(rows)).drop(columns="score")
    for place, name in enumerate(names):
        table[f"score_{name}"] = rows[:, place]
    return table


def models(*columns):
    return {f"m{place}": binary(column) for place, column in enumerate(columns)}


def three_classes(*tables):
    return {f"m{place}": several(table) for place, table in enumerate(tables)}


def matrix(table):
    return table.filter(regex="^score_").to_numpy()


def catalog_like(groups=10, each=4):
    rows = groups * each
    labels = ["all" if (row // each) % 2 else "hem" for row in range(rows)]
    splits = ["train"] * (rows - each) + ["test"] * each
    subjects = [f"s{row // each}" for row in range(rows)]
    return binary(np.zeros(rows), labels, splits, subjects).drop(columns="score")
