"""`headrace pack`: the samples at a path, rewritten so that they are read fast."""

import csv
import json
import os
import shlex
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from rich.filesize import decimal

import headrace as hr
from headrace.arrays import Array
from headrace.cli.opening import IMAGE_SIZE, TypedOptions, check_exists, open_reader
from headrace.cli.report import Report
from headrace.cli.transfer import clock, transfer
from headrace.errors import ArgumentError, bad_value
from headrace.packing import Shape, pack
from headrace.readers.access import ids_of
from headrace.readers.shared.samples.mean_lengths import mean_sample_nbytes
from headrace.readers.views.chosen import Choice, Chosen
from headrace.readers.views.subset import chosen_of
from headrace.storage.local.regular import opener
from headrace.storage.opening import is_url

# By id, or in the order of the samples.
_Labels = dict[str, float] | list[float] | Array


def run_pack(
    source: str,
    target: str,
    *,
    format_name: str | None,
    options: TypedOptions,
    subset: Choice | None,
    labels: Path | None,
    label_field: str | None,
    shape: Shape,
    workers: int | None,
    force: bool,
) -> None:
    """Packs, and says what was written.

    Raises:
        HeadraceError: an argument is not allowed, a sample can't be read, or the target can't be
            written.
    """
    check_exists(source)
    _check_apart(source, target)
    if options.columns is not None and label_field is not None:
        # The label is a part of the sample that is read, whether it was said twice or not.
        columns = options.columns
        names = [columns] if isinstance(columns, str) else columns
        options = replace(options, columns=list(dict.fromkeys((*names, label_field))))
    started = time.perf_counter()
    try:
        opened = open_reader(source, format_name, options)
        reader: hr.Reader = opened.reader
        if opened.format.guesses_size and options.size is None:
            assert isinstance(reader.spec, hr.Spec)
            height, width, _ = reader.spec.shape
            raise bad_value("--size", None, IMAGE_SIZE, f"The first is of {height}x{width}.")
        texts: dict[str, Sequence[str]] = {}
        labels_reader: hr.Reader | None = None
        if labels is not None:
            labels_reader = read_labels(labels, reader)
        elif isinstance(reader, hr.ImageFolder):
            labels_reader, texts["classes"] = reader.labels(), reader.class_names
        if subset is not None:
            chosen = Chosen(subset, len(reader), "--subset")
            reader = chosen_of(reader, chosen)
            labels_reader = labels_reader and chosen_of(labels_reader, chosen)
        ids = ids_of(reader)
        if ids is not None:
            texts["ids"] = ids
        nbytes = mean_sample_nbytes(reader)
        with transfer("packing", nbytes * len(reader)) as show:
            packed = pack(
                reader,
                Path(target),
                labels=labels_reader,
                label_field=label_field,
                texts=texts,
                shape=shape,
                workers=workers,
                force=force,
                progress=lambda samples: show(samples * nbytes),
            )
    except hr.SampleError as error:
        given = format_name or options.given() or subset is not None
        alike = ", with the same options" if given else ""
        raise type(error)(
            f"{str(error).rstrip('.')}. To list all bad samples: "
            f"{shlex.join(['headrace', 'verify', source])}{alike}"
        ) from error
    seconds = time.perf_counter() - started
    fresh = (packed.samples - packed.continued_at) * nbytes
    report = Report()
    report.line(f"{packed.samples} samples, {decimal(packed.nbytes)}, in {packed.target}")
    if packed.continued_at:
        report.line(f"gone on with at sample {packed.continued_at}, where an earlier run had ended")
    report.line(f"{clock(seconds)}, {decimal(int(fresh / seconds))}/s")


def read_labels(path: Path, reader: hr.Reader) -> hr.Reader:
    """The labels in a file, one for each sample of the reader.

    Args:
        path: .json with a mapping from id to label, or a list; .npy with one label a row; .csv with
            lines of id and label, or of a label each, and perhaps a line of names before.
    """
    ids = ids_of(reader)
    suffix = path.suffix.lower()
    try:
        if suffix == ".npy":
            labels: _Labels = np.load(path, mmap_mode="r", allow_pickle=False)
        elif suffix == ".json":
            labels = json.loads(path.read_bytes())
        elif suffix == ".csv":
            labels = _labels_of_lines(path)
        else:
            raise bad_value("--labels", str(path), "a .json, .npy or .csv file")
    except (OSError, ValueError, csv.Error) as error:
        if isinstance(error, hr.HeadraceError):
            raise
        raise ArgumentError(f"--labels must be a file of labels: {path}: {error}") from None
    if isinstance(labels, dict) and ids is None:
        raise bad_value(
            "--labels",
            str(path),
            "one label for each sample, in their order, where samples have no ids",
        )
    result = hr.Labels(labels, ids if isinstance(labels, dict) else None)
    if len(result) != len(reader):
        raise ArgumentError(
            f"--labels must have a label for each sample, but {path} has {len(result)} labels, and "
            f"there are {len(reader)} samples."
        )
    return result


def _labels_of_lines(path: Path) -> dict[str, float] | list[float]:
    with open(path, newline="", encoding="utf-8-sig", opener=opener) as file:
        lines = [line for line in csv.reader(file) if line]
    widths = sorted({len(line) for line in lines})
    if widths not in ([1], [2]):
        raise bad_value(
            "--labels", str(path), "lines of an id and a label, or all of a label", f"{widths}"
        )
    if lines and _number(lines[0][-1]) is None:
        del lines[0]  # names
    values = []
    for line in lines:
        value = _number(line[-1])
        if value is None:
            remedy = "Number the classes from 0 on."
            raise bad_value("--labels", line[-1], f"numbers, in {path}", remedy)
        values.append(value)
    if widths == [1]:
        return values
    for name, count in Counter(line[0] for line in lines).most_common(1):
        if count > 1:
            raise ArgumentError(
                f"--labels must have one line for each id, but {path} has {count} of {name!r}."
            )
    return {line[0]: value for line, value in zip(lines, values, strict=True)}


def _number(text: str) -> float | None:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            pass
    return None


def _check_apart(source: str, target: str) -> None:
    """Raises an ArgumentError if one of them would be within the other."""
    if is_url(target):
        raise bad_value(
            "DST", target, "on this machine", "Pack here, and upload it with the store's tools."
        )
    folder = os.path.dirname(os.path.abspath(target))
    if not os.path.isdir(folder):
        raise bad_value("DST", target, "in an existing folder", f"Make it with: mkdir -p {folder}")
    if is_url(source):
        return
    real_source, real_target = os.path.realpath(source), os.path.realpath(target)
    if os.path.isfile(real_source) and real_source != real_target:
        inside = real_source.startswith(os.path.join(real_target, ""))
    else:
        shared = os.path.commonpath([real_source, real_target])
        inside = shared in (real_source, real_target)
    if inside:
        raise bad_value(
            "DST", target, f"apart from SRC, {source!r}", "Neither may lie within the other."
        )
