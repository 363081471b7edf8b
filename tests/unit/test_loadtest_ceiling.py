from collections.abc import Callable
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from loadtest.bench.ceiling import Bench, ceiling, combinations
from loadtest.bench.raw_engine import Combination, record
from loadtest.chunks import Chunk

FIRST, SECOND, THIRD, FOURTH = (Combination(1, threads, 1) for threads in (1, 2, 3, 4))
GOLDEN_CLIP = Path(__file__).parents[2] / "serve_app" / "assets" / "golden.wav"


def measured(figures: dict[Combination, list[float]]) -> Callable[[Combination], float]:
    remaining = {combination: iter(values) for combination, values in figures.items()}
    return lambda combination: next(remaining[combination])


@given(st.integers(1, 200))
def test_no_combination_needs_more_cores_than_there_are(cores: int) -> None:
    shapes = {(c.workers, c.threads) for c in combinations(cores, [1])}
    assert all(workers * threads <= cores for workers, threads in shapes)
    assert {(1, 1), (1, cores), (cores, 1)} <= shapes


def test_a_lucky_figure_that_does_not_repeat_is_not_the_ceiling() -> None:
    figures = {FIRST: [30.0, 10.0], SECOND: [22.0, 22.0], THIRD: [21.0, 20.0], FOURTH: [1.0]}
    best, found = ceiling(measured(figures), list(figures), repeats=1)
    assert best == SECOND
    assert found == figures


def test_recorded_calls_can_be_made_again() -> None:
    workload = record("tiny.en", [Chunk("golden", GOLDEN_CLIP.read_bytes(), "", 1.143)])
    (window,) = workload.windows
    assert window.mel.shape == (1, 80, 3000)
    assert window.audio_seconds == 1.143
    assert workload.options["beam_size"] == 5
    assert not workload.detects
    assert Bench("tiny.en", workload, count=2).rtfx(Combination(1, 1, 1)) > 0
