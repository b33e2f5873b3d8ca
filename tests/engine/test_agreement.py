"""Several processes: what they decide alike, and that each ends with its own exit code and not by an abort."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
import torch.distributed as dist

from configs.cli import UserError, run
from encoder.pictures.face_images import png_bytes
from engine.devices import make_accelerator
from engine.training.agreement import Agreement

ROOT = Path(__file__).resolve().parents[2]
# A thread of gloo that lets go of a finished exchange's tensor last needs the interpreter for it. Here it always is the last,
# for it rests once it has told the others that all is done, and gets the interpreter when that may be gone.
LATE_THREADS = """
#define _GNU_SOURCE
#include <dlfcn.h>
#include <sys/syscall.h>
#include <unistd.h>
static int first_thread(void) { return syscall(SYS_gettid) == getpid(); }
void _ZNSt18condition_variable10notify_allEv(void *condition) {
    static void (*original)(void *);
    if (!original) original = dlsym(RTLD_NEXT, "_ZNSt18condition_variable10notify_allEv");
    original(condition);
    if (!first_thread()) usleep(2000);
}
void PyEval_AcquireThread(void *state) {
    static void (*original)(void *);
    if (!original) original = dlsym(RTLD_NEXT, "PyEval_AcquireThread");
    if (!first_thread()) usleep(300000);
    original(state);
}
"""
EXCHANGE = """
from configs.cli import UserError, run
from engine.devices import make_accelerator
from engine.training.agreement import Agreement

def main(argv):
    Agreement(make_accelerator("cpu")).end_if({problem})

run(main, [])
"""
NET = ["model.widths=[8,16]", "preprocessing.size=16", "train.batch_size=16", "train.epochs=1", "train.device=cpu"]
STAGES = [
    *("tokenizer.size=16", "tokenizer.widths=[8,16]", "tokenizer.codebook_size=16", "tokenizer.code_dim=4"),
    *("prior.width=16", "prior.depth=1", "prior.heads=2", "faces.drawn_count=64", "device=cpu", "precision=no"),
    *("encoder=null", "loss.emotion=0", "loss.perceptual=0"),
    *(f"{stage}_stage.{each}" for stage in ("tokenizer", "prior") for each in ("max_minutes=null", "epochs=1", "batch_size=8")),
]


@pytest.fixture(scope="module")
def late_threads(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A library to preload, in which every thread but the first gets the interpreter 0.3 s late."""
    if not sys.platform.startswith("linux") or shutil.which("gcc") is None:
        pytest.skip("needs Linux and gcc, to hold threads back")
    folder = tmp_path_factory.mktemp("late")
    (folder / "late.c").write_text(LATE_THREADS)
    subprocess.run(["gcc", "-shared", "-fPIC", "late.c", "-o", "late.so", "-ldl"], cwd=folder, check=True)
    return str(folder / "late.so")


def launch(arguments: list[str], **more: str) -> tuple[list[int], str]:
    """Exit codes and output of a program in two processes, started as torchrun would."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    shared = {"WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "OMP_NUM_THREADS": "1"}
    members = [
        subprocess.Popen(
            [sys.executable, *arguments],
            cwd=ROOT,
            env={**os.environ, **shared, **more, "RANK": rank, "LOCAL_RANK": rank},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for rank in "01"
    ]
    said = [member.communicate(timeout=240)[0] for member in members]
    return [member.returncode for member in members], "\n".join(said)


@pytest.mark.parametrize(("problem", "code"), [("None", 0), ('"the disk is full"', 2)])
def test_a_thread_that_is_late_does_not_abort_the_end(late_threads: str, problem: str, code: int) -> None:
    codes, said = launch(["-c", EXCHANGE.format(problem=problem)], LD_PRELOAD=late_threads)
    assert codes == [code, code], said
    assert "terminate called" not in said


@pytest.mark.slow
@pytest.mark.parametrize("program", ["encoder.train", "encoder.train_gender", "vqvae.train"])
def test_a_training_of_two_processes_ends_with_its_exit_code(late_threads: str, tmp_path: Path, program: str) -> None:
    settings = STAGES if program == "vqvae.train" else NET
    if program == "encoder.train":
        settings = [*settings, "data.drawn_count=64", "model.depths=[1,1]"]
    elif program == "encoder.train_gender":
        face = {"bytes": png_bytes(np.zeros((24, 24), np.uint8)), "path": "face.png"}
        genders = ("female", "male", "male")
        people = [{"identity": f"p{each}", "gender": genders[each % 3]} for each in range(200)]
        rows = [{"file": f"{each['identity']}.png", "emotion": "neutral", "image": face, **each} for each in people]
        pq.write_table(pa.Table.from_pylist(rows), tmp_path / "faces.parquet")
        settings = [*settings, "--data", str(tmp_path), "data.size=24"]
    codes, said = launch(["-m", program, "--out", str(tmp_path / "run"), *settings], LD_PRELOAD=late_threads)
    assert codes == [0, 0], said
    assert "2 processes" in said


@pytest.mark.parametrize(("error", "code"), [(RuntimeError("a defect"), 1), (KeyboardInterrupt(), 130)])
def test_a_process_that_ends_amid_an_exchange_does_not_wait_for_the_others(
    forked: Callable[..., Any], tmp_path: Path, error: BaseException, code: int
) -> None:
    def program(rank: int) -> None:
        def main(_argv: object) -> int:
            agreement = Agreement(make_accelerator("cpu"))
            agreement.highest(0.0)
            while rank and not over.exists():
                time.sleep(0.02)
            if rank:
                os._exit(7)
            dist.all_reduce(torch.zeros(1), async_op=True)
            raise error

        run(main, [])

    over = tmp_path / "over"
    started = forked(program, 2)
    started.members[0].join(20)
    ended = started.members[0].exitcode
    over.touch()
    assert (ended, started.wait()) == (code, [code, 7]), started.output()
    assert ("a defect" in started.output()) == (code == 1)


def test_all_share_one_group_that_is_gone_at_the_end(forked: Callable[..., Any]) -> None:
    def program(rank: int) -> None:
        def main(_argv: object) -> int:
            accelerator = make_accelerator("cpu")
            found = [Agreement(accelerator).highest(rank, -rank) for _ in range(5)]
            assert found == [(1.0, 0.0)] * 5
            # The one that Accelerate makes, and the one for agreements.
            return len(dist.distributed_c10d._world.pg_map)

        try:
            run(main, [])
        finally:
            assert not dist.is_initialized()

    forked(program, 2).ends(2, 2)


def test_the_first_process_acts_and_its_problem_ends_all(forked: Callable[..., Any]) -> None:
    def program(rank: int) -> None:
        def act() -> None:
            print(f"acted in {rank}")
            if len(done) == 2:
                raise UserError("no place left")
            done.append(rank)

        def main(_argv: object) -> None:
            agreement = Agreement(make_accelerator("cpu"))
            for _ in range(3):
                agreement.in_first(act)

        done: list[int] = []
        run(main, [])

    started = forked(program, 2)
    started.ends_with_one_line("error: no place left")
    assert (started.output().count("acted in 0"), started.output().count("acted in 1")) == (3, 0)
