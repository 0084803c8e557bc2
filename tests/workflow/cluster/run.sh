#!/usr/bin/env bash
# The smoke configuration through the hybrid (pods, SSH, SLURM, Apptainer), compared with the local run.
# Uses the test cluster $CLAIRE_CLUSTER (default: ../shared/cluster/cluster), builds the images and loads them. Or uses the
# cluster it is given: KUBECONFIG, CLUSTER_SSH_HOST, CLUSTER_SSH_USER, CLUSTER_SSH_KEY, and CLAIRE_SIF, the learn image
# there; the data image must be at hand for the pods, and this machine's folder demo/cluster/tmp/data at the node. It then
# takes the namespace `claire`, the volume `claire-data` and, at the HPC, the folder ~/claire-cluster-test. On a given
# cluster it refuses a namespace or volume of these names that no such test made.
set -euo pipefail
cd "$(dirname "$0")/../../.."
version=$(claire --version)
work=$PWD/demo/cluster
mark=made-by=claire-cluster-test
given=${CLUSTER_SSH_HOST:-}
mkdir -p "$work"

say() { echo "cluster-test: $* ($((SECONDS)) s)"; }
fail() { echo "cluster-test: $*"; exit 1; }

if [[ -z $given ]]; then
    cluster=${CLAIRE_CLUSTER:-../shared/cluster/cluster}
    [[ -x $cluster ]] || fail "there is no $cluster; set CLAIRE_CLUSTER, or KUBECONFIG and CLUSTER_SSH_*"
    say "starting the test cluster"
    "$cluster" up
    eval "$("$cluster" env)"
    say "building the images"
    CLAIRE_SIF=/home/$CLUSTER_SSH_USER/claire-learn.sif
    SIF=$CLAIRE_SIF tests/workflow/images.sh
    say "loading the images"
    "$cluster" load "localhost/claire-data:$version"
    chmod 644 "$CLAIRE_SIF"
fi

say "removing what an earlier test left"
foreign=$(kubectl get namespace,pv -l "${mark/=/!=}" -o name | grep -xE 'namespace/claire|persistentvolume/claire-data' || true)
[[ -z $given || -z $foreign ]] ||
    fail "${foreign//$'\n'/ } was not made by this test: give a cluster without a site of the pipeline"
# The folder behind the volume may be another checkout's.
[[ -z $(kubectl get pv claire-data --ignore-not-found -o name) ]] ||
    kubectl patch pv claire-data --patch '{"spec": {"persistentVolumeReclaimPolicy": "Retain"}}' >/dev/null
kubectl delete namespace claire --ignore-not-found --wait --timeout=180s >/dev/null
kubectl delete pv claire-data --ignore-not-found --wait --timeout=60s >/dev/null

say "making the cohort"
rm -rf "$work/tmp" "$work/results"* "$work/streamflow.db"
claire phantom --preset tiny --seed 1 --out "$work/tmp/data" --threads "$(nproc)"
rm -rf "$work/tmp/data/truth"
chmod -R a+rX "$work/tmp/data"
checksums() { (cd "$work/tmp/data" && find . -type f -print0 | sort -z | xargs -0 sha256sum); }
checksums >"$work/data.sha256"
objects() { # the site's objects by their UID, which an object made anew does not have
    kubectl -n claire get pv/claire-data pvc/claire-data deployment/claire-data \
        -o 'jsonpath={range .items[*]}{.kind} {.metadata.uid} {.status.phase}{"\n"}{end}'
}
unchanged() { # unchanged WHEN: every byte of the site's data is as it was, and so are volume, claim and Deployment
    diff <(checksums) "$work/data.sha256" >/dev/null || fail "the source data changed $1"
    diff <(objects) "$work/objects" || fail "volume, claim or Deployment changed $1"
}

say "setting up the site"
# A volume whose data go with its claim, as dynamic provisioners make them. Kubernetes deletes below /tmp/ alone.
kubectl apply -f - >/dev/null <<YAML
apiVersion: v1
kind: PersistentVolume
metadata: {name: claire-data, labels: {${mark/=/: }}}
spec: {capacity: {storage: 1Gi}, accessModes: [ReadOnlyMany], hostPath: {path: "$work/tmp/data"}, storageClassName: claire-data,
  persistentVolumeReclaimPolicy: Delete, claimRef: {namespace: claire, name: claire-data}}
