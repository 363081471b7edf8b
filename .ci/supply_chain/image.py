"""The packages that ``pip install -r requirements.lock`` puts into an image."""

import re
from pathlib import Path
from typing import NamedTuple

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
LOCK = ROOT / "requirements.lock"

PYTHON = "3.11"
"""Of the images' base; a test compares it with the Dockerfiles."""

_PLATFORM = {
    "implementation_name": "cpython",
    "implementation_version": f"{PYTHON}.0",
    "os_name": "posix",
    "platform_machine": "x86_64",
    "platform_python_implementation": "CPython",
    "platform_release": "",
    "platform_system": "Linux",
    "platform_version": "",
    "python_full_version": f"{PYTHON}.0",
    "python_version": PYTHON,
    "sys_platform": "linux",
}
"""The environment markers (PEP 508) of those images."""


class Package(NamedTuple):
    """One pinned package, by its canonical name."""

    name: str
    version: str


def image_packages(lock: Path = LOCK) -> list[Package]:
    """What a lock file pins for the images' Python on Linux x86_64, sorted by name.

    Raises ``ValueError`` for a requirement that is not pinned to one version.
    """
    packages = []
    for line in lock.read_text(encoding="utf-8").splitlines():
        if not re.match(r"[A-Za-z0-9]", line):
            continue  # a hash of the requirement above, or an empty line
        requirement = Requirement(line.removesuffix("\\").strip())
        if requirement.marker is None or requirement.marker.evaluate(_PLATFORM):
            (pin,) = requirement.specifier
            if pin.operator != "==":
                raise ValueError(f"{lock.name}: {line} pins no version")
            packages.append(Package(canonicalize_name(requirement.name), pin.version))
    return sorted(packages)
