"""Packages that only some commands need: each absence is one line that names the extra to install."""

from __future__ import annotations

from importlib.util import find_spec

from formats.errors import InputError

# Importable name → the extra of pyproject.toml that installs it.
EXTRAS = {
    "cssselect2": "layers",
    "gradio": "app",
    "huggingface_hub": "hub",
    "psd_tools": "layers",
    "pyarrow": "layers",
    "resvg_py": "layers",
    "sklearn": "weights",
    "tinycss2": "layers",
    "trimesh": "pair",
    "vtracer": "layers",
}


def missing_package(error: ModuleNotFoundError) -> InputError | None:
    """Explain a failed import of a package of an extra; None for other modules.

    Example:
        >>> print(missing_package(ModuleNotFoundError("No module named 'psd_tools'", name="psd_tools")))
        psd_tools: is not installed. Install it with `pip install "trilight[layers]"`, or in a clone ".[layers]".
    """
    package = (error.name or "").partition(".")[0]
    extra = EXTRAS.get(package)
    if extra is None:
        return None
    remedy = f'Install it with `pip install "trilight[{extra}]"`, or in a clone ".[{extra}]".'
    return InputError(package, "is not installed", remedy)


def require_package(package: str) -> None:
    """Check that a package of an extra is installed, without importing it.

    Raises:
        InputError: It is not installed.
    """
    try:
        is_installed = find_spec(package) is not None
    except ValueError:  # a module without a specification, which is loaded all the same
        is_installed = True
    if not is_installed and (error := missing_package(ModuleNotFoundError(name=package))):
        raise error
