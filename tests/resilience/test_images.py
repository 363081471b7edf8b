"""The images: built from a base of Debian's own packages, started, and transcribing.

The real base comes from a registry, so Debian's Python of the same version stands in for it.
"""

import json
import os
import resource
import shutil
import signal
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
import yaml

from loadtest.server import free_port
from models import resolve
from serve_app.assets import GOLDEN_CLIP
from tests.conditions import eventually

ROOT = Path(__file__).parents[2]
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "compose.yaml").read_text())

BASE_PACKAGES = "ca-certificates,python-is-python3,python3,python3-pip,python3-venv"
BASE = "localhost/python-of-debian"

IMAGES = {name: f"localhost/{name.lower()}" for name in ("Dockerfile", "Dockerfile.gpu")}

HOSTS_NETWORK = ("/etc/ssl/certs", "/etc/pip.conf", "/etc/xdg/pip")
"""What pip on this machine knows of certificates and registries, for pip in the image."""

MOST_BYTES = {IMAGES["Dockerfile"]: 1_400_000_000, IMAGES["Dockerfile.gpu"]: 2_600_000_000}
"""With the stand-in, of 0.25 GB; measured 1.21 and 2.29 GB."""

TOOLS = ("buildah", "mmdebstrap")
READY_SECONDS = 240

pytestmark = [
    pytest.mark.long,
    pytest.mark.timeout(3600),
    pytest.mark.skipif(
        os.geteuid() != 0 or not all(map(shutil.which, TOOLS)),
        reason=f"building images needs root and {' and '.join(TOOLS)} (both are Debian packages)",
    ),
]


class Buildah:
    """Images and containers in a folder of their own; containers share this machine's network."""

    def __init__(self, folder: Path) -> None:
        self._storage = ["--root", f"{folder}/storage", "--runroot", f"{folder}/run"]

    def command(self, *arguments: str) -> list[str]:
        name, *rest = arguments
        isolation = ["--isolation", "chroot"] if name in ("build", "run") else []
        return ["buildah", *self._storage, name, *isolation, *rest]

    def __call__(self, *arguments: str) -> str:
        done = subprocess.run(
            self.command(*arguments), capture_output=True, check=False, text=True, cwd=ROOT
        )
        assert done.returncode == 0, done.stderr[-3000:]
        return done.stdout.strip()

    def n_bytes(self, image: str) -> int:
        container = self("from", image)
        measured = subprocess.check_output(["du", "-sxB1", self("mount", container)], text=True)
        self("rm", container)
        return int(measured.split()[0])


@pytest.fixture(scope="module")
def buildah(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Buildah]:
    folder = tmp_path_factory.mktemp("images")
    subprocess.run(
        ["mmdebstrap", "--variant=minbase", f"--include={BASE_PACKAGES}", "bookworm", "base.tar"],
        check=True,
        capture_output=True,
        cwd=folder,
    )
    (folder / "Base").write_text("FROM scratch\nADD base.tar /\n")
    tool = Buildah(folder)
    tool("build", "--tag", BASE, "--file", f"{folder}/Base", str(folder))
    yield tool
    tool("rm", "--all")
    tool("rmi", "--all", "--force")


@pytest.fixture(scope="module", params=[*IMAGES])
def image(buildah: Buildah, request: pytest.FixtureRequest) -> str:
    """The image that a Dockerfile makes."""
    dockerfile: str = request.param
    shared = [f"--volume={one}:{one}:ro" for one in HOSTS_NETWORK if Path(one).exists()]
    files = ["--tag", IMAGES[dockerfile], "--file", dockerfile, "."]
    buildah("build", f"--build-arg=PYTHON_IMAGE={BASE}", *shared, "--format=docker", *files)
    return IMAGES[dockerfile]


@contextmanager
def running(buildah: Buildah, image: str, command: Sequence[str]) -> Iterator[str]:
    """A container that runs ``command``; yields the URL once it is ready."""
    port = free_port()
    # The limit that compose.yaml sets, or what this machine has.
    _, most_files = resource.getrlimit(resource.RLIMIT_NOFILE)
    n_files = min(COMPOSE["services"]["cpu"]["ulimits"]["nofile"], most_files)
    container = buildah("from", f"--ulimit=nofile={n_files}:{n_files}", image)
    models = f"--volume={resolve('tiny.en').path.parent}:/models:ro"
    flags = ["--model", "tiny.en", "--port", str(port)]
    process = subprocess.Popen(buildah.command("run", models, container, "--", *command, *flags))
    try:
        url = f"http://127.0.0.1:{port}"
        eventually(lambda: is_ready(url, process), READY_SECONDS)
        yield url
    finally:
        # buildah would kill the server, which then could not end its processes.
        for child in psutil.Process(process.pid).children(recursive=True):
            if {"serve_app", "serve"} & {*child.cmdline()} and "buildah" not in child.name():
                child.send_signal(signal.SIGINT)
                break
        process.wait(60)
        buildah("rm", container)


def is_ready(url: str, process: "subprocess.Popen[bytes]") -> bool:
    assert process.poll() is None, "the container has ended"
    try:
        return httpx.get(f"{url}/readyz", timeout=5).status_code == 200
    except httpx.TransportError:
        return False


def test_an_image_holds_nothing_heavy_that_it_does_not_need(buildah: Buildah, image: str) -> None:
    n_bytes = buildah.n_bytes(image)
    print(f"{image}: {n_bytes / 1e9:.2f} GB with the stand-in base")
    assert n_bytes < MOST_BYTES[image]


def test_an_image_transcribes(buildah: Buildah, image: str) -> None:
    command = COMPOSE["services"]["cpu"]["command"]
    if image.endswith(".gpu"):  # its own command, but with a profile for this machine
        described = json.loads(buildah("inspect", "--type=image", image))
        command = [*described["OCIv1"]["config"]["Cmd"], "--config", "dev"]
    with running(buildah, image, command) as url:
        audio = {"file": GOLDEN_CLIP.read_bytes()}
        answer = httpx.post(f"{url}/transcribe", files=audio, timeout=120)
    assert answer.json()["segments"][0]["text"].startswith("Hello")


def test_each_service_of_the_compose_file_is_an_image_here() -> None:
    builds = {name: one["build"] for name, one in COMPOSE["services"].items()}
    assert builds == {"cpu": ".", "gpu": {"context": ".", "dockerfile": "Dockerfile.gpu"}}
    [volume] = COMPOSE["services"]["cpu"]["volumes"]
    name, _, folder = volume.partition(":")
    assert (name in COMPOSE["volumes"], folder) == (True, "/models")
