"""Shared by all tests: one printed random seed per session, the real faces where they are, modest threads."""

from __future__ import annotations

import gc
import multiprocessing
import os
import secrets
import signal
import socket
import sys
import time
import traceback
import zlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, settings

ROOT = Path(__file__).resolve().parent.parent
REAL_DATA = ROOT.parent / "shared" / "data"

# Read by torch when it is first imported, here and in the programs that tests start.
for variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(variable, "2")
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
os.environ.setdefault("WANDB_MODE", "offline")

# A busy machine is no failure, so no example has a deadline.
settings.register_profile("mimique", deadline=None, suppress_health_check=[HealthCheck.too_slow], print_blob=True)
settings.load_profile("mimique")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--seed", type=int, default=None, help="seed of the random inputs; default: a fresh one, printed")


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    # What is started in the background, or by nohup, ignores these, and so would every program that a test starts and stops.
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if signal.getsignal(signal.SIGHUP) == signal.SIG_IGN:
        signal.signal(signal.SIGHUP, signal.SIG_DFL)
    if config.getoption("--seed") is None:
        config.option.seed = secrets.randbelow(2**31)
    if config.getoption("--hypothesis-seed") is None:
        config.option.hypothesis_seed = str(config.option.seed)


def _seed_line(config: pytest.Config) -> str:
    return f"random seed: {config.option.seed} (repeat with --seed {config.option.seed})"


def pytest_report_header(config: pytest.Config) -> str:
    return _seed_line(config)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    if terminalreporter.stats.get("failed") or terminalreporter.stats.get("error"):
        terminalreporter.write_line(_seed_line(config))


