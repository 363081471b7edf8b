"""``python -m serve_app``: Whisper OX on this machine, on a private Ray of its own."""

import argparse
import contextlib
import errno
import logging
import os
import signal
import socket
import sys
import time
import urllib.request
from types import FrameType

import psutil

from serve_app.errors import NotReady, WhisperOxError

OBJECT_STORE_BYTES = 256 * 1024 * 1024
"""Clips pass through it between Ingress and Transcriber: 2.2 hours of 16 kHz PCM16 at once."""

READY_POLL_SECONDS = 0.25
EXIT_SECONDS = 3.0
"""How long processes may take to end by themselves."""


def main(arguments: list[str] | None = None) -> int:
    """Serve until interrupted; returns the exit status."""
    options = _parser().parse_args(arguments)
    # Ray reads these when it is imported; its usage statistics would be an outbound connection.
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    # Ray's workers step back behind every other process by default (niceness 15).
    os.environ.setdefault("RAY_worker_niceness", "0")
    # The controller's loop, ten times a second by default: an idle server takes 9 instead of 15 %
    # of a core.
    os.environ.setdefault("RAY_SERVE_CONTROL_LOOP_INTERVAL_S", "0.5")
    os.environ.setdefault("RAY_ENABLE_UV_RUN_RUNTIME_ENV", "0")
    signal.signal(signal.SIGINT, _interrupt)
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        return _serve(options)
    except WhisperOxError as error:
        print(f"whisper-ox: {error.message}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nwhisper-ox: stopped", file=sys.stderr)
        return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m serve_app",
        description="Serve speech to text on this machine. Settings: configs/dev.yaml.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument(
        "--config", default="dev", metavar="PROFILE", help="profile name or YAML file"
    )
    parser.add_argument(
        "--model", metavar="NAME", help="catalogue name, directory or Hugging Face id"
    )
    parser.add_argument("--host", help="address to listen on; 0.0.0.0: every interface")
    parser.add_argument("--port", type=_port, help="port to listen on")
    return parser


def _port(text: str) -> int:
    if not (text.isascii() and text.isdigit() and 1 <= int(text) <= 65_535):
        raise argparse.ArgumentTypeError(f"{text!r} is no port; allowed: 1 to 65535")
    return int(text)


def _serve(options: argparse.Namespace) -> int:
    from configs.profile import load_profile
    from models import resolve

    profile = load_profile(options.config)
    settings = profile.settings
    if options.model:
        engine = settings.engine.model_copy(update={"model": options.model})
        settings = settings.model_copy(update={"engine": engine})
    given = profile.config.http_options
    host, port = options.host or given.host, options.port or given.port
    http = {**given.model_dump(exclude_unset=True), "host": host, "port": port}
    _require_free(host, port)
    local = resolve(settings.engine.model)  # with a progress bar here, not in a worker's log
    print(f"whisper-ox: starting with model {local.name} from {local.path}", flush=True)

    import ray
    from ray import serve
    from ray.exceptions import RayError

    from serve_app.deployments import assemble

    quiet = {"log_level": "WARNING", "enable_access_log": False}  # ours says more in one line
    # The controller logs a traceback per attempt to start; ``why_not_ready`` says it in one line.
    silent = {**quiet, "log_level": "CRITICAL"}
    for chatty in ("ray.serve", "ray._private.authentication.authentication_token_setup"):
        logging.getLogger(chatty).setLevel(logging.ERROR)
    try:
        ray.init(
            address="local",
            namespace="serve",
            include_dashboard=False,
            object_store_memory=OBJECT_STORE_BYTES,
            logging_level="WARNING",
        )
        signal.signal(signal.SIGTERM, _interrupt)  # Ray has put its own there
        try:
            serve.start(
                proxy_location=profile.config.proxy_location,
                http_options=http,
                logging_config=silent,
            )
        except (RayError, RuntimeError) as error:
            raise NotReady(f"Ray Serve's proxy does not start: {_proxy_failure(error)}") from error
        application = serve.RunTarget(
            assemble(settings, profile.deployment_options),
            name=profile.application.name,
            route_prefix=profile.application.route_prefix,
            logging_config=quiet,
        )
        serve.run_many([application], wait_for_applications_running=False)
        _wait_until_ready(_own_url(host, port))
        while not _stops:
            time.sleep(3600)
        raise KeyboardInterrupt
    finally:
        _stop()


