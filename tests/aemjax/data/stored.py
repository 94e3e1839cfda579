"""What tests of stored teachers share: sets without audio."""

import numpy as np

from aemjax.data.prepared import PreparedSet

AUDIOSET = ["Speech", *[f"class {i}" for i in range(1, 526)], "Field recording"]
AUDIOSET[137] = "Music"

# Ids as `aemjax prepare audioset` makes them: YTID_START.
IDS = ("-aaaaaaaaaa_0", "_bbbbbbbbb__30", "Yccccccccc-_12.5", "dd_30_dddd5_70")
YTIDS = ("-aaaaaaaaaa", "_bbbbbbbbb_", "Yccccccccc-", "dd_30_dddd5")


class Set(PreparedSet):
    """A set of ids and labels alone."""

    id = None

    def __init__(self, ids, names=AUDIOSET, *, multi_label=True):
        ids = list(ids)
        self.path = "SET"
        self.id = np.array(ids)
        self.n_samples = np.zeros(len(ids))
        self.label_names = tuple(names)
        self.multi_label = multi_label
        self.label_ids = np.arange(len(ids)) % len(names)
        self.label_offsets = np.arange(len(ids) + 1)


def sigmoid(x):
    return 1 / (1 + np.exp(-np.asarray(x, np.float64)))
