"""AudioFiles: whole files and clips of sound."""

import io
import pickle
import re

import numpy as np
import pytest
from far_folder import FarFolder
from one_file_each import OneFileEach
from reading import read

import headrace as hr
from headrace.ragged import RaggedOut
from headrace.readers.access import lengths_of, stamps_of
from headrace.readers.reader import read_batch
from headrace.testing import RaggedReaderContract, ReaderContract

sf = pytest.importorskip("soundfile", reason="needs headrace[audio]")

RATE = 8000
SUBTYPES = {"float32": "FLOAT", "float64": "DOUBLE", "int16": "PCM_16", "int32": "PCM_32"}


def noise(n, channels=1, dtype="float32"):
    numbers = np.random.default_rng([n, channels]).integers(-(2**15), 2**15, (n, channels))
    if np.dtype(dtype).kind == "f":
        numbers = numbers / 2**15
    return numbers.astype(dtype)[:, 0] if channels == 1 else numbers.astype(dtype)


def write(path, sound, rate=RATE, **options):
    options = {"subtype": SUBTYPES[sound.dtype.name]} | options
    sf.write(path, sound, rate, **options)
    return path.parent


class TestContract(OneFileEach):
    dtypes = ("float32", "float64", "int16", "int32")
    shapes = ((400,), (40, 2), (1,), (300, 6))
    suffix = ".wav"

    def make_samples(self, n, shape, dtype):
        frames, channels = shape[0], (*shape, 1)[1]
        return noise(n * frames, channels, dtype).reshape(n, *shape)

    def save(self, path, sample, index):
        write(path, sample)

    def open(self, root, samples):
        return hr.AudioFiles(root, samples.shape[1], dtype=samples.dtype)

    def test_ids_name_the_samples(self, folder, samples):
        reader = self.make_reader(folder, samples)
        assert reader.ids == [f"{index:05}.wav[0:400]" for index in range(8)]
        assert reader.files == [f"{index:05}.wav" for index in range(8)]


class TestContractFarAway(TestContract):
    root = FarFolder
    test_holds_no_object_for_each_sample = None  # which takes seconds, and is the same as near


class TestContractOfClips(ReaderContract):
    """All in one file."""

    dtypes, shapes = TestContract.dtypes, TestContract.shapes
    make_samples = TestContract.make_samples

    def make_reader(self, folder, samples):
        write(folder / "all.wav", samples.reshape(-1, *samples.shape[2:]))
        return hr.AudioFiles(folder, samples.shape[1], dtype=samples.dtype)

    def test_ids_name_the_samples(self, folder, samples):
        ids = [f"all.wav[{400 * index}:{400 * index + 400}]" for index in range(8)]
        assert self.make_reader(folder, samples).ids == ids


class TestContractOfAnyLength(RaggedReaderContract):
    dtypes = ("float32", "float64", "int16")
    elements = ((), (3,))

    def make_reader(self, folder, samples):
        for index, sample in enumerate(samples):
            write(self.sample_file(folder, index), sample)
        return hr.AudioFiles(folder, dtype=samples[0].dtype)

    def sample_file(self, folder, index):
        return folder / f"{index:05}.wav"


SOUND = {"a.wav": noise(1000), "b.flac": noise(1599), "c.wav": noise(100)}


@pytest.fixture
def folder(tmp_path):
    for name, sound in SOUND.items():
        write(tmp_path / name, sound, subtype="PCM_16")
    return tmp_path


@pytest.mark.parametrize("storage", [lambda folder: folder, FarFolder], ids=["near", "far"])
def test_files_are_cut_into_clips(folder, storage):
    reader = hr.AudioFiles(storage(folder), 400)
    starts = [("a.wav", 0), ("a.wav", 400), ("b.flac", 0), ("b.flac", 400), ("b.flac", 800)]
    assert reader.ids == [f"{name}[{start}:{start + 400}]" for name, start in starts]
    for index, (name, start) in enumerate(starts):
        assert np.array_equal(read(reader, [index])[0], SOUND[name][start : start + 400])
    hopping = hr.AudioFiles(storage(folder), 400, hop=300)
    assert hopping.ids[:4] == [f"a.wav[{i}:{i + 400}]" for i in (0, 300, 600)] + ["b.flac[0:400]"]
    assert np.array_equal(read(hopping, [2])[0], SOUND["a.wav"][600:1000])


