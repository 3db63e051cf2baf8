"""MNIST and Fashion-MNIST: ten classes, 28 x 28 pixels in [0, 1]; 60,000 images to train on, 10,000 to test on.

MNIST (LeCun, Cortes, Burges): digits. Its IDX files are looked for in ``<folder>/mnist`` and ``<folder>``.
Fashion-MNIST (Xiao, Rasul, Vollgraf 2017, arXiv 1708.07747): clothes, in files of the same names, looked for in
``<folder>/fashion_mnist``, ``<folder>/fashion-mnist`` and ``<folder>``. In ``<folder>`` itself the content tells which of
the two a file is of. What is found nowhere is downloaded to the folder named first.
"""

from __future__ import annotations

from transfer_exp.data.classes import Classes
from transfer_exp.data.idx import Source, digests, load_idx
from transfer_exp.data.loaders import remembered
from transfer_exp.types import Dataset, Sizes

_MNIST = digests(
    "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
    "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
    "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
)
_FASHION = digests(
    "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
    "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
    "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
    "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
)
MNIST = Source(
    title="MNIST",
    folders=("mnist",),
    url="https://ossci-datasets.s3.amazonaws.com/mnist/",
    class_names=tuple("0123456789"),
    sha256=_MNIST,
    others=frozenset(_FASHION.values()),
)
FASHION_MNIST = Source(
    title="Fashion-MNIST",
    folders=("fashion_mnist", "fashion-mnist"),
    url="http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
    class_names=(
        *("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat"),
        *("Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"),
    ),
    sha256=_FASHION,
    others=frozenset(_MNIST.values()),
)


@remembered
def load_mnist(*, name: str, folder: str, split: Sizes, classes: Classes = None) -> Dataset:
    """The digits ``classes``, in that order; None: all ten. Raises UserError on a missing or damaged file."""
    return load_idx(MNIST, name=name, folder=folder, classes=classes, split=split)


@remembered
def load_fashion_mnist(*, name: str, folder: str, split: Sizes, classes: Classes = None) -> Dataset:
    """The ``classes``, by name or number, in that order; None: all ten. Raises UserError on a missing or damaged file."""
    return load_idx(FASHION_MNIST, name=name, folder=folder, classes=classes, split=split)
