#!/usr/bin/env bash
# Builds the image without a Docker engine, runs it as docker-compose.yml does, with the network off, and prints what
# it found. Ends with 1 where anything that docs/container.md promises does not hold.
#
#   sudo bench/image.sh                     everything in a temporary folder, removed at the end
#   sudo WORK=/var/tmp/image bench/image.sh base and image stay in that folder; the base is used the next time, and
#                                           where REBUILD=0, the image too
#
# Needed: Linux, root, 10 GB of disk, and Debian's packages buildah, debootstrap, iproute2, curl and jq. The build reads
# Debian's archive (MIRROR) and pip's index; pip's own settings on this machine are those of the build, and must find
# a CPU build of PyTorch. The base is a stand-in for the one that the Dockerfile names: Debian's own Python, put
# where the official image has it.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

# The archive that this machine's own packages come from.
readonly MIRROR=${MIRROR:-$(apt-get indextargets --format "\$(REPO_URI)" | head -n 1)}
readonly REBUILD=${REBUILD:-1}
readonly ADDRESS=http://127.0.0.1:8000
readonly LARGEST_MB=1600
readonly READY_WITHIN_S=60
readonly STOPPED_WITHIN_S=10
readonly NEEDED=(buildah debootstrap unshare nsenter setpriv ip curl jq)
readonly FORBIDDEN=(gcc cc c++ g++ cpp clang make cmake ld as rustc pip pip3)
# Graphene's two inner rings, as README.md posts them.
readonly GRAPHENE='{"points": [
  [0.469, 0, 1.0], [0.235, 0.407, 1.0], [-0.235, 0.407, 1.0],
  [-0.469, 0, 1.0], [-0.235, -0.407, 1.0], [0.235, -0.407, 1.0],
  [0, 0.813, 0.89], [0.704, 0.407, 0.89], [0.704, -0.407, 0.89],
  [0, -0.813, 0.89], [-0.704, -0.407, 0.89], [-0.704, 0.407, 0.89]], "voltage_kv": 80, "top_k": 3}'

main() {
    need_tools
    open_workplace
    if [[ $REBUILD != 0 ]] || ! builder inspect --type image dd2d-server >/dev/null 2>&1; then
        make_base
        build_image
    fi
    unpack_image
    tell_size
    check_files
    start_container "$(setting DD2D_INDEX)" "start to ready"
    check_confinement
    check_answers
    check_commands
    stop_container
    start_container /srv/indexes/mine "start to ready, index of the volume"
    check_graphene "index of the volume answers graphene"
    stop_container
    tell "$((FAILURES)) failed"
    ((FAILURES == 0))
}

need_tools() {
    local tool
    for tool in "${NEEDED[@]}"; do
        command -v "$tool" >/dev/null || { echo "$tool is missing; the head of $0 says what is needed" >&2; exit 2; }
    done
    [[ $EUID == 0 ]] || { echo "root is needed: chroot and mounts" >&2; exit 2; }
}

open_workplace() {
    FAILURES=0 CONTAINER="" INIT="" KEPT=${WORK:-}
    WORK=$(realpath "${WORK:-$(mktemp -d /var/tmp/dd2d-image.XXXXXX)}")
    mkdir -p "$WORK/tmp"
    readonly ANSWER=$WORK/tmp/answer.json
    export TMPDIR=$WORK/tmp BUILDAH_ISOLATION=chroot
    trap clean_up EXIT
    trap 'exit 130' INT TERM
}

# What runs is ended, what was unpacked goes; a folder that was given keeps its images.
clean_up() {
    [[ -z $INIT ]] || kill -KILL "$INIT" 2>/dev/null || true
    builder rm --all >/dev/null 2>&1 || true
    # What a build that was killed has left mounted.
    findmnt --raw --noheadings --output TARGET | grep "^$WORK/" | tac | xargs --no-run-if-empty umount --lazy || true
    if [[ -n $KEPT ]]; then
        rm -rf --one-file-system "$WORK/tmp" "$WORK/volume"
    else
        rm -rf --one-file-system "$WORK"
    fi
}

