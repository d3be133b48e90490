"""Several processes and machines: torchrun, the SLURM script, and processes that are killed; all on one machine."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.commands import ROOT, load_checkpoint
from tests.support.tiny_tasks import write_latents

CONFIGS = ROOT / "configs"
SLURM_SCRIPT = CONFIGS / "slurm.sh"
# Starts the tasks of a job like SLURM's: one process each, with its variables.
SRUN = """#!/bin/bash
[[ "$1" == --kill-on-bad-exit=1 && "$2" == --wait=60 ]] || exit 9
shift 2
pids=()
for ((rank = 0; rank < SLURM_NTASKS; rank++)); do
    SLURM_PROCID=$rank SLURM_LOCALID=$((rank % SLURM_NTASKS_PER_NODE)) \\
        SLURM_NODEID=$((rank / SLURM_NTASKS_PER_NODE)) "$@" & pids+=($!)
done
status=0
for pid in "${pids[@]}"; do wait "$pid" || status=$?; done
exit $status
"""


def training(folder: Path, *more: str) -> list[str]:
    """Return the options of a training of a tiny network for three steps, whose checkpoint is in ``checkpoints``."""
    sizes = {"input_size": 4, "in_channels": 8, "hidden_size": 32, "depth": 2, "num_heads": 2}
    return [
        f"--config={CONFIGS / 'dit_microdoppler.yaml'}",
        f"--config={CONFIGS / 'overlays' / 'cpu.yaml'}",
        f"--config={CONFIGS / 'overlays' / 'ddp.yaml'}",
        *(f"--model.network.{name}={value}" for name, value in sizes.items()),
        f"--data.data_dir={write_latents(folder / 'latents')}",
        "--data.batch_size=2",
        "--trainer.max_epochs=1",
        "--trainer.limit_val_batches=0",
        "--trainer.enable_progress_bar=false",
        "--trainer.enable_model_summary=false",
        "--trainer.logger=false",
        f"--trainer.callbacks=[{{class_path: ModelCheckpoint, init_args: {{dirpath: {folder}, filename: last}}}}]",
        *more,
    ]


def environment(**variables: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("SLURM_", "MASTER_"))}
    return {**kept, "WANDB_MODE": "disabled", "OMP_NUM_THREADS": "1", **variables}


def free_port() -> str:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        return str(server.getsockname()[1])


@pytest.mark.slow
def test_torchrun_on_two_machines(tmp_path: Path) -> None:
    """Two starts of torchrun, as on two machines, train together."""
    where = ["--nnodes=2", "--nproc_per_node=1", "--master_addr=127.0.0.1", f"--master_port={free_port()}"]
    words = ["fit", *training(tmp_path), "--trainer.num_nodes=2", "--trainer.devices=1"]
    machines = [
        subprocess.Popen(
            [
                sys.executable,
                "-m",
                "torch.distributed.run",
                *where,
                f"--node_rank={node}",
                str(ROOT / "cli.py"),
                *words,
            ],
            cwd=tmp_path,
            env=environment(),
            stderr=subprocess.PIPE,
            text=True,
        )
        for node in (0, 1)
    ]
    for machine in machines:
        _, errors = machine.communicate(timeout=900)
        assert machine.returncode == 0, errors[-3000:]
    assert load_checkpoint(tmp_path / "last.ckpt")["global_step"] == 3  # 12 latents, 2 for each of 2 processes


def test_slurm_script_is_valid() -> None:
    done = subprocess.run(["bash", "-n", str(SLURM_SCRIPT)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert os.access(SLURM_SCRIPT, os.X_OK)


@pytest.mark.slow
def test_slurm_script_trains_on_two_machines(tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "srun").write_text(SRUN)
    (tmp_path / "bin" / "srun").chmod(0o755)
    (tmp_path / "cli.py").symlink_to(ROOT / "cli.py")
    variables = {
        "PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}",
        "PYTHON": sys.executable,
        "SLURM_SUBMIT_DIR": str(tmp_path),
        "SLURM_JOB_ID": "1234",
        "SLURM_JOB_NAME": "trilight",
        "SLURM_NODELIST": "127.0.0.1",
        "SLURM_NNODES": "2",
        "SLURM_NTASKS": "2",
        "SLURM_NTASKS_PER_NODE": "1",
        "MASTER_PORT": free_port(),
    }
    words = ["bash", str(SLURM_SCRIPT), *training(tmp_path)]
    done = subprocess.run(
        words, cwd=tmp_path, env=environment(**variables), capture_output=True, text=True, check=False, timeout=900
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert load_checkpoint(tmp_path / "last.ckpt")["global_step"] == 3


@pytest.mark.slow
@pytest.mark.parametrize("rank", [0, 1])
def test_a_killed_process_ends_the_others_within_a_minute(tmp_path: Path, rank: int) -> None:
    endless = ["--trainer.devices=2", "--trainer.max_epochs=100000"]
    with (tmp_path / "log").open("w") as log:
        first = subprocess.Popen(
            [sys.executable, str(ROOT / "cli.py"), "fit", *training(tmp_path, *endless)],
            cwd=tmp_path,
            env=environment(),
            stdout=log,
            stderr=log,
        )
        wait_until(lambda: any(tmp_path.glob("last*.ckpt")) or first.poll() is not None, 600)
        assert first.poll() is None, (tmp_path / "log").read_text()[-3000:]
        second = int(Path(f"/proc/{first.pid}/task/{first.pid}/children").read_text().split()[0])
        os.kill((first.pid, second)[rank], signal.SIGKILL)
        wait_until(lambda: first.poll() is not None and not runs(second), 60)
        assert first.returncode != 0


def wait_until(condition: Callable[[], bool], seconds: float) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"nothing happened in {seconds} s"
        time.sleep(0.2)


def runs(pid: int) -> bool:
    """Return whether a process exists and has not ended."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False
