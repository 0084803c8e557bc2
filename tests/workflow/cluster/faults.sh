#!/usr/bin/env bash
# Faults thrown into runs of the hybrid (`claire run JOB --site FILE`), one after the other, on the site that run.sh has
# set up and described in the environment: WORK, SITE, JOB; LOGIN (a command that runs another one on the login node),
# HPC_USER (who runs jobs there), FOLDER (what jobs see there), DATA_STORE (of the pods, on this machine), LOCAL (results
# of the local run, equal to those of every run that survives its fault), CLAIRE_CLUSTER (the test cluster's command; the
# faults of machines need it, for they stop its daemons).
#   tests/workflow/cluster/faults.sh [FAULT ...]         all by default; FAULT is the name of a function below
set -uo pipefail
read -ra LOGIN <<<"$LOGIN"
mkdir -p "$WORK"
begun=$SECONDS
failures=()

say() { echo "faults: $* ($((SECONDS - begun)) s)"; }
wrong() { # wrong WHAT: this fault is not survived as it should be
    echo "faults: WRONG in $fault: $*"
    failures+=("$fault: $*")
}
start() { # start NAME [FLAG ...]: a run into $WORK/NAME in the background; $run is its process
    local name=$1 && shift
    rm -rf "${WORK:?}/$name"
    env --default-signal=INT claire run "${JOB_OF:-$JOB}" --site "${SITE_OF:-$SITE}" --out "$WORK/$name" "$@" >>"$WORK/$name.log" 2>&1 &
    run=$!
}
again() { # again NAME: the same command once more, as after a fault
    local name=$1 && shift
    claire run "$JOB" --site "$SITE" --out "$WORK/$name" "$@" >>"$WORK/$name.log" 2>&1 &
    run=$!
}
fresh() { # fresh NAME: no result in the stores, no log
    rm -f "$WORK/$1.log"
    rm -rf "${DATA_STORE:?}"
    "${LOGIN[@]}" "chmod -R u+rwX $FOLDER/store 2>/dev/null; rm -rf $FOLDER/store"
}
until_said() { # until_said NAME PATTERN: wait until the run's log has a line of the pattern
    for _ in $(seq 240); do
        grep -qE "$2" "$WORK/$1/log.txt" 2>/dev/null && return
        kill -0 "$run" 2>/dev/null || return
        sleep 0.5
    done
}
ended() { # ended NAME CODE: the run ends, with this exit code
    wait "$run"
    local code=$?
    [[ $code == "$2" ]] || wrong "$1 ended with $code, expected $2: $(tail -n 3 "$WORK/$1.log" | tr '\n' ' ')"
    ((code)) || claire compare --left "$LOCAL" --right "$WORK/$1" || wrong "$1 is not as the local run"
}
login_node() { # login_node stop|start: the SSH daemon with all its connections
    if [[ $1 == stop ]]; then pkill -KILL -x sshd; else "$CLAIRE_CLUSTER" up ssh >/dev/null; fi
}
controller() { # controller stop|start: SLURM's
    if [[ $1 == stop ]]; then pkill -KILL -x slurmctld; else "$CLAIRE_CLUSTER" up slurm >/dev/null; fi
}
name_of() { cat "$WORK/$1/.run/name"; }
nothing_left() { # nothing_left NAME: no job and no pod of the run works any more
    local jobs pods
    jobs=$("${LOGIN[@]}" "squeue --noheader --name=$(name_of "$1") --states=PENDING,RUNNING,CONFIGURING")
    pods=$(kubectl -n claire get deployments -l "claire-run=$(name_of "$1")" -o name)
    [[ -z $jobs$pods ]] || wrong "left at the site: $jobs $pods"
}
trained() { # trained NAME: how many trainings were begun from their first epoch, by the logs of all attempts
    cat "$WORK/$1"/log*.txt | grep -oE "[0-9:]{8} claire train \S+: epoch 1/[0-9]+" | sort -u | wc -l
}
job_of() { # job_of STATE: the number of one job of this run in a state
    "${LOGIN[@]}" "squeue --noheader --name=$(name_of "$1") --states=$2 --format=%i" | head -n 1
}

