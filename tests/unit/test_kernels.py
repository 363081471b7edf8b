"""Which instruction set CTranslate2 is told to use."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from serve_app.engine import kernels
from serve_app.engine.kernels import AVX512, VARIABLE, choose_kernels, fastest, measured_gain

CPU = "processor\t: {n}\nvendor_id\t: {vendor}\nflags\t\t: fpu avx2 {flags}\n\n"
LOAD = """
import sys, tempfile
from pathlib import Path
import ctranslate2
from serve_app.engine.kernels import SHAPE, choose_kernels
from serve_app.engine.random_model import write_random_model
choose_kernels(sys.argv[1], "int8")
with tempfile.TemporaryDirectory() as folder:
    write_random_model(Path(folder), SHAPE, ["<|endoftext|>", "<|startoftranscript|>"])
    ctranslate2.models.Whisper(folder)
"""


@pytest.fixture(autouse=True)
def nobody_has_chosen(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Here, and again once the test is over."""
    monkeypatch.setenv(VARIABLE, "")
    choose_kernels.cache_clear()
    yield
    choose_kernels.cache_clear()


def cpuinfo(folder: Path, vendor: str = "AuthenticAMD", flags: frozenset[str] = AVX512) -> Path:
    path = folder / "cpuinfo"
    about = {"vendor": vendor, "flags": " ".join(flags)}
    path.write_text("".join(CPU.format(n=n, **about) for n in range(2)))
    return path


@pytest.fixture
def amd(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A processor that has AVX-512."""
    monkeypatch.setattr(kernels, "CPUINFO", cpuinfo(tmp_path))


def measures(monkeypatch: pytest.MonkeyPatch, gain: float) -> None:
    monkeypatch.setattr(kernels, "measured_gain", lambda isa, compute_type: gain)


@pytest.mark.parametrize(("gain", "isa"), [(1.15, "AVX512"), (1.01, ""), (0.2, "")])
@pytest.mark.usefixtures("amd")
def test_avx512_is_taken_where_it_is_faster(
    monkeypatch: pytest.MonkeyPatch, gain: float, isa: str
) -> None:
    measures(monkeypatch, gain)
    chosen = choose_kernels("auto", "int8")
    assert (chosen.isa, os.environ[VARIABLE]) == (isa, isa)
    assert f"{gain:.2f} times as fast" in str(chosen)


@pytest.mark.parametrize(
    "about",
    [
        {"vendor": "GenuineIntel"},
        {"flags": frozenset()},
        {"flags": AVX512 - {"avx512vl"}},
        None,
    ],
)
def test_nothing_is_measured_where_nothing_can_be_gained(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, about: dict[str, Any] | None
) -> None:
    path = tmp_path / "missing" if about is None else cpuinfo(tmp_path, **about)
    monkeypatch.setattr(kernels, "CPUINFO", path)
    measures(monkeypatch, 2.0)
    assert fastest("int8").isa == ""


@pytest.mark.parametrize("wanted", ["auto", "AVX2"])
@pytest.mark.usefixtures("amd")
def test_the_operators_variable_comes_first(monkeypatch: pytest.MonkeyPatch, wanted: str) -> None:
    measures(monkeypatch, 2.0)
    monkeypatch.setenv(VARIABLE, "GENERIC")
    assert choose_kernels(wanted, "int8").isa == "GENERIC"
    assert os.environ[VARIABLE] == "GENERIC"


@pytest.mark.usefixtures("amd")
def test_the_setting_is_not_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    measures(monkeypatch, 2.0)
    assert str(choose_kernels("AVX2", "int8")) == "AVX2 (engine.cpu_isa)"


@pytest.mark.usefixtures("amd")
def test_a_measurement_that_fails_stops_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/false")
    chosen = choose_kernels("auto", "int8")
    assert str(chosen) == "default (AVX512 was not measured: its process ended with status 1)"


def test_an_instruction_set_that_ctranslate2_does_not_know_is_an_error() -> None:
    with pytest.raises(ValueError, match="status 1"):
        measured_gain("AVX1024", "int8")


def test_a_process_that_does_not_answer_is_given_up(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    deaf = tmp_path / "deaf"
    deaf.write_text("#!/bin/sh\nexec sleep 60\n")
    deaf.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(deaf))
    monkeypatch.setattr(kernels, "TIMEOUT_SECONDS", 0.1)
    with pytest.raises(ValueError, match="status -9"):
        measured_gain("AVX2", "int8")


def test_slower_kernels_measure_as_slower() -> None:
    assert 0 < measured_gain("GENERIC", "int8") < 1


def test_ctranslate2_obeys_although_it_is_already_imported() -> None:
    environment = {**os.environ, "CT2_VERBOSE": "1"}
    loading = subprocess.run(
        [sys.executable, "-c", LOAD, "GENERIC"],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    assert "Selected ISA: GENERIC" in loading.stderr
