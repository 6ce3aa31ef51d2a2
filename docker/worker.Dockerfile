# The worker of a serverless endpoint of RunPod: Easel, one engine, and RunPod's library (docs/guide/remote-worker.md).
#
#   docker build -f docker/worker.Dockerfile -t easel-worker .
#
# The base has no CUDA: the engine's torch brings its own libraries, and the host the driver.
ARG BASE=debian:12.11-slim
FROM ${BASE}

# "" for an image without an engine; SOURCE is a mirror of its source, as for the installer.
ARG ENGINE=kohya
ARG ACCELERATOR=cuda
ARG SOURCE=

# The installer needs Python and pip, git fetches the engine's source, and OpenCV needs the two libraries.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends ca-certificates git libgl1 libglib2.0-0 python3 python3-pip python3-venv \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --create-home --uid 1000 easel \
    && install -d -o easel -g easel /opt/easel /var/lib/easel

USER 1000:1000
WORKDIR /opt/easel
# Engines and models are here, and the folders of requests; a worker changes nothing else.
ENV EASEL_HOME=/var/lib/easel \
    EASEL_WORKER_MODELS=/runpod-volume \
    EASEL_WORKER_ENGINE=${ENGINE} \
    PYTHONUNBUFFERED=1

# First what changes rarely: the engine has gigabytes.
COPY --chown=easel:easel installer.py pyproject.toml README.md LICENSE ./
COPY --chown=easel:easel requirements/ requirements/
COPY --chown=easel:easel backends/ backends/
COPY --chown=easel:easel profiles/ profiles/
COPY --chown=easel:easel themes/ themes/
COPY --chown=easel:easel docs/guide/ docs/guide/
COPY --chown=easel:easel docs/images/ docs/images/
COPY --chown=easel:easel notebooks/ notebooks/
COPY --chown=easel:easel trainer_ui/ trainer_ui/
COPY --chown=easel:easel trainer_core/ trainer_core/

RUN python3 installer.py \
    && if [ -n "${ENGINE}" ]; then \
        python3 installer.py backend install "${ENGINE}" --accelerator "${ACCELERATOR}" ${SOURCE:+--source "${ENGINE}=${SOURCE}"}; \
    fi \
    && "${EASEL_HOME}/tools/uv/bin/uv" pip install --python .venv/bin/python --no-cache --require-hashes -r requirements/worker.txt \
    && rm -rf /home/easel/.cache

ENTRYPOINT ["/opt/easel/.venv/bin/python", "-m", "trainer_core.remote.worker"]
