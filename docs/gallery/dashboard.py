"""The dashboard as an animated picture, from the screenshots that ``pytest -m browser`` takes of a running agent."""

from __future__ import annotations

from pathlib import Path

from docs.gallery import style

SHOTS = ("dashboard-overview", "dashboard-stream", "dashboard-attack", "dashboard-health")
WIDTH, HEIGHT, STAY_MS = 840, 560, 3200


def make() -> list[Path]:
    """docs/images/dashboard.webp: each page for a while; nothing where there are no screenshots."""
    from PIL import Image

    frames = []
    for path in (style.IMAGES / f"{name}.png" for name in SHOTS):
        if not path.exists():
            continue
        with Image.open(path) as shot:
            page = shot.convert("RGB")
        scaled = page.resize((WIDTH, round(page.height * WIDTH / page.width)), Image.Resampling.LANCZOS)
        frame = Image.new("RGB", (WIDTH, HEIGHT), scaled.getpixel((2, scaled.height - 3)))
        frame.paste(scaled.crop((0, 0, WIDTH, min(HEIGHT, scaled.height))))
        frames.append(frame)
    if len(frames) < 2:
        return []
    path = style.IMAGES / "dashboard.webp"
    frames[0].save(path, save_all=True, append_images=frames[1:], duration=STAY_MS, loop=0, quality=55, method=4)
    return [path]
