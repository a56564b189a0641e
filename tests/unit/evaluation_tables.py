"""Tables of predictions that the tests of evaluation judge."""

import numpy as np
import pandas as pd
from scipy.special import expit


def table(truth, score, subject=None):
    """Return predictions from plain lists; each image is its own subject unless told."""
    truth = np.asarray(truth, dtype=int)
    return pd.DataFrame(
        {
            "image_id": [f"i{place}" for place in range(len(truth))],
            "subject": [f"s{place}" for place in range(len(truth))] if subject is None else subject,
            "label": np.where(truth == 1, "all", "hem"),
            "positive": truth,
            "split": "val",  # rows of which something may be chosen
            "score": np.asarray(score, dtype=float),
        }
    )


def study(seed, subjects=40, parting=0.9, share=0.5, each=(5, 40), models=1):
    """Return the predictions of models that are equally good, on subjects drawn at random.

    Each subject has its class, its number of cells and, under each model, a
    shift of its own that all its cells share.
    """
    rng = np.random.default_rng(seed)
    positive = rng.random(subjects) < share
    positive[:2], positive[2:4] = True, False
    subject = np.repeat(np.arange(subjects), rng.integers(*each, subjects))
    truth = positive[subject]
    shift = rng.normal(0, 0.7, (models + 1, subjects))
    tables = []
    for own in shift[1:]:
        logit = parting * (2 * truth - 1) + (0.7 * shift[0] + 0.714 * own)[subject]
        score = expit(logit + rng.normal(0, 0.6, len(subject)))
        tables.append(table(truth, score, [f"s{name}" for name in subject]))
    return tables[0] if models == 1 else tables
