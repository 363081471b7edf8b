from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadtest.baselines.raw_engine import Combination, Window, groups, record
from loadtest.engine_ceiling import Bench, ceiling, combinations
from loadtest.load import Chunk
from models import resolve

FIRST, SECOND, THIRD, FOURTH = (Combination(1, threads, 1, 1) for threads in (1, 2, 3, 4))
GOLDEN_CLIP = Path(__file__).parents[2] / "serve_app" / "assets" / "golden.wav"


def measured(figures: dict[Combination, list[float]]) -> Callable[[Combination], float]:
    remaining = {combination: iter(values) for combination, values in figures.items()}
    return lambda combination: next(remaining[combination])


@pytest.fixture(scope="module")
def tiny_en() -> str:
    resolve("tiny.en")
    return "tiny.en"


@given(st.integers(1, 200))
def test_no_combination_needs_more_cores_than_there_are(cores: int) -> None:
    shapes = {(c.workers, c.threads) for c in combinations(cores, [1], [1])}
    assert all(workers * threads <= cores for workers, threads in shapes)
    assert {(1, 1), (1, cores), (cores, 1)} <= shapes


def test_two_cores_give_every_shape_and_batch() -> None:
    tried = combinations(2, [1, 8], [1, 4])
    assert {(c.workers, c.threads) for c in tried} == {(1, 1), (1, 2), (2, 1)}
    assert len(set(tried)) == len(tried) == 3 * 2 * 2


def test_a_lucky_figure_that_does_not_repeat_is_not_the_ceiling() -> None:
    figures = {FIRST: [30.0, 10.0], SECOND: [22.0, 22.0], THIRD: [21.0, 20.0], FOURTH: [1.0]}
    best, found = ceiling(measured(figures), list(figures), repeats=1)
    assert best == SECOND
    assert found == figures


@given(st.integers(1, 9), st.integers(1, 20), st.integers(1, 60))
def test_groups_take_the_windows_in_a_circle(n_windows: int, size: int, count: int) -> None:
    mel = np.zeros((1, 1, 1), dtype=np.float32)
    windows = [Window(mel, (n,), 1.0) for n in range(n_windows)]
    taken = list(groups(windows, size, count))
    assert all(len(group) == size for group in taken[:-1])
    numbers = [window.prompt[0] for group in taken for window in group]
    assert numbers == [n % n_windows for n in range(count)]


def test_recorded_calls_can_be_made_again(tiny_en: str) -> None:
    workload = record(tiny_en, [Chunk("golden", GOLDEN_CLIP.read_bytes(), "", 1.143)])
    (window,) = workload.windows
    assert window.mel.shape == (1, 80, 3000)
    assert window.audio_seconds == 1.143
    assert workload.options["beam_size"] == 5
    assert not workload.detects
    assert Bench(tiny_en, workload, count=2).rtfx(Combination(1, 1, 1, 1)) > 0


def test_a_broken_call_is_raised_not_measured(tiny_en: str) -> None:
    workload = record(tiny_en, [Chunk("golden", GOLDEN_CLIP.read_bytes(), "", 1.143)])
    workload.options["beam_size"] = "many"
    with pytest.raises(TypeError, match="beam_size"):
        Bench(tiny_en, workload, count=2).rtfx(Combination(2, 1, 1, 1))
