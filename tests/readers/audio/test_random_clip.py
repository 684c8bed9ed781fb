"""RandomClip: clips from random frames on, of decoded and of encoded samples."""

import pickle

import numpy as np
import pytest

import headrace as hr

RNG = np.random.default_rng


def test_every_clip_is_equally_likely():
    clip, sound = hr.RandomClip(3), np.arange(6)
    rng = RNG(0)
    starts = [int(clip(sound, rng)[0]) for _ in range(4000)]
    assert np.abs(np.bincount(starts, minlength=4) - 1000).max() < 100
    assert clip(np.arange(3), rng).tolist() == [0, 1, 2]
    assert clip(np.ones((9, 2)), rng).shape == (3, 2)


def test_what_is_shorter_is_padded_or_refused():
    assert (
        hr.RandomClip(4, pad=True)(np.array([[1, 2]]), RNG(0)).tolist() == [[1, 2]] + [[0, 0]] * 3
    )
    with pytest.raises(hr.ArgumentError, match=r"4 was given, and one has 1\. Pass pad=True"):
        hr.RandomClip(4)(np.array([1.0]), RNG(0))


@pytest.mark.parametrize(
    ("options", "error", "said"),
    [
        ({"frames": 0}, ValueError, "frames must be an int from 1"),
        ({"frames": 1, "pad": 1}, TypeError, "pad must be True or False"),
    ],
)
def test_arguments_are_checked(options, error, said):
    with pytest.raises(error, match=said):
        hr.RandomClip(**options)


def test_encoded_samples_need_a_rate():
    with pytest.raises(hr.ArgumentError, match="rate must be given, as the samples are uint8"):
        hr.RandomClip(3)(np.zeros(9, np.uint8), RNG(0))


@pytest.fixture
def folder(tmp_path):
    sf = pytest.importorskip("soundfile", reason="needs headrace[audio]")
    for name, n in (("a.wav", 900), ("b.flac", 400), ("c.wav", 100)):
        sf.write(tmp_path / name, RNG(n).integers(-1000, 1000, (n, 2)).astype("int16"), 8000)
    return tmp_path


@pytest.mark.parametrize("channels", [1, 2])
def test_encoded_samples_give_the_clips_of_decoded_ones(folder, channels):
    decoded = hr.AudioFiles(folder, channels=channels)
    encoded = hr.Files(folder, decode=False, suffixes=[".wav", ".flac"])
    plain = hr.per_sample(hr.RandomClip(300, pad=True))
    clips = hr.per_sample(hr.RandomClip(300, pad=True, rate=8000, channels=channels))
    one = hr.Loader(decoded, 3, seed=5, transform=plain)
    other = hr.Loader(encoded, 3, seed=5, transform=pickle.loads(pickle.dumps(clips)))
    for epoch in range(3):
        batch = other.batch(epoch, 0)
        assert batch.shape[:2] == (3, 300)
        assert np.array_equal(batch, one.batch(epoch, 0))
    assert not np.array_equal(one.batch(0, 0), one.batch(1, 0))


def test_a_sample_that_can_not_be_decoded_is_an_error(folder):
    clip = hr.RandomClip(3, rate=8000)
    with pytest.raises(hr.SampleFormatError, match="can't be decoded: Format not recognised"):
        clip(np.zeros(99, np.uint8), RNG(0))
    sound = np.frombuffer((folder / "a.wav").read_bytes(), np.uint8)
    with pytest.raises(hr.SampleFormatError, match="its rate is 8000 Hz; expected is 16000"):
        hr.RandomClip(3, rate=16_000)(sound, RNG(0))
