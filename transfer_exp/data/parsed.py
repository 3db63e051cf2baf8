"""DREBIN's original distribution, parsed once and kept in the store."""

from __future__ import annotations

from transfer_exp.data.drebin import Apps, drebin_dataset, fingerprint, read_drebin
from transfer_exp.signature import code_version, signature
from transfer_exp.store import Store
from transfer_exp.types import Dataset, Sizes


def load_drebin(*, name: str, folder: str, store: str, split: Sizes, n_features: int | None = None) -> Dataset:
    """The data set of the distribution in ``folder``, from the store at ``store`` when it was parsed before.

    n_features: as ``Dataset.n_selected``. Raises UserError on missing, damaged or contradicting files, and stores nothing.
    """
    key = signature(content=fingerprint(folder), code=code_version("data/drebin.py"))
    apps = Apps.restore(Store(store).get("parsed", key, lambda: read_drebin(folder).state()))
    return drebin_dataset(apps, name=name, split=split, n_features=n_features)
