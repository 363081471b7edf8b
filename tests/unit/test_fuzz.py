"""A share of ``python -m loadtest.fuzz``: thousands of broken inputs, each refused or read."""

import pytest

from loadtest.fuzz.campaign import Campaign
from loadtest.fuzz.targets import TARGETS

INPUTS = {"wav": 1_000, "container": 250, "options": 1_000, "multipart": 700}
SEED = 1


@pytest.mark.parametrize("name", sorted(TARGETS))
def test_broken_inputs_are_refused_or_read_without_crash_hang_or_bug(name: str) -> None:
    campaign = Campaign(TARGETS[name], SEED)
    campaign.run(INPUTS[name])
    assert campaign.tally.failures == []
    assert campaign.tally.outcomes.total() == INPUTS[name]


@pytest.mark.parametrize("name", sorted(TARGETS))
def test_inputs_are_neither_all_refused_nor_all_read(name: str) -> None:
    target = TARGETS[name]
    outcomes = {target.attempt(target.input(SEED, number)) for number in range(60)}
    assert any(outcome.startswith("4") for outcome in outcomes)
    assert any(not outcome.startswith("4") for outcome in outcomes)


@pytest.mark.parametrize("name", sorted(TARGETS))
def test_an_input_depends_on_seed_and_number_alone(name: str) -> None:
    target = TARGETS[name]
    again = target.input(SEED, 7)
    assert target.input(SEED, 8) != again != target.input(SEED + 1, 7)
    assert target.input(SEED, 7) == again
