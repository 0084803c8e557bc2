#!/usr/bin/env bash
# The smoke configuration through the hybrid (pods, SSH, SLURM, Apptainer), compared with the local run.
# Uses the test cluster $CLAIRE_CLUSTER (default: ../shared/cluster/cluster), builds the images and loads them. Or uses the
# cluster it is given: KUBECONFIG, CLUSTER_SSH_HOST, CLUSTER_SSH_USER, CLUSTER_SSH_KEY, and CLAIRE_SIF, the learn image
# there; the data image must be at hand for the pods, and this machine's folder demo/cluster/data at the node.
set -euo pipefail
cd "$(dirname "$0")/../../.."
version=$(claire --version)
work=$PWD/demo/cluster
base=docker.io/library/debian:bookworm-slim
mkdir -p "$work"

say() { echo "cluster-test: $* ($((SECONDS)) s)"; }

build() { # build ROLE: an image of the checkout, with this machine's CA bundle and pip settings in the build alone
    local options=(--network host -v /etc/ssl/certs:/etc/ssl/certs:ro)
    [[ -f /etc/pip.conf ]] && options+=(-v /etc/pip.conf:/etc/pip.conf:ro)
    podman build --quiet "${options[@]}" --build-arg "BASE_IMAGE=$base" \
        -f "deployments/images/$1.Containerfile" -t "localhost/claire-$1:$version" . >"$work/build-$1.log"
    podman image inspect --format '{{.Id}}' "localhost/claire-$1:$version"
}

if [[ -z ${CLUSTER_SSH_HOST:-} ]]; then
    cluster=${CLAIRE_CLUSTER:-../shared/cluster/cluster}
    [[ -x $cluster ]] || { echo "cluster-test: there is no $cluster; set CLAIRE_CLUSTER, or KUBECONFIG and CLUSTER_SSH_*"; exit 1; }
    say "starting the test cluster"
    "$cluster" up
    eval "$("$cluster" env)"
    say "building the images"
    build data >/dev/null
    learn_image=$(build learn)
    say "loading the images"
    "$cluster" load "localhost/claire-data:$version"
    CLAIRE_SIF=/home/$CLUSTER_SSH_USER/claire-learn.sif
    # Minutes of work, so the same image is not packed twice.
    if [[ ! -f $CLAIRE_SIF || $(cat "$CLAIRE_SIF.id" 2>/dev/null) != "$learn_image" ]]; then
        rm -f "$CLAIRE_SIF.id"
        "$cluster" sif "localhost/claire-learn:$version" "$CLAIRE_SIF"
        echo "$learn_image" >"$CLAIRE_SIF.id"
    fi
    chmod 644 "$CLAIRE_SIF"
fi

say "making the cohort"
rm -rf "$work/data" "$work/results"
claire phantom --preset tiny --seed 1 --out "$work/data" --threads "$(nproc)"
rm -rf "$work/data/truth"
chmod -R a+rX "$work/data"

kubectl create namespace claire --dry-run=client -o yaml | kubectl apply -f - >/dev/null
# A deployment of an interrupted run would be taken for ours.
kubectl -n claire delete deployment,pvc claire-data --ignore-not-found --wait --timeout=120s >/dev/null
kubectl delete pv claire-data --ignore-not-found --wait --timeout=60s >/dev/null
kubectl apply -f - >/dev/null <<YAML
apiVersion: v1
kind: PersistentVolume
metadata: {name: claire-data}
spec: {capacity: {storage: 1Gi}, accessModes: [ReadOnlyMany], hostPath: {path: "$work/data"}, storageClassName: claire-data,
  persistentVolumeReclaimPolicy: Retain, claimRef: {namespace: claire, name: claire-data}}
YAML

say "running the hybrid"
python tests/workflow/cluster/site.py --sif "$CLAIRE_SIF" --work "$work" >streamflow.cluster-test.yml
streamflow run --outdir "$work/results" streamflow.cluster-test.yml >"$work/streamflow.log" 2>&1 ||
    { tail -n 60 "$work/streamflow.log"; exit 1; }
rm streamflow.cluster-test.yml
kubectl delete pv claire-data --wait=false >/dev/null

say "running the same locally"
[[ -d $work/local ]] && rm -rf "$work/local"
python tests/workflow/cluster/site.py --local --work "$work" >"$work/local.yml"
cwltool --no-container --relax-path-checks --parallel --outdir "$work/local" cwl/main.cwl "$work/local.yml" \
    >"$work/local.json" 2>"$work/local.log" || { tail -n 60 "$work/local.log"; exit 1; }

claire compare --left "$work/local" --right "$work/results"
say "the hybrid and the local run agree"

# Scans, masks and shard lists stay at the data site; the cohort is there, so the search looks in the right place.
at_hpc() { ssh -q -o BatchMode=yes -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null \
    -p "${CLUSTER_SSH_HOST##*:}" -i "$CLUSTER_SSH_KEY" "$CLUSTER_SSH_USER@${CLUSTER_SSH_HOST%%:*}" "$@"; }
[[ -n $(at_hpc "find streamflow -name cohort.h5 -print -quit") ]] || { echo "cluster-test: no cohort.h5 at the HPC"; exit 1; }
strays=$(at_hpc "find streamflow -name '*.scans.zip' -o -name '*.lungs.zip' -o -name '*.prepared.h5' -o -name '*.shard.jsonl' \
    -o -name '*.dcm' -o -name labels.csv -o -name key")
[[ -z $strays ]] || { echo "cluster-test: these should have stayed at the data site: $strays"; exit 1; }
say "no scan, mask, shard list, label table or key crossed to SLURM"
