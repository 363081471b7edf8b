# The CPU image. Models are mounted at /models or fetched there; nothing is fetched at build time
# but the locked packages.
FROM python:3.11-slim

RUN useradd --create-home --uid 1000 whisper \
    && mkdir /models && chown whisper /models
WORKDIR /opt/whisper-ox

COPY requirements.lock ./
RUN pip install --no-cache-dir --require-hashes -r requirements.lock

COPY pyproject.toml README.md LICENSE ./
COPY serve_app serve_app
COPY models models
COPY configs configs
RUN pip install --no-cache-dir --no-deps --no-build-isolation .

USER whisper
ENV WHISPER_OX_MODELS_DIR=/models \
    RAY_USAGE_STATS_ENABLED=0 \
    RAY_worker_niceness=0
EXPOSE 8000
HEALTHCHECK --start-period=120s CMD ["python", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:8000/readyz', timeout=5)"]
CMD ["python", "-m", "serve_app", "--host", "0.0.0.0"]
