"""Names of a ViT's parameters: ours, which are mmpretrain's, and timm's.

The released code of DINO, MAE and their successors has timm's.
"""

from __future__ import annotations

import re

#: Regular expression and what takes its place, applied in turn.
RENAMES = (
    (r'^patch_embed\.projection\.', 'patch_embed.proj.'),
    (r'^pre_norm\.', 'norm_pre.'),
    (r'^layers\.(\d+)', r'blocks.\1'),
    (r'\.ln(\d)\.', r'.norm\1.'),
    (r'\.ffn\.layers\.0\.0\.', '.mlp.fc1.'),
    (r'\.ffn\.layers\.1\.', '.mlp.fc2.'),
    (r'\.attn\.gamma1\.weight$', '.ls1.gamma'),
    (r'\.ffn\.gamma2\.weight$', '.ls2.gamma'),
    (r'^ln1\b', 'norm'),
)


def timm_name(name: str) -> str:
    """timm's name of a parameter of mmpretrain's VisionTransformer."""
    for pattern, replacement in RENAMES:
        name = re.sub(pattern, replacement, name)
    return name
