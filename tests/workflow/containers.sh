#!/usr/bin/env bash
# The smoke configuration in containers, by an ordinary user: `cwltool --podman` (rootless Podman), compared with a run
# without containers. As root it makes a user for the time of the test; anybody else runs it as they are, on images of
# their own (`make images`). Needs podman, newuidmap (uidmap) and fuse-overlayfs.
set -euo pipefail
cd "$(dirname "$0")/../.."
version=$(claire --version)
images=("localhost/claire-data:$version" "localhost/claire-learn:$version")
work=$PWD/demo/containers
engines=$(dirname "$(command -v cwltool)")

say() { echo "containers-test: $* ($SECONDS s)"; }
fail() { echo "containers-test: $*"; exit 1; }
for program in podman newuidmap fuse-overlayfs; do
    command -v "$program" >/dev/null || fail "$program is missing: apt-get install podman uidmap fuse-overlayfs"
done
rm -rf "$work"
mkdir -p "$work"

if ((UID)); then
    user=$(id -un) home=$work/home
    mkdir "$home"
    for image in "${images[@]}"; do podman image exists "$image" || fail "you have no $image: make images"; done
    ordinary() { (cd "$home" && "$@"); }
else
    user=claire-containers home=/home/claire-containers
    tests/workflow/images.sh
    remove() { # the user with all that is theirs, the process included that rootless Podman leaves running
        local pause
        if pause=$(cat "$home/run/libpod/tmp/pause.pid" 2>/dev/null); then kill "$pause" 2>/dev/null || true; fi
        userdel --force "$user" 2>/dev/null || true
        rm -rf "$home"
    }
    remove
    useradd --create-home --shell /bin/bash "$user"
    trap 'wait; remove' EXIT
    runuser -u "$user" -- test -r "$engines/cwltool" || fail "$engines is closed to other users: use a checkout that is not"
    chmod 666 /dev/fuse
    ordinary() { # ordinary COMMAND...: as the user. An interpreter of the engine that lies where they may not go, as
        # below /root, is shown to them alone, in a mount namespace in which nothing else is there.
        # shellcheck disable=SC2016
        unshare --mount bash -euc '
            user=$1 home=$2 engines=$3; shift 3
            prefix=$("$engines/python" -c "import sys; print(sys.base_prefix)")
            if ! runuser -u "$user" -- test -r "$prefix/bin"; then
                mkdir -p "$home/prefix" && mount --bind "$prefix" "$home/prefix"
                mount -t tmpfs -o mode=755 tmpfs "/$(cut -d / -f 2 <<<"$prefix")"
                mkdir -p "$prefix" && mount --bind "$home/prefix" "$prefix"
            fi
            cd "$home"
            exec runuser -u "$user" -- env -i HOME="$home" XDG_RUNTIME_DIR="$home/run" PATH="$engines:/usr/bin:/bin" "$@"
        ' - "$user" "$home" "$engines" "$@"
    }
    mkdir -p "$home/.config/containers" && mkdir -m 700 "$home/run"
    printf '[engine]\ncgroup_manager = "cgroupfs"\n' >"$home/.config/containers/containers.conf"
    printf '[storage]\ndriver = "overlay"\n[storage.options.overlay]\nmount_program = "%s"\n' "$(command -v fuse-overlayfs)" \
        >"$home/.config/containers/storage.conf"
fi
claire phantom --preset tiny --seed 1 --out "$home/demo/smoke" --threads "$(nproc)"
cp -r cwl configs "$home/"

# The run that it is compared with needs processors, and the images need the disk.
cwltool --no-container --relax-path-checks --parallel --outdir "$work/local" "$home/cwl/main.cwl" "$home/configs/smoke.yml" \
    >"$work/local.json" 2>"$work/local.log" &
local=$!
if ! ((UID)); then
    podman save --quiet --multi-image-archive --output "$home/images.tar" "${images[@]}"
    chown -R "$user:" "$home"
    ordinary podman load --quiet --input images.tar >/dev/null 2>"$work/load.log" || { cat "$work/load.log"; exit 1; }
    rm "$home/images.tar"
    say "$user has the images"
fi
wait "$local" || { tail -n 60 "$work/local.log"; exit 1; }
started=$SECONDS
ordinary cwltool --podman --relax-path-checks --parallel --outdir results cwl/main.cwl configs/smoke.yml \
    >"$work/containers.json" 2>"$work/containers.log" || { tail -n 60 "$work/containers.log"; exit 1; }
say "$user ran main.cwl in containers, $((SECONDS - started)) s"
cp -r "$home/results" "$work/results"
claire compare --left "$work/local" --right "$work/results"
say "the results are those of a run without containers"