@pytest.fixture
def rng(request: pytest.FixtureRequest) -> np.random.Generator:
    """Random numbers that depend on the session's seed and this test's name only, not on which tests ran before."""
    return np.random.default_rng([request.config.option.seed, zlib.crc32(request.node.nodeid.encode())])


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Graphs of the networks that tests read are no business of the user's cache folder."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(autouse=True)
def _own_accelerator() -> Iterator[None]:
    """Accelerate keeps device and precision for the life of a process: programs tested in one process must not inherit them."""
    yield
    if "accelerate.state" in sys.modules:
        from accelerate.state import AcceleratorState

        AcceleratorState._reset_state(reset_partial_state=True)


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Folder of the real faces (fer2013plus, faces128); skips the test where it is absent. Mark it `realdata` too."""
    if not REAL_DATA.is_dir():
        pytest.skip("the real faces (../shared/data) are not on this machine")
    return REAL_DATA


@pytest.fixture(scope="session")
def small_encoder() -> Callable[..., Any]:
    """``small_encoder(size, seed, answer, heads=...)``: an untrained encoder of two stages."""
    import torch

    from encoder.config import CalibrationConfig, ModelConfig, PreprocessingConfig
    from encoder.inference.emotion_encoder import EmotionEncoder
    from encoder.models.create import create_model

    def make(size: int = 24, seed: int = 0, answer: Any = "fer2013", **model: Any) -> EmotionEncoder:
        torch.manual_seed(seed)
        net = create_model(ModelConfig(widths=(8, 16), depths=(1, 1), **model))
        return EmotionEncoder(net, PreprocessingConfig(size=size), CalibrationConfig(answer=answer))

    return make


@pytest.fixture(scope="session")
def small_weights(small_encoder: Callable[..., Any]) -> Callable[..., Path]:
    """``small_weights(folder, groups, side, answer, heads=...)``: encoder, tokenizer and prior, untrained, that fit together."""
    from vqvae.config import PriorConfig, TokenizerConfig
    from vqvae.prior import MaskedPrior, PriorShape
    from vqvae.tokenizer import Tokenizer

    def write(folder: Path, groups: int = 2, side: int = 4, **encoder: Any) -> Path:
        small_encoder(16, **encoder).save_pretrained(folder / "encoder")
        config = TokenizerConfig(size=16, widths=(8, 16), side=side, codebook_size=8, code_dim=4, groups=groups)
        Tokenizer(config).save_pretrained(folder / "tokenizer")
        # As stored, in half precision.
        digest = Tokenizer.from_pretrained(folder / "tokenizer").encoding_sha256()
        prior = PriorConfig(width=16, depth=1, heads=2, dropout=0.0)
        shape = PriorShape(prior=prior, positions=side**2, groups=groups, codebook_size=8, tokenizer_sha256=digest)
        MaskedPrior(shape).save_pretrained(folder / "prior")
        return folder

    return write


@pytest.fixture(scope="session")
def photo_weights(small_encoder: Callable[..., Any]) -> Callable[..., Path]:
    """``photo_weights(folder, critic=True)``: untrained, as :func:`small_weights`, but colour of twice the side is painted, all
    attributes can be told, the sampling is stored, and there is a critic whose real faces score as its own do."""
    import numpy as np
    import torch

    from encoder.config import CropConfig
    from engine.storage.weights import WEIGHTS_FILE, file_sha256
    from vqvae.attributes import ATTRIBUTE_NAMES
    from vqvae.config import PriorConfig, SamplingConfig, TokenizerConfig
    from vqvae.critics.critic import CriticConfig, RealismCritic
    from vqvae.prior import MaskedPrior, PriorShape
    from vqvae.tokenizer import Tokenizer

    def write(folder: Path, *, critic: bool = True) -> Path:
        small_encoder(16, answer="ferplus").save_pretrained(folder / "encoder")
        codes = {"side": 4, "codebook_size": 8, "code_dim": 4}
        crop = CropConfig(eye_distance=0.36, eye_height=0.34)
        config = TokenizerConfig(size=16, widths=(8, 16), painted_size=32, painted_channels=3, crop=crop, **codes)
        Tokenizer(config).save_pretrained(folder / "tokenizer")
        tokenizer = Tokenizer.from_pretrained(folder / "tokenizer")
        told = PriorConfig(width=16, depth=1, heads=2, dropout=0.0, sees="all", attributes=ATTRIBUTE_NAMES)
        digest = tokenizer.encoding_sha256()
        prior = MaskedPrior(PriorShape(prior=told, positions=16, groups=2, codebook_size=8, tokenizer_sha256=digest, looks=4))
        # Untrained, all classes are nearly one: wide enough apart that what is told can be seen.
        for table in prior.attributes:
            torch.nn.init.normal_(table.weight, std=2.0)
        prior.sampling = SamplingConfig(steps=4, guidance=1.5, guided=(0.2, 0.8), temperature=0.9)
        prior.save_pretrained(folder / "prior")
        if critic:
            judge = RealismCritic(CriticConfig(widths=(8, 16)))
            faces = tokenizer.decode(torch.randint(0, 8, (64, 16, 2), generator=torch.Generator().manual_seed(0)))
            with torch.inference_mode():
                judge.measure(np.asarray(judge(faces)))
            judge.tokens = {part: file_sha256(folder / part / WEIGHTS_FILE) for part in ("tokenizer", "prior")}
            judge.save_pretrained(folder / "critic")
        return folder

    return write


def _newest_tensors(run: Path) -> dict[str, Any]:
    from engine.storage.checkpoint import latest_checkpoint, load_checkpoint

    newest = latest_checkpoint(run)
    assert newest is not None
    groups = load_checkpoint(newest).tensors
    return {f"{group}/{key}": tensor for group, members in groups.items() for key, tensor in members.items()}


@pytest.fixture(scope="session")
def newest_tensors() -> Callable[[Path], dict[str, Any]]:
    """``newest_tensors(run)``: all of a run's newest checkpoint."""
    return _newest_tensors


@pytest.fixture(scope="session")
def differing() -> Callable[[Path, Path], list[str]]:
    """``differing(one, other)``: names of the tensors in the newest checkpoints of two runs that differ in any bit."""

    def names(one: Path, other: Path) -> list[str]:
        a, b = _newest_tensors(one), _newest_tensors(other)
        assert a.keys() == b.keys()
        return [name for name in a if not a[name].equal(b[name])]

    return names


