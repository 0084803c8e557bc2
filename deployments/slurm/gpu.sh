#!/bin/bash
# One job of StreamFlow on a GPU slot, in the learn image. The service in streamflow.yml exports CLAIRE_IMAGE (the SIF
# file) and CLAIRE_BIND: the one folder that jobs see, which holds StreamFlow's workdir and the store and nothing else.
# Nobody else may enter it: StreamFlow makes its job folders with mode 777.
set -euo pipefail
export PATH=/usr/local/bin:/usr/bin:/bin
umask 077
chmod go-rwx "$CLAIRE_BIND"
# Temporary files stay on the node, in CLAIRE_TMP (/tmp): StreamFlow's TMPDIR is a folder of the shared file system.
temporary=$(mktemp -d "${CLAIRE_TMP:-/tmp}/claire.XXXXXX")
trap 'rm -rf "$temporary"' EXIT
apptainer --quiet exec --nv --cleanenv --no-home --network none --bind "$temporary:/tmp" --bind "$CLAIRE_BIND" \
    "$CLAIRE_IMAGE" bash -s <<'STREAMFLOW'
{{ streamflow_command | replace("export TMPDIR=", "export STREAMFLOW_TMPDIR=") }}
STREAMFLOW
