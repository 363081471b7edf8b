"""Starting a local server: what is refused before Ray starts."""

import shutil
from pathlib import Path

import pytest

from serve_app.errors import InvalidSetting, NotReady
from serve_app.serving.requirements import require_shared_memory
from serve_app.settings import ApiKey
from serve_app.wyoming import key_headers


def test_too_little_shared_memory_is_refused_with_what_to_do(tmp_path: Path) -> None:
    free = shutil.disk_usage(tmp_path).free
    require_shared_memory(free // 2, tmp_path)
    with pytest.raises(NotReady, match="--shm-size"):
        require_shared_memory(free + 2**40, tmp_path)


def test_without_a_directory_for_shared_memory_nothing_is_refused(tmp_path: Path) -> None:
    require_shared_memory(2**60, tmp_path / "absent")


def test_wyomings_clients_come_in_with_the_key_of_the_environment() -> None:
    assert key_headers(ApiKey()) == {}
    assert key_headers(ApiKey("secret", "X-Key", Path("keys"))) == {"X-Key": "secret"}
    with pytest.raises(InvalidSetting, match="WHISPER_API_KEY"):
        key_headers(ApiKey(keys_file=Path("keys")))
