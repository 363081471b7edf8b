"""The Dockerfiles are pinned, complete and alike. `make lint` runs hadolint on them as well."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp

from loadtest.server import free_port
from supply_chain.image import PYTHON, ROOT
from tests.unit.served import listening

DOCKERFILES = [ROOT / "Dockerfile", ROOT / "Dockerfile.gpu"]
OF_THE_GPU = re.compile(r"LD_LIBRARY_PATH=|NVIDIA_|^#|^CMD")

each = pytest.mark.parametrize("dockerfile", DOCKERFILES, ids=lambda path: path.name)


def instructions(dockerfile: Path, name: str) -> list[str]:
    return re.findall(rf"^{name} (.*)$", dockerfile.read_text(), re.MULTILINE)


@each
def test_its_base_is_one_exact_version_of_python(dockerfile: Path) -> None:
    stages = {base.removesuffix(" AS packages") for base in instructions(dockerfile, "FROM")}
    assert stages == {"${PYTHON_IMAGE}"}
    (base,) = (arg.removeprefix("PYTHON_IMAGE=") for arg in instructions(dockerfile, "ARG"))
    assert re.fullmatch(rf"python:{re.escape(PYTHON)}\.\d+-slim-bookworm", base)


@each
def test_it_installs_only_what_is_locked_by_hash(dockerfile: Path) -> None:
    installs = re.findall(r"pip .*install (.*)", dockerfile.read_text())
    assert installs
    assert all("--require-hashes" in line or "--no-deps" in line for line in installs)


@each
def test_what_it_copies_is_there_and_not_kept_from_docker(dockerfile: Path) -> None:
    kept = (ROOT / ".dockerignore").read_text().splitlines()
    copied = [c for c in instructions(dockerfile, "COPY") if not c.startswith("--from")]
    sources = {source for line in copied for source in line.split()[:-1]}
    assert {"serve_app", "models", "configs", "pyproject.toml"} <= sources
    assert [s for s in sources if not (ROOT / s).exists() or f"!{s}" not in kept] == []


@each
@pytest.mark.parametrize(("status", "code"), [(200, 0), (503, 1)])
def test_its_health_check_asks_the_server_without_a_proxy(
    dockerfile: Path, status: int, code: int
) -> None:
    [command] = re.findall(r"^HEALTHCHECK .*\n +CMD (.*)$", dockerfile.read_text(), re.MULTILINE)
    app: ASGIApp = PlainTextResponse("", status)
    with listening(app) as url:
        _, *arguments = json.loads(command.replace("http://127.0.0.1:8000", url))
        proxy = {"http_proxy": f"http://127.0.0.1:{free_port()}", "no_proxy": ""}
        done = subprocess.run(
            [sys.executable, *arguments],
            env=os.environ | proxy,
            capture_output=True,
            check=False,
            timeout=60,
        )
    assert done.returncode == code


def test_the_gpu_image_is_the_cpu_image_with_cuda_libraries() -> None:
    cpu, gpu = (path.read_text().splitlines() for path in DOCKERFILES)
    less = [line for line in gpu if not OF_THE_GPU.search(line.strip())]
    assert [line.replace("requirements-gpu.lock", "requirements.lock") for line in less] == [
        line for line in cpu if not OF_THE_GPU.search(line.strip())
    ]
