"""What Pillow 11.0.0 and OpenCV 5.0.0 make of three pictures in other sizes:
`pip install numpy==2.4.6 pillow==11.0.0 opencv-python-headless==5.0.0.93`, then `python make.py`.

Pillow 11 resizes along rows first, always. Pillow 13 begins with columns where that is less work (33x12 below): then its own bicubic
differs from that of Pillow 11 by up to 7 levels on noise, for it clips to 0..255 in between. Bilinear needs no clipping: 1 level."""

import cv2
import numpy as np
from PIL import Image

random = np.random.default_rng(11)
y, x = np.mgrid[0:21, 0:29]
smooth = np.stack([x * 8, y * 12, (x + y) * 5], -1) + random.normal(0, 6, (21, 29, 3))
edges = np.where(((x // 7 + y // 5) % 2 == 0)[..., None], [250, 20, 90], [3, 255, 140])
pictures = {"smooth": smooth, "noise": random.integers(0, 256, (21, 29, 3)), "edges": edges}
arrays = {}
for name, picture in pictures.items():
    source = np.clip(picture, 0, 255).astype(np.uint8)
    arrays[name] = source
    for width, height in [(11, 8), (29, 7), (61, 40), (33, 12)]:
        def keep(filter, array):
            arrays[f"{name}.{filter}.{width}x{height}"] = np.asarray(array)
        image = Image.fromarray(source)
        keep("pillow-bilinear", image.resize((width, height), Image.BILINEAR))
        keep("pillow-bicubic", image.resize((width, height), Image.BICUBIC))
        keep("nearest", image.resize((width, height), Image.NEAREST))
        keep("opencv-linear", cv2.resize(source, (width, height), interpolation=cv2.INTER_LINEAR))
np.savez_compressed("resized.npz", **arrays)
