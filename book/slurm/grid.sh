#!/usr/bin/env bash
# Runs a table of trials on a SLURM cluster: this job asks SLURM for the workers' jobs.
# In the clone, on a disk that all nodes share, after `make` has set up the environment:
#
#     .venv/bin/python -m pip install dask-jobqueue
#     WORKERS=8 sbatch book/slurm/grid.sh --table trials.csv --profile full
#
#SBATCH --job-name=course-grid
#SBATCH --cpus-per-task=2
#SBATCH --mem=8G
#SBATCH --time=2-00:00:00
set -euo pipefail

export WORKERS="${WORKERS:-4}"           # jobs at a time, each with one GPU
export PARTITION="${PARTITION:-}"        # of the workers' jobs; SLURM's own choice without it
export WALLTIME="${WALLTIME:-08:00:00}"  # longer than the longest trial
export COURSE_ARTIFACTS="${COURSE_ARTIFACTS:-$PWD/artifacts}"

mkdir -p "$COURSE_ARTIFACTS"
ADDRESS="$(mktemp -p "$COURSE_ARTIFACTS" .scheduler-XXXXXX)"
export ADDRESS

.venv/bin/python - <<'PYTHON' &
import os
import signal
import sys
from pathlib import Path

from dask_jobqueue import SLURMCluster

workers = int(os.environ["WORKERS"])
with SLURMCluster(
    queue=os.environ["PARTITION"] or None,
    walltime=os.environ["WALLTIME"],
    processes=1,
    cores=1,  # trials at a time in a worker
    job_cpu=4,
    memory="16GB",
    job_extra_directives=["--gres=gpu:1"],
    job_script_prologue=[
        "export DASK_DISTRIBUTED__WORKER__DAEMON=False",
        f"export COURSE_ARTIFACTS='{os.environ['COURSE_ARTIFACTS']}'",
    ],
    worker_extra_args=["--memory-limit", "0"],
) as cluster:
    # The same number at all times: a job that ends early is replaced.
    cluster.adapt(minimum_jobs=workers, maximum_jobs=workers)
    Path(os.environ["ADDRESS"]).write_text(cluster.scheduler_address)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())
    signal.pause()  # at the end, the workers' jobs are cancelled
PYTHON
cluster=$!
trap 'kill "$cluster"; wait "$cluster" || true; rm -f "$ADDRESS"' EXIT

until [ -s "$ADDRESS" ]; do
    kill -0 "$cluster" # ends this job if the cluster could not start
    sleep 1
done
.venv/bin/course run --grid --scheduler "$(cat "$ADDRESS")" "$@"
