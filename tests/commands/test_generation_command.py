"""Generation and evaluation through the command line."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from cli import main
from formats.errors import InputError
from formats.images import read_rgb
from formats.spectrogram_axes import SpectrogramAxes
from lightning_modules import microdoppler_measures
from lightning_modules.classifier_training import fit_classifier
from lightning_modules.user_conditioned_dit import UserConditionedDiTModule
from networks.tokenizers import LappedPCA, load_tokenizer
from tests.support.commands import ROOT, run_command, training_words


def words(trained: Path | str, out: Path, *more: str) -> list[str]:
    return [
        "predict",
        f"--config={ROOT / 'configs' / 'generate_microdoppler.yaml'}",
        f"--ckpt_path={trained}",
        f"--data.output_dir={out}",
        "--data.samples_per_user=2",
        "--data.batch_size=2",
        "--model.num_steps=3",
        "--trainer.accelerator=cpu",
        *(["--trainer.devices=1"] if not any("devices" in word for word in more) else []),
        *more,
    ]


def samples(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.glob("micro_doppler_user*.png"))}


def test_samples_grid_and_settings(trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(words(trained, tmp_path / "out", "--data.user_ids=[5, 1]", "--model.guidance_scale=2.5"))
    names = [f"micro_doppler_user{user:02d}_{number:03d}.png" for user in (1, 5) for number in (1, 2)]
    assert list(samples(tmp_path / "out")) == names
    assert read_rgb(tmp_path / "out" / names[0]).shape == (64, 64, 3)
    assert read_rgb(tmp_path / "out" / "micro_doppler_grid.png").shape[0] > 2 * 190
    settings = json.loads((tmp_path / "out" / "generation.json").read_text())
    assert settings["guidance_scale"] == 2.5  # what the user says overrides the checkpoint
    assert settings["num_steps"] == 3
    assert settings["latent_statistics"] == "dataset"
    assert settings["trained_on"].startswith("30 samples of ")
    assert "do not rely on its results for other data" in settings["note"]
    assert settings["note"] in capsys.readouterr().out
    assert SpectrogramAxes.read(tmp_path / "out") == SpectrogramAxes(2.0, -1.0, 4.0)  # of the training images


def test_generation_with_short_names(trained: Path, tmp_path: Path) -> None:
    typed = f"--dit_checkpoint {trained} --output_dir out --user_ids 1 5 --num_samples_per_user 1 --num_steps 3"
    words = ["predict", "--config", "configs/generate_microdoppler.yaml", *typed.split(), "--guidance_scale", "2.5"]
    main([*words, "--trainer.accelerator=cpu", "--devices", "1"])
    assert list(samples(tmp_path / "out")) == ["micro_doppler_user01_001.png", "micro_doppler_user05_001.png"]
    settings = json.loads((tmp_path / "out" / "generation.json").read_text())
    assert (settings["guidance_scale"], settings["num_steps"]) == (2.5, 3)


@pytest.mark.slow
def test_all_users_by_default_with_any_number_of_threads(trained: Path, tmp_path: Path, two_threads: None) -> None:
    main(words(trained, tmp_path / "two threads"))
    assert len(samples(tmp_path / "two threads")) == 6
    torch.set_num_threads(1)
    main(words(trained, tmp_path / "one thread"))
    assert samples(tmp_path / "one thread") == samples(tmp_path / "two threads")


@pytest.mark.slow
def test_two_processes_write_the_same_bytes_as_one(trained: Path, tmp_path: Path, two_threads: None) -> None:
    main(words(trained, tmp_path / "one"))
    done = run_command(*words(trained, tmp_path / "two", "--trainer.devices=2", "--trainer.strategy=ddp"))
    assert done.returncode == 0, done.stderr
    assert len(samples(tmp_path / "one")) == 6
    assert samples(tmp_path / "one") == samples(tmp_path / "two")


def test_a_sample_depends_on_seed_user_and_index_only(trained: Path) -> None:
    """Exactly where the batch is the same, up to rounding in another batch."""
    module = UserConditionedDiTModule.load_from_checkpoint(trained, num_steps=4, weights_only=True)
    users, indices = torch.tensor([1, 5, 2, 5, 1]), torch.tensor([0, 3, 1, 0, 7])
    together = module.generate_latents(users, indices)
    assert torch.equal(module.generate_latents(users, indices), together)
    order = torch.tensor([3, 0, 4, 2, 1])
    torch.testing.assert_close(module.generate_latents(users[order], indices[order]), together[order])
    alone = torch.cat([module.generate_latents(users[i : i + 1], indices[i : i + 1]) for i in range(5)])
    torch.testing.assert_close(alone, together, rtol=1e-4, atol=1e-4)
    images = torch.cat([module.generate(users[:3], indices[:3]), module.generate(users[3:], indices[3:])])
    # A level that rounds the other way changes a colour of jet by 4 or 5 of 255.
    assert (images.int() - module.generate(users, indices).int()).abs().max() <= 5
    module.hparams["sample_seed"] = 1
    assert not torch.allclose(module.generate_latents(users, indices), together, atol=0.1)
    module.hparams.update(sampler="dopri5", sample_seed=0)
    adaptive = module.generate_latents(users[:2], indices[:2])
    assert torch.equal(module.generate_latents(users[1:2], indices[1:2]), adaptive[1:2])


def test_decoding_undoes_the_normalisation(trained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The network here leads straight to one target, in normalised latents."""
    module = UserConditionedDiTModule.load_from_checkpoint(trained, guidance_scale=1.0, num_steps=1, weights_only=True)
    module.hparams["mixture_until"] = 0.0
    target = torch.randn(52, 1, 4, generator=torch.Generator().manual_seed(1))

    def straight(x: Tensor, t: Tensor, y: Tensor) -> Tensor:
        return target - x  # at t = 0, one Euler step ends at the target

    monkeypatch.setattr(module.require_network(), "forward", straight)
    latents = module.generate_latents(torch.tensor([1]), torch.tensor([0]))[0]
    statistics = module.require_latent_space().statistics
    expected = target * statistics.std.view(-1, 1, 1) + statistics.mean.view(-1, 1, 1)
    torch.testing.assert_close(latents, expected, rtol=1e-5, atol=1e-5)


