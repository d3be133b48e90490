#!/bin/bash
# SLURM job: train on several machines, one process per GPU.
#
#   sbatch --nodes=4 --gpus-per-node=8 --ntasks-per-node=8 configs/slurm.sh \
#       --config configs/pair_aerialmd.yaml --config configs/overlays/ddp.yaml
#
# Lightning reads machines and ranks from SLURM's variables; --ntasks-per-node must be the number of GPUs of a machine.
#SBATCH --job-name=trilight
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=8
#SBATCH --gpus-per-node=8
#SBATCH --cpus-per-task=8
#SBATCH --time=24:00:00
#SBATCH --output=%x-%j.log
#SBATCH --signal=SIGUSR1@90    # Lightning saves a checkpoint and requeues the job 90 s before its time is over
#SBATCH --requeue

set -euo pipefail
cd "${SLURM_SUBMIT_DIR:-.}"
export OMP_NUM_THREADS="${OMP_NUM_THREADS:-1}"
# A process that fails, or a machine that is lost, ends all others.
srun --kill-on-bad-exit=1 --wait=60 "${PYTHON:-.venv/bin/python}" cli.py fit "$@" \
    --trainer.num_nodes "$SLURM_NNODES" --trainer.devices "$SLURM_NTASKS_PER_NODE"
