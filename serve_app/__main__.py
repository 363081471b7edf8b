"""``python -m serve_app``: Whisper OX on this machine, on a private Ray of its own."""

import argparse
import contextlib
import logging
import os
import secrets
import signal
import sys
import time
import urllib.request
from types import FrameType
from typing import TYPE_CHECKING

import psutil

from serve_app.command_line import parser, require_free
from serve_app.errors import NotReady, WhisperOxError
from serve_app.logs import from_environment
from serve_app.proxy.environment import haproxy_ports, set_proxy_environment
from serve_app.settings import ApiKey, DrainSettings, ProxySettings
from serve_app.shared_memory import keep_audio_off_disk, require_shared_memory
from serve_app.tracing.environment import wants_traces

if TYPE_CHECKING:
    from ray.serve.handle import DeploymentHandle

OBJECT_STORE_BYTES = 256 * 1024 * 1024
"""Clips pass through it between Ingress and Transcriber: 2.2 hours of 16 kHz PCM16 at once."""

READY_POLL_SECONDS = 0.25
EXIT_SECONDS = 3.0
"""How long processes may take to end by themselves."""
DRAIN_POLL_SECONDS = 0.25
FLUSH_SECONDS = 0.5
"""How long after its end in a replica an answer is with its client; the hop takes milliseconds."""


def main(arguments: list[str] | None = None) -> int:
    """Serve until interrupted; returns the exit status."""
    options = parser().parse_args(arguments)
    # Ray reads these when it is imported; its usage statistics would be an outbound connection.
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    _give_ray_a_token()
    keep_audio_off_disk()
    # Ray's workers step back behind every other process by default (niceness 15).
    os.environ.setdefault("RAY_worker_niceness", "0")
    # The controller's loop, ten times a second by default: an idle server takes 9 instead of 15 %
    # of a core.
    os.environ.setdefault("RAY_SERVE_CONTROL_LOOP_INTERVAL_S", "0.5")
    os.environ.setdefault("RAY_ENABLE_UV_RUN_RUNTIME_ENV", "0")
    # Ray would print a line that two processes say once, with "repeated 2x" behind its JSON.
    os.environ.setdefault("RAY_DEDUP_LOGS", "0")
    # Ray's own ports listen on every interface, except where it takes the machine for one without
    # a cluster, as this one is: there on the loopback interface.
    os.environ.setdefault("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")
    set_proxy_environment()
    signal.signal(signal.SIGINT, _interrupt)
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        # These say here what is wrong, not in another process's log.
        ProxySettings.from_environment()
        wants_traces()
        return _serve(options)
    except WhisperOxError as error:
        print(f"whisper-ox: {error.message}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nwhisper-ox: stopped", file=sys.stderr)
        return 0


def _give_ray_a_token() -> None:
    """Let Ray's own ports ask for a token that only this server's processes have.

    Ray would write one into the home, which may be read-only, and share it among servers.
    """
    mode = os.environ.setdefault("RAY_AUTH_MODE", "token")
    if mode == "token" and "RAY_AUTH_TOKEN_PATH" not in os.environ:
        os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))