@pytest.mark.parametrize("storage", [lambda folder: folder, FarFolder], ids=["near", "far"])
def test_clips_may_be_given(folder, storage):
    clips = [("b.flac", 17), ("a.wav", 900), ("b.flac", 0)]
    got = read(hr.AudioFiles(storage(folder), 100, clips=clips))
    for row, (name, start) in zip(got, clips, strict=True):
        assert np.array_equal(row, SOUND[name][start : start + 100])
    clips = [("b.flac", 17, 5), ("a.wav", 900, 100), ("b.flac", 3, 0)]
    reader = hr.AudioFiles(storage(folder), clips=iter(clips))
    assert lengths_of(reader).tolist() == [5, 100, 0]
    batch = read_batch(reader, np.array([2, 1, 0]))
    assert batch.lengths.tolist() == [0, 100, 5]
    assert np.array_equal(batch[2], SOUND["b.flac"][17:22])


def test_clips_of_a_file_are_read_together(folder):
    far = FarFolder(folder)
    reader = hr.AudioFiles(far, 100)
    far.asked.clear()
    read(reader, [0, 12, 3, 11, 7, 3])
    assert sorted(request.name for request in far.asked) == ["a.wav", "b.flac"]


def test_far_headers_are_read_without_the_files(tmp_path):
    write(tmp_path / "a.wav", noise(200_000))
    write(tmp_path / "b.flac", noise(200_000), subtype="PCM_16")
    sf.write(tmp_path / "c.ogg", noise(200_000), RATE)
    far = FarFolder(tmp_path)
    reader = hr.AudioFiles(far)
    assert reader.sample_lengths().tolist() == [200_000] * 3
    assert [request.name for request in far.asked if request.stop is None] == ["c.ogg"]
    assert max(request.stop for request in far.asked if request.stop) == 2**16


@pytest.mark.parametrize("kind", ["OGG", "MP3", "AIFF", "FLAC"])
def test_other_kinds_are_read_as_soundfile_reads_them(tmp_path, kind):
    sf.write(tmp_path / f"a.{kind.lower()}", noise(5000), RATE, format=kind)
    expected, _ = sf.read(tmp_path / f"a.{kind.lower()}", dtype="float32")
    batch = read_batch(hr.AudioFiles(tmp_path), np.array([0]))
    # Sums of MP3 are rounded in one way or another after libsndfile was told to go to a frame.
    assert np.abs(batch[0] - expected).max() <= (1e-6 if kind == "MP3" else 0)
    clip = read(hr.AudioFiles(tmp_path, 64, clips=[(f"a.{kind.lower()}", 1000)]))
    assert np.abs(clip[0] - expected[1000:1064]).max() < 1e-6


@pytest.mark.parametrize("subtype", ["GSM610", "G721_32"])
def test_a_kind_within_which_no_frame_can_be_found_is_read_through(tmp_path, subtype):
    root = write(tmp_path / "a.wav", noise(4000), subtype=subtype)
    batch = read_batch(hr.AudioFiles(root), np.array([0]))
    clips = [("a.wav", 1000, 700), ("a.wav", 30, 5)]
    parts = read_batch(hr.AudioFiles(root, clips=clips), np.array([0, 1]))
    assert batch[0].std() > 0.1
    assert np.array_equal(parts[0], batch[0][1000:1700])
    assert np.array_equal(parts[1], batch[0][30:35])


@pytest.mark.parametrize("storage", [lambda folder: folder, FarFolder], ids=["near", "far"])
@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize(
    ("name", "subtype"),
    [("a.ogg", "VORBIS"), ("b.ogg", "OPUS"), ("a.mp3", None), ("a.flac", "PCM_16"),
     ("a.wav", "IMA_ADPCM")],
)  # fmt: skip
def test_a_clip_does_not_depend_on_what_is_read_with_it(tmp_path, name, subtype, channels, storage):
    tones = 0.3 * np.sin(np.arange(90_000) ** 2 * 1e-5)
    sound = (tones + 0.1 * noise(90_000, channels).T).T.astype("float32")
    root = write(tmp_path / name, sound, 16_000, subtype=subtype)
    whole = sf.read(tmp_path / name, dtype="float32")[0]
    reader = hr.AudioFiles(storage(root), 3000, hop=777)
    expected = np.stack([whole[777 * i : 777 * i + 3000] for i in range(len(reader))])
    order = np.random.default_rng(0).permutation(len(reader))
    together, alone = read(reader, order), [read(reader, [index])[0] for index in order]
    assert (together == alone).all()
    # Opus, which begins to decode 80 ms before a frame, has not come to quite the same by then.
    assert np.abs(together - expected[order]).max() < (1e-2 if subtype == "OPUS" else 1e-6)


