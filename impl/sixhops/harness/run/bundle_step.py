"""`bundle` steps: OCI bundles on the stack's machine."""

from __future__ import annotations

import json
import shutil
import subprocess
from typing import TYPE_CHECKING, Any

from sixhops.harness.errors import InternalError, ScenarioError, TargetError
from sixhops.harness.images import tar_bytes, unpack_image, unpack_tar
from sixhops.harness.run.content import content
from sixhops.harness.run.direct import machine_of, workspace
from sixhops.harness.run.specification import default_specification, merged
from sixhops.harness.scenario.variables import resolve

if TYPE_CHECKING:
    from pathlib import Path

    from sixhops.harness.exchange import Facet
    from sixhops.harness.images import BuiltImage
    from sixhops.harness.run.context import Context
    from sixhops.harness.scenario.direct import BundleStep

__all__ = ["make_bundle"]


def make_bundle(step: BundleStep, context: Context) -> tuple[dict[str, Facet], dict[str, Facet]]:
    """Make the bundle; return what was asked and the facets `path` and `config`.

    Raises ScenarioError (bad entries, a second bundle of this name), TargetError when it can't be written.
    """
    scope = context.scope
    place = workspace(context) / step.variable
    specification: Any = None
    if step.raw is None:
        default = default_specification()
        # Below the stack's own group, so that nothing of it can be left behind elsewhere.
        group = f"/{machine_of(context).cgroup}/{place.parent.name}-{step.variable}"
        default["linux"]["cgroupsPath"] = group
        over = {} if step.config is None else resolve(step.config, scope)
        if not isinstance(over, dict):
            raise ScenarioError(f"config must be a mapping, not {over!r}", step.mark)
        specification = merged(default, over)
        text = (json.dumps(specification, indent=1) + "\n").encode()
    else:
        text = content(resolve(step.raw, scope), step.mark, context.sources).all()
    try:
        place.mkdir(mode=0o711)
        (place / "rootfs").mkdir()
        _fill(step, context, place / "rootfs")
        (place / "config.json").write_bytes(text)
    except FileExistsError:
        raise ScenarioError(f"there is a bundle {step.variable} already", step.mark) from None
    except OSError as error:
        raise TargetError(f"can't make the bundle {step.variable}: {error}") from error
    facets: dict[str, Facet] = {"path": str(place)}
    if specification is not None:
        facets["config"] = specification
    return {"image": step.image, "path": str(place)}, facets


def _fill(step: BundleStep, context: Context, rootfs: Path) -> None:
    if step.image is not None:
        built = context.images.get(step.image)
        if built is None:
            raise InternalError(f"{step.mark}: the image {step.image} was not built")
        _copy(_unpacked(built, machine_of(context).directory.with_name("rootfs")), rootfs)
    if step.files:
        entries = resolve(list(step.files), context.scope)
        unpack_tar(tar_bytes(entries, context.programs, step.mark), rootfs)


def _unpacked(image: BuiltImage, store: Path) -> Path:
    """Return a directory with the image's files, unpacked once for each stack; nobody may change it."""
    place = store / image.image_id.replace(":", "-")
    if not place.exists():
        making = place.with_name(f".{place.name}")
        # An earlier attempt may have ended in the middle.
        shutil.rmtree(making, ignore_errors=True)
        making.mkdir(parents=True)
        unpack_image(image, making)
        making.rename(place)
    return place


def _copy(source: Path, target: Path) -> None:
    """Copy a directory with everything that the kernel keeps of a file; `cp` is five times as fast as the unpacking."""
    command = ["cp", "--archive", "--reflink=auto", "--no-target-directory", str(source), str(target)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise TargetError(f"can't copy {source}: {done.stderr.strip()}")
