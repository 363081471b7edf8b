"""docs/sbom.cdx.json, the CPU image's Python packages: ``python -m supply_chain.sbom``.

CycloneDX 1.6 by cyclonedx-py from the lock, with the licences of docs/licences.md. No address is in
it, only package URLs, and nothing of the machine or the time: the same lock gives the same bytes.
The hashes are in the lock, for every wheel that pip may take.
"""

import json
import subprocess
import sys
from importlib.metadata import requires
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from serve_app import __version__
from supply_chain.image import ROOT, image_packages
from supply_chain.licences import declared

BOM = ROOT / "docs" / "sbom.cdx.json"


def bill_of_materials() -> str:
    """The document, indented JSON.

    Raises ``KeyError`` for a package that docs/licences.md does not list.
    """
    packages = image_packages()
    document = _cyclonedx("".join(f"{name}=={version}\n" for name, version in packages))
    licences = declared()
    references: dict[str, str] = {}
    for component in document["components"]:
        package = (canonicalize_name(component["name"]), component["version"])
        references[package[0]] = component["bom-ref"] = component["purl"]
        # Without the requirement's line and the address of a registry.
        del component["description"], component["externalReferences"]
        component["licenses"] = [{"license": {"name": licences[package]}}]
    root = document["metadata"]["component"]
    root["version"] = __version__
    root["bom-ref"] = f"{root['name']}@{__version__}"
    document["metadata"]["tools"] = {"components": [_named(tool) for tool in _tools(document)]}
    # What each package needs itself, pip decides when it installs: not part of a lock.
    document["dependencies"] = [
        {"ref": root["bom-ref"], "dependsOn": sorted(references[name] for name in _direct())},
        *({"ref": reference} for reference in sorted(references.values())),
    ]
    return json.dumps(document, indent=1, sort_keys=True) + "\n"


def _cyclonedx(requirements: str) -> dict[str, Any]:
    command = [sys.executable, "-m", "cyclonedx_py", "requirements", "-"]
    options = ["--pyproject", str(ROOT / "pyproject.toml"), "--output-reproducible", "--sv", "1.6"]
    printed = subprocess.run(
        [*command, *options], input=requirements, check=True, capture_output=True, text=True
    )
    document: dict[str, Any] = json.loads(printed.stdout)
    return document


def _tools(document: dict[str, Any]) -> list[dict[str, Any]]:
    tools: list[dict[str, Any]] = document["metadata"]["tools"]["components"]
    return tools


def _named(tool: dict[str, Any]) -> dict[str, Any]:
    return {key: tool[key] for key in ("type", "name", "version")}


def _direct() -> list[str]:
    """Names of the packages that the project itself asks for, without its extras."""
    wanted = [Requirement(line) for line in requires("whisper-ox") or ()]
    return [canonicalize_name(r.name) for r in wanted if "extra" not in str(r.marker)]


if __name__ == "__main__":
    print(bill_of_materials(), end="")
