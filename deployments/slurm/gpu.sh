#!/bin/bash
# One job of StreamFlow on a GPU slot, in the learn image. The service in streamflow.yml exports
# CLAIRE_IMAGE (the SIF file) and CLAIRE_BIND (the folder that holds StreamFlow's workdir and the store).
set -euo pipefail
export PATH=/usr/local/bin:/usr/bin:/bin
apptainer --quiet exec --nv --cleanenv --no-home --network none --bind "$CLAIRE_BIND" "$CLAIRE_IMAGE" bash -s <<'STREAMFLOW'
{{ streamflow_command }}
STREAMFLOW
