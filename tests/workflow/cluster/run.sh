#!/usr/bin/env bash
# The smoke configuration through the hybrid (pods, SSH, SLURM, Apptainer), in quiet weather and with faults thrown in
# (faults.sh), compared with the local run. With FAULTS in the environment only these faults of faults.sh: `all` are they
# all, those too that make cluster-test leaves out for their time (make cluster-faults).
# Uses the test cluster $CLAIRE_CLUSTER (default: ../shared/cluster/cluster), builds the images and loads them. Or uses the
# cluster it is given: KUBECONFIG, CLUSTER_SSH_HOST, CLUSTER_SSH_USER, CLUSTER_SSH_KEY, and CLAIRE_SIF, the learn image
# there; the data image must be at hand for the pods, and this machine's folder demo/cluster/tmp/data at the node. It then
# takes the namespace `claire`, the volumes `claire-data` and `claire-private` and, at the HPC, the folder ~/claire-cluster-test. On a given
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
foreign=$(kubectl get namespace,pv -l "${mark/=/!=}" -o name | grep -xE 'namespace/claire|persistentvolume/claire-(data|private)' || true)
[[ -z $given || -z $foreign ]] ||
    fail "${foreign//$'\n'/ } was not made by this test: give a cluster without a site of the pipeline"
# The folder behind the volume may be another checkout's.
[[ -z $(kubectl get pv claire-data --ignore-not-found -o name) ]] ||
    kubectl patch pv claire-data --patch '{"spec": {"persistentVolumeReclaimPolicy": "Retain"}}' >/dev/null
kubectl delete namespace claire --ignore-not-found --wait --timeout=180s >/dev/null
kubectl delete pv claire-data claire-private --ignore-not-found --wait --timeout=60s >/dev/null

say "making the cohort"
rm -rf "$work/tmp" "$work/results"* "$work/streamflow.db"
claire phantom --preset tiny --seed 1 --out "$work/tmp/data" --threads "$(nproc)"
rm -rf "$work/tmp/data/truth"
chmod -R a+rX "$work/tmp/data"
mkdir -p "$work/tmp/private" && chgrp 1000 "$work/tmp/private" && chmod 2770 "$work/tmp/private"
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

# StreamFlow looks for the login node's key where every user has it.
home=$work/home
login=(ssh -q -o BatchMode=yes -o UserKnownHostsFile="$home/.ssh/known_hosts" -p "${CLUSTER_SSH_HOST##*:}"
    -i "$CLUSTER_SSH_KEY" "$CLUSTER_SSH_USER@${CLUSTER_SSH_HOST%%:*}")
at_hpc() { "${login[@]}" "$@"; }
mkdir -p "$home/.ssh" && cp "${CLUSTER_SSH_KNOWN_HOSTS:-$HOME/.ssh/known_hosts}" "$home/.ssh/known_hosts"
# Results in a store are read-only.
at_hpc "[ ! -d claire-cluster-test ] || chmod -R u+rwX claire-cluster-test; rm -rf claire-cluster-test
    mkdir -m 700 claire-cluster-test"
site=$PWD/streamflow.cluster-test.yml
python tests/workflow/cluster/site.py --sif "$CLAIRE_SIF" --work "$work" >"$site"

say "setting up the site"
# Volumes whose data go with their claims, as dynamic provisioners make them. Kubernetes deletes below /tmp/ alone.
for what in "data ReadOnlyMany" "private ReadWriteMany"; do
    read -r name mode <<<"$what"
    kubectl apply -f - >/dev/null <<YAML
apiVersion: v1
kind: PersistentVolume
metadata: {name: claire-$name, labels: {${mark/=/: }}}
spec: {capacity: {storage: 1Gi}, accessModes: [$mode], hostPath: {path: "$work/tmp/$name"}, storageClassName: claire-$name,
  persistentVolumeReclaimPolicy: Delete, claimRef: {namespace: claire, name: claire-$name}}
YAML
done
HOME=$home claire site apply "$site" --private >"$work/apply.log" 2>&1 || { cat "$work/apply.log"; exit 1; }
kubectl label namespace claire "$mark" >/dev/null
kubectl -n claire rollout status deployment claire-data --timeout=180s >/dev/null
objects >"$work/objects"
job=$work/job.yml
check() { HOME=$home claire site check "${1:-$site}" --job "$job" --wait 0 >"$work/check.log" 2>&1; }
HOME=$home claire site check "$site" --job "$job" >"$work/check.log" 2>&1 || { cat "$work/check.log"; exit 1; }
say "the site is checked: $(head -n 1 "$work/check.log")"

