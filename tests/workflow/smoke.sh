#!/usr/bin/env bash
# The smoke run: main.cwl on the tiny phantom cohort under cwltool and under StreamFlow, whose results must agree.
set -euo pipefail
cd "$(dirname "$0")/../.."
jobs=$(nproc)
rm -rf demo/smoke
claire phantom --preset tiny --out demo/smoke --seed 1 --threads "$jobs"

started=$SECONDS
cwltool --no-container --relax-path-checks --parallel --outdir demo/smoke/cwltool cwl/main.cwl configs/smoke.yml \
    >demo/smoke/cwltool.json 2>demo/smoke/cwltool.log || { tail -n 60 demo/smoke/cwltool.log; exit 1; }
echo "smoke: cwltool $((SECONDS - started)) s"

started=$SECONDS
(cd demo/smoke && streamflow run --outdir streamflow ../../deployments/sites/local.yml >streamflow.log 2>&1) ||
    { tail -n 60 demo/smoke/streamflow.log; exit 1; }
echo "smoke: streamflow $((SECONDS - started)) s"

[[ -n $(find demo/smoke/.streamflow/work -name '*.shard.jsonl' -print -quit) ]] || { echo "smoke: no shard list"; exit 1; }
# Manifests are the engine's own; they hold names of files only.
open=$(find demo/smoke/.streamflow/work demo/smoke/streamflow demo/smoke/cwltool -type f -not -name '*.txt' -perm /077)
[[ -z $open ]] || { echo "smoke: others may read $open"; exit 1; }

claire compare --left demo/smoke/cwltool --right demo/smoke/streamflow
echo "smoke: both engines give the same results"

# New patients by the model of this run: with lesions under one engine, the probabilities alone under the other.
started=$SECONDS
claire phantom --preset tiny --patients 2 --out demo/smoke/new --seed 77 --threads "$jobs" 2>/dev/null
predict() { claire predict demo/smoke/cwltool/*.model.zip demo/smoke/new/source --key demo/smoke/new/key "$@"; }
predict --out demo/smoke/predict-cwltool >demo/smoke/predict.log 2>&1 || { tail -n 60 demo/smoke/predict.log; exit 1; }
predict --out demo/smoke/predict-streamflow --engine streamflow --no-lesions >demo/smoke/predict.log 2>&1 ||
    { tail -n 60 demo/smoke/predict.log; exit 1; }
cmp demo/smoke/predict-{cwltool,streamflow}/tables/predictions.csv
[[ -s demo/smoke/predict-cwltool/pages/index.html ]] || { echo "smoke: no page"; exit 1; }
echo "smoke: predict under both engines $((SECONDS - started)) s, with the same probabilities"
