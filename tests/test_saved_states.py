"""States that headrace 0.1.0 saved are loaded, and go on with the batch that was to come."""

import json
from pathlib import Path

import pytest
import saved_states

SAVED = json.loads((Path(__file__).parent / "data/saved_by_0.1.0/states.json").read_text())


def name_of(case):
    state = case["state"]
    return f"{case['source']}, {case['options']}, {state['epoch']}:{state['position']}"


@pytest.mark.parametrize("case", SAVED, ids=name_of)
def test_a_state_goes_on_with_the_batch_that_was_to_come(case, tmp_path):
    loader = saved_states.make_loader(case["source"], case["options"], tmp_path / "data")
    loader.load_state_dict(case["state"])
    state = loader.state_dict()
    state.pop("ids", None)  # which 0.1.0 did not know
    assert state == case["state"]
    assert saved_states.as_lists(next(iter(loader))) == case["batch"]


def test_all_that_is_saved_is_tested():
    cases = {(case["source"], case["options"]) for case in SAVED}
    assert cases == set(saved_states.cases())
    assert len(SAVED) == len(cases) * len(saved_states.PLACES)
