"""Matrix products, convolutions on visible patches and fused layers, on CPUs and GPUs.

The only room that asks which device and which library computes. What is above says
what to compute.
"""

from .allocator import keep_freed_memory
from .batch_norm import CPUSyncBatchNorm, batch_norm
from .dense_convnext import run_dense
from .device import allow_tf32, cast_for_autocast, fast_memory_format, no_autocast, tile_side
from .grn import BatchGRN, grn_dims
from .inverted_mlp import GRNScope, inverted_mlp
from .patch_conv import ConvMaps, halo_conv, halo_max_pool, merging_conv, same_conv, window_conv
from .processor import multiplies
from .products import LIBRARIES, linear, product_library, use_products

__all__ = [
    'LIBRARIES',
    'BatchGRN',
    'CPUSyncBatchNorm',
    'ConvMaps',
    'GRNScope',
    'allow_tf32',
    'batch_norm',
    'cast_for_autocast',
    'fast_memory_format',
    'grn_dims',
    'halo_conv',
    'halo_max_pool',
    'inverted_mlp',
    'keep_freed_memory',
    'linear',
    'merging_conv',
    'multiplies',
    'no_autocast',
    'product_library',
    'run_dense',
    'same_conv',
    'tile_side',
    'use_products',
    'window_conv',
]
