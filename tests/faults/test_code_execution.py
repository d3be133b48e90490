"""Configurations, checkpoints and data from a stranger run no code.

Every try would create the file ``ran`` where its code was run; a module ``evil`` in the current folder does so when it
is imported, and each of its parts when it is called.
"""

from __future__ import annotations

import json
import pickle
import sys
import threading
from collections.abc import Callable, Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml

from cli import main
from command_line.allowed_classes import LISTED, take_allowed_packages
from formats.errors import InputError
from formats.latent_shards import LatentStatistics
from formats.restricted_pickle import read_npz
from networks.checkpoint_files import read_state_dict
from networks.shipped_weights import read_card
from networks.tokenizers import load_tokenizer

EVIL = """
from pathlib import Path
from lightning import Callback, LightningDataModule
from lightning.pytorch.demos.boring_classes import BoringModel
from lightning.pytorch.loggers import CSVLogger
from lightning.pytorch.strategies import DDPStrategy

MARKER = Path(__file__).with_name("ran")
MARKER.touch()

def touch(*args, **kwargs):
    MARKER.touch()

class Module(BoringModel): pass
class Data(LightningDataModule): pass
class Watch(Callback): pass
class Log(CSVLogger): pass
class Strategy(DDPStrategy): pass
"""
BORING = {"class_path": "RegionOrderModule"}
DATA = {"class_path": "RegionGraphDataModule"}
TOUCH = "import pathlib; pathlib.Path('ran').touch()"


def config(**settings: Any) -> dict[str, Any]:
    """Return a configuration of a task with more settings."""
    return {"model": BORING, "data": DATA, **settings}


def trainer(**settings: Any) -> dict[str, Any]:
    return config(trainer=settings)


def named(class_path: Any, **init_args: Any) -> dict[str, Any]:
    return {"class_path": class_path, "init_args": init_args}


