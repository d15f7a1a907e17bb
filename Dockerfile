# The service with its weights and the starter index inside; it needs no network when it runs.
#
#   docker build --build-arg PIP_EXTRA_INDEX_URL=<index of PyTorch's CPU builds> -t dd2d-server .
#
# The argument is needed because PyTorch's ordinary Linux builds bring gigabytes of CUDA libraries; a build that
# would ship them stops.
FROM python:3.11-slim AS build

ARG PIP_EXTRA_INDEX_URL=""
ENV PIP_EXTRA_INDEX_URL=${PIP_EXTRA_INDEX_URL} \
    PIP_NO_CACHE_DIR=1 \
    PIP_DISABLE_PIP_VERSION_CHECK=1

RUN python -m venv /opt/dd2d
ENV PATH=/opt/dd2d/bin:$PATH
WORKDIR /srv/build

# Dependencies first: they change less often than the code, so their layer is kept. Of the project only what tells
# them is there yet, with empty packages.
COPY pyproject.toml constraints.txt README.md LICENSE ./
RUN mkdir app index model \
    && touch app/__init__.py index/__init__.py model/__init__.py \
    && pip install -c constraints.txt hatchling editables setuptools \
    && pip install -c constraints.txt --no-build-isolation . \
    && pip uninstall --yes dd2d-server \
    && python -c "import torch; assert torch.version.cuda is None, 'give PIP_EXTRA_INDEX_URL: a CPU build of torch is needed'"

COPY app app
COPY index index
COPY model model
RUN pip install -c constraints.txt --no-build-isolation --no-deps . \
    && dd2d index build starter --out /srv/starter \
    && dd2d index verify /srv/starter \
    && pip uninstall --yes hatchling editables pip


FROM python:3.11-slim

RUN useradd --system --uid 10001 --no-create-home --shell /usr/sbin/nologin dd2d \
    && mkdir -p /srv/indexes \
    && chown dd2d /srv/indexes
COPY --from=build /opt/dd2d /opt/dd2d
COPY --from=build /srv/starter /srv/starter

# Outside a container the service listens on loopback only; here the container's own network is the boundary.
ENV PATH=/opt/dd2d/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    MPLCONFIGDIR=/tmp \
    DD2D_HOST=0.0.0.0 \
    DD2D_PORT=8000 \
    DD2D_INDEX=/srv/starter

WORKDIR /srv
USER 10001
EXPOSE 8000
VOLUME /srv/indexes

HEALTHCHECK --interval=30s --timeout=10s --start-period=60s \
    CMD ["python", "-c", "import os, urllib.request as u; u.urlopen('http://127.0.0.1:' + os.environ['DD2D_PORT'] + '/readyz', timeout=8)"]

ENTRYPOINT ["dd2d"]
CMD ["serve"]
