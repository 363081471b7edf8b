"""A lone batch is decoded where it was sooner."""

import pytest
from serve_app.engine.lone_decoding import FEWEST_STEPS, TRIES, LoneDecoding


def learnt(every_core: list[float], one_worker: list[float], rows: int = 5) -> LoneDecoding:
    """After batches of 20 steps that took so many seconds each."""
    lone = LoneDecoding()
    times = {True: iter(every_core), False: iter(one_worker)}
    for _ in range(2 * TRIES):
        choice = lone.uses_every_core(rows)
        lone.has_taken(rows, choice, 20, next(times[choice]))
    return lone


@pytest.mark.parametrize(
    ("every_core", "one_worker", "wins"),
    [
        ([1.0, 1.1, 1.2], [0.5, 0.6, 0.7], False),
        ([0.5, 0.6, 0.7], [1.0, 1.1, 1.2], True),
        ([9.0, 0.5, 9.0], [0.6, 0.6, 0.6], True),
    ],
)
def test_the_fastest_of_some_tries_wins(
    every_core: list[float], one_worker: list[float], wins: bool
) -> None:
    assert learnt(every_core, one_worker).uses_every_core(5) is wins


def test_later_batches_change_nothing() -> None:
    lone = learnt([1.0] * TRIES, [0.5] * TRIES)
    lone.has_taken(5, True, 20, 0.001)
    assert not lone.uses_every_core(5)


def test_each_size_of_batch_is_learnt_by_itself() -> None:
    lone = learnt([1.0] * TRIES, [0.5] * TRIES)
    assert lone.uses_every_core(40)
    assert not lone.uses_every_core(5)


def test_a_few_tokens_say_nothing() -> None:
    lone = LoneDecoding()
    for _ in range(TRIES):
        lone.has_taken(5, True, FEWEST_STEPS - 1, 0.001)
    assert lone.uses_every_core(5)