@pytest.fixture
def signal_in_step(monkeypatch: pytest.MonkeyPatch) -> Callable[..., AbstractContextManager[None]]:
    """``with signal_in_step(Task, 7, SIGINT):`` this process sends itself a signal before that step."""

    @contextmanager
    def signalling(task: type, at: int, number: int = signal.SIGTERM, rank: int | None = None) -> Iterator[None]:
        original = task.train_step

        def train_step(self: Any, step: int, progress: float) -> Any:
            if step == at and rank in (None, int(os.environ.get("RANK", "0"))):
                os.kill(os.getpid(), number)
            return original(self, step, progress)

        with monkeypatch.context() as patch:
            patch.setattr(task, "train_step", train_step)
            yield

    return signalling


@pytest.fixture
def before_each(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """``before_each(owner, "name", act)``: whoever calls ``owner.name`` calls ``act`` with the same arguments first."""

    def watch(owner: Any, name: str, act: Callable[..., Any], patch: pytest.MonkeyPatch = monkeypatch) -> None:
        original = getattr(owner, name)

        def watched(*arguments: Any, **options: Any) -> Any:
            act(*arguments, **options)
            return original(*arguments, **options)

        patch.setattr(owner, name, watched)

    return watch


def _as_rank(function: Callable[[int], int | None], rank: int, world: int, port: int, log: Path) -> None:
    """Body of a forked process: what torchrun would set, nothing of the parent's Accelerate, output into ``log``."""
    with log.open("w") as stream:
        os.dup2(stream.fileno(), 1)
        os.dup2(stream.fileno(), 2)
        sys.stdout = sys.stderr = stream
        code = 1
        try:
            from accelerate.state import AcceleratorState, GradientState, PartialState

            from engine.threads import use_threads

            # The parent's pools of threads did not survive the fork: neither PyTorch's, which no program may ask for here, nor
            # those of ONNX sessions, whose end would be waited for if one that the parent dropped were collected here.
            use_threads(1)
            gc.freeze()
            for state in (AcceleratorState, GradientState, PartialState):
                state._reset_state()
            if world > 1:
                ranks = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": world, "LOCAL_WORLD_SIZE": world}
                os.environ.update({name: str(value) for name, value in ranks.items()})
                os.environ.update({"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)})
            code = function(rank) or 0
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else 1
        except BaseException:
            traceback.print_exc()
        stream.flush()
        os._exit(code)


class Forked:
    """Processes forked from this one, which has imported everything already; a new interpreter would take seconds."""

    def __init__(self, function: Callable[[int], int | None], count: int, folder: Path) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self.logs = [folder / f"process-{rank}.log" for rank in range(count)]
        context = multiprocessing.get_context("fork")
        gc.collect()
        self.members = [
            context.Process(target=_as_rank, args=(function, rank, count, port, self.logs[rank])) for rank in range(count)
        ]
        for member in self.members:
            member.start()

    def wait(self, seconds: float = 120) -> list[int | None]:
        """Exit codes; a process that still runs after ``seconds`` fails the test."""
        end = time.monotonic() + seconds
        for member in self.members:
            member.join(max(0.0, end - time.monotonic()))
        hanging = [rank for rank, member in enumerate(self.members) if member.is_alive()]
        for member in self.members:
            member.kill()
            member.join()
        assert not hanging, f"processes {hanging} hang:\n{self.output()}"
        return [member.exitcode for member in self.members]

    def ends(self, *codes: int, seconds: float = 120) -> str:
        """What the processes said, which must end with these exit codes."""
        assert self.wait(seconds) == [*codes], self.output()
        return self.output()

    def ends_with_one_line(self, line: str) -> None:
        """Every process must end with the code of a user's mistake, and one of them must say so, in one line."""
        said = self.ends(*[2] * len(self.members))
        assert (said.count("error: "), said.count(line), said.count("Traceback")) == (1, 1, 0), said

    def output(self) -> str:
        return "\n".join(log.read_text() for log in self.logs if log.is_file())


@pytest.fixture
def forked(tmp_path: Path) -> Callable[..., Forked]:
    """``forked(function, count)`` runs ``function(rank)`` in ``count`` processes, ready for gloo if more than one."""
    if "fork" not in multiprocessing.get_all_start_methods():
        pytest.skip("this system cannot fork")
    # What a training imports on its way, so that not every process does.
    import accelerate  # noqa: F401
    import torch._dynamo  # noqa: F401

    return lambda function, count=1: Forked(function, count, tmp_path)
