#!/usr/bin/env bash
# Train on four machines of eight GPUs: sbatch examples/cluster/slurm.sh --trainer.max_steps 1000
# Started again with the same command, the training goes on from its last checkpoint.
#SBATCH --job-name=lasagna
#SBATCH --nodes=4
#SBATCH --ntasks-per-node=8
#SBATCH --gpus-per-node=8
#SBATCH --cpus-per-task=8
#SBATCH --time=24:00:00
# SIGTERM, two minutes before the end, so that the step can be finished and saved
#SBATCH --signal=TERM@120
set -euo pipefail
srun python train.py fit --config configs/trainer/ddp.yaml \
  --trainer.num_nodes "$SLURM_JOB_NUM_NODES" --trainer.devices "$SLURM_NTASKS_PER_NODE" --ckpt_path last "$@"
