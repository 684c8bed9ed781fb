"""Photographs in class folders to batches: headrace and the loaders of others.

JPEGs of 500 x 375 in the page cache become shuffled batches of 64 of 224 x 224 pixels, by 2 threads
or processes: with Keras' pixels, which it interpolates between the nearest pixels alone, and with
antialiasing. Beside them, the JPEGs decoded by simplejpeg in 2 threads, and no more. Of what keeps
decoded samples, those of the epochs after the first. Batches are taken and dropped. What each
decodes and how it resizes differs; docs/formats/images.md says how far headrace's are Keras'.

SPDL decodes with Pillow here, as its own decoder needs FFmpeg's libraries, and LitData does, as it
else needs torchvision's operators. LitData's chunks are written before, which is not measured.

    python benchmarks/images.py --rounds 5 --json images.json --plot docs/formats/images.png
"""

import io
import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

import parts
from measuring import MissingError, Numbers, measure_in_turns, needed

BATCH_SIZE = 64
SIZE = (224, 224)
SCRIPT = Path(__file__).resolve()
KERAS, ANTIALIAS, KEPT = "Keras' pixels", "antialiased", "decoded once"
ALONE = "decoding alone, 2 threads"
MEMORY, FOLDER, ARRAY = "headrace, in memory", "headrace, in a folder", "headrace, an array"

# An epoch: batches, each of which has its number of samples as its length.
Epoch = Callable[[], Iterator[int]]


def write(root: Path, samples: int) -> None:
    from PIL import Image
    from sklearn.datasets import load_sample_images

    rng = np.random.default_rng(0)
    photographs = load_sample_images().images
    for i in range(samples):
        file = root / ("even", "odd")[i % 2] / f"{i:05}.jpg"
        file.parent.mkdir(parents=True, exist_ok=True)
        top, left = rng.integers(40), rng.integers(120)
        pixels = photographs[i % 2][top : top + 375, left : left + 500]
        Image.fromarray(pixels).save(file, quality=90)


def headrace(root: str, antialias: bool, **options: Any) -> Epoch:
    import headrace as hr

    images = hr.ImageFolder(root, SIZE, antialias=antialias, **options)
    loader = hr.Loader((images, images.labels()), BATCH_SIZE, executor=hr.Threads(2))
    return lambda: (len(x) for x, _ in loader)


def kept(root: str, where: str) -> Epoch:
    import tempfile

    import headrace as hr

    images = hr.ImageFolder(root, SIZE, antialias=False, decoder="turbo", fast_dct=True)
    source: Any = images
    if where == ARRAY:
        source = np.empty((len(images), *images.spec.shape), np.uint8)
        images.read(np.arange(len(images)), source)
    else:
        source = hr.Cached(
            images, tempfile.mkdtemp(dir=Path(root).parent) if where == FOLDER else None
        )
    loader = hr.Loader((source, images.labels()), BATCH_SIZE, executor=hr.Threads(2))
    return lambda: (len(x) for x, _ in loader)


def keras(root: str, antialias: bool, keeps: bool = False) -> Epoch:
    if antialias:
        raise MissingError("it has no antialiasing")
    library = needed("keras")
    needed("tensorflow")
    dataset = library.utils.image_dataset_from_directory(
        root, image_size=SIZE, batch_size=BATCH_SIZE, seed=0, verbose=False
    )
    if keeps:  # batches of float32, which stay in the order of the first epoch
        dataset = dataset.cache()
    return lambda: (int(x.shape[0]) for x, _ in dataset)


def tf_data(root: str, antialias: bool) -> Epoch:
    tf = needed("tensorflow")
    names = sorted(map(str, Path(root).rglob("*.jpg")))

    def decode(name: Any) -> Any:
        image = tf.io.decode_jpeg(tf.io.read_file(name), channels=3)
        return tf.image.resize(image, SIZE, antialias=antialias)

    dataset = tf.data.Dataset.from_tensor_slices(names).shuffle(len(names))
    dataset = dataset.map(decode, tf.data.AUTOTUNE).batch(BATCH_SIZE).prefetch(tf.data.AUTOTUNE)
    return lambda: (int(x.shape[0]) for x in dataset)


def torchvision(root: str, antialias: bool) -> Epoch:
    def steps(v2: Any) -> list[Any]:
        if antialias:  # of a Pillow image, which it is quicker with
            return [v2.Resize(SIZE), v2.PILToTensor()]
        return [v2.PILToTensor(), v2.Resize(SIZE, antialias=False)]

    return torchvision_folder(root, steps)


def torchvision_folder(root: str, steps: Callable[[Any], list[Any]]) -> Epoch:
    """An `ImageFolder` of torchvision in a DataLoader, with the steps that its v2 gives."""
    torch = needed("torch")
    # The build of PyPI is for another build of torch: its own operators are not needed here, and
    # to register them fails.
    torch.library.register_fake = lambda *args, **options: lambda function: function
    needed("torchvision")
    datasets, v2 = needed("torchvision.datasets"), needed("torchvision.transforms.v2")
    loader = torch.utils.data.DataLoader(
        datasets.ImageFolder(root, v2.Compose(steps(v2))),
        BATCH_SIZE,
        shuffle=True,
        num_workers=2,
        persistent_workers=True,
    )
    return lambda: (len(x) for x, _ in loader)


