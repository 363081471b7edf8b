"""Measure this machine's profile: ``python -m loadtest.capacity calibrate --model base``.

The engine is measured by :mod:`loadtest.capacity.measure` in a child process with the environment
of the profile's Transcriber, what serving adds by lone requests to a server.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import psutil

from loadtest.bench.overhead import timing
from loadtest.capacity.fit import (
    TimedCall,
    evidence,
    lone_factors,
    mean_error,
    prepare_cost,
    stage_costs,
)
from loadtest.capacity.probe import speed_of
from loadtest.capacity.profile import MachineProfile, ServerCost
from loadtest.chunks import speech_wav
from loadtest.client import TIMEOUT_SECONDS, transcribe
from loadtest.load import machine
from loadtest.memory import REPLICA_TITLE
from loadtest.options import english_options
from loadtest.server import Server, processes_of, start_server, transcriber_environment
from serve_app.errors import WhisperOxError

CHUNK_SECONDS = (5.0, 15.0, 30.0)
SERVER_REQUESTS, SERVER_WARM_UPS = 10, 3
IDLE_SECONDS = 10.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Flags of ``calibrate``."""
    parser.add_argument("--model", default="base")
    parser.add_argument("--config", default="dev", help="Serve config whose Transcriber it is")
    parser.add_argument(
        "--name", help="of the profile, or a file; default: the model and the cores"
    )
    parser.add_argument("--chunk-seconds", type=float, nargs="+", default=CHUNK_SECONDS)
    parser.add_argument("--last-pieces", type=int, default=40, help="shorter ones, of any length")
    parser.add_argument(
        "--decode-batch", type=int, nargs="+", help="default: powers of 2 up to the profile's"
    )
    parser.add_argument(
        "--windows", type=int, default=24, help="at least, at each decode batch and context"
    )


def calibrate(given: argparse.Namespace) -> MachineProfile:
    """Measure everything; takes some minutes. Raises ``WhisperOxError``."""
    about = machine()
    found = _measured(given)
    with start_server(given.model, ["--config", given.config]) as server:
        serving = server_cost(server, given.model)
        profile = profile_of(given, about, found, serving)
        # Costs of minutes ago, of an engine without a server around it: the probe has both.
        speed = speed_of(server.url, profile)
    basis = f"{profile.basis}; then scaled to {speed:.2f} of that speed, as measured on the server"
    return profile.at_speed(speed).model_copy(update={"basis": basis})


def profile_of(
    given: argparse.Namespace,
    about: Mapping[str, Any],
    found: Mapping[str, Any],
    serving: ServerCost,
) -> MachineProfile:
    """The profile made from what ``measure`` wrote."""
    loaded_calls, lone_calls = (
        [TimedCall(*call) for call in found[name]] for name in ("loaded", "lone")
    )
    loaded = stage_costs(loaded_calls)
    alone = {}
    if found["device"] == "cpu" and about["cores"] > 1:
        alone = lone_factors(lone_calls, loaded)
        if not found["lone_decoding_uses_every_core"]:
            alone.pop("generate", None)
    errors = ", ".join(
        f"{stage} {mean_error(loaded_calls, loaded, stage):.0%}"
        for stage in ("encode", "generate", "align")
    )
    audio, besides = zip(*found["prepared"], strict=True)
    cores = about["cores"]
    return MachineProfile(
        name=Path(given.name or f"{given.model}-{cores}c").name.removesuffix(".json"),
        kind="measured",
        basis=(
            f"python -m loadtest.capacity calibrate --model {given.model} --config {given.config}; "
            f"mean error of the fits, relative to a call's time: {errors}"
        ),
        model=given.model,
        compute_type=found["compute_type"],
        device=found["device"],
        cores=cores,
        workers=found["workers"],
        encode_batch=found["encode_batch"],
        decode_batch=found["decode_batch"],
        loaded=loaded,
        alone=alone,
        prepare=prepare_cost(audio, besides),
        server=serving,
        recipes=found["recipes"],
        evidence=evidence(loaded_calls),
        machine=dict(about),
    )


def server_cost(server: Server, model: str) -> ServerCost:
    """What ``server`` needs apart from the engine. Nobody else may use it."""
    audio, options = speech_wav(15.0), english_options(model)
    with httpx.Client(timeout=TIMEOUT_SECONDS) as http:

        def overheads(count: int) -> list[float]:
            replies = [transcribe(server.url, audio, options, http) for _ in range(count)]
            return [timing(reply).overhead / 1000 for reply in replies]

        overheads(SERVER_WARM_UPS)
        before = cpu_seconds(server)
        time.sleep(IDLE_SECONDS)
        idle, rested = cpu_seconds(server), time.perf_counter()
        found = overheads(SERVER_REQUESTS)
        after, worked = cpu_seconds(server), time.perf_counter() - rested
    idle_cores = {key: (idle[key] - before[key]) / IDLE_SECONDS for key in idle}
    used = after["others"] - idle["others"] - idle_cores["others"] * worked
    return ServerCost(
        request_seconds=statistics.median(found),
        request_core_seconds=max(0.0, used / SERVER_REQUESTS),
        idle_cores=max(0.0, sum(idle_cores.values())),
    )


def cpu_seconds(server: Server) -> dict[str, float]:
    """CPU seconds so far of the Transcriber replicas and of the server's other processes."""
    used = {"transcriber": 0.0, "others": 0.0}
    for title, process in processes_of(server.process.pid):
        with suppress(psutil.Error):
            times = process.cpu_times()
            kind = "transcriber" if f"{REPLICA_TITLE}Transcriber" in title else "others"
            used[kind] += times.user + times.system
    return used


def _measured(given: argparse.Namespace) -> dict[str, Any]:
    asked = {
        name: getattr(given, name)
        for name in ("model", "config", "decode_batch", "chunk_seconds", "last_pieces", "windows")
    }
    done = subprocess.run(
        [sys.executable, "-m", "loadtest.capacity.measure", json.dumps(asked)],
        env={**os.environ, **transcriber_environment(given.config)},
        stdout=subprocess.PIPE,
        text=True,
        check=False,
    )
    if done.returncode:
        raise WhisperOxError("the engine could not be measured: see above")
    measured: dict[str, Any] = json.loads(done.stdout)
    return measured
