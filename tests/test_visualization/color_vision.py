"""How different two colours look, with normal vision and with each kind of colour blindness."""

import numpy as np
from jaxtyping import Float, UInt8

# Machado et al. 2009, "A physiologically-based model for simulation of color vision deficiency",
# severity 1, on linear RGB.
VISIONS = {
    'normal': np.eye(3),
    'protanopia': np.array(
        [
            [0.152286, 1.052583, -0.204868],
            [0.114503, 0.786281, 0.099216],
            [-0.003882, -0.048116, 1.051998],
        ]
    ),
    'deuteranopia': np.array(
        [
            [0.367322, 0.860646, -0.227968],
            [0.280085, 0.672501, 0.047413],
            [-0.011820, 0.042940, 0.968881],
        ]
    ),
    'tritanopia': np.array(
        [
            [1.255528, -0.076749, -0.178779],
            [-0.078411, 0.930809, 0.147602],
            [0.004733, 0.691367, 0.303900],
        ]
    ),
}
_RGB_TO_XYZ = np.array(
    [
        [0.4124564, 0.3575761, 0.1804375],
        [0.2126729, 0.7151522, 0.0721750],
        [0.0193339, 0.1191920, 0.9503041],
    ]
)


def to_lab(colors: UInt8[np.ndarray, 'N 3'], vision: str = 'normal') -> Float[np.ndarray, 'N 3']:
    """CIELAB (D65) of sRGB colours as somebody with this vision sees them."""
    values = colors / 255
    linear = np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)
    linear = (linear @ VISIONS[vision].T).clip(0, 1)
    xyz = linear @ _RGB_TO_XYZ.T / _RGB_TO_XYZ.sum(axis=1)
    f = np.where(xyz > (6 / 29) ** 3, np.cbrt(xyz), xyz / (3 * (6 / 29) ** 2) + 4 / 29)
    lightness = 116 * f[:, 1] - 16
    return np.stack([lightness, 500 * (f[:, 0] - f[:, 1]), 200 * (f[:, 1] - f[:, 2])], axis=1)


def ciede2000(
    a: Float[np.ndarray, '*S 3'], b: Float[np.ndarray, '*T 3']
) -> Float[np.ndarray, '*U']:
    """CIEDE2000 of Lab colours that broadcast (Sharma et al. 2005, section 2)."""
    mean_chroma = (np.hypot(a[..., 1], a[..., 2]) + np.hypot(b[..., 1], b[..., 2])) / 2
    g = (1 - np.sqrt(mean_chroma**7 / (mean_chroma**7 + 25.0**7))) / 2
    hues, chromas = [], []
    for lab in (a, b):
        red = (1 + g) * lab[..., 1]
        chromas.append(np.hypot(red, lab[..., 2]))
        hues.append(np.arctan2(lab[..., 2], red) % (2 * np.pi))
    d_hue = (hues[1] - hues[0] + np.pi) % (2 * np.pi) - np.pi
    no_hue = chromas[0] * chromas[1] == 0
    d_hue = np.where(no_hue, 0, d_hue)
    hue = np.where(no_hue, hues[0] + hues[1], hues[0] + d_hue / 2)
    d_light, d_chroma = b[..., 0] - a[..., 0], chromas[1] - chromas[0]
    d_h = 2 * np.sqrt(chromas[0] * chromas[1]) * np.sin(d_hue / 2)
    light, chroma = (a[..., 0] + b[..., 0]) / 2, (chromas[0] + chromas[1]) / 2
    t = (
        1
        - 0.17 * np.cos(hue - np.radians(30))
        + 0.24 * np.cos(2 * hue)
        + 0.32 * np.cos(3 * hue + np.radians(6))
        - 0.20 * np.cos(4 * hue - np.radians(63))
    )
    s_light = 1 + 0.015 * (light - 50) ** 2 / np.sqrt(20 + (light - 50) ** 2)
    s_chroma, s_h = 1 + 0.045 * chroma, 1 + 0.015 * chroma * t
    turn = np.radians(30) * np.exp(-((((np.degrees(hue) % 360) - 275) / 25) ** 2))
    r = -2 * np.sqrt(chroma**7 / (chroma**7 + 25.0**7)) * np.sin(2 * turn)
    x, y, z = d_light / s_light, d_chroma / s_chroma, d_h / s_h
    return np.sqrt(x**2 + y**2 + z**2 + r * y * z)


def least_difference(colors: UInt8[np.ndarray, 'N 3'], vision: str) -> float:
    """CIEDE2000 of the two colours that look most alike."""
    lab = to_lab(colors, vision)
    differences = ciede2000(lab[:, None], lab[None])
    return float(differences[~np.eye(len(colors), dtype=bool)].min())
