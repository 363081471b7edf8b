"""A server on this machine, from start to end, on a private Ray of its own.

It imports Ray, so import it only inside :func:`serve_app.serving.before_ray.prepared_for_ray`.
Ctrl-C and a closed terminal stop it at once; SIGTERM stops it when the running requests are
answered. docs/failures.md says what clients see.
"""

import os
import signal
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from threading import Thread
from urllib.request import ProxyHandler, build_opener

import psutil
import ray
from ray import serve as ray_serve
from ray.exceptions import RayError
from ray.serve.exceptions import DeploymentUnavailableError
from ray.serve.handle import DeploymentHandle

from models import resolve
from serve_app.api.edge.drain import DrainStage, InProgress
from serve_app.api.example import curl_example
from serve_app.assets import GOLDEN_CLIP
from serve_app.cpus import available_cpus
from serve_app.engine import hardware
from serve_app.engine.budget import shared_out
from serve_app.errors import NotReady
from serve_app.logs import from_environment
from serve_app.serving import haproxy, ray_internals
from serve_app.serving.before_ray import StopSignals
from serve_app.serving.deployments import assemble
from serve_app.serving.profile import INGRESS, Profile, load_profile, transcribers
from serve_app.serving.ray_metrics import MetricsEndpoint
from serve_app.serving.ray_processes import RayProcesses
from serve_app.serving.remote_service import why_failed
from serve_app.serving.requirements import OBJECT_STORE_BYTES, requirements
from serve_app.settings import ApiKey, DrainSettings, LogSettings
from serve_app.tracing import wants_traces
from serve_app.wyoming import Server, key_headers, start_wyoming

POLL_SECONDS = 0.25
DRAIN_TIMEOUT_SECONDS = 5.0
ANSWER_SECONDS = 0.5
"""In seconds. After this, an answer that has left its replica has certainly reached the client. It
takes milliseconds through the proxy."""

FLUSH_TIMEOUT_SECONDS = 4.0
WATCH_SECONDS = 1.0
"""Seconds between checks that Ray is still running."""


def serve(
    signals: StopSignals,
    *,
    config: str,
    models: Sequence[str],
    host: str | None,
    port: int | None,
    metrics_host: str,
    metrics_port: int | None,
) -> None:
    """Serve until a signal arrives. The parameters are those of the command line.

    Everything that can be wrong is checked before Ray starts, so that it is reported here and not
    in the log of another process. Raises ``WhisperOxError`` or ``models.ModelError`` if the server
    cannot start, and ``KeyboardInterrupt`` for a signal that arrives before it is ready.
    """
    profile = load_profile(config).changed(models=models, host=host, port=port)
    log = from_environment(profile.settings.log)
    os.environ.update(LOG_LEVEL=log.level, LOG_FORMAT=log.format)  # for Serve's proxies
    sends_traces = wants_traces()
    for require in requirements(profile, metrics_host, metrics_port).values():
        require()
    profile = _shared_out(profile)
    for engine in profile.settings.served.values():
        local = resolve(engine.model)  # with a progress bar
        print(f"whisper-ox: starting with model {local.name} from {local.path}", flush=True)
    http = profile.config.http_options
    private_host = haproxy.listen_alone(http.host)
    processes = RayProcesses()
    was_ready = False
    try:
        _start_ray(signals)
        processes.watch()
        if metrics_port:
            endpoint = MetricsEndpoint(metrics_host, metrics_port, ray_internals.metrics_port())
            print(f"whisper-ox: metrics on {endpoint.url}", flush=True)
        ingress = _deploy(profile, log, private_host)
        url = _own_url(http.host, http.port)
        wyoming = profile.settings.wyoming
        if wyoming.port:
            behind = Server(url, key_headers(ApiKey.from_environment()))
            start_wyoming(behind, wyoming.host, wyoming.port)
        with suppress(KeyboardInterrupt):
            _wait_until_ready(url, signals, processes)
            was_ready = True
            while not signals.received:
                _require_ray(processes)
                processes.reap()
                time.sleep(WATCH_SECONDS)
        # Somebody may have found it ready before this process did.
        if signals.received == [signal.SIGTERM] and (was_ready or _is_ready(url)):
            _drain(ingress, profile.settings.drain, signals, processes)
        if sends_traces and not processes.lost():
            _flush_traces(profile)
    finally:
        # Interrupted, it would leave processes behind.
        signals.ignore()
        processes.kill()


def _shared_out(profile: Profile) -> Profile:
    """The profile with this machine's cores shared out among several models.

    Raises ``NotReady`` if the machine has too few cores or too little memory for them.
    """
    served = profile.settings.served
    if len(served) == 1:
        return profile
    cores, memory_bytes = available_cpus(), hardware.available_memory()
    shares = shared_out(served, profile.replicas, cores, memory_bytes)
    for name, share in shares.items():
        print(f"whisper-ox: {name} has {share}", flush=True)
    return profile.with_cores({name: share.cores for name, share in shares.items()})


def _start_ray(signals: StopSignals) -> None:
    ray_internals.quiet_logs()
    ray_internals.start_no_usage_reporter()
    ray_internals.leave_sigterm_alone()
    ray.init(
        address="local",
        namespace="serve",
        include_dashboard=False,
        object_store_memory=OBJECT_STORE_BYTES,
        logging_level="WARNING",
    )
    signals.listen()