say "running the same locally"
[[ -d $work/local ]] && rm -rf "$work/local"
python tests/workflow/cluster/site.py --local --work "$work" >"$work/local.yml"
cwltool --no-container --relax-path-checks --parallel --outdir "$work/local" cwl/main.cwl "$work/local.yml" \
    >"$work/local.json" 2>"$work/local.log" || { tail -n 60 "$work/local.log"; exit 1; }
same() { claire compare --left "$work/local" --right "$1" || fail "$1 is not as the local run"; }

faults() { # faults [FAULT ...]: those of faults.sh; each run that ends well is compared with the local one
    WORK=$work/faults SITE=$site JOB=$job LOCAL=$work/local HOME=$home LOGIN="${login[*]}" HPC_USER=$CLUSTER_SSH_USER \
        FOLDER=/home/$CLUSTER_SSH_USER/claire-cluster-test DATA_STORE=$work/tmp/private/store CLAIRE_CLUSTER=${cluster:-} \
        tests/workflow/cluster/faults.sh "$@" || fail "not every fault is survived"
    unchanged "by faults"
}
if [[ -n ${FAULTS:-} ]]; then
    [[ $FAULTS == all ]] && FAULTS=
    # shellcheck disable=SC2086 # several names
    faults $FAULTS
    rm "$site"
    exit
fi

say "what is wrong with a site is found before anything runs"
found() { # found SED MESSAGE: a site file that is changed so is refused with this message
    sed "$1" "$site" >"$work/wrong.yml"
    ln -sfn "$PWD/deployments" "$work/deployments"
    ! check "$work/wrong.yml" || fail "a site with $1 was not refused"
    grep -q "$2" "$work/check.log" || { cat "$work/check.log"; fail "a site with $1: no word of '$2'"; }
}
touch "$work/no-key"
found "s|sshKey: .*|sshKey: $work/no-key|" "key"
found "s|127.0.0.1:|127.0.0.9:|" "127.0.0.9"
found "s|partition: gpu|partition: gpus|" "partition gpus"
found "s|gpu:v100:1|gpu:h100:1|" "h100"
found "s|namespace: claire|namespace: clair|" "clair"

hybrid() { # hybrid NAME: one plain run of the hybrid into results-NAME
    HOME=$home streamflow run --outdir "$work/results-$1" "$site" >"$work/streamflow-$1.log" 2>&1
}
say "a plain run of StreamFlow that is refused"
sed -i.good 's/learning_rate/lerning_rate/' "$work/grid.yml"
! hybrid refused || fail "a misspelt key of the grid was not refused"
grep -q "FAILED Step /plan" "$work/streamflow-refused.log" || fail "the run failed for another reason than its grid"
mv "$work/grid.yml.good" "$work/grid.yml"
unchanged "by a run that was refused"
rm -f "$work/streamflow.db"
say "a plain run of StreamFlow"
hybrid plain || { tail -n 60 "$work/streamflow-plain.log"; exit 1; }
unchanged "by the plain run"
same "$work/results-plain"
at_hpc "find claire-cluster-test -type f" >"$work/listing"
python tests/workflow/cluster/egress.py --site "$site" --database "$work/streamflow.db" --job "$job" --listing "$work/listing" ||
    fail "files were where they should not be"
[[ -n $(at_hpc "find claire-cluster-test/store -name '*.run.json' -print -quit") ]] || fail "no result in the store"
open=$(at_hpc "find claire-cluster-test -maxdepth 0 -perm /077; find claire-cluster-test/store -perm /077
    find claire-cluster-test/work -type f -name '*.run.*' -perm /077; find /tmp -maxdepth 1 -user \$USER -name 'claire.*'")
[[ -z $open ]] || fail "open to others, or left in /tmp, at the HPC: $open"
[[ -s $work/tmp/private/table/0000.private.csv ]] || fail "no private table at the data site"
say "the plain run agrees with the local one; only what the policy lets cross is at the HPC, closed to others"

faults killed_training killed_driver lost_pod interrupted step_in_pod damaged_cohort

model=$(echo "$work"/local/*.model.zip)
python tests/workflow/cluster/site.py --sif "$CLAIRE_SIF" --work "$work" --predict "$model" >"$site"
HOME=$home streamflow run --outdir "$work/results-predict" "$site" >"$work/streamflow-predict.log" 2>&1 ||
    { tail -n 60 "$work/streamflow-predict.log"; exit 1; }
rm "$site"
claire predict "$model" "$work/tmp/data/source" --key "$work/tmp/data/key" --no-lesions --out "$work/results-predict-here" \
    >"$work/predict.log" 2>&1 || { tail -n 60 "$work/predict.log"; exit 1; }
cmp "$work/results-predict/predictions.csv" "$work/results-predict-here/tables/predictions.csv"
[[ -s $work/results-predict/index.html ]] || fail "no page of new patients"
unchanged "by new patients"
say "new patients are predicted at the hybrid as here"