def without_tag(path):
    """Takes the first frame of an MP3 away, which says how long it is."""
    data = path.read_bytes()
    first = data.index(data[:2], 4)
    assert b"Xing" in data[:first] or b"Info" in data[:first]
    path.write_bytes(data[first:])


NEAR_AND_FAR = pytest.mark.parametrize(
    "storage", [lambda folder: folder, FarFolder], ids=["near", "far"]
)


@NEAR_AND_FAR
def test_an_mp3_of_which_libsndfile_would_read_a_part_is_an_error(tmp_path, storage):
    # Loud at first, which is of more bits than most of it: its length is guessed from these.
    sound = noise(200_000) * np.linspace(1, 0, 200_000) ** 8
    sf.write(tmp_path / "a.mp3", sound, 44_100, format="MP3")
    assert hr.AudioFiles(storage(tmp_path)).sample_lengths().tolist() == [200_000]
    without_tag(tmp_path / "a.mp3")
    with pytest.raises(hr.SampleFormatError, match=r"a.mp3': it does not say how long it is"):
        hr.AudioFiles(storage(tmp_path))


@NEAR_AND_FAR
def test_the_frames_of_an_mp3_are_counted_where_more_are_guessed(tmp_path, storage):
    frame = b"\xff\xf3\x48\xc4" + bytes(140)  # of 576 silent samples, 32 kbit/s at 16 kHz
    title, end = b"ID3\3\0\0\0\0\1\0" + bytes(128), b"TAG" + bytes(125)
    (tmp_path / "a.mp3").write_bytes(title + frame * 20 + end)
    reader = hr.AudioFiles(storage(tmp_path))
    assert sf.info(tmp_path / "a.mp3").frames > 20 * 576
    assert reader.sample_lengths().tolist() == [20 * 576]
    assert not read_batch(reader, np.array([0]))[0].any()


def test_one_channel_is_the_mean_of_all(tmp_path):
    stereo, mono = noise(500, 2), noise(600)
    write(tmp_path / "a.wav", stereo)
    write(tmp_path / "b.wav", mono)
    got = read(hr.AudioFiles(tmp_path, 500, channels=1))
    assert np.array_equal(got, [stereo.mean(axis=1), mono[:500]])
    with pytest.raises(
        hr.SampleFormatError, match=r"sample 1 .*b\.wav': it has 1 channels; ex.* 2"
    ):
        read(hr.AudioFiles(tmp_path, 500))
    with pytest.raises(hr.SampleFormatError, match="which can't become 1 of int16 as they are"):
        read(hr.AudioFiles(tmp_path, 500, channels=1, dtype="int16"))


def test_another_rate_is_refused(folder):
    write(folder / "a2.wav", noise(1000), rate=16_000)
    with pytest.raises(
        hr.SampleFormatError, match=r"sample 1 .*a2.*16000 Hz; .*8000\. Resample it"
    ):
        read_batch(hr.AudioFiles(folder), np.arange(3))
    with pytest.raises(hr.SampleFormatError, match=r"sample 0 .*a\.wav.* 8000 Hz; .* is 16000"):
        read_batch(hr.AudioFiles(folder, rate=16_000), np.arange(2))
    assert hr.AudioFiles(folder).rate == 8000


@pytest.mark.parametrize(("subtype", "dtype"), [("FLOAT", "int16"), ("PCM_24", "int16")])
def test_a_dtype_that_would_change_the_samples_is_refused(tmp_path, subtype, dtype):
    write(tmp_path / "a.wav", noise(100), subtype=subtype)
    with pytest.raises(hr.SampleFormatError, match=f"channels of {subtype}, which can't become"):
        read(hr.AudioFiles(tmp_path, 100, dtype=dtype))


