"""ImageFolder: images in a folder for each class, as Keras takes them.

Requires Pillow, imported when a reader is made that decodes.
"""

import os
from collections.abc import Sequence
from typing import Literal, Unpack

import numpy as np
import numpy.typing as npt

from headrace.arguments import check_bool, check_ids, check_int
from headrace.arrays import Indices
from headrace.errors import ArgumentError, bad_type, bad_value
from headrace.readers.images.images import SUFFIXES, Images, check_suffixes
from headrace.readers.images.pixels import ImageOptions
from headrace.readers.labels import Labels
from headrace.readers.shared.listing import (
    chosen_among,
    instead_of,
    is_bookkeeping,
    warn_of_others,
)
from headrace.readers.views.split import Shares, part_of_ids
from headrace.storage.local import paths
from headrace.storage.local.walk import files_below
from headrace.storage.opening import Root, open_storage
from headrace.storage.storage import Storage

LabelMode = Literal["int", "categorical", "binary"]


class ImageFolder(Images):
    """Images in a folder for each class, as `keras.utils.image_dataset_from_directory` takes them.

    Class names, labels, the files of a subset and their order are the same as there. `shuffle`,
    `seed`, `validation_split` and `subset` only choose the files and their order in this reader;
    the order of batches is the loader's, whose seed is its own.

    With `split`, an image stays in its part when others are added, as its name alone decides. With
    `validation_split`, it may change to the other.

    Args:
        root: a folder, or a URL, that holds a folder for each class.
        size: (height, width) of the samples, or one int for both.
        class_names: the folders to take, in the order of their labels. Default: all but those whose
            name begins with a dot or an underscore, sorted. Files of such names are no images.
        validation_split: the share of the files, between 0 and 1, that are for validation.
        subset: "training" or "validation". Needed with `validation_split`.
        split: which part of the images to take, and the shares of all parts, such as
            ("train", {"train": 0.8, "test": 0.2}): those that `headrace.split` gives with
            `ids=` the names of the files below root. The files stay sorted. In place of
            `validation_split`.
        shuffle: whether the files are shuffled before they are split; otherwise they are sorted,
            and the last classes are for validation.
        seed: what to shuffle with, from 0 to 2**32 - 1. Needed with `validation_split`; without
            either the files stay sorted. With `split`, its seed; 0 if left out.
        follow_links: whether links to folders within those of the classes are followed.
        suffixes: what the names of images end with, in lower or upper case. Keras passes over
            .webp; leave it out for the same split where there are some. Name those of TIFFs:
            [".tif", ".tiff"].
        decode: False for the bytes of the files, as samples of any length: see `Images`.
        **options: as those of `Images`: see `ImageDecoder`.

    Attributes:
        class_names: the names of the classes, in the order of their labels.

    Raises:
        ArgumentError: (a ValueError) there is no such folder or class, no image, the subset is
            empty, or an option is not allowed.
        StorageError: (an OSError) a folder can't be read.

    Example:
        >>> import headrace as hr
        >>> import os, tempfile
        >>> from PIL import Image
        >>> root = tempfile.mkdtemp()
        >>> for name in ("cat", "dog"):
        ...     os.mkdir(os.path.join(root, name))
        ...     for i in range(5):
        ...         Image.new("RGB", (64, 48)).save(os.path.join(root, name, f"{i}.png"))
        >>> images = hr.ImageFolder(root, (32, 32), validation_split=0.2, subset="training", seed=1)
        >>> images.class_names, len(images)
        (['cat', 'dog'], 8)
        >>> loader = hr.Loader((images, images.labels()), batch_size=4)
        >>> x, y = loader.batch(0, 0)
        >>> x.shape, y.shape, y.dtype
        ((4, 32, 32, 3), (4,), dtype('int32'))
    """

    def __init__(
        self,
        root: Root,
        size: int | tuple[int, int] | None = None,
        *,
        class_names: Sequence[str] | None = None,
        validation_split: float | None = None,
        subset: Literal["training", "validation"] | None = None,
        split: tuple[str, Shares] | None = None,
        shuffle: bool = True,
        seed: int | None = None,
        follow_links: bool = False,
        suffixes: Sequence[str] = SUFFIXES,
        decode: bool = True,
        **options: Unpack[ImageOptions],
    ) -> None:
        _check_split(validation_split, subset, check_bool("shuffle", shuffle), seed)
        endings = check_suffixes(suffixes)
        storage = open_storage(root)
        names, self.class_names, classes = _listed(
            storage, class_names, endings, check_bool("follow_links", follow_links)
        )
        if split is not None:
            order = _part(names, split, validation_split, seed)
        else:
            order = np.arange(len(names))
            if shuffle and seed is not None:
                # Keras' own generator, as the split must be Keras'.
                np.random.RandomState(check_int("seed", seed, 0, 2**32 - 1)).shuffle(order)
            order = _subset(order, validation_split, subset)
        chosen = [names[index] for index in order.tolist()]
        super().__init__(storage, chosen, size=size, decode=decode, **options)
        self._classes: npt.NDArray[np.int32] = classes[order]

    def labels(self, mode: LabelMode = "int") -> Labels:
        """The labels of the images, in their order, to be read together with them.

        Args:
            mode: "int" for int32 numbers, shape (); "categorical" for float32 one-hot vectors,
                shape (classes,); "binary", of two classes, for float32 0 or 1, shape (1,).
        """
        if mode not in ("int", "categorical", "binary"):
            raise bad_value("mode", mode, "'int', 'categorical' or 'binary'")
        if mode == "categorical":
            return Labels(self._classes, self.ids, len(self.class_names))
        return labels_of_classes(mode, self._classes, self.ids, len(self.class_names))