def _deploy(profile: Profile, log: LogSettings, private_host: str) -> DeploymentHandle:
    """Start the proxy and the deployments. Returns a handle to Ingress, which is not up yet."""
    http = profile.config.http_options
    logging_config = {**profile.serve_logging, "encoding": log.format.upper()}
    # The controller logs a traceback per attempt to start; why_not_ready says it in one line.
    silent = {**logging_config, "log_level": "CRITICAL"}
    try:
        ray_serve.start(
            proxy_location=profile.config.proxy_location,
            http_options={**http.model_dump(exclude_unset=True), "host": private_host},
            logging_config=silent,
        )
    except (RayError, RuntimeError) as error:
        # The last lines are HAProxy's own alerts.
        reason = " ".join(" ".join(str(error).strip().splitlines()[-2:]).split())
        raise NotReady(f"Ray Serve's proxy does not start: {reason}") from error
    application = ray_serve.RunTarget(
        assemble(profile.settings, profile.deployment_options),
        name=profile.application.name,
        route_prefix=profile.application.route_prefix,
        logging_config=logging_config,
    )
    [ingress] = ray_serve.run_many([application], wait_for_applications_running=False)
    return ingress


def _own_url(host: str, port: int) -> str:
    """The address at which this machine reaches a server that listens on ``host``."""
    local = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    return f"http://[{local}]:{port}" if ":" in local else f"http://{local}:{port}"


def _wait_until_ready(url: str, signals: StopSignals, processes: RayProcesses) -> None:
    """Wait until ``/readyz`` answers 200, then print how long it took and how to send audio.

    Raises ``NotReady`` once Serve has given up starting the model, or Ray has ended.
    """
    while not _is_ready(url):
        if signals.received:
            raise KeyboardInterrupt
        _require_ray(processes)
        if reason := why_failed():
            raise NotReady(reason)
        time.sleep(POLL_SECONDS)
    seconds = time.time() - psutil.Process().create_time()
    print(
        f"whisper-ox: ready after {seconds:.0f} s on {url} "
        f"(documentation: {url}/docs; Ctrl-C stops). Try:\n\n"
        f"  {curl_example(url, GOLDEN_CLIP)}\n",
        flush=True,
    )


def _require_ray(processes: RayProcesses) -> None:
    if name := processes.lost():
        raise NotReady(
            f"Ray's {name} process has ended, so the server cannot continue. Restart the server."
        )


def _is_ready(url: str) -> bool:
    # The environment's proxy could not reach this machine's own address.
    opener = build_opener(ProxyHandler({}))
    try:
        with opener.open(f"{url}/readyz", timeout=5) as answer:
            return bool(answer.status == 200)
    except OSError:  # refused, reset, timed out, or 503: urllib's HTTPError is one
        return False


def _drain(
    ingress: DeploymentHandle,
    settings: DrainSettings,
    signals: StopSignals,
    processes: RayProcesses,
) -> None:
    """Let running requests finish while new ones are refused. Another signal cuts them off.

    A signal to every process ends Ray too. Calls to it may then hang, so a thread makes them.
    """
    print(
        f"\nwhisper-ox: stopping; running requests have {settings.seconds:g} s to end, another "
        "signal ends them now",
        file=sys.stderr,
        flush=True,
    )
    requests = Thread(target=_let_requests_end, args=(ingress, settings, signals), daemon=True)
    requests.start()
    while requests.is_alive():
        if processes.lost():
            print(
                "whisper-ox: Ray has ended, so running requests are cut off; if the signal went to "
                "every process, send it to the first one only (systemd: KillMode=mixed)",
                file=sys.stderr,
                flush=True,
            )
            return
        requests.join(POLL_SECONDS)


def _let_requests_end(
    ingress: DeploymentHandle, settings: DrainSettings, signals: StopSignals
) -> None:
    if settings.notice_seconds:
        _n_unfinished(ingress, DrainStage.LEAVING)
    noticed = time.monotonic() + settings.notice_seconds
    while len(signals.received) < 2 and time.monotonic() < noticed:
        time.sleep(POLL_SECONDS)
    deadline = time.monotonic() + settings.seconds
    while left := _n_unfinished(ingress, DrainStage.CLOSED):
        if len(signals.received) > 1 or time.monotonic() > deadline:
            print(f"whisper-ox: {left} running requests are cut off", file=sys.stderr, flush=True)
            return
        time.sleep(POLL_SECONDS)


def _n_unfinished(ingress: DeploymentHandle, stage: DrainStage) -> int:
    """Bring every HTTP replica to ``stage``. Returns how many requests are left, or 1 if unknown.

    An answer that has only just left a replica may still be in the proxy, so it counts.
    """
    try:
        answers = ingress.broadcast("drain", stage).results(
            timeout_s=DRAIN_TIMEOUT_SECONDS, return_exceptions=True
        )
    except DeploymentUnavailableError:
        return 0
    except TimeoutError:
        return 1
    if any(isinstance(answer, TimeoutError) for answer in answers):
        return 1
    replicas = [answer for answer in answers if isinstance(answer, InProgress)]  # others have died
    n_requests = sum(replica.requests for replica in replicas)
    return n_requests or sum(replica.idle_seconds < ANSWER_SECONDS for replica in replicas)


def _flush_traces(profile: Profile) -> None:
    """Let every replica send its spans. A call to a Ray that is ending may hang."""
    deployments = (*transcribers(profile.settings).values(), INGRESS)
    flush = Thread(target=_ask_for_traces, args=(profile, deployments), daemon=True)
    flush.start()
    flush.join(FLUSH_TIMEOUT_SECONDS * len(deployments))


def _ask_for_traces(profile: Profile, deployments: Sequence[str]) -> None:
    for deployment in deployments:
        with suppress(Exception):  # the server ends in any case
            handle = ray_serve.get_deployment_handle(deployment, profile.application.name)
            handle.broadcast("flush_traces").results(
                timeout_s=FLUSH_TIMEOUT_SECONDS, return_exceptions=True
            )
