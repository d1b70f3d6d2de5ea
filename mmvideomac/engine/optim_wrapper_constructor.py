"""Parameter groups of an optimiser, as few as there are settings."""

from mmengine.optim import DefaultOptimWrapperConstructor
from torch import nn

from mmvideomac.registry import OPTIM_WRAPPER_CONSTRUCTORS


@OPTIM_WRAPPER_CONSTRUCTORS.register_module()
class GroupedOptimWrapperConstructor(DefaultOptimWrapperConstructor):
    """mmengine's constructor with groups of equal settings merged.

    With ``paramwise_cfg`` mmengine makes a group of every parameter, and an
    optimiser that works group by group loses its multi-tensor kernels. It also
    warns of every frozen parameter; networks that are frozen as a whole, as EMA
    targets are, are passed over in silence here.
    """

    def add_params(
        self,
        params: list[dict],
        module: nn.Module,
        prefix: str = '',
        is_dcn_module: int | float | None = None,
    ) -> None:
        own = list(module.parameters())
        if own and not any(parameter.requires_grad for parameter in own):
            return
        super().add_params(params, module, prefix, is_dcn_module)
        if not prefix:
            params[:] = _merge(params)


def _merge(groups: list[dict]) -> list[dict]:
    merged = {}
    for group in groups:
        settings = {key: value for key, value in group.items() if key != 'params'}
        key = tuple(sorted(settings.items()))
        merged.setdefault(key, dict(settings, params=[]))['params'] += group['params']
    return list(merged.values())
