#!/usr/bin/env bash
# Train on several machines. Start it on each one, with the same address:
#   NODES=4 GPUS=8 ADDRESS=first-machine:29500 bash examples/cluster/torchrun.sh --trainer.max_steps 1000
# A process that ends before its time is started again, three times at most, with the others, from the last checkpoint.
set -euo pipefail
nodes=${NODES:-1}
gpus=${GPUS:-8}
# without this, gloo does not find its peers again after a restart (torch 2.15)
export TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1
exec torchrun --nnodes "$nodes" --nproc-per-node "$gpus" --max-restarts 3 --rdzv-id lasagna \
  --rdzv-backend c10d --rdzv-endpoint "${ADDRESS:-localhost:29500}" \
  train.py fit --config configs/trainer/ddp.yaml --trainer.num_nodes "$nodes" --trainer.devices "$gpus" \
  --ckpt_path last "$@"
