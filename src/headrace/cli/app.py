"""The commands and their options. What they do is in a module for each."""

from pathlib import Path
from typing import Annotated

import typer

import headrace as hr
from headrace.cli.demo import run

app = typer.Typer(
    name="headrace",
    add_completion=False,
    rich_markup_mode=None,  # it would take the [demo] of an extra for markup
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


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
