"""The pictures of this folder, and what PIL makes of them: `pip install numpy pillow`, then `python make.py`."""

import numpy as np
from PIL import Image

random = np.random.default_rng(5)
y, x = np.mgrid[0:37, 0:53]
pixels = np.stack([x * 4, y * 6, (x + y) * 2], -1)
pixels = np.clip(pixels + random.normal(0, 8, pixels.shape), 0, 255).astype(np.uint8)
picture = Image.fromarray(pixels)

picture.save("baseline.jpg", quality=90)
picture.save("progressive.jpg", quality=90, progressive=True)
picture.save("full_colours.jpg", quality=95, subsampling=0)
picture.convert("L").save("grey.jpg", quality=90)
picture.convert("CMYK").save("cmyk.jpg")
seen = {f"{name}": np.asarray(Image.open(f"{name}.jpg").convert("RGB"))
        for name in ["baseline", "progressive", "full_colours", "grey", "cmyk"]}
for width, height in [(20, 10), (8, 8), (80, 60), (53, 9)]:
    seen[f"resized_{width}x{height}"] = np.asarray(picture.resize((width, height), Image.BILINEAR))
np.savez_compressed("seen.npz", source=pixels, **seen)
