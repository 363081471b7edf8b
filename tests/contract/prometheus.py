"""A real Prometheus that scrapes one endpoint, where the machine has the binary."""

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import yaml

from loadtest.server import free_port
from tests.conditions import eventually

BINARY = shutil.which("prometheus")
SCRAPES_NEEDED = 3
"""``rate`` needs two points."""


class Prometheus:
    """The HTTP API of a running Prometheus."""

    def __init__(self, url: str) -> None:
        self._client = httpx.Client(base_url=url, timeout=10)

    def query(self, expression: str) -> list[Any]:
        """The series of an instant query. Fails if Prometheus refuses it."""
        answer = self._client.get("/api/v1/query", params={"query": expression}).json()
        assert answer["status"] == "success", answer
        result: list[Any] = answer["data"]["result"]
        return result

    def has_scraped(self) -> bool:
        """Whether it has scraped the endpoint often enough for rates."""
        try:
            found = self.query("min(count_over_time(up[1m]) and up == 1)")
        except httpx.TransportError:
            return False
        return bool(found) and float(found[0]["value"][1]) >= SCRAPES_NEEDED


@contextmanager
def prometheus_on(endpoint: str, directory: Path) -> Iterator[Prometheus]:
    """Run Prometheus until it has scraped ``endpoint`` a few times."""
    assert BINARY
    target = urlsplit(endpoint)
    scrape = {"job_name": "whisper-ox", "static_configs": [{"targets": [target.netloc]}]}
    config = {"global": {"scrape_interval": "1s"}, "scrape_configs": [scrape]}
    (directory / "prometheus.yml").write_text(yaml.safe_dump(config))
    address = f"127.0.0.1:{free_port()}"
    command = [
        BINARY,
        f"--config.file={directory}/prometheus.yml",
        f"--storage.tsdb.path={directory}/data",
        f"--web.listen-address={address}",
    ]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        running = Prometheus(f"http://{address}")
        eventually(running.has_scraped)
        yield running
    finally:
        process.terminate()
        process.wait()
