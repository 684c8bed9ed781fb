import pytest


@pytest.fixture
def file(tmp_path):
    """Where `ResumeTraining` is to save."""
    return tmp_path / "train.weights.h5"