def _require_free(host: str, port: int) -> None:
    """Raise ``NotReady`` where nothing can listen on ``host:port``.

    Serve binds with SO_REUSEPORT: a second server would get every other request of the first.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            # Connections of a server that has just ended do not matter, only listeners do.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((host, port))
    except (OSError, OverflowError) as error:
        if isinstance(error, OSError) and error.errno == errno.EADDRINUSE:
            raise NotReady(
                f"port {port} on {host} is in use; end what listens there or choose another "
                "with --port (make serve PORT=8001)"
            ) from error
        raise NotReady(f"cannot listen on {host} port {port}: {error}") from error


def _proxy_failure(error: Exception) -> str:
    """The end of Serve's message, where HAProxy's own alerts are."""
    reason = " ".join(" ".join(str(error).strip().splitlines()[-2:]).split())
    if os.environ.get("RAY_SERVE_ENABLE_HA_PROXY") != "1":
        return reason
    return f"{reason} (RAY_SERVE_HAPROXY_METRICS_PORT and RAY_SERVE_HAPROXY_STATS_PORT move ports)"


def _own_url(host: str, port: int) -> str:
    """Where this machine reaches a server that listens on ``host``."""
    local = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    return f"http://[{local}]:{port}" if ":" in local else f"http://{local}:{port}"


def _wait_until_ready(url: str) -> None:
    """Return when ``/readyz`` says so, having said where to send audio.

    Raises ``NotReady`` once Serve has given up on starting the model.
    """
    from ray import serve
    from ray.serve.schema import ApplicationStatus

    from serve_app.api.examples import EXAMPLE_CLIP, curl_example
    from serve_app.deployments import why_not_ready

    began = time.monotonic()
    while not _is_ready(url):
        if _stops:
            raise KeyboardInterrupt
        for application in serve.status().applications.values():
            if application.status is ApplicationStatus.DEPLOY_FAILED:
                raise NotReady(why_not_ready())
        time.sleep(READY_POLL_SECONDS)
    print(
        f"whisper-ox: ready after {time.monotonic() - began:.0f} s on {url} "
        f"(documentation: {url}/docs; Ctrl-C stops). Try:\n\n"
        f"  {curl_example(url, EXAMPLE_CLIP)}\n",
        flush=True,
    )


def _is_ready(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/readyz", timeout=5) as answer:
            return bool(answer.status == 200)
    except OSError:  # refused, reset, timed out, or 503: urllib's HTTPError is one
        return False


def _stop() -> None:
    """End Serve and Ray, deaf to a second Ctrl-C, which would leave processes behind.

    Ray ends its own processes but not what those started: HAProxy would live on.
    """
    import ray

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    family = psutil.Process().children(recursive=True)
    is_up = ray.is_initialized()
    if is_up:
        ray.shutdown()
    # Where ray.init was interrupted, nothing ends by itself.
    _, left = psutil.wait_procs(family, timeout=EXIT_SECONDS if is_up else 0)
    for process in left:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(left, timeout=EXIT_SECONDS)


_stops: list[int] = []
"""Signals so far. Python ignores what a fork hook raises, and Ray's start forks: that Ctrl-C would
be lost."""


def _interrupt(number: int, frame: FrameType | None) -> None:
    _stops.append(number)
    raise KeyboardInterrupt


if __name__ == "__main__":
    exit_status = main()
    sys.stdout.flush()
    sys.stderr.flush()
    # Not sys.exit: Ray's client would look for its ended processes for up to ten seconds.
    os._exit(exit_status)