# Configurations that name code.
CONFIGURATIONS: dict[str, Any] = {
    "model": config(model=named("evil.Module")),
    "model as text": config(model="evil.Module"),
    "data": config(data=named("evil.Data")),
    "callback in a list": trainer(callbacks=[named("evil.Watch")]),
    "callback alone": trainer(callbacks=named("evil.Watch")),
    "callback as text": trainer(callbacks=["evil.Watch"]),
    "logger": trainer(logger=named("evil.Log")),
    "logger in a list": trainer(logger=[named("CSVLogger", save_dir="."), named("evil.Log")]),
    "strategy": trainer(strategy=named("evil.Strategy")),
    "strategy as text": trainer(strategy="evil.Strategy"),
    "plugin": trainer(plugins=[named("evil.touch")]),
    "profiler": trainer(profiler=named("evil.touch")),
    "accelerator": trainer(accelerator=named("evil.touch")),
    "within a network's settings": config(model=named("RegionOrderModule", network=named("evil.Module"))),
    "in a list of settings": config(model=named("RegionOrderModule", network={"depth": [named("evil.Module")]})),
    "in dict_kwargs": config(model={"class_path": "RegionOrderModule", "dict_kwargs": {"a": named("evil.Module")}}),
    "optimizer": config(optimizer=named("evil.touch")),
    "scheduler": config(lr_scheduler=named("evil.touch")),
    "command": config(model=named("os.system", command="touch ran")),
    "process": trainer(callbacks=[named("subprocess.Popen", args=["touch", "ran"])]),
    "exec": trainer(callbacks=[named("builtins.exec", source=TOUCH)]),
    "file": trainer(callbacks=[named("pathlib.Path.touch", self="ran")]),
    "script": trainer(callbacks=[named("runpy.run_path", path_name="evil.py")]),
    "import": trainer(callbacks=[named("importlib.import_module", name="evil")]),
    "partial": trainer(callbacks=[named("functools.partial", func="evil.touch")]),
    "pickle": trainer(callbacks=[named("pickle.load", file="evil.pkl")]),
    "torch.load": config(model=named("torch.load", f="evil.ckpt", weights_only=False)),
    "torch.hub": config(model=named("torch.hub.load", repo_or_dir=".", model="evil", source="local")),
    "another module's os": trainer(callbacks=[named("lightning.pytorch.callbacks.model_checkpoint.os.system")]),
    "class that is not listed": trainer(callbacks=[named("lightning.pytorch.callbacks.LambdaCallback")]),
    "library that is not listed": trainer(strategy=named("lightning.pytorch.strategies.DeepSpeedStrategy")),
    "class path that is a list": config(model=named(["evil.Module"])),
    "configuration in a configuration": config(config="evil.yaml"),
    "address of a checkpoint": config(ckpt_path="http://127.0.0.1:1/evil.ckpt"),
    "bucket": config(ckpt_path="s3://bucket/evil.ckpt"),
    "checkpoint on the hub": config(ckpt_path="hf://owner/net/evil.ckpt"),
    "folder on the hub": trainer(default_root_dir="hf://owner/net/runs"),
    "file address": config(ckpt_path="file:///tmp/evil.ckpt"),
    "chained address": config(ckpt_path="simplecache::http://127.0.0.1:1/evil.ckpt"),
    "address of a folder": trainer(default_root_dir="http://127.0.0.1:1/"),
    "address of published weights": config(model=named("LayerIndexModule", published_checkpoint="https://x/evil.pt")),
}
# Configurations whose code the parser itself has to refuse.
PARSED: dict[str, Any] = {
    "module in a file of its own": config(model="model.yaml"),
    "trainer in a file of its own": config(trainer="trainer.yaml"),
    "function of a strategy": trainer(strategy=named("DDPStrategy", ddp_comm_hook="evil.touch")),
    "policy of a strategy": trainer(strategy=named("FSDPStrategy", auto_wrap_policy="evil.touch")),
    "function of a callback": trainer(callbacks=[named("StochasticWeightAveraging", swa_lrs=1, avg_fn="os.system")]),
    "re-exported module": trainer(callbacks=[named("callbacks.sample_writer.Path.touch")]),
    "weights_only": config(weights_only=False),
    "environment": trainer(default_root_dir="${oc.env:HOME}", callbacks=["${evil.Watch}"]),
}
TEXTS = {
    "python/object": f'model: !!python/object/apply:exec ["{TOUCH}"]\n',
    "python/name": "model: !!python/name:evil.Module\n",
    "python/module": "model: !!python/module:evil\n",
    "python/object/new": "trainer: !!python/object/new:evil.Watch []\n",
    "inline": '{model: !!python/object/apply:os.system ["touch ran"]}\n',
}
OPTIONS = {
    "model": ["--model=evil.Module"],
    "class path": ["--model.class_path=evil.Module"],
    "two words": ["--model", "evil.Module"],
    "callback": ["--model=RegionOrderModule", "--trainer.callbacks=evil.Watch"],
    "callback appended": ["--model=RegionOrderModule", "--trainer.callbacks+=evil.Watch"],
    "logger": ["--model=RegionOrderModule", "--trainer.logger=evil.Log"],
    "inline configuration": ["--config", "{model: {class_path: evil.Module}}"],
    "configuration by address": ["--config=http://127.0.0.1:1/evil.yaml"],
    "checkpoint by address": ["--model=RegionOrderModule", "--ckpt_path=http://127.0.0.1:1/evil.ckpt"],
}


