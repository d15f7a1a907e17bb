# The service with its weights and the starter index. It needs no network at run time.
#
#   docker build --build-arg PIP_EXTRA_INDEX_URL=<index of PyTorch's CPU builds> -t dd2d-server .
#
# PyTorch's default Linux builds include gigabytes of CUDA libraries, so the build takes a CPU build or stops.
# A release pins the base image: --build-arg BASE=python:3.11-slim-bookworm@sha256:... (docs/container.md).
# `bench/image.sh` builds this file without a Docker engine, measures the image and checks what docs/container.md claims.
ARG BASE=python:3.11-slim-bookworm

FROM ${BASE} AS build

ARG PIP_EXTRA_INDEX_URL=""
ENV PIP_EXTRA_INDEX_URL=${PIP_EXTRA_INDEX_URL} \
    PIP_NO_CACHE_DIR=1 \
    PIP_DISABLE_PIP_VERSION_CHECK=1

RUN python -m venv /opt/dd2d
ENV PATH=/opt/dd2d/bin:$PATH
WORKDIR /srv/build

# Dependencies come first: they change less often than the code, so their layer stays cached. Every file is checked
# against its digest. If pip finds no torch here, PIP_EXTRA_INDEX_URL does not name the index of PyTorch's CPU builds.
COPY requirements/build.lock requirements/service.lock requirements/torch-cpu.lock requirements/
RUN pip install --no-deps --require-hashes -r requirements/build.lock \
    && pip install --no-deps --require-hashes --no-build-isolation --use-pep517 \
        -r requirements/torch-cpu.lock -r requirements/service.lock

# Remove what no command imports: the plotting packages of pymatgen and ase (tests/repository/test_container.py checks
# that), the headers and test programs of PyTorch, and the tests of installed packages.
WORKDIR /opt/dd2d/lib/python3.11/site-packages
RUN pip uninstall --yes plotly narwhals pandas matplotlib contourpy fonttools kiwisolver cycler \
        palettable \
    && rm -r torch/include torch/share/cmake \
    && find torch/bin -mindepth 1 ! -name torch_shm_manager -delete \
    && find . -depth -type d \( -name tests -o -path ./torch/test -o -path ./ase/test \) -exec rm -r {} + \
    && find . -name '*.a' -delete

WORKDIR /srv/build
COPY pyproject.toml README.md LICENSE ./
COPY docker/bill_of_materials.py docker/
COPY app app
COPY index index
COPY model model
RUN pip install --no-build-isolation --no-deps . \
    && pip uninstall --yes hatchling editables pathspec pluggy tomlkit trove-classifiers setuptools pip \
    && python docker/bill_of_materials.py /srv/doc \
    && dd2d index build starter --out /srv/starter \
    && dd2d index verify /srv/starter


FROM ${BASE}

# The base image has an uncompiled standard library. On a read-only root file system every process would compile it
# again, and a health check would take 0.14 s instead of 0.04 s. Nothing is installed from here on, so pip is removed.
RUN python -m pip uninstall --yes --root-user-action ignore pip setuptools wheel \
    && python -c "import compileall, re, sysconfig; compileall.compile_dir(sysconfig.get_path('stdlib'), quiet=2, rx=re.compile('/(test|lib2to3|idlelib|tkinter|turtledemo|ensurepip|site-packages|dist-packages)/'))" \
    && groupadd --system --gid 10001 dd2d \
    && useradd --system --uid 10001 --gid 10001 --no-create-home --home-dir /tmp --shell /usr/sbin/nologin dd2d \
    && mkdir /srv/indexes \
    && chown dd2d:dd2d /srv/indexes
COPY --from=build /srv/doc /usr/share/doc/dd2d-server
COPY --from=build /srv/starter /srv/starter
COPY --from=build /opt/dd2d /opt/dd2d

# The default is loopback; in a container its own network is the boundary.
ENV PATH=/opt/dd2d/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    DD2D_HOST=0.0.0.0 \
    DD2D_PORT=8000 \
    DD2D_USER_STRUCTURES=/srv/indexes/user_structures.sqlite \
    DD2D_INDEX=/srv/starter \
    DD2D_CALIBRATIONS=/srv/indexes/calibrations

ARG BASE
ARG REVISION=unknown
LABEL org.opencontainers.image.title="dd2d-server" \
      org.opencontainers.image.description="Identifies two-dimensional crystals from one electron diffraction pattern, over HTTP" \
      org.opencontainers.image.licenses="MIT" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.base.name="${BASE}"

WORKDIR /srv
USER 10001:10001
EXPOSE 8000
VOLUME /srv/indexes
STOPSIGNAL SIGTERM

HEALTHCHECK --interval=30s --timeout=10s --start-period=60s --retries=3 \
    CMD ["python", "-c", "import os, urllib.request as u; u.urlopen('http://127.0.0.1:' + os.environ['DD2D_PORT'] + '/readyz', timeout=8)"]

ENTRYPOINT ["dd2d"]
CMD ["serve"]
