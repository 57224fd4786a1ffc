"""Buffer views packed by meshoptimizer: EXT_meshopt_compression and, of the same shape, KHR_meshopt_compression.

The decoder is the extra ``meshopt``, meshoptimizer's own code.
"""

from __future__ import annotations

from lora3d.mesh import MeshError

EXTENSIONS = ("EXT_meshopt_compression", "KHR_meshopt_compression")
MODES = ("ATTRIBUTES", "TRIANGLES", "INDICES")
FILTERS = ("NONE", "OCTAHEDRAL", "QUATERNION", "EXPONENTIAL", "COLOR")
MAX_UNPACKED = 512 * 2**20


def unpack(data: bytes, count: int, stride: int, mode: str, filtering: str) -> bytes:
    """A packed buffer view's count · stride bytes, its filter undone.

    Raises MeshError for data that cannot be decoded, for more than MAX_UNPACKED bytes, and without the decoder.
    """
    if mode not in MODES or filtering not in FILTERS:
        found = mode if mode not in MODES else filtering
        raise MeshError(
            f"meshopt's modes are {', '.join(MODES)}, its filters {', '.join(FILTERS)}; found {found[:20]!r}"
        )
    if count < 1 or stride < 1 or count * stride > MAX_UNPACKED:
        raise MeshError(
            f"a meshopt buffer of {count} × {stride} bytes, expected 1 to {MAX_UNPACKED:,}: reduce the model"
        )
    try:
        import meshopt
    except ImportError as error:
        raise MeshError(
            "its buffers are packed with meshopt: `pip install 'lora3d[meshopt]'`, or unpack the file with "
            "`gltf-transform copy`"
        ) from error
    try:
        return meshopt.decode_gltf_buffer(data, count, stride, mode, filtering).tobytes()
    except (ValueError, RuntimeError) as error:
        raise MeshError(f"its meshopt data cannot be decoded: {error}") from error