def test_the_mixture_leads_until_the_network_takes_over(trained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module = UserConditionedDiTModule.load_from_checkpoint(
        trained, sampler="euler", num_steps=10, time_shift=0.0, weights_only=True
    )
    module.hparams["mixture_until"] = 0.35
    network, mixture = module.require_network(), module.mixture
    assert mixture is not None
    times: dict[str, list[float]] = {"mixture": [], "network": []}

    def recorded(name: str) -> Callable[[Tensor, Tensor, Tensor], Tensor]:
        def velocity(x: Tensor, t: Tensor, classes: Tensor) -> Tensor:
            times[name] += t.tolist()
            return torch.zeros_like(x)

        return velocity

    monkeypatch.setattr(mixture, "forward", recorded("mixture"))
    monkeypatch.setattr(network, "forward", recorded("network"))
    module.generate_latents(torch.tensor([5]), torch.tensor([0]))
    assert times["mixture"] == pytest.approx([0.0, 0.1, 0.2, 0.3])
    assert times["network"] == pytest.approx([0.4, 0.5, 0.6, 0.7, 0.8, 0.9])
    times["mixture"], times["network"] = [], []
    module.hparams.update(sampler="multistep", num_steps=8)
    module.generate_latents(torch.tensor([5]), torch.tensor([0]))
    assert len(times["mixture"] + times["network"]) == 8
    assert times["network"][0] == pytest.approx(0.35)  # a grid point where the network takes over
    assert module._times_of_network(torch.tensor([0.0, 1.0])).tolist() == pytest.approx([0.35, 1.0])


def test_unknown_users_and_missing_checkpoints(trained: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"user 3: is not among.*1, 2, 5"):
        main(words(trained, tmp_path / "out", "--data.user_ids=[3]"))
    with pytest.raises(InputError, match=r"nowhere\.ckpt: no such checkpoint"):
        main(words("nowhere.ckpt", tmp_path / "out"))
    (tmp_path / "broken.ckpt").write_bytes(trained.read_bytes()[:5000])
    with pytest.raises(InputError, match=r"broken\.ckpt: is damaged or not a checkpoint"):
        main(words(tmp_path / "broken.ckpt", tmp_path / "out"))


def test_full_size_configuration_serves_a_smaller_checkpoint(
    trained: Path, latents: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The network's shape is the checkpoint's; other settings are those of the configuration or the user."""
    words = [f"--config={ROOT / 'configs' / 'dit_microdoppler.yaml'}", f"--data.data_dir={latents}"]
    machine = ["--trainer.accelerator=cpu", "--trainer.devices=1", "--trainer.logger=false"]
    for more in ([*words, f"--ckpt_path={trained}"], [f"--ckpt_path={trained}", "--config", words[0][9:], words[1]]):
        main(["validate", *more, *machine])
        assert "val/loss" in capsys.readouterr().out


def test_random_weights_are_not_tested(latents: Path) -> None:
    with pytest.raises(InputError, match="random weights"):
        main(training_words(latents, command="test"))


def test_samples_of_other_settings_are_kept(trained: Path, tmp_path: Path) -> None:
    main(words(trained, tmp_path / "out", "--data.user_ids=[1]"))
    before = samples(tmp_path / "out")
    with pytest.raises(InputError, match="sample_seed differ"):
        main(words(trained, tmp_path / "out", "--model.sample_seed=1"))
    assert samples(tmp_path / "out") == before


@pytest.mark.slow
def test_another_guidance_scale_or_number_of_steps_is_another_set(trained: Path, tmp_path: Path) -> None:
    out, user = tmp_path / "out", "--data.user_ids=[1]"
    main(words(trained, out, user))
    before = samples(out)
    for more, name in (
        ("--model.guidance_scale=1.5", "guidance_1.5_steps_3"),
        ("--model.num_steps=5", "guidance_4_steps_5"),
    ):
        for _ in range(2):  # repeated, it finds its folder
            main(words(trained, out, user, more))
        assert list(samples(out / name)) == list(before)
        settings = json.loads((out / name / "generation.json").read_text())
        assert f"guidance_{settings['guidance_scale']:g}_steps_{settings['num_steps']}" == name
        assert (out / name / "micro_doppler_grid.png").is_file()
    assert samples(out) == before != samples(out / "guidance_4_steps_5")
    record = out / "guidance_4_steps_5" / "generation.json"
    record.write_text(json.dumps(json.loads(record.read_text()) | {"sample_seed": 7}))
    with pytest.raises(InputError, match="guidance_4_steps_5: holds .* sample_seed differ"):
        main(words(trained, out, user, "--model.num_steps=5"))


def test_another_tokenizer_is_refused(trained: Path, latents: Path, tmp_path: Path) -> None:
    other = load_tokenizer(latents / "tokenizer.safetensors")
    assert isinstance(other, LappedPCA)
    other.components.mul_(1.001)
    other.save(tmp_path / "other.safetensors")
    with pytest.raises(InputError, match=r"other\.safetensors: is not the tokenizer that made"):
        main(words(trained, tmp_path / "out", f"--model.tokenizer_path={tmp_path}/other.safetensors"))


def test_evaluation_table_and_json(
    trained: Path,
    latents: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(microdoppler_measures, "fit_classifier", partial(fit_classifier, steps=4, batch_size=8))
    main(training_words(latents, f"--ckpt_path={trained}", "--trainer.logger=false", command="test"))
    results = json.loads((tmp_path / "runs" / "dit_microdoppler" / "evaluation.json").read_text())
    assert results["num_generated"] == 6
    assert results["num_val"] == 12
    assert results["num_train"] == 30
    assert 0 <= results["accuracy_real_to_generated"] <= 1
    assert np.isfinite(results["frechet_distance_classifier"])
    assert "Generated micro-Doppler spectrograms" in capsys.readouterr().out
    page = (tmp_path / "runs" / "dit_microdoppler" / "report.html").read_text(encoding="utf-8")
    for user in (1, 2, 5):
        assert f'"title":"User {user}, real"' in page
        assert f'"title":"User {user}, generated"' in page
    assert '<th scope="row">Breaks of the torso\'s line per image</th>' in page.replace("&#x27;", "'")
