"""What a grid of views can be written as; names alone, so that the command line can list them at once."""

MESHES = ("glb", "gltf", "obj", "ply", "stl")
FORMATS = (*MESHES, "vox", "npz", "splats", "relief")