# STORAGE_DRIVER=vfs where the kernel lets no overlay be mounted: each layer is then a full copy.
builder() {
    nice -n 10 buildah ${STORAGE_DRIVER:+--storage-driver "$STORAGE_DRIVER"} \
        --root "$WORK/storage" --runroot "$WORK/run" "$@"
}

now_ms() { echo $((${EPOCHREALTIME/[.,]/} / 1000)); }

seconds() { printf '%d.%02d s' $(($1 / 1000)) $(($1 % 1000 / 10)); }

tell() { printf '%-52s %s\n' "$1" "${2:-}"; }

# check WHAT COMMAND...: the command's success decides; its output is told where it fails.
check() {
    local what=$1 said
    shift
    if said=$("$@" 2>&1); then
        tell "$what" yes
    else
        FAILURES=$((FAILURES + 1))
        tell "$what" NO
        printf '%s\n' "$said" | tail -n 20 >&2
    fi
}

base_name() { sed -n 's/^ARG BASE=//p' Dockerfile; }

make_base() {
    local name root container
    name=docker.io/library/$(base_name)
    ! builder inspect --type image "$name" >/dev/null 2>&1 || return 0
    echo "== base: a stand-in for $name" >&2
    root=$WORK/tmp/base
    debootstrap --variant=minbase --include=python3-venv bookworm "$root" "$MIRROR" >"$WORK/debootstrap.log" ||
        { tail "$WORK/debootstrap.log" >&2; exit 1; }
    resemble_official "$root"
    container=$(builder from scratch)
    builder add --quiet "$container" "$root" / >/dev/null
    builder config --env PATH=/usr/local/bin:/usr/bin:/usr/sbin:/bin --cmd python3 "$container"
    builder commit --quiet --rm "$container" "$name" >/dev/null
    rm -rf --one-file-system "$root"
}

