# Trilight in a container, for CPUs or for NVIDIA GPUs:
#
#   docker build --tag trilight .
#   docker build --tag trilight:cuda --build-arg VARIANT=cuda .
#
#   docker run --rm --volume "$PWD:/work" trilight decompose my.png
#   docker run --rm --gpus all --shm-size 8g --volume "$PWD:/work" trilight:cuda fit --config dit_microdoppler.yaml
#
# PyTorch's ordinary build for Linux brings the CUDA libraries; the host needs the NVIDIA driver and container toolkit.
FROM python:3.12-slim-bookworm

ARG VARIANT=cpu

# A compiler for torch.compile.
RUN apt-get update \
    && apt-get install --yes --no-install-recommends g++ \
    && rm -rf /var/lib/apt/lists/*

WORKDIR /opt/trilight
COPY constraints.txt ./
# The build without CUDA is a later version, 2.x.y+cpu, of the same release, so that pip prefers it.
RUN case "$VARIANT" in \
        cpu) set -- --extra-index-url https://download.pytorch.org/whl/cpu ;; \
        cuda) set -- ;; \
        *) echo "VARIANT must be cpu or cuda, not $VARIANT" >&2; exit 1 ;; \
    esac \
    && pip install --no-cache-dir --constraint constraints.txt "$@" torch torchvision

COPY . ./
RUN pip install --no-cache-dir --constraint constraints.txt ".[all]"

ENV NVIDIA_VISIBLE_DEVICES=all \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility \
    HF_HOME=/work/.cache/huggingface
RUN useradd --create-home trilight && mkdir /work && chown trilight /work
USER trilight
WORKDIR /work
ENTRYPOINT ["trilight"]
CMD ["--help"]
