#!/bin/bash
# A template of StreamFlow (Jinja2): one job of a step in the learn image. The service in the site's file exports
#   CLAIRE_IMAGE    the SIF file
#   CLAIRE_BIND     the one folder that jobs see: it holds StreamFlow's workdir and the store and nothing else
#   CLAIRE_GPU      "required": a job that finds no GPU ends at once, and does not train on processors for days
#   CLAIRE_TMP      folder on the node for temporary files, /tmp by default
#   CLAIRE_DATA     a folder that jobs may read besides: where data steps run in SLURM too
#   CLAIRE_NETWORK  "host" where Apptainer may not make networks: jobs then have the node's
#   CLAIRE_MODULES  modules that make apptainer known, separated by blanks
# and `claire run` adds CLAIRE_RUN, the name of the run. The comment of a job says what it does: train:v12345678-f2.
# {%- set words = streamflow_command.replace('"', ' ').replace("'", ' ').split() %}
# {%- macro after(flag) %}{% if flag in words %}{{ words[words.index(flag) + 1].split('/')[-1].split('.')[0] }}{% endif %}{% endmacro %}
#SBATCH --comment={{ after('claire') }}:{{ after('--variant') or after('--weights') }}{% if '--variant' in words %}-f{{ after('--fold') }}{% endif %}
#SBATCH --requeue
set -euo pipefail
export PATH=/usr/local/bin:/usr/bin:/bin
umask 077
# Nobody else may enter: StreamFlow makes its job folders with mode 777.
chmod go-rwx "$CLAIRE_BIND"
if [ -n "${CLAIRE_MODULES:-}" ]; then
    set +u
    for script in /etc/profile.d/modules.sh /etc/profile.d/lmod.sh; do
        # shellcheck disable=SC1090 # where modules are set up
        [ -r "$script" ] && . "$script"
    done
    # shellcheck disable=SC2086 # several words
    module load $CLAIRE_MODULES
    set -u
fi
# What the steps say goes to the job's output and, for `claire run`, into a file of the run.
log=/dev/null
if [ -n "${CLAIRE_RUN:-}" ]; then
    mkdir -p "$CLAIRE_BIND/logs/$CLAIRE_RUN"
    log=$CLAIRE_BIND/logs/$CLAIRE_RUN/$SLURM_JOB_ID.log
fi
if [ "${CLAIRE_GPU:-}" = required ] && ! nvidia-smi --list-gpus | grep GPU >/dev/null; then
    echo "claire {{ after('claire') or 'job' }}: no GPU on $(hostname): nvidia-smi finds none" | tee -a "$log" >&2
    exit 1
fi
# Temporary files stay on the node: StreamFlow's TMPDIR is a folder of the shared file system.
temporary=$(mktemp -d "${CLAIRE_TMP:-/tmp}/claire.XXXXXX")
trap 'rm -rf "$temporary"' EXIT
more=()
[ "${CLAIRE_NETWORK:-none}" = host ] || more+=(--net --network none)
[ -z "${CLAIRE_DATA:-}" ] || more+=(--bind "$CLAIRE_DATA:$CLAIRE_DATA:ro")
# SLURM sends SIGTERM to all processes of the job. The step answers it and saves what it has; the shells wait for it: if
# they ended first, SLURM would kill the step at once.
trap '' TERM
apptainer --quiet exec --nv --containall --no-mount cwd,hostfs,bind-paths ${more[@]+"${more[@]}"} \
    --bind "$temporary:/tmp" --bind "$temporary:/var/tmp" --bind "$CLAIRE_BIND" --env "CLAIRE_LOG=$log" \
    "$CLAIRE_IMAGE" bash -s <<'STREAMFLOW'
{{ streamflow_command | replace("export TMPDIR=", "export STREAMFLOW_TMPDIR=") }}
STREAMFLOW