YAML
kubectl apply -k deployments/kubernetes/site >/dev/null
kubectl label namespace claire "$mark" >/dev/null
kubectl -n claire rollout status deployment claire-data --timeout=180s >/dev/null
objects >"$work/objects"
at_hpc() { ssh -q -o BatchMode=yes -o UserKnownHostsFile="$home/.ssh/known_hosts" \
    -p "${CLUSTER_SSH_HOST##*:}" -i "$CLUSTER_SSH_KEY" "$CLUSTER_SSH_USER@${CLUSTER_SSH_HOST%%:*}" "$@"; }
# StreamFlow looks for the login node's key where every user has it.
home=$work/home
mkdir -p "$home/.ssh" && cp "${CLUSTER_SSH_KNOWN_HOSTS:-$HOME/.ssh/known_hosts}" "$home/.ssh/known_hosts"
# Results in a store are read-only.
at_hpc "[ ! -d claire-cluster-test ] || chmod -R u+rwX claire-cluster-test; rm -rf claire-cluster-test
    mkdir -m 700 claire-cluster-test"
python tests/workflow/cluster/site.py --sif "$CLAIRE_SIF" --work "$work" >streamflow.cluster-test.yml
hybrid() { # hybrid NAME: one run of the hybrid into results-NAME
    HOME=$home streamflow run --outdir "$work/results-$1" streamflow.cluster-test.yml >"$work/streamflow-$1.log" 2>&1
}

say "a run that is refused"
sed -i.good 's/learning_rate/lerning_rate/' "$work/grid.yml"
! hybrid refused || fail "a misspelt key of the grid was not refused"
grep -q "FAILED Step /plan" "$work/streamflow-refused.log" || fail "the run failed for another reason than its grid"
mv "$work/grid.yml.good" "$work/grid.yml"
unchanged "by a run that was refused"

for run in first second; do
    say "running the hybrid, the $run time"
    hybrid $run || { tail -n 60 "$work/streamflow-$run.log"; exit 1; }
    unchanged "by the $run run"
done
rm streamflow.cluster-test.yml

say "running the same locally"
[[ -d $work/local ]] && rm -rf "$work/local"
python tests/workflow/cluster/site.py --local --work "$work" >"$work/local.yml"
cwltool --no-container --relax-path-checks --parallel --outdir "$work/local" cwl/main.cwl "$work/local.yml" \
    >"$work/local.json" 2>"$work/local.log" || { tail -n 60 "$work/local.log"; exit 1; }

for run in first second; do claire compare --left "$work/local" --right "$work/results-$run"; done
say "both runs of the hybrid and the local run agree"

# Scans, masks and shard lists stay at the data site; the cohort is there, so the search looks in the right place.
[[ -n $(at_hpc "find claire-cluster-test/work -name cohort.h5 -print -quit") ]] || fail "no cohort.h5 at the HPC"
strays=$(at_hpc "find claire-cluster-test/work -name '*.scans.zip' -o -name '*.lungs.zip' -o -name '*.prepared.h5' -o -name '*.shard.jsonl' \
    -o -name '*.dcm' -o -name labels.csv -o -name key -o -name scans.csv -o -name metrics.json")
[[ -z $strays ]] || fail "these should have stayed at the data site: $strays"
say "no scan, mask, shard list, label table, key, table of scans or metrics crossed to SLURM"

[[ -n $(at_hpc "find claire-cluster-test/store -name '*.run.json' -print -quit") ]] || fail "no result in the store"
open=$(at_hpc "find claire-cluster-test -maxdepth 0 -perm /077; find claire-cluster-test/store -perm /077
    find claire-cluster-test/work -type f -name '*.run.*' -perm /077; find /tmp -maxdepth 1 -user \$USER -name 'claire.*'")
[[ -z $open ]] || fail "open to others, or left in /tmp, at the HPC: $open"
say "nobody else may enter the jobs' folder and the store, and no job left files in /tmp"

model=$(echo "$work"/local/*.model.zip)
python tests/workflow/cluster/site.py --sif "$CLAIRE_SIF" --work "$work" --predict "$model" >streamflow.cluster-test.yml
HOME=$home streamflow run --outdir "$work/results-predict" streamflow.cluster-test.yml >"$work/streamflow-predict.log" 2>&1 ||
    { tail -n 60 "$work/streamflow-predict.log"; exit 1; }
rm streamflow.cluster-test.yml
claire predict "$model" "$work/tmp/data/source" --key "$work/tmp/data/key" --no-lesions --out "$work/results-predict-here" \
    >"$work/predict.log" 2>&1 || { tail -n 60 "$work/predict.log"; exit 1; }
cmp "$work/results-predict/predictions.csv" "$work/results-predict-here/tables/predictions.csv"
[[ -s $work/results-predict/index.html ]] || fail "no page of new patients"
unchanged "by new patients"
say "new patients are predicted at the hybrid as here"
