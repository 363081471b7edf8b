"""How a local server ends: Ctrl-C at once, SIGTERM once the running requests are answered.

After SIGTERM running requests end while new ones are refused (:func:`drain`). In any case the spans
that are left are sent (:func:`flush_traces`), and Ray's processes and those that they have started
end (:func:`end_processes`). docs/failures.md says what clients see.
"""

import contextlib
import sys
import time

import psutil
import ray
from ray import serve
from ray.serve.exceptions import DeploymentUnavailableError
from ray.serve.handle import DeploymentHandle

from serve_app.api.drain import InProgress, Stage
from serve_app.serving.before_ray import StopSignals
from serve_app.serving.deployments import Ingress, Transcriber
from serve_app.settings import DrainSettings

DRAIN_POLL_SECONDS = 0.25
DRAIN_TIMEOUT_SECONDS = 5.0
ANSWER_SECONDS = 0.5
"""How long after a replica has ended an answer it has surely reached its client; the way through
the proxy takes milliseconds."""

FLUSH_TIMEOUT_SECONDS = 4.0
EXIT_SECONDS = 3.0
"""How long processes may take to end by themselves."""


def drain(ingress: DeploymentHandle, settings: DrainSettings, signals: StopSignals) -> None:
    """Let running requests end while new ones are refused; another signal cuts them off."""
    if settings.notice_seconds:
        _n_unfinished(ingress, Stage.LEAVING)
    print(
        f"\nwhisper-ox: stopping; running requests have {settings.seconds:g} s to end, another "
        "signal ends them now",
        file=sys.stderr,
        flush=True,
    )
    time.sleep(settings.notice_seconds)
    deadline = time.monotonic() + settings.seconds
    while left := _n_unfinished(ingress, Stage.CLOSED):
        if len(signals.received) > 1 or time.monotonic() > deadline:
            print(f"whisper-ox: {left} running requests are cut off", file=sys.stderr, flush=True)
            return
        time.sleep(DRAIN_POLL_SECONDS)


def _n_unfinished(ingress: DeploymentHandle, stage: Stage) -> int:
    """Bring every HTTP replica to ``stage``; returns how many requests are left, at least.

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


def flush_traces(application: str) -> None:
    """Let every replica send the spans it has; what is not sent in a few seconds is lost."""
    for deployment in (Transcriber, Ingress):
        with contextlib.suppress(Exception):  # the server ends in any case
            handle = serve.get_deployment_handle(deployment.__name__, application)
            handle.broadcast("flush_traces").results(
                timeout_s=FLUSH_TIMEOUT_SECONDS, return_exceptions=True
            )


def end_processes(signals: StopSignals) -> None:
    """End Serve and Ray, ignoring a second Ctrl-C, which would leave processes behind.

    Ray ends its own processes but not what those have started: HAProxy would live on.
    """
    signals.ignore()
    family = psutil.Process().children(recursive=True)
    is_up = ray.is_initialized()
    if is_up:
        ray.shutdown()
    # If ray.init was interrupted, nothing ends by itself.
    _, left = psutil.wait_procs(family, timeout=EXIT_SECONDS if is_up else 0)
    for process in left:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(left, timeout=EXIT_SECONDS)
