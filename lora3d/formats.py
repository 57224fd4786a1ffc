"""What a grid of views can be lifted by and written as, and a model drawn as; names alone, so that the command line
lists them at once."""

from typing import Literal, get_args

MESHES = ("glb", "gltf", "obj", "ply", "stl")
FORMATS = (*MESHES, "vox", "npz", "cubes", "splats", "relief", "field")
Lift = Literal["fuse", "normals", "field", "hull"]
LIFTS: tuple[str, ...] = get_args(Lift)
Pivot = Literal["centre", "base"]
PIVOTS: tuple[str, ...] = get_args(Pivot)
STYLES = ("render", "shaded", "line", "flat", "silhouette", "soft", "toon")  # of `data_prep.drawings`