def _serve(options: argparse.Namespace) -> int:
    from configs.profile import load_profile
    from models import ModelError, resolve
    from serve_app.api.edge.key_ring import KeyRing

    profile = load_profile(options.config)
    settings = profile.settings
    log = from_environment(settings.log)
    os.environ.update(LOG_LEVEL=log.level, LOG_FORMAT=log.format)  # for Serve's proxies
    KeyRing(ApiKey.from_environment(), settings.quota)  # what is wrong is told now, not by a worker
    if options.model:
        engine = settings.engine.model_copy(update={"model": options.model})
        settings = settings.model_copy(update={"engine": engine})
    given = profile.config.http_options
    host, port = options.host or given.host, options.port or given.port
    http = {**given.model_dump(exclude_unset=True), "host": host, "port": port}
    require_free(host, port, "--port (make serve PORT=8001)")
    if options.metrics_port:
        require_free(options.metrics_host, options.metrics_port, "--metrics-port")
    for variable, own in haproxy_ports().items():
        require_free("0.0.0.0", own, variable)
    require_shared_memory(OBJECT_STORE_BYTES)
    try:
        local = resolve(settings.engine.model)  # with a progress bar here, not in a worker's log
    except ModelError as error:
        raise NotReady(error.message) from error
    print(f"whisper-ox: starting with model {local.name} from {local.path}", flush=True)

    import ray
    from ray import serve
    from ray.exceptions import RayError

    from serve_app.deployments import assemble, flush_traces
    from serve_app.metrics.endpoint import MetricsEndpoint

    # Our access log says more in one line.
    quiet = {"encoding": log.format.upper(), "log_level": "WARNING", "enable_access_log": False}
    # The controller logs a traceback per attempt to start; ``why_not_ready`` says it in one line.
    silent = {**quiet, "log_level": "CRITICAL"}
    for chatty in ("ray.serve", "ray._private.authentication.authentication_token_setup"):
        logging.getLogger(chatty).setLevel(logging.ERROR)
    # Without its dashboard Ray still starts that process for usage statistics. Turned off, these
    # still ask the metadata services of three clouds where this is.
    ray._private.services.start_api_server = lambda *args, **options: ("", None)
    try:
        ray.init(
            address="local",
            namespace="serve",
            include_dashboard=False,
            object_store_memory=OBJECT_STORE_BYTES,
            logging_level="WARNING",
        )
        signal.signal(signal.SIGTERM, _interrupt)  # Ray has put its own there
        if options.metrics_port:
            source_port: int = ray.nodes()[0]["MetricsExportPort"]
            endpoint = MetricsEndpoint(options.metrics_host, options.metrics_port, source_port)
            print(f"whisper-ox: metrics on {endpoint.url}", flush=True)
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
        [ingress] = serve.run_many([application], wait_for_applications_running=False)
        url = _own_url(host, port)
        with contextlib.suppress(KeyboardInterrupt):
            _wait_until_ready(url)
            while not _stops:
                time.sleep(3600)
        # Somebody may have found it ready before this process did.
        if _stops == [signal.SIGTERM] and _is_ready(url):
            _drain(ingress, settings.drain)
        if wants_traces():
            flush_traces(profile.application.name)
        raise KeyboardInterrupt
    finally:
        _stop()


def _proxy_failure(error: Exception) -> str:
    """The end of Serve's message, where HAProxy's own alerts are."""
    return " ".join(" ".join(str(error).strip().splitlines()[-2:]).split())


def _own_url(host: str, port: int) -> str:
    """Where this machine reaches a server that listens on ``host``."""
    local = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    return f"http://[{local}]:{port}" if ":" in local else f"http://{local}:{port}"


def _wait_until_ready(url: str) -> None:
    """Return when ``/readyz`` says so, having said how long all of it took and where to send audio.

    Raises ``NotReady`` once Serve has given up on starting the model.
    """
    import psutil
    from ray import serve
    from ray.serve.schema import ApplicationStatus

    from serve_app.api.examples import EXAMPLE_CLIP, curl_example
    from serve_app.ray_core import why_not_ready

    while not _is_ready(url):
        if _stops:
            raise KeyboardInterrupt
        for application in serve.status().applications.values():
            if application.status is ApplicationStatus.DEPLOY_FAILED:
                raise NotReady(why_not_ready())
        time.sleep(READY_POLL_SECONDS)
    seconds = time.time() - psutil.Process().create_time()
    print(
        f"whisper-ox: ready after {seconds:.0f} s on {url} "
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


def _drain(ingress: "DeploymentHandle", settings: DrainSettings) -> None:
    """Let running requests end while new ones are turned away; a further signal cuts it short."""
    from serve_app.api.edge.drain import Stage
    from serve_app.deployments import drain_ingress

    def n_unfinished(stage: Stage) -> int:
        """At least; an answer that has only just left a replica may still be in the proxy."""
        try:
            replicas = drain_ingress(ingress, stage)
        except TimeoutError:
            return 1
        n_requests = sum(replica.requests for replica in replicas)
        return n_requests or sum(replica.idle_seconds < FLUSH_SECONDS for replica in replicas)

    if settings.notice_seconds:
        n_unfinished(Stage.LEAVING)
    print(
        f"\nwhisper-ox: stopping; running requests have {settings.seconds:g} s to end, another "
        "signal ends them now",
        file=sys.stderr,
        flush=True,
    )
    time.sleep(settings.notice_seconds)
    deadline = time.monotonic() + settings.seconds
    while left := n_unfinished(Stage.CLOSED):
        if len(_stops) > 1 or time.monotonic() > deadline:
            print(f"whisper-ox: {left} running requests are cut off", file=sys.stderr, flush=True)
            return
        time.sleep(DRAIN_POLL_SECONDS)


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
