"""Images for tests: drawn scenes, and ones with detail at all scales, like photographs."""

import numpy as np
from PIL import Image, ImageDraw, ImageFilter


def drawn(seed, size=(512, 384)):
    """A drawn scene: sky and ground, and some shapes with details."""
    rng = np.random.default_rng(seed)
    image = Image.new("RGB", size, tuple(rng.integers(60, 220, 3)))
    draw = ImageDraw.Draw(image)
    horizon = int(size[1] * rng.uniform(0.4, 0.8))
    draw.rectangle((0, horizon, *size), fill=tuple(rng.integers(20, 200, 3)))
    for _ in range(14):
        x, y = rng.integers(0, size[0]), rng.integers(0, size[1])
        w, h = rng.integers(20, 160, 2)
        shape = (draw.ellipse, draw.rectangle)[rng.integers(2)]
        shape((x, y, x + w, y + h), fill=tuple(rng.integers(0, 255, 3)), outline=tuple(rng.integers(0, 255, 3)))
    return image.filter(ImageFilter.GaussianBlur(0.7))


def natural(seed=0, size=(768, 640)):
    """An image with detail at all scales, like a photograph: noise whose power falls with the frequency."""
    rng = np.random.default_rng(seed)
    high, wide = size[1], size[0]
    rows, columns = np.fft.fftfreq(high)[:, None], np.fft.rfftfreq(wide)[None, :]
    falling = 1 / np.maximum(np.hypot(rows, columns), 1 / max(size))
    layers = []
    for _ in range(3):
        waves = falling * np.exp(2j * np.pi * rng.random(falling.shape))
        layer = np.fft.irfft2(waves, s=(high, wide))
        layers.append(128 + 45 * layer / layer.std())
    return Image.fromarray(np.dstack(layers).clip(0, 255).astype(np.uint8))
