"""What frameworks do with the read-only arrays that come from Ray: train as with any others."""

import importlib.util

import pytest

SCRIPT = """
import warnings
import keras
from keras_seed import set_random_seed
# As torch does when it makes a tensor of such an array.
warnings.filterwarnings("error", message=".*not writ")
ray.init(log_to_driver=False)
# Large enough to lie in the object store, and weights of padding, which don't.
x = np.random.default_rng(0).normal(size=(70, 4000)).astype("float32")
y = np.arange(70) % 3

def results(executor):
    set_random_seed(1)
    model = keras.Sequential([keras.Input((4000,)), keras.layers.Dense(3)])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile("sgd", loss)
    with hr.Loader((x, y), 16, tail="pad", executor=executor) as train:
        model.fit(train.to_keras(), epochs=2, verbose=0)
    options = {"shuffle": False, "tail": "partial", "executor": executor}
    with hr.Loader((x, y), 16, **options) as test:
        assert not isinstance(executor, hr.Ray) or not next(iter(test))[0].flags.writeable
        evaluated = model.evaluate(test.to_keras(), verbose=0)
    with hr.Loader(x, 16, **options) as test:
        predicted = model.predict(test.to_keras(), verbose=0)
    return [weights.tobytes() for weights in model.get_weights()], evaluated, predicted.tobytes()

assert results(hr.Ray(2)) == results(hr.Inline())
print("passed")
"""

JAX = """
import jax
ray.init(log_to_driver=False)
x = np.arange(64 * 50_000, dtype="float32").reshape(64, 50_000)
kept = []
for executor in (hr.Inline(), hr.Ray(2)):
    with hr.Loader(x, 4, executor=executor) as loader:
        kept.append([batch for _ in range(3) for batch in loader.to_jax()])
for batch, same in zip(*kept, strict=True):
    assert isinstance(batch, jax.Array)
    assert bool((batch == same).all())
del batch, same, kept  # JAX holds the memory of what it has taken over
print("passed")
"""


@pytest.mark.parametrize("backend", ["tensorflow", "jax", "torch"])
def test_keras_trains_evaluates_and_predicts(run, local_ray, backend):
    if importlib.util.find_spec(backend) is None:
        pytest.skip(f"{backend} is not installed")
    assert run(SCRIPT, RAY_ADDRESS=local_ray, KERAS_BACKEND=backend) == "passed\n"


def test_jax_keeps_the_memory_of_what_it_takes_over(run, local_ray):
    assert run(JAX, RAY_ADDRESS=local_ray) == "passed\n"
