"""The ready launch files are read by Accelerate, and its launcher passes on what they say."""

from __future__ import annotations

from pathlib import Path

import pytest

FOLDER = Path(__file__).resolve().parents[2] / "configs" / "accelerate"
FILES = sorted(path.name for path in FOLDER.glob("*.yaml"))


def test_there_is_one_for_every_kind_of_machine() -> None:
    assert FILES == ["cpu.yaml", "default.yaml", "gpu.yaml", "gpus.yaml", "nodes.yaml"]


@pytest.mark.parametrize("name", FILES)
def test_accelerate_reads_it_and_the_comment_shows_how_to_use_it(name: str) -> None:
    from accelerate.commands.config.config_args import load_config_from_file

    config = load_config_from_file(str(FOLDER / name))
    assert config.num_processes == {"gpus.yaml": 8, "nodes.yaml": 64}.get(name, 1)
    assert config.num_processes % config.num_machines == 0
    assert config.use_cpu == (name == "cpu.yaml")
    assert f"--config_file configs/accelerate/{name}" in (FOLDER / name).read_text()


@pytest.mark.parametrize(
    ("name", "backend"), [("cpu.yaml", None), ("default.yaml", None), ("gpu.yaml", "inductor"), ("gpus.yaml", "inductor")]
)
def test_the_launcher_says_what_to_compile_with(name: str, backend: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    from accelerate.commands.launch import _validate_launch_command, launch_command_parser
    from accelerate.utils.launch import prepare_multi_gpu_env, prepare_simple_launcher_cmd_env

    from engine.devices import compile_backend

    arguments = launch_command_parser().parse_args(["--config_file", str(FOLDER / name), "vqvae/train.py", "compile=true"])
    arguments, _, _ = _validate_launch_command(arguments)
    if name == "gpus.yaml":
        environment = prepare_multi_gpu_env(arguments)
    else:
        command, environment = prepare_simple_launcher_cmd_env(arguments)
        assert command[-2:] == ["vqvae/train.py", "compile=true"]
    monkeypatch.setenv("ACCELERATE_DYNAMO_BACKEND", environment["ACCELERATE_DYNAMO_BACKEND"])
    assert compile_backend(False) == backend
    assert compile_backend(True) == "inductor"


def test_the_launcher_has_nothing_to_warn_of(monkeypatch: pytest.MonkeyPatch) -> None:
    from accelerate.commands import launch

    warned: list[str] = []
    monkeypatch.setattr(launch.logger, "warning", warned.append)
    for given, expected in (([], 1), (["--config_file", str(FOLDER / "default.yaml")], 0)):
        monkeypatch.setattr(launch, "default_config_file", "absent")
        launch._validate_launch_command(launch.launch_command_parser().parse_args([*given, "vqvae/train.py"]))
        assert len(warned) == expected
        warned.clear()