@pytest.mark.parametrize("storage", [lambda folder: folder, FarFolder], ids=["near", "far"])
def test_what_is_no_audio_is_named(folder, storage):
    (folder / "b.flac").write_bytes(b"no audio at all")
    with pytest.raises(hr.SampleFormatError, match=r"sample 1 .*b\.flac': Format not recognised"):
        hr.AudioFiles(storage(folder))
    (folder / "b.flac").unlink()
    with pytest.raises(FileNotFoundError, match=r"b\.flac"):
        hr.AudioFiles(storage(folder), ids=["a.wav", "b.flac"])


def test_a_file_that_is_changed_later(folder):
    whole, clips = hr.AudioFiles(folder), hr.AudioFiles(folder, 400)
    write(folder / "a.wav", noise(500), subtype="PCM_16")
    with pytest.raises(hr.SampleFormatError, match=r"sample 0 .*it has 500 frames; expected"):
        read_batch(whole, np.array([0]))
    with pytest.raises(hr.SampleFormatError, match=r"sample 1 .*it has 500 frames; expected"):
        read(clips, [0, 1])
    write(folder / "a.wav", noise(5000), subtype="PCM_16")
    with pytest.raises(hr.SampleFormatError, match=r"sample 0 .*5000 frames; expected are 1000"):
        read_batch(whole, np.array([0]))


@pytest.mark.parametrize(
    ("options", "error", "said"),
    [
        ({"frames": 0}, ValueError, "frames must be an int from 1"),
        ({"frames": 2000}, ValueError, "frames must be at most those of the longest file, 1599"),
        ({"rate": 1.5}, TypeError, "rate must be an int"),
        ({"channels": 0}, ValueError, "channels must be an int from 1"),
        ({"hop": 3}, ValueError, "hop must be left out"),
        ({"dtype": "float16"}, ValueError, "dtype must be one of float32"),
        ({"dtype": "words"}, ValueError, "dtype must be one of float32"),
        ({"clips": []}, ValueError, "clips must be at least one clip"),
        ({"clips": [("a.wav", 0)]}, ValueError, r"clips\[0\] must be \(file, start, length\)"),
        (
            {"clips": [("a.wav", 0, 9)], "frames": 3},
            ValueError,
            r"must be \(file, start\), but .*L",
        ),
        ({"clips": [("x.wav", 0, 9)]}, ValueError, r"clips\[0\] must be of one of the files"),
        ({"clips": [("a.wav", -1, 9)]}, ValueError, r"clips\[0\] must be .* no number below 0"),
        ({"clips": [("a.wav", 0.5, 9)]}, TypeError, r"clips\[0\] must be"),
        ({"clips": [(["a.wav"], 0, 9)]}, TypeError, r"clips\[0\] must be"),
        ({"clips": [("a.wav", 2**62, 2**62)]}, ValueError, r"clips\[0\] must be .* or too large"),
        (
            {"clips": [("a.wav", 999, 2)]},
            ValueError,
            r"clips\[0\] must end by the last of the 1000",
        ),
        ({"clips": {("a.wav", 1, 2)}}, TypeError, "clips must be in an order"),
    ],
    ids=str,
)
def test_arguments_are_checked(folder, options, error, said):
    with pytest.raises(error, match=said):
        hr.AudioFiles(folder, **options)


def test_labels_go_by_the_files(folder):
    reader = hr.AudioFiles(folder, 400)
    of_file = {"a.wav": 0, "b.flac": 1}
    labels = hr.Labels([of_file[name] for name in reader.files])
    x, y = hr.Loader((reader, labels), 5, shuffle=False).batch(0, 0)
    assert x.shape == (5, 400)
    assert y.tolist() == [0, 0, 1, 1, 1]


def test_fingerprints_and_stamps(folder):
    made = [
        hr.AudioFiles(folder), hr.AudioFiles(folder, 400), hr.AudioFiles(folder, 400, hop=200),
        hr.AudioFiles(folder, ids=["a.wav", "b.flac"]),
    ]  # fmt: skip
    assert len({reader.fingerprint() for reader in made}) == 4
    assert pickle.loads(pickle.dumps(made[1])).fingerprint() == made[1].fingerprint()
    assert len(set(stamps_of(made[1], np.arange(5)).tolist())) == 2
    assert re.search(r"AudioFiles\('.*', n=5, files=3, rate=8000, Spec", repr(made[1]))


