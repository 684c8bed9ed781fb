"""The plots of what loaders make of files: of 128 KB in the README, and of photographs.

Requires matplotlib, and the numbers of `files.py` or `images.py`.
"""

from pathlib import Path
from typing import NamedTuple

import matplotlib

matplotlib.use("agg")
from matplotlib import pyplot
from matplotlib.patches import Patch

import parts
import peers
from measuring import Numbers

LIMIT = "C, 2 threads:\nopen, preadv, close"
OURS = "headrace"
# The bars: what each is called, and the contenders of which the fastest is shown.
BARS = {
    LIMIT: ("C, 2 threads",),
    OURS: ("headrace, default",),
    "np.load in a loop": ("np.load loop",),
    "MosaicML Streaming*": ("Streaming, 0 workers", "Streaming, 2 workers", "Streaming, indexed"),
    **{
        label: tuple(name for name in peers.CONTENDERS if name.startswith(prefix))
        for label, prefix in {
            "PyTorch DataLoader": "DataLoader",
            "StatefulDataLoader": "StatefulDataLoader",
            "tf.data": "tf.data",
            "SPDL": "SPDL",
            "Grain": "Grain",
        }.items()
    },
}
COLOURS = {LIMIT: "#57606a", OURS: "#1f6feb"}
PEER, INK, FAINT = "#afb8c1", "#1f2328", "#59636e"


class Bar(NamedTuple):
    """What is shown of a library: MB/s as it is, and with a reader that its user writes."""

    label: str
    usual: float
    own: float


def bars(results: parts.Results) -> list[Bar]:
    """The limit, headrace, and the peers from the fastest on; 0 is what was not measured."""

    def fastest(names: list[str]) -> float:
        return parts.middle(results, parts.best(results, names) or "", "mb_per_s") or 0.0

    found = [
        Bar(
            label,
            fastest([name for name in names if name not in peers.OWN_READERS]),
            fastest([name for name in names if name in peers.OWN_READERS]),
        )
        for label, names in BARS.items()
    ]
    return found[:2] + sorted(found[2:], key=lambda bar: -bar.usual)


def draw(stored: Numbers, path: Path) -> None:
    """Draws the medians."""
    figure, axes = pyplot.subplots(figsize=(9, 4.8), dpi=160)
    shown = bars(stored["results"])
    longest = max(max(bar.usual, bar.own) for bar in shown)
    hatched = {"facecolor": "white", "edgecolor": PEER, "hatch": "////"}
    for place, bar in enumerate(shown):
        if bar.own:
            axes.barh(place, bar.own, 0.62, **hatched)
        axes.barh(place, bar.usual, 0.62, color=COLOURS.get(bar.label, PEER))
        number = f"{bar.usual:,.0f}" if bar.usual else "not measured"
        axes.text(
            max(bar.usual, bar.own) + 0.01 * longest,
            place,
            number + (f"  ({bar.own:,.0f})" if bar.own else ""),
            va="center",
            color=INK,
            fontsize=11,
            fontweight="bold" if bar.label == OURS else "normal",
        )
    axes.set_yticks(range(len(shown)), [bar.label for bar in shown], fontsize=11, color=INK)
    axes.get_yticklabels()[1].set_fontweight("bold")
    axes.invert_yaxis()
    axes.set_xlim(0, 1.12 * longest)
    axes.set_xticks([])
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    title = "Files to shuffled batches, in MB per second: longer is better"
    figure.text(0.02, 0.93, title, fontsize=14, fontweight="bold", color=INK)
    about = stored["about"]
    subtitle = (
        f"{about['samples']:,} .npy files of 128 KB, batches of 128, page cache warm, "
        f"{about['cpus']} CPUs. headrace by default, the others at their fastest."
    )
    figure.text(0.02, 0.872, subtitle, fontsize=10, color=FAINT)
    figure.text(0.02, 0.03, "* after converting the files to its format", fontsize=9, color=FAINT)
    figure.legend(
        handles=[Patch(label="(with a file reader written by hand)", **hatched)],
        loc="lower right", bbox_to_anchor=(0.99, 0.0), frameon=False, fontsize=9, labelcolor=FAINT,
    )  # fmt: skip
    figure.subplots_adjust(left=0.23, right=0.98, top=0.86, bottom=0.09)
    figure.savefig(path, facecolor="white")
    pyplot.close(figure)


def draw_groups(groups: dict[str, dict[str, float]], title: str, subtitle: str, path: Path) -> None:
    """Draws speeds in groups, one below the other, each from the fastest on.

    Args:
        groups: the speeds by their labels, by the headings of the groups. Ours are those whose
            label begins with headrace; a limit, with "limit: ", is drawn first.
    """
    figure, axes = pyplot.subplots(figsize=(9, 6.6), dpi=160)
    longest = max(speed for speeds in groups.values() for speed in speeds.values())
    labels: dict[float, str] = {}
    place = 0.0
    for heading, speeds in groups.items():
        axes.text(0, place, heading, va="center", color=INK, fontsize=11, fontweight="bold")
        order = sorted(speeds, key=lambda label: (not label.startswith("limit"), -speeds[label]))
        for label in order:
            place += 1
            ours, limit = label.startswith(OURS), label.startswith("limit")
            colour = COLOURS[OURS] if ours else COLOURS[LIMIT] if limit else PEER
            axes.barh(place, speeds[label], 0.7, color=colour)
            axes.text(
                speeds[label] + 0.01 * longest,
                place,
                f"{speeds[label]:,.0f}",
                va="center",
                color=INK,
                fontsize=10,
                fontweight="bold" if ours else "normal",
            )
            labels[place] = label.removeprefix("limit: ")
        place += 1.6
    axes.set_yticks(list(labels), list(labels.values()), fontsize=10, color=INK)
    for tick, label in zip(axes.get_yticklabels(), labels.values(), strict=True):
        tick.set_fontweight("bold" if label.startswith(OURS) else "normal")
    axes.invert_yaxis()
    axes.set_xlim(0, 1.1 * longest)
    axes.set_xticks([])
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    figure.text(0.02, 0.95, title, fontsize=14, fontweight="bold", color=INK)
    figure.text(0.02, 0.91, subtitle, fontsize=10, color=FAINT)
    figure.subplots_adjust(left=0.3, right=0.98, top=0.86, bottom=0.0)
    figure.savefig(path, facecolor="white")
    pyplot.close(figure)