# As the official image: Python and pip in /usr/local, the standard library uncompiled, no manuals, no lists of apt.
resemble_official() {
    local root=$1 name wheel
    for name in python python3 python3.11; do
        ln -s /usr/bin/python3.11 "$root/usr/local/bin/$name"
    done
    rm "$root/usr/lib/python3.11/EXTERNALLY-MANAGED"
    wheel=$(echo "$root"/usr/share/python-wheels/pip-*.whl)
    chroot "$root" env --ignore-environment PATH=/usr/local/bin:/usr/bin "PYTHONPATH=${wheel#"$root"}" \
        python3 -m pip install --quiet --root-user-action ignore --no-index \
        --find-links /usr/share/python-wheels pip setuptools
    rm -rf "$root"/usr/share/{doc,man,locale,info} "$root"/var/lib/apt/lists/* "$root"/var/cache/apt/*
    find "$root/usr" -depth -name __pycache__ -exec rm -r {} +
}

# pip's settings here, as one file for the build, and the local files and indexes that they name as its volumes.
take_pip_settings() {
    local word
    {
        echo "[global]"
        python3 -m pip config list | sed -n "s/^\(global\|:env:\)\.\([^=]*\)='\(.*\)'$/\2 = \3/p" |
            sed 's/\\n/ /g' | tac | awk -F' = ' '!seen[$1]++'
    } >"$WORK/tmp/pip.conf"
    PIP_VOLUMES=(--volume "$WORK/tmp/pip.conf:/etc/pip.conf:ro")
    while read -r word; do
        # An index refers to files beside itself.
        [[ $word != file://* ]] || word=$(dirname "${word#file://}")
        [[ $word != /* || ! -e $word ]] || PIP_VOLUMES+=(--volume "$word:$word:ro")
    done < <(sed -n 's/^[^=]* = //p' "$WORK/tmp/pip.conf" | tr ' ' '\n' | sort -u)
}

build_image() {
    local began
    take_pip_settings
    echo "== build: $WORK/build.log" >&2
    began=$(now_ms)
    builder bud --format docker --pull-never "${PIP_VOLUMES[@]}" --tag dd2d-server \
        --build-arg REVISION="$(git rev-parse HEAD 2>/dev/null || echo unknown)" . >"$WORK/build.log" 2>&1 ||
        { tail -n 40 "$WORK/build.log" >&2; exit 1; }
    tell "time to build" "$(seconds $(($(now_ms) - began)))"
}

unpack_image() {
    local user
    CONTAINER=$(builder from --pull-never dd2d-server)
    ROOT=$(builder mount "$CONTAINER")
    readonly DOC=$ROOT/usr/share/doc/dd2d-server
    CONFIG=$(builder inspect --type image dd2d-server | jq .Docker.config)
    mapfile -t ENVIRONMENT < <(jq -r '.Env[]' <<<"$CONFIG")
    mapfile -t COMMAND < <(jq -r '.Entrypoint[], .Cmd[]' <<<"$CONFIG")
    mapfile -t HEALTHCHECK < <(jq -r '.Healthcheck.Test[1:][]' <<<"$CONFIG")
    user=$(jq -r .User <<<"$CONFIG")
    USER_ID=${user%%:*} GROUP_ID=${user##*:}
    # A new volume has the owner of the folder that it covers.
    rm -rf "$WORK/volume"
    cp -a "$ROOT/srv/indexes" "$WORK/volume"
}

setting() { printf '%s\n' "${ENVIRONMENT[@]}" | sed -n "s/^$1=//p"; }

size_mb() { du -s --block-size=1000000 "$1" | cut -f1; }

tell_size() {
    local size
    size=$(size_mb "$ROOT")
    tell "unpacked size" "$size MB"
    tell "  of which Python packages and weights" "$(size_mb "$ROOT/opt/dd2d") MB"
    tell "  of which starter index" "$(du -sk "$ROOT/srv/starter" | cut -f1) kB"
    tell "layers: base, ours (one to a stage as built here)" \
        "$(builder inspect --type image dd2d-server | jq '.Docker.rootfs.diff_ids | length')"
    check "under $LARGEST_MB MB" test "$size" -lt "$LARGEST_MB"
}

none_found() {
    local found
    found=$(find "$ROOT" -xdev "$@" -print)
    [[ -z $found ]] || { echo "$found"; return 1; }
}

check_files() {
    local name alternatives=(-false)
    for name in "${FORBIDDEN[@]}"; do
        alternatives+=(-o -name "$name" -o -name "$name-[0-9]*" -o -name "*-linux-gnu-$name")
    done
    check "no compiler, no pip" none_found -path '*/bin/*' ! -type d \( "${alternatives[@]}" \)
    check "no pip to import" none_found -type d -path '*/*-packages/pip'
    check "no CUDA libraries" none_found \( -path '*/site-packages/nvidia*' -o -name 'libcud*.so*' \
        -o -name 'libcublas*' -o -name 'libnccl*' -o -name 'libtorch_cuda*' -o -name 'libc10_cuda*' \)
    check "bill of materials lists what is installed" bill_is_complete
    check "notices contain the licenses" grep --quiet --fixed-strings "torch 2." "$DOC/THIRD_PARTY_NOTICES"
    # But for empty files: the mount points of pip's settings, which only this way of building leaves.
    check "no leftovers of the build" none_found ! -empty \
        \( -path '*/etc/pip.conf' -o -path '*/srv/build' -o -path '*/root/.cache' \)
    check "no file that its user may change, but the volume" none_found ! -type l \
        \( -user "$USER_ID" -o -perm -o+w \) ! -path "$ROOT/srv/indexes" ! -path "$ROOT/dev/*" \
        ! -path "$ROOT/tmp" ! -path "$ROOT/var/tmp" ! -path "$ROOT/run/lock"
}