@pytest.mark.parametrize(
    ("kind", "subtype", "suffix"),
    [
        ("FLAC", "PCM_16", "flac"),
        ("WAV", "PCM_16", "wav"),
        ("WAV", "IMA_ADPCM", "wav"),
        ("RF64", "PCM_16", "wav"),
        ("AIFF", "PCM_24", "aiff"),
        ("OGG", "VORBIS", "ogg"),
        ("OGG", "OPUS", "opus"),
        ("MP3", "MPEG_LAYER_III", "mp3"),
    ],
)
def test_a_file_that_was_cut_short_is_an_error(tmp_path, kind, subtype, suffix):
    file = io.BytesIO()
    sf.write(file, noise(50_000), RATE, format=kind, subtype=subtype)
    data = file.getvalue()
    name = f"a.{suffix}"
    (tmp_path / name).write_bytes(data)
    assert len(read_batch(hr.AudioFiles(tmp_path), np.array([0]))[0]) >= 50_000
    (tmp_path / name).write_bytes(data[: len(data) * 3 // 5])
    for root in (tmp_path, FarFolder(tmp_path)):
        with pytest.raises(hr.SampleFormatError, match=rf"sample 0 .*a\.{suffix}"):
            read_batch(hr.AudioFiles(root), np.array([0]))


def test_a_size_that_a_program_could_not_fill_in_is_none(tmp_path):
    path = write(tmp_path / "a.wav", noise(1000)) / "a.wav"
    data = path.read_bytes()
    at = data.index(b"data") + 4
    path.write_bytes(data[:at] + b"\xff\xff\xff\xff" + data[at + 4 :])
    found = read_batch(hr.AudioFiles(tmp_path), np.array([0]))
    assert found[0].tolist() == noise(1000).tolist()


def lying_flac(tmp_path, frames):
    """A FLAC whose header says that it has so many frames."""
    write(tmp_path / "a.flac", noise(500), subtype="PCM_16")
    data = bytearray((tmp_path / "a.flac").read_bytes())
    data[21] = data[21] & 0xF0 | frames >> 32  # of its 36 bits, the first 4
    data[22:26] = (frames & 0xFFFFFFFF).to_bytes(4, "big")
    (tmp_path / "a.flac").write_bytes(data)
    return tmp_path


def lying_mp3(tmp_path):
    """An MP3 whose header says that it has 2**31 - 1 blocks of 576 frames."""
    write(tmp_path / "a.mp3", noise(5000), subtype=None)
    data = bytearray((tmp_path / "a.mp3").read_bytes())
    start = re.search(b"Xing|Info", data).end() + 4  # behind the flags
    data[start : start + 4] = (2**31 - 1).to_bytes(4, "big")
    (tmp_path / "a.mp3").write_bytes(data)
    return tmp_path


@pytest.mark.parametrize("storage", [lambda folder: folder, FarFolder], ids=["near", "far"])
@pytest.mark.parametrize("lying", [lambda folder: lying_flac(folder, 2**35), lying_mp3])
def test_a_header_that_tells_of_more_than_the_file_can_hold_is_an_error(tmp_path, lying, storage):
    root = lying(tmp_path)
    with pytest.raises(hr.SampleFormatError, match=r"a\.(flac|mp3).* says that it has \d+ frames"):
        hr.AudioFiles(storage(root))
    (name,) = root.iterdir()
    clip = hr.RandomClip(100, rate=RATE, channels=1)
    with pytest.raises(hr.SampleFormatError, match="says that it has"):
        clip(np.frombuffer(name.read_bytes(), np.uint8), np.random.default_rng(0))


def test_silence_that_takes_hardly_any_room_is_read(tmp_path):
    write(tmp_path / "a.flac", np.zeros(10**6, np.int16))
    assert (tmp_path / "a.flac").stat().st_size < 10**4
    assert not read_batch(hr.AudioFiles(tmp_path, dtype="int16"), np.array([0])).values.any()


def test_too_little_memory_for_a_sample_names_its_file(tmp_path):
    reader = hr.AudioFiles(write(tmp_path / "a.flac", noise(500), subtype="PCM_16"))
    out = RaggedOut(1, (), np.dtype("float32"), no_memory)
    with pytest.raises(MemoryError) as caught:
        reader.read(np.array([0]), out)
    assert "a.flac', has 500 frames" in caught.value.__notes__[0]


def no_memory(*_):
    raise MemoryError("there is none")
