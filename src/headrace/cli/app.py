"""The commands and their options. What they do is in a module for each."""

from pathlib import Path
from typing import Annotated

import typer

import headrace as hr
from headrace.cli.arguments import parse_bytes, parse_options, parse_subset
from headrace.cli.demonstration.demo import run
from headrace.cli.info import run_info
from headrace.cli.pack import run_pack
from headrace.cli.verify import run_verify
from headrace.formats import formats
from headrace.packing import Shape

app = typer.Typer(
    name="headrace",
    add_completion=False,
    rich_markup_mode=None,  # it would take the [demo] of an extra for markup
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


_Format = Annotated[
    str | None,
    typer.Option("--format", help=f"One of {', '.join(formats())}. Default: found out."),
]
_Ids = Annotated[
    Path | None, typer.Option(help="A file of the samples' ids, as a JSON list or in lines.")
]
_Columns = Annotated[
    str | None,
    typer.Option(help="The arrays of a sample, by commas: keys, datasets, columns or fields."),
]
_Dtype = Annotated[str | None, typer.Option(help="Convert the samples, such as to float32.")]
_Size = Annotated[
    str | None,
    typer.Option(
        help="Height and width of images, such as 224x224. Default, but not for pack: the first's."
    ),
]
_Missing = Annotated[
    str | None,
    typer.Option(
        metavar="fill|error",
        help="What a chunk of Zarr is that is not there. Default: fill; for verify, error, unless "
        "there is a manifest, which knows what there should be.",
    ),
]
_Decode = Annotated[
    str | None,
    typer.Option(
        metavar="MODULE:FUNCTION",
        help="The function that makes a sample of the bytes of a file of any kind.",
    ),
]
_Suffixes = Annotated[
    str | None, typer.Option(help="Of such files, by commas, such as .wav,.flac.")
]
_Ragged = Annotated[
    str | None,
    typer.Option(
        metavar="all|NAMES", help="The arrays that may have any length: all that may, or some."
    ),
]
_Subset = Annotated[
    str | None,
    typer.Option(
        metavar="SLICE|FILE",
        help="Only some samples: a slice, such as 1000:2000 or ::10, or a file of their numbers, "
        "as .npy, a JSON list or in lines.",
    ),
]
_Workers = Annotated[
    int | None, typer.Option(min=1, max=1024, help="Threads. Default: the CPUs, at most 8.")
]


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"headrace {hr.__version__}")
        raise typer.Exit


@app.callback(invoke_without_command=True)
def headrace(
    context: typer.Context,
    version: Annotated[  # its callback does the work
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version and exit."
        ),
    ] = False,
) -> None:
    """Exact, fast, resumable batches for Keras, PyTorch, JAX and plain loops."""
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