def grain(root: str, antialias: bool) -> Epoch:
    if not antialias:
        raise MissingError("its user resizes with Pillow, which antialiases")
    library = needed("grain")
    needed("absl.flags").FLAGS.mark_as_parsed()  # which its worker processes ask for
    names = sorted(map(str, Path(root).rglob("*.jpg")))
    dataset = library.MapDataset.source(names).shuffle(seed=0).repeat().map(by_pillow)
    options = library.MultiprocessingOptions(num_workers=2)
    read = dataset.batch(BATCH_SIZE).to_iter_dataset().mp_prefetch(options)
    batches = iter(read)
    return lambda: map(len, itertools.islice(batches, len(names) // BATCH_SIZE))


def by_pillow(file: str | io.BytesIO) -> np.ndarray:
    from PIL import Image

    with Image.open(file) as image:
        return np.array(image.resize(SIZE, Image.Resampling.BILINEAR))


def spdl(root: str, antialias: bool) -> Epoch:
    if not antialias:
        raise MissingError("its user resizes with Pillow, which antialiases")
    library = needed("spdl.pipeline")
    names = sorted(map(str, Path(root).rglob("*.jpg")))
    rng = np.random.default_rng(0)

    def epoch() -> Iterator[int]:
        pipeline = (
            library.PipelineBuilder()
            .add_source(rng.permutation(names).tolist())
            .pipe(by_pillow, concurrency=2)
            .aggregate(BATCH_SIZE)
            .pipe(np.stack)
            .add_sink(2)
            .build(num_threads=2, max_failures=0)
        )
        with pipeline.auto_stop():
            yield from map(len, pipeline)

    return epoch


def litdata(root: str, antialias: bool) -> Epoch:
    if not antialias:
        raise MissingError("its user resizes with Pillow, which antialiases")
    torch = needed("torch")
    torch.library.register_fake = lambda *args, **options: lambda function: function
    library = needed("litdata")
    chunks = Path(root).parent / "litdata"
    if not chunks.exists():
        names = sorted(map(str, Path(root).rglob("*.jpg")))
        library.optimize(
            with_bytes, names, str(chunks), chunk_bytes="64MB", num_workers=2, verbose=False
        )
    dataset = library.StreamingDataset(str(chunks), shuffle=True, transform=decoded)
    loader = library.StreamingDataLoader(
        dataset, batch_size=BATCH_SIZE, num_workers=2, persistent_workers=True
    )
    return lambda: (len(x) for x, _ in loader)


def with_bytes(name: str) -> dict[str, Any]:
    return {"image": Path(name).read_bytes(), "label": int(Path(name).parent.name == "odd")}


def decoded(sample: dict[str, Any]) -> tuple[np.ndarray, int]:
    return by_pillow(io.BytesIO(sample["image"])), sample["label"]


def ffcv(root: str, antialias: bool) -> Epoch:
    raise MissingError(
        "PyPI has its source alone, and to build it takes the C++ headers of OpenCV and "
        "libjpeg-turbo"
    )


def alone(root: str, antialias: bool) -> Epoch:
    simplejpeg = needed("simplejpeg")
    files = [path.read_bytes() for path in Path(root).rglob("*.jpg")]
    from concurrent.futures import ThreadPoolExecutor

    pool = ThreadPoolExecutor(2)

    def decode(first: int) -> int:
        for file in files[first : first + BATCH_SIZE]:
            simplejpeg.decode_jpeg(file, "RGB")
        return BATCH_SIZE

    return lambda: pool.map(decode, range(0, len(files), BATCH_SIZE))


CONTENDERS: dict[str, Callable[[str, bool], Epoch]] = {
    "headrace, pillow": headrace,
    "headrace, turbo": lambda root, aa: headrace(root, aa, decoder="turbo", fast_dct=not aa),
    "headrace, opencv": lambda root, _: headrace(root, False, decoder="opencv", fast_dct=True),
    "keras": keras,
    "torchvision, 2 workers": torchvision,
    "tf.data": tf_data,
    "grain, 2 workers": grain,
    "SPDL, 2 threads": spdl,
    "LitData, 2 workers": litdata,
    "FFCV": ffcv,
    MEMORY: lambda root, _: kept(root, MEMORY),
    FOLDER: lambda root, _: kept(root, FOLDER),
    ARRAY: lambda root, _: kept(root, ARRAY),
    "keras, cache()": lambda root, _: keras(root, False, keeps=True),
    ALONE: alone,
}
BOTH = ("headrace, pillow", "headrace, turbo", "torchvision, 2 workers", "tf.data")
NAMES = [f"{name}: {kind}" for kind in (KERAS, ANTIALIAS) for name in BOTH]
NAMES += [f"{name}: {KERAS}" for name in ("headrace, opencv", "keras", ALONE)]
OTHERS = ("grain, 2 workers", "SPDL, 2 threads", "LitData, 2 workers", "FFCV")
NAMES += [f"{name}: {ANTIALIAS}" for name in OTHERS]
NAMES += [f"{name}: {KEPT}" for name in (MEMORY, FOLDER, ARRAY, "keras, cache()")]


def measured(request: Numbers) -> Numbers:
    """Samples in a second over whole epochs, after one to warm up."""
    name, kind = request["name"].split(": ")
    epoch = CONTENDERS[name](request["root"], kind == ANTIALIAS)
    sum(epoch())
    watch, epochs, samples = parts.Watch(), 0, 0
    while watch.elapsed_s < request["seconds"] or not epochs:
        samples = sum(epoch())
        epochs += 1
    return watch.stop(epochs, samples, samples * 3 * SIZE[0] * SIZE[1])


def targets(results: parts.Results) -> list[Numbers]:
    made = []
    for ours, kind, peer, bound in (
        ("headrace, turbo", KERAS, f"keras: {KERAS}", ">= 1"),
        ("headrace, turbo", ANTIALIAS, f"torchvision, 2 workers: {ANTIALIAS}", ">= 1.5"),
        ("headrace, turbo", ANTIALIAS, f"headrace, pillow: {ANTIALIAS}", ">= 1.25"),
        ("headrace, turbo", KERAS, f"{ALONE}: {KERAS}", ">= 0.75"),
        ("headrace, opencv", KERAS, f"{ALONE}: {KERAS}", ">= 0.75"),
        (MEMORY, KEPT, f"{ARRAY}: {KEPT}", ">= 0.8"),
        (FOLDER, KEPT, f"{ARRAY}: {KEPT}", ">= 0.8"),
    ):
        work = f"{ours}: {kind}"
        # Of what runs on a busy machine, this varies less.
        cpu = parts.ratio(results, peer, work, "cpu_s_per_epoch")
        note = "" if cpu is None else f"{cpu:.2f} in CPU time"
        made.append(parts.target(work, peer, bound, parts.ratio(results, work, peer), note))
    for ours in ("headrace, turbo", "headrace, opencv"):
        peers = f"{ours}: {KERAS}", f"tf.data: {KERAS}"
        memory = parts.ratio(results, *peers, "peak_rss_mib")
        made.append(parts.target(f"peak memory, {ours}", "tf.data", "<= 0.1", memory))
    return made


# What the contenders are called in the plot.
LABELS = {
    "headrace, pillow": "headrace, Pillow",
    "keras": "keras, image_dataset_from_directory",
    "grain, 2 workers": "Grain, 2 processes",
    ALONE: "limit: simplejpeg alone, 2 threads",
}


def draw(results: parts.Results, samples: int, path: Path) -> None:
    """Draws the medians of the two ways of resizing."""
    import plot  # of which measuring needs nothing

    groups: dict[str, dict[str, float]] = {}
    for heading, kind in (("Keras' pixels", KERAS), ("With antialiasing", ANTIALIAS)):
        for name in NAMES:
            speed = parts.middle(results, name, "samples_per_s")
            contender, of = name.split(": ")
            if of == kind and speed:
                groups.setdefault(heading, {})[LABELS.get(contender, contender)] = speed
    subtitle = (
        f"{samples:,} JPEGs of 500 x 375 to shuffled batches of 64 of 224 x 224, page cache warm, "
        "2 CPUs"
    )
    plot.draw_groups(groups, "Photographs a second: longer is better", subtitle, path)


def main() -> None:
    import tempfile

    parser = parts.parser(__doc__)
    parser.add_argument("--plot", type=Path, help="where to draw the medians")
    parser.add_argument("--seconds", type=float, default=2.0, help="least time of a measurement")
    parser.add_argument("--samples", type=int, default=1024)
    options = parts.options_of(parser, measured, seconds=0.2, samples=256)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder, "photographs")
        write(root, options.samples)
        request = {"root": str(root), "seconds": options.seconds}
        results, missing = measure_in_turns(
            SCRIPT, NAMES, request, options.rounds, options.patience
        )
    columns = (
        parts.Column("images/s", "samples_per_s", ",.0f"),
        parts.Column("CPU s per epoch", "cpu_s_per_epoch", ".3f"),
        parts.Column("peak RSS, MiB", "peak_rss_mib"),
    )
    parts.report(
        options,
        "images",
        f"{options.samples} shuffled photographs of 500 x 375 to 224 x 224, batches of "
        f"{BATCH_SIZE}, 2 threads or processes.",
        columns,
        results,
        missing,
        targets(results),
    )
    if options.plot:
        draw(results, options.samples, options.plot)


if __name__ == "__main__":
    main()
