"""Images from recipes: read, build reproducibly, push, archive. Programs are built at set-up."""

from sixhops.harness.images.archive import docker_archive, oci_archive
from sixhops.harness.images.build import build
from sixhops.harness.images.built import BuiltImage, BuiltLayer, BuiltManifest
from sixhops.harness.images.place import place
from sixhops.harness.images.push import PushReport, push
from sixhops.harness.images.recipe import Recipe, load_recipe
from sixhops.harness.images.tar import tar_bytes
from sixhops.harness.images.toolbox import Toolbox
from sixhops.harness.images.unpack import unpack_image, unpack_tar

__all__ = [
    "BuiltImage",
    "BuiltLayer",
    "BuiltManifest",
    "PushReport",
    "Recipe",
    "Toolbox",
    "build",
    "docker_archive",
    "load_recipe",
    "oci_archive",
    "place",
    "push",
    "tar_bytes",
    "unpack_image",
    "unpack_tar",
]
