"""A local server's ports are free and belong to no other server."""

import socket
from contextlib import closing

import pytest

from serve_app.errors import NotReady
from serve_app.serving import ports
from serve_app.serving.ports import BLOCK_PORTS, PortBlock, require_free


def test_a_free_port_is_accepted_and_left_free() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    for _ in range(2):
        require_free("127.0.0.1", port, "--port")


def test_a_port_that_somebody_listens_on_is_named_with_its_option() -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = listener.getsockname()[1]
        with pytest.raises(NotReady, match=f"port {port} on 127.0.0.1 is in use.*--port"):
            require_free("127.0.0.1", port, "--port")


def test_an_address_of_another_machine_is_refused() -> None:
    with pytest.raises(NotReady, match=r"cannot listen on 192\.0\.2\.1 port 8000"):
        require_free("192.0.2.1", 8000, "--port")


def test_no_two_blocks_overlap() -> None:
    with closing(PortBlock()) as one, closing(PortBlock()) as other:
        assert abs(one.first - other.first) >= BLOCK_PORTS


def test_a_block_with_a_busy_port_is_passed_over() -> None:
    with closing(PortBlock()) as free:
        busy = free.first + BLOCK_PORTS - 1
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", busy))
        listener.listen()
        with closing(PortBlock()) as block:
            assert busy not in range(block.first, block.first + BLOCK_PORTS)


def test_a_released_block_may_be_had_again(monkeypatch: pytest.MonkeyPatch) -> None:
    with closing(PortBlock()) as block:
        monkeypatch.setattr(ports, "FIRST_PORTS", range(block.first, block.first + 1))
        with pytest.raises(NotReady, match="ports in a row"):
            PortBlock()
    with closing(PortBlock()) as again:
        assert again.first == block.first