@app.command()
def demo(
    folder: Annotated[
        Path | None,
        typer.Option(
            help="A new or empty folder for the samples, which is kept. "
            "Default: a temporary one, which is deleted at the end.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Train a model on files; compare batches and speed.

    The model is one of Keras, and learns scikit-learn's digits from a file for each image. Its
    batches are compared with those in memory, and between frameworks; the speed with that of the
    well-known tutorial's generator. Takes about half a minute, and 10 MB of disk.

    What it needs comes with: pip install 'headrace[demo]'

    The environment variable KERAS_BACKEND chooses jax, tensorflow or torch. Default: the first of
    them that is installed.
    """
    run(folder)


@app.command()
def pack(
    source: Annotated[str, typer.Argument(metavar="SRC", help="A file, a folder or a URL.")],
    target: Annotated[
        str,
        typer.Argument(
            metavar="DST",
            help="x.npy for one file; x.zarr; x.parquet, a folder of files; x, one of .npy files. "
            "Of any length: x.ragged or x.parquet.",
        ),
    ],
    format_name: _Format = None,
    ids: _Ids = None,
    columns: _Columns = None,
    dtype: _Dtype = None,
    size: _Size = None,
    missing: _Missing = None,
    decode: _Decode = None,
    suffixes: _Suffixes = None,
    ragged: _Ragged = None,
    subset: _Subset = None,
    labels: Annotated[
        Path | None,
        typer.Option(help="A .json, .npy or .csv file of labels, by id or in the samples' order."),
    ] = None,
    label_field: Annotated[
        str | None, typer.Option(help="The part of each sample that is its label.")
    ] = None,
    shard_bytes: Annotated[
        str, typer.Option(help="Of each file, where there are several.")
    ] = "1GiB",
    block_bytes: Annotated[
        str | None,
        typer.Option(help="Of a chunk of Zarr (256KiB) or a row group of Parquet (1MiB)."),
    ] = None,
    compress: Annotated[bool, typer.Option(help="Zarr and Parquet, with Zstandard.")] = True,
    workers: _Workers = None,
    force: Annotated[bool, typer.Option("--force", help="Replace what is there.")] = False,
) -> None:
    """Rewrite the samples of any reader so that they are read fast.

    Labels, ids and the names of classes are stored with them. DST appears when it is whole, with a
    manifest of checksums. If pack is killed, the same command goes on where it was.
    """
    blocks = None if block_bytes is None else parse_bytes("--block-bytes", block_bytes)
    try:
        run_pack(
            source,
            target,
            format_name=format_name,
            options=parse_options(ids, columns, dtype, size, missing, decode, suffixes, ragged),
            subset=parse_subset(subset),
            labels=labels,
            label_field=label_field,
            shape=Shape(
                shard_bytes=parse_bytes("--shard-bytes", shard_bytes),
                block_bytes=blocks,
                compressed=compress,
            ),
            workers=workers,
            force=force,
        )
    except KeyboardInterrupt:
        typer.echo("Interrupted. The same command goes on where it was.", err=True)
        raise typer.Exit(130) from None


@app.command()
def verify(
    path: Annotated[str, typer.Argument(metavar="PATH", help="A file, a folder or a URL.")],
    format_name: _Format = None,
    ids: _Ids = None,
    columns: _Columns = None,
    dtype: _Dtype = None,
    size: _Size = None,
    missing: _Missing = None,
    decode: _Decode = None,
    suffixes: _Suffixes = None,
    ragged: _Ragged = None,
    subset: _Subset = None,
    manifest: Annotated[
        str | None,
        typer.Option(
            metavar="FILE",
            help="Checksums of the files below PATH, or next to it. Default: those of pack.",
        ),
    ] = None,
    workers: _Workers = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Read every sample, and list the bad ones by name and reason.

    Files that a manifest names are compared with their checksums, but with --subset none is. Exits
    with 0 if all is good, with 1 if something is bad, and with 2 if that could not be told.
    """
    try:
        good = run_verify(
            path,
            format_name=format_name,
            options=parse_options(ids, columns, dtype, size, missing, decode, suffixes, ragged),
            subset=parse_subset(subset),
            manifest=manifest,
            workers=workers,
            as_json=as_json,
        )
    except hr.HeadraceError as error:
        typer.echo(f"Error: {error}", err=True)
        raise typer.Exit(2) from None
    raise typer.Exit(0 if good else 1)


@app.command()
def info(
    path: Annotated[str, typer.Argument(metavar="PATH", help="A file, a folder or a URL.")],
    format_name: _Format = None,
    ids: _Ids = None,
    columns: _Columns = None,
    dtype: _Dtype = None,
    size: _Size = None,
    missing: _Missing = None,
    decode: _Decode = None,
    suffixes: _Suffixes = None,
    ragged: _Ragged = None,
    batch_size: Annotated[int, typer.Option(min=1, help="Of the batches that are timed.")] = 128,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show what is there, how long an epoch takes here, and what would help.

    Shuffled batches are read for about two seconds.
    """
    run_info(
        path,
        format_name=format_name,
        options=parse_options(ids, columns, dtype, size, missing, decode, suffixes, ragged),
        batch_size=batch_size,
        as_json=as_json,
    )