# The Python distributions of the image's own folder; the packages of the base are listed by dpkg.
bill_is_complete() {
    diff <(jq -r '.metadata.component, .components[] | .purl | select(startswith("pkg:pypi/")) | ltrimstr("pkg:pypi/")' \
        "$DOC/sbom.cdx.json" | cut -d@ -f1 | sort) \
        <(find "$ROOT/opt/dd2d" -name '*.dist-info' -printf '%f\n' | cut -d- -f1 | tr 'A-Z_.' 'a-z--' | sort)
}

# In namespaces of its own: the image's root read-only, /tmp and the volume writable, no network but loopback, and the
# image's user without any capability. What runs is process 1, which is the harder case for signals.
enter_container() {
    local root=$1 volume=$2 user=$3 group=$4 device
    shift 4
    mount --bind "$root" "$root"
    mount -o remount,bind,ro "$root"
    mount -t proc -o nosuid,nodev,noexec proc "$root/proc"
    mount -t tmpfs -o nosuid,mode=755,size=64k tmpfs "$root/dev"
    for device in null zero full random urandom; do
        : >"$root/dev/$device"
        mount --bind "/dev/$device" "$root/dev/$device"
    done
    mkdir "$root/dev/shm"
    mount -t tmpfs -o nosuid,nodev,noexec,mode=1777,size=64m tmpfs "$root/dev/shm"
    mount -t tmpfs -o nosuid,nodev,noexec,mode=1777,size=64m tmpfs "$root/tmp"
    mount --bind "$volume" "$root/srv/indexes"
    ip link set lo up
    exec chroot "$root" setpriv --reuid "$user" --regid "$group" --clear-groups --inh-caps=-all --bounding-set=-all \
        --no-new-privs -- env --ignore-environment --chdir=/srv "$@"
}

start_container() {
    local index=$1 what=$2 began
    began=$(now_ms)
    unshare --mount --propagation private --net --pid --ipc --uts --fork --kill-child -- \
        bash -euo pipefail -c "$(declare -f enter_container); enter_container \"\$@\"" - \
        "$ROOT" "$WORK/volume" "$USER_ID" "$GROUP_ID" "${ENVIRONMENT[@]}" "DD2D_INDEX=$index" "${COMMAND[@]}" \
        >"$WORK/service.log" 2>&1 &
    INIT=$!
    until SERVICE=$(cat "/proc/$INIT/task/$INIT/children" 2>/dev/null) && SERVICE=${SERVICE% } && [[ -n $SERVICE ]] &&
        ask --fail --output /dev/null "$ADDRESS/readyz" 2>/dev/null; do
        if (($(now_ms) - began > READY_WITHIN_S * 1000)) || ! kill -0 "$INIT" 2>/dev/null; then
            echo "ended, or not ready within $READY_WITHIN_S s:" >&2
            tail -n 20 "$WORK/service.log" >&2
            exit 1
        fi
        sleep 0.02
    done
    tell "$what" "$(seconds $(($(now_ms) - began)))"
}

# curl of this machine, in the container's network.
ask() { nsenter --target "$SERVICE" --net -- curl --silent --show-error "$@"; }

# A command in the running container, as its user.
inside() {
    nsenter --target "$SERVICE" --mount --net --pid --ipc --uts --root -- \
        setpriv --reuid "$USER_ID" --regid "$GROUP_ID" --clear-groups --inh-caps=-all --bounding-set=-all \
        --no-new-privs -- env --ignore-environment --chdir=/srv/indexes "${ENVIRONMENT[@]}" "$@"
}

refused() { ! "$@"; }

status_is() { grep -Eq "^$1:\s+$2\b" "/proc/$SERVICE/status" || { grep "^$1:" "/proc/$SERVICE/status"; return 1; }; }

only_loopback() { [[ $(nsenter --target "$SERVICE" --net -- ip -oneline link | cut -d: -f2 | tr -d ' ') == lo ]]; }

user_is() { status_is Uid "$1\s+$1\s+$1" && status_is Gid "$1\s+$1\s+$1"; }

