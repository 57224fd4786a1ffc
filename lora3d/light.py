"""The studio's light on a surface: a small rig fixed to the object's frame, and what metal and polish make of it.

Two soft lamps and a sky over a ground. Rough non-metals scatter it evenly; what shines reflects it in a lobe:
Walter et al. 2007, "Microfacet models for refraction" (GGX, eq. 33), with the mean slope of the surface for
roughness², as glTF 2.0 defines it (appendix B.3).
"""

from __future__ import annotations

import math

import numpy as np

from lora3d.texels import helper, kernel

# Direction toward each lamp, and its strength.
KEY = np.array([-0.48, -0.64, 0.60])
FILL = np.array([0.64, 0.48, 0.60])
KEY_STRENGTH, FILL_STRENGTH, SKY, GROUND = 0.55, 0.25, 0.45, 0.25
# The lamps are wide: no surface shows a highlight smaller than one of this roughness.
LEAST_ROUGHNESS = 0.3
# What a non-metal reflects head-on (glTF 2.0, appendix B.2.2: an index of refraction of 1.5).
DIELECTRIC = 0.04


@helper
def _sky(z, sharpness):
    """Radiance from a direction of height z: ground to sky, with a horizon as sharp as the lobe that sees it."""
    return GROUND + (SKY - GROUND) * min(max((z * sharpness + 1) / 2, 0.0), 1.0)


@helper
def diffuse(nx, ny, nz, open_share):
    """Irradiance over π on a unit normal; the sky counts as far as it is open, 0 to 1."""
    key = max(0.0, nx * KEY[0] + ny * KEY[1] + nz * KEY[2])
    fill = max(0.0, nx * FILL[0] + ny * FILL[1] + nz * FILL[2])
    return KEY_STRENGTH * key + FILL_STRENGTH * fill + _sky(nz, 1.0) * open_share


@helper
def _albedo(roughness, nv):
    """What GGX sends back of light from everywhere, F0 · a + b (Lazarov 2013, as fitted by Karis 2014)."""
    x, y = 1 - roughness, 0.0425 - 0.0275 * roughness
    z, w = 1.04 - 0.572 * roughness, 0.022 * roughness - 0.04
    a = min(x * x, math.exp(-6.4324 * nv)) * x + y
    return -1.04 * a + z, max(1.04 * a + w, 0.0)


@helper
def _lamp(n, v, lamp, strength, nv, slope):
    """A lamp's highlight: what is reflected whatever F0 is, for F0 = 1 and F0 = 0."""
    nl = n[0] * lamp[0] + n[1] * lamp[1] + n[2] * lamp[2]
    if nl <= 0:
        return 0.0, 0.0
    hx, hy, hz = v[0] + lamp[0], v[1] + lamp[1], v[2] + lamp[2]
    length = math.sqrt(hx * hx + hy * hy + hz * hz) + 1e-9
    nh = (n[0] * hx + n[1] * hy + n[2] * hz) / length
    vh = (v[0] * hx + v[1] * hy + v[2] * hz) / length
    square = slope * slope
    spread = nh * nh * (square - 1) + 1
    # π D times Smith's visibility in Hammon's form (2017).
    mask = 0.5 / (2 * nl * nv * (1 - slope) + (nl + nv) * slope)
    lobe = strength * nl * square / (spread * spread) * mask
    edge = max(1 - vh, 0.0)
    edge *= edge * edge * edge * edge  # Schlick 1994
    return lobe * (1 - edge), lobe * edge


@kernel
def _reflection(n, v, roughness, open_share):
    """What a unit normal reflects toward the unit direction v: (p, q, share), radiance F0 · p + q.

    share is what a non-metal reflects of light from everywhere. Scaled so that F0 = 1 sends back all that comes:
    rough metal loses no light to bounces that GGX leaves out (Turquin 2019, eq. 16).
    """
    slope = roughness * roughness
    nv = max(n[0] * v[0] + n[1] * v[1] + n[2] * v[2], 1e-3)
    a, b = _albedo(roughness, nv)
    # The lobe of a rough surface leans from the mirror's direction toward the normal.
    up = (1 - slope) * (2 * nv * n[2] - v[2]) + slope * n[2]
    sky = _sky(up, 1 / (0.25 + 0.75 * slope)) * open_share
    wide = max(roughness, LEAST_ROUGHNESS)
    p1, q1 = _lamp(n, v, KEY, KEY_STRENGTH, nv, wide * wide)
    p2, q2 = _lamp(n, v, FILL, FILL_STRENGTH, nv, wide * wide)
    scale = 1 / (a + b)
    return (a * sky + p1 + p2) * scale, (b * sky + q1 + q2) * scale, (DIELECTRIC * a + b) * scale


@helper
def studio_light(n, d, metallic, roughness, open_share):
    """How the rig shows a surface of unit normal n along a ray d, of any length: (light, gloss).

    Its radiance is base colour · light + gloss. A non-metal shines less the rougher it is, and not at all at
    roughness 1, where light is `diffuse`; in a world of one radiance white stays white, whatever it is made of.
    """
    even = diffuse(n[0], n[1], n[2], open_share)
    if metallic <= 0 and roughness >= 1:
        return even, 0.0
    length = -1 / math.sqrt(d[0] * d[0] + d[1] * d[1] + d[2] * d[2])
    v = d[0] * length, d[1] * length, d[2] * length
    p, q, share = _reflection(n, v, roughness, open_share)
    shine = (1 - metallic) * (1 - roughness) * (1 - roughness)
    light = even * (1 - metallic - shine * share) + metallic * p
    return light, shine * (DIELECTRIC * p + q) + metallic * q
