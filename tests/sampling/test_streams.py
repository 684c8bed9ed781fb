"""A number that has been given to a random stream stays with it in every release."""

from headrace.sampling import streams


def test_numbers_are_different_and_those_of_all_releases():
    numbers = {name: number for name, number in vars(streams).items() if name.isupper()}
    assert numbers == {
        "ORDER": 0,
        "TRANSFORM": 1,
        "BLOCKS": 2,
        "SHORT_BLOCK": 3,
        "WINDOWS": 4,
        "SUBSTITUTES": 5,
        "WEIGHTED_DRAWS": 6,
        "WEIGHTED_ORDER": 7,
        "BALANCED_CLASSES": 8,
        "BALANCED_BLOCKS": 9,
        "BALANCED_SAMPLES": 10,
        "MIX_SAMPLES": 11,
        "MIX_SOURCE": 12,
        "BUCKET_SAMPLES": 13,
        "BUCKET_STEPS": 14,
    }
    assert len(set(numbers.values())) == len(numbers)
