"""How models share a machine's cores and memory, and what is refused before the start."""

from pathlib import Path

import pytest

from serve_app.engine.budget import MEBIBYTE, shared_out
from serve_app.errors import NotReady
from serve_app.settings import AppSettings

MEMORY = 64 * 1024 * MEBIBYTE


def cores_of(
    *models: dict[str, object], cores: int, memory: int = MEMORY, replicas: int = 1
) -> list[int]:
    """The cores of each model; of the last one there are ``replicas``."""
    settings = AppSettings.model_validate({"engine": {"device": "cpu"}, "models": models})
    *firsts, last = settings.served
    n_replicas = {**dict.fromkeys(firsts, 1), last: replicas}
    shares = shared_out(settings.served, n_replicas, cores, memory)
    assert all(share.memory_mib > 0 for share in shares.values())
    return [share.cores for share in shares.values()]


BASE: dict[str, object] = {"model": "base"}
ENGLISH: dict[str, object] = {"model": "tiny.en"}


def test_cores_are_shared_evenly_and_the_first_models_get_what_remains() -> None:
    assert cores_of(BASE, ENGLISH, cores=2) == [1, 1]
    assert cores_of(BASE, ENGLISH, {"model": "small"}, cores=8) == [3, 3, 2]


def test_a_setting_comes_first_and_the_others_share_the_rest() -> None:
    assert cores_of(BASE, ENGLISH | {"cores": 1}, cores=8) == [7, 1]
    assert cores_of(BASE, ENGLISH | {"cores": 2}, cores=8, replicas=2) == [4, 2]


def test_the_replicas_of_a_model_count_one_by_one() -> None:
    assert cores_of(BASE, ENGLISH, cores=6, replicas=2) == [2, 2]


def test_cores_that_cannot_be_divided_among_replicas_go_to_a_single_one_or_stay_free() -> None:
    assert cores_of(BASE, ENGLISH, cores=5, replicas=2) == [2, 1]
    assert cores_of(ENGLISH, cores=5, replicas=2) == [2]


@pytest.mark.parametrize(
    ("models", "cores", "memory_mib", "told"),
    [
        ([BASE, ENGLISH], 1, 8000, "base 1 and tiny.en 1 cores, and this machine has 1"),
        ([BASE | {"cores": 4}, ENGLISH], 4, 8000, "Lower cores"),
        ([BASE, ENGLISH], 2, 3000, "this machine has 3000"),
        ([BASE, ENGLISH | {"memory_mib": 100}], 2, 8000, "Raise its memory_mib"),
    ],
)
def test_what_does_not_fit_is_refused_with_what_to_do(
    models: list[dict[str, object]], cores: int, memory_mib: int, told: str
) -> None:
    with pytest.raises(NotReady, match=told):
        cores_of(*models, cores=cores, memory=memory_mib * MEBIBYTE)


def test_a_model_that_the_catalogue_does_not_know_counts_by_its_file(tmp_path: Path) -> None:
    own = {"model": str(tmp_path)}
    before = AppSettings.model_validate({"models": [BASE, own]}).served
    replicas = dict.fromkeys(before, 1)
    *_, empty = shared_out(before, replicas, 2, MEMORY).values()
    with (tmp_path / "model.bin").open("wb") as file:
        file.truncate(2 * 100_000_000)  # float16
    *_, full = shared_out(before, replicas, 2, MEMORY).values()
    assert 600 < full.memory_mib - empty.memory_mib < 800