def labels_of_classes(
    mode: str, classes: npt.NDArray[np.int32], ids: list[str], n_classes: int
) -> Labels:
    """The labels of samples that have one class each, with the mode "int" or "binary"."""
    if mode == "int":
        return Labels(classes, ids)
    if n_classes != 2:
        raise ArgumentError(
            f"mode must be 'int' or 'categorical' for {n_classes} classes, but 'binary' was given, "
            "which is for two."
        )
    return Labels(classes[:, None], ids, dtype=np.float32)


def _listed(
    storage: Storage,
    class_names: Sequence[str] | None,
    suffixes: tuple[str, ...],
    follow_links: bool,
) -> tuple[list[str], list[str], npt.NDArray[np.int32]]:
    """The names of all images, those of the classes, and the class of each image."""
    root = storage.local_path()
    if root is not None:
        folders = _folders(root)
        chosen = _chosen(class_names, folders, storage.root)
        of_class = {
            name: list(files_below(os.path.join(root, name), follow_links))
            for name in (folders if class_names is None else chosen)
        }
    else:
        of_class = {}
        for name in storage.names():
            top, slash, below = name.partition("/")
            if slash:
                of_class.setdefault(top, []).append(below)
        chosen = _chosen(class_names, sorted(of_class), storage.root)
    names: list[str] = []
    counts = []
    for one in chosen:
        images = chosen_among(of_class[one], suffixes, any_case=True)
        # Folder by folder, each sorted, and not by their whole names.
        names += [f"{one}/{name}" for name in sorted(images, key=lambda n: n.rpartition("/")[::2])]
        counts.append(len(images))
    every = [f"{top}/{name}" for top, files in of_class.items() for name in files]
    if not names:
        raise ArgumentError(
            f"root must contain images ({', '.join(suffixes)}) in a folder for each class, but "
            f"{storage.root!r} has none{instead_of(every or storage.names())}"
        )
    if class_names is None:
        warn_of_others(storage.root, every, names, suffixes, "class_names")
    return names, chosen, np.repeat(np.arange(len(chosen), dtype=np.int32), counts)


def _folders(root: str) -> list[str]:
    """The names of the folders in the root, sorted, but for hidden ones."""
    try:
        listed = os.listdir(root)
    except OSError as error:
        paths.refuse(error)
    return sorted(
        name
        for name in listed
        if not name.startswith(".") and paths.is_folder(os.path.join(root, name))
    )


def _chosen(class_names: Sequence[str] | None, found: list[str], root: str) -> list[str]:
    if class_names is None:
        return [name for name in found if not is_bookkeeping(name)]
    chosen = check_ids(class_names, "class_names")
    missing = [name for name in chosen if name not in found]
    if missing or not chosen or len(set(chosen)) < len(chosen):
        raise bad_value(
            "class_names", chosen, f"different ones of the folders in {root!r}, {found}"
        )
    return chosen


def _check_split(split: float | None, subset: str | None, shuffle: bool, seed: int | None) -> None:
    if split is not None and (isinstance(split, bool) or not isinstance(split, int | float)):
        raise bad_type("validation_split", split, "a number between 0 and 1")
    if split is not None and not 0 < split < 1:
        raise bad_value("validation_split", split, "a number between 0 and 1")
    if subset not in ("training", "validation", None):
        raise bad_value("subset", subset, "'training' or 'validation'")
    if (split is None) != (subset is None):
        raise ArgumentError(
            f"validation_split and subset must be given together, but are {split!r} and {subset!r}."
        )
    if split is not None and shuffle and seed is None:
        raise bad_value(
            "seed",
            seed,
            "given with validation_split",
            "Pass the same seed for both subsets, or shuffle=False.",
        )


def _part(
    names: list[str], split: object, validation_split: float | None, seed: int | None
) -> Indices:
    if validation_split is not None:
        raise bad_value("validation_split", validation_split, "left out with split")
    if not isinstance(split, tuple) or len(split) != 2:
        allowed = 'a part and the shares of all, such as ("train", {"train": 0.8, "test": 0.2})'
        raise bad_value("split", split, allowed)
    order = part_of_ids(names, *split, seed=0 if seed is None else seed)
    if not len(order):
        raise ArgumentError(f"split must leave images for {split[0]!r}, but it has none.")
    return order


def _subset(order: Indices, split: float | None, subset: str | None) -> Indices:
    if split is None:
        return order
    validating = int(split * len(order))
    if not 0 < validating < len(order):
        raise ArgumentError(
            f"validation_split must leave images for both subsets, but {split} of {len(order)} "
            f"are {validating}."
        )
    return order[-validating:] if subset == "validation" else order[:-validating]