no_capabilities() {
    status_is CapEff 0+ && status_is CapPrm 0+ && status_is CapInh 0+ && status_is CapBnd 0+ && status_is NoNewPrivs 1
}

check_confinement() {
    check "runs as user and group 10001" user_is 10001
    check "no capabilities, nor a way to any" no_capabilities
    check "root is read-only" inside python -c "import os; assert os.statvfs('/').f_flag & os.ST_RDONLY"
    check "network is off" only_loopback
}

check_graphene() { check "$1" graphene_first; }

# Of the starter's carbons only graphene has this cell.
graphene_first() {
    local first='.candidates[0] | .formula == "C" and (.lattice.a - 2.46 | fabs) < 0.03'
    ask --fail "$ADDRESS/predict" --header 'Content-Type: application/json' --data "$GRAPHENE" >"$ANSWER" &&
        jq --exit-status "$first" "$ANSWER"
}

check_answers() {
    local began
    check_graphene "answers graphene"
    tell "  first candidate" "$(jq -r '.candidates[0] | "\(.id), similarity \(.similarity)"' "$ANSWER")"
    check "health check succeeds" inside "${HEALTHCHECK[@]:?none in the image}"
    check "health check fails where nothing listens" refused inside env DD2D_PORT=1 "${HEALTHCHECK[@]}"
    began=$(now_ms)
    inside "${HEALTHCHECK[@]}" && tell "  one health check" "$(seconds $(($(now_ms) - began)))"
    began=$(now_ms)
    inside python -c 'import torch' && tell "  importing PyTorch alone" "$(seconds $(($(now_ms) - began)))"
}

# What an operator runs in it, as its user.
check_commands() {
    local files=/srv/indexes/files command
    mkdir "$WORK/volume/files"
    cp docs/examples/mos2.cif "$WORK/volume/files"
    chown -R "$USER_ID:$GROUP_ID" "$WORK/volume/files"
    for command in --version --help "train --help" "evaluate --help"; do
        # shellcheck disable=SC2086  # words of one command
        check "dd2d $command" inside dd2d $command
    done
    check "optimisers step, as in dd2d train" inside python -c \
        "import torch; torch.optim.AdamW([torch.nn.Parameter(torch.zeros(1))]).step()"
    check "dd2d simulate" inside dd2d simulate $files/mos2.cif --out $files/mos2.png --pixel-size 0.005
    check "dd2d predict" inside dd2d predict $files/mos2.png --pixel-size 0.005 --elements-only Mo,S --format table
    check "dd2d inspect" inside dd2d inspect $files/mos2.png --pixel-size 0.005
    check "dd2d calibrate" inside dd2d calibrate $files/mos2.png --material MoS2 --name camera
    check "dd2d index build, into the volume" inside dd2d index build starter $files/mos2.cif --out /srv/indexes/mine
    check "dd2d index info" inside dd2d index info /srv/indexes/mine
    check "dd2d index verify" inside dd2d index verify /srv/indexes/mine
}

# What a process and all below it have at most held, each counted by itself.
memory_mb() {
    local child total
    total=$(awk '/^VmHWM/ { print int($2 / 1000) }' "/proc/$1/status")
    while read -r child; do
        total=$((total + $(memory_mb "$child")))
    done < <(cat "/proc/$1/task/"*/children | tr -s ' ' '\n')
    echo "$total"
}

stop_container() {
    local began status=0
    tell "  memory of service and workers" "$(memory_mb "$SERVICE") MB"
    began=$(now_ms)
    kill -TERM "$SERVICE"
    timeout "$STOPPED_WITHIN_S" tail --pid="$SERVICE" --sleep-interval=0.05 -f /dev/null || true
    check "stops on SIGTERM within $STOPPED_WITHIN_S s" refused kill -0 "$SERVICE"
    kill -KILL "$SERVICE" 2>/dev/null || true
    wait "$INIT" || status=$?
    tell "  stopped in, exit status" "$(seconds $(($(now_ms) - began))), $status"
    INIT=""
}

main
