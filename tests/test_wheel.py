"""The built wheel works from any folder."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import yaml

from tests.support.commands import ROOT

# The command line of the installed wheel.
COMMAND = "import cli; assert 'installed' in cli.__file__; cli.run()"


def run(*words: str | Path, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, *map(str, words)]
    environment = {**os.environ, **environment}
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder that the wheel is installed into, without its dependencies, which the tests' environment has."""
    folder = tmp_path_factory.mktemp("wheel")
    offline = ["--no-deps", "--no-index", "--disable-pip-version-check", "--quiet"]
    # Built from a copy, so that no build folder is left in the project.
    names = subprocess.run(["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True)
    for name in names.stdout.split("\n"):
        source = ROOT / name
        if (
            source.suffix in (".py", ".yaml", ".toml", ".md", ".css", ".js", ".typed") and source.is_file()
        ) or name == "LICENSE":
            (folder / "source" / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / "source" / name).write_bytes(source.read_bytes())
    build: list[str | Path] = ["wheel", *offline, "--no-build-isolation", "--wheel-dir", folder, folder / "source"]
    done = run("-m", "pip", *build, cwd=folder)
    assert done.returncode == 0, done.stdout + done.stderr
    (wheel,) = folder.glob("trilight-*.whl")
    done = run("-m", "pip", "install", *offline, "--target", folder / "installed", wheel, cwd=folder)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder / "installed"


@pytest.mark.slow
def test_wheel_holds_every_configuration_and_package(installed: Path) -> None:
    (wheel,) = installed.parent.glob("*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    assert {path.relative_to(ROOT).as_posix() for path in (ROOT / "configs").rglob("*.yaml")} <= names
    assert {f"exporters/visualization/report/{name}" for name in ("style.css", "base.js", "layers.js")} <= names
    packages = {path.parent.name for path in ROOT.glob("*/__init__.py")} - {"tests"}
    assert packages <= {name.partition("/")[0] for name in names}
    typed = {name.removesuffix("/py.typed") for name in names if name.endswith("/py.typed")}
    assert packages - {"benchmarks"} <= typed  # type checkers of users read the annotations
    assert not any(name.startswith(("tests/", "benchmarks/")) for name in names)
    assert any(name.endswith("licenses/LICENSE") for name in names)


@pytest.mark.slow
def test_commands_work_from_another_folder(installed: Path, tmp_path: Path) -> None:
    """A shipped configuration is found by name, and the pipeline's stages find theirs."""

    def trilight(*words: str) -> subprocess.CompletedProcess[str]:
        return run("-c", COMMAND, *words, cwd=tmp_path, PYTHONPATH=str(installed))

    for name in ("dit_microdoppler.yaml", "configs/dit_microdoppler.yaml"):
        done = trilight("fit", f"--config={name}", "--config=overlays/tiny_microdoppler.yaml", "--print_config")
        assert yaml.safe_load(done.stdout)["model"]["init_args"]["network"]["depth"] == 4, done.stderr
    sizes = ["--num_users=1", "--train_per_user=40", "--val_per_user=2"]
    done = trilight("prepare", "microdoppler-sample", "--out=walkers", *sizes)
    assert done.returncode == 0, done.stderr
    small = "{model: {init_args: {network: {hidden_size: 32, depth: 1, num_heads: 2}}}}"
    (tmp_path / "small.yaml").write_text(small)
    words = ["--data_dir=walkers", "--output_dir=out", "--devices=1", "--max_epochs=1", "--num_samples_per_user=1"]
    overlays = ["--overlays", "overlays/tiny_microdoppler.yaml", "small.yaml"]
    done = trilight("pipeline", "microdoppler", *words, *overlays)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out" / "samples" / "micro_doppler_user01_001.png").is_file()