@pytest.fixture(autouse=True)
def evil(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Put the module and files that name it into the current folder, and see that nothing of it was run."""
    (tmp_path / "evil.py").write_text(EVIL)
    (tmp_path / "hubconf.py").write_text(TOUCH)
    (tmp_path / "model.yaml").write_text("class_path: evil.Module\n")
    (tmp_path / "trainer.yaml").write_text("callbacks: [{class_path: evil.Watch}]\n")
    monkeypatch.syspath_prepend(tmp_path)
    yield
    assert not (tmp_path / "ran").exists(), "code was run"
    assert "evil" not in sys.modules, "a module was imported"


def refused(*words: str, message: str = ".") -> None:
    with pytest.raises(InputError, match=message) as caught:
        main(words)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_a_configuration_that_names_code_is_refused(name: str) -> None:
    Path("evil.yaml").write_text(yaml.safe_dump(CONFIGURATIONS[name]))
    refused("fit", "--config=evil.yaml", message=r"evil\.yaml: .*(not allowed|is the URL|includes another)")


@pytest.mark.parametrize("name", PARSED)
def test_a_setting_that_only_the_parser_understands_is_refused(name: str) -> None:
    Path("evil.yaml").write_text(yaml.safe_dump(PARSED[name]))
    refused("fit", "--config=evil.yaml")


@pytest.mark.parametrize("name", TEXTS)
def test_tags_of_yaml_are_refused(name: str) -> None:
    Path("evil.yaml").write_text(TEXTS[name])
    refused("fit", "--config=evil.yaml", message=r"evil\.yaml: cannot be read as YAML")


@pytest.mark.parametrize("name", OPTIONS)
def test_an_option_that_names_code_is_refused(name: str) -> None:
    refused("fit", *OPTIONS[name], message="not allowed|is the URL|no such configuration")


class Payload:
    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (Path("ran").resolve(),)


def write_pickle(path: Path, legacy: bool = False) -> Path:
    torch.save({"state_dict": {"a": torch.zeros(1)}, "x": Payload()}, path, _use_new_zipfile_serialization=not legacy)
    return path


def write_checkpoint(path: Path, **settings: Any) -> Path:
    torch.save({"state_dict": {}, "hyper_parameters": settings}, path)
    return path


def test_the_payload_runs_where_pickles_are_trusted(tmp_path: Path) -> None:
    torch.load(write_pickle(tmp_path / "evil.ckpt"), weights_only=False)
    (tmp_path / "ran").unlink()


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize("command", ["fit", "validate", "test", "predict"])
def test_a_checkpoint_that_is_a_pickle_is_refused(tmp_path: Path, command: str, legacy: bool) -> None:
    path = write_pickle(tmp_path / "evil.ckpt", legacy)
    Path("evil.yaml").write_text(yaml.safe_dump(config(ckpt_path=str(path), weights_only=False)))
    refused(command, "--config=evil.yaml", message="Python object|damaged")
    refused(command, "--model=RegionOrderModule", f"--ckpt_path={path}", message="Python object|damaged")


@pytest.mark.parametrize(
    "settings",
    [
        {"_class_path": "evil.Module"},
        {"_class_path": "os.system"},
        {"_class_path": "torch.hub.load"},
        {"_class_path": "evil.RegionOrderModule"},
        {"_class_path": ["evil.Module"]},
        {"_class_path": "RegionOrderModule", "_instantiator": "evil.touch"},
        {"_class_path": "RegionOrderModule", "_instantiator": "os.system"},
        {"_class_path": "RegionOrderModule", "network": {"class_path": "evil.Module"}},
        {"_class_path": "RegionOrderModule", "network": [{"class_path": "evil.Module"}]},
    ],
)
def test_a_checkpoint_that_names_code_is_refused(tmp_path: Path, settings: dict[str, Any]) -> None:
    path = write_checkpoint(tmp_path / "evil.ckpt", **settings)
    for more in ((), ("--model=RegionOrderModule",)):
        refused("test", *more, f"--ckpt_path={path}", message=r"evil\.ckpt: .*(not allowed|not a string)")


@pytest.mark.parametrize("settings", [{"_class_path": "evil.Module"}, {"_instantiator": "evil.touch"}, {}])
def test_tools_do_not_trust_checkpoints_either(tmp_path: Path, settings: dict[str, Any]) -> None:
    path = write_checkpoint(tmp_path / "evil.ckpt", **settings) if settings else write_pickle(tmp_path / "evil.ckpt")
    refused("prepare", "tune-guidance", f"--checkpoint={path}", "--data_dir=.", "--out=a.json", message=r"evil\.ckpt: ")
    Path("evil.yaml").write_text("data_dir: !!python/object/apply:os.system ['touch ran']\n")
    with pytest.raises((InputError, SystemExit)):
        main(["prepare", "tune-guidance", "--config=evil.yaml"])


@pytest.fixture
def address(tmp_path: Path) -> Iterator[str]:
    """Serve the current folder."""
    handler = partial(SimpleHTTPRequestHandler, directory=tmp_path)
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()
    thread.join()


def test_a_served_checkpoint_is_not_fetched(tmp_path: Path, address: str, capfd: pytest.CaptureFixture[str]) -> None:
    write_pickle(tmp_path / "evil.ckpt")
    Path("evil.yaml").write_text(yaml.safe_dump(config(ckpt_path=f"{address}/evil.ckpt")))
    refused("test", "--config=evil.yaml", message="is the URL")
    refused("test", f"--config={address}/evil.yaml", message="no such configuration file")
    assert "GET" not in capfd.readouterr().err


def npz(path: Path) -> None:
    np.savez(path, array=np.array([Payload()], dtype=object))
    read_npz(path, ["array"])


def pickled_tokenizer(path: Path) -> None:
    path.mkdir()
    (path / "config.json").write_text(json.dumps({"_class_name": "AutoencoderKL"}))
    (path / "diffusion_pytorch_model.bin").write_bytes(pickle.dumps(Payload()))
    load_tokenizer(path)


def card(path: Path) -> None:
    path.mkdir()
    (path / "evil.yaml").write_text("!!python/object/apply:os.system ['touch ran']")
    read_card("evil", path)


@pytest.mark.parametrize(
    ("name", "read"),
    [
        ("weights.pt", lambda path: read_state_dict(write_pickle(path))),
        ("weights.pth", lambda path: read_state_dict(write_pickle(path, legacy=True))),
        ("weights.ckpt", lambda path: read_state_dict(write_pickle(path))),
        ("tokenizer.pt", lambda path: load_tokenizer(write_pickle(path))),
        ("latents_stats.pt", lambda path: LatentStatistics.read(write_pickle(path))),
        ("split.npz", npz),
        ("tokenizer", pickled_tokenizer),
        ("weights", card),
    ],
)
def test_data_and_weights_are_not_unpickled(tmp_path: Path, name: str, read: Callable[[Path], object]) -> None:
    with pytest.raises(InputError):
        read(tmp_path / name)


def test_there_are_over_a_hundred_tries() -> None:
    """Counts those above, so that none is lost by mistake."""
    checkpoints = 2 * 4 * 2 + 9 * 2 + 3 * 2
    assert len(CONFIGURATIONS) + len(PARSED) + len(TEXTS) + len(OPTIONS) + checkpoints + 2 + 8 >= 100


def test_allowed_packages_are_taken_from_the_command_line_only() -> None:
    words = ["fit", "--allow_classes", "mine,other.part", "--model=x", "--allow_classes=third"]
    assert take_allowed_packages(words) == (["fit", "--model=x"], ["mine", "other.part", "third"])
    for package in ("", "a b", "jsonargparse", "jsonargparse.typing"):
        with pytest.raises(InputError, match="--allow_classes"):
            take_allowed_packages([f"--allow_classes={package}"])
    Path("evil.yaml").write_text(yaml.safe_dump(config(allow_classes="evil", model=named("evil.Module"))))
    refused("fit", "--config=evil.yaml", message="not allowed")


def test_listed_classes_exist() -> None:
    for module, names in LISTED.items():
        parts = __import__(module, fromlist=list(names))
        assert [name for name in names if not hasattr(parts, name)] == []
