"""Random crops of photographs: headrace, torchvision, tf.data and Grain.

JPEGs of 500 x 375 in the page cache become shuffled batches of 64 crops of 224 x 224, of random
area, shape and place, half of them mirrored, by 2 threads or processes, with antialiasing where
there is any. Batches are taken and dropped. torchvision is what its users write: `ImageFolder` with
`RandomResizedCrop` and `RandomHorizontalFlip`; tf.data decodes only the crop, and does not
antialias, as its pipelines for ImageNet do. Beside them, the JPEGs decoded whole by simplejpeg in 2
threads, and no more.

    python benchmarks/crops.py --rounds 5 --json crops.json
"""

import itertools
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

import parts
from images import ALONE, BATCH_SIZE, SIZE, Epoch, alone, torchvision_folder, write
from measuring import Numbers, measure_in_turns, needed

SCRIPT = Path(__file__).resolve()


def headrace(root: str, **options: Any) -> Epoch:
    import headrace as hr

    images = hr.ImageFolder(root, decode=False)
    crop = hr.RandomResizedCrop(SIZE, flip=0.5, **options)

    def cropped(sample: Any, rng: np.random.Generator) -> Any:
        return crop(sample[0], rng), sample[1]

    loader = hr.Loader(
        (images, images.labels()),
        BATCH_SIZE,
        transform=hr.per_sample(cropped),
        executor=hr.Threads(2),
    )
    return lambda: (len(x) for x, _ in loader)


def torchvision(root: str) -> Epoch:
    return torchvision_folder(
        root, lambda v2: [v2.RandomResizedCrop(SIZE), v2.RandomHorizontalFlip(), v2.PILToTensor()]
    )


def tf_data(root: str) -> Epoch:
    tf = needed("tensorflow")
    names = sorted(map(str, Path(root).rglob("*.jpg")))

    def crop(name: Any) -> Any:
        data = tf.io.read_file(name)
        start, size, _ = tf.image.sample_distorted_bounding_box(
            tf.io.extract_jpeg_shape(data),
            tf.zeros((1, 0, 4)),
            area_range=(0.08, 1.0),
            aspect_ratio_range=(3 / 4, 4 / 3),
            max_attempts=10,
            use_image_if_no_bounding_boxes=True,
        )
        window = tf.concat([start[:2], size[:2]], 0)
        image = tf.image.resize(tf.io.decode_and_crop_jpeg(data, window, channels=3), SIZE)
        return tf.image.random_flip_left_right(image)

    dataset = tf.data.Dataset.from_tensor_slices(names).shuffle(len(names))
    dataset = dataset.map(crop, tf.data.AUTOTUNE).batch(BATCH_SIZE).prefetch(tf.data.AUTOTUNE)
    return lambda: (int(x.shape[0]) for x in dataset)


def grain(root: str) -> Epoch:
    library = needed("grain")
    needed("absl.flags").FLAGS.mark_as_parsed()  # which its worker processes ask for
    names = sorted(map(str, Path(root).rglob("*.jpg")))
    dataset = library.MapDataset.source(names).seed(0).shuffle().repeat().random_map(by_pillow)
    options = library.MultiprocessingOptions(num_workers=2)
    batches = iter(dataset.batch(BATCH_SIZE).to_iter_dataset().mp_prefetch(options))
    return lambda: map(len, itertools.islice(batches, len(names) // BATCH_SIZE))


def by_pillow(name: str, rng: np.random.Generator) -> np.ndarray:
    """Such a crop, as a user of Grain would write it."""
    from PIL import Image

    with Image.open(name) as image:
        for _ in range(10):
            area = image.width * image.height * rng.uniform(0.08, 1)
            ratio = np.exp(rng.uniform(np.log(3 / 4), np.log(4 / 3)))
            width, height = round(np.sqrt(area * ratio)), round(np.sqrt(area / ratio))
            if width <= image.width and height <= image.height:
                break
        else:
            width = height = min(image.size)
        left, top = rng.integers([image.width - width + 1, image.height - height + 1])
        crop = image.crop((left, top, left + width, top + height))
        pixels = np.asarray(crop.resize(SIZE, Image.Resampling.BILINEAR))
    return pixels[:, ::-1] if rng.random() < 0.5 else pixels


TORCHVISION = "torchvision, 2 workers"
CONTENDERS = {
    "headrace, pillow": headrace,
    "headrace, turbo": lambda root: headrace(root, decoder="turbo"),
    "headrace, turbo, fast_dct": lambda root: headrace(root, decoder="turbo", fast_dct=True),
    TORCHVISION: torchvision,
    "tf.data": tf_data,
    "grain, 2 workers": grain,
    ALONE: lambda root: alone(root, antialias=True),
}


def measured(request: Numbers) -> Numbers:
    """Samples in a second over whole epochs, after one to warm up."""
    epoch = CONTENDERS[request["name"]](request["root"])
    sum(epoch())
    watch, epochs, samples = parts.Watch(), 0, 0
    while watch.elapsed_s < request["seconds"] or not epochs:
        samples = sum(epoch())
        epochs += 1
    return watch.stop(epochs, samples, samples * 3 * SIZE[0] * SIZE[1])


def main() -> None:
    parser = parts.parser(__doc__)
    parser.add_argument("--seconds", type=float, default=2.0, help="least time of a measurement")
    parser.add_argument("--samples", type=int, default=1024)
    options = parts.options_of(parser, measured, seconds=0.2, samples=256)
    with tempfile.TemporaryDirectory() as root:
        write(Path(root), options.samples)
        request = {"root": root, "seconds": options.seconds}
        results, missing = measure_in_turns(
            SCRIPT, list(CONTENDERS), request, options.rounds, options.patience
        )
    columns = (
        parts.Column("images/s", "samples_per_s", ",.0f"),
        parts.Column("CPU s per epoch", "cpu_s_per_epoch", ".3f"),
        parts.Column("peak RSS, MiB", "peak_rss_mib"),
    )
    targets = [
        parts.target(ours, TORCHVISION, bound, parts.ratio(results, ours, TORCHVISION))
        for ours, bound in (("headrace, turbo", ">= 1.3"), ("headrace, pillow", ">= 1"))
    ]
    parts.report(
        options,
        "crops",
        f"Random crops of {options.samples} shuffled photographs of 500 x 375 to 224 x 224, in "
        f"batches of {BATCH_SIZE}, 2 threads or processes.",
        columns,
        results,
        missing,
        targets,
    )


if __name__ == "__main__":
    main()
