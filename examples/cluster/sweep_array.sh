#!/usr/bin/env bash
# Share the runs of a sweep among eight jobs of one GPU each: sbatch examples/cluster/sweep_array.sh configs/sweeps/claims.yaml
# All jobs run the same command in a folder on a common disk: each takes runs that no other one has taken, goes on with
# those that were cut short, and the last one writes the report. A job that is started again finds its runs as it left them.
#SBATCH --job-name=lasagna-sweep
#SBATCH --array=0-7
#SBATCH --gpus=1
#SBATCH --cpus-per-task=8
#SBATCH --time=24:00:00
#SBATCH --signal=TERM@120
set -euo pipefail
exec lasagna sweep --config "$1" "${@:2}"
