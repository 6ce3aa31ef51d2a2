"""A small captioned dataset: twelve drawn images of the same character, a round painter in a beret, in different scenes."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageDraw, ImageFilter

TRIGGER = "blobbert"
SIDE = 256
Colour = tuple[int, int, int]
Circle = Callable[[float, float, float, float, Colour], None]
"""Draws an ellipse, given its centre and half axes in radii of the body, and its colour."""
_FINE = 4
"""Images are drawn this many times larger and then shrunk, because Pillow's edges are jagged."""
_BODY, _BODY_LIGHT, _DARK, _BERET = (74, 120, 200), (122, 165, 232), (30, 34, 56), (196, 52, 62)


@dataclass(frozen=True)
class Scene:
    """What differs between two images; the caption describes it in words."""

    words: str
    sky: Colour
    ground: Colour
    x: float = 0.5
    y: float = 0.56
    size: float = 0.30
    tilt: float = 0.0
    """Degrees the beret leans to the right."""
    look: float = 0.0
    """Where the eyes look: -1 left, 1 right."""
    mouth: str = "smile"


SCENES = (
    Scene("smiling, yellow wall, wooden floor", (247, 214, 110), (176, 120, 72)),
    Scene("surprised, on a beach, blue sky", (140, 205, 240), (240, 220, 160), mouth="open"),
    Scene("looking left, green meadow", (190, 230, 250), (110, 180, 90), look=-1, tilt=-8),
    Scene("looking right, night sky", (28, 32, 72), (48, 60, 92), look=1, tilt=10),
    Scene("close-up, smiling, pink background", (250, 200, 214), (236, 160, 184), size=0.42, y=0.62),
    Scene("far away, in snow", (214, 226, 240), (250, 252, 255), size=0.17, y=0.66),
    Scene("asleep, purple evening", (150, 110, 180), (86, 66, 120), mouth="asleep"),
    Scene("standing on the left, orange sunset", (250, 160, 96), (120, 74, 66), x=0.32),
    Scene("standing on the right, in a desert", (250, 232, 190), (220, 176, 110), x=0.68, look=-1),
    Scene("serious, grey studio", (196, 198, 202), (150, 152, 158), mouth="flat"),
    Scene("surprised, in a forest", (176, 214, 170), (60, 104, 66), mouth="open", tilt=14, look=1),
    Scene("smiling, teal background, beret tilted", (110, 196, 190), (60, 140, 138), tilt=-14, size=0.34),
)


def draw_dataset(folder: Path) -> str:
    """The trigger word of the dataset, whose images are drawn into the folder, the same ones each time."""
    folder.mkdir(parents=True, exist_ok=True)
    for index, scene in enumerate(SCENES, start=1):
        _draw(scene).save(folder / f"{TRIGGER}{index:02}.png", optimize=True)
        caption = f"{TRIGGER}, a round blue creature with a red beret, {scene.words}"
        (folder / f"{TRIGGER}{index:02}.txt").write_text(caption + "\n", encoding="utf-8")
    return TRIGGER


def _draw(scene: Scene) -> Image.Image:
    side = SIDE * _FINE
    image = Image.new("RGB", (side, side))
    brush = ImageDraw.Draw(image)
    horizon = int(side * 0.74)
    for row in range(side):
        top, share = (
            (scene.sky, row / horizon) if row < horizon else (scene.ground, (row - horizon) / (side - horizon) + 0.4)
        )
        brush.line((0, row, side, row), fill=tuple(int(value + (255 - value) * 0.25 * share) for value in top))
    _shadow(image, scene)
    _creature(ImageDraw.Draw(image), scene, side)
    return image.resize((SIDE, SIDE), Image.Resampling.LANCZOS)


def _shadow(image: Image.Image, scene: Scene) -> None:
    side, radius = image.width, scene.size * image.width
    x, y = scene.x * side, scene.y * side + radius * 0.98
    mask = Image.new("L", image.size)
    ImageDraw.Draw(mask).ellipse((x - radius, y - radius * 0.16, x + radius, y + radius * 0.16), fill=110)
    image.paste(Image.new("RGB", image.size, _DARK), mask=mask.filter(ImageFilter.GaussianBlur(side / 60)))


def _creature(brush: ImageDraw.ImageDraw, scene: Scene, side: int) -> None:
    x, y, radius = scene.x * side, scene.y * side, scene.size * side

    def circle(dx: float, dy: float, width: float, height: float, fill: Colour) -> None:
        left, top = x + (dx - width) * radius, y + (dy - height) * radius
        brush.ellipse((left, top, left + 2 * width * radius, top + 2 * height * radius), fill=fill)

    for foot in (-0.42, 0.42):
        circle(foot, 0.92, 0.24, 0.13, _DARK)
    circle(0, 0, 1, 0.98, _BODY)
    circle(-0.22, -0.24, 0.58, 0.52, _BODY_LIGHT)
    circle(-0.12, -0.08, 0.72, 0.68, _BODY)
    for cheek in (-0.55, 0.55):
        circle(cheek, 0.24, 0.14, 0.09, (232, 140, 150))
    _eyes(circle, brush, scene, (x, y, radius))
    _mouth(brush, scene, (x, y, radius))
    _beret(circle, scene.tilt)


def _eyes(circle: Circle, brush: ImageDraw.ImageDraw, scene: Scene, place: tuple[float, float, float]) -> None:
    x, y, radius = place
    for eye in (-0.34, 0.34):
        if scene.mouth == "asleep":
            box = (x + (eye - 0.16) * radius, y - 0.14 * radius, x + (eye + 0.16) * radius, y + 0.10 * radius)
            brush.arc(box, 10, 170, fill=_DARK, width=int(radius * 0.05))
            continue
        circle(eye, -0.08, 0.19, 0.22, (255, 255, 255))
        circle(eye + 0.07 * scene.look, -0.06, 0.10, 0.12, _DARK)
        circle(eye + 0.07 * scene.look - 0.03, -0.11, 0.03, 0.03, (255, 255, 255))


def _mouth(brush: ImageDraw.ImageDraw, scene: Scene, place: tuple[float, float, float]) -> None:
    x, y, radius = place
    width = max(1, int(radius * 0.06))
    if scene.mouth == "open":
        brush.ellipse((x - 0.13 * radius, y + 0.28 * radius, x + 0.13 * radius, y + 0.58 * radius), fill=(120, 30, 44))
    elif scene.mouth in ("flat", "asleep"):
        brush.line(
            (x - 0.16 * radius, y + 0.40 * radius, x + 0.16 * radius, y + 0.40 * radius), fill=_DARK, width=width
        )
    else:
        box = (x - 0.34 * radius, y + 0.02 * radius, x + 0.34 * radius, y + 0.52 * radius)
        brush.arc(box, 25, 155, fill=_DARK, width=width)


def _beret(circle: Circle, tilt: float) -> None:
    lean = math.sin(math.radians(tilt))
    circle(0.9 * lean, -0.84, 0.62, 0.20, (150, 34, 46))
    circle(1.1 * lean - 0.06, -0.96, 0.70, 0.24, _BERET)
    circle(1.2 * lean - 0.20, -1.02, 0.34, 0.10, (224, 92, 98))
    circle(1.25 * lean - 0.06, -1.20, 0.07, 0.10, _BERET)
