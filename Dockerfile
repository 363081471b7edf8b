# The CPU image: `docker build -t whisper-ox .`
# It runs as user 1000 with a read-only root file system. What it writes goes to three places, all
# of them memory unless models are fetched: /tmp (Ray's sockets and logs), /dev/shm (audio between
# processes) and /models.
#
#   docker run --read-only --tmpfs /tmp --shm-size=1g -v whisper-models:/models -p 8000:8000 whisper-ox
#
# The base is pinned by its exact tag. For a build that repeats to the byte, add its digest
# (`docker buildx imagetools inspect`): this file was written where no registry could be asked.
ARG PYTHON_IMAGE=python:3.11.16-slim-bookworm
# hadolint ignore=DL3006
FROM ${PYTHON_IMAGE} AS packages

ENV PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PIP_NO_CACHE_DIR=1
WORKDIR /build
# Without pip, so that the final image holds what the lock lists and nothing else.
RUN python -m venv --without-pip /opt/venv

COPY requirements.lock ./
RUN pip --python /opt/venv install --no-deps --require-hashes -r requirements.lock

COPY pyproject.toml README.md LICENSE ./
COPY serve_app serve_app
COPY models models
COPY configs configs
RUN pip --python /opt/venv install --no-deps --no-build-isolation .

# hadolint ignore=DL3006
FROM ${PYTHON_IMAGE}

# KubeRay's probes call wget. Debian serves only the latest version of a package, so none is pinned.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends wget \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --uid 1000 --user-group --create-home whisper \
    && install --directory --owner=whisper --group=whisper /models

COPY --from=packages /opt/venv /opt/venv

# docs/settings.md explains Ray's variables.
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    WHISPER_OX_MODELS_DIR=/models \
    RAY_SERVE_ENABLE_HA_PROXY=1 \
    RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH=serve_app.serving.proxy_errors:middlewares \
    RAY_SERVE_HAPROXY_BINARY_PATH=/opt/venv/lib/python3.11/site-packages/serve_app/serving/haproxy.py \
    RAY_SERVE_HAPROXY_TIMEOUT_CLIENT_S=60 \
    RAY_SERVE_HAPROXY_TUNE_BUFSIZE=65536 \
    RAY_SERVE_HAPROXY_HARD_STOP_AFTER_S=14400 \
    RAY_SERVE_PORT_QUARANTINE_S=150 \
    RAY_SERVE_PROXY_READY_CHECK_TIMEOUT_S=20 \
    RAY_SERVE_FORCE_STOP_UNHEALTHY_REPLICAS=1 \
    RAY_USAGE_STATS_ENABLED=0 \
    RAY_automatic_object_spilling_enabled=0 \
    RAY_object_spilling_directory=/dev/shm \
    RAY_worker_niceness=0
# By number: Kubernetes compares it with runAsNonRoot.
USER 1000:1000
WORKDIR /tmp
EXPOSE 8000
# Without the environment's proxy, which could not reach this address.
HEALTHCHECK --interval=10s --timeout=6s --start-period=120s \
    CMD ["python", "-c", "import urllib.request as u; u.build_opener(u.ProxyHandler({})).open('http://127.0.0.1:8000/readyz', timeout=5)"]
CMD ["python", "-m", "serve_app", "--host", "0.0.0.0"]