killed_training() { # SIGKILL of one training, scancel of another: these are tried again, the others go on
    fresh killed && start killed
    until_said killed "claire train .*epoch 1/"
    pkill -KILL -u "$HPC_USER" -f "claire train" -n
    sleep 2
    "${LOGIN[@]}" "scancel $(job_of killed RUNNING)"
    ended killed 0
    nothing_left killed
}
killed_driver() { # kill -9 of the driver and of StreamFlow: the same command goes on, nothing finished is done again
    fresh driver && start driver
    until_said driver "claire train .*epoch [2-9]/"
    local engine
    engine=$(python3 -c "import json; print(json.load(open('$WORK/driver/.run/state.json'))['engine'])")
    kill -KILL "$run" "$engine"
    wait "$run" 2>/dev/null
    again driver
    ended driver 0
    [[ $(trained driver) == 6 ]] || wrong "$(trained driver) trainings were begun: expected 6"
    grep -q "claire ingest 0000: already finished" "$WORK/driver/log.txt" || wrong "the data steps were done again"
    nothing_left driver
}
lost_pod() { # a pod deleted in mid-step
    fresh pod && start pod
    until_said pod "EXECUTING step /data/ingest"
    kubectl -n claire delete pod --wait=false --grace-period=0 --force -l "claire-run=$(name_of pod)" >/dev/null 2>&1
    ended pod 0
    nothing_left pod
}
lost_login() { # sshd gone for 30 s, connections included
    fresh login && start login
    until_said login "claire train .*epoch 1/"
    login_node stop && sleep 30 && login_node start
    ended login 0
    nothing_left login
}
lost_controller() { # slurmctld gone for 12 s
    fresh controller && start controller
    until_said controller "claire train .*epoch 1/"
    controller stop && sleep 12 && controller start
    ended controller 0
    nothing_left controller
}
interrupted() { # Ctrl-C: jobs and pods are cancelled; the same command goes on
    fresh interrupted && start interrupted
    until_said interrupted "claire train .*epoch 1/"
    kill -INT "$run"
    ended interrupted 130
    nothing_left interrupted
    [[ -n $("${LOGIN[@]}" "ls $FOLDER/work/$(name_of interrupted)") ]] || wrong "no job folder to clean"
    claire clean "$WORK/interrupted" >>"$WORK/interrupted.log" 2>&1 || wrong "claire clean failed"
    "${LOGIN[@]}" "[ ! -e $FOLDER/work/$(name_of interrupted) ]" || wrong "claire clean left the job folders"
}
killed_explain() { # explain is killed whenever it runs: the report comes without lesions, and the run says so
    fresh explain && start explain --attempts 2
    (while kill -0 "$run" 2>/dev/null; do pkill -KILL -u "$HPC_USER" -f "claire explain"; sleep 1; done) &
    ended explain 1
    [[ -s $WORK/explain/report.html ]] || wrong "no report"
    grep -q "the report has no lesions, for explain failed" "$WORK/explain.log" || wrong "it does not say so"
    nothing_left explain
}
damaged_cohort() { # bytes of the cohort at the HPC change: the next training that reads it names it; a new copy is good
    fresh damaged && start damaged
    until_said damaged "claire train .*epoch 1/"
    "${LOGIN[@]}" "find $FOLDER/work/$(name_of damaged) -name cohort.h5 -exec sh -c \
        'printf CLAIRE | dd of=\"\$1\" bs=1 seek=100000 conv=notrunc status=none' sh {} \;"
    pkill -KILL -u "$HPC_USER" -f "claire train" -n
    ended damaged 1
    grep -q "claire train: .*cohort.h5.*checksum" "$WORK/damaged.log" || wrong "it is not named"
    again damaged
    ended damaged 0
    nothing_left damaged
}
step_in_pod() { # a step fails in a pod: the run ends at once, with the words of the step
    fresh words
    (cat "$JOB" && echo "classes: healthy,sick") >"$WORK/bad-job.yml"
    JOB_OF=$WORK/bad-job.yml start words
    ended words 1
    grep -qzP "First cause:\n  claire \w+: .*healthy" "$WORK/words.log" || wrong "no words of the step"
    nothing_left words
}
two_at_once() { # two runs in one namespace over one store: both end well, and no training is done twice
    fresh one && start one
    local first=$run
    rm -f "$WORK/two.log"
    start two
    ended two 0
    run=$first
    ended one 0
    [[ $(($(trained one) + $(trained two))) == 6 ]] || wrong "$(trained one) and $(trained two) trainings: expected 6 in all"
    nothing_left one && nothing_left two
}

all=(step_in_pod killed_training killed_driver lost_pod lost_login lost_controller interrupted killed_explain two_at_once damaged_cohort)
(($#)) || set -- "${all[@]}"
for fault; do
    if [[ $fault == lost_login || $fault == lost_controller ]] && [[ -z $CLAIRE_CLUSTER ]]; then
        say "NOT TESTED HERE: $fault: the cluster was given, and its daemons are not ours to stop"
        continue
    fi
    say "$fault"
    "$fault"
done
if ((${#failures[@]})); then
    printf 'faults: %s\n' "${failures[@]}"
    exit 1
fi
say "survived: $*"
