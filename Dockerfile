# The service on a CPU: the light wheel with its extra studio, as a user without rights.
#
#   docker build -t mimique .
#   docker run --rm -p 127.0.0.1:8000:8000 -e MIMIQUE_TOKEN --read-only --tmpfs /tmp mimique
#
# TORCH_INDEX: the address of PyTorch's index of CPU wheels. Without it the default wheel is taken, with CUDA and some GiB larger.
#
# Checked by hand, as there was no Docker where it was written: the wheel was built by the same command, unpacked into an empty
# folder beside the packages that constraints.txt pins, and started by the same command from an empty folder, as a user other than
# root, without a right to write but in TMPDIR. It refused to start without a secret, then answered the health check, made faces,
# and ended at SIGTERM with an empty TMPDIR.
FROM python:3.12-slim AS wheel
WORKDIR /source
COPY . .
RUN pip wheel --no-cache-dir --no-deps --wheel-dir /wheel .

FROM python:3.12-slim
# What OpenCV's wheel with windows links to.
RUN apt-get update \
    && apt-get install --yes --no-install-recommends libgl1 libglib2.0-0 libxcb1 \
    && rm -rf /var/lib/apt/lists/*
ARG TORCH_INDEX=""
COPY constraints.txt /wheel/constraints.txt
COPY --from=wheel /wheel/*.whl /wheel/
RUN if [ -n "$TORCH_INDEX" ]; then pip install --no-cache-dir --index-url "$TORCH_INDEX" torch; fi \
    && pip install --no-cache-dir -c /wheel/constraints.txt "$(ls /wheel/*.whl)[studio]" \
    && rm -rf /wheel
RUN useradd --system --no-create-home --shell /usr/sbin/nologin mimique
USER mimique
WORKDIR /tmp
ENV PYTHONUNBUFFERED=1 XDG_CACHE_HOME=/tmp/cache
EXPOSE 8000
HEALTHCHECK --interval=30s --timeout=5s --start-period=60s \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/v1/health', timeout=4)"]
# It listens to all, and so does not start without MIMIQUE_TOKEN or MIMIQUE_AUTH.
CMD ["mimique", "serve", "--host", "0.0.0.0", "--port", "8000"]
