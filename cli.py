"""Entry point of Trilight, and what there is by task; CONTRIBUTING.md shows how to add a task."""

import sys
from collections.abc import Sequence

from command_line.main import exit_with_message, run_command
from command_line.tasks import Task

TASKS = (
    # A person's radar signature: configs/{microdoppler_extract_latents,dit_microdoppler,generate_microdoppler}.yaml
    Task(
        "micro-Doppler",
        modules=(
            "lightning_modules.latent_extraction:LatentExtractionModule",
            "lightning_modules.user_conditioned_dit:UserConditionedDiTModule",
        ),
        datamodules=(
            "datamodules.spectrograms:SpectrogramDataModule",
            "datamodules.latents:LatentDataModule",
            "datamodules.sample_requests:SampleRequestDataModule",
        ),
        callbacks=(
            "callbacks.ema:EMA",
            "callbacks.sample_grid:SampleGrid",
            "callbacks.microdoppler_report:MicroDopplerReport",
            "callbacks.latent_writer:LatentShardWriter",
            "callbacks.sample_writer:SampleWriter",
        ),
        prepare=(
            "prepare.microdoppler_sample:microdoppler_sample",
            "prepare.latent_statistics:latent_statistics",
            "prepare.spectrograms:spectrograms",
            "prepare.tune_guidance:tune_guidance",
            "prepare.spectrogram_comparison:spectrogram_comparison",
            "prepare.augmentation_study:augmentation_study",
            "prepare.blind_test:blind_test",
        ),
        pipeline=(
            "prepare.pipeline:microdoppler",
            "prepare.pipeline:demo",
            "prepare.spectrogram_weights:spectrograms_simulated",
        ),
    ),
    # Depth and cameras from image pairs: configs/{pair_aerialmd,pair_simulated,predict_pair}.yaml
    Task(
        "pair depth",
        modules=("lightning_modules.pair_depth_camera:PairDepthCameraModule",),
        datamodules=(
            "datamodules.aerial_megadepth:AerialMegaDepthDataModule",
            "datamodules.pair_folder:PairFolderDataModule",
        ),
        callbacks=(
            "callbacks.pair_images:PairImages",
            "callbacks.overfit_report:OverfitReport",
            "callbacks.pair_writer:PairWriter",
        ),
        prepare=(
            "prepare.aerial_city_sample:aerial_city_sample",
            "prepare.scenes_sample:scenes_sample",
            "prepare.single_pair:single_pair",
            "prepare.check_pairs:check_pairs",
        ),
        pipeline=("prepare.depth_simulated:depth_simulated",),
    ),
    # Layer order of an illustration: configs/{layer_index,region_order,layers_decompose}.yaml
    Task(
        "layer index",
        interchangeable=True,  # a checkpoint decides which module runs
        modules=("lightning_modules.layer_index:LayerIndexModule", "lightning_modules.region_order:RegionOrderModule"),
        datamodules=(
            "datamodules.layered_art:LayeredArtDataModule",
            "datamodules.region_graphs:RegionGraphDataModule",
            "datamodules.illustration_folder:IllustrationFolderDataModule",
        ),
        callbacks=("callbacks.layer_images:LayerImages", "callbacks.layer_writer:LayerWriter"),
        prepare=(
            "prepare.illustrations_sample:illustrations_sample",
            "prepare.layers:layers",
            "prepare.parsed_dataset:parsed_dataset",
            "prepare.region_graphs:region_graphs",
            "prepare.region_pair_model:region_pair_model",
        ),
        pipeline=("prepare.region_order_weights:region_order",),
    ),
    Task("any task", prepare=("prepare.check_data:check_data", "prepare.export_network:export_network")),
)


def main(args: Sequence[str] | None = None) -> None:
    """Run one command: ``args``, by default those of the command line; errors are raised as InputError."""
    run_command(TASKS, sys.argv[1:] if args is None else list(args))


def run() -> None:
    """Run the command line; a user error ends in one line and exit status 1 or 2."""
    exit_with_message(main)


if __name__ == "__main__":
    run()
