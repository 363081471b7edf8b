"""``make audit``: known vulnerabilities of the packages in the images, by pip-audit.

It asks the Python Package Index, so it needs the internet. Where it cannot ask about every package
it fails, as pip-audit alone would not.
"""

import json
import subprocess
import sys
import tempfile
from typing import Any

from supply_chain.image import image_packages

VULNERABLE = 1
UNKNOWN = 2


def main() -> int:
    """Print what was found. Exit status 0: every package was looked up and is clean."""
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as requirements:
        requirements.writelines(f"{name}=={version}\n" for name, version in image_packages())
        requirements.flush()
        command = [sys.executable, "-m", "pip_audit", "--requirement", requirements.name]
        options = ["--no-deps", "--disable-pip", "--format=json", "--progress-spinner=off"]
        audit = subprocess.run([*command, *options], capture_output=True, text=True, check=False)
    try:
        document = json.loads(audit.stdout)
    except ValueError:
        print(*audit.stderr.strip().splitlines()[-1:], file=sys.stderr)  # why it gave up
        document = {"dependencies": []}
    status, lines = verdict(document)
    print("\n".join(lines), file=sys.stderr if status else sys.stdout)
    return status


def verdict(document: dict[str, Any]) -> tuple[int, list[str]]:
    """Exit status and what to print, of pip-audit's JSON."""
    packages = document["dependencies"]
    lines = [
        f"{package['name']} {package['version']}: {found['id']}, mended in "
        f"{', '.join(found['fix_versions']) or 'no version yet'}"
        for package in packages
        for found in package.get("vulns", ())
    ]
    skipped = [package for package in packages if "skip_reason" in package]
    if skipped or not packages:
        known = len(packages) - len(skipped)
        lines.append(
            f"audit: {known} packages were looked up, {len(skipped) or 'the others'} could not be. "
            "This needs the internet: run it where the Python Package Index answers."
        )
        return UNKNOWN, lines
    if lines:
        return VULNERABLE, lines
    return 0, [f"audit: {len(packages)} packages, no known vulnerability"]


if __name__ == "__main__":
    sys.exit(main())
